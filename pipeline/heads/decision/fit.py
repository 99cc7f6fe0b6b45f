"""Gives a fitted head its decision rule, from stored features of the rows it was fitted on."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecisionSpec, HeadSpec
from pipeline.errors import DataError
from pipeline.heads.decision.choose import Json, check_task, choose_rule
from pipeline.heads.decision.costs import Costs
from pipeline.heads.decision.rows import HeldOut, Truth
from pipeline.heads.decision.rule import Proba
from pipeline.heads.head import Features, Head
from pipeline.heads.search import fit_and_predict
from pipeline.heads.streaming import IN_MEMORY_BYTES, SEARCH_BYTES, FeatureRows


@dataclass(frozen=True)
class Fitted:
    """A head and what it was fitted on.

    Attributes
    ----------
    head : Head
    features : FeatureRows
        n rows.
    labels : ndarray, shape (n,)
        int64, or object holding str, or tuples of str where a row has several.
    folds : ndarray of int8, shape (n,)
    spec : HeadSpec
    """

    head: Head
    features: FeatureRows
    labels: NDArray[Any]  # Any: see above
    folds: NDArray[np.int8]
    spec: HeadSpec


def with_rule(
    fitted: Fitted, spec: DecisionSpec, costs: Costs | None
) -> tuple[Head, Json]:
    """Return the head with the decision rule that `spec` asks for, and `choose_rule`'s evidence.

    The head is fitted once more without each fold, with the C that it has; of very many rows on a sample, as the search
    for C is.

    Parameters
    ----------
    fitted : Fitted
    spec : DecisionSpec
    costs : Costs, optional
        What stands in ``spec.costs``.

    Raises
    ------
    ConfigError
        If the options do not go with the kind of label, or the costs not with the classes.
    DataError
        If there are too few rows for what is asked.
    """
    head = fitted.head
    check_task(spec, head.task)
    matrix = None if costs is None else costs.matrix(head.classes)
    rule, evidence = choose_rule(held_out(fitted), spec, matrix)
    return replace(head, rule=rule), evidence


def held_out(fitted: Fitted) -> HeldOut:
    """Return the probabilities of the rows, each by a fit without the row's fold.

    Raises
    ------
    DataError
        If there are fewer than three folds with rows: the rule of a fold is chosen, and judged, on the others.
    """
    rows = _rows(fitted.features)
    folds, truth = fitted.folds[rows], _truth(fitted.head, fitted.labels[rows])
    present = np.unique(folds).tolist()
    if len(present) < 3:
        raise DataError(
            f"A decision rule cannot be chosen: the {len(folds):,} rows fitted on form {len(present)} of the three "
            "folds it takes, as texts that belong together stay in one. Add texts, or leave the option out."
        )
    features, proba = fitted.features.take(rows), np.empty(truth.shape)
    is_exclusive = fitted.head.task == "classification"
    predict = _classes if is_exclusive else _labels
    spec = replace(fitted.spec, C=fitted.head.C)
    for fold in present:
        out = folds == fold
        proba[out] = predict(features[~out], truth[~out], features[out], spec)
    return HeldOut(proba, truth, folds, is_exclusive)


def _classes(x: Features, truth: Truth, others: Features, spec: HeadSpec) -> Proba:
    y = truth.argmax(axis=1)
    return fit_and_predict(x, y, others, spec, truth.shape[1])


def _labels(x: Features, truth: Truth, others: Features, spec: HeadSpec) -> Proba:
    """Return the probability of each label, from a logistic regression of its own."""
    columns = truth.T.astype(np.int64)
    found = [fit_and_predict(x, y, others, spec, 2)[:, 1] for y in columns]
    return np.column_stack(found)


def _rows(features: FeatureRows) -> NDArray[np.int64]:
    if len(features) * features.dim * 4 <= IN_MEMORY_BYTES:
        return np.arange(len(features))
    return features.sample(max(1, SEARCH_BYTES // (4 * features.dim)))


def _truth(head: Head, labels: NDArray[Any]) -> Truth:  # Any: as in `Fitted`
    """Return which classes or labels rows have, (n, k)."""
    places = {name: i for i, name in enumerate(head.classes)}
    truth = np.zeros((len(labels), len(places)), dtype=bool)
    for row, label in enumerate(labels.tolist()):
        for name in label if head.task == "multilabel" else (label,):
            truth[row, places[name]] = True
    return truth

"""Gives a fitted head its decision rule, from stored features of the rows it was fitted on."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import DecisionSpec, HeadSpec
from pipeline.datasets.targets import targets_of
from pipeline.errors import DataError
from pipeline.heads.decision.choose import Json, check_task, choose_rule
from pipeline.heads.decision.costs import Costs
from pipeline.heads.decision.rows import HeldOut
from pipeline.heads.head import Head
from pipeline.heads.quick import quick_out_of_fold
from pipeline.heads.streaming import FeatureRows, rows_to_search


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
    clusters : ndarray of int64, shape (n,)
        Rows of one number belong together.
    spec : HeadSpec
    outputs : ndarray, shape (n, k), optional
        What the rows get from fits without their fold, where that is known; NaN for rows of which it is not.
    """

    head: Head
    features: FeatureRows
    labels: NDArray[Any]  # Any: see above
    folds: NDArray[np.int8]
    clusters: NDArray[np.int64]
    spec: HeadSpec
    outputs: NDArray[np.floating] | None = None


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
        If there are fewer than three folds with rows (the rule of a fold is chosen, and judged, on the others), or one
        that holds all rows of all classes but one.
    """
    head, rows = fitted.head, _rows_of(fitted)
    folds, n_folds = fitted.folds[rows], len(np.unique(fitted.folds[rows]))
    if n_folds < 3:
        raise DataError(
            f"A decision rule cannot be chosen: the {len(folds):,} rows fitted on form {n_folds} of the three "
            "folds it takes, as texts that belong together stay in one. Add texts, or leave the option out."
        )
    targets = targets_of(fitted.labels[rows], head.task, head.classes)
    proba = _proba_of(fitted, rows, targets)
    if proba is None:
        raise DataError(
            "A decision rule cannot be chosen: texts that belong together stay in one fold, and without one of the "
            "folds a single class is left. Add texts, or leave the option out."
        )
    is_exclusive = head.task == "classification"
    return HeldOut(
        proba,
        targets[:, None] == np.arange(len(head.classes)) if is_exclusive else targets,
        folds,
        fitted.clusters[rows],
        is_known=_known(targets, folds) if is_exclusive else np.ones(len(rows), bool),
        is_exclusive=is_exclusive,
    )


def _rows_of(fitted: Fitted) -> NDArray[np.int64]:
    if fitted.outputs is None:
        return rows_to_search(fitted.features)
    return np.flatnonzero(np.isfinite(fitted.outputs).all(axis=1))


def _proba_of(
    fitted: Fitted,
    rows: NDArray[np.int64],
    targets: NDArray[Any],  # Any: as in `targets_of`
) -> NDArray[np.float64] | None:
    if fitted.outputs is not None:
        return fitted.outputs[rows].astype(np.float64)
    features, spec = fitted.features.take(rows), replace(fitted.spec, C=fitted.head.C)
    k = len(fitted.head.classes)
    return quick_out_of_fold(features, targets, fitted.folds[rows], spec, k)


def _known(y: NDArray[np.int64], folds: NDArray[np.int8]) -> NDArray[np.bool_]:
    """Return which rows have a class that other folds have, too, shape (n,)."""
    found = np.zeros(len(y), dtype=bool)
    for fold in np.unique(folds):
        is_out = folds == fold
        found[is_out] = np.isin(y[is_out], y[~is_out])
    return found

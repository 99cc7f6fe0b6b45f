"""Chooses a head's decision rule from out-of-fold probabilities of the rows fitted on, and says what it gains."""

from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.config import DecisionSpec
from pipeline.errors import ConfigError
from pipeline.heads.decision.abstention import min_confidence
from pipeline.heads.decision.calibration import (
    best_method,
    fit_calibrator,
    log_loss,
    log_losses,
)
from pipeline.heads.decision.rows import HeldOut, Truth
from pipeline.heads.decision.rule import DecisionRule, Proba, confidence
from pipeline.heads.decision.thresholds import METRICS, fit_thresholds, measured

Json = dict[str, Any]  # Any: JSON values
CostMatrix = list[list[float]]  # (k, k): [true][answered]
PLAIN = DecisionRule()


def check_task(spec: DecisionSpec, task: str) -> None:
    """Make sure that the options go with the kind of label.

    Raises
    ------
    ConfigError
    """
    if task == "regression":
        raise ConfigError(
            f"--{spec.given[0]} is for labels, but the label column holds numbers. Leave it out, or pass --task "
            "classification."
        )
    if task == "multilabel" and (spec.costs or spec.max_error):
        raise ConfigError(
            f"--{'costs' if spec.costs else 'max-error'} needs one label a row, but rows have any number. Leave it out."
        )
    allowed = METRICS[task == "classification"]
    if spec.thresholds not in ("none", *allowed):
        raise ConfigError(
            f"--thresholds {spec.thresholds} is for several labels a row; of one label a row it is accuracy. "
            f"Pass one of: {', '.join(allowed)}."
        )


def choose_rule(
    rows: HeldOut, spec: DecisionSpec, costs: CostMatrix | None = None
) -> tuple[DecisionRule, Json]:
    """Return the rule, and what it was chosen by.

    Parameters
    ----------
    rows : HeldOut
    spec : DecisionSpec
    costs : list of list of float, (k, k), optional
        Of ``spec.costs``, in the order of the columns.

    Returns
    -------
    rule : DecisionRule
    evidence : dict of JSON values
        ``n``, and ``n_unknown`` of them whose class was not known to the fit that scored them: these count as errors
        where errors are promised, and nowhere else; ``n_clusters``; ``log_losses``, cross-fitted, of each calibrator,
        or None; ``gain``: a ``metric`` of the ``plain`` head, of the rule ``nested`` (each row answered by a rule
        chosen without its fold) and ``optimistic`` (on the rows it was chosen on), or None; ``abstention``:
        ``coverage`` and ``error`` among answered rows, nested, or None.

    Raises
    ------
    DataError
        If ``spec.max_error`` cannot be promised.
    """
    known = rows.known
    rule = _without_abstention(known, spec, costs)

    def fit_and_apply(others: HeldOut, proba: Proba) -> Proba:
        found = _without_abstention(others.known, spec, costs)
        return np.hstack(_applied(found, rows.with_proba(proba)))

    proba, said = np.hsplit(rows.crossed(fit_and_apply), 2)
    nested = proba, said.astype(bool)
    evidence: Json = {
        "n": len(proba),
        "n_unknown": int((~rows.is_known).sum()),
        "n_clusters": len(np.unique(rows.clusters)),
        "log_losses": None
        if spec.calibration == "none"
        else {name: float(losses.mean()) for name, losses in log_losses(known).items()},
        "gain": None,
        "abstention": None,
    }
    if (metric := spec.metric) is not None:
        versions = {
            "plain": _applied(PLAIN, known),
            "nested": (nested[0][rows.is_known], nested[1][rows.is_known]),
            "optimistic": _applied(rule, known),
        }
        evidence["gain"] = {"metric": metric} | {
            name: _value(metric, *answered, known, costs)
            for name, answered in versions.items()
        }
    if spec.max_error:
        lowest, evidence["abstention"] = _abstention(*nested, rows, spec.max_error)
        rule = replace(rule, min_confidence=lowest)
    return rule, evidence


def _without_abstention(
    rows: HeldOut, spec: DecisionSpec, costs: CostMatrix | None
) -> DecisionRule:
    method = spec.calibration
    if method == "auto":
        method = best_method(log_losses(rows))
    rule = DecisionRule(calibrator=fit_calibrator(method, rows), costs=costs)
    if spec.thresholds == "none":
        return rule
    calibrated, _ = _applied(rule, rows)
    found = fit_thresholds(spec.thresholds, rows.with_proba(calibrated))
    return replace(rule, thresholds=found)


def _applied(rule: DecisionRule, rows: HeldOut) -> tuple[Proba, Truth]:
    """Return calibrated probabilities, and which classes or labels they are answered with, both (n, k)."""
    calibrated = rule.calibrate(rows.proba, is_exclusive=rows.is_exclusive)
    if not rows.is_exclusive:
        return calibrated, rule.labels(calibrated)
    answers = rule.classes(calibrated)
    return calibrated, answers[:, None] == np.arange(calibrated.shape[1])


def _value(
    metric: str, proba: Proba, said: Truth, rows: HeldOut, costs: CostMatrix | None
) -> float:
    if metric == "log_loss":
        return log_loss(rows.with_proba(proba))
    if metric == "cost":
        of = rows.truth.argmax(axis=1), said.argmax(axis=1)
        return float(np.array(costs)[of].mean())
    return measured(metric, said, rows)


def _abstention(
    proba: Proba, said: Truth, rows: HeldOut, max_error: float
) -> tuple[float, Json]:
    """Return the least confidence to answer at, with coverage and error on the rows."""
    sure = confidence(proba, said.argmax(axis=1))
    is_right = np.asarray((said & rows.truth).any(axis=1))
    lowest = min_confidence(sure, is_right, rows.clusters, max_error)
    answered = sure >= lowest
    return lowest, {
        "coverage": float(answered.mean()),
        "error": float(1 - is_right[answered].mean()),
    }

"""Figures with 95 % intervals, and paired differences between two systems on the same rows.

Accuracy has a Wilson interval [1]_; the others a percentile bootstrap [2]_ with a fixed seed, over rows or clusters of
rows (`pipeline.evaluation.resampling`). Every system is resampled with the same row weights, so differences are paired.
Few rows may look the same in every resample, which is no certainty: then Wilson's interval of the value stands in, and
for differences both systems' intervals, or Newcombe's for accuracy.

.. [1] E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
.. [2] B. Efron, R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.resampling import (
    FEW_CLUSTERS,
    Clusters,
    Figure,
    Weights,
    bootstrap_weights,
    paired_interval,
    percentiles,
    ratio,
    share_interval,
    wilson,
)

EPSILON = 1e-15
# Clusters with rows that only one of two systems has right: with fewer a bootstrap of accuracy says too little.
FEW = 10
SAME = 1e-9  # resamples that differ by less differ by rounding
METRICS = ("accuracy", "f1_macro", "roc_auc", "log_loss")


@dataclass(frozen=True)
class Scored:
    """Probabilities of one system for scored rows, with the truth.

    Attributes
    ----------
    y : ndarray of int64, shape (n,)
        Class of each row; -1 for a label that no training row has: always wrong, without a log loss.
    proba : ndarray of float64, shape (n, k)
    answers : ndarray of int64, shape (n,), optional
        The class that was decided for; None: the most probable one.
    """

    y: NDArray[np.int64]
    proba: NDArray[np.float64]
    answers: NDArray[np.int64] | None = None

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Return the answered class of each row; the first one of equally probable ones."""
        if self.answers is not None:
            return self.answers
        return np.asarray(self.proba.argmax(axis=1))

    def take(self, rows: NDArray[np.int64]) -> "Scored":
        """Return some rows, in their order."""
        answers = None if self.answers is None else self.answers[rows]
        return Scored(self.y[rows], self.proba[rows], answers)


@dataclass(frozen=True)
class Measured:
    """Every metric of one system: on the rows as they are, and over the resamples of the rows.

    Attributes
    ----------
    point : dict of str to float
        NaN where the rows leave a metric undefined.
    samples : dict of str to ndarray of float64, shape (N_RESAMPLES,)
    n : int
        Scored rows.
    n_known : int
        Those whose label some training row has.
    clusters : Clusters
        What was resampled.
    right : ndarray of bool, shape (n,)
        Which rows are classified rightly.
    """

    point: dict[str, float]
    samples: dict[str, NDArray[np.float64]]
    n: int
    n_known: int
    clusters: Clusters
    right: NDArray[np.bool_]

    def rows_of(self, metric: str) -> int:
        """Return how many rows a metric is over."""
        return self.n if metric in ("accuracy", "f1_macro") else self.n_known


def measure(
    scored: Scored,
    clusters: Clusters | None = None,
    metrics: Sequence[str] = METRICS,
) -> Measured:
    """Return metrics of `scored` and their bootstrap distribution.

    Parameters
    ----------
    scored : Scored
    clusters : Clusters, optional
        Rows that belong together and are resampled together. None: every row stands alone.
    metrics : sequence of str
        Some of `METRICS`.
    """
    n = len(scored.y)
    clusters = clusters or Clusters.of_rows(n)
    parts = [
        _metrics(scored, weights, metrics) for weights in bootstrap_weights(clusters)
    ]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in metrics}
    known = int((scored.y >= 0).sum())
    right = scored.predicted == scored.y
    return Measured(points(scored, metrics), samples, n, known, clusters, right)


def points(scored: Scored, metrics: Sequence[str] = METRICS) -> dict[str, float]:
    """Return metrics of the rows as they are; NaN where these leave one undefined."""
    once = np.ones((1, len(scored.y)))
    return {
        name: float(values[0])
        for name, values in _metrics(scored, once, metrics).items()
    }


def figures(measured: Measured) -> dict[str, Figure]:
    """Return every metric as ``{"value": float, "ci95": [low, high], "n": int}``.

    A metric that the rows leave undefined has None for both and a ``reason``.
    """
    out: dict[str, Figure] = {}
    for name, value in measured.point.items():
        n = measured.rows_of(name)
        if math.isnan(value):
            out[name] = _undefined(n)
        else:
            out[name] = {"value": value, "ci95": _interval(measured, name), "n": n}
    return out


def _interval(measured: Measured, name: str) -> list[float] | None:
    """Return the interval of a metric; None for the log loss of what looks the same in every resample."""
    value, samples = measured.point[name], measured.samples[name]
    n_clusters = measured.clusters.n
    if name == "accuracy":
        return list(share_interval(value, measured.n, n_clusters, samples))
    low, high = percentiles(samples)
    if name == "log_loss":
        return [low, high] if _varies(low, high) else None
    if _varies(low, high) and n_clusters >= FEW_CLUSTERS:
        return [low, high]
    wide = wilson(value, n_clusters)
    return [min(low, wide[0]), max(high, wide[1])]


def _varies(low: float, high: float) -> bool:
    return high - low > SAME * max(1.0, abs(low))


def differences(ours: Measured, theirs: Measured) -> dict[str, Figure]:
    """Return ours minus theirs for every metric, with paired intervals."""
    out: dict[str, Figure] = {}
    for name in ours.point:
        value, n = ours.point[name] - theirs.point[name], ours.rows_of(name)
        if math.isnan(value):
            out[name] = _undefined(n)
        else:
            interval = _difference_interval(ours, theirs, name)
            out[name] = {"value": value, "ci95": interval, "n": n}
    return out


def _difference_interval(
    ours: Measured, theirs: Measured, name: str
) -> list[float] | None:
    clusters = ours.clusters
    differ = np.flatnonzero(ours.right != theirs.right)
    is_few = clusters.n < FEW_CLUSTERS or clusters.subset(differ).n < FEW
    if name == "accuracy" and is_few:
        return list(paired_interval(ours.right, theirs.right, clusters.n))
    samples = ours.samples[name] - theirs.samples[name]
    low, high = percentiles(samples)
    if _varies(low, high):
        return [low, high]
    if not samples.any():  # the same answers to every row
        return [0.0, 0.0]
    a, b = _interval(ours, name), _interval(theirs, name)
    if name == "log_loss" or a is None or b is None:
        return None
    p, q = ours.point[name], theirs.point[name]
    return [
        max(-1.0, p - q - math.hypot(p - a[0], b[1] - q)),
        min(1.0, p - q + math.hypot(a[1] - p, q - b[0])),
    ]


def _undefined(n: int) -> Figure:
    return {
        "value": None,
        "ci95": None,
        "n": n,
        "reason": "the scored rows have fewer than two known classes",
    }


def _metrics(
    scored: Scored, weights: Weights, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    known = weights * (scored.y >= 0)
    found = {
        "accuracy": lambda: _accuracy(scored, weights),
        "f1_macro": lambda: _f1_macro(scored, weights),
        "roc_auc": lambda: _roc_auc(scored, known),
        "log_loss": lambda: _log_loss(scored, known),
    }
    return {name: found[name]() for name in names}


def _accuracy(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    right = (scored.predicted == scored.y).astype(np.float64)
    return np.asarray(weights @ right / weights.sum(axis=1))


def _f1_macro(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    """Mean over the classes that occur, in truth or prediction, of the harmonic mean of precision and recall."""
    classes = np.arange(scored.proba.shape[1])
    truth = scored.y[:, None] == classes  # (n, k)
    guess = scored.predicted[:, None] == classes
    hits = weights @ (truth & guess)  # (b, k)
    total = weights @ truth + weights @ guess
    return _mean_of_defined(ratio(2 * hits, total))


def _log_loss(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    of_label = scored.proba[np.arange(len(scored.y)), np.maximum(scored.y, 0)]
    losses = -np.log(np.clip(of_label, EPSILON, 1.0))
    return ratio(weights @ losses, weights.sum(axis=1))


def _roc_auc(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    """Two classes: area for the second; more: mean of one against the rest over classes that occur."""
    k = scored.proba.shape[1]
    areas = [
        _area(scored.y == c, scored.proba[:, c], weights)
        for c in ([1] if k == 2 else range(k))
        if (scored.y == c).any()
    ]
    if not areas:
        return np.full(len(weights), np.nan)
    return _mean_of_defined(np.stack(areas, axis=1))


def _area(
    positive: NDArray[np.bool_], score: NDArray[np.float64], weights: Weights
) -> NDArray[np.float64]:
    """Weighted probability that a positive row scores above a negative one, ties counting half."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    places = np.flatnonzero(positive[order])  # of the positive rows, (m,)
    ordered = weights[:, order]
    own = ordered[:, places]  # (b, m)
    all_below, own_below = _running_sums(ordered), _running_sums(own)

    def negatives_below(ends: NDArray[np.intp]) -> NDArray[np.float64]:
        return all_below[:, ends] - own_below[:, np.searchsorted(places, ends)]

    begin, end = (
        np.searchsorted(ranked, ranked[places], "left"),
        np.searchsorted(ranked, ranked[places], "right"),
    )
    wins = (own * (negatives_below(begin) + negatives_below(end)) / 2).sum(axis=1)
    n_positive = own_below[:, -1]
    return ratio(wins, n_positive * (all_below[:, -1] - n_positive))


def _running_sums(columns: Weights) -> Weights:
    """Return the sums of the columns before each, and of all, shape (b, m + 1)."""
    sums = np.zeros((len(columns), columns.shape[1] + 1))
    np.cumsum(columns, axis=1, out=sums[:, 1:])
    return sums


def _mean_of_defined(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each row without its NaNs; NaN where there is nothing else."""
    defined = ~np.isnan(columns)
    total = np.where(defined, columns, 0.0).sum(axis=1)
    return ratio(total, defined.sum(axis=1).astype(np.float64))


def confusion(scored: Scored) -> list[list[int]]:
    """Return the counts of rows by true class (rows) and predicted class (columns), k x k."""
    k = scored.proba.shape[1]
    known = scored.y >= 0
    counts = np.bincount(scored.y[known] * k + scored.predicted[known], minlength=k * k)
    return [[int(count) for count in row] for row in counts.reshape(k, k)]


def most_confident_errors(scored: Scored, limit: int) -> NDArray[np.int64]:
    """Return the numbers of wrongly classified rows, the most probable wrong answer first."""
    wrong = np.flatnonzero(scored.predicted != scored.y)
    order = np.argsort(-scored.proba[wrong, scored.predicted[wrong]], kind="stable")
    return np.asarray(wrong[order[:limit]])

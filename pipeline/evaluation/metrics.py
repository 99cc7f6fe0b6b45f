"""Figures with 95 % intervals, and paired differences between two systems on the same rows.

Accuracy has a Wilson interval [1]_; the others a percentile bootstrap [2]_ over rows with a fixed seed. Every system is
resampled with the same row weights, so differences are paired.

.. [1] E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
.. [2] B. Efron, R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]  # (b, n): how often each row counts in each resample
N_RESAMPLES = 1_000
CHUNK_CELLS = 4_000_000  # resamples times rows held at once
SEED = 20_260_101
EPSILON = 1e-15
Z95 = 1.959963984540054
METRICS = ("accuracy", "f1_macro", "roc_auc", "log_loss")

Figure = dict[str, object]  # {"value", "ci95", "n"} and, where undefined, "reason"


@dataclass(frozen=True)
class Scored:
    """Probabilities of one system for scored rows, with the truth.

    Attributes
    ----------
    y : ndarray of int64, shape (n,)
        Class of each row; -1 for a label that no training row has: always wrong, without a log loss.
    proba : ndarray of float64, shape (n, k)
    """

    y: NDArray[np.int64]
    proba: NDArray[np.float64]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Return the most probable class of each row; the first one of equals."""
        return np.asarray(self.proba.argmax(axis=1))


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
    """

    point: dict[str, float]
    samples: dict[str, NDArray[np.float64]]
    n: int
    n_known: int

    def rows_of(self, metric: str) -> int:
        """Return how many rows a metric is over."""
        return self.n if metric in ("accuracy", "f1_macro") else self.n_known


def measure(scored: Scored) -> Measured:
    """Return all metrics of `scored` and their bootstrap distribution."""
    n = len(scored.y)
    point = {
        name: float(values[0])
        for name, values in _all_metrics(scored, np.ones((1, n))).items()
    }
    parts = [_all_metrics(scored, weights) for weights in _bootstrap_weights(n)]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in METRICS}
    return Measured(point, samples, n, int((scored.y >= 0).sum()))


def figures(measured: Measured) -> dict[str, Figure]:
    """Return every metric as ``{"value": float, "ci95": [low, high], "n": int}``.

    A metric that the rows leave undefined has None for both and a ``reason``.
    """
    out: dict[str, Figure] = {}
    for name in METRICS:
        value, n = measured.point[name], measured.rows_of(name)
        if math.isnan(value):
            out[name] = _undefined(n)
            continue
        low, high = (
            wilson(value, n)
            if name == "accuracy"
            else _percentiles(measured.samples[name])
        )
        out[name] = {"value": value, "ci95": [low, high], "n": n}
    return out


def differences(ours: Measured, theirs: Measured) -> dict[str, Figure]:
    """Return ours minus theirs for every metric, with paired intervals."""
    out: dict[str, Figure] = {}
    for name in METRICS:
        value = ours.point[name] - theirs.point[name]
        if math.isnan(value):
            out[name] = _undefined(ours.rows_of(name))
        else:
            low, high = _percentiles(ours.samples[name] - theirs.samples[name])
            out[name] = {"value": value, "ci95": [low, high], "n": ours.rows_of(name)}
    return out


def _undefined(n: int) -> Figure:
    return {
        "value": None,
        "ci95": None,
        "n": n,
        "reason": "the scored rows have fewer than two known classes",
    }


def wilson(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % Wilson interval of a share of `n` rows."""
    centre = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = (
        Z95
        / (1 + Z95**2 / n)
        * math.sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    )
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def _percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    defined = values[~np.isnan(values)]
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def _bootstrap_weights(n: int) -> Iterator[Weights]:
    generator = np.random.Generator(np.random.PCG64(SEED))
    size = max(1, min(N_RESAMPLES, CHUNK_CELLS // n))
    for begin in range(0, N_RESAMPLES, size):
        b = min(size, N_RESAMPLES - begin)
        drawn = generator.integers(0, n, size=(b, n)) + np.arange(b)[:, None] * n
        yield (
            np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)
        )


def _all_metrics(scored: Scored, weights: Weights) -> dict[str, NDArray[np.float64]]:
    known = weights * (scored.y >= 0)
    return {
        "accuracy": weights @ (scored.predicted == scored.y) / weights.sum(axis=1),
        "f1_macro": _f1_macro(scored, weights),
        "roc_auc": _roc_auc(scored, known),
        "log_loss": _log_loss(scored, known),
    }


def _f1_macro(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    """Mean over the classes that occur, in truth or prediction, of the harmonic mean of precision and recall."""
    classes = np.arange(scored.proba.shape[1])
    truth = scored.y[:, None] == classes  # (n, k)
    guess = scored.predicted[:, None] == classes
    hits = weights @ (truth & guess)  # (b, k)
    total = weights @ truth + weights @ guess
    return _mean_of_defined(_ratio(2 * hits, total))


def _log_loss(scored: Scored, weights: Weights) -> NDArray[np.float64]:
    of_label = scored.proba[np.arange(len(scored.y)), np.maximum(scored.y, 0)]
    losses = -np.log(np.clip(of_label, EPSILON, 1.0))
    return _ratio(weights @ losses, weights.sum(axis=1))


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
    begin, end = (
        np.searchsorted(ranked, ranked, "left"),
        np.searchsorted(ranked, ranked, "right"),
    )
    ordered = weights[:, order]
    above = np.zeros((len(weights), len(order) + 1))
    np.cumsum(
        ordered * ~positive[order], axis=1, out=above[:, 1:]
    )  # weight of negatives below each rank
    wins = (ordered * positive[order] * (above[:, begin] + above[:, end]) / 2).sum(
        axis=1
    )
    return _ratio(wins, (weights @ positive) * above[:, -1])


def _ratio(value: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``value / of``; NaN where `of` is 0."""
    return np.asarray(
        np.divide(value, of, out=np.full_like(value, np.nan), where=of > 0)
    )


def _mean_of_defined(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each row without its NaNs; NaN where there is nothing else."""
    defined = ~np.isnan(columns)
    total = np.where(defined, columns, 0.0).sum(axis=1)
    return _ratio(total, defined.sum(axis=1).astype(np.float64))


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

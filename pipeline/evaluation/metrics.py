"""Figures with 95 % intervals, and paired differences between two systems on the same rows.

Shares of rows have a Wilson interval [1]_; all else a percentile bootstrap [2]_ with a fixed seed, over rows or
clusters of rows (`pipeline.evaluation.resampling`). Every system is resampled with the same row weights, so differences
are paired. Few rows may look the same in every resample, which is no certainty: then Wilson's interval of the value
stands in, stretched over the range of the metric; for differences both systems' intervals do, or Newcombe's for shares.

.. [1] E. B. Wilson (1927), Probable inference, the law of succession, and statistical inference, JASA 22.
.. [2] B. Efron, R. Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import weighted
from pipeline.evaluation.resampling import (
    FEW_CLUSTERS,
    Clusters,
    Figure,
    Weights,
    bootstrap_weights,
    paired_interval,
    percentiles,
    scaled_wilson,
    share_interval,
)

# Clusters with rows that only one of two systems has right: with fewer a bootstrap of a share says too little.
FEW = 10
ROUNDING = 1e-13
SAME = 1e-9  # resamples that differ by less differ by rounding


@dataclass(frozen=True)
class Metric:
    """One metric of one system.

    Attributes
    ----------
    of : callable
        Takes weights, shape (b, n), and returns the metric of each resample, shape (b,), as `weighted` does.
    n : int
        Rows it is over.
    range : (float, float), optional
        The least and the largest value that it can have; None where it has no such bounds.
    right : ndarray of bool, shape (n,), optional
        Of a share of rows, which rows count.
    reason : str
        Why it may be undefined.
    """

    of: Callable[[Weights], NDArray[np.float64]]
    n: int
    range: tuple[float, float] | None = (0.0, 1.0)
    right: NDArray[np.bool_] | None = None
    reason: str = "the scored rows leave it undefined"

    @classmethod
    def share(cls, right: NDArray[np.bool_]) -> "Metric":
        """Return the share of rows that are right."""
        return cls(lambda w: weighted.mean(right, w), len(right), right=right)


@dataclass(frozen=True)
class RowScores:
    """How well each row is answered.

    Attributes
    ----------
    metric, name : str
        What their mean is called among the metrics, and in words.
    values : ndarray, shape (n,)
        bool: right or wrong; or float64.
    is_error : bool
        Whether less is better; then `values` are at least 0, else they are 0 to 1.
    """

    metric: str
    name: str
    values: NDArray[np.bool_] | NDArray[np.float64]
    is_error: bool = False

    @property
    def limits(self) -> tuple[float, float]:
        """Return the least and the largest value that there can be; of errors the largest that there is."""
        return (0.0, float(self.values.max()) if self.is_error else 1.0)


class Answered(Protocol):
    """The answers of one system to scored rows, with the truth: of any kind of label."""

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return every metric by name; the first one is the headline."""

    @property
    def row_scores(self) -> RowScores:
        """Return how well each row is answered."""

    @property
    def most_wrong(self) -> NDArray[np.int64]:
        """Return the numbers of rows that are not answered right, the worst one first."""

    @property
    def right(self) -> NDArray[np.bool_] | None:
        """Return which rows are answered wholly right, shape (n,); None where no answer is simply right or wrong."""

    def __len__(self) -> int:
        """Return the number of scored rows, n."""


@dataclass(frozen=True)
class Stated:
    """How sure a system is of its decisions, and whether they are right.

    Attributes
    ----------
    confidence : ndarray of float64, shape (m,)
        The probability of each decision; m / n of them belong to each row, side by side.
    right : ndarray of bool, shape (m,)
    k : int
        Among how many each decision was made.
    of, unit : str
        Whose probability it is, and what the decisions are called.
    """

    confidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    k: int
    of: str
    unit: str


class Probable(Answered, Protocol):
    """Answers with probabilities."""

    @property
    def stated(self) -> Stated:
        """Return how sure the system is of its decisions."""


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

    def __len__(self) -> int:
        """Return the number of scored rows."""
        return len(self.y)

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Return the answered class of each row; the first one of equally probable ones."""
        if self.answers is not None:
            return self.answers
        return np.asarray(self.proba.argmax(axis=1))

    @property
    def outputs(self) -> NDArray[np.float64]:
        """Return the probabilities, as `pipeline.heads.head.Head.outputs` does."""
        return self.proba

    def take(self, rows: NDArray[np.int64]) -> "Scored":
        """Return some rows, in their order."""
        answers = None if self.answers is None else self.answers[rows]
        return Scored(self.y[rows], self.proba[rows], answers)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which rows are classified rightly."""
        return np.asarray(self.predicted == self.y)

    @property
    def indicators(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which class each row has, and which it is answered with, both of shape (n, k)."""
        classes = np.arange(self.proba.shape[1])
        return self.y[:, None] == classes, self.predicted[:, None] == classes

    @property
    def row_scores(self) -> RowScores:
        """Return which rows are classified rightly."""
        return RowScores("accuracy", "accuracy", self.right)

    @property
    def stated(self) -> Stated:
        """Return the largest probability of each row, and whether the class is so, whatever the row is answered with.

        Thresholds and costs may answer with another class than the most probable one, which says nothing of
        probabilities.
        """
        k, of = self.proba.shape[1], "the most probable class's probability"
        right = np.asarray(self.proba.argmax(axis=1) == self.y)
        return Stated(self.proba.max(axis=1), right, k, of, "rows")

    @property
    def most_wrong(self) -> NDArray[np.int64]:
        """Return the numbers of wrongly classified rows, the most probable wrong answer first."""
        wrong = np.flatnonzero(~self.right)
        order = np.argsort(-self.proba[wrong, self.predicted[wrong]], kind="stable")
        return np.asarray(wrong[order])

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return accuracy, macro F1, ROC AUC, log loss and Matthews correlation.

        The mean of F1 is over the classes that occur, in truth or answer. The area is for two classes that of the
        second, for more the mean of one against the rest over classes that occur.
        """
        k = self.proba.shape[1]
        n, known = len(self.y), self.y >= 0
        columns = [1] if k == 2 else list(range(k))
        truth, guess = self.indicators
        of_label = self.proba[np.arange(n), np.maximum(self.y, 0)]
        losses = -np.log(np.clip(of_label, weighted.EPSILON, 1.0))
        n_known = int(known.sum())
        reason = "the scored rows have fewer than two known classes"
        return {
            "accuracy": Metric.share(self.right),
            "f1_macro": Metric(lambda w: weighted.f1_macro(truth, guess, w), n),
            "roc_auc": Metric(
                lambda w: weighted.roc_auc_macro(
                    truth[:, columns], self.proba[:, columns], w * known
                ),
                n_known,
                reason=reason,
            ),
            "log_loss": Metric(
                lambda w: weighted.mean(losses, w * known), n_known, None, reason=reason
            ),
            "matthews": Metric(
                lambda w: weighted.matthews_of_classes(self.y, self.predicted, w),
                n,
                (-1.0, 1.0),
            ),
        }


@dataclass(frozen=True)
class Measured:
    """Metrics of one system: on the rows as they are, and over the resamples of the rows.

    Attributes
    ----------
    metrics : dict of str to Metric
    point : dict of str to float
        NaN where the rows leave a metric undefined.
    samples : dict of str to ndarray of float64, shape (N_RESAMPLES,)
    clusters : Clusters
        What was resampled.
    """

    metrics: dict[str, Metric]
    point: dict[str, float]
    samples: dict[str, NDArray[np.float64]]
    clusters: Clusters


def measure(
    scored: Answered,
    clusters: Clusters | None = None,
    metrics: Sequence[str] | None = None,
) -> Measured:
    """Return metrics of `scored` and their bootstrap distribution.

    Parameters
    ----------
    scored : Answered
    clusters : Clusters, optional
        Rows that belong together and are resampled together. None: every row stands alone.
    metrics : sequence of str, optional
        Names of those that are wanted. None: all of them.
    """
    clusters = clusters or Clusters.of_rows(len(scored))
    chosen = _chosen(scored, metrics)
    parts = [
        {name: metric.of(weights) for name, metric in chosen.items()}
        for weights in bootstrap_weights(clusters)
    ]
    samples = {name: np.concatenate([part[name] for part in parts]) for name in chosen}
    return Measured(chosen, points(scored, metrics), samples, clusters)


def points(scored: Answered, metrics: Sequence[str] | None = None) -> dict[str, float]:
    """Return metrics of the rows as they are; NaN where these leave one undefined."""
    once = np.ones((1, len(scored)))
    return {
        name: float(metric.of(once)[0])
        for name, metric in _chosen(scored, metrics).items()
    }


def _chosen(scored: Answered, names: Sequence[str] | None) -> dict[str, Metric]:
    metrics = scored.metrics
    return metrics if names is None else {name: metrics[name] for name in names}


def figures(measured: Measured) -> dict[str, Figure]:
    """Return every metric as ``{"value": float, "ci95": [low, high], "n": int}``.

    A metric that the rows leave undefined has None for both and a ``reason``.
    """
    out: dict[str, Figure] = {}
    for name, value in measured.point.items():
        metric = measured.metrics[name]
        if math.isnan(value):
            out[name] = _undefined(metric)
        else:
            interval = _interval(measured, name)
            out[name] = {"value": value, "ci95": interval, "n": metric.n}
    return out


def _interval(measured: Measured, name: str) -> list[float] | None:
    """Return the interval of a metric; None for one without bounds that looks the same in every resample."""
    value, samples = measured.point[name], measured.samples[name]
    metric, n_clusters = measured.metrics[name], measured.clusters.n
    if metric.right is not None:
        return list(share_interval(value, metric.n, n_clusters, samples))
    low, high = percentiles(samples)
    if metric.range is None:
        return [low, high] if _varies(low, high) else None
    if _varies(low, high) and n_clusters >= FEW_CLUSTERS:
        return [low, high]
    wide = scaled_wilson(value, metric.range, n_clusters)
    return [min(low, wide[0]), max(high, wide[1])]


def _varies(low: float, high: float) -> bool:
    return high - low > SAME * max(1.0, abs(low))


def differences(ours: Measured, theirs: Measured) -> dict[str, Figure]:
    """Return ours minus theirs for every metric, with paired intervals."""
    out: dict[str, Figure] = {}
    for name in ours.point:
        value = ours.point[name] - theirs.point[name]
        if math.isnan(value):
            is_ours = math.isnan(ours.point[name])
            out[name] = _undefined((ours if is_ours else theirs).metrics[name])
        else:
            interval = _difference_interval(ours, theirs, name)
            out[name] = {"value": value, "ci95": interval, "n": ours.metrics[name].n}
    return out


def _difference_interval(
    ours: Measured, theirs: Measured, name: str
) -> list[float] | None:
    clusters, limits = ours.clusters, ours.metrics[name].range
    right, their_right = ours.metrics[name].right, theirs.metrics[name].right
    if right is not None and their_right is not None:
        n_differ = clusters.subset(np.flatnonzero(right != their_right)).n
        if clusters.n < FEW_CLUSTERS or n_differ < FEW:
            return list(paired_interval(right, their_right, clusters.n))
    samples = ours.samples[name] - theirs.samples[name]
    low, high = percentiles(samples)
    if _varies(low, high):
        return [low, high]
    if np.abs(samples).max() < ROUNDING:  # the same answers to every row
        return [0.0, 0.0]
    a, b = _interval(ours, name), _interval(theirs, name)
    if limits is None or a is None or b is None:
        return None
    p, q = ours.point[name], theirs.point[name]
    most = limits[1] - limits[0]
    return [
        max(-most, p - q - math.hypot(p - a[0], b[1] - q)),
        min(most, p - q + math.hypot(a[1] - p, q - b[0])),
    ]


def _undefined(metric: Metric) -> Figure:
    return {"value": None, "ci95": None, "n": metric.n, "reason": metric.reason}


def confusion(scored: Scored) -> list[list[int]]:
    """Return the counts of rows by true class (rows) and predicted class (columns), k x k."""
    k = scored.proba.shape[1]
    known = scored.y >= 0
    counts = np.bincount(scored.y[known] * k + scored.predicted[known], minlength=k * k)
    return [[int(count) for count in row] for row in counts.reshape(k, k)]

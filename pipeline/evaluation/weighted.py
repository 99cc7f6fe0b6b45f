"""Metrics of rows that count several times, for many resamples at once.

Every function takes weights of shape (b, n), how often each of n rows counts in each of b resamples, and returns one
number a resample, shape (b,); NaN where a resample leaves the metric undefined. Weights of 1 give the metric itself.

.. [1] J. Gorodkin (2004), Comparing two K-category assignments by a K-category correlation coefficient, Computational
   Biology and Chemistry 28.
.. [2] M. G. Kendall (1945), The treatment of ties in ranking problems, Biometrika 33.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.resampling import CHUNK_CELLS, Weights, ratio

Bools = NDArray[np.bool_]
Values = NDArray[np.float64]
EPSILON = 1e-15  # probabilities are kept this far from 0 and 1 in the log loss
CONSTANT = 1e-12  # a variance below this share of the mean square is rounding


def mean(values: NDArray[np.float64] | Bools, weights: Weights) -> Values:
    """Return the mean of `values`, shape (n,); NaN where no row counts."""
    return ratio(weights @ values.astype(np.float64), weights.sum(axis=1))


def f1_macro(truth: Bools, guess: Bools, weights: Weights) -> Values:
    """Return the mean F1 over the columns of `truth` and `guess`, (n, k), that occur in either.

    F1 is the harmonic mean of precision and recall.
    """
    hits = weights @ (truth & guess)  # (b, k)
    total = weights @ truth + weights @ guess
    return mean_of_defined(ratio(2 * hits, total))


def f1_micro(truth: Bools, guess: Bools, weights: Weights) -> Values:
    """Return the F1 of all cells of `truth` and `guess`, (n, k), taken together; NaN where neither has one."""
    hits = weights @ (truth & guess).sum(axis=1)
    total = weights @ (truth.sum(axis=1) + guess.sum(axis=1))
    return ratio(2.0 * hits, total.astype(np.float64))


def roc_auc(positive: Bools, score: Values, weights: Weights) -> Values:
    """Return the probability that a positive row, (n,), has a higher score than a negative one, ties counting half."""
    order = np.argsort(score, kind="stable")
    ranked = score[order]
    places = np.flatnonzero(positive[order])  # of the positive rows, (m,)
    ordered = weights[:, order]
    own = ordered[:, places]  # (b, m)
    all_below, own_below = _running_sums(ordered), _running_sums(own)

    def negatives_below(ends: NDArray[np.intp]) -> Values:
        return all_below[:, ends] - own_below[:, np.searchsorted(places, ends)]

    begin, end = (
        np.searchsorted(ranked, ranked[places], "left"),
        np.searchsorted(ranked, ranked[places], "right"),
    )
    wins = (own * (negatives_below(begin) + negatives_below(end)) / 2).sum(axis=1)
    n_positive = own_below[:, -1]
    return ratio(wins, n_positive * (all_below[:, -1] - n_positive))


def roc_auc_macro(truth: Bools, scores: Values, weights: Weights) -> Values:
    """Return the mean area over the columns of `truth` and `scores`, (n, k), that some rows have and some lack."""
    areas = [
        roc_auc(truth[:, j], scores[:, j], weights)
        for j in range(truth.shape[1])
        if truth[:, j].any()
    ]
    if not areas:
        return np.full(len(weights), np.nan)
    return mean_of_defined(np.stack(areas, axis=1))


def roc_auc_micro(truth: Bools, scores: Values, weights: Weights) -> Values:
    """Return the area over all cells of `truth` and `scores`, (n, k), taken together.

    A few resamples at a time: there are k times as many cells as weights.
    """
    cells, k = truth.size, truth.shape[1]
    step = max(1, CHUNK_CELLS // cells)
    parts = [
        roc_auc(truth.ravel(), scores.ravel(), np.repeat(some, k, axis=1))
        for some in (weights[i : i + step] for i in range(0, len(weights), step))
    ]
    return np.concatenate(parts)


def roc_auc_of_answers(truth: Bools, guess: Bools, weights: Weights) -> Values:
    """Return the area over all cells, (n, k), with the answers for scores: the mean of both recalls."""
    hits, misses, false, right = _decisions(truth, guess, weights)
    return (ratio(hits, hits + misses) + ratio(right, right + false)) / 2


def matthews_of_classes(
    y: NDArray[np.int64], guess: NDArray[np.int64], weights: Weights
) -> Values:
    """Return the Matthews correlation of classes, (n,) [1]_; as scikit-learn 0 where truth or answer is constant."""
    classes = np.union1d(y, guess)
    of_truth = weights @ (y[:, None] == classes)  # (b, k)
    of_guess = weights @ (guess[:, None] == classes)
    hits, n = weights @ (y == guess), weights.sum(axis=1)
    shared = hits * n - (of_truth * of_guess).sum(axis=1)
    spread = (n**2 - (of_truth**2).sum(axis=1)) * (n**2 - (of_guess**2).sum(axis=1))
    return np.nan_to_num(ratio(shared, np.sqrt(spread)))


def matthews_of_labels(truth: Bools, guess: Bools, weights: Weights) -> Values:
    """Return the Matthews correlation of all cells, (n, k); as scikit-learn 0 where truth or answer is constant."""
    hits, misses, false, right = _decisions(truth, guess, weights)
    spread = (hits + misses) * (hits + false) * (right + misses) * (right + false)
    return np.nan_to_num(ratio(hits * right - misses * false, np.sqrt(spread)))


def pearson(x: Values, y: Values, weights: Weights) -> Values:
    """Return the correlation of two columns, (n,); NaN where one is constant."""
    n = weights.sum(axis=1)
    # around a value that occurs, so that what is constant is exactly 0
    x, y = x - _middle(x), y - _middle(y)
    mean_x, mean_y = weights @ x / n, weights @ y / n
    var_x, var_y = (
        _variance(weights @ (v * v) / n, mean) for v, mean in ((x, mean_x), (y, mean_y))
    )
    shared = weights @ (x * y) / n - mean_x * mean_y
    return np.clip(ratio(shared, np.sqrt(var_x * var_y)), -1.0, 1.0)


def spearman(x: Values, y: Values, weights: Weights) -> Values:
    """Return the correlation of the ranks of two columns, (n,), equal values having their mean rank [2]_."""
    n = weights.sum(axis=1)
    a, b = (_ranks(v, weights) - (n[:, None] + 1) / 2 for v in (x, y))  # (b, n)
    shared, of_a, of_b = (
        (weights * one * other).sum(axis=1) for one, other in ((a, b), (a, a), (b, b))
    )
    return np.clip(ratio(shared, np.sqrt(of_a * of_b)), -1.0, 1.0)


def r2(y: Values, values: Values, weights: Weights) -> Values:
    """Return the share of the variance of `y`, (n,), that `values` explain; NaN where `y` is constant."""
    n = weights.sum(axis=1)
    from_middle = y - _middle(y)
    variance = _variance(
        weights @ from_middle**2 / n, np.asarray(weights @ from_middle / n)
    )
    return 1.0 - ratio(np.asarray(weights @ (y - values) ** 2 / n), variance)


def mean_of_defined(columns: Values) -> Values:
    """Return the mean of each row without its NaNs; NaN where there is nothing else."""
    defined = ~np.isnan(columns)
    total = np.where(defined, columns, 0.0).sum(axis=1)
    return ratio(total, defined.sum(axis=1).astype(np.float64))


def _decisions(
    truth: Bools, guess: Bools, weights: Weights
) -> tuple[Values, Values, Values, Values]:
    """Return how many cells are hits, misses, false alarms and rightly left out."""
    hits, misses, false, right = (
        np.asarray(weights @ cells.sum(axis=1), dtype=np.float64)
        for cells in (truth & guess, truth & ~guess, ~truth & guess, ~truth & ~guess)
    )
    return hits, misses, false, right


def _running_sums(columns: Weights) -> Weights:
    """Return the sums of the columns before each, and of all, shape (b, m + 1)."""
    sums = np.zeros((len(columns), columns.shape[1] + 1))
    np.cumsum(columns, axis=1, out=sums[:, 1:])
    return sums


def _ranks(values: Values, weights: Weights) -> Values:
    """Return the rank of each row, 1 the first, in each resample, shape (b, n)."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    below = _running_sums(weights[:, order])
    begin, end = (np.searchsorted(ranked, values, side) for side in ("left", "right"))
    return np.asarray((below[:, begin] + below[:, end] + 1) / 2)


def _middle(values: Values) -> float:
    """Return a value that occurs, near the mean."""
    return float(values[np.abs(values - values.mean()).argmin()])


def _variance(mean_square: Values, means: Values) -> Values:
    """Return variances; exactly 0 where nothing but rounding is left."""
    found = mean_square - means**2
    return np.where(found > CONSTANT * mean_square, found, 0.0)

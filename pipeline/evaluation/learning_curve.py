"""How well rows are answered by the number of labels, and a forecast of what more labels would bring.

The curve is a power law, score = a - b * n**-c [1]_, fitted to the means of a few nested random subsets; of errors b is
negative.

.. [1] R. Figueroa et al. (2012), Predicting sample size required for classification performance, BMC Medical
   Informatics and Decision Making 12:8.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import RowScores
from pipeline.evaluation.resampling import SEED, Clusters, percentiles, resampled_totals

Json = dict[str, Any]  # Any: JSON values
Values = NDArray[np.float64]
FitAndScore = Callable[[NDArray[np.int64]], RowScores]
N_SEEDS = 3
MAX_POINTS = 6  # each half the size of the next
MIN_POINTS = 3  # a curve of three parameters needs as many
MIN_ROWS = 10  # of the smallest subset, and so many for each class
GAIN = 0.01  # the point that is forecast; of errors nothing is
FARTHEST = 10  # times the labels there are: beyond, a curve says nothing
EXPONENTS = np.linspace(0.05, 2.0, 79)


def subset_sizes(n: int, k: int, largest: int) -> list[int]:
    """Return the sizes of a curve, ascending: `n` and its halves; none where there are too few rows.

    Parameters
    ----------
    n, k : int
        Rows fitted on, and their classes.
    largest : int
        More rows than that are too many to fit on several times; the sizes are halves of it then.
    """
    sizes = [min(n, largest)]
    while len(sizes) < MAX_POINTS and sizes[-1] // 2 >= max(2 * MIN_ROWS, MIN_ROWS * k):
        sizes.append(sizes[-1] // 2)
    return sizes[::-1] if len(sizes) >= MIN_POINTS else []


def nested_order(y: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the rows in an order of which every beginning has the classes in their shares.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
    seed : int
    """
    generator = np.random.Generator(np.random.PCG64([SEED, seed]))
    shuffled = generator.permutation(len(y))
    place = np.empty(len(y))
    for number in np.unique(y):
        rows = shuffled[y[shuffled] == number]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.asarray(shuffled[np.argsort(place[shuffled], kind="stable")])


def learning_curve(
    y: NDArray[np.int64],
    sizes: list[int],
    fit_and_score: FitAndScore,
    clusters: Clusters,
) -> Json | None:
    """Return the mean score of the scored rows by the number of labels, and the forecast.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        Strata of the rows to fit on, such as their classes: each subset has them in their shares.
    sizes : list of int
        As `subset_sizes` returns them.
    fit_and_score : callable
        Takes row numbers below n, fits on those rows and tells how well each scored row is answered.
    clusters : Clusters
        Of the scored rows.

    Returns
    -------
    dict or None
        ``points``, ``fit``, ``forecast``, ``method``. None without sizes.
    """
    if not sizes:
        return None
    scores, means = _mean_scores(y, sizes, fit_and_score)  # (sizes, m)
    m = means.shape[1]
    totals = resampled_totals(np.vstack([means, np.ones(m)]).T, clusters)
    samples = totals[:, :-1] / totals[:, -1:]  # (resamples, sizes)
    values = means.mean(axis=1)
    points = []
    for i, (size, value) in enumerate(zip(sizes, values.tolist(), strict=True)):
        low, high = percentiles(samples[:, i])
        interval = [min(low, value), max(high, value)]
        points.append(
            {"n": size, scores.metric: {"value": value, "ci95": interval, "n": m}}
        )
    fit = fit_power_law(np.asarray(sizes), values, is_error=scores.is_error)
    doubled, is_rising = _doubled(scores, sizes, values, samples)
    if scores.is_error:
        forecast: Json = {"points": None, "more_labels": None, "said": f"{doubled}."}
    else:
        forecast = _forecast(fit, doubled, len(y), is_rising=is_rising)
    drawn = "stratified" if len(np.unique(y)) > 1 else "random"
    return {
        "points": points,
        "fit": fit,
        "forecast": forecast,
        "method": (
            f"mean over {N_SEEDS} nested {drawn} subsets, C as it was chosen on all rows; 95 % percentile bootstrap "
            "over the scored rows; least squares for a - b * n**-c"
        ),
    }


def _mean_scores(
    y: NDArray[np.int64], sizes: list[int], fit_and_score: FitAndScore
) -> tuple[RowScores, Values]:
    """Return the scores of the last fit, and for each size the mean over the subsets, shape (sizes, m)."""
    orders = [nested_order(y, seed) for seed in range(N_SEEDS)]
    found = []
    for size in sizes:
        subsets = orders if size < len(y) else [np.arange(len(y))]
        runs = [fit_and_score(np.sort(order[:size])) for order in subsets]
        found.append(np.mean([run.values for run in runs], axis=0))
    return runs[-1], np.asarray(found, dtype=np.float64)


def fit_power_law(
    sizes: NDArray[np.int64], values: Values, *, is_error: bool = False
) -> dict[str, float] | None:
    """Return ``a``, ``b`` and ``c`` of score = a - b * n**-c by least squares; None where it does not get better.

    `c` is looked for on a grid; `a` is at most 1, or of errors at least 0.
    """
    if is_error:  # errors fall as their negatives rise
        found = _rising(sizes, -values, 0.0)
        return found and {"a": -found["a"], "b": -found["b"], "c": found["c"]}
    return _rising(sizes, values, 1.0)


def _rising(
    sizes: NDArray[np.int64], values: Values, most: float
) -> dict[str, float] | None:
    """Return the law of a curve that rises to `most` at most."""
    best: tuple[float, float, float, float] | None = None
    for c in EXPONENTS.tolist():
        x = sizes.astype(np.float64) ** -c
        slope = float(((x - x.mean()) * (values - values.mean())).sum())
        b = -slope / float(((x - x.mean()) ** 2).sum())
        a = float(values.mean() + b * x.mean())
        if a > most:  # the best line through (0, most) then
            a, b = most, float(((most - values) * x).sum() / (x * x).sum())
        loss = float(((a - b * x - values) ** 2).sum())
        if b > 0 and (best is None or loss < best[0]):
            best = loss, a, b, c
    return None if best is None else dict(zip("abc", best[1:], strict=True))


def _forecast(
    fit: dict[str, float] | None, doubled: str, n: int, *, is_rising: bool
) -> Json:
    """Return how many labels more than `n` bring a point; `doubled` says what the last ones brought."""
    more = None
    if fit is None or not is_rising:
        said = f"{doubled}: the curve is too flat, or too noisy, for a forecast."
    elif (needed := _labels_for(fit, n)) is None:
        said = (
            f"{doubled}; the curve levels off at {100 * fit['a']:.1f} %, and {FARTHEST} times the rows would not "
            "bring another point."
        )
    else:
        more = _round(needed)
        said = f"{doubled}; about {more:,} more labelled rows for +1 point, if the curve goes on like that."
    return {"points": 100 * GAIN, "more_labels": more, "said": said}


def _doubled(
    scores: RowScores, sizes: list[int], values: Values, samples: Values
) -> tuple[str, bool]:
    """Return what the last doubling of the labels brought, and whether it clearly raised the scores."""
    rise = float(values[-1] - values[-2])
    low, high = percentiles(samples[:, -1] - samples[:, -2])
    said = f"From {sizes[-2]:,} to {sizes[-1]:,} labelled rows"
    if scores.is_error:
        said += f" the {scores.name} changed by {rise:+.3f} (95 % {low:+.3f} to {high:+.3f})"
    else:
        said += f" {scores.name} changed by {100 * rise:+.1f} points (95 % {100 * low:+.1f} to {100 * high:+.1f})"
    return said, low > 0


def _labels_for(fit: dict[str, float], n: int) -> int | None:
    """Return how many more labels than `n` raise the curve by `GAIN`; None if that is too far away."""
    left = fit["b"] * n ** -fit["c"] - GAIN
    if left <= 0:
        return None
    log_needed = math.log(fit["b"] / left) / fit["c"]  # the number itself may overflow
    return (
        round(math.exp(log_needed)) - n
        if log_needed <= math.log((FARTHEST + 1) * n)
        else None
    )


def _round(count: int) -> int:
    """Return a count to two digits: a forecast has no more."""
    return int(float(f"{count:.1e}"))

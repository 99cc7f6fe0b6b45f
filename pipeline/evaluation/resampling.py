"""Intervals: the bootstrap over clusters of rows, and Wilson's for shares of rows that stand alone.

Rows of one data set are often pieces of each other; such rows are not independent. They are drawn together, as clusters
[1]_; where every row is a cluster of its own this is the ordinary bootstrap. The seed is fixed, so the same rows have
the same weights for every system and every figure of a report.

.. [1] A. C. Davison, D. V. Hinkley (1997), Bootstrap Methods and their Application, section 3.8.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from pipeline.pairs import Text
from pipeline.splitting import text_groups

Weights = NDArray[np.float64]  # (b, n): how often each row counts in each resample
Figure = dict[str, object]  # {"value", "ci95", "n"} and, where undefined, "reason"
N_RESAMPLES = 1_000
CHUNK_CELLS = 4_000_000  # resamples times rows held at once
SEED = 20_260_101
FEW_CLUSTERS = 20  # of fewer the bootstrap's intervals are too narrow
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Clusters:
    """Which rows belong together.

    Attributes
    ----------
    of : ndarray of int64, shape (n_rows,)
        The number of each row's cluster, 0 to `n` - 1.
    n : int
        Clusters.
    """

    of: NDArray[np.int64]
    n: int

    @classmethod
    def of_rows(cls, n: int) -> "Clusters":
        """Return `n` rows that all stand alone."""
        return cls(np.arange(n), n)

    @classmethod
    def of_texts(cls, texts: Sequence[Text]) -> "Clusters":
        """Return the groups of texts that are contained in each other, or of pairs that share one.

        They are those of `pipeline.splitting.text_groups`.
        """
        numbers: dict[str, int] = {}
        of = [numbers.setdefault(name, len(numbers)) for name in text_groups(texts)]
        return cls(np.asarray(of, dtype=np.int64), len(numbers))

    def subset(self, rows: NDArray[np.int64]) -> "Clusters":
        """Return the clusters of some rows, in their order."""
        names, of = np.unique(self.of[rows], return_inverse=True)
        return Clusters(of.astype(np.int64), len(names))


def bootstrap_weights(clusters: Clusters) -> Iterator[Weights]:
    """Yield how often each row counts in each of `N_RESAMPLES` resamples, some resamples at a time."""
    n = clusters.n
    generator = np.random.Generator(np.random.PCG64(SEED))
    size = max(1, min(N_RESAMPLES, CHUNK_CELLS // len(clusters.of)))
    for begin in range(0, N_RESAMPLES, size):
        b = min(size, N_RESAMPLES - begin)
        drawn = generator.integers(0, n, size=(b, n)) + np.arange(b)[:, None] * n
        counts = np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n)
        weights = counts.astype(np.float64)
        yield weights if n == len(clusters.of) else weights[:, clusters.of]


def resampled_totals(
    columns: NDArray[np.float64], clusters: Clusters
) -> NDArray[np.float64]:
    """Return the sum of each column over each resample of the rows.

    Parameters
    ----------
    columns : ndarray of float64, shape (n, m)
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    ndarray of float64, shape (N_RESAMPLES, m)
    """
    return np.concatenate(
        [weights @ columns for weights in bootstrap_weights(clusters)]
    )


def percentiles(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2.5 and 97.5 % percentiles of those values that are defined."""
    low, high = np.percentile(values[~np.isnan(values)], [2.5, 97.5])
    return float(low), float(high)


def ratio(value: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ``value / of``; NaN where `of` is 0."""
    return np.asarray(
        np.divide(value, of, out=np.full_like(value, np.nan), where=of > 0)
    )


def wilson(share: float, n: int, level: float = 0.05) -> tuple[float, float]:
    """Return the Wilson interval of a share of `n` rows, of 95 % unless another level is given."""
    z = Z95 if level == 0.05 else float(ndtri(1 - level / 2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n * n))
    return min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))


def scaled_wilson(
    value: float, limits: tuple[float, float], n: int, level: float = 0.05
) -> tuple[float, float]:
    """Return Wilson's interval of a mean of `n` values within limits: none varies more than one of both limits."""
    least, most = limits
    low, high = wilson((value - least) / (most - least), n, level)
    return least + (most - least) * low, least + (most - least) * high


def mean_interval(
    values: NDArray[np.float64],
    clusters: Clusters,
    limits: tuple[float, float],
    level: float = 0.05,
) -> tuple[float, float]:
    """Return the interval of the mean of values, by Student's t over clusters of rows.

    The mean is a ratio, of the clusters' sums to their sizes; its variance is that of the linearised ratio [3]_. Values
    that are all the same, or of a single cluster, do not tell how they vary; then it is `scaled_wilson`.

    .. [3] W. G. Cochran (1977), Sampling Techniques, section 6.4.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
    clusters : Clusters
        Of the n rows.
    limits : (float, float)
        The least and the largest value that there can be.
    level : float
        Chance that the mean lies outside.
    """
    value, n = float(values.mean()), clusters.n
    sums = np.bincount(clusters.of, values - value, minlength=n)
    error = math.sqrt(n * float(sums @ sums) / max(1, n - 1)) / len(values)
    if n < 2 or error == 0:
        return scaled_wilson(value, limits, n, level)
    half = float(stdtrit(n - 1, 1 - level / 2)) * error
    return max(limits[0], value - half), min(limits[1], value + half)


def paired_interval(
    ours: NDArray[np.bool_], theirs: NDArray[np.bool_], n_clusters: int
) -> tuple[float, float]:
    """Return the 95 % interval of the difference of two shares of the same rows, for rows of which few differ.

    Newcombe's method 10 for paired data [2]_, with as many rows as there are clusters. A bootstrap sees no more than
    the few rows that differ, and nothing where none does.

    .. [2] R. G. Newcombe (1998), Improved confidence intervals for the difference between binomial proportions based on
       paired data, Statistics in Medicine 17.

    Parameters
    ----------
    ours, theirs : ndarray of bool, shape (n,)
        Which rows each system has right.
    n_clusters : int
    """
    p, q = float(ours.mean()), float(theirs.mean())
    spread = math.sqrt(p * (1 - p) * q * (1 - q))
    covariance = float((ours & theirs).mean()) - p * q
    if covariance > 0:  # corrected for continuity
        covariance = max(0.0, covariance - 1 / (2 * n_clusters))
    phi = covariance / spread if spread else 0.0
    (p_low, p_high), (q_low, q_high) = wilson(p, n_clusters), wilson(q, n_clusters)

    def half(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    return (
        max(-1.0, p - q - half(p - p_low, q_high - q)),
        min(1.0, p - q + half(p_high - p, q - q_low)),
    )


def share_interval(
    share: float, n: int, n_clusters: int, samples: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the 95 % interval of a share of `n` rows.

    Wilson's where every row stands alone, else the percentiles of `samples`. Those say too little of a share of 0 or 1,
    which does not vary from resample to resample, and of fewer than `FEW_CLUSTERS`; then it is Wilson's for as many
    rows as there are clusters.

    Parameters
    ----------
    share : float
    n, n_clusters : int
        Rows, and the clusters they form.
    samples : ndarray of float64, shape (N_RESAMPLES,)
        The share over the resamples.
    """
    if n_clusters == n or n_clusters < FEW_CLUSTERS or share in {0.0, 1.0}:
        return wilson(share, n_clusters)
    low, high = percentiles(samples)
    return min(low, share), max(high, share)

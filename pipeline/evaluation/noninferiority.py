"""Whether a new system is not worse than an old one by more than a margin, on the same rows.

That is shown where the lower bound of the one-sided 95 % interval of the paired difference lies above minus the
margin. The bound is the 5 % percentile of a bootstrap over clusters of rows, taken as if the new system had lost one
cluster more than it did: a bootstrap sees nothing of losses that happened not to occur, so where few rows tell the two
apart it is too sure. Of counts the same step leads to Clopper and Pearson's limit [1]_; a system that lost none of
n rows gets the bound -3 / n. ``python -m benchmarks.promotion`` measures how often a system that is worse passes.

.. [1] C. J. Clopper, E. S. Pearson (1934), The use of confidence or fiducial limits illustrated in the case of the
   binomial, Biometrika 26.
"""

import math
from dataclasses import dataclass

import numpy as np

from pipeline.evaluation.metrics import Scored, measure, points
from pipeline.evaluation.resampling import Clusters

LEVEL = 0.05  # of the test: how often a system that is worse by the margin may pass
# Normal quantiles of 1 - LEVEL, and of the power of 0.8 that `NonInferiority.n_needed` asks for.
Z_LEVEL, Z_POWER = 1.6448536269514722, 0.8416212335729143
ROUNDING = (
    1e-9  # far below one row of any test: a bound may equal the margin but for it
)


@dataclass(frozen=True)
class NonInferiority:
    """What a comparison says.

    Attributes
    ----------
    metric : str
        One of `pipeline.config.PromotionSpec.choices`.
    margin : float
        By how much the new system may be worse, >= 0; 0: it must be better.
    old, new : float
        The metric of either.
    lower : float
        Lower bound of the one-sided 95 % interval of new minus old.
    n, n_clusters : int
        Rows, and the clusters they form.
    """

    metric: str
    margin: float
    old: float
    new: float
    lower: float
    n: int
    n_clusters: int

    @property
    def difference(self) -> float:
        """Return new minus old."""
        return self.new - self.old

    @property
    def is_shown(self) -> bool:
        """Tell whether the new system is shown not to be worse by more than the margin."""
        return self.lower > -self.margin + ROUNDING

    @property
    def n_needed(self) -> int | None:
        """Return how many rows would show it four times out of five, if the difference is what it looks like.

        None where it looks worse by the margin or more: then no number of rows would.
        """
        room = self.difference + self.margin
        if room <= 0:
            return None
        error = (self.difference - self.lower) / Z_LEVEL
        return math.ceil(self.n * ((Z_LEVEL + Z_POWER) * error / room) ** 2)


def non_inferiority(
    new: Scored,
    old: Scored,
    *,
    margin: float,
    metric: str = "accuracy",
    clusters: Clusters | None = None,
) -> NonInferiority:
    """Compare two systems on the same rows.

    Parameters
    ----------
    new, old : Scored
        n rows each, in the same order, with the same classes.
    margin : float
        In units of the metric, >= 0.
    metric : str
        One of `pipeline.config.PromotionSpec.choices`.
    clusters : Clusters, optional
        Rows that belong together. None: every row stands alone.
    """
    n = len(new.y)
    clusters = clusters or Clusters.of_rows(n)
    size = round(n / clusters.n)  # rows of the cluster that is taken for lost
    more = Clusters(np.append(clusters.of, [clusters.n] * size), clusters.n + 1)
    worse, better = (
        measure(scored, more, (metric,)).samples[metric]
        for scored in _with_one_lost(new, old, size)
    )
    bound = np.quantile(worse - better, LEVEL, method="lower") * (n + size) / n
    return NonInferiority(
        metric=metric,
        margin=margin,
        old=points(old, (metric,))[metric],
        new=points(new, (metric,))[metric],
        lower=max(-1.0, float(bound)),
        n=n,
        n_clusters=clusters.n,
    )


def _with_one_lost(new: Scored, old: Scored, size: int) -> tuple[Scored, Scored]:
    """Return both with some rows more, which only the old system has right.

    They are of the rarest class, where macro F1 loses most, and taken for the most frequent other one.
    """
    k = new.proba.shape[1]
    counts = np.bincount(new.y[new.y >= 0], minlength=k)
    order = np.argsort(counts, kind="stable")
    rare = int(order[counts[order] > 0][0]) if counts.any() else 0
    other = int(order[order != rare][-1])
    return _with_rows(new, rare, other, size), _with_rows(old, rare, rare, size)


def _with_rows(scored: Scored, y: int, answer: int, size: int) -> Scored:
    """Return a system with some rows more, of class `y`, that it answers so."""
    proba = np.tile(np.eye(scored.proba.shape[1])[answer], (size, 1))
    return Scored(
        np.append(scored.y, [y] * size),
        np.concatenate([scored.proba, proba]),
        np.append(scored.predicted, [answer] * size),
    )

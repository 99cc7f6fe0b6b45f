"""From which confidence on to answer, so that the error rate among answered rows stays below a promise.

The rows, the most confident first, are tested share by share: each time the hypothesis that the error rate among them
is above the promised one, by the exact binomial test, until it is not rejected. Testing in a fixed sequence keeps the
chance of any wrong rejection at the level of one test [1]_ [2]_. A few of the surest rows may err by chance, which ends
a sequence that begins with them, so there are three, at a third of the level each.

Rows of one cluster may err together. So many rows count only as their effective number, n² / Σ m² for clusters of m
rows [3]_, which is n where each stands alone: it supposes that the rows of a cluster err all together or not at all,
and so tells too little rather than too much. The test is that of as many rows with the same error rate [4]_.

.. [1] A. N. Angelopoulos et al. (2021), Learn then Test, arXiv 2110.01052, section 2.
.. [2] Y. Geifman, R. El-Yaniv (2017), Selective Classification for Deep Neural Networks, NeurIPS: the task.
.. [3] L. Kish (1965), Survey Sampling, sections 5.4 and 8.2: the design effect 1 + (m - 1) ρ, with ρ = 1.
.. [4] E. L. Korn, B. I. Graubard (1998), Confidence Intervals for Proportions with Small Expected Number of Positive
   Counts Estimated from Survey Data, Survey Methodology 24.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from pipeline.errors import DataError

LEVEL = 0.05  # chance that the promise does not hold
STEPS = 50  # shares of rows that are tested: 2 %, 4 %, …
# A sequence begins at the first share with so many times the rows that pass without an error.
BEGINS = (2, 4, 8)
RATES = tuple(
    i / 1_000 for i in range(1, 1_000)
)  # that a message may name as reachable


def min_confidence(
    confidence: NDArray[np.float64],
    is_right: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    max_error: float,
) -> float:
    """Return the least confidence to answer at; 0.0 where every row may be answered.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        The probability of each row's answer, of rows that neither classifier nor decision rule was fitted on.
    is_right : ndarray of bool, shape (n,)
    clusters : ndarray of int64, shape (n,)
        Rows of one number belong together.
    max_error : float
        The promised error rate among answered rows, strictly between 0 and 1.

    Raises
    ------
    DataError
        If no share of the rows is shown to keep the promise; names the least rate that one is.
    """
    shares = _Shares.of(confidence, is_right, clusters)
    found = shares.lowest(max_error)
    if found is not None:
        return found
    reachable = [
        rate
        for rate in filter(max_error.__lt__, RATES)
        if shares.lowest(rate) is not None
    ]
    advice = (
        f"{reachable[0]:g} can be promised" if reachable else "no rate can be promised"
    )
    raise DataError(
        f"--max-error {max_error:g} cannot be promised: of {len(confidence):,} rows in {len(np.unique(clusters)):,} "
        "clusters, each scored by a fit without it, no share of the most confident is shown to have as few errors; "
        f"{advice}. Pass a larger rate, or add rows."
    )


@dataclass(frozen=True)
class _Shares:
    """The shares of the most confident rows that are tested, of rising size.

    Attributes
    ----------
    lowest_inside : ndarray of float64, shape (s,)
        The least confidence in each; 0.0 of all rows.
    error : ndarray of float64, shape (s,)
    effective : ndarray of float64, shape (s,)
        Number of independent rows that tell as much.
    """

    lowest_inside: NDArray[np.float64]
    error: NDArray[np.float64]
    effective: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        confidence: NDArray[np.float64],
        is_right: NDArray[np.bool_],
        clusters: NDArray[np.int64],
    ) -> "_Shares":
        n, order = len(confidence), np.argsort(-confidence, kind="stable")
        ranked = confidence[order]
        shares = -(-n * np.arange(1, STEPS + 1) // STEPS)
        sizes = np.searchsorted(-ranked, -ranked[shares - 1], "right")  # equals too
        n_wrong = np.cumsum(~is_right[order])[sizes - 1]
        # a row that joins m others of its cluster makes m² to (m + 1)²
        squares = np.cumsum(2 * _earlier(clusters[order]) + 1)[sizes - 1]
        lowest_inside = np.where(sizes == n, 0.0, ranked[sizes - 1])
        return cls(lowest_inside, n_wrong / sizes, sizes**2 / squares)

    def lowest(self, max_error: float) -> float | None:
        """Return the least confidence that a sequence ends at; None where none passes its first test."""
        level, n = LEVEL / len(BEGINS), self.effective
        n_wrong = n * self.error
        chance = betainc(n - n_wrong, n_wrong + 1, 1 - max_error)  # binomial, if whole
        passes = np.where(self.error < 1, chance <= level, False)
        fewest = math.ceil(math.log(level) / math.log1p(-max_error))
        reached = np.maximum.accumulate(n)
        ends = []
        for times in BEGINS:
            begin = int(np.searchsorted(reached, min(times * fewest, reached[-1])))
            n_passed = int(np.cumprod(passes[begin:]).sum())
            if n_passed:
                ends.append(begin + n_passed - 1)
        return float(self.lowest_inside[max(ends)]) if ends else None


def _earlier(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place how many earlier ones have the same name, shape (n,)."""
    order = np.argsort(names, kind="stable")
    _, begins, counts = np.unique(names[order], return_index=True, return_counts=True)
    found = np.empty(len(names), dtype=np.int64)
    found[order] = np.arange(len(names)) - np.repeat(begins, counts)
    return found

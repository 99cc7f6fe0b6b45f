"""From which confidence on to answer, so that the error rate among answered rows stays below a promise.

The rows, the most confident first, are tested share by share: each time the hypothesis that the error rate among them
is above the promised one, by the exact binomial test, until it is not rejected. Testing in a fixed sequence keeps the
chance of any wrong rejection at the level of one test [1]_ [2]_. A few of the surest rows may err by chance, which ends
a sequence that begins with them, so there are three, at a third of the level each. The rows are taken as independent.

.. [1] A. N. Angelopoulos et al. (2021), Learn then Test, arXiv 2110.01052, section 2.
.. [2] Y. Geifman, R. El-Yaniv (2017), Selective Classification for Deep Neural Networks, NeurIPS: the task.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from pipeline.errors import DataError

LEVEL = 0.05  # chance that the promise does not hold
STEPS = 50  # shares of rows that are tested: 2 %, 4 %, …
# A sequence begins at the first share with so many times the rows that pass without an error.
BEGINS = (2, 4, 8)
RATES = tuple(
    i / 1_000 for i in range(1, 1_000)
)  # that a message may name as reachable


def min_confidence(
    confidence: NDArray[np.float64], is_right: NDArray[np.bool_], max_error: float
) -> float:
    """Return the least confidence to answer at; 0.0 where every row may be answered.

    Parameters
    ----------
    confidence : ndarray of float64, shape (n,)
        The probability of each row's answer, of rows that neither classifier nor decision rule was fitted on.
    is_right : ndarray of bool, shape (n,)
    max_error : float
        The promised error rate among answered rows, strictly between 0 and 1.

    Raises
    ------
    DataError
        If no share of the rows is shown to keep the promise; names the least rate that one is.
    """
    order = np.argsort(-confidence, kind="stable")
    ranked = confidence[order]
    n_wrong = np.cumsum(~is_right[order], dtype=np.int64)
    found = _lowest(ranked, n_wrong, max_error)
    if found is not None:
        return found
    reachable = [
        rate
        for rate in filter(max_error.__lt__, RATES)
        if _lowest(ranked, n_wrong, rate) is not None
    ]
    advice = (
        f"{reachable[0]:g} can be promised" if reachable else "no rate can be promised"
    )
    raise DataError(
        f"--max-error {max_error:g} cannot be promised: of {len(confidence):,} rows, each scored by a fit without it, "
        f"no share of the most confident is shown to have as few errors; {advice}. Pass a larger rate, or add rows."
    )


def _lowest(
    ranked: NDArray[np.float64], n_wrong: NDArray[np.int64], max_error: float
) -> float | None:
    """Return the least confidence that a sequence ends at; None where none passes its first test.

    Parameters
    ----------
    ranked : ndarray of float64, shape (n,)
        Confidences, falling.
    n_wrong : ndarray of int64, shape (n,)
        Wrong rows up to each.
    max_error : float
    """
    n = len(ranked)
    shares = -(-n * np.arange(1, STEPS + 1) // STEPS)
    sizes = np.searchsorted(-ranked, -ranked[shares - 1], "right")  # equals go together
    passes = binom.cdf(n_wrong[sizes - 1], sizes, max_error) <= LEVEL / len(BEGINS)
    fewest = math.ceil(math.log(LEVEL / len(BEGINS)) / math.log1p(-max_error))
    ends = []
    for times in BEGINS:
        begin = int(np.searchsorted(sizes, min(times * fewest, n)))
        n_passed = int(np.cumprod(passes[begin:]).sum())
        if n_passed:
            ends.append(int(sizes[begin + n_passed - 1]))
    if not ends:
        return None
    return 0.0 if max(ends) == n else float(ranked[max(ends) - 1])

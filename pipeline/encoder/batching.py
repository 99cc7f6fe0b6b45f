"""Batches by token length: little padding, and at most so many tokens at once."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def batches_by_length(
    n_tokens: Sequence[int] | NDArray[np.int32], budget: int
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, longest texts first, so that rows times longest row stays within `budget`.

    Parameters
    ----------
    n_tokens : sequence of int, length n
        Tokens of each row, >= 0.
    budget : int
        Tokens in one batch, padding included. A row longer than that is a batch of its own.
    """
    lengths = np.asarray(n_tokens)
    order = np.argsort(-lengths, kind="stable")
    begin = 0
    while begin < len(order):
        size = max(1, budget // max(1, int(lengths[order[begin]])))
        yield order[begin : begin + size]
        begin += size

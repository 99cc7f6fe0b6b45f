"""Batches by token length: little padding, and at most so many tokens at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EncoderError


@dataclass(frozen=True)
class EncodedRows:
    """Some of the texts, encoded.

    Attributes
    ----------
    rows : ndarray of int64, shape (m,)
        Which of the texts.
    features : ndarray of float32, shape (m, d)
    n_tokens : ndarray of int32, shape (m,)
        Tokens of each text before it was cut, special ones included.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    n_tokens: NDArray[np.int32]


def not_finite(n_broken: int, n: int, which: str) -> EncoderError:
    """Return the error for features with NaN or infinity; `which` names their texts."""
    return EncoderError(
        f"{n_broken} of {n} vectors of a batch hold NaN or infinity (texts: {which}). "
        "Try --precision float32, or another encoder."
    )


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


def padded(
    tokens: Sequence[Sequence[int]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask of a batch, each int64 (n, t): rows filled up to the longest; mask 1 for tokens, else 0."""
    shape = len(tokens), max(len(ids) for ids in tokens)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask

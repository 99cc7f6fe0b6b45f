"""Batches by token length: little padding, and at most so many tokens at once."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EncoderError
from pipeline.pairs import Text, n_characters

# Texts sorted together: this many, as padding gains nothing from more, and no more characters than a stopped run can
# wait for the tokenizer to read.
WINDOW = 8_192
WINDOW_CHARS = 8 * 2**20
Row = TypeVar("Row", bound=Text)
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


class Tokens(NamedTuple):
    """Texts as token ids.

    Attributes
    ----------
    ids : list of n ndarrays of int32, each of shape (t,)
        The ids of each text or pair, cut; at least one.
    n_tokens : ndarray of int32, shape (n,)
        Tokens of each text before it was cut.
    segments : list of n ndarrays of int32, each of shape (t,), optional
        Of pairs: 0 for a token of the first text, 1 for one of the second, as the tokenizer says. None: all 0.
    """

    ids: list[NDArray[np.int32]]
    n_tokens: NDArray[np.int32]
    segments: list[NDArray[np.int32]] | None = None

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Return the tokens of each text as it is encoded, shape (n,)."""
        return np.fromiter(map(len, self.ids), np.int32, len(self.ids))


class TokenStates(NamedTuple):
    """One batch as the encoder computes it, before pooling.

    Attributes
    ----------
    input_ids, mask : ndarray of int64, shape (n, t)
        Padding has the mask 0.
    layers : list of ndarray of float32, each of shape (n, t, d)
        The embeddings, then what each layer gives, up to the one that features are made of.
    """

    input_ids: NDArray[np.int64]
    mask: NDArray[np.int64]
    layers: list[NDArray[np.float32]]


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
    n_padded : int
        Tokens that were computed, padding included.
    """

    rows: NDArray[np.int64]
    features: NDArray[np.float32]
    n_tokens: NDArray[np.int32]
    n_padded: int


class EncodedWindow(NamedTuple):
    """Texts that were sorted by length together, encoded; in the order they came.

    Attributes
    ----------
    features : ndarray of float32, shape (n, d)
        All values are finite.
    n_tokens : ndarray of int32, shape (n,)
        Tokens of each text before it was cut, special ones included.
    """

    features: NDArray[np.float32]
    n_tokens: NDArray[np.int32]


def not_finite(n_broken: int, n: int, which: str) -> EncoderError:
    """Return the error for features with NaN or infinity; `which` names their texts."""
    return EncoderError(
        f"{n_broken} of {n} vectors of a batch hold NaN or infinity (texts: {which}). "
        "Try --precision float32, or another encoder."
    )


def windows(texts: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the texts or pairs in order, as many at a time as are sorted by length together."""
    window: list[Row] = []
    n_chars = 0
    for text in texts:
        window.append(text)
        n_chars += n_characters(text)
        if len(window) == WINDOW or n_chars >= WINDOW_CHARS:
            yield window
            window, n_chars = [], 0
    if window:
        yield window


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
    lengths = lengths[order]
    begin = 0
    while begin < len(order):
        size = max(1, budget // max(1, int(lengths[begin])))
        size = _shortened(lengths[begin : begin + size], budget)
        yield order[begin : begin + size]
        begin += size


def padded(
    tokens: Sequence[NDArray[np.int32]], pad_id: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids and mask of a batch, each int64 (n, t): rows filled up to the longest; mask 1 for tokens, else 0."""
    shape = len(tokens), max(len(ids) for ids in tokens)
    input_ids = np.full(shape, pad_id, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, ids in enumerate(tokens):
        input_ids[row, : len(ids)] = ids
        mask[row, : len(ids)] = 1
    return input_ids, mask


def _shortened(lengths: NDArray[np.int32], budget: int) -> int:
    """Return after how many of a batch's rows, longest first, it ends: early if that saves an eighth of its budget."""
    saved = np.arange(len(lengths), 0, -1) * (lengths[0] - lengths)
    best = int(saved.argmax())
    return best if saved[best] > budget // 8 else len(lengths)


def cpu_batch_tokens(width: int, cache_bytes: int) -> int:
    """Return how many tokens a batch should hold on a processor, padding included: a power of two, 512 to 4,096.

    As many as let the widest activation, float32 (tokens, `width`), stay in a quarter of the largest cache: larger
    batches are no faster, and of a thousand texts they pad twice as much. This is found from the machine and not by
    timing, so that the same run gives the same bits again.

    Parameters
    ----------
    width : int
        Hidden units of the feed-forward layers.
    cache_bytes : int
    """
    fitting = cache_bytes // (4 * 4 * width)
    return int(2 ** np.clip(int(fitting).bit_length() - 1, 9, 12))


def largest_cache_bytes() -> int:
    """Return the size of the processor's last cache; 32 MiB where Linux does not tell."""
    try:
        sizes = [path.read_text().strip() for path in CACHES.glob("index*/size")]
        return max(int(size.removesuffix("K")) for size in sizes) * 2**10
    except (OSError, ValueError):
        return 32 * 2**20

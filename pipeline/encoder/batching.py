"""Batches by token length: little padding, and at most so many tokens at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EncoderError

# Texts sorted together: this many, as padding gains nothing from more, and no more characters than a stopped run can
# wait for the tokenizer to read.
WINDOW = 16_384
WINDOW_CHARS = 8 * 2**20


class Tokens(NamedTuple):
    """Texts as token ids.

    Attributes
    ----------
    ids : list of n ndarrays of int32, each of shape (t,)
        The ids of each text, cut; at least one.
    n_tokens : ndarray of int32, shape (n,)
        Tokens of each text before it was cut.
    """

    ids: list[NDArray[np.int32]]
    n_tokens: NDArray[np.int32]

    @property
    def lengths(self) -> NDArray[np.int32]:
        """Return the tokens of each text as it is encoded, shape (n,)."""
        return np.fromiter(map(len, self.ids), np.int32, len(self.ids))


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


def not_finite(n_broken: int, n: int, which: str) -> EncoderError:
    """Return the error for features with NaN or infinity; `which` names their texts."""
    return EncoderError(
        f"{n_broken} of {n} vectors of a batch hold NaN or infinity (texts: {which}). "
        "Try --precision float32, or another encoder."
    )


def windows(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in order, as many at a time as are sorted by length together."""
    window: list[str] = []
    n_chars = 0
    for text in texts:
        window.append(text)
        n_chars += len(text)
        if len(window) == WINDOW or n_chars >= WINDOW_CHARS:
            yield window
            window, n_chars = [], 0
    if window:
        yield window


def batches_by_length(
    n_tokens: Sequence[int] | NDArray[np.int32], budget: Callable[[], int]
) -> Iterator[NDArray[np.int64]]:
    """Yield row numbers, longest texts first, so that rows times longest row stays within a budget.

    Parameters
    ----------
    n_tokens : sequence of int, length n
        Tokens of each row, >= 0.
    budget : callable () -> int
        Tokens of the next batch, padding included; `TokenBudget` is one. A row longer than that is a batch of its own.
    """
    lengths = np.asarray(n_tokens)
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    begin = 0
    while begin < len(order):
        tokens = budget()
        size = max(1, tokens // max(1, int(lengths[begin])))
        size = _shortened(lengths[begin : begin + size], tokens)
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


class TokenBudget:
    """Finds how many tokens a batch should hold on this machine.

    Only time depends on it, and rows by rounding. Until `WARM_TOKENS` were encoded the default is used: a small job
    is not worth a search. Then candidates take turns, up and down, as texts come longest first and machines have slow
    moments. One that beats the default by `MARGIN` in the median of seconds a token is kept.

    Parameters
    ----------
    default : int
        Tokens, padding included.
    others : sequence of int
        Further candidates; without any, the default is all there is.
    """

    WARM_TOKENS = 2**15
    ROUNDS = 6
    MARGIN = 0.03

    def __init__(self, default: int, others: Sequence[int] = ()) -> None:
        candidates = sorted({default, *others})
        self._token_s: dict[int, list[float]] = {tokens: [] for tokens in candidates}
        self._turns = cycle([*candidates, *reversed(candidates)])
        self._default = self._now = default
        self._is_found = not others
        self._warm_tokens = 0

    def __call__(self) -> int:
        """Return how many tokens the next batch may hold."""
        if self._warm_tokens >= self.WARM_TOKENS and not self._is_found:
            self._now = next(self._turns)
        return self._now

    def note(self, n_padded: int, elapsed_s: float) -> None:
        """Take how long the last batch took; one that was not half full says nothing."""
        if self._warm_tokens < self.WARM_TOKENS:
            self._warm_tokens += n_padded
        elif not self._is_found and n_padded >= self._now / 2:
            self._token_s[self._now].append(elapsed_s / n_padded)
            self._settle()

    def _settle(self) -> None:
        """Keep the best candidate once each had its rounds."""
        if min(map(len, self._token_s.values())) < self.ROUNDS:
            return
        token_s = {tokens: median(found) for tokens, found in self._token_s.items()}
        best = min(token_s, key=token_s.__getitem__)
        is_worth_it = token_s[best] < (1 - self.MARGIN) * token_s[self._default]
        self._now = best if is_worth_it else self._default
        self._is_found = True

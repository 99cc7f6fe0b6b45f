"""From a data set's texts to stored features: look up what is known, encode what is not, in parts.

A part is published at least every ten seconds of encoding, so a killed run loses seconds.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.batching import EncodedRows, not_finite
from pipeline.errors import EncoderError
from pipeline.features.store import FeatureStore, Keys, row_keys

PART_S = 10.0
PART_BYTES = 128 * 2**20
SAME = 1e-6  # rounding between batches stays below, texts that differ far above
N_NAMED = 5


class Stopped(BaseException):
    """Raised by ``on_progress`` to stop; what was encoded so far is stored first."""


class Encoder(Protocol):
    """What the extraction needs of an encoder."""

    def encode_batches(self, texts: Sequence[str]) -> Iterator[EncodedRows]:
        """Yield each text's features exactly once, in any order."""
        ...


@dataclass(frozen=True)
class Progress:
    """How far an extraction is.

    Attributes
    ----------
    done, total : int
        Texts encoded, and texts to encode.
    tokens : int
        Tokens encoded.
    share : float
        Of the characters to encode: long texts come first, so texts would mislead.
    elapsed_s : float
        Seconds since encoding began.
    """

    done: int
    total: int
    tokens: int
    share: float
    elapsed_s: float


@dataclass(frozen=True)
class Extraction:
    """What one extraction did.

    Attributes
    ----------
    keys : ndarray of S16, shape (n,)
        The row keys of the texts, in their order.
    rows_encoded : int
        Distinct texts that went through the encoder.
    elapsed_s : float
        Seconds of encoding and storing, loading not included.
    """

    keys: Keys
    rows_encoded: int
    elapsed_s: float


def extract_missing(
    texts: Sequence[str],
    store: FeatureStore,
    load_encoder: Callable[[], Encoder],
    *,
    feature_dtype: str,
    on_progress: Callable[[Progress], None] | None = None,
    name_row: Callable[[int], str] = "text {}".format,
) -> Extraction:
    """Encode the texts that `store` does not hold yet, once each, and store them.

    Parameters
    ----------
    texts : sequence of str, length n
    store : FeatureStore
        Loaded before and after.
    load_encoder : callable () -> Encoder
        Called only if something is missing.
    feature_dtype : {"float32", "float16"}
    on_progress : callable (Progress) -> None, optional
        Called after each batch; may raise to stop: with `Stopped` what was encoded so far is stored, with anything
        else only the parts that already are.
    name_row : callable (int) -> str, optional
        What people call a position in `texts`, for error messages.

    Raises
    ------
    EncoderError
        If the encoder gives NaN or infinity (earlier parts stay stored), or the same vector for every text (nothing
        is stored).
    CacheError
        If the store holds features of another length.
    """
    keys = row_keys(texts)
    wanted, first = np.unique(keys, return_index=True)
    todo = first[store.missing(wanted)]
    if not len(todo):
        return Extraction(keys, 0, 0.0)
    encoder = load_encoder()
    began = time.monotonic()
    part = _Part(store, np.dtype(feature_dtype))
    wanted_texts = [texts[i] for i in todo]
    n_chars = np.array([len(text) + 1 for text in wanted_texts])
    tokens = chars = 0
    for batch in encoder.encode_batches(wanted_texts):
        _check_finite(batch, todo[batch.rows], part.dtype, name_row)
        part.add(keys[todo[batch.rows]], batch)
        tokens += int(batch.n_tokens.sum())
        chars += int(n_chars[batch.rows].sum())
        if on_progress is not None:
            share, elapsed_s = chars / int(n_chars.sum()), time.monotonic() - began
            with part.kept_if_stopped():
                on_progress(Progress(part.rows, len(todo), tokens, share, elapsed_s))
        part.flush_if_due()
    part.flush()
    elapsed_s = time.monotonic() - began
    store.load()
    return Extraction(keys, len(todo), elapsed_s)


def _check_finite(
    batch: EncodedRows,
    rows: NDArray[np.int64],
    dtype: np.dtype[np.floating],
    name_row: Callable[[int], str],
) -> None:
    """Make sure that a batch can be stored; `rows` are its texts' positions in the data set.

    Raises
    ------
    EncoderError
        Names the rows, or the type that is too small.
    """
    broken = np.sort(rows[~np.isfinite(batch.features).all(axis=1)]).tolist()
    if broken:
        more = f" and {len(broken) - N_NAMED} more" if len(broken) > N_NAMED else ""
        named = ", ".join(map(name_row, broken[:N_NAMED])) + more
        raise not_finite(len(broken), len(rows), named)
    with np.errstate(over="ignore"):  # looked for here
        fits = np.isfinite(batch.features.astype(dtype)).all()
    if not fits:
        raise EncoderError(
            f"Features up to {np.abs(batch.features).max():.3g} do not fit {dtype}. Pass --feature-dtype float32."
        )


class _Part:
    """Encoded rows not yet on disk; the first part of a store waits until two of its rows differ."""

    def __init__(self, store: FeatureStore, dtype: np.dtype[np.floating]) -> None:
        self._store, self.dtype = store, dtype
        self._differs = not store.is_empty
        self._first: NDArray[np.float32] | None = None
        self.rows = 0
        self._clear()

    def _clear(self) -> None:
        self._keys: list[Keys] = []
        self._features: list[NDArray[np.floating]] = []
        self._n_tokens: list[NDArray[np.int32]] = []
        self._size_bytes = 0
        self._began = time.monotonic()

    def add(self, keys: Keys, batch: EncodedRows) -> None:
        self._keys.append(keys)
        self._features.append(batch.features.astype(self.dtype))
        self._n_tokens.append(batch.n_tokens)
        self._size_bytes += self._features[-1].nbytes
        self.rows += len(keys)
        if self._first is None:
            self._first = batch.features[0]
        if not self._differs:
            self._differs = not np.allclose(
                batch.features, self._first, rtol=SAME, atol=SAME
            )

    def flush_if_due(self) -> None:
        is_due = self._differs and time.monotonic() - self._began >= PART_S
        if is_due or self._size_bytes >= PART_BYTES:
            self.flush()

    @contextmanager
    def kept_if_stopped(self) -> Iterator[None]:
        try:
            yield
        except Stopped:
            if self._differs:
                self.flush()
            raise

    def flush(self) -> None:
        if not self._differs and self.rows > 1:
            raise EncoderError(
                f"All {self.rows:,} texts got the same features{self._zeros()}: nothing can be learned from them. "
                "Pass --pooling mean and --layer -1 (--pooling cls with --layer 0 is the same for every text), "
                "or another --encoder."
            )
        if self._keys:
            self._store.append(
                np.concatenate(self._keys),
                np.concatenate(self._features),
                np.concatenate(self._n_tokens),
            )
        self._clear()

    def _zeros(self) -> str:
        return "" if self._first is None or self._first.any() else ", all zero"


def token_facts(n_tokens: NDArray[np.int32], max_length: int) -> dict[str, object]:
    """Return how many tokens the rows have and how many were cut at `max_length`.

    Parameters
    ----------
    n_tokens : ndarray of int32, shape (n,)
        Tokens of each row before cutting, special ones included.
    max_length : int
    """
    cut = np.maximum(n_tokens.astype(np.int64) - max_length, 0)
    total = int(n_tokens.sum(dtype=np.int64))
    return {
        "tokens": total,
        "mean_tokens": round(total / max(1, len(n_tokens)), 2),
        "longest_tokens": int(n_tokens.max(initial=0)),
        "rows_cut": int((cut > 0).sum()),
        "tokens_cut": int(cut.sum()),
    }

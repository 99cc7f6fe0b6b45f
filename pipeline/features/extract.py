"""From a data set's texts to stored features: look up what is known, encode what is not, in parts.

Texts come block by block and go in parts of at most ten seconds of encoding, so a killed run loses seconds and memory
does not grow with the data but for some 30 bytes a row.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import EncodedRows, Tokens, not_finite, windows
from pipeline.errors import EncoderError
from pipeline.features.keys import (
    Keys,
    begin_keys,
    first_of_each,
    key_blocks,
    row_keys,
)
from pipeline.features.part import Part
from pipeline.features.store import FeatureStore
from pipeline.features.texts import Texts
from pipeline.pairs import Text
from pipeline.storage import disk

N_NAMED = 5
KeyBlocks = Callable[[], Iterator[tuple[int, Keys]]]  # as `keys.key_blocks` yields them


class Stopped(BaseException):
    """The run is to end; what was encoded is kept."""


class Encoder(Protocol):
    """What the extraction needs of an encoder."""

    def tokenize(self, texts: Sequence[Text]) -> Tokens:
        """Return the texts' ids; called in a thread of its own while others are encoded."""
        ...

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
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
        Tokens encoded, without those that were cut.
    padded : int
        Tokens computed: those and padding.
    share : float
        Of the work: of some thousand texts the long ones come first, so their number alone would mislead.
    elapsed_s : float
        Seconds since encoding began.
    """

    done: int
    total: int
    tokens: int
    padded: int
    share: float
    elapsed_s: float


@dataclass(frozen=True)
class Extraction:
    """What one extraction did.

    Attributes
    ----------
    n : int
        Rows of the data set.
    rows_encoded : int
        Distinct texts that went through the encoder.
    damaged : list of str
        Shards that were moved to quarantine; their rows were encoded again.
    tokens, padded : int
        Tokens encoded, without those that were cut; the same and padding.
    elapsed_s : float
        Seconds of encoding and storing, loading not included.
    """

    n: int
    rows_encoded: int
    damaged: list[str]
    tokens: int
    padded: int
    elapsed_s: float

    def warnings(self) -> Iterator[str]:
        """Yield what people should know."""
        for name in self.damaged:
            yield f"damaged shard {name} moved to quarantine; its rows were encoded again"


def extract_missing(
    texts: Texts,
    store: FeatureStore,
    load_encoder: Callable[[], Encoder],
    *,
    keys_path: Path,
    feature_dtype: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Extraction:
    """Encode the texts that `store` does not hold yet, once each, and store them.

    Parameters
    ----------
    texts : Texts
        n rows; read once for their keys, and once more where some have to be encoded.
    store : FeatureStore
        Need not be loaded.
    load_encoder : callable () -> Encoder
        Called only if something is missing.
    keys_path : Path
        Where the rows' keys are written as ``.npy``: S16, shape (n,), in their order.
    feature_dtype : {"float32", "float16"}
    on_progress : callable (Progress) -> None, optional
        Called after each batch; may raise. After `Stopped` what was encoded is stored, after others only finished
        parts are.

    Raises
    ------
    EncoderError
        If the encoder gives NaN or infinity (earlier parts stay stored), or the same vector for every text (nothing
        is stored).
    CacheError
        If the store holds features of another length.
    """
    _write_keys(texts, keys_path)
    return fill_store(
        texts,
        partial(key_blocks, keys_path),
        store,
        load_encoder,
        feature_dtype=feature_dtype,
        on_progress=on_progress,
    )


def fill_store(
    texts: Texts,
    keys: KeyBlocks,
    store: FeatureStore,
    load_encoder: Callable[[], Encoder],
    *,
    feature_dtype: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Extraction:
    """Do what `extract_missing` does, for texts whose keys are known.

    Parameters
    ----------
    keys : callable () -> iterator of (int, ndarray of S16)
        Gives the texts' keys block by block, each with the number of its first row; called several times.
    """
    damaged = store.load()
    wanted, broken = _find_missing(keys, len(texts), store)
    encoder = load_encoder() if wanted.any() else None
    part = Part(store, np.dtype(feature_dtype))  # after loading: its time runs
    work = _Work(texts, wanted, part, on_progress)
    if encoder is not None:
        work.encode(encoder)
    store.compact()
    return Extraction(
        n=len(texts),
        rows_encoded=work.total,
        damaged=damaged + broken,
        tokens=work.tokens,
        padded=work.padded,
        elapsed_s=work.elapsed_s,
    )


def _write_keys(texts: Texts, path: Path) -> None:
    with disk.create(path) as stream:
        begin_keys(stream, len(texts))
        for _, block in texts.blocks():
            stream.write(row_keys(block).tobytes())


def _find_missing(
    blocks: KeyBlocks, n: int, store: FeatureStore
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which rows have to be encoded, shape (n,), and the names of damaged shards.

    Every shard that is relied upon is read and checked; of a missing text that occurs several times, the first row is
    wanted.
    """
    damaged: list[str] = []
    while True:
        wanted = np.zeros(n, dtype=bool)
        used: set[str] = set()
        for begin, keys in blocks():
            wanted[begin : begin + len(keys)] = store.missing(keys)
            used |= store.shards_of(keys)
        found = store.check(used)
        if not found:
            break
        damaged += found
    if wanted.any():
        missing = np.empty(wanted.sum(), dtype="S16")
        n_found = 0
        for begin, keys in blocks():
            new = keys[wanted[begin : begin + len(keys)]]
            missing[n_found : n_found + len(new)] = new
            n_found += len(new)
        wanted[wanted] = first_of_each(missing)
    return wanted, damaged


@dataclass(frozen=True)
class _Window:
    """Texts that are sorted by length together: their row numbers, keys and ids."""

    rows: NDArray[np.int64]
    keys: Keys
    tokens: Tokens


class _Work:
    """Encodes the texts of one extraction, and reports how far it is."""

    def __init__(
        self,
        texts: Texts,
        wanted: NDArray[np.bool_],
        part: Part,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._texts, self._wanted, self._part = texts, wanted, part
        self._report = on_progress or (lambda _: None)
        self.total = int(wanted.sum())
        self.tokens = self.padded = 0
        self.elapsed_s = 0.0

    def encode(self, encoder: Encoder) -> None:
        def tokenize(window: tuple[NDArray[np.int64], list[Text]]) -> _Window:
            rows, texts = window
            return _Window(rows, row_keys(texts), encoder.tokenize(texts))

        began = time.monotonic()
        with closing(one_ahead(tokenize, self._windows())) as ahead:
            try:
                for window in ahead:
                    for share in self._encode_window(window, encoder):
                        self.elapsed_s = time.monotonic() - began
                        self._report(self._progress(share))
                        self._part.flush_if_due()
            except Stopped:  # before it is waited for the thread
                self._part.flush_if_any_differ()
                raise
        self._part.flush()
        self.elapsed_s = time.monotonic() - began

    def _windows(self) -> Iterator[tuple[NDArray[np.int64], list[Text]]]:
        """Yield the wanted rows' numbers and texts, as many at a time as are sorted by length together."""
        rows = np.flatnonzero(self._wanted)
        begin = 0
        for texts in windows(self._wanted_texts()):
            yield rows[begin : begin + len(texts)], texts
            begin += len(texts)

    def _wanted_texts(self) -> Iterator[Text]:
        for begin, block in self._texts.blocks(self._wanted):
            for i in np.flatnonzero(self._wanted[begin : begin + len(block)]).tolist():
                yield block[i]

    def _encode_window(self, window: _Window, encoder: Encoder) -> Iterator[float]:
        """Encode a window; yield the share of all work that is done, after each batch."""
        before, begin = self._part.rows, self.tokens
        lengths = window.tokens.lengths
        for batch in encoder.encode_tokens(window.tokens):
            self._check_finite(batch, window.rows[batch.rows])
            self._part.add(window.keys[batch.rows], batch)
            self.tokens += int(lengths[batch.rows].sum())
            self.padded += batch.n_padded
            done = (self.tokens - begin) / int(lengths.sum())
            yield (before + len(lengths) * done) / self.total

    def _progress(self, share: float) -> Progress:
        return Progress(
            done=self._part.rows,
            total=self.total,
            tokens=self.tokens,
            padded=self.padded,
            share=share,
            elapsed_s=self.elapsed_s,
        )

    def _check_finite(self, batch: EncodedRows, rows: NDArray[np.int64]) -> None:
        """Make sure that a batch can be stored; `rows` are its texts' positions in the data set.

        Raises
        ------
        EncoderError
            Names the rows, or the type that is too small.
        """
        broken = np.sort(rows[~np.isfinite(batch.features).all(axis=1)]).tolist()
        if broken:
            more = f" and {len(broken) - N_NAMED} more" if len(broken) > N_NAMED else ""
            named = ", ".join(map(self._texts.name, broken[:N_NAMED])) + more
            raise not_finite(len(broken), len(rows), named)
        with np.errstate(over="ignore"):  # looked for here
            fits = np.isfinite(batch.features.astype(self._part.dtype)).all()
        if not fits:
            raise EncoderError(
                f"Features up to {np.abs(batch.features).max():.3g} do not fit {self._part.dtype}. "
                "Pass --feature-dtype float32."
            )


def list_facts(
    keys_path: Path, store: FeatureStore, max_length: int
) -> dict[str, object]:
    """Return what a data set's feature list says of itself: rows, dimensions, shards and tokens.

    Parameters
    ----------
    keys_path : Path
        What `extract_missing` wrote.
    store : FeatureStore
        It holds every key.
    max_length : int
        Tokens kept of a text.
    """
    shards: set[str] = set()
    n = total = longest = rows_cut = tokens_cut = 0
    for _, keys in key_blocks(keys_path):
        shards |= store.shards_of(keys)
        n_tokens = store.n_tokens(keys).astype(np.int64)  # before cutting
        cut = np.maximum(n_tokens - max_length, 0)
        n += len(keys)
        total += int(n_tokens.sum())
        longest = max(longest, int(n_tokens.max()))
        rows_cut += int((cut > 0).sum())
        tokens_cut += int(cut.sum())
    return {
        "rows": n,
        "dim": int(store.features(keys[:1]).shape[1]),
        "shards": sorted(shards),
        "tokens": {
            "tokens": total,
            "mean_tokens": round(total / n, 2),
            "longest_tokens": longest,
            "rows_cut": rows_cut,
            "tokens_cut": tokens_cut,
        },
    }

"""From a data set's texts to stored features: look up what is known, encode what is not, in parts.

Several views of one encoder, each with a store of its own, are filled in one pass: a text that any of them lacks is
encoded once, for the views of which anything is missing.

Texts come block by block and go in parts of at most ten seconds of encoding, so a killed run loses seconds and memory
does not grow with the data but for some 30 bytes a row, and one for each view that lacks other rows than the rest.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

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


LoadEncoder = Callable[[list[int]], Encoder]


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


def together(passes: Sequence[Extraction]) -> Extraction:
    """Return several extractions as one; a row counts once in each."""
    return Extraction(
        n=sum(one.n for one in passes),
        rows_encoded=sum(one.rows_encoded for one in passes),
        damaged=[name for one in passes for name in one.damaged],
        tokens=sum(one.tokens for one in passes),
        padded=sum(one.padded for one in passes),
        elapsed_s=sum(one.elapsed_s for one in passes),
    )


def extract_missing(
    texts: Texts,
    stores: Sequence[FeatureStore],
    load_encoder: LoadEncoder,
    *,
    keys_paths: Sequence[Path],
    feature_dtype: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> Extraction:
    """Encode the texts that any of `stores` does not hold yet, once each, and store in each what it lacks.

    Parameters
    ----------
    texts : Texts
        n rows; read once for their keys, and once more where some have to be encoded.
    stores : sequence of FeatureStore
        One for each view; need not be loaded.
    load_encoder : callable (list of int) -> Encoder
        Called once, only if something is missing: gets which of the stores lack any row, and returns an encoder whose
        features are theirs side by side, in that order.
    keys_paths : sequence of Path
        Where the rows' keys are written as ``.npy``: S16, shape (n,), in their order; at least one.
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
    _write_keys(texts, keys_paths)
    return fill_stores(
        texts,
        partial(key_blocks, keys_paths[0]),
        stores,
        load_encoder,
        feature_dtype=feature_dtype,
        on_progress=on_progress,
    )


def fill_stores(
    texts: Texts,
    keys: KeyBlocks,
    stores: Sequence[FeatureStore],
    load_encoder: LoadEncoder,
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
    found = _Missing(keys, len(texts), stores)
    encoder = load_encoder(found.lacking) if found.lacking else None
    gaps = [  # after loading: the parts' time runs
        _Gap(Part(stores[i], np.dtype(feature_dtype)), found.rows[i])
        for i in found.lacking
    ]
    work = _Work(texts, found.wanted, gaps, on_progress)
    if encoder is not None:
        work.encode(encoder)
    for store in stores:
        store.compact()
    return Extraction(
        n=len(texts),
        rows_encoded=work.total,
        damaged=found.damaged,
        tokens=work.tokens,
        padded=work.padded,
        elapsed_s=work.elapsed_s,
    )


def _write_keys(texts: Texts, paths: Sequence[Path]) -> None:
    with ExitStack() as stack:
        streams = [stack.enter_context(disk.create(path)) for path in paths]
        for stream in streams:
            begin_keys(stream, len(texts))
        for _, block in texts.blocks():
            keys = row_keys(block).tobytes()
            for stream in streams:
                stream.write(keys)


class _Missing:
    """Looks up what several stores lack.

    Every shard that is relied upon is read and checked.

    Attributes
    ----------
    rows : list of ndarray of bool, shape (n,)
        For each store, which rows it lacks; repeated texts included.
    wanted : ndarray of bool, shape (n,)
        Which rows have to be encoded: what any store lacks; of a text that occurs several times, the first row.
    lacking : list of int
        Which of the stores lack any row.
    damaged : list of str
        The names of damaged shards.
    """

    def __init__(
        self, blocks: KeyBlocks, n: int, stores: Sequence[FeatureStore]
    ) -> None:
        self.rows: list[NDArray[np.bool_]] = []
        self.damaged: list[str] = []
        self.wanted = np.zeros(n, dtype=bool)
        for store in stores:
            self.damaged += store.load()
            self.rows.append(self._once(self._look_up(blocks, n, store)))
            self.wanted |= self.rows[-1]
            if len(stores) > 1:  # the indexes of many would add up
                store.drop_index()
        self.lacking = [i for i, rows in enumerate(self.rows) if rows.any()]
        if self.lacking:
            self._leave_repeated_out(blocks)

    def _look_up(
        self, blocks: KeyBlocks, n: int, store: FeatureStore
    ) -> NDArray[np.bool_]:
        while True:
            rows = np.zeros(n, dtype=bool)
            used: set[str] = set()
            for begin, keys in blocks():
                rows[begin : begin + len(keys)] = store.missing(keys)
                used |= store.shards_of(keys)
            damaged = store.check(used)
            if not damaged:
                return rows
            self.damaged += damaged

    def _once(self, rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the same rows, of an earlier store where that lacks just those: memory for each different one."""
        for known in self.rows:
            if np.array_equal(known, rows):
                return known
        return rows

    def _leave_repeated_out(self, blocks: KeyBlocks) -> None:
        missing = np.empty(self.wanted.sum(), dtype="S16")
        n_found = 0
        for begin, keys in blocks():
            new = keys[self.wanted[begin : begin + len(keys)]]
            missing[n_found : n_found + len(new)] = new
            n_found += len(new)
        self.wanted[self.wanted] = first_of_each(missing)


@dataclass(frozen=True)
class _Window:
    """Texts that are sorted by length together: their row numbers, keys and ids."""

    rows: NDArray[np.int64]
    keys: Keys
    tokens: Tokens


class _Gap(NamedTuple):
    """What a store lacks: which rows of the data set, shape (n,), and the part by which they reach it."""

    part: Part
    rows: NDArray[np.bool_]


class _Work:
    """Encodes the texts of one extraction, and reports how far it is."""

    def __init__(
        self,
        texts: Texts,
        wanted: NDArray[np.bool_],
        gaps: Sequence[_Gap],
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._texts, self._wanted, self._gaps = texts, wanted, gaps
        self._parts = [gap.part for gap in gaps]
        self._report = on_progress or (lambda _: None)
        self.total = int(wanted.sum())
        self._rows = 0  # encoded so far
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
                        for part in self._parts:
                            part.flush_if_due()
            except Stopped:  # before it is waited for the thread
                self._flush_what_differs()
                raise
        self._flush_what_differs()  # before one is refused whose rows do not
        for part in self._parts:
            part.flush()
        self.elapsed_s = time.monotonic() - began

    def _flush_what_differs(self) -> None:
        for part in self._parts:
            part.flush_if_any_differ()

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
        before, begin = self._rows, self.tokens
        lengths = window.tokens.lengths
        for batch in encoder.encode_tokens(window.tokens):
            rows = window.rows[batch.rows]
            self._check_finite(batch, rows)
            self._hand_out(batch, rows, window.keys[batch.rows])
            self._rows += len(rows)
            self.tokens += int(lengths[batch.rows].sum())
            self.padded += batch.n_padded
            done = (self.tokens - begin) / int(lengths.sum())
            yield (before + len(lengths) * done) / self.total

    def _hand_out(
        self, batch: EncodedRows, rows: NDArray[np.int64], keys: Keys
    ) -> None:
        """Give each store its view of the rows that it lacks."""
        views = np.split(batch.features, len(self._gaps), axis=1)
        for gap, features in zip(self._gaps, views, strict=True):
            own = gap.rows[rows]
            if own.any():
                gap.part.add(keys[own], features[own], batch.n_tokens[own])

    def _progress(self, share: float) -> Progress:
        return Progress(
            done=self._rows,
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
            dtype = self._parts[0].dtype  # that of all
            fits = np.isfinite(batch.features.astype(dtype)).all()
        if not fits:
            raise EncoderError(
                f"Features up to {np.abs(batch.features).max():.3g} do not fit {dtype}. "
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

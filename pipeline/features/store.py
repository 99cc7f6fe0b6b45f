"""The row-level store of one encoder configuration: a text is encoded once, whichever data set it is in.

`pipeline.features.shards` shows what it looks like on disk.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CacheError, UnreadableError
from pipeline.features.index import KeyIndex
from pipeline.features.keys import Keys, first_of_each
from pipeline.features.shards import Manifest, shards_in
from pipeline.storage import (
    check_contents,
    discard,
    disk,
    publish_directory,
    quarantine,
    raise_if_refused,
)

logger = logging.getLogger(__name__)
SHARD_BYTES = 128 * 2**20  # one is checked in a tenth of a second
# Small shards that are left as they are: one new row must not rewrite megabytes.
MANY = 8
ROWS = 16_384  # read at once
ATTEMPTS = 5  # to read while other runs put shards together
COLUMNS = ("keys", "features", "tokens")


@dataclass(frozen=True)
class Plan:
    """Where rows lie.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Positions in the keys that were asked for, in the order in which they lie on disk.
    places : ndarray of int64, shape (n,)
        As in `KeyIndex`, ascending.
    index : KeyIndex
        It holds as long as the store has this one.
    """

    rows: NDArray[np.int64]
    places: NDArray[np.int64]
    index: KeyIndex


class FeatureStore:
    """Encoded rows below one folder.

    Parameters
    ----------
    folder : Path
        The encoder configuration's folder; need not exist.
    root : Path
        The artifacts folder, for drafts and quarantine.
    """

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        self._root = root
        self._shards: list[Path] = []
        self._replaced: set[str] = set()
        self._left_over: list[Path] = []  # replaced, by a run that did not remove them
        self._index: KeyIndex | None = None

    def load(self) -> list[str]:
        """Look which shards there are, checking manifests, sizes and keys; return the names of the damaged ones.

        A damaged shard is moved to quarantine, so that its rows count as never encoded.

        Raises
        ------
        UnreadableError
            If the system does not let one be read: it may be whole.
        """
        self._index = None
        there = {path.name for path in (self.folder / "shards").glob("[!.]*")}
        whole = dict(shards_in(self.folder))
        replaced = {name for m in whole.values() for name in m["facts"]["replaces"]}
        self._replaced = replaced
        self._left_over = [path for path in whole if path.name in replaced]
        self._shards = [
            path
            for path, manifest in whole.items()
            if path.name not in replaced and _has_its_keys(path, manifest)
        ]
        return self._set_aside(there - replaced - {path.name for path in self._shards})

    def _set_aside(self, names: Iterable[str]) -> list[str]:
        moved = [
            name
            for name in sorted(names)
            if os.path.lexists(self.folder / "shards" / name)
        ]
        for name in moved:
            quarantine(self.folder / "shards" / name, root=self._root)
        return moved

    def check(self, names: Iterable[str]) -> list[str]:
        """Compare every byte of the named shards with their manifests; return the names of the damaged ones.

        They are in quarantine then, and the store is loaded again.
        """
        damaged = []
        for name in sorted(names):
            try:
                check_contents(self.folder / "shards" / name)
            except UnreadableError:
                raise
            except CacheError:
                damaged.append(name)
        if damaged:
            self._set_aside(damaged)
            self.load()
        return damaged

    @property
    def index(self) -> KeyIndex:
        """Return where each key is; made when it is first asked for after a change."""
        for _ in range(ATTEMPTS):
            if self._index is not None:
                return self._index
            try:
                self._index = KeyIndex([path / "keys.npy" for path in self._shards])
            except FileNotFoundError:  # put together with others by another run
                self.load()
        raise self._busy()

    def _busy(self) -> CacheError:
        return CacheError(
            f"Shards of {self.folder} go while they are read. Let other runs end, then run the same command again."
        )

    def drop_index(self) -> None:
        """Give back the index's memory; it is made again when it is needed."""
        self._index = None

    @property
    def is_empty(self) -> bool:
        """Tell whether there are no rows."""
        return not self._shards

    def __len__(self) -> int:
        """Return the number of rows, repeated ones included."""
        return len(self.index)

    def missing(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell for each key whether no shard holds it."""
        return self.index.places(keys) < 0

    def shards_of(self, keys: Keys) -> set[str]:
        """Return the names of the shards that hold the given keys, as far as they are stored."""
        places = self.index.places(keys)
        shards = np.searchsorted(self.index.starts, places[places >= 0], side="right")
        return {self._shards[i - 1].name for i in np.unique(shards)}

    def append(
        self,
        keys: Keys,
        features: NDArray[np.floating],
        n_tokens: NDArray[np.int32],
        *,
        replaces: Sequence[str] = (),
    ) -> None:
        """Publish encoded rows as one shard.

        Parameters
        ----------
        keys : ndarray of S16, shape (m,)
        features : ndarray, shape (m, d)
            Finite; stored in their dtype.
        n_tokens : ndarray of int32, shape (m,)
        replaces : sequence of str
            Names of shards whose place it takes.

        Raises
        ------
        CacheError
            If the store holds features of another length.
        """
        for shard in self._shards:
            with suppress(FileNotFoundError):  # put together with others by another run
                known = disk.load_array(shard / "features.npy", mapped=True)
                self._check_dim(known.shape[1:], features.shape[1:])
                break
        replaced = sorted(set(replaces))
        content = hashlib.sha256(" ".join(replaced).encode() + keys.tobytes())
        content.update(np.ascontiguousarray(features).data)
        while (name := content.hexdigest()[:32]) in self._replaced:
            content.update(
                b"again"
            )  # its rows were dropped since; that name means another shard now
        with publish_directory(
            self.folder / "shards" / name,
            root=self._root,
            stage="Shard",
            key=name,
            key_fields={"content": content.hexdigest()},
        ) as draft:
            for column, array in zip(COLUMNS, (keys, features, n_tokens), strict=True):
                disk.save_array(draft.path / f"{column}.npy", array)
            draft.facts["rows"] = len(keys)
            draft.facts["replaces"] = replaced
        self._shards.append(self.folder / "shards" / name)
        self._index = None

    def compact(self) -> None:
        """Put many small shards together into large ones.

        Readers are not disturbed: the new shard is there before the old ones go.
        """
        try:
            for path in self._left_over:
                discard(path, root=self._root)
            for group in self._groups():
                self.rewrite(group, lambda _: True)
        except (OSError, CacheError) as error:  # the small ones serve as well
            logger.debug("shards of %s stay small: %s", self.folder, error)

    def _groups(self) -> Iterator[list[Path]]:
        """Yield groups of small shards, each of up to `SHARD_BYTES`; none while there are few."""
        sizes = {path: (path / "features.npy").stat().st_size for path in self._shards}
        small = [path for path, size in sizes.items() if size < SHARD_BYTES / 2]
        if len(small) <= MANY and sum(map(sizes.__getitem__, small)) < SHARD_BYTES:
            return
        group: list[Path] = []
        for path in small:
            if group and sum(map(sizes.__getitem__, [*group, path])) > SHARD_BYTES:
                yield group
                group = []
            group.append(path)
        if len(group) > 1:
            yield group

    def rewrite(
        self, shards: Sequence[Path], keep: Callable[[Keys], bool | NDArray[np.bool_]]
    ) -> None:
        """Write the rows of some shards that `keep` as one shard, in their place.

        Raises
        ------
        CacheError
            If one of them is damaged, or the disk refuses.
        OSError
            If one is gone.
        """
        replaces: list[str] = []
        for path in shards:
            facts = check_contents(path)["facts"]
            replaces += [path.name, *facts.get("replaces", [])]
        columns = [
            np.concatenate(
                [disk.load_array(path / f"{name}.npy", mapped=True) for path in shards]
            )
            for name in COLUMNS
        ]
        kept = first_of_each(columns[0]) & keep(columns[0])
        self._shards = [path for path in self._shards if path not in shards]
        self._index = None
        if not kept.all():
            columns = [values[kept] for values in columns]
        if kept.any():
            self.append(*columns, replaces=replaces)
        for path in shards:
            discard(path, root=self._root)

    def plan(self, keys: Keys) -> Plan:
        """Find where rows lie, to read them several times.

        Parameters
        ----------
        keys : ndarray of S16, shape (n,)

        Raises
        ------
        CacheError
            If a key is not stored.
        """
        return self._ordered(keys, np.arange(len(keys)))

    def _ordered(self, keys: Keys, rows: NDArray[np.int64]) -> Plan:
        places = self._places(keys[rows])
        order = np.argsort(places, kind="stable")
        return Plan(rows[order], places[order], self.index)

    def blocks(
        self, keys: Keys, column: str = "features", plan: Plan | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.generic]]]:
        """Yield positions in `keys` with their stored values, each once, in the order in which they lie on disk.

        Parameters
        ----------
        keys : ndarray of S16, shape (n,)
        column : {"features", "tokens", "keys"}
        plan : Plan, optional
            What `plan` returned for the same keys.

        Raises
        ------
        CacheError
            If a key is not stored.
        """
        if plan is None or plan.index is not self._index:
            plan = self.plan(keys)
        for _ in range(ATTEMPTS):
            done = 0
            try:
                for done, values in self._read(plan.places, column):
                    yield plan.rows[done - len(values) : done], values
            except FileNotFoundError:  # put together with others by another run
                self.load()
                plan = self._ordered(keys, plan.rows[done:])
            else:
                return
        raise self._busy()

    def _places(self, keys: Keys) -> NDArray[np.int64]:
        places = self.index.places(keys)
        if n_lacking := int((places < 0).sum()):
            raise CacheError(
                f"{n_lacking:,} of {len(keys):,} rows are not in {self.folder}. "
                "Run the same command again to encode them."
            )
        return places

    def _read(
        self, places: NDArray[np.int64], column: str
    ) -> Iterator[tuple[int, NDArray[np.generic]]]:
        """Yield the values at ascending places, block by block, each with the number of values so far."""
        starts = self.index.starts
        shape: tuple[int, ...] | None = None
        for shard, (begin, end) in enumerate(pairwise(np.searchsorted(places, starts))):
            if begin == end:
                continue
            path = self._shards[shard] / f"{column}.npy"
            stored = disk.load_array(path, mapped=True)
            shape = shape or stored.shape[1:]
            self._check_dim(shape, stored.shape[1:])
            for first in range(begin, end, ROWS):
                last = min(first + ROWS, end)
                yield last, np.asarray(stored[places[first:last] - starts[shard]])

    def _gather(self, keys: Keys, column: str) -> NDArray[np.generic]:
        out: NDArray[np.generic] | None = None
        for rows, values in self.blocks(keys, column):
            if out is None:
                out = np.empty((len(keys), *values.shape[1:]), dtype=values.dtype)
            out[rows] = values
        if out is None:
            raise CacheError(f"No rows are asked of {self.folder}, expected some.")
        return out

    def features(self, keys: Keys) -> NDArray[np.float32]:
        """Return the stored rows of `keys` as float32, shape (n, d), in their order.

        Raises
        ------
        CacheError
            If a key is not stored.
        """
        return np.asarray(self._gather(keys, "features"), dtype=np.float32)

    def n_tokens(self, keys: Keys) -> NDArray[np.int32]:
        """Return the token counts of `keys` before cutting, shape (n,)."""
        return np.asarray(self._gather(keys, "tokens"), dtype=np.int32)

    def _check_dim(self, known: tuple[int, ...], found: tuple[int, ...]) -> None:
        if known != found:
            raise CacheError(
                f"{self.folder} holds features of {known[0]} dimensions, but others have {found[0]}. "
                "Move the folder away and run the same command again."
            )


def _has_its_keys(shard: Path, manifest: Manifest) -> bool:
    entry = manifest["files"].get("keys.npy", {})
    try:
        return bool(disk.sha256_file(shard / "keys.npy") == entry.get("sha256"))
    except OSError as error:
        raise_if_refused(shard / "keys.npy", error)
        return False

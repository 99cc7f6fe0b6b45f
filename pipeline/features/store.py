"""The row-level store of one encoder configuration: a text is encoded once, whichever data set it is in.

::

    <encoder-slug>-<fingerprint>/
      encoder/             what a predictor needs beside the weights, and the probes' features
      shards/<digest>/     keys.npy (m,) 16-byte strings, features.npy (m, d), tokens.npy (m,) int32
      datasets/<key>/      keys.npy (n,): a data set's features as references, in its order

Each is a directory published whole (`pipeline.storage`). Shards are immutable and named by their content.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CacheError
from pipeline.storage import check_contents, publish_directory, quarantine

SCHEMA = 1  # raise when the meaning of a row key or a shard changes
Keys = NDArray[np.bytes_]


def row_key(text: str) -> bytes:
    """Return the 16 bytes that stand for a text: the head of SHA-256 over schema and exact bytes."""
    return hashlib.sha256(f"{SCHEMA}|{text}".encode("utf-8", "surrogatepass")).digest()[
        :16
    ]


def row_keys(texts: Iterable[str]) -> Keys:
    """Return the keys of texts as an array of 16-byte strings, shape (n,)."""
    return np.frombuffer(b"".join(map(row_key, texts)), dtype="S16")


def stored_keys(folder: Path) -> Keys:
    """Return the keys that the shards of a store hold, shape (n,), unchecked; only looks, and moves nothing."""
    found = [np.empty(0, dtype="S16")]
    for path in sorted((folder / "shards").glob("*/keys.npy")):
        with suppress(
            ValueError, OSError, EOFError
        ):  # damaged: as if it were not there
            found.append(np.load(path, allow_pickle=False))
    return np.concatenate(found)


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
        self._keys: Keys = np.empty(0, dtype="S16")
        self._place: NDArray[np.int64] = np.empty(
            (0, 2), dtype=np.int64
        )  # (shard, row) of each key
        self._shards: list[Path] = []

    def load(self) -> list[str]:
        """Read the keys of all shards, checking every byte; return the names of the damaged ones.

        A damaged shard is moved to quarantine, so that its rows count as never encoded.
        """
        damaged = []
        self._shards, keys, places = [], [], []
        self._keys, self._place = self._keys[:0], self._place[:0]
        for shard in sorted((self.folder / "shards").glob("*/")):
            try:
                check_contents(shard)
                found = np.load(shard / "keys.npy", allow_pickle=False)
            except (CacheError, ValueError, OSError):
                damaged.append(shard.name)
                quarantine(shard, root=self._root)
                continue
            places.append(
                np.stack(
                    [np.full(len(found), len(self._shards)), np.arange(len(found))],
                    axis=1,
                )
            )
            keys.append(found)
            self._shards.append(shard)
        if keys:
            self._keys, first = np.unique(np.concatenate(keys), return_index=True)
            self._place = np.concatenate(places)[first]
        return damaged

    @property
    def is_empty(self) -> bool:
        """Tell whether no row was loaded."""
        return not len(self._keys)

    def missing(self, keys: Keys) -> NDArray[np.bool_]:
        """Tell for each key whether no shard holds it."""
        return self._positions(keys) < 0

    def _positions(self, keys: Keys) -> NDArray[np.int64]:
        if not len(self._keys):
            return np.full(len(keys), -1, dtype=np.int64)
        found = np.searchsorted(self._keys, keys)
        found[found == len(self._keys)] = 0
        return np.where(self._keys[found] == keys, found, -1)

    def append(
        self, keys: Keys, features: NDArray[np.floating], n_tokens: NDArray[np.int32]
    ) -> None:
        """Publish encoded rows as one shard; call `load` to see them.

        Parameters
        ----------
        keys : ndarray of S16, shape (m,)
        features : ndarray, shape (m, d)
            Finite; stored in their dtype.
        n_tokens : ndarray of int32, shape (m,)

        Raises
        ------
        CacheError
            If the store holds features of another length.
        """
        for shard in self._shards[:1]:
            known = np.load(shard / "features.npy", mmap_mode="r", allow_pickle=False)
            self._check_dim(known.shape[1:], features.shape[1:])
        content = hashlib.sha256(
            keys.tobytes() + np.ascontiguousarray(features).tobytes()
        )
        name = content.hexdigest()[:32]
        fields = {"content": content.hexdigest()}
        with publish_directory(
            self.folder / "shards" / name,
            root=self._root,
            stage="Shard",
            key=name,
            key_fields=fields,
        ) as draft:
            np.save(draft.path / "keys.npy", keys)
            np.save(draft.path / "features.npy", features)
            np.save(draft.path / "tokens.npy", n_tokens)
            draft.facts["rows"] = len(keys)

    def shards_of(self, keys: Keys) -> list[str]:
        """Return the names of the shards that hold the given keys, sorted."""
        places = self._place[self._positions(keys)]
        return sorted(self._shards[i].name for i in np.unique(places[:, 0]))

    def features(self, keys: Keys) -> NDArray[np.float32]:
        """Return the stored rows of `keys` as float32, shape (n, d), in their order.

        Raises
        ------
        CacheError
            If a key is not stored.
        """
        return np.asarray(self._gather(keys, "features.npy"), dtype=np.float32)

    def n_tokens(self, keys: Keys) -> NDArray[np.int32]:
        """Return the token counts of `keys` before cutting, shape (n,)."""
        return np.asarray(self._gather(keys, "tokens.npy"), dtype=np.int32)

    def _gather(self, keys: Keys, name: str) -> NDArray[np.generic]:
        positions = self._positions(keys)
        if not len(keys) or (positions < 0).any():
            raise CacheError(
                f"{int((positions < 0).sum()):,} of {len(keys):,} rows are not in {self.folder}. "
                "Run the same command again to encode them."
            )
        places = self._place[positions]  # (n, 2)
        out: NDArray[np.generic] | None = None
        for shard in np.unique(places[:, 0]):
            values = np.load(
                self._shards[shard] / name, mmap_mode="r", allow_pickle=False
            )
            if out is None:
                out = np.empty((len(keys), *values.shape[1:]), dtype=values.dtype)
            self._check_dim(out.shape[1:], values.shape[1:])
            here = places[:, 0] == shard
            out[here] = values[places[here, 1]]
        assert out is not None  # there is at least one key
        return out

    def _check_dim(self, known: tuple[int, ...], found: tuple[int, ...]) -> None:
        if known != found:
            raise CacheError(
                f"{self.folder} holds features of {known[0]} dimensions, but others have {found[0]}. "
                "Move the folder away and run the same command again."
            )


def load_features(dataset_dir: Path, root: Path) -> NDArray[np.float32]:
    """Return the features of one data set in its order, every byte checked: float32, shape (n, d).

    Parameters
    ----------
    dataset_dir : Path
        What `ExtractFeatures` published: ``features/<encoder>/datasets/<key>``.
    root : Path
        The artifacts folder.

    Raises
    ------
    CacheError
        If a file is damaged; it is in quarantine then, and the next run encodes its rows again.
    """
    store = FeatureStore(dataset_dir.parent.parent, root)
    damaged = store.load()
    if damaged:
        raise CacheError(
            f"{len(damaged)} damaged shard(s) of {store.folder} moved to {root / 'quarantine'}. "
            "Run the same command again: only their rows are encoded."
        )
    return store.features(np.load(dataset_dir / "keys.npy", allow_pickle=False))

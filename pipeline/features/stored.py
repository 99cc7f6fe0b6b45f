"""The stored features of one data set, for those who learn from them: block by block, or rows in memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.pairs import SEPARATE, composed
from pipeline.features.keys import Keys, halves, pair_keys
from pipeline.features.store import FeatureStore, Plan
from pipeline.storage import disk, read_manifest

ROWS = 4_096  # pairs composed at once


class StoredFeatures:
    """Rows of a data set's features: their keys and places are held, 32 bytes a row; features stay on disk.

    Bytes are not checked here: who reads stages checks them before (`tasks.base`).

    Parameters
    ----------
    stores : sequence of FeatureStore
        Loaded; of several views of the texts, whose features stand side by side.
    keys : ndarray of S16, shape (n,)
    """

    def __init__(self, stores: Sequence[FeatureStore], keys: Keys) -> None:
        self._stores, self._keys = stores, keys
        self._plan: Plan | None = None

    @staticmethod
    def of(dataset_dirs: Sequence[Path], root: Path) -> "StoredFeatures":
        """Return the features of a data set, of texts or of pairs.

        Parameters
        ----------
        dataset_dirs : sequence of Path
            What `ExtractFeatures` published: ``features/<encoder>/datasets/<key>``; one a view.
        root : Path
            The artifacts folder.
        """
        stores = [FeatureStore(path.parent.parent, root) for path in dataset_dirs]
        for store in stores:
            store.load()
        keys = disk.load_array(dataset_dirs[0] / "keys.npy")
        if pair_encoding_of(dataset_dirs[0]) == SEPARATE:
            return PairFeatures(stores, *halved(keys))
        return StoredFeatures(stores, keys)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._keys)

    @property
    def keys(self) -> Keys:
        """Return the key of each row's text or pair, S16, shape (n,)."""
        return self._keys

    def n_tokens(self) -> NDArray[np.int32]:
        """Return the number of tokens of each text before cutting, shape (n,)."""
        return self._stores[0].n_tokens(self._keys)

    @property
    def dim(self) -> int:
        """Return the length of a feature vector."""
        return int(self.take(np.arange(1)).shape[1])

    @property
    def n_views(self) -> int:
        """Return the number of views that stand side by side."""
        return len(self._stores)

    @property
    def dtype(self) -> str:
        """Return how features are stored: ``float32`` or ``float16``."""
        _, values = next(self._stores[0].blocks(self._keys[:1]))
        return str(values.dtype)

    def subset(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """Return some of the rows, in the order of `rows`."""
        return StoredFeatures(self._stores, self._keys[rows])

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield every row once: row numbers (m,), features (m, d); of one store in the order in which they lie on disk.

        Raises
        ------
        CacheError
            If a row is not stored.
        """
        if len(self._stores) > 1:  # each has an order of its own
            yield from self._blocks_in_order()
            return
        (store,) = self._stores
        if self._plan is None:
            self._plan = store.plan(self._keys)
        for rows, values in store.blocks(self._keys, plan=self._plan):
            yield rows, values.astype(np.float32, copy=False)

    def _blocks_in_order(
        self,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        for begin in range(0, len(self), ROWS):
            rows = np.arange(begin, min(begin + ROWS, len(self)))
            yield rows, self.take(rows)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows in memory: float32, shape (m, d)."""
        return self._features(self._keys[rows])

    def _features(self, keys: Keys) -> NDArray[np.float32]:
        """Return the features of texts, of all views side by side."""
        parts = [store.features(keys) for store in self._stores]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return the numbers of at most `m` rows, sorted: those with the lowest keys, so the same in any order."""
        if m >= len(self):
            return np.arange(len(self))
        return np.sort(np.argpartition(halves(self.keys)[:, 0], m)[:m])


class PairFeatures(StoredFeatures):
    """Rows of pairs whose texts are stored separately: each has four times a text's features, see `composed`.

    Parameters
    ----------
    stores : sequence of FeatureStore
        Loaded.
    first, second : ndarray of S16, shape (n,)
        Keys of the texts.
    """

    def __init__(
        self, stores: Sequence[FeatureStore], first: Keys, second: Keys
    ) -> None:
        super().__init__(stores, first)
        self._second = second

    @cached_property
    def keys(self) -> Keys:
        """The key of each pair, S16, shape (n,): those that `row_keys` gives."""
        return pair_keys(self._keys, self._second)

    def n_tokens(self) -> NDArray[np.int32]:
        """Return the number of tokens of the longer text of each pair before cutting, shape (n,)."""
        columns = map(self._stores[0].n_tokens, (self._keys, self._second))
        return np.maximum(*columns)

    def subset(self, rows: NDArray[np.int64]) -> "PairFeatures":
        """Return some of the rows, in the order of `rows`."""
        return PairFeatures(self._stores, self._keys[rows], self._second[rows])

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield every row once, in order: row numbers (m,), features (m, 4d).

        Raises
        ------
        CacheError
            If a text is not stored.
        """
        yield from self._blocks_in_order()

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows in memory: float32, shape (m, 4d)."""
        first, second = map(self._features, (self._keys[rows], self._second[rows]))
        return composed(first, second, len(self._stores))


@dataclass(frozen=True)
class WithTerms:
    """Stored features with the scores of models on words beside them, as `pipeline.heads.blend` takes them.

    Attributes
    ----------
    stored : StoredFeatures
        n rows.
    scores : ndarray of float32, shape (n, m)
    """

    stored: StoredFeatures
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.stored)

    @property
    def keys(self) -> Keys:
        """Return the key of each row's text or pair, S16, shape (n,)."""
        return self.stored.keys

    @property
    def dim(self) -> int:
        """Return the number of columns."""
        return self.stored.dim + int(self.scores.shape[1])

    def n_tokens(self) -> NDArray[np.int32]:
        """Return the number of tokens of each text before cutting, shape (n,)."""
        return self.stored.n_tokens()

    def subset(self, rows: NDArray[np.int64]) -> "WithTerms":
        """Return some of the rows, in the order of `rows`."""
        return WithTerms(self.stored.subset(rows), self.scores[rows])

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield every row once, as `StoredFeatures.blocks`."""
        for rows, values in self.stored.blocks():
            yield rows, np.concatenate([values, self.scores[rows]], axis=1)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows in memory: float32, shape (m, d)."""
        return np.concatenate([self.stored.take(rows), self.scores[rows]], axis=1)

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return the numbers of at most `m` rows, as `StoredFeatures.sample`."""
        return self.stored.sample(m)


AnyFeatures = StoredFeatures | WithTerms


def open_features(
    dataset_dirs: Sequence[Path], root: Path, terms: Path | None = None
) -> AnyFeatures:
    """Return all rows of a data set as a model takes them.

    Parameters
    ----------
    dataset_dirs, root
        As for `StoredFeatures.of`.
    terms : Path, optional
        What `FitTerms` published, for a model that also goes by words.
    """
    stored = StoredFeatures.of(dataset_dirs, root)
    if terms is None:
        return stored
    return WithTerms(stored, disk.load_array(terms / "scores.npy"))


def halved(keys: Keys) -> tuple[Keys, Keys]:
    """Return the first texts' keys and the second ones', (n,) each, of a list of pairs that are encoded separately."""
    return keys[0::2], keys[1::2]


def keys_of_rows(dataset_dir: Path) -> Keys:
    """Return the key of each row of a feature list, shape (n,), as `StoredFeatures.keys`; no features are read."""
    keys: Keys = disk.load_array(dataset_dir / "keys.npy")
    is_separate = pair_encoding_of(dataset_dir) == SEPARATE
    return pair_keys(*halved(keys)) if is_separate else keys


def pair_encoding_of(dataset_dir: Path) -> str | None:
    """Return how the pairs of a feature list are encoded; None where its rows are single texts."""
    found: str | None = read_manifest(dataset_dir)["facts"].get("pair_encoding")
    return found

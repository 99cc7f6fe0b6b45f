"""The stored features of one data set, for those who learn from them: block by block, or rows in memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.keys import Keys, halves
from pipeline.features.store import FeatureStore, Plan
from pipeline.storage import disk


class StoredFeatures:
    """Rows of a data set's features: their keys and places are held, 32 bytes a row; features stay on disk.

    Bytes are not checked here: who reads stages checks them before (`tasks.base`).

    Parameters
    ----------
    store : FeatureStore
        Loaded.
    keys : ndarray of S16, shape (n,)
    """

    def __init__(self, store: FeatureStore, keys: Keys) -> None:
        self._store, self._keys = store, keys
        self._plan: Plan | None = None

    @classmethod
    def of(cls, dataset_dir: Path, root: Path) -> "StoredFeatures":
        """Return the features of a data set.

        Parameters
        ----------
        dataset_dir : Path
            What `ExtractFeatures` published: ``features/<encoder>/datasets/<key>``.
        root : Path
            The artifacts folder.
        """
        store = FeatureStore(dataset_dir.parent.parent, root)
        store.load()
        return cls(store, disk.load_array(dataset_dir / "keys.npy"))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._keys)

    @property
    def keys(self) -> Keys:
        """Return the key of each row's text, S16, shape (n,)."""
        return self._keys

    def n_tokens(self) -> NDArray[np.int32]:
        """Return the number of tokens of each text before cutting, shape (n,)."""
        return self._store.n_tokens(self._keys)

    @property
    def dim(self) -> int:
        """Return the length of a feature vector."""
        return int(self.take(np.arange(1)).shape[1])

    @property
    def dtype(self) -> str:
        """Return how features are stored: ``float32`` or ``float16``."""
        _, values = next(self._store.blocks(self._keys[:1]))
        return str(values.dtype)

    def subset(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """Return some of the rows, in the order of `rows`."""
        return StoredFeatures(self._store, self._keys[rows])

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Yield every row once, in the order in which they lie on disk: row numbers (m,), features (m, d).

        Raises
        ------
        CacheError
            If a row is not stored.
        """
        if self._plan is None:
            self._plan = self._store.plan(self._keys)
        for rows, values in self._store.blocks(self._keys, plan=self._plan):
            yield rows, values.astype(np.float32, copy=False)

    def take(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return rows in memory: float32, shape (m, d)."""
        return self._store.features(self._keys[rows])

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return the numbers of at most `m` rows, sorted: those with the lowest keys, so the same in any order."""
        if m >= len(self):
            return np.arange(len(self))
        return np.sort(np.argpartition(halves(self._keys)[:, 0], m)[:m])

"""Encoded rows on their way to the store."""

import time

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import EncoderError
from pipeline.features.keys import Keys
from pipeline.features.store import FeatureStore

PART_S = 10.0
PART_BYTES = 4 * 2**20  # parts are put together to shards; this bounds memory
SAME = 1e-6  # rounding between batches stays below, texts that differ far above


class Part:
    """Encoded rows not yet on disk; the first part of a store waits until two of its rows differ.

    Parameters
    ----------
    store : FeatureStore
        Loaded.
    dtype : numpy dtype
        In which features are stored.

    Attributes
    ----------
    rows : int
        Added so far, stored ones included.
    """

    def __init__(self, store: FeatureStore, dtype: np.dtype[np.floating]) -> None:
        self._store, self.dtype = store, dtype
        self._differs = not store.is_empty
        self._first: NDArray[np.float32] | None = None
        self._size = 0  # rows in the part
        self._capacity = 0
        self._began = time.monotonic()
        self.rows = 0  # in all parts

    def add(
        self, keys: Keys, features: NDArray[np.float32], n_tokens: NDArray[np.int32]
    ) -> None:
        """Take m rows, at least one: (m,), (m, d), (m,); stores what there is if they do not fit."""
        n, dim = features.shape
        if self._size + n > self._capacity:
            self._make_room(n, dim)
        part = slice(self._size, self._size + n)
        self._keys[part] = keys
        self._features[part] = features
        self._n_tokens[part] = n_tokens
        self._size += n
        self.rows += n
        if self._first is None:
            self._first = features[0]
        if not self._differs:
            self._differs = not np.allclose(features, self._first, rtol=SAME, atol=SAME)

    def _make_room(self, n: int, dim: int) -> None:
        if self._size:
            self.flush()
        self._capacity = max(n, PART_BYTES // (dim * self.dtype.itemsize))
        self._keys = np.empty(self._capacity, dtype="S16")
        self._features = np.empty((self._capacity, dim), dtype=self.dtype)
        self._n_tokens = np.empty(self._capacity, dtype=np.int32)

    def flush_if_any_differ(self) -> None:
        """Store what there is, unless all rows so far are the same."""
        if self._differs:
            self.flush()

    def flush_if_due(self) -> None:
        """Store what there is, if the last time is a while ago."""
        if self._differs and time.monotonic() - self._began >= PART_S:
            self.flush()

    def flush(self) -> None:
        """Store what there is.

        Raises
        ------
        EncoderError
            If all rows so far are the same.
        """
        if not self._differs and self.rows > 1:
            raise EncoderError(
                f"All {self.rows:,} texts got the same features{self._zeros()}: nothing can be learned from them. "
                "Pass --pooling mean and --layer -1 (--pooling cls with --layer 0 is the same for every text), "
                "or another --encoder."
            )
        if self._size:
            part = slice(self._size)
            columns = self._keys[part], self._features[part], self._n_tokens[part]
            self._store.append(*columns)
        self._size = 0
        self._began = time.monotonic()

    def _zeros(self) -> str:
        return "" if self._first is None or self._first.any() else ", all zero"

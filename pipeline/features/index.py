"""Where each row key is stored."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.features.keys import Keys, halves
from pipeline.features.shards import shards_in
from pipeline.storage import disk


class KeyIndex:
    """Finds keys in the shards of a store; takes 20 bytes a row.

    A place is a row's number when all shards are laid end to end.

    Parameters
    ----------
    files : sequence of Path
        ``keys.npy`` of each shard, shape (m,) each.

    Attributes
    ----------
    starts : ndarray of int64, shape (number of shards + 1,)
        Place of each shard's first row; the last is the number of all rows.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        sizes = [len(disk.load_array(path, mapped=True)) for path in files]
        self.starts = np.cumsum([0, *sizes])
        heads = self._half(files, 0)
        order = np.argsort(heads, kind="stable")
        self._heads = heads[order]
        del heads  # one array less at the peak
        self._place = order.astype(np.uint32 if len(order) < 2**32 else np.uint64)
        del order
        self._tails = self._half(files, 1)[self._place]

    @classmethod
    def of_store(cls, folder: Path) -> "KeyIndex":
        """Return the index of all shards below a row store's folder; nothing is checked or moved."""
        return cls([path / "keys.npy" for path, _ in shards_in(folder)])

    def _half(self, files: Sequence[Path], which: int) -> NDArray[np.uint64]:
        """Return the first or last eight bytes of all keys, in the order of places."""
        out = np.empty(self.starts[-1], dtype=np.uint64)
        for path, begin in zip(files, self.starts, strict=False):
            keys = halves(disk.load_array(path, mapped=True))
            out[begin : begin + len(keys)] = keys[:, which]
        return out

    def __len__(self) -> int:
        """Return the number of rows, repeated ones included."""
        return len(self._heads)

    def places(self, keys: Keys) -> NDArray[np.int64]:
        """Return the place of each key, shape (n,); -1 where it is not stored.

        Of a key that several shards hold, the lowest place.
        """
        found = np.full(len(keys), -1, dtype=np.int64)
        wanted = halves(keys)
        at = np.searchsorted(self._heads, wanted[:, 0])
        left = np.arange(len(keys))  # keys whose run of equal heads is not at its end
        while len(left):
            left = left[at[left] < len(self._heads)]
            left = left[self._heads[at[left]] == wanted[left, 0]]
            is_same = self._tails[at[left]] == wanted[left, 1]
            found[left[is_same]] = self._place[at[left[is_same]]]
            left = left[~is_same]
            at[left] += 1
        return found

"""Where an extraction reads its texts from."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Texts(Protocol):
    """What the extraction needs of a data set; `pipeline.datasets.table.StoredTexts` is one."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each block's first row and its texts; blocks without a wanted row may be left out."""
        ...

    def name(self, row: int) -> str:
        """Return what people call a row."""
        ...


class TextList:
    """Texts in memory, as an extraction reads those of a data set.

    Parameters
    ----------
    texts : sequence of str
    block : int
        Texts a block.
    """

    def __init__(self, texts: Sequence[str], block: int = 65_536) -> None:
        self._texts, self._block = texts, block

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield each block's first row and texts; those without a wanted row are left out."""
        for begin in range(0, len(self._texts), self._block):
            end = begin + self._block
            if wanted is None or wanted[begin:end].any():
                yield begin, list(self._texts[begin:end])

    def name(self, row: int) -> str:
        """Return what people call a row."""
        return f"text {row}"

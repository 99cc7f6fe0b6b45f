"""Where an extraction reads its texts from."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.pairs import flat
from pipeline.pairs import Text


class Texts(Protocol):
    """What the extraction needs of a data set; `pipeline.datasets.table.StoredTexts` is one."""

    def __len__(self) -> int:
        """Return the number of rows."""
        ...

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, Sequence[Text]]]:
        """Yield each block's first row and its texts or pairs; blocks without a wanted row may be left out."""
        ...

    def name(self, row: int) -> str:
        """Return what people call a row."""
        ...


class BothTexts:
    """Pairs as an extraction reads single texts: 2n of them, first and second in turn.

    Parameters
    ----------
    pairs : Texts
        Of n pairs.
    """

    def __init__(self, pairs: Texts) -> None:
        self._pairs = pairs

    def __len__(self) -> int:
        """Return the number of texts."""
        return 2 * len(self._pairs)

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, Sequence[Text]]]:
        """Yield each block's first text and texts; those without a wanted text may be left out."""
        pairs = None if wanted is None else wanted[0::2] | wanted[1::2]
        for begin, block in self._pairs.blocks(pairs):
            yield 2 * begin, flat(block)

    def name(self, row: int) -> str:
        """Return what people call a text."""
        return f"{self._pairs.name(row // 2)}, text {'AB'[row % 2]}"


class TextList:
    """Texts in memory, as an extraction reads those of a data set.

    Parameters
    ----------
    texts : sequence of str or Pair
    block : int
        Texts a block.
    """

    def __init__(self, texts: Sequence[Text], block: int = 65_536) -> None:
        self._texts, self._block = texts, block

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self._texts)

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, Sequence[Text]]]:
        """Yield each block's first row and texts; those without a wanted row are left out."""
        for begin in range(0, len(self._texts), self._block):
            end = begin + self._block
            if wanted is None or wanted[begin:end].any():
                yield begin, list(self._texts[begin:end])

    def name(self, row: int) -> str:
        """Return what people call a row."""
        return f"text {row}"

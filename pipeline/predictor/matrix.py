"""How alike some texts are, each with each: numbers for a program, lines for a terminal, a heat map for a page.

The figure is that of D. Cer et al., "Universal Sentence Encoder" (2018), figure 1.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError
from pipeline.errors import word as readable
from pipeline.pages.canvas import FONT, WIDTH, draw, shown, width_of
from pipeline.pages.colours import LIGHT
from pipeline.pages.heat import LEVELS, Cells, shade
from pipeline.predictor.texts import checked_texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes

N_DRAWN = 60  # texts: of more, a cell would be smaller than five pixels on a phone
N_NAMED = 20  # texts that the figure names
ROUNDING = 1e-6  # of features in float32: cosines that differ by less are equal
# of the shades, the strongest one such that text on it has a contrast of 4.5:1 in both schemes
OPACITIES = tuple(0.6 * level / LEVELS for level in range(1, LEVELS + 1))


@dataclass(frozen=True)
class SimilarityMatrix:
    """How alike some texts are; ``print`` it, or take `to_html`.

    Attributes
    ----------
    texts : tuple of str, length n
    cosines : ndarray of float64, shape (n, n)
        Of the features of each text with those of each: -1 to 1, symmetric.
    encoder : str or None
        What made the features, in words.
    """

    texts: tuple[str, ...]
    cosines: NDArray[np.float64]
    encoder: str | None = None

    def pairs(self) -> list[tuple[int, int]]:
        """Return the pairs of different positions, those most alike first; of equals the first in order."""
        rows, columns = np.triu_indices(len(self.texts), k=1)
        order = np.argsort(-self.cosines[rows, columns], kind="stable")
        return [(int(rows[i]), int(columns[i])) for i in order]

    def nearest(self, i: int) -> int:
        """Return the position of the other text most like text `i`."""
        others = self.cosines[i].copy()
        others[i] = -np.inf
        return int(others.argmax())

    @property
    def decimals(self) -> int:
        """Return how many tell the cosines apart: three, but more where all are nearly 1."""
        gap = max(1 - float(self.cosines.min()), ROUNDING)
        return min(6, max(3, 2 - math.floor(math.log10(gap))))

    def said(self, i: int, j: int) -> str:
        """Return the cosine of texts `i` and `j` for people."""
        return f"{self.cosines[i, j]:.{self.decimals}f}"

    def to_html(self) -> str:
        """Return a page with the heat map and its numbers: it loads nothing and runs no script.

        Raises
        ------
        DataError
            If there are more than `N_DRAWN` texts.
        """
        from pipeline.predictor.render import matrix_html

        if len(self.texts) > N_DRAWN:
            raise DataError(
                f"A page of {len(self.texts):,} texts cannot be read, expected at most {N_DRAWN}. Pass fewer, or use "
                "the array cosines."
            )
        return matrix_html(self, _heat_map(self), OPACITIES)

    def __str__(self) -> str:
        """Return it for a terminal: a numbered row for each text, and the text behind it."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        places, width = range(len(self.texts)), self.decimals + 4
        yield " " * 4 + "".join(f"{j + 1:{width}}" for j in places)
        for i, text in enumerate(self.texts):
            numbers = "".join(f"{self.said(i, j):>{width}}" for j in places)
            yield f"{i + 1:4}{numbers}  {readable(text, 160)}"


def similarity_matrix(
    texts: Iterable[str], features: NDArray[np.float32], *, encoder: str | None = None
) -> SimilarityMatrix:
    """Return how alike texts are, each with each: the cosines of their features.

    Parameters
    ----------
    texts : iterable of str, length n
        At least two.
    features : ndarray of float32, shape (n, d)
        Of the texts: of `Predictor.transform`, or of an encoder's ``encode``.
    encoder : str, optional
        What made them, in words for the page.

    Raises
    ------
    DataError
        If there are fewer than two texts, or features are not finite or not one row for each.
    """
    from pipeline.evaluation.nearest import cosine_matrix

    found = checked_texts(texts)
    if len(found) < 2:
        raise DataError(
            f"{len(found)} text{'s'[: len(found) != 1]} cannot be compared, expected two or more. Pass another."
        )
    if features.ndim != 2 or len(features) != len(found):
        raise DataError(
            f"Features have the shape {features.shape}, expected ({len(found)}, d). Pass one row for each text."
        )
    if not np.isfinite(features).all():
        raise DataError(
            "Features hold NaN or infinity, expected numbers. Encode the texts again."
        )
    return SimilarityMatrix(tuple(found), cosine_matrix(features), encoder)


def _heat_map(matrix: SimilarityMatrix) -> str:
    """Return the figure: its weakest shade is the least alike pair, its strongest 1."""
    n = len(matrix.texts)
    names = [str(i + 1) for i in range(n)]
    if n <= N_NAMED:
        names = [f"{shown(text, 20)}  {i + 1}" for i, text in enumerate(matrix.texts)]
    middles = np.arange(n) + 0.5
    ticks = slice(None) if n <= N_NAMED else slice(9, None, 10)
    left = max(map(width_of, names[ticks])) + 12
    numbers = [f"{cosine:.{matrix.decimals - 1}f}" for cosine in matrix.cosines.ravel()]
    has_room = max(map(width_of, numbers)) < (WIDTH - left - 12) / n

    def paint(axes: "Axes") -> None:
        shade(axes, _cells(matrix))
        for k, number in enumerate(numbers if has_room else ()):
            place = (k % n + 0.5, k // n + 0.5)
            axes.text(*place, number, ha="center", va="center", size=10)
        axes.set(xlim=(0, n), ylim=(n, 0))
        axes.set_xticks(middles[ticks], [str(j + 1) for j in range(n)][ticks])
        axes.set_yticks(middles[ticks], names[ticks])
        axes.tick_params(labelcolor=LIGHT["ink"], labelsize=11)
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)

    bottom = FONT + 16
    height = round(WIDTH - left - 12 + bottom + 12)
    return draw("similarity", paint, height=height, left=left, bottom=bottom)


def _cells(matrix: SimilarityMatrix) -> Cells:
    low = matrix.cosines[matrix.pairs()[-1]]
    is_flat = 1 - low < ROUNDING
    cells: Cells = {}
    for place, cosine in np.ndenumerate(matrix.cosines):
        share = 1.0 if is_flat else (cosine - low) / (1 - low)
        level = min(LEVELS - 1, int(LEVELS * share))
        cells.setdefault(("blue", OPACITIES[level]), []).append(place)
    return cells

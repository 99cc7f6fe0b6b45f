"""The cells of a heat figure: a matrix's squares, in shades of the page's colours."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.pages.colours import LIGHT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LEVELS = 8  # shades: an eye tells no more apart
Cells = dict[tuple[str, float], list[tuple[int, int]]]


def shade(
    axes: "Axes", cells: Mapping[tuple[str, float], list[tuple[int, int]]]
) -> None:
    """Fill squares of side 1, and draw those of one shade as one path: no seams, and a small page.

    Parameters
    ----------
    axes : Axes
        Row 0, column 0 is filled from (0, 0) to (1, 1).
    cells : mapping of (colour, opacity) to list of (row, column)
        A colour's name in `LIGHT`, and 0 to 1.
    """
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    for (colour, opacity), places in sorted(cells.items()):
        squares = [
            Path([(j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1), (j, i)], closed=True)
            for i, j in places
        ]
        path = Path.make_compound_path(*squares)
        axes.add_patch(PathPatch(path, facecolor=LIGHT[colour], alpha=opacity, lw=0))

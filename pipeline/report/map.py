"""The map of the scored rows' features: its figure, and where each point stands in it."""

from typing import TYPE_CHECKING, Any

from pipeline.pages.canvas import WIDTH, draw, shown
from pipeline.pages.colours import LIGHT, SERIES
from pipeline.report.figures import LEGEND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]  # Any: JSON values
HEIGHT = 420  # px
LEFT, RIGHT, TOP, BOTTOM = 30, 12, 46, 30  # px between the points' box and the edges
MARKERS = ("o", "s", "^", "D")


def scatter(section: Json, classes: list[Any]) -> str:
    """Return the map as an ``<svg>`` element: a point a row, errors as crosses on top.

    Up to four classes have a colour and a marker each; of more, right and wrong answers.
    """
    points = section["points"]

    def paint(axes: "Axes") -> None:
        for name, colour, marker, group in _groups(points, classes):
            is_cross = marker == "x"
            axes.plot(
                [one["x"] for one in group],
                [one["y"] for one in group],
                marker,
                color=LIGHT[colour],
                ms=6 if is_cross else 4.5,
                alpha=1.0 if is_cross else 0.5,
                markeredgewidth=1.4 if is_cross else 0,
            )
            if name is not None:
                axes.plot([], [], marker, color=LIGHT[colour], ms=6, label=name)
        axes.set(xlabel="first axis", ylabel="second axis")
        axes.set(**_limits(points), xticks=[], yticks=[])
        axes.legend(ncols=3, **LEGEND)

    box = {"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM}
    return draw("map", paint, height=HEIGHT, **box)


def places(section: Json) -> list[tuple[float, float]]:
    """Return where each point stands in the figure, in its pixels."""
    limits = _limits(section["points"])
    (x0, x1), (y0, y1) = limits["xlim"], limits["ylim"]
    across, down = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    return [
        (
            round(LEFT + across * (one["x"] - x0) / (x1 - x0), 1),
            round(TOP + down * (y1 - one["y"]) / (y1 - y0), 1),
        )
        for one in section["points"]
    ]


def _limits(points: list[Json]) -> dict[str, tuple[float, float]]:
    """Return the ends of both axes."""
    limits = {}
    for axis in "xy":
        values = [one[axis] for one in points]
        room = 0.04 * (max(values) - min(values)) or 1.0
        limits[f"{axis}lim"] = (min(values) - room, max(values) + room)
    return limits


def _groups(
    points: list[Json], classes: list[Any]
) -> list[tuple[str | None, str, str, list[Json]]]:
    """Return name in the legend, colour, marker and points of each group."""
    right = [one for one in points if one["label"] == one["predicted"]]
    wrong = [one for one in points if one["label"] != one["predicted"]]
    if len(classes) > len(SERIES):
        return [("right", "blue", "o", right), ("wrong", "orange", "x", wrong)]
    known = [(SERIES[i], MARKERS[i], shown(label)) for i, label in enumerate(classes)]
    dots = [
        (name, colour, marker, [one for one in right if one["label"] == i])
        for i, (colour, marker, name) in enumerate(known)
    ]
    crosses = [
        (None, colour, "x", [one for one in wrong if one["label"] == i])
        for i, (colour, _, _) in enumerate(known)
    ]
    others = [one for one in wrong if one["label"] < 0]
    legend = [("wrong (colour: true class)", "ink", "x", others)]
    return [*dots, *crosses, *legend]

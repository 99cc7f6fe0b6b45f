"""The map of the scored rows' features: its figure, and where each point stands in it."""

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from pipeline.errors import label_text
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

    Up to four classes have a colour and a marker each; of more, right and wrong answers. Of several labels a row it is
    told how many are right, of numbers which quarter they are in.
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


def said(answer: Any, classes: list[Any]) -> str:  # Any: as in a map's points
    """Return a class, a set of labels or a value of a point, as people read it."""
    if not classes:
        return label_text(float(answer))
    if isinstance(answer, list):
        return label_text([classes[j] for j in answer])
    return str(classes[answer]) if answer >= 0 else "(unknown)"


def _limits(points: list[Json]) -> dict[str, tuple[float, float]]:
    """Return the ends of both axes."""
    limits = {}
    for axis in "xy":
        values = [one[axis] for one in points]
        room = 0.04 * (max(values) - min(values)) or 1.0
        limits[f"{axis}lim"] = (min(values) - room, max(values) + room)
    return limits


Group = tuple[str | None, str, str, list[Json]]  # name in the legend, colour, marker


def _groups(points: list[Json], classes: list[Any]) -> list[Group]:
    """Return the points of each group: by class, by how many labels are right, or by value."""
    if not classes:
        return _by_value(points)
    if isinstance(points[0]["label"], list):
        return _by_match(points)
    return _by_class(points, classes)


def _by_value(points: list[Json]) -> list[Group]:
    """Return a group for each quarter of the points, by their true value."""
    ranked = sorted(points, key=lambda one: one["label"])
    cuts = [ranked[len(ranked) * i // 4 - 1]["label"] for i in range(1, 4)]
    bounds = sorted(set(cuts))
    groups: list[list[Json]] = [[] for _ in range(len(bounds) + 1)]
    for one in points:
        groups[bisect_left(bounds, one["label"])].append(one)
    names = [f"up to {bound:g}" for bound in bounds] + [f"above {bounds[-1]:g}"]
    return list(zip(names, SERIES, MARKERS, groups, strict=False))


def _by_match(points: list[Json]) -> list[Group]:
    """Return points whose labels are all right, some of them, and none."""
    groups: dict[str, list[Json]] = {"all right": [], "partly": [], "wrong": []}
    for one in points:
        if one["label"] == one["predicted"]:
            groups["all right"].append(one)
        elif set(one["label"]) & set(one["predicted"]):
            groups["partly"].append(one)
        else:
            groups["wrong"].append(one)
    looks = (("blue", "o"), ("teal", "s"), ("orange", "x"))
    return [
        (name, *look, group)
        for (name, group), look in zip(groups.items(), looks, strict=True)
    ]


def _by_class(points: list[Json], classes: list[Any]) -> list[Group]:
    """Return right answers of each class, and wrong ones; of many classes the two alone."""
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

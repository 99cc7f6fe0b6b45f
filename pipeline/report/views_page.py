"""What a comparison of views says and shows: in the terminal, in Markdown, and on its page."""

from typing import TYPE_CHECKING, Any

from pipeline.pages.canvas import draw
from pipeline.pages.colours import LIGHT, SERIES
from pipeline.report import words
from pipeline.report.figures import LEGEND
from pipeline.report.kinds import KINDS, Kind
from pipeline.report.page import Drawing
from pipeline.report.render import render
from pipeline.report.views import View

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]  # Any: JSON values
COLUMNS = ("view", "score", "minus the best", "rows/s", "MB", "C")
MARKERS = {"cls": "o", "mean": "s", "max": "^", "pooler": "D"}
POINT_AREAS = (30, 150)  # square points, of the smallest and the largest weights
FAINTEST = 0.12  # opacity of the earliest layer
N_LAYERS_NAMED = 6


def render_views(comparison: Json, name: str) -> str:
    """Return the page of a comparison: one file that needs no other.

    Parameters
    ----------
    comparison : dict
        As `pipeline.report.views.with_speeds` returns it.
    name : str
        Of the data set.
    """
    return render(
        "views.html.j2", drawing=drawing(comparison), **_said(comparison, name)
    )


def views_markdown(comparison: Json, name: str) -> str:
    """Return the comparison as Markdown."""
    return render("views.md.j2", **_said(comparison, name))


def _said(comparison: Json, name: str) -> Json:
    kind = KINDS[comparison["task"]]
    failed = [
        (named(view), view["error"]) for view in comparison["views"] if "error" in view
    ]
    return {
        "dataset": name,
        "comparison": comparison,
        "columns": (*COLUMNS[:1], kind.headline_name, *COLUMNS[2:]),
        "rows": rows(comparison),
        "sentences": sentences(comparison),
        "failed": failed,
        "unmeasured": [
            (named(view), speed["error"])
            for view, speed in _measurable(comparison)
            if "error" in speed
        ],
    }


def named(view: Json) -> str:
    """Return what a view is called."""
    fields = ("encoder", "layer", "pooling", "precision")
    return str(View(**{name: view[name] for name in fields}))


def options(view: Json) -> str:
    """Return the options by which a run takes a view."""
    precision = view["precision"]
    more = "" if precision == "float32" else f" --precision {precision}"
    return f"--encoder {view['encoder']} --layer {view['layer']} --pooling {view['pooling']}{more}"


def rows(comparison: Json) -> list[list[str]]:
    """Return the table of the views that were scored: number and name, score, difference, speed, size, C."""
    found = []
    for i, (view, speed) in enumerate(_measurable(comparison)):
        mark = " ≈" if i and view["is_close"] else ""
        mark += "" if view["converged"] else " (not converged)"
        difference = view["difference"]
        found.append(
            [
                f"{i + 1}. {named(view)}{mark}",
                words.number(view["score"]),
                "" if difference is None else words.difference(difference),
                f"{speed['rows_per_s']:.0f}" if "rows_per_s" in speed else "–",
                f"{speed['size_mb']:.1f}" if "size_mb" in speed else "–",
                f"{view['C']:g}",
            ]
        )
    return found


def sentences(comparison: Json) -> list[str]:
    """Return what was found: which view is best, which is as good and faster, and how much choosing flatters."""
    return [_best(comparison), _alternative(comparison), _optimism(comparison)]


def _best(comparison: Json) -> str:
    kind, (view, speed) = KINDS[comparison["task"]], _measurable(comparison)[0]
    return (
        f"{named(view)} is best: {kind.headline_name} {words.number(view['score'])}, out of fold on "
        f"{words.counted(comparison['n'], 'training row')}{_pace(speed)}."
    )


def _pace(speed: Json) -> str:
    if "rows_per_s" not in speed:
        return ""
    return f", {speed['rows_per_s']:,.0f} rows/s, {speed['size_mb']:,.1f} MB of weights"


def _alternative(comparison: Json) -> str:
    scored = _measurable(comparison)
    n_close = sum(view["is_close"] for view, _ in scored) - 1
    if n_close == 0:
        return (
            "" if len(scored) == 1 else "Every other view is shown to be worse than it."
        )
    close = (
        f"{words.counted(n_close, 'other view')} cannot be told apart from it "
        "(≈: the paired 95 % interval reaches 0)"
    )
    i = comparison["run"]["alternative"]
    if i is None:
        return f"{close}."
    view, speed = scored[i]
    return f"{close}; the fastest is {named(view)}{_pace(speed)}: {options(view)}."


def _optimism(comparison: Json) -> str:
    kind, n = KINDS[comparison["task"]], len(_measurable(comparison))
    if n == 1 or comparison["optimism"] is None:
        return ""
    flattery = comparison["optimism"]
    how = (
        f"{kind.number(flattery)}{kind.unit} below" if flattery > 0 else "no less than"
    )
    return (
        f"The best of {n} may look better than it is: chosen on all folds but one and scored on that one, the choice "
        f"has {kind.headline_name} {words.number(comparison['choice'])}, {how} the best view's. The intervals are not "
        "adjusted for the number of views; the winner's report scores rows that no choice has seen."
    )


def drawing(comparison: Json) -> Drawing:
    """Return the figure: score over speed, a point a view."""
    kind = KINDS[comparison["task"]]
    finding = (
        f"{_capital(kind.headline_name)} with its 95 % interval over rows/s on this machine; up and to the right is "
        "better. Numbers are those of the table. The fuller a point, the later its layer; the larger, the more weights."
    )
    return Drawing(
        "views", "What each view is worth and costs", finding, _figure(comparison, kind)
    )


def _figure(comparison: Json, kind: Kind) -> str:
    points = [
        (i + 1, view, speed)
        for i, (view, speed) in enumerate(_measurable(comparison))
        if "rows_per_s" in speed
    ]
    series = list(dict.fromkeys(map(_series, (view for _, view, _ in points))))
    layers = sorted({view["layer"] for _, view, _ in points})
    sizes = [speed["size_mb"] for *_, speed in points]

    def paint(axes: "Axes") -> None:
        axes.set_xscale("log")
        for number, view, speed in points:
            colour = LIGHT[SERIES[series.index(_series(view)) % len(SERIES)]]
            place = speed["rows_per_s"], view["score"]["value"]
            if view["score"]["ci95"]:
                ends = view["score"]["ci95"]
                axes.plot([place[0]] * 2, ends, color=colour, linewidth=1, alpha=0.6)
            look: Json = {
                "marker": MARKERS.get(view["pooling"], "o"),
                "s": _area(speed["size_mb"], sizes),
            }
            axes.scatter(*place, color=LIGHT["paper"], linewidth=0, **look)
            fill = _opacity(view["layer"], layers)
            axes.scatter(*place, color=colour, alpha=fill, linewidth=0, **look)
            axes.scatter(*place, facecolors="none", edgecolors=colour, **look)
            axes.annotate(
                str(number),
                place,
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=9,
            )
        _name_axes(axes, kind, [speed["rows_per_s"] for *_, speed in points])
        _add_legend(axes, [view for _, view, _ in points], layers, series)

    return draw("views", paint, height=420, left=62, right=22, top=96)


def _name_axes(axes: "Axes", kind: Kind, speeds: list[float]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set(xlabel="rows/s", ylabel=kind.headline_name)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda speed, _: f"{speed:,.0f}"))
    if speeds:
        least, most = min(speeds) / 1.1, max(speeds) * 1.15
        axes.set_xlim(least, most)
        axes.xaxis.set_major_locator(FixedLocator(_ticks(least, most)))


def _ticks(least: float, most: float) -> list[float]:
    """Return at most five numbers of two digits, about evenly far apart on a logarithmic axis."""
    even = (least * (most / least) ** (i / 5 + 0.1) for i in range(5))
    found = dict.fromkeys(float(f"{place:.2g}") for place in even)
    return [tick for tick in found if least <= tick <= most]


def _add_legend(
    axes: "Axes", views: list[Json], layers: list[int], series: list[str]
) -> None:
    """Name poolings by their markers, several encoders by their colours, and layers by their fullness."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D

    def entry(label: str, marker: str, colour: str, fill: float) -> Line2D:
        edge = LIGHT[colour]
        face = to_rgba(edge, fill)
        look: Json = {"markerfacecolor": face, "markeredgecolor": edge, "ms": 7}
        return Line2D([], [], linestyle="", marker=marker, label=label, **look)

    poolings = dict.fromkeys(view["pooling"] for view in views)
    kinds = [entry(name, MARKERS.get(name, "o"), "soft", 0.5) for name in poolings]
    if len(series) > 1:
        colours = (SERIES[i % len(SERIES)] for i in range(len(series)))
        kinds += [
            entry(*one, 1.0)
            for one in zip(series, "o" * len(series), colours, strict=True)
        ]
    step = -(-len(layers) // N_LAYERS_NAMED) or 1
    depths = [
        entry(str(layer), "o", "soft", _opacity(layer, layers))
        for layer in layers[::-1][::step][::-1]
    ]
    place = {**LEGEND, "handlelength": 1.0}
    first = axes.legend(handles=depths, ncols=N_LAYERS_NAMED, title="layer", **place)
    axes.add_artist(first)
    axes.legend(handles=kinds, ncols=4, **{**place, "bbox_to_anchor": (0.47, 1.13)})


def _series(view: Json) -> str:
    """Return what a view's colour stands for."""
    name, precision = str(view["encoder"]), view["precision"]
    return name if precision == "float32" else f"{name}, {precision}"


def _opacity(layer: int, layers: list[int]) -> float:
    if len(layers) == 1:
        return 1.0
    return FAINTEST + (1 - FAINTEST) * layers.index(layer) / (len(layers) - 1)


def _area(size_mb: float, sizes: list[float]) -> float:
    least, most = POINT_AREAS
    return least + (most - least) * (size_mb / max(sizes)) ** 2


def _measurable(comparison: Json) -> list[tuple[Json, Json]]:
    """Return the views that were scored, the best one first, each with its speed."""
    scored = [view for view in comparison["views"] if "error" not in view]
    return list(zip(scored, comparison["run"]["speeds"], strict=True))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]

"""The figures of the report, each from its section of ``report.json``, as ``<svg>`` elements."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.pages.canvas import FONT, WIDTH, draw, shown, width_of
from pipeline.pages.colours import LIGHT, SERIES
from pipeline.pages.heat import LEVELS, Cells, shade

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Json = dict[str, Any]  # Any: JSON values
ROW = 40  # px of a row in a figure of intervals
DASHES = ("-", "--", ":", "-.")
LEGEND: Json = {
    "loc": "lower center",
    "bbox_to_anchor": (0.47, 1.0),
    "handlelength": 2.2,
    "columnspacing": 1.2,
    "borderpad": 0.2,
}


def intervals(
    name: str,
    rows: Sequence[tuple[str, Json]],
    *,
    unit: str,
    line: float | None = None,
    strong: Sequence[bool] = (),
    hollow: Sequence[bool] = (),
) -> str:
    """Return a point with its 95 % interval for each row, from top to bottom, each below its label.

    Parameters
    ----------
    name : str
        Of the figure.
    rows : sequence of (str, figure)
        A figure without a value has a label alone.
    unit : str
        What the axis shows.
    line : float, optional
        Where an upright line stands, for comparison.
    strong, hollow : sequence of bool, optional
        Which rows are in the second colour, and which points are not filled.
    """

    def paint(axes: "Axes") -> None:
        if line is not None:
            axes.axvline(line, color=LIGHT["soft"], linewidth=1, linestyle="--")
        for i, (label, figure) in enumerate(rows):
            place = (0.0, i - 0.38)
            across = axes.get_yaxis_transform()
            axes.text(*place, shown(label, 60), transform=across, va="center")
            if figure["value"] is None:
                continue
            is_strong = bool(strong) and strong[i]
            is_hollow = bool(hollow) and hollow[i]
            colour = LIGHT["orange" if is_strong else "blue"]
            if figure.get("ci95"):
                axes.plot(figure["ci95"], [i, i], color=colour, linewidth=2.5)
            marker = "D" if is_strong or is_hollow else "o"
            face = LIGHT["paper"] if is_hollow else colour
            axes.plot(
                figure["value"], i, marker, color=colour, markerfacecolor=face, ms=6.5
            )
        axes.set_xlabel(unit)
        axes.set(yticks=[], ylim=(len(rows) - 0.5, -0.75))
        axes.spines["left"].set_visible(False)
        axes.locator_params(axis="x", nbins=7)

    return draw(name, paint, height=60 + ROW * len(rows), left=16, right=20)


def confusion(counts: list[list[int]], classes: list[Any]) -> str:
    """Return a heat figure: a row is a true class, the darker a cell, the larger its share of the row.

    The cells of right answers have another colour than those of errors.
    """
    k = len(classes)
    names = [shown(label, 14) for label in classes] if k <= 25 else []
    widest = max(map(width_of, names), default=0)
    is_narrow = widest * k < WIDTH - widest - 44  # names fit beside each other

    def paint(axes: "Axes") -> None:
        cells: Cells = {}
        for i, row in enumerate(counts):
            total = sum(row)
            for j, count in enumerate(row):
                if count:
                    level = 1 + int((LEVELS - 1) * (count / total) ** 0.5)
                    colour = "blue" if i == j else "orange"
                    cells.setdefault((colour, level / LEVELS), []).append((i, j))
        shade(axes, cells)
        axes.set(
            xlim=(0, k), ylim=(k, 0), xlabel="predicted class", ylabel="true class"
        )
        middles = [i + 0.5 for i in range(k)] if names else []
        axes.set_xticks(middles, names, rotation=0 if is_narrow else 90)
        axes.set_yticks(middles, names)
        axes.tick_params(labelcolor=LIGHT["ink"], labelsize=10 if k > 15 else 11)
        axes.grid(visible=False)
        axes.spines[["top", "right"]].set_visible(True)

    left = widest + 32
    bottom = (FONT if is_narrow else widest) + 32
    height = round(WIDTH - left - 12 + bottom + 12)
    return draw("confusion", paint, height=height, left=left, bottom=bottom)


def calibration(section: Json) -> str:
    """Return accuracy over stated confidence; the larger a point, the more rows."""
    bins = section["bins"]

    def paint(axes: "Axes") -> None:
        axes.plot([0, 1], [0, 1], color=LIGHT["soft"], linewidth=1, linestyle="--")
        x, y = ([one[key] for one in bins] for key in ("confidence", "accuracy"))
        most = max((one["n"] for one in bins), default=1)
        sizes = [20 + 130 * one["n"] / most for one in bins]
        axes.plot(x, y, color=LIGHT["blue"], linewidth=1.5)
        axes.scatter(x, y, s=sizes, color=LIGHT["blue"], alpha=0.8, linewidth=0)
        low = min([0.5, *x, *y])
        axes.set(
            xlim=(low - 0.05, 1.03),
            ylim=(low - 0.05, 1.03),
            xlabel="confidence (stated probability)",
            ylabel="accuracy (share right)",
        )

    return draw("calibration", paint, height=300)


def thresholds(section: Json, in_use: float = 0.5) -> str:
    """Return precision, recall, F1 and accuracy over the threshold; where the model's own stands is marked."""
    points = section["points"]

    def paint(axes: "Axes") -> None:
        for i, key in enumerate(("precision", "recall", "f1", "accuracy")):
            known = [one for one in points if one[key] is not None]
            axes.plot(
                [one["threshold"] for one in known],
                [one[key] for one in known],
                color=LIGHT[SERIES[i]],
                linestyle=DASHES[i],
                linewidth=2,
                label={"f1": "F1"}.get(key, key),
            )
        axes.axvline(in_use, color=LIGHT["soft"], linewidth=1)
        axes.set(xlabel="threshold (probability)", ylabel="share", ylim=(-0.02, 1.03))
        axes.legend(ncols=4, **LEGEND)

    return draw("thresholds", paint, height=300, top=34)


def scores(section: Json) -> str:
    """Return the histogram of each group of rows."""
    edges = section["edges"]

    def paint(axes: "Axes") -> None:
        for i, group in enumerate(section["groups"]):
            colour = LIGHT[SERIES[i % len(SERIES)]]
            axes.stairs(group["counts"], edges, fill=True, color=colour, alpha=0.18)
            axes.stairs(
                group["counts"],
                edges,
                color=colour,
                linewidth=2,
                linestyle=DASHES[i % len(DASHES)],
                label=shown(group["name"]),
            )
        axes.set(xlabel="probability", ylabel="rows", ylim=(0, None))
        axes.legend(ncols=2, **LEGEND)

    return draw("scores", paint, top=34)


def abstention(section: Json) -> str:
    """Return the error rate among answered rows over how many are answered; where the rule stands is marked."""
    test, points = section["test"], section["test"]["points"]

    def paint(axes: "Axes") -> None:
        axes.axhline(
            section["max_error"], color=LIGHT["soft"], linewidth=1, linestyle="--"
        )
        x, y = ([one[key] for one in points] for key in ("coverage", "error"))
        axes.plot(x, y, color=LIGHT["blue"], linewidth=2)
        if test["error"]["value"] is not None:
            place = test["coverage"]["value"], test["error"]["value"]
            axes.plot([place[0]] * 2, test["error"]["ci95"], color=LIGHT["orange"])
            axes.plot(*place, "D", color=LIGHT["orange"], ms=8)
        axes.set(
            xlim=(0, 1.02),
            ylim=(0, None),
            xlabel="coverage (share of rows answered)",
            ylabel="error rate among them",
        )

    return draw("abstention", paint, height=300, left=66)  # three decimals


def learning_curve(
    section: Json, metric: str = "accuracy", name: str = "accuracy"
) -> str:
    """Return the mean score over training rows with the fitted curve, which goes on beyond them if it forecasts."""
    points = [one for one in section["points"] if one[metric]["value"] is not None]

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import FuncFormatter, NullLocator

        x = [one["n"] for one in points]
        axes.set_xscale("log")
        for one in points:
            if one[metric].get("ci95"):
                axes.plot(
                    [one["n"]] * 2,
                    one[metric]["ci95"],
                    color=LIGHT["blue"],
                    linewidth=2,
                )
        values = [one[metric]["value"] for one in points]
        axes.plot(x, values, "o", color=LIGHT["blue"], ms=6, label="measured")
        fit = section.get("fit")
        is_forecast = section["forecast"]["more_labels"] is not None
        reach = 4 if is_forecast else 1  # times the training rows
        if fit and x:
            along = [x[0] * (reach * x[-1] / x[0]) ** (i / 60) for i in range(61)]
            curve = [fit["a"] - fit["b"] * n ** -fit["c"] for n in along]
            axes.plot(
                along,
                curve,
                color=LIGHT["orange"],
                linestyle="--",
                label="fit and forecast" if is_forecast else "fit",
            )
        axes.set(xlabel="training rows", ylabel=name)
        axes.xaxis.set_minor_locator(NullLocator())
        if x:
            axes.set_xticks(_spread(x))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
        axes.legend(ncols=2, **LEGEND)

    return draw("learning-curve", paint, top=34, left=66)  # three decimals


def values(section: Json) -> str:
    """Return answers over true values, the darker or larger the more rows, and the mean answer of each tenth."""
    points, tenths = section["points"], section["residuals"]
    most = max(one["n"] for one in points)

    def paint(axes: "Axes") -> None:
        both = [one[key] for one in points for key in ("value", "answer")]
        ends = [min(both), max(both)]
        axes.plot(ends, ends, color=LIGHT["soft"], linewidth=1, linestyle="--")
        axes.scatter(
            [one["value"] for one in points],
            [one["answer"] for one in points],
            s=[10 + 60 * (one["n"] / most if most > 1 else 0) for one in points],
            color=LIGHT["blue"],
            alpha=0.35,
            linewidth=0,
        )
        axes.plot(
            [one["value"] for one in tenths],
            [one["answer"] for one in tenths],
            "D-",
            color=LIGHT["orange"],
            ms=6,
            label="means of tenths by the answer",
        )
        axes.set(xlabel="true value", ylabel="answer")
        axes.legend(**LEGEND)

    return draw("values", paint, height=360, top=34)


def search(points: list[Json], chosen: float, metric: str, name: str) -> str:
    """Return the log loss, or whatever was to be small, of each C that was tried; the chosen one is marked."""

    def paint(axes: "Axes") -> None:
        from matplotlib.ticker import FuncFormatter, NullFormatter

        x, y = [one["C"] for one in points], [one[metric] for one in points]
        axes.plot(x, y, "o-", color=LIGHT["blue"], ms=5)
        for one in points:
            if one["C"] == chosen:
                axes.plot(chosen, one[metric], "D", color=LIGHT["orange"], ms=10)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda C, _: f"{C:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="C (inverse regularisation)", ylabel=name)

    return draw("search", paint, height=230, left=62)


def _spread(values: list[int], most: int = 4) -> list[int]:
    """Return at most `most` of `values`, which are sorted, from the last on downwards."""
    step = -(-len(values) // most)
    return sorted(values[::-1][::step])

"""Everything the templates show: the report with every section named, its sentences, tables and figures."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.evaluation.slices import MIN_WEAK
from pipeline.report import figures, findings, map, words
from pipeline.report.kinds import CLASSES, Kind, kind_of

Json = dict[str, Any]  # Any: JSON values
SECTIONS: tuple[str, ...] = (
    *("calibration", "thresholds", "scores", "learning_curve", "label_issues"),
    *("map", "clusters", "reproduce", "per_class", "confusion", "values", "n_errors"),
    "decision",
)
LISTS = ("slices", "advice", "published")
NO_RUN: Json = {
    "encoding": None,
    "pooling_source": None,
    "previous": None,
    "seconds": {},
}


@dataclass(frozen=True)
class Drawing:
    """A figure: its title, what it shows in a sentence, and the ``<svg>`` element."""

    name: str
    title: str
    finding: str
    svg: str


def whole(report: Json) -> Json:
    """Return a report with each section that it lacks as None or as an empty list."""
    filled = {
        **dict.fromkeys(SECTIONS),
        **{name: [] for name in LISTS},
        **{name: value for name, value in report.items() if value is not None},
    }
    return {**filled, "run": {**NO_RUN, **filled.get("run", {})}}


def drawings(report: Json) -> dict[str, Drawing]:
    """Return the figures that a `whole` report has, by name."""
    found = [
        _headline(report),
        _confusion(report),
        _of_section(report, "values", "Answers beside true values", figures.values),
        _slices(report),
        _learning_curve(report),
        _of_section(
            report, "calibration", "Stated and true shares", figures.calibration
        ),
        _thresholds(report),
        _of_section(report, "scores", "How the scores lie", figures.scores),
        _abstention(report),
        _map(report),
        _search(report),
    ]
    return {drawing.name: drawing for drawing in found if drawing is not None}


def map_data(report: Json) -> str:
    """Return place, classes and text of each point of the map as JSON that can stand in a page."""
    section, classes = report["map"], report["classes"]
    data = [
        [
            *place,
            map.said(one["label"], classes),
            map.said(one["predicted"], classes),
            one["text"],
        ]
        for place, one in zip(map.places(section), section["points"], strict=True)
    ]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # no text can end the script element


def _headline(report: Json) -> Drawing | None:
    kind = kind_of(report)
    rows = [("this model", report["metrics"]["test"][kind.headline])]
    rows += [
        (words.baseline(name), report["baselines"][name][kind.headline])
        for name in words.baselines(report)
    ]
    n_measured = len(rows)
    rows += [
        (f"published: {one['system']}", {"value": one["value"]})
        for one in report["published"]
        if one["metric"] == kind.headline
    ]
    if rows[0][1]["value"] is None:
        return None
    svg = figures.intervals(
        "accuracy",
        rows,
        unit=f"{_axis(kind)}, 95 % interval",
        hollow=[i >= n_measured for i in range(len(rows))],
    )
    title = _capital(kind.headline_name)
    return Drawing("accuracy", title, findings.headline(report), svg)


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:]


def _axis(kind: Kind) -> str:
    return "accuracy (share right)" if kind is CLASSES else kind.headline_name


def _confusion(report: Json) -> Drawing | None:
    if not report["confusion"] or len(report["classes"]) <= findings.MANY_CLASSES:
        return None
    svg = figures.confusion(report["confusion"], report["classes"])
    finding = findings.confusion(report)
    return Drawing("confusion", "Confusion matrix", finding, svg)


def _slices(report: Json) -> Drawing | None:
    rows = [one for one in report["slices"] if one["n"] >= MIN_WEAK]
    if not rows:
        return None
    kind, all_rows = kind_of(report), report["metrics"]["test"]
    svg = figures.intervals(
        "slices",
        [(f"{one['group']}: {one['name']}", one[kind.score]) for one in rows],
        unit=f"{kind.score_name}, 95 % interval; dashed: all rows",
        line=all_rows[kind.score]["value"],
        strong=[one["is_weak"] for one in rows],
    )
    title = f"{_capital(kind.score_name)} by slice"
    return Drawing("slices", title, findings.slices(report), svg)


def _learning_curve(report: Json) -> Drawing | None:
    kind = kind_of(report)

    def draw(section: Json) -> str:
        return figures.learning_curve(section, kind.score, kind.score_name)

    title = f"{_capital(kind.score_name)} over training rows"
    return _of_section(report, "learning_curve", title, draw)


def _of_section(
    report: Json, name: str, title: str, draw: Callable[[Json], str]
) -> Drawing | None:
    section = report[name]
    if not section or not (
        section.get("bins") or section.get("points") or section.get("groups")
    ):
        return None
    finding: Callable[[Json], str] = getattr(findings, name)
    return Drawing(name, title, finding(section), draw(section))


def _thresholds(report: Json) -> Drawing | None:
    in_use = findings.threshold(report)

    def draw(section: Json) -> str:
        return figures.thresholds(section, in_use)

    return _of_section(report, "thresholds", "What a threshold brings", draw)


def _abstention(report: Json) -> Drawing | None:
    section = (report["decision"] or {}).get("abstention")
    if not section:
        return None
    svg = figures.abstention(section)
    finding = findings.abstention(section)
    return Drawing("abstention", "Errors by rows answered", finding, svg)


def _map(report: Json) -> Drawing | None:
    section = report["map"]
    if not section or not section["points"]:
        return None
    svg = map.scatter(section, report["classes"])
    return Drawing("map", "Map of the scored texts", findings.feature_map(section), svg)


def _search(report: Json) -> Drawing | None:
    head = report["head"]
    if not head["search"]:
        return None
    metric = findings.search_metric(head["search"])
    name = {"log_loss": "log loss (nats)"}.get(metric, findings.SEARCHED_BY[metric])
    svg = figures.search(head["search"], head["C"], metric, name)
    return Drawing("search", "Search for C", findings.search(report), svg)


def comparison(rows: list[tuple[str, Json]], kind: Kind = CLASSES) -> Drawing:
    """Return the figure of the headline metrics of runs."""
    unit = f"{_axis(kind)}, 95 % interval"
    svg = figures.intervals("accuracy", rows, unit=unit)
    said = "; ".join(f"{name}: {words.number(figure)}" for name, figure in rows)
    title = f"{_capital(kind.headline_name)} of both runs"
    return Drawing("accuracy", title, f"{said}.", svg)

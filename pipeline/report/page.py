"""Everything the templates show: the report with every section named, its sentences, tables and figures."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pipeline.report import figures, findings, map, words

Json = dict[str, Any]  # Any: JSON values
SECTIONS: tuple[str, ...] = (
    *("calibration", "thresholds", "scores", "learning_curve", "label_issues"),
    *("map", "clusters", "reproduce", "decision"),
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
        _accuracy(report),
        _confusion(report),
        _slices(report),
        _of_section(
            report,
            "learning_curve",
            "Accuracy over training rows",
            figures.learning_curve,
        ),
        _of_section(
            report, "calibration", "Stated and true shares", figures.calibration
        ),
        _of_section(
            report, "thresholds", "What a threshold brings", figures.thresholds
        ),
        _of_section(report, "scores", "How the scores lie", figures.scores),
        _abstention(report),
        _map(report),
        _search(report),
    ]
    return {drawing.name: drawing for drawing in found if drawing is not None}


def map_data(report: Json) -> str:
    """Return place, classes and text of each point of the map as JSON that can stand in a page."""
    section = report["map"]
    classes = {i: str(label) for i, label in enumerate(report["classes"])}
    data = [
        [
            *place,
            classes.get(one["label"], "(unknown)"),
            classes[one["predicted"]],
            one["text"],
        ]
        for place, one in zip(map.places(section), section["points"], strict=True)
    ]
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")  # no text can end the script element


def _accuracy(report: Json) -> Drawing | None:
    rows = [("this model", report["metrics"]["test"]["accuracy"])]
    rows += [
        (words.BASELINE_NAMES[name], report["baselines"][name]["accuracy"])
        for name in findings.BASELINES
    ]
    n_measured = len(rows)
    rows += [
        (f"published: {one['system']}", {"value": one["value"]})
        for one in report["published"]
        if one["metric"] == "accuracy"
    ]
    if rows[0][1]["value"] is None:
        return None
    svg = figures.intervals(
        "accuracy",
        rows,
        unit="accuracy (share right), 95 % interval",
        hollow=[i >= n_measured for i in range(len(rows))],
    )
    return Drawing("accuracy", "Accuracy", findings.accuracy(report), svg)


def _confusion(report: Json) -> Drawing | None:
    if len(report["classes"]) <= findings.MANY_CLASSES:
        return None
    svg = figures.confusion(report["confusion"], report["classes"])
    finding = findings.confusion(report)
    return Drawing("confusion", "Confusion matrix", finding, svg)


def _slices(report: Json) -> Drawing | None:
    rows = report["slices"]
    if not rows:
        return None
    svg = figures.intervals(
        "slices",
        [(f"{one['group']}: {one['name']}", one["accuracy"]) for one in rows],
        unit="accuracy, 95 % interval; dashed: all rows",
        line=report["metrics"]["test"]["accuracy"]["value"],
        strong=[one["is_weak"] for one in rows],
    )
    return Drawing("slices", "Accuracy by slice", findings.slices(report), svg)


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
    svg = figures.search(head["search"], head["C"])
    return Drawing("search", "Search for C", findings.search(report), svg)


def comparison(rows: list[tuple[str, Json]]) -> Drawing:
    """Return the figure of the accuracies of runs."""
    unit = "accuracy (share right), 95 % interval"
    svg = figures.intervals("accuracy", rows, unit=unit)
    said = "; ".join(f"{name}: {words.number(figure)}" for name, figure in rows)
    return Drawing("accuracy", "Accuracy of both runs", f"{said}.", svg)

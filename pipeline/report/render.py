"""Writes a report as ``report.json``, ``report.md`` and ``report.html``, and renders the comparison of two runs."""

import json
import re
from pathlib import Path
from typing import Any

from jinja2 import Environment
from markupsafe import Markup, escape

from pipeline.errors import label_text
from pipeline.pages.frame import environment
from pipeline.report import conclusions, findings, page, words
from pipeline.report.kinds import CLASSES, KINDS, Kind, kind_of
from pipeline.report.tables import tables
from pipeline.storage import disk

Json = dict[str, Any]  # Any: JSON values
SCRIPT = "page.js"
# what moves a terminal's cursor or turns the direction of what follows; white space is dealt with before
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def write_report(report: Json, directory: Path) -> None:
    """Write the three forms; every number in Markdown and HTML is one of the JSON's."""
    text = json.dumps(
        report, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    _write(directory / "report.json", text + "\n")
    _write(directory / "report.md", render_markdown(report))
    _write(directory / "report.html", render_html(report))


def render_html(report: Json) -> str:
    """Return the report as a page that needs no other file and no network."""
    whole = page.whole(report)
    drawings = page.drawings(whole)
    map_data = page.map_data(whole) if "map" in drawings else None
    return render(
        "report.html.j2",
        report=whole,
        kind=kind_of(whole),
        drawings=drawings,
        tables=tables(whole),
        map_data=map_data,
    )


def render_markdown(report: Json) -> str:
    """Return the report without figures, in GitHub's Markdown."""
    whole = page.whole(report)
    kind = kind_of(whole)
    return render("report.md.j2", report=whole, kind=kind, tables=tables(whole))


def render_comparison(comparison: Json) -> str:
    """Return the page of a comparison of two runs.

    Parameters
    ----------
    comparison : dict
        ``runs`` (two, each with at least ``when``, ``name`` and the figure ``accuracy``), ``n`` (rows that both
        scored), ``metrics`` (name to the figures ``a``, ``b`` and ``difference``), ``mcnemar`` (``b``, ``c``, ``p``),
        ``verdict``, ``changed`` (texts whose predicted label changed) and ``n_changed``.
    """
    runs = comparison["runs"]
    kind = _kind_compared(comparison)
    rows = [
        (f"{letter}: {run['name']}", run[kind.headline])
        for letter, run in zip("AB", runs, strict=True)
    ]
    return render(
        "compare.html.j2",
        comparison=comparison,
        kind=kind,
        drawing=page.comparison(rows, kind),
        run_keys=_run_keys(runs, kind),
    )


def _run_keys(runs: list[Json], kind: Kind) -> list[str]:
    """Return what the table of two runs says of them."""
    keys = dict.fromkeys(key for run in runs for key in run if key != kind.headline)
    return list(keys)


def render(name: str, **values: object) -> str:
    """Return a template of ours, filled in."""
    return str(_environment().get_template(name).render(**values))


def comparison_markdown(comparison: Json) -> str:
    """Return what `pipeline.report.compare.compare_reports` found, as Markdown."""
    kind = _kind_compared(comparison)
    keys = _run_keys(comparison["runs"], kind)
    return render("compare.md.j2", comparison=comparison, kind=kind, run_keys=keys)


def _kind_compared(comparison: Json) -> Kind:
    """Return the kind of two runs, which is that of the first metric that both have."""
    run = comparison["runs"][0]
    return next((kind for kind in KINDS.values() if kind.headline in run), CLASSES)


def _write(path: Path, text: str) -> None:
    disk.write(path, text.encode("utf-8", "backslashreplace"))


def _environment() -> Environment:
    found = environment("pipeline.report", script=SCRIPT)
    found.filters["cell"] = _markdown_cell
    found.filters["unbroken"] = _unbroken
    found.filters["share"] = findings.share
    found.filters["label"] = label_text
    found.globals.update(conclusions=conclusions, words=words, findings=findings)
    return found


def _unbroken(text: str) -> Markup:
    """Return `text` for a page, in which no line ends inside the name of an option."""
    marked = re.sub(
        r"(?<!\S)(--[\w-]+)", r'<span class="option">\1</span>', str(escape(text))
    )
    return Markup(marked)  # escaped above


def _markdown_cell(value: object) -> str:
    """Return `value` so that it cannot break a Markdown table or smuggle in markup."""
    text = CONTROL.sub("\ufffd", " ".join(str(value).split()))
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "<", ">"):
        text = text.replace(
            mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark]
        )
    return text

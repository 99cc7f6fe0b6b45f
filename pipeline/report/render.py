"""Writes a report as ``report.json``, ``report.md`` and ``report.html``."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.report import words
from pipeline.storage import disk


def write_report(report: dict[str, Any], directory: Path) -> None:  # Any: JSON values
    """Write the three forms; every number in Markdown and HTML is one of the JSON's."""
    text = json.dumps(
        report, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    _write(directory / "report.json", text + "\n")
    for name in ("report.md", "report.html"):
        rendered = (
            _environment().get_template(f"{name}.j2").render(report=report, words=words)
        )
        _write(directory / name, rendered)


def comparison_markdown(comparison: dict[str, Any]) -> str:  # Any: JSON values
    """Return what `pipeline.report.compare.compare_reports` found, as Markdown."""
    template = _environment().get_template("compare.md.j2")
    return str(template.render(comparison=comparison, words=words))


def _write(path: Path, text: str) -> None:
    disk.write(path, text.encode("utf-8", "backslashreplace"))


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = _markdown_cell
    environment.filters["share"] = lambda value: (
        "–" if value is None else f"{value:.3f}"
    )
    return environment


def _markdown_cell(value: object) -> str:
    """Return `value` so that it cannot break a Markdown table or smuggle in markup."""
    text = " ".join(str(value).split())
    for mark in ("\\", "|", "`", "*", "_", "[", "]", "<", ">"):
        text = text.replace(
            mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark]
        )
    return text

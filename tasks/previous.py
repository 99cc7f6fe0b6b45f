"""The last finished run on the same data and split, as a report names it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CacheError
from pipeline.storage import check_contents, disk
from tasks import ledger
from tasks.base import Stage
from tasks.changes import differences, key_fields

if TYPE_CHECKING:
    from pipeline.report.scored import ScoredRows

Json = dict[str, Any]  # Any: JSON values
SAME = ("PrepareDataset", "SplitDataset")


def previous_run(
    reports: Path, stages: Sequence[Stage], rows: "ScoredRows"
) -> Json | None:
    """Return when it ended, its first metric and how far this one differs; None where its report is gone.

    Parameters
    ----------
    reports : Path
        The folder of reports.
    stages : sequence of Stage
        Of this run, up to its report.
    rows : ScoredRows
        What this run answers.

    Returns
    -------
    dict or None
        ``when``, ``key``, ``report`` (its folder), ``changed`` (options that differ), ``accuracy`` or whatever is the
        first metric of its kind, and as `pipeline.report.compare.previous` returns them ``difference``, ``mcnemar`` and
        ``n_changed``.
    """
    from pipeline.report.compare import previous
    from pipeline.report.kinds import kind_of
    from pipeline.report.scored import load_scored

    for when, theirs in _earlier(reports.parent, stages):
        key = theirs["EvaluateModel"]
        for directory in sorted(reports.glob(f"*-{key[:12]}")):
            try:
                check_contents(directory)
                report = json.loads(disk.read(directory / "report.json"))
                before = load_scored(directory, report["classes"])
            except (CacheError, OSError, ValueError):  # damaged, or of an older version
                continue
            if found := previous(rows, before):
                headline = kind_of(report).headline
                return {
                    "when": when,
                    "key": key,
                    "report": f"{reports.name}/{directory.name}",
                    "changed": _changed(stages, theirs),
                    headline: report["metrics"]["test"][headline],
                    **found,
                }
    return None


def _changed(stages: Sequence[Stage], theirs: Json) -> list[str]:
    """Return what differs in the stages' own options, as ``field: old -> new``."""
    found = []
    for stage in stages:
        fields = key_fields(stage, theirs.get(stage.role))
        if fields is not None:
            own = {**stage.key_fields, "inputs": fields.get("inputs", {})}
            found += differences(fields, own)
    return list(dict.fromkeys(found))  # a model's part has its options


def _earlier(root: Path, stages: Sequence[Stage]) -> Iterator[tuple[str, Json]]:
    """Yield when runs on the same data and split ended and their stages' keys, the last one first."""
    keys = {stage.role: stage.key for stage in stages}
    for entry in reversed(ledger.entries(root)):
        theirs, status = entry.get("keys"), entry.get("status")
        if not isinstance(theirs, dict) or status not in {"ok", "noop"}:
            continue
        key = theirs.get("EvaluateModel")
        is_same = all(theirs.get(name) == keys[name] for name in SAME)
        if is_same and isinstance(key, str) and key != keys["EvaluateModel"]:
            yield str(entry.get("when")), theirs

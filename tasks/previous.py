"""The last finished run on the same data and split, as a report names it and links to it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CacheError
from pipeline.storage import check_contents, disk, link_or_copy
from tasks import ledger

if TYPE_CHECKING:
    from pipeline.report.scored import ScoredRows

Json = dict[str, Any]  # Any: JSON values
SAME = ("PrepareDataset", "SplitDataset")
PREVIOUS = "previous"  # in a run's folder: the folder of the run that its report names


def previous_run(
    reports: Path, keys: dict[str, str], rows: "ScoredRows"
) -> Json | None:
    """Return when it ended, its accuracy and how far this one differs; None where its report is gone.

    Parameters
    ----------
    reports : Path
        The folder of reports.
    keys : dict of stage name to key
        Of this run.
    rows : ScoredRows
        What this run answers.

    Returns
    -------
    dict or None
        ``when``, ``key``, ``accuracy``, and as `pipeline.report.compare.previous` returns them ``difference``,
        ``mcnemar`` and ``n_changed``.
    """
    from pipeline.report.compare import previous
    from pipeline.report.scored import load_scored

    for when, key in _earlier(reports.parent, keys):
        for directory in sorted(reports.glob(f"*-{key[:12]}")):
            try:
                check_contents(directory)
                report = json.loads(disk.read(directory / "report.json"))
                before = load_scored(directory, report["classes"])
            except (CacheError, OSError, ValueError):  # damaged, or of an older version
                continue
            if found := previous(rows, before):
                accuracy = report["metrics"]["test"]["accuracy"]
                return {"when": when, "key": key, "accuracy": accuracy, **found}
    return None


def link_previous(folder: Path, key: str) -> None:
    """Let a run's folder link to that of the run whose report has `key`, so that links between reports hold.

    Does nothing where that run is gone, or links cannot be made.
    """
    for run in sorted(folder.parent.iterdir()):
        shown = run / "report.json"
        if run == folder or not shown.is_symlink():
            continue
        if shown.exists() and shown.resolve().parent.name.endswith(f"-{key[:12]}"):
            link = folder / PREVIOUS
            if not (link.exists() and link.samefile(run)):
                link_or_copy(run, link)
            return


def _earlier(root: Path, keys: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield when runs on the same data and split ended and their reports' keys, the last one first."""
    for entry in reversed(ledger.entries(root)):
        theirs, status = entry.get("keys"), entry.get("status")
        if not isinstance(theirs, dict) or status not in {"ok", "noop"}:
            continue
        key = theirs.get("EvaluateModel")
        is_same = all(theirs.get(name) == keys[name] for name in SAME)
        if is_same and isinstance(key, str) and key != keys["EvaluateModel"]:
            yield str(entry.get("when")), key

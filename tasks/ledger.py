"""``runs.jsonl``: one line a run, also for those that had nothing to do or failed.

While a run works, its stages note what they did in a journal below ``tmp``: with several workers each stage is a
process of its own, so memory would not do. The line is written when the last stage is done, when there was nothing to
do, or when the process ends with the journal still open.
"""

import atexit
import json
import logging
import os
import secrets
import shlex
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.storage import disk

logger = logging.getLogger(__name__)
LEDGER = "runs.jsonl"
_LOADED = time.monotonic()


@dataclass(frozen=True)
class Run:
    """A run that is under way.

    Attributes
    ----------
    owner : object
        The task whose run it is.
    root : Path
        The artifacts folder.
    keys : dict of stage name to key
    """

    owner: object
    root: Path
    keys: Mapping[str, str]
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    began: float = field(default_factory=time.monotonic)
    pid: int = field(default_factory=os.getpid)

    @property
    def journal(self) -> Path:
        """Return the file the stages note into; there while the run is open."""
        return self.root / "tmp" / f"run-{self.id}.jsonl"


_current: Run | None = None


def begin(owner: object, root: Path, keys: Mapping[str, str]) -> None:
    """Open the run of a task, if it is not open yet; another one that is still open has failed."""
    global _current  # noqa: PLW0603  # forked workers inherit it
    if _current is not None and _current.owner is owner:
        return
    close_failed()
    run = Run(owner, root, keys)
    with suppress(OSError):  # the first stage says what is wrong with the folder
        _append(run.journal, {})
        _current = run


def note(root: Path, **facts: object) -> None:
    """Note what a stage did; without an open run (a stage run by itself) nothing is kept."""
    if _current is not None and _current.root == root:
        with suppress(OSError):  # a full disk: the stage itself stands
            _append(_current.journal, facts)


def note_failure(message: str) -> None:
    """Note why a stage failed."""
    if _current is not None:
        with suppress(OSError):
            _append(_current.journal, {"error": message})


def close(
    status: str, *, figures: Mapping[str, object] | None = None, n_rows: int = 0
) -> None:
    """Write the open run's line, if it is still open.

    Parameters
    ----------
    status : {"ok", "failed"}
    figures : dict, optional
        Test metrics with their intervals.
    n_rows : int
        Rows of the data set, all reused if the encoder did not run.
    """
    run = _current
    if run is None:
        return
    try:
        notes = [json.loads(line) for line in disk.read(run.journal).splitlines()]
        disk.remove(run.journal)
    except (OSError, ValueError):
        return  # closed by a worker, or the folder is gone
    counts = {"rows_encoded": 0, "rows_reused": n_rows}
    for facts in notes:
        counts.update({name: facts[name] for name in counts if name in facts})
    errors = [facts["error"] for facts in notes if "error" in facts]
    write(
        run.root,
        {
            "keys": dict(run.keys),
            "status": status,
            "stages_run": [facts["stage"] for facts in notes if "stage" in facts],
            **counts,
            "seconds": round(time.monotonic() - run.began, 3),
            "figures": dict(figures or {}),
            **({"error": errors[0]} if errors else {}),
        },
    )


def write_noop(
    root: Path, keys: Mapping[str, str], *, figures: Mapping[str, object], n_rows: int
) -> None:
    """Write the line of a run that found everything done; its seconds count from when this module was loaded."""
    counts = {"rows_encoded": 0, "rows_reused": n_rows}
    seconds = round(time.monotonic() - _LOADED, 3)
    entry = {
        "keys": dict(keys),
        "status": "noop",
        "stages_run": [],
        **counts,
        "seconds": seconds,
    }
    write(root, {**entry, "figures": dict(figures)})


def write_refused(root: Path, message: str) -> None:
    """Write the line of a run whose options or inputs were refused before anything was scheduled."""
    counts = {"rows_encoded": 0, "rows_reused": 0}
    seconds = round(time.monotonic() - _LOADED, 3)
    entry = {"keys": {}, "status": "failed", "stages_run": [], **counts}
    write(root, {**entry, "seconds": seconds, "figures": {}, "error": message})


def close_failed() -> None:
    """Write the line of a run that ended without success; in the process that opened it."""
    if _current is not None and _current.pid == os.getpid():
        close("failed")


def write(root: Path, entry: Mapping[str, object]) -> None:
    """Append one line to the ledger, with the time and the command."""
    when = datetime.now(UTC).isoformat(timespec="seconds")
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    try:
        _append(root / LEDGER, {"when": when, "command": command, **entry})
    except OSError as error:  # everything else of the run stands
        logger.warning("no line in %s: %s", root / LEDGER, error)


def entries(root: Path) -> list[dict[str, Any]]:  # Any: JSON values
    """Return the ledger's lines, oldest first; a damaged line is left out."""
    try:
        lines = disk.read(root / LEDGER).splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict)]


def _append(path: Path, entry: Mapping[str, object]) -> None:
    """Add one JSON line."""
    disk.make_folder(path.parent)
    data = (
        json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace")
        + b"\n"
    )
    disk.append(path, data)


atexit.register(close_failed)

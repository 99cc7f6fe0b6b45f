"""``runs.jsonl``: one line a run, also for those that had nothing to do or failed.

While a run works, its stages note what they did in a journal below ``tmp``: with several workers each stage is a
process of its own, so memory would not do. The line is written when the last stage is done, when there was nothing to
do, or when the process ends with the journal still open. A process that was killed leaves its journal: its first line
says whose it is, and the next run closes it.
"""

import atexit
import json
import logging
import os
import secrets
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.storage import disk, is_gone, key_lock, this_process

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
_is_asking = False


def begin(owner: object, root: Path, keys: Mapping[str, str]) -> bool:
    """Open the run of a task; return whether it was not open yet. Another one that is still open has failed."""
    global _current  # noqa: PLW0603  # forked workers inherit it
    if _current is not None and _current.owner is owner:
        return False
    close_failed()
    close_gone(root)
    run = Run(owner, root, keys)
    opening = {"owner": this_process(), **_said_now(), "keys": dict(keys)}
    with suppress(OSError):  # the first stage says what is wrong with the folder
        _append(run.journal, opening)
        _current = run
    return True


def note(root: Path, **facts: object) -> None:
    """Note what a stage did; without an open run (a stage run by itself) nothing is kept."""
    if _current is not None and _current.root == root:
        _note(_current, facts)


def learn(keys: Mapping[str, str]) -> None:
    """Add keys to the open run's that nobody knew when it began."""
    if _current is not None:
        _note(_current, {"keys": dict(keys)})


def note_failure(message: str) -> None:
    """Note why a stage failed."""
    if _current is not None:
        _note(_current, {"error": message})


def _note(run: Run, facts: Mapping[str, object]) -> None:
    """Add a line to an open journal; a closed one stays closed."""
    with suppress(OSError):  # a full disk: the stage itself stands
        if run.journal.exists():
            _append(run.journal, facts)


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
        notes = _lines(run.journal)
        disk.remove(run.journal)
    except OSError:
        return  # closed by a worker, or the folder is gone
    stages, counts, errors = _sum_up(notes, n_rows)
    write(
        run.root,
        {
            "keys": {**run.keys, **_keys(notes)},
            "status": status,
            "stages_run": stages,
            **counts,
            "seconds": round(time.monotonic() - run.began, 3),
            "figures": dict(figures or {}),
            **({"error": errors[0]} if errors else {}),
        },
    )


def _sum_up(
    notes: list[dict[str, Any]],  # Any: JSON values
    n_rows: int,
) -> tuple[list[str], dict[str, int], list[str]]:
    """Return the stages, the row counts and the errors that a journal tells of."""
    counts = {"rows_encoded": 0, "rows_reused": n_rows}
    for facts in notes:
        counts.update({name: facts[name] for name in counts if name in facts})
    stages = [facts["stage"] for facts in notes if "stage" in facts]
    return stages, counts, [facts["error"] for facts in notes if "error" in facts]


def _keys(lines: list[dict[str, Any]]) -> dict[str, str]:  # Any: JSON values
    """Return the keys that a journal tells of."""
    found: dict[str, str] = {}
    for facts in lines:
        if isinstance(keys := facts.get("keys"), dict):
            found |= keys
    return found


def close_gone(root: Path) -> None:
    """Write the lines of the runs that were killed; another one that runs now is left alone."""
    if not any(_is_gone(journal) for journal in _journals(root)):
        return
    with key_lock(root, "runs.lock"), suppress(OSError):
        for journal in _journals(root):  # again: another run may have closed some
            if _is_gone(journal):
                _close_gone(root, journal)


def _close_gone(root: Path, journal: Path) -> None:
    opening, *notes = _lines(journal)
    stages, counts, errors = _sum_up(notes, 0)
    ended = (
        f"the run was ended from outside (process {opening['owner']['pid']} is gone)"
    )
    entry = {name: opening.get(name) for name in ("when", "command")}
    entry |= {"keys": _keys([opening, *notes])}
    entry |= {"status": "failed", "stages_run": stages, **counts, "seconds": None}
    _append(root / LEDGER, {**entry, "figures": {}, "error": [*errors, ended][0]})
    disk.remove(journal)  # last: two lines are better than none


def open_runs(root: Path) -> list[dict[str, str]]:
    """Return the keys of each run that may still be under way: what they name is in use."""
    found = []
    for journal in _journals(root):
        with suppress(OSError):  # closed meanwhile
            if not _is_gone(journal) and "keys" in _opening(journal):
                found.append(_keys(_lines(journal)))
    return found


def _journals(root: Path) -> list[Path]:
    return sorted((root / "tmp").glob("run-*.jsonl"))


def _is_gone(journal: Path) -> bool:
    return is_gone(_opening(journal).get("owner"))


def _opening(journal: Path) -> dict[str, Any]:  # Any: JSON values
    """Return a journal's first line; empty if it cannot be read."""
    try:
        return next(iter(_lines(journal)), {})
    except OSError:
        return {}


def _lines(path: Path) -> list[dict[str, Any]]:  # Any: JSON values
    """Return the objects in a file of JSON lines; a damaged line is left out."""
    found = []
    for line in disk.read(path).splitlines():
        with suppress(ValueError, RecursionError):
            found.append(json.loads(line))
    return [entry for entry in found if isinstance(entry, dict)]


def write_noop(
    root: Path, keys: Mapping[str, str], *, figures: Mapping[str, object], n_rows: int
) -> None:
    """Write the line of a run that found everything done; its seconds count from when this module was loaded."""
    close_gone(root)
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


@contextmanager
def asking() -> Iterator[None]:
    """Write no line for what is refused meanwhile: somebody asks about a run, and none begins."""
    global _is_asking  # noqa: PLW0603  # a refusal is far from who asks
    _is_asking = True
    try:
        yield
    finally:
        _is_asking = False


def write_refused(root: Path, message: str) -> None:
    """Write the line of a run that was refused before anything was scheduled, where there can be one."""
    is_file = root.exists() and not root.is_dir()  # which the refusal is about
    if _is_asking or is_file:
        return
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
    write_line(root / LEDGER, entry)


def write_line(path: Path, entry: Mapping[str, object]) -> None:
    """Append one line to a file of such lines, with the time and the command; warn where it cannot be written."""
    try:
        _append(path, {**_said_now(), **entry})
    except OSError as error:  # everything else of the run stands
        logger.warning("no line in %s: %s", path, error)


def _said_now() -> dict[str, str]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
    }


def entries(root: Path) -> list[dict[str, Any]]:  # Any: JSON values
    """Return the ledger's lines, oldest first; a damaged line is left out."""
    try:
        return _lines(root / LEDGER)
    except OSError:
        return []


def _append(path: Path, entry: Mapping[str, object]) -> None:
    """Add one JSON line."""
    disk.make_folder(path.parent)
    data = (
        json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace")
        + b"\n"
    )
    disk.append(path, data)


atexit.register(close_failed)

"""Who made something, and whether that process is gone.

A process number alone says little: it is given again after a while, and it means another process on another machine
or in another container. Where one cannot know, the process counts as there.
"""

import os
import socket
from pathlib import Path
from typing import Any

PROC = Path("/proc")
ENDED = "ZX"  # states of a process that only waits to be asked for its status


def this_process() -> dict[str, object]:
    """Return what tells this process from every other: ``host``, ``pid`` and ``started``.

    ``started`` is the machine's boot, the process's own set of process numbers (a container has one) and its start in
    ticks since the boot; None where there is no ``/proc``.
    """
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}


def is_gone(owner: Any) -> bool:  # Any: from a JSON file
    """Tell whether a process has surely ended, given what `this_process` said in it."""
    try:
        host, pid, started = owner["host"], owner["pid"], owner["started"]
    except (TypeError, KeyError):
        return False
    if host != socket.gethostname() or os.name != "posix" or not _is_number(pid):
        return False
    here = _started(os.getpid())
    if here and isinstance(started, list) and len(started) == len(here):
        if started[0] != here[0]:
            return True  # the machine was started again since
        if started[1] != here[1]:
            return False
    return not _is_there(pid, started)


def _is_number(pid: object) -> bool:
    return isinstance(pid, int) and 0 < pid < 2**31


def _is_there(pid: int, started: object) -> bool:
    """Tell whether a process runs, and is the one that began at `started`."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's, so it is there
    if _state(pid)[:1] in tuple(ENDED):
        return False
    found = _started(pid)
    return found is None or started is None or found[2:] == list(started)[2:]


def _started(pid: int) -> list[str] | None:
    """Return boot, set of process numbers and start of a process; None if it cannot be told."""
    fields = _stat(pid)
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink(PROC / "self/ns/pid")
    except OSError:
        return None
    return [boot, space, fields[19]] if len(fields) > 19 else None


def _state(pid: int) -> str:
    return next(iter(_stat(pid)), "")


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the third on; the second may hold any character."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()

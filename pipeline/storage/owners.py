"""Who made something, and whether that process is gone.

A process number alone says little: it is given again after a while, and it means another process on another machine
or in another container. Where one cannot know, the process counts as there.
"""

import os
import socket
from pathlib import Path
from typing import Any

PROC = Path("/proc")
N_STARTED = 3
ENDED = "ZX"  # states of a process that only waits to be asked for its status


def this_process() -> dict[str, object]:
    """Return what tells this process from every other: ``host``, ``pid`` and ``started``.

    ``started`` is the machine's boot, the process's own set of process numbers (a container has one) and its start in
    ticks since the boot; None where there is no ``/proc``.
    """
    pid = os.getpid()
    return {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}


def mark() -> str:
    """Return what tells this process from others of the same host, as part of a file's name."""
    pid = os.getpid()
    started = _started(pid)
    space, ticks = (started[1], started[2]) if started else ("0", "0")
    return f"{pid}-{''.join(filter(str.isdecimal, space))}-{ticks}"


def is_mark_of_gone(host: str, marked: str) -> bool:
    """Tell whether the process of this host that made a `mark` has surely ended."""
    parts = marked.split("-")
    here = _started(os.getpid())
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        return False
    pid, space, ticks = parts
    started = [here[0], f"pid:[{space}]", ticks] if here else None
    return is_gone({"host": host, "pid": int(pid), "started": started})


def is_gone(owner: Any) -> bool:  # Any: from a JSON file
    """Tell whether a process has surely ended, given what `this_process` said in it."""
    try:
        host, pid, started = owner["host"], owner["pid"], owner["started"]
    except (TypeError, KeyError):
        return False
    if host != socket.gethostname() or os.name != "posix" or not _is_number(pid):
        return False
    if not isinstance(started, list) or len(started) != N_STARTED:
        return not _is_there(pid)
    boot, space, _ = _started(os.getpid()) or started
    if started[0] != boot:
        return True  # the machine was started again since
    if started[1] != space:
        return False  # a container's numbers mean nothing outside
    return not _is_there(pid) or (_started(pid) or started)[2] != started[2]


def _is_number(pid: object) -> bool:
    return isinstance(pid, int) and 0 < pid < 2**31


def _is_there(pid: int) -> bool:
    """Tell whether a process of this number runs; one that only waits to be asked for its status does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's, so it is there
    state = next(iter(_stat(pid)), "?")
    return state not in ENDED


def _started(pid: int) -> list[str] | None:
    """Return boot, set of process numbers and start of a process; None if it cannot be told."""
    fields = _stat(pid)
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str((PROC / "self/ns/pid").readlink())
    except OSError:
        return None
    return [boot, space, fields[19]] if len(fields) > 19 else None


def _stat(pid: int) -> list[str]:
    """Return the fields of ``/proc/<pid>/stat`` from the third on; the second may hold any character."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rpartition(")")[2].split()

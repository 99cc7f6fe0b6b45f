"""How a run is stopped: SIGTERM and Ctrl-C end it cleanly, a second Ctrl-C at once.

A signal becomes a `KeyboardInterrupt`, the one exception that Luigi does not turn into a failed task. On its way out
the encoding process is asked to keep what it has (`pipeline.features.spawn`), and `end` leaves with the status that
says why.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import FrameType, TracebackType

from tasks import ledger

CHILDREN_S = 9.0  # a bit more than `spawn.STOP_S`, a bit less than Docker's ten seconds
KILL_S = 1.0


class Terminated(KeyboardInterrupt):
    """SIGTERM came."""


_came: list[int] = []  # the signals of this process, in order


def install() -> None:
    """Let SIGTERM and Ctrl-C stop the run; a handler of somebody else's, and ``nohup``, win."""
    if threading.current_thread() is not threading.main_thread():
        return  # Python has signal handlers in the main thread alone
    for number, default in (
        (signal.SIGTERM, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        if signal.getsignal(number) is default:
            signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    _came.append(number)
    if len(_came) > 1 and number == signal.SIGTERM:
        return  # it is stopping; Luigi sends this to its own processes, too
    raise _kind(number)


def _kind(number: int) -> type[KeyboardInterrupt]:
    return Terminated if number == signal.SIGTERM else KeyboardInterrupt


def forget() -> None:
    """Forget the signals that ended an earlier run of this process, as in a notebook."""
    _came.clear()


class Stoppable:
    """What Luigi puts around a task; see ``task_process_context`` in its configuration."""

    def __init__(self, _process: object) -> None:
        pass

    def __enter__(self) -> None:
        if _came:  # Luigi drops what is raised while it tells of an event
            kind = _kind(_came[-1])
            raise SystemExit(status_of(kind)) if _is_luigis() else kind

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """End a process of Luigi's without the traceback that it would print."""
        if _is_luigis() and kind is not None and issubclass(kind, KeyboardInterrupt):
            raise SystemExit(status_of(kind)) from None


def _is_luigis() -> bool:
    """Tell whether Luigi started this process for one task."""
    return multiprocessing.parent_process() is not None


def exit_if_orphan() -> None:
    """End this process if Luigi started it and is gone; the encoding process sees that and publishes nothing."""
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        os._exit(1)


def end(kind: type[BaseException]) -> None:
    """Say in one line what stopped the run, write its line in the ledger, and leave with the signal's status."""
    try:
        _end_children()
    except KeyboardInterrupt as again:
        kind = type(again)
        _kill_children()
    name = "SIGTERM" if issubclass(kind, Terminated) else "SIGINT"
    word = "Stopped by SIGTERM" if name == "SIGTERM" else "Interrupted"
    sys.stderr.write(f"{word}. What was encoded is kept: run the same command again.\n")
    ledger.note_failure(f"{word}." if name in word else f"{word} ({name}).")
    ledger.close_failed()
    raise SystemExit(status_of(kind))


def status_of(kind: type[BaseException]) -> int:
    """Return what a shell shows for a process that the signal ended."""
    return 128 + (
        signal.SIGTERM if issubclass(kind, Terminated) else int(signal.SIGINT)
    )


def _end_children() -> None:
    """Wait for Luigi's processes, which were asked to stop; not after a second Ctrl-C, and not for slow ones."""
    if len(_came) > 1 and _came[-1] == signal.SIGINT:
        _kill_children()
    ends = time.monotonic() + CHILDREN_S
    for child in multiprocessing.active_children():
        child.join(max(0.0, ends - time.monotonic()))
    _kill_children()


def _kill_children() -> None:
    """End Luigi's processes now: a Ctrl-C after the SIGTERM that Luigi sent them makes them kill their own."""
    children = multiprocessing.active_children()
    for child in children:
        with suppress(ProcessLookupError):
            if child.pid:  # pid 0 would be everybody
                os.kill(child.pid, signal.SIGINT)
    for child in children:
        child.join(KILL_S)
        child.kill()
        child.join()

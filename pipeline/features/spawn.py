"""Starts the processes that load encoders and listens to them; imports nothing heavy."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast

from pipeline import errors
from pipeline.errors import PipelineError, WorkerError

Message = dict[str, Any]  # Any: one JSON line of the worker
EXTRACTION, TIMING = "pipeline.features.worker", "pipeline.features.timing"
STOP_S = (
    8.0  # for the batch it is at, and for storing; who ends us may wait ten seconds
)


def extract(
    request: dict[str, object], on_message: Callable[[Message], None]
) -> dict[str, object]:
    """Run one extraction in its own process and return what it did.

    A process that a signal ended is started once more: what it had stored is kept, so little is done twice.

    Parameters
    ----------
    request : dict
        See `pipeline.features.worker.work`; ``parent`` is added here.
    on_message : callable (dict) -> None
        Gets each ``{"progress": …}``, ``{"warning": …}`` and ``{"note": …}``.

    Raises
    ------
    PipelineError
        The worker's own error, of the same class; or `WorkerError` if the process died.
    """
    for is_last in (False, True):
        result, code = _run(EXTRACTION, request, on_message)
        if result is not None:
            return result
        if is_last or code >= 0:
            break
        on_message({"warning": f"{_obituary(code)} It is started once more."})
    raise WorkerError(f"{_obituary(code)} Run the same command again.")


def time_encoders(
    request: dict[str, object], on_message: Callable[[Message], None]
) -> list[Message]:
    """Measure how fast encoders are, in a process of their own, and return what it found of each.

    Parameters
    ----------
    request : dict
        See `pipeline.features.timing.work`; ``parent`` is added here.
    on_message : callable (dict) -> None
        Gets each ``{"note": …}``.

    Raises
    ------
    PipelineError
        The process's own error, of the same class; or `WorkerError` if it died.
    """
    result, code = _run(TIMING, request, on_message)
    if result is None:
        raise WorkerError(_obituary(code))
    return cast("list[Message]", result["encoders"])


def _run(
    module: str, request: dict[str, object], on_message: Callable[[Message], None]
) -> tuple[dict[str, object] | None, int]:
    """Return a worker's result, None if it died before it had one, and its exit status."""
    command = [sys.executable, "-P", "-m", module]  # -P: nothing of the current folder
    with _interrupts_held():
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            env=_environment(),
        )
    with process:
        assert process.stdin is not None  # both are pipes
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({**request, "parent": os.getpid()}))
            process.stdin.close()
            result = _listen(process.stdout, on_message)
        except BaseException:
            _stop(process)
            raise
    return result, process.returncode


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start a process that Ctrl-C does not reach: this one gets the same Ctrl-C and passes it on as SIGTERM."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _stop(process: "subprocess.Popen[str]") -> None:
    """Let the worker store what it has; kill it if that takes too long, or if this process is interrupted again."""
    process.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_S)
    finally:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    """Let the worker find the same packages as this process, wherever they were found."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


def _listen(
    stream: Iterable[str], on_message: Callable[[Message], None]
) -> dict[str, object] | None:
    for line in stream:
        message: Message = json.loads(line)
        if "error" in message:
            kind = getattr(errors, message["error"]["kind"], PipelineError)
            raise kind(message["error"]["message"])
        if "result" in message:
            return dict(message["result"])
        on_message(message)
    return None


def _obituary(code: int) -> str:
    if code >= 0:
        return f"The encoding process stopped with status {code}; its own message stands above."
    name = signal.Signals(-code).name
    memory = " Out of memory? Lower --batch-tokens." if name == "SIGKILL" else ""
    return (
        f"The encoding process was ended by {name}; what it had stored is kept.{memory}"
    )

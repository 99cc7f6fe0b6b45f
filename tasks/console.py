"""What a person sees: one line a stage on standard error, one message an error, no traceback for our own errors."""

import logging
import sys
from io import TextIOWrapper
from types import TracebackType

from luigi.parameter import UnconsumedParameterWarning

from pipeline.errors import PipelineError
from tasks import stop


class _OneMessage(logging.Filter):
    """Shows a deliberate error as its message alone; everything else keeps its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, (PipelineError, UnconsumedParameterWarning)):
            record.msg, record.args, record.exc_info, record.exc_text = (
                str(error),
                (),
                None,
                None,
            )
        return True


class _CurrentStderr(logging.StreamHandler):  # type: ignore[type-arg]  # generic only in the stubs
    """Writes to whatever ``sys.stderr`` is now, so that redirection works."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _on_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """End a stopped run in one line, with status 143 or 130; Python exits with what is raised here."""
    if issubclass(kind, KeyboardInterrupt):
        stop.end(kind)
    else:
        sys.__excepthook__(kind, error, trace)


def install() -> None:
    """Send our log lines to standard error, and shorten what Luigi and Python say of deliberate errors."""
    sys.excepthook = _on_uncaught
    stop.install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # an ASCII terminal must not end a run
    handler = _CurrentStderr()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name in ("tasks", "pipeline"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        if not logger.handlers:
            logger.addHandler(handler)
    luigi_logger = logging.getLogger("luigi-interface")
    if not any(isinstance(found, _OneMessage) for found in luigi_logger.filters):
        luigi_logger.addFilter(_OneMessage())

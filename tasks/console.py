"""What a person sees: one line a stage on standard error, one message an error, no traceback for our own errors."""

import logging
import sys
from io import TextIOWrapper
from types import TracebackType

from luigi.parameter import UnconsumedParameterWarning

from pipeline.errors import PipelineError


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


def _say_interrupted(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Say in one line that the run was interrupted; Python then ends with status 130."""
    if issubclass(kind, KeyboardInterrupt):
        sys.stderr.write(
            "Interrupted. What was encoded is kept: run the same command again.\n"
        )
    else:
        sys.__excepthook__(kind, error, trace)


def install() -> None:
    """Send our log lines to standard error, and shorten what Luigi and Python say of deliberate errors."""
    sys.excepthook = _say_interrupted
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

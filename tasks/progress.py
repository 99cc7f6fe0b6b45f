"""Progress of reading and encoding: a bar in a terminal, plain lines elsewhere, and Luigi's own status."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Any

import luigi

logger = logging.getLogger(__name__)
LINE_EVERY_S = 5.0
STATUS_EVERY_S = 2.0
Message = dict[str, Any]  # Any: JSON values


@contextmanager
def show_progress(task: luigi.Task) -> Iterator[Callable[[Message], None]]:
    """Yield a listener for the worker's messages that shows them to people and to Luigi."""
    tell = _LuigiStatus(task)
    with show("encoding") as on_progress:

        def on_message(message: Message) -> None:
            if "warning" in message:
                logger.warning("%s", message["warning"])
            if "note" in message:
                logger.info("%s", message["note"])
            if "progress" in message:
                on_progress(message["progress"])
                tell(message["progress"])

        yield on_message


def show(what: str) -> AbstractContextManager[Callable[[Message], None]]:
    """Return a context that gives a listener for progress: a bar in a terminal, else plain lines.

    Parameters
    ----------
    what : str
        What is done: ``encoding``.

    Notes
    -----
    Progress has ``done`` (rows), ``elapsed_s`` and ``share`` (0 to 1, None where nobody knows); of encoding ``total``,
    ``tokens`` and ``padded``, too.
    """
    return (_bar if sys.stderr.isatty() else _lines)(what)


@contextmanager
def _bar(what: str) -> Iterator[Callable[[Message], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.fields[pace]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task(what, total=1.0, pace="loading the encoder")

        def on_progress(p: Message) -> None:
            share = p["share"]
            percent = "" if share is None else f"{100 * share:.0f} % "
            total = None if share is None else 1.0  # None: a bar that only moves
            bar.update(row, total=total, completed=share, pace=percent + _pace(p))

        yield on_progress


@contextmanager
def _lines(what: str) -> Iterator[Callable[[Message], None]]:
    last = time.monotonic()

    def on_progress(p: Message) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            logger.info("%s: %s", what, _counted(p))

    yield on_progress


def _counted(p: Message) -> str:
    total = f" of {p['total']:,}" if "total" in p else ""
    return f"{p['done']:,}{total} texts, about {_pace(p)}"


def _pace(p: Message) -> str:
    elapsed_s = max(p["elapsed_s"], 1e-6)
    left = ""
    if p["share"]:
        left_s = elapsed_s * (1 / p["share"] - 1)
        left = f"{timedelta(seconds=round(left_s))} left, "
    rates = {"rows_per_s": p["done"] / elapsed_s}
    if "tokens" not in p:
        return f"{left}{rates['rows_per_s']:,.1f} rows/s"
    rates |= {
        "tokens_per_s": p["tokens"] / elapsed_s,
        "padding_share": 1 - p["tokens"] / p["padded"],
    }
    return left + said_rates(rates)


def said_rates(rates: Message) -> str:
    """Return rows/s, tokens/s and the padding share in words."""
    return (
        f"{rates['rows_per_s']:,.1f} rows/s ({rates['tokens_per_s']:,.0f} tokens/s, "
        f"{100 * rates['padding_share']:.1f} % padding)"
    )


class _LuigiStatus:
    """Luigi's progress of a task: rarely, since a central scheduler is asked over the network, and never fatal."""

    def __init__(self, task: luigi.Task) -> None:
        self._set_percentage: Any = task.set_progress_percentage  # Any: as luigi's
        self._set_message: Any = task.set_status_message
        self._is_heard = self._set_percentage is not None  # Luigi runs the task
        self._last = 0.0

    def __call__(self, p: Message) -> None:
        if not self._is_heard or time.monotonic() - self._last < STATUS_EVERY_S:
            return
        self._last = time.monotonic()
        try:
            self._set_percentage(int(100 * p["share"]))
            self._set_message(_counted(p))
        except (
            Exception
        ) as error:  # a scheduler that went away must not fail the encoding
            logger.debug("no status to the scheduler: %s", error)
            self._is_heard = False


def rows_read() -> Callable[[int], None]:
    """Return a listener that says every few seconds how many rows were read."""
    began = last = time.monotonic()

    def on_rows(n: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY_S:
            last = now
            logger.info(
                "reading: %s rows, %s rows/s", f"{n:,}", f"{n / (now - began):,.0f}"
            )

    return on_rows

"""Progress of reading and encoding: a bar in a terminal, plain lines elsewhere, and Luigi's own status."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import luigi

logger = logging.getLogger(__name__)
LINE_EVERY_S = 5.0
STATUS_EVERY_S = 2.0
Message = dict[str, Any]  # Any: JSON values


@contextmanager
def show_progress(task: luigi.Task) -> Iterator[Callable[[Message], None]]:
    """Yield a listener for the worker's messages that shows them to people and to Luigi."""
    show = _bar if sys.stderr.isatty() else _lines
    tell = _LuigiStatus(task)
    with show() as on_progress:

        def on_message(message: Message) -> None:
            if "warning" in message:
                logger.warning("%s", message["warning"])
            if "progress" in message:
                on_progress(message["progress"])
                tell(message["progress"])

        yield on_message


@contextmanager
def _bar() -> Iterator[Callable[[Message], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("encoding"),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("encoding", total=1.0, rate="loading the encoder")
        yield lambda p: bar.update(row, completed=p["share"], rate=_rate(p))


@contextmanager
def _lines() -> Iterator[Callable[[Message], None]]:
    last = time.monotonic()

    def on_progress(p: Message) -> None:
        nonlocal last
        if time.monotonic() - last >= LINE_EVERY_S:
            last = time.monotonic()
            left_s = p["elapsed_s"] * (1 / p["share"] - 1)
            logger.info(
                "encoding: %s of %s texts, %s, about %.0f s left",
                f"{p['done']:,}",
                f"{p['total']:,}",
                _rate(p),
                left_s,
            )

    yield on_progress


def _rate(p: Message) -> str:
    elapsed_s = max(p["elapsed_s"], 1e-6)
    return (
        f"{p['done'] / elapsed_s:,.0f} rows/s ({p['tokens'] / elapsed_s:,.0f} tokens/s)"
    )


class _LuigiStatus:
    """Luigi's progress of a task: rarely, since a central scheduler is asked over the network, and never fatal."""

    def __init__(self, task: luigi.Task) -> None:
        self._set = task.set_progress_percentage  # None unless Luigi runs the task
        self._last = 0.0

    def __call__(self, p: Message) -> None:
        if self._set is None or time.monotonic() - self._last < STATUS_EVERY_S:
            return
        self._last = time.monotonic()
        try:
            self._set(100 * p["done"] // p["total"])
        except (
            Exception
        ) as error:  # a scheduler that went away must not fail the encoding
            logger.debug("no status to the scheduler: %s", error)
            self._set = None


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

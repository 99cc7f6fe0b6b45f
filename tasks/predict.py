"""``frostbert predict``: rows of files or of standard input, through a predictor, to a file or standard output."""

import errno
import io
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.config import DatasetSpec
from pipeline.errors import ConfigError, PipelineError
from tasks import console, stop
from tasks.progress import Message, show

if TYPE_CHECKING:
    from pipeline.datasets.unlabelled import Texts
    from pipeline.predictor.predictor import Predictor
    from pipeline.predictor.scoring import Tally
    from pipeline.predictor.writers import Writer

logger = logging.getLogger(__name__)
PREDICTOR = Path("artifacts/latest/predictor.joblib")
FORMATS = ("csv", "jsonl", "parquet")
ENDINGS = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
INPUT_FORMATS = ("auto", "lines", "tsv", "txt", "csv", "jsonl", "parquet")
ON_ERROR = ("stop", "skip", "report")
STDIN = Path("-")  # what an input is called that is none of the files
HAS_ERRORS = 3  # the output is complete, but some of its rows have no label
CLOSED_PIPE = 141  # what a shell shows for a process that SIGPIPE ended


@dataclass(frozen=True)
class Order:
    """What is to be done; see ``frostbert predict --help``.

    Attributes
    ----------
    inputs : sequence of Path
        At least one; ``-``: standard input.
    predictor : Path
    out : Path or None
        None: standard output.
    format : str or None
        One of `FORMATS`; None goes by the ending of `out`.
    input_format : str
        One of `INPUT_FORMATS`.
    spec : DatasetSpec
        Text column, separator, header.
    on_error : str
        One of `ON_ERROR`.
    with_text : bool
    """

    inputs: Sequence[Path]
    predictor: Path
    out: Path | None
    format: str | None
    input_format: str
    spec: DatasetSpec
    on_error: str
    with_text: bool


def predict(order: Order) -> int:
    """Write a row for each text; return the status.

    Raises
    ------
    ConfigError
        If the output cannot be written, or is one of the inputs.
    DataError, ArtifactError
        If an input or the predictor cannot be read.
    """
    from pipeline.predictor.file import load_predictor
    from pipeline.predictor.scoring import Tally

    console.install()
    _output_format(order)  # raises before anything is loaded
    for path in order.inputs:
        _check_input(path, order)
    predictor = load_predictor(order.predictor)
    tally, began = Tally(), time.monotonic()
    try:
        with _output(order.out) as stream:
            _score_all(order, predictor, stream, tally)
    except BrokenPipeError:
        if order.out is not None:
            raise
        return CLOSED_PIPE
    except KeyboardInterrupt as error:
        left = "" if order.out is None else f" {order.out} is as it was before."
        logger.info("Interrupted.%s", left)
        return stop.status_of(type(error))
    _tell(tally, order, time.monotonic() - began, predictor.max_length)
    return HAS_ERRORS if order.on_error == "report" and tally.bad.count else 0


def _output_format(order: Order) -> str:
    if order.format == "parquet" and order.out is None:
        raise ConfigError("--format parquet needs a file. Pass --out FILE.parquet.")
    if order.format is not None or order.out is None:
        return order.format or "csv"
    found = ENDINGS.get(order.out.suffix.lower())
    if found is None:
        raise ConfigError(
            f"--out {order.out} ends in {order.out.suffix!r}, expected one of: {', '.join(ENDINGS)}. "
            "Rename it, or pass --format."
        )
    return found


def _check_input(path: Path, order: Order) -> None:
    """Make sure, before anything is loaded, that an input is there, of a known kind, and not the output."""
    from pipeline.datasets.files import check_regular, file_format

    if path == STDIN:
        if order.input_format == "parquet":
            raise ConfigError(
                "Parquet cannot be read from standard input. Pass the file."
            )
        return
    check_regular(path)
    if order.input_format == "auto":
        file_format(path)
    if order.out is not None and order.out.exists() and order.out.samefile(path):
        raise ConfigError(
            f"--out {order.out} is an input, which it would replace. Pass another name."
        )


@contextmanager
def _output(out: Path | None) -> Iterator[BinaryIO]:
    """Yield where to write: a file that is there whole or not at all, or standard output.

    Raises
    ------
    ConfigError
        If it takes no more.
    """
    from pipeline.storage import replacing

    try:
        if out is None:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:
            with replacing(out) as stream:
                yield stream
    except PipelineError:
        raise
    except OSError as error:
        if out is None:
            _let_go_of_stdout()
            if isinstance(error, BrokenPipeError):
                raise
        full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
        advice = "Free space, or pass" if full else "Pass"
        raise ConfigError(
            f"{out or 'Standard output'} cannot be written: {error.strerror}. {advice} another --out FILE."
        ) from error


def _let_go_of_stdout() -> None:
    """Send what is left in its buffer nowhere: Python would try, and complain, again when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _score_all(
    order: Order, predictor: "Predictor", stream: BinaryIO, tally: "Tally"
) -> None:
    from pipeline.predictor.scoring import column_names, score_rows

    names = column_names(
        predictor,
        with_input=len(order.inputs) > 1,
        with_error=order.on_error == "report",
        with_text=order.with_text,
    )
    writer = _writer(order, stream, names, predictor)
    pair = _pair_columns(predictor)
    with _progress(order) as on_progress:
        tell = _Progress(on_progress, len(order.inputs), tally)
        for path in order.inputs:
            with closing(_open(path, order, pair)) as texts:
                logger.info("%s: %s", texts.name, texts.how)
                scored = score_rows(predictor, texts, order.on_error, tally)
                for line, columns in scored:
                    writer.write(columns)
                    if order.out is None:
                        stream.flush()
                    tell(line, texts.n_lines)
            if texts.blank.count:
                logger.warning(
                    "%s: blank lines are no rows: lines %s", texts.name, texts.blank
                )
            tell.next_input()
    writer.close()


def _progress(order: Order) -> AbstractContextManager[Callable[[Message], None]]:
    """Return a context that gives a listener; in a terminal that shows the rows themselves, it says nothing."""
    if order.out is None and sys.stdout.isatty():
        return nullcontext(lambda _: None)
    return show("predicting")


def _writer(
    order: Order, stream: BinaryIO, names: list[str], predictor: "Predictor"
) -> "Writer":
    from pipeline.predictor.writers import CsvWriter, JsonWriter, ParquetWriter

    form = _output_format(order)
    if form == "parquet":
        is_whole = predictor.classes_.dtype.kind == "i"
        kinds = {"multilabel": "list", "regression": "float64"}
        kind = kinds.get(predictor.task, "int64" if is_whole else "string")
        return ParquetWriter(stream, names, kind)
    return CsvWriter(stream, names) if form == "csv" else JsonWriter(stream, names)


def _pair_columns(predictor: "Predictor") -> str:
    """Return the two columns that a predictor of pairs was trained on; nothing for one of single texts."""
    if predictor.pair_encoding is None:
        return ""
    return str(predictor.card["dataset"]["text_column"])


def _open(path: Path, order: Order, pair: str) -> "Texts":
    from pipeline.datasets.unlabelled import (
        open_live_lines,
        open_text_stream,
        open_texts,
    )

    if path != STDIN:
        return open_texts(path, order.spec, order.input_format, pair=pair)
    name, form = "standard input", order.input_format
    if sys.stdin.isatty():
        between = ", a tab between the two of a pair" if pair else ""
        logger.info("Type texts%s; end with Ctrl-D.", between)
    if form in {"auto", "lines"}:
        unbuffered = io.FileIO(sys.stdin.fileno(), closefd=False)
        return open_live_lines(unbuffered, name, order.spec, pair=pair)
    return open_text_stream(sys.stdin.buffer, name, order.spec, form, pair=pair)


class _Progress:
    """Tells how far it is, over all inputs, of which each counts the same."""

    def __init__(
        self, on_progress: Callable[[Message], None], n_inputs: int, tally: "Tally"
    ) -> None:
        self._on_progress, self._n_inputs, self._tally = on_progress, n_inputs, tally
        self._n_done = 0
        self._began = time.monotonic()

    def __call__(self, line: int, n_lines: int | None) -> None:
        share = None
        if n_lines is not None:
            share = (self._n_done + min(1.0, line / max(1, n_lines))) / self._n_inputs
        elapsed_s = time.monotonic() - self._began
        self._on_progress(
            {"done": self._tally.n_rows, "share": share, "elapsed_s": elapsed_s}
        )

    def next_input(self) -> None:
        self._n_done += 1


def _tell(tally: "Tally", order: Order, elapsed_s: float, max_length: int) -> None:
    """Say in a line or two what was done."""
    n, bad = tally.n_rows, tally.bad
    pace = f"{n / max(elapsed_s, 1e-6):,.1f} rows/s"
    cut = f", {tally.n_cut:,} cut at {max_length} tokens" if tally.n_cut else ""
    unsure = f", {tally.n_unsure:,} not answered" if tally.n_unsure else ""
    where = f" -> {order.out}" if order.out else ""
    logger.info("%s, %s%s%s%s", _rows(n), pace, cut, unsure, where)
    if bad.count:
        done = "left out" if order.on_error == "skip" else "without a label"
        logger.warning("%s %s: lines %s", _rows(bad.count), done, bad)


def _rows(n: int) -> str:
    return f"{n:,} row{'s'[: n != 1]}"

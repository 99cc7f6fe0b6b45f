"""Texts that are to get a label: the rows of a file or stream, of which only the text is read, bad ones marked.

Files are read as for training, and need no label column; plain lines are read, too.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.config import DatasetSpec
from pipeline.datasets.columns import choose_text_column
from pipeline.datasets.files import (
    check_regular,
    count_lines,
    file_format,
    text_blocks,
    unpacked,
)
from pipeline.datasets.labels import is_missing
from pipeline.datasets.raw import Broken, RawTable
from pipeline.datasets.text import open_text
from pipeline.datasets.typed import JsonTable, open_parquet
from pipeline.errors import DataError, shown

ONE_A_LINE = "one text a line"


class TextRow(NamedTuple):
    """A row with its text, or with what is wrong with it.

    Attributes
    ----------
    row : int
        1-based number; blank lines count in plain lines alone, as for pandas.
    line : int
        1-based line on which it begins in a text file, else its row.
    text : str
        Empty where there is an error.
    error : str
        In words that follow the row's place, such as ``has no text.``; empty where all is well.
    """

    row: int
    line: int
    text: str
    error: str


@dataclass(frozen=True)
class Texts:
    """An input that was opened.

    Attributes
    ----------
    name : str
        What people call it.
    how : str
        What is taken as a text: ``one text a line``, ``column 'text'``.
    n_lines : int or None
        Lines of a text file, rows of Parquet; None where nobody knows.
    portions : iterator of iterators of TextRow
        What can be read without waiting: all rows of a file, and of a stream those that came together. Can be gone
        through once; raises `DataError` where the rest cannot be read.
    close : callable () -> None
        Lets the file go.
    """

    name: str
    how: str
    n_lines: int | None
    portions: Iterator[Iterator[TextRow]]
    close: Callable[[], None] = lambda: None

    def place(self, row: TextRow) -> str:
        """Return where a row is."""
        return f"{self.name}:{row.line}"


def open_texts(path: Path, spec: DatasetSpec, form: str = "auto") -> Texts:
    """Return the texts in a file.

    Parameters
    ----------
    path : Path
    spec : DatasetSpec
        Text column, separator and header.
    form : str
        ``lines``, ``tsv``, ``txt``, ``csv``, ``jsonl``, ``parquet``; ``auto`` goes by the file's ending. ``txt`` is
        one text a line, unless there is a separator or a text column in `spec`.

    Raises
    ------
    DataError
        If it is not there or no such file, or its text column cannot be told.
    """
    check_regular(path)
    form = file_format(path) if form == "auto" else form
    if form == "parquet":
        import pyarrow.parquet as pq

        table = open_parquet(path)
        n_rows = pq.read_metadata(path).num_rows
        return _texts_of_table(table, spec, str(path), n_rows)
    try:
        with path.open("rb") as stream:
            n_lines = count_lines(unpacked(stream, form), str(path))
        stream = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    try:
        texts = open_text_stream(stream, str(path), spec, form, n_lines)
    except BaseException:
        stream.close()
        raise
    return replace(texts, close=stream.close)


def open_text_stream(
    stream: BinaryIO,
    name: str,
    spec: DatasetSpec,
    form: str,
    n_lines: int | None = None,
) -> Texts:
    """Return the texts in a stream of bytes.

    Parameters
    ----------
    stream : binary file
    name : str
        For messages.
    spec : DatasetSpec
    form : str
        As for `open_texts`, also with ``.gz``, but neither ``parquet`` nor ``auto``.
    n_lines : int, optional

    Raises
    ------
    DataError
        If its text column cannot be told.
    """
    blocks = text_blocks(unpacked(stream, form), name)
    kind, separator = form.removesuffix(".gz"), spec.separator
    if kind == "txt" and (separator, spec.text_column) == ("auto", "auto"):
        kind = "lines"  # what looks like a separator may stand in a text
    if separator == "auto" and kind == "tsv":
        separator = "\t"  # also where there is but one column
    if kind == "lines":
        rows = chain.from_iterable(_lines(blocks, spec))
        return Texts(name, ONE_A_LINE, n_lines, iter([rows]))
    raw: RawTable
    if kind == "jsonl":
        raw = JsonTable(blocks, name, keep_broken=True)
    else:
        named = (spec.text_column,) if spec.text_column != "auto" else ()
        raw = open_text(
            blocks,
            name,
            kind=kind,
            separator=separator,
            header=spec.header,
            named=tuple(n for n in named if not n.isdigit()),
            keep_broken=True,
        )
    return _texts_of_table(raw, spec, name, n_lines)


def open_live_lines(stream: BinaryIO, name: str, spec: DatasetSpec) -> Texts:
    """Return the lines of a stream that others may still be writing, each as a text as soon as it is there.

    Parameters
    ----------
    stream : unbuffered binary file
        Its `read` gives what is there, and waits only for the first byte.
    name : str
        For messages.
    spec : DatasetSpec
        Whether there is a header.
    """
    blocks = text_blocks(stream, name, at_once=True)
    return Texts(name, ONE_A_LINE, None, _lines(blocks, spec))


def _texts_of_table(
    raw: RawTable, spec: DatasetSpec, name: str, n_lines: int | None
) -> Texts:
    column = choose_text_column(raw, spec)
    how = f"column {column!r}" if raw.has_header else f"column {column}"
    rows = _rows(raw, raw.names.index(column))
    return Texts(name, how, n_lines, iter([rows]))


def _rows(raw: RawTable, column: int) -> Iterator[TextRow]:
    number = 0
    for batch in raw.read([column]):
        for line, cell in zip(batch.lines, batch.columns[0], strict=True):
            number += 1
            yield _row(number, line, cell)
    raw.close()


def _lines(blocks: Iterator[str], spec: DatasetSpec) -> Iterator[Iterator[TextRow]]:
    """Yield the rows of each block."""
    skipped, begin = int(spec.header == "yes"), 1
    for block in blocks:
        lines = block.replace("\r\n", "\n").split("\n")
        if not lines[-1]:  # what follows the last line break
            lines.pop()
        yield (
            _row(line - skipped, line, text)
            for line, text in enumerate(lines, begin)
            if line > skipped
        )
        begin += len(lines)


def _row(number: int, line: int, cell: Any) -> TextRow:  # Any: a cell
    if isinstance(cell, Broken):
        return TextRow(number, line, "", cell.reason)
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return TextRow(number, line, "", "has no text.")
    if not isinstance(cell, str):
        kind = type(cell).__name__
        return TextRow(
            number, line, "", f"holds {kind} {shown(cell)}, expected a text."
        )
    return TextRow(number, line, cell, "")

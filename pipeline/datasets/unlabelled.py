"""Texts that are to get a label: the rows of a file or stream, of which only the text is read, bad ones marked.

Files are read as for training, and need no label column; plain lines are read, too: one text each, or two with a tab
between them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from pipeline.config import DatasetSpec
from pipeline.datasets.columns import choose_text_columns, names_in
from pipeline.datasets.files import (
    check_regular,
    count_lines,
    file_format,
    text_blocks,
    unpacked,
)
from pipeline.datasets.raw import Broken, Lines, RawTable, is_missing
from pipeline.datasets.text import open_text
from pipeline.datasets.typed import JsonTable, open_parquet
from pipeline.errors import DataError, shown
from pipeline.pairs import Text

ONE_A_LINE, TWO_A_LINE = "one text a line", "two texts a line, a tab between them"


class TextRow(NamedTuple):
    """A row with its text, or with what is wrong with it.

    Attributes
    ----------
    row : int
        1-based number; blank lines count where they are empty texts: in plain lines and files of one column.
    line : int
        1-based line on which it begins in a text file, else its row.
    text : str or Pair
        Empty where there is an error.
    error : str
        In words that follow the row's place, such as ``has no text.``; empty where all is well.
    """

    row: int
    line: int
    text: Text
    error: str


@dataclass(frozen=True)
class Texts:
    """An input that was opened.

    Attributes
    ----------
    name : str
        What people call it.
    how : str
        What is taken as a text: ``one text a line``, ``column 'text'``, ``columns 'premise' and 'hypothesis'``.
    n_lines : int or None
        Lines of a text file, rows of Parquet; None where nobody knows.
    portions : iterator of iterators of TextRow
        What can be read without waiting: all rows of a file, and of a stream those that came together. Can be gone
        through once; raises `DataError` where the rest cannot be read.
    blank : Lines
        Blank lines that are no rows, as far as it was read.
    close : callable () -> None
        Lets the file go.
    """

    name: str
    how: str
    n_lines: int | None
    portions: Iterator[Iterator[TextRow]]
    blank: Lines = field(default_factory=Lines)
    close: Callable[[], None] = lambda: None

    def place(self, row: TextRow) -> str:
        """Return where a row is."""
        return f"{self.name}:{row.line}"


def open_texts(
    path: Path, spec: DatasetSpec, form: str = "auto", *, pair: str = ""
) -> Texts:
    """Return the texts in a file.

    Parameters
    ----------
    path : Path
    spec : DatasetSpec
        Text column, separator and header.
    form : str
        ``lines``, ``tsv``, ``txt``, ``csv``, ``jsonl``, ``parquet``; ``auto`` goes by the file's ending. ``txt`` is
        one text a line, unless there is a separator or a text column in `spec`.
    pair : str
        Where pairs are wanted, the columns that are taken if `spec` names none: ``A,B``.

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
        return _texts_of_table(table, spec, str(path), n_rows, pair)
    try:
        with path.open("rb") as stream:
            n_lines = count_lines(unpacked(stream, form), str(path))
        stream = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    try:
        texts = open_text_stream(stream, str(path), spec, form, n_lines, pair=pair)
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
    *,
    pair: str = "",
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
    pair : str
        As for `open_texts`.

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
        lines = _lines_of(blocks, name, spec, pair)
        return replace(
            lines, n_lines=n_lines, portions=iter([chain.from_iterable(lines.portions)])
        )
    raw: RawTable
    if kind == "jsonl":
        raw = JsonTable(blocks, name, keep_broken=True)
    else:
        asked = _with_pair(spec, pair).text_column
        named = names_in(asked) if asked != "auto" else ()
        raw = open_text(
            blocks,
            name,
            kind=kind,
            separator=separator,
            header=spec.header,
            named=tuple(n for n in named if not n.isdigit()),
            keep_broken=True,
        )
    return _texts_of_table(raw, spec, name, n_lines, pair)


def open_live_lines(
    stream: BinaryIO, name: str, spec: DatasetSpec, *, pair: str = ""
) -> Texts:
    """Return the lines of a stream that others may still be writing, each as a text as soon as it is there.

    Parameters
    ----------
    stream : unbuffered binary file
        Its `read` gives what is there, and waits only for the first byte.
    name : str
        For messages.
    spec : DatasetSpec
        Whether there is a header.
    pair : str
        As for `open_texts`.
    """
    return _lines_of(text_blocks(stream, name, at_once=True), name, spec, pair)


def _with_pair(spec: DatasetSpec, pair: str) -> DatasetSpec:
    return (
        replace(spec, text_column=pair) if pair and spec.text_column == "auto" else spec
    )


def _texts_of_table(
    raw: RawTable, spec: DatasetSpec, name: str, n_lines: int | None, pair: str
) -> Texts:
    columns = choose_text_columns(raw, _with_pair(spec, pair))
    if len(columns) != (2 if pair else 1):
        wanted = "two columns, as A,B" if pair else "one column: it labels single texts"
        raise DataError(
            f"--text-column is {shown(spec.text_column)}, but the predictor was trained on {wanted}. "
            "Pass that, or another --predictor."
        )
    names = [repr(column) if raw.has_header else column for column in columns]
    how = f"column{'s' if pair else ''} {' and '.join(names)}"
    rows = _rows(raw, list(map(raw.names.index, columns)))
    return Texts(name, how, n_lines, iter([rows]), raw.blank)


def _rows(raw: RawTable, wanted: list[int]) -> Iterator[TextRow]:
    number = 0
    for batch in raw.read(wanted):
        for line, *cells in zip(batch.lines, *batch.columns, strict=True):
            number += 1
            yield _row(number, line, cells)
    raw.close()


def _lines_of(blocks: Iterator[str], name: str, spec: DatasetSpec, pair: str) -> Texts:
    """Return the lines of a text, each a text or, where pairs are wanted, two."""
    how = TWO_A_LINE if pair else ONE_A_LINE
    return Texts(name, how, None, _lines(blocks, spec, is_pair=bool(pair)))


def _lines(
    blocks: Iterator[str], spec: DatasetSpec, *, is_pair: bool
) -> Iterator[Iterator[TextRow]]:
    """Yield the rows of each block."""
    skipped, begin = int(spec.header == "yes"), 1
    for block in blocks:
        lines = block.replace("\r\n", "\n").split("\n")
        if not lines[-1]:  # what follows the last line break
            lines.pop()
        yield (
            _row(line - skipped, line, _halves(text) if is_pair else [text])
            for line, text in enumerate(lines, begin)
            if line > skipped
        )
        begin += len(lines)


def _halves(line: str) -> list[str | Broken]:
    """Return the two texts of a line, or what is wrong with it."""
    halves: list[str | Broken] = [*line.split("\t")]
    if len(halves) == 2 or not line.strip():
        return halves
    n = f"{len(halves)} text{'s'[: len(halves) != 1]}"
    return [Broken(f"has {n}, expected two with a tab between them.")]


def _row(
    number: int,
    line: int,
    cells: Sequence[Any],  # Any: cells
) -> TextRow:
    wrong = next(filter(None, map(_wrong_with, cells)), "")
    if wrong:
        return TextRow(number, line, "", wrong)
    return TextRow(number, line, cells[0] if len(cells) == 1 else tuple(cells), "")


def _wrong_with(cell: Any) -> str:  # Any: a cell
    """Return why a cell is no text, in words that follow the row's place; nothing where it is one."""
    if isinstance(cell, Broken):
        return cell.reason
    if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
        return "has no text."
    if not isinstance(cell, str):
        return f"holds {type(cell).__name__} {shown(cell)}, expected a text."
    return ""

r"""Tables in text files: TSV, plain text with any separator, and CSV.

TSV and plain text have no quoting: a quote is a character, a line is a row (GLUE's files). CSV is quoted as in
RFC 4180, so a field may hold separators and line breaks. Only ``\n`` and ``\r\n`` end a line.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from pipeline.datasets.quoted import csv_chunks, csv_separator, swallowed_labels
from pipeline.datasets.raw import (
    CHUNK_ROWS,
    HEAD_ROWS,
    Batch,
    Broken,
    Chunk,
    Doubts,
    Lines,
    Row,
)
from pipeline.errors import DataError, shown

TEXT_NAMES = ("text", "sentence", "review", "tweet", "content", "title")
LABEL_NAMES = ("label", "class", "category", "target")
MIN_NUMBERS = 3  # rows; one is enough under a first line that can hardly be a row
TXT_SEPARATORS = ("\t", "_!_", "|||", "||", "::", "|", ";")


class TextTable:
    """A `RawTable` of fields between separators; made by `open_text`.

    ``separator_in_quotes`` is the separator of a file whose fields may be quoted, else empty; with ``keep_broken``
    a row of too few fields is not refused at the end, but comes as `Broken` cells, and so does one of too many.
    ``blank`` are then the blank lines that are no rows, as far as all was read.
    """

    is_text = True

    def __init__(
        self,
        chunks: Iterator[Chunk],
        path: str,
        header: str,
        named: tuple[str, ...],
        notes: dict[str, object],
        *,
        separator_in_quotes: str,
        keep_broken: bool = False,
    ) -> None:
        self.path = path
        self.blank = Lines()
        if keep_broken:
            chunks = _without_blank(chunks, self.blank)
        self._keep_broken = keep_broken
        self.close: Callable[[], None] = lambda: None
        self.notes = notes
        self._separator_in_quotes = separator_in_quotes
        self.doubts = Doubts()
        numbers, rows = next(chunks, ([], []))
        if not rows:
            raise DataError(
                f"No rows in {path}: the file is empty. Pass a file with one text and one label a row."
            )
        sample = rows[: HEAD_ROWS + 1]
        self.has_header = header == "yes" or (
            header == "auto" and looks_like_header(sample, named)
        )
        if self.has_header:
            self.names = [name.strip() for name in rows[0]]
            check_names(self.names, path)
            numbers, rows = numbers[1:], rows[1:]
        else:
            self.names = [str(i + 1) for i in range(len(rows[0]))]
        self.notes["header"] = self.has_header
        if not rows:  # look further: the header may have been a chunk of its own
            numbers, rows = next(chunks, ([], []))
        if not rows:
            fix = "Add rows, or pass --header no"
            if any("\r" in name for name in self.names):  # as old Macs wrote them
                fix = "Its lines end in CR alone: convert them with tr '\\r' '\\n'"
            raise DataError(f"No rows in {path}: only a header line. {fix}.")
        self.head: list[Sequence[str]] = [*rows[:HEAD_ROWS]]
        self._chunks = chain([(numbers, rows)], chunks)

    def read(self, wanted: Sequence[int], limit: int | None = None) -> Iterator[Batch]:
        """Yield the cells of all rows, or of the first `limit`, in the columns at positions `wanted`.

        The last one wanted is the label's.

        Raises
        ------
        DataError
            At the end, if rows have too few fields; names the lines.
        """
        width = len(self.names)
        short = Lines()
        n_wide = 0
        for numbers, rows in _first_of(self._chunks, limit):
            if self._separator_in_quotes:
                self._doubt_swallowed(numbers, rows, wanted[-1])
            if self._keep_broken:
                yield Batch(
                    numbers, [[self._cell(row, i) for row in rows] for i in wanted]
                )
                continue
            if set(map(len, rows)) != {width}:
                for line, row in zip(numbers, rows, strict=True):
                    if len(row) < width:
                        short.add(line)
                    elif len(row) > width:
                        n_wide += 1
                        if any(row[width:]):
                            self.doubts.add_wide(row[wanted[-1]].strip(), line)
                whole = [i for i, row in enumerate(rows) if len(row) >= width]
                numbers, rows = [numbers[i] for i in whole], [rows[i] for i in whole]  # noqa: PLW2901
            yield Batch(numbers, [[row[i] for row in rows] for i in wanted])
        if short.count:
            raise DataError(
                f"{short.count:,} rows of {self.path} have fewer than {width} fields: lines {short}. "
                "Mend them, or pass the right --separator."
            )
        self.notes["extra_fields"] = n_wide

    def _cell(self, row: Row, column: int) -> str | Broken:
        """Return a cell, or what is wrong with its row: fields too few, or too many that are not empty."""
        n, width = len(row), len(self.names)
        if n < width:
            return Broken(f"has {n} of {width} fields.")
        if n == width or not any(row[width:]):
            return row[column]
        fixes = []
        if self._separator_in_quotes:
            fixes.append(f"quote texts that hold {self._separator_in_quotes!r}")
        if width == 1:
            fixes.append("pass --input-format lines")
        fix = f": {', or '.join(fixes)}" if fixes else ""
        return Broken(f"has {n} of {width} fields{fix}.")

    def _doubt_swallowed(self, numbers: list[int], rows: list[Row], label: int) -> None:
        """Note rows whose quoted field looks like other rows: a stray quote merges what follows it."""
        width = len(self.names)
        ends = [*numbers[1:], None] if numbers else []
        for line, end, row in zip(numbers, ends, rows, strict=True):
            if end == line + 1 or len(row) != width:
                continue
            for i, cell in enumerate(row):
                if "\n" in cell:
                    for found in swallowed_labels(
                        cell, self._separator_in_quotes, (i, width), label
                    ):
                        self.doubts.add_swallowed(found, line)


def _first_of(chunks: Iterator[Chunk], limit: int | None) -> Iterator[Chunk]:
    for numbers, rows in chunks:
        if limit is not None and len(rows) >= limit:
            yield numbers[:limit], rows[:limit]
            return
        yield numbers, rows
        limit = None if limit is None else limit - len(rows)


def open_text(
    blocks: Iterator[str],
    path: str,
    *,
    kind: str,
    separator: str,
    header: str,
    named: tuple[str, ...],
    keep_broken: bool = False,
) -> TextTable:
    """Return the table in the text `blocks`.

    Parameters
    ----------
    blocks : iterator of str
        Whole lines each, see `pipeline.datasets.files.text_blocks`.
    path : str
        For error messages.
    kind : {"tsv", "csv", "txt"}
    separator : str
        ``auto`` or the string between two fields. ``auto`` is a tab in TSV; in CSV and plain text the one
        that gives all of the first rows equally many fields.
    header : {"auto", "yes", "no"}
        ``auto`` takes the first line as names if one of them is a wanted name, or a known one that its column does
        not hold again, or if it stands above numbers, in at least `MIN_NUMBERS` rows unless it is of
        different single words; never if it has a number there.
    named : tuple of str
        Column names the user asked for.
    keep_broken : bool
        Give rows of too few fields as `pipeline.datasets.raw.Broken` cells, instead of refusing them at the end, and
        rows of too many, too, instead of doubting their labels; and take blank lines for empty cells where there is
        but one column.

    Raises
    ------
    DataError
        If there is no row, no separator can be told, or a name stands twice in the header.
    """
    first = next(blocks, "")
    blocks = chain([first], blocks)
    notes: dict[str, object] = {"blank_lines": 0}
    if kind == "csv":
        notes["separator"] = delimiter = csv_separator(first, separator)
        chunks = csv_chunks(blocks, path, delimiter, notes, keep_blank=keep_broken)
    else:
        notes["separator"] = delimiter = _plain_separator(first, path, kind, separator)
        chunks = _plain_chunks(blocks, delimiter, notes, keep_blank=keep_broken)
    quoted = delimiter if kind == "csv" else ""
    return TextTable(
        chunks,
        path,
        header,
        named,
        notes,
        separator_in_quotes=quoted,
        keep_broken=keep_broken,
    )


def _plain_separator(first: str, path: str, kind: str, separator: str) -> str:
    """Return what stands between two fields of TSV or plain text that begins with the block `first`."""
    if separator != "auto":
        return separator
    lines = _first_lines(first)
    if not lines:
        return "\t"
    if kind == "txt" and (found := _found_separator(lines)):
        return found
    if "\t" in lines[0]:
        return "\t"
    raise DataError(
        f"No tab in the first line of {path}: {shown(lines[0])}. Pass --separator."
    )


def _first_lines(first: str) -> list[str]:
    """Return the lines that tell how a file is to be read which begins with the block `first`."""
    lines = first.split("\n", HEAD_ROWS)[:HEAD_ROWS]
    return [line for line in lines if line.strip("\r")]


def _found_separator(lines: list[str]) -> str | None:
    """Return the separator that each of a plain text's first lines has equally often, or None."""
    for candidate in TXT_SEPARATORS:
        counts = {line.count(candidate) for line in lines}
        if len(counts) == 1 and counts != {0}:
            return candidate
    return None


def _plain_chunks(
    blocks: Iterator[str],
    separator: str,
    notes: dict[str, object],
    *,
    keep_blank: bool,
) -> Iterator[Chunk]:
    r"""Split at ``\n`` or ``\r\n`` only: a lone CR, U+2028 and the like stay inside a text.

    Blank lines are left out, or with `keep_blank` come as rows of no field.
    """
    begin = 1
    n_blank = 0
    for block in blocks:
        lines = block.replace("\r\n", "\n").split("\n")
        if not lines[-1]:  # what follows the last line break
            lines.pop()
        numbers = [begin + i for i, line in enumerate(lines) if line or keep_blank]
        n_blank += len(lines) - len(numbers)
        notes["blank_lines"], notes["lines"] = n_blank, begin + len(lines) - 1
        for i in range(0, len(numbers), CHUNK_ROWS):
            part = numbers[i : i + CHUNK_ROWS]
            cells = [lines[line - begin] for line in part]
            yield part, [cell.split(separator) if cell else [] for cell in cells]
        begin += len(lines)


def _without_blank(chunks: Iterator[Chunk], blank: Lines) -> Iterator[Chunk]:
    """Take rows of no field for an empty cell where the first row has but one, else leave them out and note them."""
    width = 0  # of the first row that is not blank; before it, nobody can tell
    for numbers, rows in chunks:
        kept: list[tuple[int, Row]] = []
        for line, row in zip(numbers, rows, strict=True):
            width = width or len(row)
            if row or width == 1:
                kept.append((line, row or [""]))
            else:
                blank.add(line)
        if kept:
            yield [line for line, _ in kept], [row for _, row in kept]


def looks_like_header(rows: Sequence[Row], named: tuple[str, ...]) -> bool:
    """Tell whether the first of `rows` names the columns."""
    first, rest = [cell.strip().lower() for cell in rows[0]], rows[1:]
    if {name.lower() for name in named}.intersection(first):
        return True
    numeric = [
        i
        for i in range(len(first))
        if all(len(row) > i and _is_number(row[i]) for row in rest)
    ]
    if len(rest) < (1 if _are_names(first) else MIN_NUMBERS):
        numeric = []
    if any(_is_number(rows[0][i]) for i in numeric):
        return False
    return bool(numeric) or any(
        cell in (*TEXT_NAMES, *LABEL_NAMES) and not _recurs(cell, i, rest)
        for i, cell in enumerate(first)
    )


def _are_names(cells: Sequence[str]) -> bool:
    """Tell whether cells, two or more, are different single words: ``id`` and ``body``, no ``good film``."""
    are_words = all(re.fullmatch(r"[^\W\d][\w.-]*", cell) for cell in cells)
    return are_words and 1 < len(cells) == len(set(cells))


def _recurs(cell: str, column: int, rows: Sequence[Row]) -> bool:
    """Tell whether a column holds `cell` again: then it is a value, not a name."""
    return any(
        len(row) > column and row[column].strip().lower() == cell for row in rows
    )


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", cell) is not None


def check_names(names: Sequence[str], path: str) -> None:
    """Refuse a column name that stands twice.

    Raises
    ------
    DataError
        Names it.
    """
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(
            f"Column {', '.join(map(repr, repeated))} stands more than once in the header of {path}. Rename one."
        )

"""CSV, quoted as in RFC 4180, so that a field may hold separators and line breaks, and what a stray quote merges."""

import csv
import io
import re
from collections.abc import Iterator

from pipeline.datasets.files import MAX_ROW_BYTES
from pipeline.datasets.raw import CHUNK_CHARS, CHUNK_ROWS, Chunk, Row
from pipeline.errors import DataError

CSV_SEPARATORS = (",", ";", "\t", "|")
MAX_LINES = 1000  # of a quoted field that are looked at
# Stands for a lone CR while csv reads, which would end the row there; decoded UTF-8 never holds a surrogate.
LONE_CR = "\udc0d"


def csv_separator(first: str, separator: str) -> str:
    """Return what stands between two fields of a CSV that begins with the block `first`."""
    csv.field_size_limit(MAX_ROW_BYTES)  # the default refuses a text over 128 kB
    if separator == "auto":
        fitting = (c for c in CSV_SEPARATORS if _fits(first, c))
        return next(fitting, ",")
    if len(separator) != 1 or separator in '"\r\n':
        raise DataError(
            f"A quoted CSV needs a separator of one character, got {separator!r}. Name the file .txt."
        )
    return separator


def _fits(first: str, separator: str) -> bool:
    """Tell whether the first rows have equally many fields, two or more, when split so."""
    lines = io.StringIO(first[:CHUNK_CHARS], newline="\n")
    reader = csv.reader(lines, delimiter=separator)
    try:
        rows = [row for _, row in zip(range(20), reader, strict=False) if row]
    except csv.Error:
        return False
    # a last field that ends in a line break may be cut off there, at the block's end
    widths = {len(row) for row in rows if not row[-1].endswith("\n")}
    return len(widths) == 1 and min(widths) > 1


def csv_chunks(
    blocks: Iterator[str],
    path: str,
    delimiter: str,
    notes: dict[str, object],
    *,
    keep_blank: bool = False,
) -> Iterator[Chunk]:
    """Yield the rows of a CSV with the lines on which they begin; `notes` gets the counts at the end.

    Blank lines are left out, or with `keep_blank` come as rows of no field.

    Raises
    ------
    DataError
        If quotes do not fit together; names the line on which that row begins.
    """
    reader = csv.reader(_csv_lines(blocks), delimiter=delimiter, strict=True)
    numbers: list[int] = []
    rows: list[Row] = []
    begin, size, n_blank, n_spanning = 1, 0, 0, 0
    try:
        for row in reader:
            if row or keep_blank:
                numbers.append(begin)
                rows.append([cell.replace(LONE_CR, "\r") for cell in row])
                size += sum(map(len, row))
                n_spanning += reader.line_num > begin
            else:
                n_blank += 1
            begin = reader.line_num + 1
            if len(rows) >= CHUNK_ROWS or size > CHUNK_CHARS:
                yield numbers, rows
                numbers, rows, size = [], [], 0
    except csv.Error as error:
        raise DataError(
            f"{path}, row that begins on line {begin}: {error}. Close the quotes, or name the file .tsv if "
            "quotes are plain characters."
        ) from error
    notes.update(
        blank_lines=n_blank, lines=reader.line_num, rows_of_several_lines=n_spanning
    )
    if rows:
        yield numbers, rows


def _csv_lines(blocks: Iterator[str]) -> Iterator[str]:
    for block in blocks:
        marked = re.sub("\r(?!\n)", LONE_CR, block) if "\r" in block else block
        yield from io.StringIO(marked, newline="\n")


def swallowed_labels(
    cell: str, separator: str, place: tuple[int, int], label: int
) -> set[str]:
    """Return the labels of the rows that the lines of a quoted field look like; none if they do not look like rows.

    A stray quote merges the end of one row (the fields from the quoted one on), whole rows, and the beginning of
    another (the fields up to the quoted one).

    Parameters
    ----------
    cell : str
        Of several lines; the first `MAX_LINES` are looked at.
    separator : str
    place : tuple of int
        Position of the field, and how many a row has.
    label : int
        Position of the label.
    """
    column, width = place
    *lines, last = cell.split("\n", MAX_LINES)
    parts = [line.split(separator) for line in lines]
    expected = [width - column, *[width] * (len(lines) - 1)]
    if len(lines) < MAX_LINES:  # else nobody knows how it ends
        parts.append(last.split(separator))
        expected.append(column + 1)
    if list(map(len, parts)) != expected:
        return set()
    labels = {part[label].strip() for part in parts[1:] if len(part) > label}
    if label >= column:
        labels.add(parts[0][label - column].strip())
    return labels

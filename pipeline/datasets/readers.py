"""One file's bytes to one table of fields; no opinion yet on which column means what.

TSV and plain text have no quoting: a quote is a character, a line is a row (GLUE's files). CSV is quoted as in
RFC 4180, so a field may hold separators and line breaks. Parquet carries its own types.
"""

import csv
import io
import logging
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import DataError, listed, shown

logger = logging.getLogger(__name__)

TEXT_NAMES = ("text", "sentence", "review", "tweet", "content", "title")
MIN_NUMBERS = 3
LABEL_NAMES = ("label", "class", "category", "target")


@dataclass(frozen=True)
class RawTable:
    """The rows of one file as read.

    Attributes
    ----------
    frame : DataFrame
        One column a field; names from the header, else ``"1"``, ``"2"``, ….
    lines : ndarray of int64, shape (n,)
        Where each row begins: 1-based line in a text file, row number in Parquet.
    path : str
        For error messages.
    notes : dict
        What was odd but acceptable: counts of blank lines and extra fields, whether there was a header.
    """

    frame: pd.DataFrame
    lines: NDArray[np.int64]
    path: str
    notes: dict[str, object] = field(default_factory=dict)


def read_table(
    data: bytes,
    path: str,
    *,
    kind: str,
    separator: str,
    header: str,
    named: tuple[str, ...],
) -> RawTable:
    """Return the table in `data`.

    Parameters
    ----------
    data : bytes
        The whole file.
    path : str
        For error messages.
    kind : {"tsv", "csv", "txt", "parquet"}
        See `pipeline.datasets.sources.FORMATS`.
    separator : str
        ``auto`` or the string between two fields.
    header : {"auto", "yes", "no"}
        ``auto`` takes the first line as names if one of them is a known or wanted name, or if a column holds
        numbers everywhere else, in at least `MIN_NUMBERS` rows.
    named : tuple of str
        Column names the user asked for.

    Raises
    ------
    DataError
        If the bytes are not UTF-8, a row has too few fields, or there is no row.
    """
    if kind == "parquet":
        return _read_parquet(data, path)
    text = _decode(data, path)
    rows, lines = (
        _csv_rows(text, path, separator)
        if kind == "csv"
        else _plain_rows(text, path, separator)
    )
    notes: dict[str, object] = {"blank_lines": sum(1 for row in rows if not row)}
    kept = [i for i, row in enumerate(rows) if row]
    rows, numbers = [rows[i] for i in kept], [lines[i] for i in kept]
    if not rows:
        raise DataError(
            f"No rows in {path}: the file is empty. Pass a file with one text and one label a row."
        )
    has_header = header == "yes" or (
        header == "auto" and _looks_like_header(rows, named)
    )
    notes["header"] = has_header
    names = (
        [name.strip() for name in rows[0]]
        if has_header
        else [str(i + 1) for i in range(len(rows[0]))]
    )
    if has_header:
        rows, numbers = rows[1:], numbers[1:]
        if not rows:
            raise DataError(
                f"No rows in {path}: only a header line. Add rows, or pass --header no."
            )
    _check_names(names, path)
    notes["extra_fields"] = _check_widths(rows, numbers, len(names), path)
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    return RawTable(
        pd.DataFrame(columns, dtype=object),
        np.asarray(numbers, dtype=np.int64),
        path,
        notes,
    )


def _decode(data: bytes, path: str) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start:,}. "
            f"Convert it, for example: iconv -f {_likely(data)} -t utf-8 FILE."
        ) from error


def _likely(data: bytes) -> str:
    """Return the encoding to try first for bytes that are not UTF-8."""
    return "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"


def _plain_rows(
    text: str, path: str, separator: str
) -> tuple[list[list[str]], list[int]]:
    r"""Split at ``\n`` or ``\r\n`` only: a lone CR, U+2028 and the like stay inside a text."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if not lines[-1]:  # what follows the last line break
        lines.pop()
    if separator == "auto":
        separator = "\t"
        first = next((line for line in lines if line), "\t")
        if separator not in first:
            raise DataError(
                f"No tab in the first line of {path}: {shown(first)}. Pass --separator."
            )
    rows = [line.split(separator) if line else [] for line in lines]
    return rows, list(range(1, len(lines) + 1))


def _csv_rows(
    text: str, path: str, separator: str
) -> tuple[list[list[str]], list[int]]:
    delimiter = "," if separator == "auto" else separator
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise DataError(
            f"A quoted CSV needs a separator of one character, got {delimiter!r}. Name the file .txt."
        )
    lone_cr = next(chr(c) for c in range(0xE000, 0xF900) if chr(c) not in text)
    text = re.sub(
        "\r(?!\n)", lone_cr, text
    )  # part of a text, but csv would end the row there
    csv.field_size_limit(2**31 - 1)  # the default refuses a text over 128 kB
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows, lines, begins = [], [], 1
    try:
        for row in reader:
            rows.append([cell.replace(lone_cr, "\r") for cell in row])
            _check_swallowed(rows[-1], delimiter, path, begins)
            lines.append(begins)
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{path}, row that begins on line {begins}: {error}. Close the quotes, or name the file .tsv if "
            "quotes are plain characters."
        ) from error
    return rows, lines


def _check_swallowed(row: list[str], delimiter: str, path: str, line: int) -> None:
    """Warn of a quoted field whose inner lines look like rows: a stray quote merges what follows it."""
    inner = [part for cell in row for part in cell.split("\n")[1:-1]]
    likely = [part for part in inner if part.count(delimiter) == len(row) - 1]
    if likely and len(row) > 1:
        logger.warning(
            "%s: the row on line %s holds %s lines that look like rows of their own. A stray quote?",
            path,
            f"{line:,}",
            f"{len(likely):,}",
        )


def _looks_like_header(rows: list[list[str]], named: tuple[str, ...]) -> bool:
    first = [cell.strip().lower() for cell in rows[0]]
    wanted = {name.lower() for name in (*TEXT_NAMES, *LABEL_NAMES, *named)}
    if wanted.intersection(first):
        return True
    rest = rows[1:]
    if len(rest) < MIN_NUMBERS:
        return False
    numeric = [
        i
        for i in range(len(first))
        if all(len(row) > i and _is_number(row[i]) for row in rest)
    ]
    return any(not _is_number(rows[0][i]) for i in numeric)


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[+-]?\d+(\.\d*)?\s*", cell) is not None


def _check_names(names: list[str], path: str) -> None:
    repeated = sorted(name for name, count in Counter(names).items() if count > 1)
    if repeated:
        raise DataError(
            f"Column {', '.join(map(repr, repeated))} stands more than once in the header of {path}. Rename one."
        )


def _check_widths(
    rows: list[list[str]], numbers: list[int], width: int, path: str
) -> int:
    short = [line for row, line in zip(rows, numbers, strict=True) if len(row) < width]
    if short:
        raise DataError(
            f"{len(short):,} rows of {path} have fewer than {width} fields: lines {listed(short, 10)}. "
            "Mend them, or pass the right --separator."
        )
    wide = [line for row, line in zip(rows, numbers, strict=True) if len(row) > width]
    if wide:
        logger.warning(
            "%s: %s rows have more than %s fields, what is too much is ignored: lines %s",
            path,
            f"{len(wide):,}",
            width,
            listed(wide, 10),
        )
    return len(wide)


def _read_parquet(data: bytes, path: str) -> RawTable:
    try:
        frame = pd.read_parquet(io.BytesIO(data))
    except Exception as error:  # pyarrow's own family of errors
        raise DataError(
            f"{path} cannot be read as Parquet: {error}. Write it again."
        ) from error
    if frame.empty:
        raise DataError(f"No rows in {path}.")
    return table_of_frame(frame, path)


def table_of_frame(frame: pd.DataFrame, path: str) -> RawTable:
    """Return `frame` as a `RawTable` with string column names and rows numbered from 1."""
    frame = frame.rename(columns=str).reset_index(drop=True)
    _check_names(list(frame.columns), path)
    return RawTable(
        frame, np.arange(1, len(frame) + 1, dtype=np.int64), path, {"header": True}
    )


def find_column(
    raw: RawTable, wanted: str, known: tuple[str, ...], option: str
) -> str | None:
    """Return the name of the column that `wanted` or a known name points at; None if nothing does.

    Raises
    ------
    DataError
        If `wanted` is not ``auto`` and there is no such column: lists the columns and the nearest name.
    """
    names: list[str] = list(raw.frame.columns)
    if wanted == "auto":
        lower: dict[str, str] = {name.lower(): name for name in reversed(names)}
        return next((lower[name] for name in known if name in lower), None)
    if wanted in names:
        return wanted
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    import difflib

    near: list[Any] = difflib.get_close_matches(wanted, names, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"Column {shown(wanted)} not found in {raw.path} (columns: {', '.join(names)}). {hint}Pass --{option} NAME."
    )

r"""Tables in text files: TSV, plain text with any separator, and CSV.

TSV and plain text have no quoting: a quote is a character, a line is a row (GLUE's files). CSV is quoted as in
RFC 4180, so a field may hold separators and line breaks. Only ``\n`` and ``\r\n`` end a line.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain

from pipeline.datasets.files import MAX_ROW_BYTES
from pipeline.datasets.raw import HEAD_ROWS, Batch, Doubt, Lines
from pipeline.errors import DataError, shown

TEXT_NAMES = ("text", "sentence", "review", "tweet", "content", "title")
LABEL_NAMES = ("label", "class", "category", "target")
MIN_NUMBERS = 3
CSV_SEPARATORS = (",", ";", "\t", "|")
TXT_SEPARATORS = ("\t", "_!_", "|||", "||", "::", "|", ";")
CHUNK_ROWS = 16_384
CHUNK_CHARS = 4 * 2**20
MAX_DOUBTS = 1000
# Stands for a lone CR while csv reads, which would end the row there; decoded UTF-8 never holds a surrogate.
LONE_CR = "\udc0d"

Row = list[str]
Chunk = tuple[list[int], list[Row]]  # where each row begins, its fields


class TextTable:
    """A `RawTable` of fields between separators; made by `open_text`."""

    is_text = True

    def __init__(
        self,
        chunks: Iterator[Chunk],
        path: str,
        header: str,
        named: tuple[str, ...],
        notes: dict[str, object],
        *,
        quoted: bool,
    ) -> None:
        self.path = path
        self.close: Callable[[], None] = lambda: None
        self.notes = notes
        self._is_quoted = quoted
        self.doubts: list[Doubt] = []
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
            raise DataError(
                f"No rows in {path}: only a header line. Add rows, or pass --header no."
            )
        self.head: list[Sequence[str]] = [*rows[:HEAD_ROWS]]
        self._chunks = chain([(numbers, rows)], chunks)

    def read(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows' cells in the columns at positions `wanted`; the last one is the label's.

        Raises
        ------
        DataError
            At the end, if rows have too few fields; names the lines.
        """
        width = len(self.names)
        short, wide = Lines(), Lines()
        for numbers, rows in self._chunks:
            widths = set(map(len, rows))
            if widths != {width}:
                numbers, rows = self._even(numbers, rows, wanted[-1], short, wide)  # noqa: PLW2901
            if self._is_quoted:
                self._doubt_swallowed(numbers, rows, wanted[-1])
            yield Batch(numbers, [[row[i] for row in rows] for i in wanted])
        if short.count:
            raise DataError(
                f"{short.count:,} rows of {self.path} have fewer than {width} fields: lines {short}. "
                "Mend them, or pass the right --separator."
            )
        self.notes["extra_fields"] = wide.count

    def _even(
        self,
        numbers: list[int],
        rows: list[Row],
        label: int,
        short: Lines,
        wide: Lines,
    ) -> Chunk:
        """Return the rows that have fields enough; note those that have too few or too many."""
        width = len(self.names)
        for line, row in zip(numbers, rows, strict=True):
            if len(row) < width:
                short.add(line)
                if len(self.doubts) < MAX_DOUBTS:
                    self.doubts.append(Doubt(line, "", "short"))
            elif len(row) > width:
                wide.add(line)
                if len(self.doubts) < MAX_DOUBTS:
                    self.doubts.append(Doubt(line, row[label].strip(), "wide"))
        whole = [i for i, row in enumerate(rows) if len(row) >= width]
        return [numbers[i] for i in whole], [rows[i] for i in whole]

    def _doubt_swallowed(self, numbers: list[int], rows: list[Row], label: int) -> None:
        """Note what looks like rows inside quoted fields: a stray quote merges what follows it."""
        separator, width = str(self.notes["separator"]), len(self.names)
        ends = [*numbers[1:], None] if numbers else []
        for line, end, row in zip(numbers, ends, rows, strict=True):
            if end == line + 1 or len(self.doubts) >= MAX_DOUBTS:
                continue
            for i, cell in enumerate(row):
                if "\n" not in cell:
                    continue
                head, *inner = cell.split("\n")[:-1]
                parts = [part.split(separator) for part in inner]
                if i + head.count(separator) + 1 == width:
                    parts.insert(0, [*row[:i], *head.split(separator)])
                self.doubts += [
                    Doubt(line, part[label].strip(), "swallowed")
                    for part in parts
                    if len(part) == width
                ]


def open_text(
    blocks: Iterator[str],
    path: str,
    *,
    kind: str,
    separator: str,
    header: str,
    named: tuple[str, ...],
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
        ``auto`` takes the first line as names if one of them is a known or wanted name, or if a column holds
        numbers everywhere else, in at least `MIN_NUMBERS` rows.
    named : tuple of str
        Column names the user asked for.

    Raises
    ------
    DataError
        If there is no row, no separator can be told, or a name stands twice in the header.
    """
    first = next(blocks, "")
    blocks = chain([first], blocks)
    notes: dict[str, object] = {"blank_lines": 0}
    if kind == "csv":
        csv.field_size_limit(MAX_ROW_BYTES)  # the default refuses a text over 128 kB
        notes["separator"] = delimiter = _csv_separator(first, separator)
        chunks = _csv_chunks(blocks, path, delimiter, notes)
    else:
        notes["separator"] = delimiter = _plain_separator(first, path, kind, separator)
        chunks = _plain_chunks(blocks, delimiter, notes)
    return TextTable(chunks, path, header, named, notes, quoted=kind == "csv")


def _plain_separator(first: str, path: str, kind: str, separator: str) -> str:
    """Return what stands between two fields of TSV or plain text that begins with the block `first`."""
    if separator != "auto":
        return separator
    lines = [
        line for line in first.split("\n", HEAD_ROWS)[:HEAD_ROWS] if line.strip("\r")
    ]
    candidates = TXT_SEPARATORS if kind == "txt" else ("\t",)
    if not lines or "\t" in lines[0]:
        return "\t"
    for candidate in candidates:
        if (
            len({line.count(candidate) for line in lines}) == 1
            and candidate in lines[0]
        ):
            return candidate
    raise DataError(
        f"No tab in the first line of {path}: {shown(lines[0])}. Pass --separator."
    )


def _plain_chunks(
    blocks: Iterator[str], separator: str, notes: dict[str, object]
) -> Iterator[Chunk]:
    r"""Split at ``\n`` or ``\r\n`` only: a lone CR, U+2028 and the like stay inside a text."""
    begin = 1
    n_blank = 0
    for block in blocks:
        lines = block.replace("\r\n", "\n").split("\n")
        if not lines[-1]:  # what follows the last line break
            lines.pop()
        numbers = [begin + i for i, line in enumerate(lines) if line]
        n_blank += len(lines) - len(numbers)
        notes["blank_lines"], notes["lines"] = n_blank, begin + len(lines) - 1
        for i in range(0, len(numbers), CHUNK_ROWS):
            part = numbers[i : i + CHUNK_ROWS]
            yield part, [lines[line - begin].split(separator) for line in part]
        begin += len(lines)


def _csv_separator(first: str, separator: str) -> str:
    """Return what stands between two fields of a CSV that begins with the block `first`."""
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


def _csv_chunks(
    blocks: Iterator[str], path: str, delimiter: str, notes: dict[str, object]
) -> Iterator[Chunk]:
    reader = csv.reader(_csv_lines(blocks), delimiter=delimiter, strict=True)
    numbers: list[int] = []
    rows: list[Row] = []
    begin, size, n_blank, n_spanning = 1, 0, 0, 0
    try:
        for row in reader:
            if row:
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


def looks_like_header(rows: Sequence[Row], named: tuple[str, ...]) -> bool:
    """Tell whether the first of `rows` names the columns."""
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

"""Tables whose cells have types: JSON lines, Parquet, and batches of columns as the hub's library gives them."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pipeline.datasets.files import BLOCK_BYTES, state_of
from pipeline.datasets.raw import HEAD_ROWS, Batch, Broken, Cells, Doubts, Lines
from pipeline.datasets.text import check_names
from pipeline.errors import DataError, shown
from pipeline.storage import sha256_file

Columns = Mapping[str, Cells]
BATCH_ROWS = 2048
BATCH_CHARS = 4 * 2**20  # where rows are long, a batch has fewer of them
FIRST_ROWS = 64  # of Parquet read at once until it is known how long they are


Object = dict[str, Any]  # Any: JSON values
JsonRow = tuple[int, Object | Broken, int]  # line, object, characters


class TypedTable:
    """A `RawTable` of typed cells.

    Parameters
    ----------
    names : sequence of str
        All columns.
    columns : callable (list of names) -> iterator of mappings
        Begins to read the named columns; each mapping holds some consecutive rows, a list a name.
    head : sequence of rows
        The first rows, all columns.
    path : str
        For error messages.
    close : callable () -> None, optional
        Makes sure at the end that the source did not change.
    """

    is_text = False
    has_header = True

    def __init__(
        self,
        names: Sequence[str],
        columns: Callable[[list[str]], Iterator[Columns]],
        head: list[Sequence[Any]],  # Any: typed cells
        path: str,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        check_names(names, path)
        if not head:
            raise DataError(
                f"No rows in {path}. Pass one with a text and a label a row."
            )
        self.names, self.head, self.path = list(names), head, path
        self.notes: dict[str, object] = {"header": True}
        self.blank = Lines()
        self.doubts = Doubts()
        self.close = close
        self._columns = columns

    def read(self, wanted: Sequence[int], limit: int | None = None) -> Iterator[Batch]:
        """Yield the cells of all rows, or of the first `limit`, in the columns at positions `wanted`.

        Raises
        ------
        DataError
            If rows further on lack one of the columns.
        """
        names = [self.names[i] for i in wanted]
        begin = 1
        for columns in self._columns(names):
            lacking = [name for name in names if name not in columns]
            if lacking:
                raise DataError(
                    f"{self.path} has no column {', '.join(map(repr, lacking))} from row {begin:,} on. "
                    "Make its parts equal, or pass a file."
                )
            left = None if limit is None else limit - begin + 1
            cells = [list(columns[name])[:left] for name in names]
            yield Batch(list(range(begin, begin + len(cells[0]))), cells)
            begin += len(cells[0])
            if limit is not None and begin > limit:
                return


class JsonTable:
    r"""A `RawTable` of one JSON object a line; the columns are the keys of the first rows.

    A lone surrogate (``\ud800``) is kept.

    Parameters
    ----------
    blocks : iterator of str
        Whole lines each, see `pipeline.datasets.files.text_blocks`.
    path : str
        For error messages.
    keep_broken : bool
        Give lines that are no object, and objects without the field, as `Broken` cells instead of refusing them.

    Raises
    ------
    DataError
        If a line is not a JSON object, or there is none; names file and line.
    """

    is_text = False
    has_header = True

    def __init__(
        self, blocks: Iterator[str], path: str, *, keep_broken: bool = False
    ) -> None:
        self.path = path
        self._keep_broken = keep_broken
        self.close: Callable[[], None] = lambda: None
        self.notes: dict[str, object] = {"header": True, "blank_lines": 0}
        self.blank = Lines()
        self.doubts = Doubts()
        rows = self._objects(blocks)
        head = _some(rows, HEAD_ROWS)
        if not head:
            raise DataError(
                f"No rows in {path}: the file is empty. Write one JSON object a line."
            )
        whole = [row for _, row, _ in head if not isinstance(row, Broken)]
        self.names = list(dict.fromkeys(key for row in whole for key in row))
        self.head: list[Sequence[Any]] = [  # Any: typed cells
            [row.get(name) for name in self.names] for row in whole
        ]
        self._rows = chain(head, rows)

    def _objects(self, blocks: Iterator[str]) -> Iterator[JsonRow]:
        line = 0
        for block in blocks:
            lines = block.split("\n")
            if not lines[-1]:  # what follows the last line break
                lines.pop()
            for text in lines:
                line += 1
                if text.strip():
                    yield line, self._object(text, f"{self.path}:{line}"), len(text)
                else:
                    self.blank.add(line)
            self.notes.update(blank_lines=self.blank.count, lines=line)

    def _object(self, text: str, place: str) -> Object | Broken:
        try:
            return _object(text, place)
        except DataError as error:
            if not self._keep_broken:
                raise
            return Broken(str(error).removeprefix(f"{place} "))

    def read(self, wanted: Sequence[int], limit: int | None = None) -> Iterator[Batch]:
        """Yield the cells of all rows, or of the first `limit`, in the columns at positions `wanted`.

        Raises
        ------
        DataError
            At the end, if rows lack one of them; names the lines.
        """
        names = [self.names[i] for i in wanted]
        lacking = Lines()
        taken = self._rows if limit is None else islice(self._rows, limit)
        while rows := _some(taken, BATCH_ROWS):
            whole: list[tuple[int, Object]] = []
            if self._keep_broken:
                lines = [line for line, _, _ in rows]
                yield Batch(lines, [[_cell(x, n) for _, x, _ in rows] for n in names])
                continue
            for line, row, _ in rows:
                assert not isinstance(row, Broken)  # they are refused
                if all(name in row for name in names):
                    whole.append((line, row))
                else:
                    lacking.add(line)
            lines = [line for line, _ in whole]
            yield Batch(lines, [[row[name] for _, row in whole] for name in names])
        if lacking.count:
            fields = " or ".join(map(repr, names))
            raise DataError(
                f"{lacking.count:,} rows of {self.path} have no field {fields}: lines {lacking}. Add it, or null."
            )


def _cell(row: Object | Broken, name: str) -> Any:  # Any: a JSON value
    if isinstance(row, Broken):
        return row
    return row[name] if name in row else Broken(f"has no field {name!r}.")


def _some(rows: Iterator[JsonRow], limit: int) -> list[JsonRow]:
    """Take the next rows: up to `limit`, fewer where they are long."""
    taken: list[JsonRow] = []
    size = 0
    for row in islice(rows, limit):
        taken.append(row)
        size += row[2]
        if size > BATCH_CHARS:
            break
    return taken


def _object(text: str, place: str) -> Object:
    try:
        value = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{place} is not JSON: {error}. Write one object a line; an array, for example, with jq -c '.[]'."
        ) from error
    if not isinstance(value, dict):
        raise DataError(
            f"{place} is {shown(value)}, expected a JSON object such as "
            '{"text": "…", "label": "…"}. Write one object a line.'
        )
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands more than once in one object")
    return found


def open_parquet(path: Path, sha256: str | None = None) -> TypedTable:
    """Return the table in a Parquet file, after comparing its digest if one is given.

    Raises
    ------
    DataError
        If the file changed, is damaged, or has no rows.
    """
    file = _ParquetFile(path, sha256)
    check_names(file.names, str(path))
    head = first_rows(file.columns(file.names), file.names)
    longest = max((sum(map(_length, row)) for row in head), default=0)
    file.n_rows = _rows_at_once(max(file.mean_bytes, longest))
    return TypedTable(file.names, file.columns, head, str(path), file.close)


class _ParquetFile:
    """A Parquet file being read, `n_rows` at a time."""

    def __init__(self, path: Path, sha256: str | None) -> None:
        import pyarrow.parquet as pq

        self._path = path
        try:
            self._state = state_of(path)
            found = sha256 and sha256_file(path)
        except OSError as error:
            raise DataError(
                f"{path} cannot be read any more: {error.strerror}. Run the same command again."
            ) from error
        if found != sha256:
            raise DataError(
                f"{path} changed while the run was starting. Run the same command again."
            )
        try:
            self._file = pq.ParquetFile(path, buffer_size=BLOCK_BYTES, pre_buffer=False)
            self.names = list(self._file.schema_arrow.names)
        except Exception as error:  # pyarrow's own family of errors
            raise self._broken(error) from error
        groups = map(self._file.metadata.row_group, range(self._file.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
        # a text that repeats is stored once, so this may be too little: `open_parquet` looks at the first rows
        self.mean_bytes = size / max(1, self._file.metadata.num_rows)
        self.n_rows = min(FIRST_ROWS, _rows_at_once(self.mean_bytes))

    def columns(self, wanted: list[str]) -> Iterator[Columns]:
        """Yield the named columns of some rows at a time."""
        import pyarrow as pa

        try:
            for batch in self._file.iter_batches(self.n_rows, columns=wanted):
                table = pa.Table.from_batches([batch])
                yield {name: table.column(name).to_pylist() for name in wanted}
        except Exception as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> DataError:
        self._check_state()
        return DataError(
            f"{self._path} cannot be read as Parquet: {error}. Write it again, or fetch it again."
        )

    def close(self) -> None:
        """Let the file go; raises `DataError` if it is not what it was."""
        self._file.close()
        self._check_state()

    def _check_state(self) -> None:
        if state_of(self._path) != self._state:
            raise DataError(
                f"{self._path} changed while it was read. Run the same command again."
            )


def _rows_at_once(size: float) -> int:
    """Return how many rows of `size` characters are to be held at once."""
    return max(1, min(BATCH_ROWS, int(BATCH_CHARS / max(1.0, size))))


def _length(cell: Any) -> int:  # Any: a typed cell
    return len(cell) if isinstance(cell, str) else 0


def first_rows(
    batches: Iterator[Columns], names: Sequence[str]
) -> list[Sequence[Any]]:  # Any: typed cells
    """Return up to `HEAD_ROWS` first rows of the batches, all columns; fewer where they are long."""
    rows: list[Sequence[Any]] = []  # Any: typed cells
    size = 0
    for batch in batches:
        more = list(zip(*(batch[name] for name in names), strict=True))
        rows += more
        size += sum(_length(cell) for row in more for cell in row)
        if len(rows) >= HEAD_ROWS or size > BATCH_CHARS:
            break
    return rows[:HEAD_ROWS]

"""Scored rows as CSV, JSON lines or Parquet, block by block."""

import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import Any, BinaryIO, Protocol

from pipeline.datasets.table import SURROGATE
from pipeline.predictor.scoring import Columns

# A row group is kept until there are so many rows or bytes: the footer, which is in memory until the end, has an entry
# for each, and readers take each by itself.
GROUP_ROWS = 131_072
GROUP_BYTES = 64 * 2**20
REPEATED = ["input", "label", "error"]  # columns of few different values
SPECIAL = re.compile('[",\r\n]')


class Writer(Protocol):
    """Writes columns of equal length, as they come; `close` ends the file, not the stream."""

    def write(self, columns: Columns) -> None:
        """Write the rows of some columns; those of other names are left out."""

    def close(self) -> None:
        """Write what belongs at the end."""


class CsvWriter:
    """Comma-separated values as of RFC 4180, in UTF-8, with a header; lines end in a line feed.

    What is missing is an empty field; several labels stand in one, with ``|`` between them (as a JSON list if a name
    has one). Floats are as short as gives the same float64 again; a lone surrogate is U+FFFD.

    Parameters
    ----------
    stream : binary file
    names : sequence of str
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream, self._names = stream, names
        self._is_begun = False

    def write(self, columns: Columns) -> None:
        """Write some rows, the first time below the header."""
        rows = zip(*(columns[name] for name in self._names), strict=True)
        header = [] if self._is_begun else [self._names]
        self._is_begun = True
        lines = (",".join(map(_field, row)) + "\n" for row in chain(header, rows))
        self._stream.write("".join(lines).encode())

    def close(self) -> None:
        """Write the header if there was no row."""
        if not self._is_begun:
            self.write({name: [] for name in self._names})


def _field(cell: str | float | bool | tuple[str, ...] | None) -> str:
    if cell is None:
        return ""
    if isinstance(cell, tuple):
        cell = json.dumps(cell) if any("|" in name for name in cell) else "|".join(cell)
    if isinstance(cell, bool):
        return str(cell).lower()
    if not isinstance(cell, str):
        return repr(cell)
    text = SURROGATE.sub("\ufffd", cell)
    return '"' + text.replace('"', '""') + '"' if SPECIAL.search(text) else text


class JsonWriter:
    r"""One JSON object a line, in UTF-8; a lone surrogate is escaped (``\ud800``), so texts come back exactly.

    Parameters
    ----------
    stream : binary file
    names : sequence of str
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str]) -> None:
        self._stream, self._names = stream, names

    def write(self, columns: Columns) -> None:
        """Write some rows."""
        rows = zip(*(columns[name] for name in self._names), strict=True)
        lines = (
            json.dumps(dict(zip(self._names, row, strict=True)), ensure_ascii=False)
            for row in rows
        )
        text = "".join(f"{line}\n" for line in lines)
        self._stream.write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Nothing belongs at the end."""


class ParquetWriter:
    """Parquet: ``row`` int64, ``label`` as in training, probabilities float64, ``truncated`` bool.

    A lone surrogate is U+FFFD.

    Parameters
    ----------
    stream : binary file
    names : sequence of str
    label_type : {"int64", "string", "float64", "list"}
        ``list``: of strings.
    """

    def __init__(self, stream: BinaryIO, names: Sequence[str], label_type: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        label = pa.list_(pa.string()) if label_type == "list" else label_type
        types = {"row": "int64", "label": label, "truncated": "bool"}
        types |= dict.fromkeys(("input", "error", "text", "text_b"), "string")
        self._schema = pa.schema([(name, types.get(name, "float64")) for name in names])
        self._writer = pq.ParquetWriter(
            stream,
            self._schema,
            compression="zstd",
            use_dictionary=REPEATED,  # of the others it would take memory, and space
        )
        self._group: list[pa.Table] = []  # not written yet

    def write(self, columns: Columns) -> None:
        """Take some rows, and write those of a row group when it is large enough."""
        import pyarrow as pa

        wanted = {name: list(map(_valid, columns[name])) for name in self._schema.names}
        self._group.append(pa.table(wanted, schema=self._schema))
        n_rows = sum(table.num_rows for table in self._group)
        n_bytes = sum(table.nbytes for table in self._group)
        if n_rows >= GROUP_ROWS or n_bytes >= GROUP_BYTES:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._group:
            self._writer.write_table(pa.concat_tables(self._group))
            self._group = []

    def close(self) -> None:
        """Write the last row group and the footer."""
        self._write_group()
        self._writer.close()


def _valid(cell: Any) -> Any:  # Any: a cell of any type
    return SURROGATE.sub("\ufffd", cell) if isinstance(cell, str) else cell

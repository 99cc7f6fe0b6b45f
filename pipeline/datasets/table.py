"""The checked table every later stage reads, as it lies on disk: a text or a pair, one label and one split a row.

::

    rows.parquet   text (string), label (string or int64; double of a regression; list of strings of several labels),
                   split (string), line (int64),
                   exact (binary): UTF-8 with surrogates, only for a text that holds a lone one, which Parquet's
                   strings cannot; ``text`` has U+FFFD in its place,
                   text_b, exact_b: the same of the second text, only where a row has two,
                   slice (string, or null): only where a column to slice the report by was named
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.datasets.checks import Rows
from pipeline.datasets.labels import Label
from pipeline.errors import DataError, shown
from pipeline.pairs import Text, are_pairs, columns_of
from pipeline.storage import disk

FILE = "rows.parquet"
ROWS = 8_192  # texts in memory at once, where they are read block by block
SECOND = "_b"  # ends the names of the second text's columns
COLUMNS = ("text", "exact", f"text{SECOND}", f"exact{SECOND}")
SURROGATE = re.compile("[\ud800-\udfff]")
Labels = NDArray[np.int64] | NDArray[np.float64] | NDArray[np.object_]


@dataclass(frozen=True)
class Table:
    """Checked rows, in the order of the files: train, dev, test.

    Attributes
    ----------
    texts : sequence of str or of Pair, length n
        Exactly as in the file.
    labels : ndarray, shape (n,)
        int64 from typed integer columns, else object holding str; float64 of a regression; object holding tuples of
        str where a row may have several labels.
    splits : ndarray of object holding str, shape (n,)
        ``train``, ``dev`` or ``test``.
    lines : ndarray of int64, shape (n,)
        1-based line or row in the split's file.
    """

    texts: Sequence[Text]
    labels: Labels
    splits: NDArray[np.object_]
    lines: NDArray[np.int64]

    @classmethod
    def load(cls, directory: Path) -> "Table":
        """Read what a `TableWriter` wrote."""
        table = pq.read_table(directory / FILE)
        return cls(
            texts=_texts_of(table),
            labels=_labels_of(table),
            splits=np.array(table["split"].to_pylist(), dtype=object),
            lines=table["line"].to_numpy(),
        )


def load_labels(directory: Path, rows: NDArray[np.int64] | None = None) -> Labels:
    """Return the labels alone, as `Table.labels`, or those of some rows; texts stay on disk."""
    table = pq.read_table(directory / FILE, columns=["label"])
    return _labels_of(table if rows is None else table.take(rows))


def load_slices(directory: Path, rows: NDArray[np.int64]) -> list[str | None] | None:
    """Return what stands in the column to slice by, for some rows; None where no column was named."""
    path = directory / FILE
    if "slice" not in pq.read_schema(path).names:
        return None
    column = pq.read_table(path, columns=["slice"])["slice"]
    values: list[str | None] = column.take(rows).to_pylist()
    return values


def _labels_of(table: pa.Table) -> Labels:
    labels = table["label"]
    if pa.types.is_integer(labels.type) or pa.types.is_floating(labels.type):
        return np.asarray(labels.to_numpy())
    if pa.types.is_list(labels.type):
        return object_array([tuple(names) for names in labels.to_pylist()])
    names: dict[str, str] = {}  # one string a class, not one a row
    return np.array([names.setdefault(x, x) for x in labels.to_pylist()], dtype=object)


def object_array(values: Sequence[object]) -> NDArray[np.object_]:
    """Return an array of objects, shape (n,), whatever they are: numpy takes equally long tuples for rows."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _texts_of(table: pa.Table | pa.RecordBatch) -> Sequence[Text]:
    first = _column_of(table)
    if f"text{SECOND}" not in table.schema.names:
        return first
    return list(zip(first, _column_of(table, SECOND), strict=True))


def _column_of(table: pa.Table | pa.RecordBatch, which: str = "") -> list[str]:
    texts: list[str] = table[f"text{which}"].to_pylist()
    exact = table[f"exact{which}"]
    if exact.null_count < len(exact):
        for i, stored in enumerate(exact.to_pylist()):
            if stored is not None:
                texts[i] = stored.decode("utf-8", "surrogatepass")
    return texts


@dataclass(frozen=True)
class StoredRow:
    """A row's text or pair, split (``train``, ``dev`` or ``test``) and 1-based line."""

    text: Text
    split: str
    line: int


class StoredTexts:
    """The texts or pairs of a table, read block by block: in memory is one block, not the table.

    Parameters
    ----------
    directory : Path
        Where a `TableWriter` wrote.

    Attributes
    ----------
    are_pairs : bool
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        about = pq.read_metadata(self._path)
        sizes = [about.row_group(i).num_rows for i in range(about.num_row_groups)]
        self._starts = np.cumsum([0, *sizes])
        names = set(pq.read_schema(self._path).names)
        self.are_pairs = f"text{SECOND}" in names
        self._columns = [name for name in COLUMNS if name in names]

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self._starts[-1])

    def blocks(
        self, wanted: NDArray[np.bool_] | None = None
    ) -> Iterator[tuple[int, Sequence[Text]]]:
        """Yield the number of a block's first row and its texts, in order.

        Parameters
        ----------
        wanted : ndarray of bool, shape (n,), optional
            Blocks of which no row is wanted are not read.
        """
        with pq.ParquetFile(self._path) as file:
            for group, (begin, end) in enumerate(pairwise(self._starts.tolist())):
                if wanted is not None and not wanted[begin:end].any():
                    continue
                at = begin
                for batch in file.iter_batches(
                    ROWS, [group], self._columns, use_threads=False
                ):
                    yield at, _texts_of(batch)
                    at += batch.num_rows

    def of(self, rows: NDArray[np.int64]) -> Iterator[Text]:
        """Yield the texts of some rows, in the table's order; `rows` are to be ascending."""
        wanted = np.zeros(len(self), dtype=bool)
        wanted[rows] = True
        for begin, block in self.blocks(wanted):
            for i in np.flatnonzero(wanted[begin : begin + len(block)]).tolist():
                yield block[i]

    def at(self, rows: Sequence[int]) -> list[StoredRow]:
        """Return some rows, in the order of their numbers in `rows`; only their parts of the file are read."""
        found: dict[int, StoredRow] = {}
        groups = np.searchsorted(self._starts, rows, side="right") - 1
        with pq.ParquetFile(self._path) as file:
            for group in np.unique(groups).tolist():
                table = file.read_row_group(group, [*self._columns, "split", "line"])
                for row in (
                    row for row, at in zip(rows, groups, strict=True) if at == group
                ):
                    one = table.slice(row - int(self._starts[group]), 1)
                    place = one.to_pylist()[0]
                    (text,) = _texts_of(one)
                    found[row] = StoredRow(text, place["split"], place["line"])
        return [found[row] for row in rows]

    def name(self, row: int) -> str:
        """Return what people call a row: its split and line."""
        (found,) = self.at([row])
        return f"{found.split} line {found.line}"


class TableWriter:
    """Writes checked rows to ``rows.parquet`` as they come; a context manager.

    Parameters
    ----------
    directory : Path
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE
        self._writer: pq.ParquetWriter | None = None
        self._stream: BinaryIO | None = None

    def __enter__(self) -> "TableWriter":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish the file."""
        if self._stream is not None:
            with self._stream:
                if self._writer is not None:  # else its first bytes were refused
                    self._writer.close()

    def write(self, split: str, rows: Rows) -> None:
        """Append some rows of a split; the first decide whether labels are int64 or string."""
        if not rows.texts:
            return
        if self._writer is None:
            schema = _schema(rows)
            self._stream = disk.create(self._path)
            self._writer = pq.ParquetWriter(self._stream, schema, compression="zstd")
        n = len(rows.texts)
        columns = [
            *chain.from_iterable(map(_text_columns, columns_of(rows.texts))),
            _label_column(split, rows),
            pa.array([split] * n, pa.string()),
            pa.array(rows.lines, pa.int64()),
        ]
        if rows.slices is not None:
            values = [v and SURROGATE.sub("\ufffd", v) for v in rows.slices]
            columns.append(pa.array(values, pa.string()))
        self._writer.write_table(pa.table(columns, schema=self._writer.schema))


def _schema(rows: Rows) -> pa.Schema:
    second = {}
    if are_pairs(rows.texts):
        second = {f"text{SECOND}": pa.string(), f"exact{SECOND}": pa.binary()}
    fields = {
        "text": pa.string(),
        "exact": pa.binary(),
        **second,
        "label": _label_type(rows.labels[0]),
        "split": pa.string(),
        "line": pa.int64(),
    }
    if rows.slices is not None:
        fields["slice"] = pa.string()
    return pa.schema(list(fields.items()))


def _label_type(label: Label) -> pa.DataType:
    types = {int: pa.int64(), float: pa.float64(), tuple: pa.list_(pa.string())}
    return types.get(type(label), pa.string())


def _label_column(split: str, rows: Rows) -> pa.Array:
    try:
        return pa.array(rows.labels, _label_type(rows.labels[0]))
    except UnicodeEncodeError as error:
        broken = (i for i, x in enumerate(rows.labels) if _is_broken(x))
        i = next(broken)
        raise DataError(
            f"The label {shown(rows.labels[i])} of {split} row {rows.lines[i]:,} holds half a character (a lone "
            "surrogate). Rename the class."
        ) from error


def _is_broken(label: Label) -> bool:
    return bool(
        SURROGATE.search(
            "".join(map(str, label if isinstance(label, tuple) else [label]))
        )
    )


def _text_columns(texts: Sequence[str]) -> tuple[pa.Array, pa.Array]:
    """Return the texts, and the exact bytes of those that are no valid UTF-8."""
    try:
        return pa.array(texts, pa.string()), pa.nulls(len(texts), pa.binary())
    except UnicodeEncodeError:
        broken = [bool(SURROGATE.search(text)) for text in texts]
        exact = [
            text.encode("utf-8", "surrogatepass") if is_broken else None
            for text, is_broken in zip(texts, broken, strict=True)
        ]
        shown = [SURROGATE.sub("\ufffd", text) for text in texts]
        return pa.array(shown, pa.string()), pa.array(exact, pa.binary())

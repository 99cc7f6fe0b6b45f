"""Small raw tables for tests, and what comes out of them."""

import gzip
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.raw import Doubts, RawTable
from pipeline.datasets.sources import open_stream
from pipeline.datasets.table import Table
from pipeline.datasets.typed import TypedTable


@dataclass(frozen=True)
class ReadOut:
    """A raw table that was read to its end."""

    names: list[str]
    rows: list[list[Any]]
    lines: list[int]
    notes: dict[str, object]
    doubts: Doubts

    def column(self, name: str) -> list[Any]:
        return [row[self.names.index(name)] for row in self.rows]


def read_out(raw: RawTable) -> ReadOut:
    """Read all columns to the end, and close the table."""
    rows: list[list[Any]] = []
    lines: list[int] = []
    for batch in raw.read(range(len(raw.names))):
        rows += map(list, zip(*batch.columns, strict=True))
        lines += batch.lines
    raw.close()
    return ReadOut(raw.names, rows, lines, raw.notes, raw.doubts)


def opened(data: str | bytes, form: str = "tsv", **options: Any) -> RawTable:
    """Return the table in the bytes of a text file ``my.<form>``."""
    if isinstance(data, str):
        data = data.encode()
    return open_stream(io.BytesIO(data), f"my.{form}", form, DatasetSpec(**options))


def typed(
    texts: Any,
    labels: Any,
    **more: Any,
) -> TypedTable:
    """Return a raw table of these columns as Parquet or the hub gives it; a Series as Arrow would hold it."""
    columns = {"text": texts, "label": labels, **more}
    cells = {name: _cells(column) for name, column in columns.items()}
    names = list(cells)
    head = list(zip(*cells.values(), strict=True))
    return TypedTable(
        names,
        lambda wanted: iter([{name: cells[name] for name in wanted}]),
        [*head],
        "my.parquet",
    )


def _cells(column: Any) -> list[Any]:
    if isinstance(column, pd.Series):
        found = pa.Array.from_pandas(column)
        return list(found.to_pylist())
    if isinstance(column, np.ndarray):
        return list(column.tolist())
    return list(column)


def labelled(*pairs: tuple[str, int]) -> RawTable:
    """Return a raw table of a TSV with a header and these (label, count) rows, each text another."""
    labels = [label for label, count in pairs for _ in range(count)]
    lines = [f"text {i}\t{label}" for i, label in enumerate(labels)]
    return opened("text\tlabel\n" + "\n".join(lines))


def make(spec: Any = None, **raws: Any) -> tuple[Table, dict[str, Any]]:
    """Run `make_table` in a temporary folder; return the table and its ledger."""
    with TemporaryDirectory() as folder:
        ledger = make_table(raws, spec or DatasetSpec(), Path(folder))
        json.dumps(ledger, allow_nan=False)  # as the manifest will hold it
        return Table.load(Path(folder)), ledger


def packed(data: str | bytes) -> bytes:
    """Return gzip bytes, the same each time."""
    return gzip.compress(data.encode() if isinstance(data, str) else data, mtime=0)


def write_parquet(path: Path, labels: Sequence[object], **columns: Any) -> Path:
    """Write a Parquet file of numbered texts with these labels, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"text {i}" for i in range(len(labels))]
    pd.DataFrame({"text": texts, "label": labels, **columns}).to_parquet(path)
    return path

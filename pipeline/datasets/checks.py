"""The rows of one split as they pass: valid text, valid label, or a reason why not."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.config import DatasetSpec
from pipeline.datasets.columns import Columns
from pipeline.datasets.labels import Label
from pipeline.datasets.raw import Batch, Cells, RawTable, is_missing
from pipeline.datasets.text_cells import TextCells, are_plain
from pipeline.errors import DataError, shown
from pipeline.pairs import Text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Some checked rows of one split.

    Attributes
    ----------
    texts : sequence of str or of Pair
    labels : list of int, str, float or tuple of str
        All of one type.
    lines : list of int
        As in `pipeline.datasets.raw.Batch`.
    slices : list of str or None, optional
        What stands in the column to slice by, as a text; None where a cell is empty.
    """

    texts: Sequence[Text]
    labels: list[Label]
    lines: list[int]
    slices: list[str | None] | None = None


class SplitRows:
    """Checks the rows of one split while they pass, and says at the end what was wrong.

    Parameters
    ----------
    raw : RawTable
    split : {"train", "dev", "test"}
    columns : Columns
    spec : DatasetSpec
        Empty-text policy and limit.
    kinds : set of str
        Type names of the labels seen so far, in any split; added to.
    """

    def __init__(
        self,
        raw: RawTable,
        split: str,
        columns: Columns,
        spec: DatasetSpec,
        kinds: set[str],
    ) -> None:
        self._raw, self._split, self._spec = raw, split, spec
        self._columns = columns
        self._texts = [
            TextCells(name, spec.empty_text, is_of_pair=len(columns.texts) > 1)
            for name in columns.texts
        ]
        self._labels = columns.labels.reader(raw, kinds)
        self._n = self._used = 0

    def batches(self) -> Iterator[Rows]:
        """Yield the valid rows; call `finish` afterwards."""
        wanted = list(map(self._raw.names.index, self._columns.read))
        limit = (self._spec.limit or None) if self._split == "train" else None
        for batch in self._raw.read(wanted, limit):
            yield self._clean(batch)
        self._raw.close()

    def _clean(self, batch: Batch) -> Rows:
        self._n += len(batch.lines)
        n_texts = len(self._texts)
        texts, further = batch.columns[:n_texts], batch.columns[n_texts:]
        slices = None
        if self._columns.slices is not None:
            slices = [_slice_of(cell) for cell in further.pop(0)]
        plain = self._labels.plain(further) if all(map(are_plain, texts)) else None
        if plain is not None:
            self._used += len(batch.lines)
            return Rows(_rows_of(texts), plain, batch.lines, slices)
        columns = [
            [column.text_of(*cell) for cell in zip(cells, batch.lines, strict=True)]
            for column, cells in zip(self._texts, texts, strict=True)
        ]
        found = map(self._labels.read, zip(*further, strict=True), batch.lines)
        kept = [
            (i, label)
            for i, (*row, label) in enumerate(zip(*columns, found, strict=True))
            if label is not None and None not in row
        ]
        self._used += len(kept)
        return Rows(
            _rows_of([[cells[i] for i, _ in kept] for cells in columns]),
            [label for _, label in kept],
            [batch.lines[i] for i, _ in kept],
            None if slices is None else [slices[i] for i, _ in kept],
        )

    def finish(self, counts: "Counter[Label]") -> dict[str, object]:
        """Return what was found in the split.

        Parameters
        ----------
        counts : Counter
            Labels of the valid rows of the split, and of train.

        Raises
        ------
        DataError
            Names the first lines of the first kind of bad row.
        """
        notes: dict[str, object] = {**self._raw.notes, "rows_read": self._n}
        read = self._columns.read
        ignored = [name for name in self._raw.names if name not in read]
        if ignored:
            notes["ignored_columns"] = ignored
        hidden = self._labels.hidden.count
        if hidden and hidden == self._n:
            if self._split == "train":
                raise DataError(
                    f"Every label of {self._raw.path} is -1, which marks rows without a label. "
                    "Pass a training file with labels, or --label-column."
                )
            return {**notes, "unlabelled": True}
        self._refuse()
        self._settle_doubts(counts)
        notes.update(self._labels.notes)
        empty = sum(column.empty.count for column in self._texts)
        return {**notes, "empty_texts": empty, "rows_used": self._used}

    def _refuse(self) -> None:
        for column in self._texts:
            column.refuse(self._raw.path)
        self._labels.refuse()

    def _settle_doubts(self, counts: "Counter[Label]") -> None:
        """Refuse rows that were surely read wrongly, as their labels tell; warn of the others."""
        path, doubts = self._raw.path, self._raw.doubts
        merged = [
            line
            for label, (_, line) in doubts.swallowed.items()
            if self._labels.could_be(label, counts)
        ]
        if merged:
            raise DataError(
                f"{path}:{min(merged)} has a quoted text that holds whole rows. A stray quote merged them: double it, "
                "name the file .tsv or .txt if quotes are plain characters, or write .jsonl if the text is meant so."
            )
        moved = [
            (label, n, line)
            for label, (n, line) in doubts.wide_labels.items()
            if self._labels.occurrences(label, counts) == n
        ]
        if moved and doubts.wide.count == self._n:
            raise DataError(
                f"Every row of {path} has more fields than the {len(self._raw.names)} columns of its first line. "
                "Name all columns there, or pass --header no."
            )
        if moved:
            label, _, line = moved[0]
            raise DataError(
                f"{sum(n for _, n, _ in moved):,} rows of {path} have extra fields and a label that no other row has, "
                f"such as {shown(label)} on line {line}. A separator inside the text moved it: quote the text in a "
                ".csv, or take the separator out."
            )
        if doubts.wide.count:
            logger.warning(
                "%s: %s rows have more than %s fields, what is too much is ignored: lines %s",
                path,
                f"{doubts.wide.count:,}",
                len(self._raw.names),
                doubts.wide,
            )


def _rows_of(columns: list[Cells]) -> Sequence[Text]:
    """Return the texts of one column, or the pairs of two."""
    if len(columns) == 1:
        return columns[0]
    first, second = columns
    return list(zip(first, second, strict=True))


def _slice_of(cell: Any) -> str | None:  # Any: a cell
    """Return a cell of the column to slice by as a text; None where it is empty."""
    return None if is_missing(cell) else str(cell).strip() or None

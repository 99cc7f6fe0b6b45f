"""The checked table every later stage reads: one text, one label and one split a row.

A table is made from raw tables once (`make_table`), written as Parquet and read back as it was.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.config import DatasetSpec
from pipeline.datasets.readers import LABEL_NAMES, TEXT_NAMES, RawTable, find_column
from pipeline.errors import DataError, listed, shown

FILE = "rows.parquet"
Json = dict[str, Any]  # Any: JSON values
# Labels that train lacks may stand on fewer than this share of a split's rows; they count as wrong.
RARE_SHARE = 0.01
MANY_ROWS = 20  # from here on, labels that hardly ever repeat are refused


@dataclass(frozen=True)
class Table:
    """Checked rows, in the order of the files.

    Attributes
    ----------
    texts : list of str, length n
        Exactly as in the file.
    labels : ndarray, shape (n,)
        int64 from typed integer columns, else object holding str.
    splits : ndarray of object holding str, shape (n,)
        ``train``, ``dev`` or ``test``.
    lines : ndarray of int64, shape (n,)
        1-based line or row in the split's file.
    """

    texts: list[str]
    labels: NDArray[np.int64] | NDArray[np.object_]
    splits: NDArray[np.object_]
    lines: NDArray[np.int64]

    def save(self, directory: Path) -> None:
        """Write the rows to `directory`."""
        frame = pd.DataFrame(
            {
                "text": self.texts,
                "label": self.labels,
                "split": self.splits,
                "line": self.lines,
            }
        )
        frame.to_parquet(directory / FILE, index=False)

    @classmethod
    def load(cls, directory: Path) -> "Table":
        """Read what `save` wrote."""
        frame = pd.read_parquet(directory / FILE)
        typed = pd.api.types.is_integer_dtype(frame["label"])
        return cls(
            texts=frame["text"].tolist(),
            labels=frame["label"].to_numpy(np.int64)
            if typed
            else frame["label"].to_numpy(object),
            splits=frame["split"].to_numpy(object),
            lines=frame["line"].to_numpy(np.int64),
        )


def make_table(raws: dict[str, RawTable], spec: DatasetSpec) -> tuple[Table, Json]:
    """Return the checked table of the given splits, and its ledger: what was found and done.

    Parameters
    ----------
    raws : dict of split name to RawTable
        ``train`` is required.
    spec : DatasetSpec
        Columns, empty-text policy and limit.

    Raises
    ------
    DataError
        If columns cannot be told, a text or label is missing, there are fewer than two classes,
        or a split has labels that train lacks.
    """
    text_name, label_name = choose_columns(raws["train"], spec)
    parts: list[pd.DataFrame] = []
    ledger: Json = {"text_column": text_name, "label_column": label_name}
    per_split: Json = {}
    for split, raw in raws.items():
        missing = {text_name, label_name}.difference(raw.frame.columns)
        if missing == {label_name} and split == "test":  # usual: labels are hidden
            per_split[split] = {
                **raw.notes,
                "rows_read": len(raw.frame),
                "unlabelled": True,
            }
            continue
        if missing:
            raise DataError(
                f"{raw.path} has no column {', '.join(map(repr, sorted(missing)))} "
                f"(columns: {', '.join(raw.frame.columns)}), but the train file has. Make the headers equal."
            )
        frame, notes = _clean(raw, split, text_name, label_name, spec)
        per_split[split] = {**raw.notes, **notes}
        if frame is not None:
            parts.append(frame)
    rows = pd.concat(parts, ignore_index=True)
    labels = _typed_labels(rows["label"])
    splits = rows["split"].to_numpy(object)
    table = Table(
        rows["text"].tolist(), labels, splits, rows["line"].to_numpy(np.int64)
    )
    _check_classes(table)
    _check_first_line(raws["train"], table, spec)
    ledger["splits"] = per_split
    ledger["texts"] = _text_facts(table)
    return table, ledger


def choose_columns(raw: RawTable, spec: DatasetSpec) -> tuple[str, str]:
    """Return the names of the text and the label column of `raw`.

    Raises
    ------
    DataError
        If the options and the known names leave it open; lists the columns.
    """
    names: list[str] = list(raw.frame.columns)
    if len(names) == 1 and "blank_lines" in raw.notes:  # a text file
        raise DataError(
            f"Only one column in {raw.path}: {shown(names[0] if raw.notes.get('header') else raw.frame.iloc[0, 0])}. "
            "Pass --separator with what stands between text and label."
        )
    text = find_column(raw, spec.text_column, TEXT_NAMES, "text-column")
    label = find_column(raw, spec.label_column, LABEL_NAMES, "label-column")
    if len(names) == 2 and (text is None or label is None):
        if text is None and label is None:
            text = _wordier(raw.frame, names)
        text = text or next(name for name in names if name != label)
        label = label or next(name for name in names if name != text)
    if text is None or label is None:
        wanted = "text" if text is None else "label"
        raise DataError(
            f"Which column of {raw.path} holds the {wanted}? Found: {', '.join(names)}. "
            f"Pass --{wanted}-column with a name or a 1-based number."
        )
    if text == label:
        raise DataError(
            f"Column {text!r} of {raw.path} cannot be both text and label. Pass --label-column."
        )
    return text, label


def _wordier(frame: pd.DataFrame, names: list[str]) -> str:
    """Return the one of two columns with more distinct values; the longer one if equal."""
    return max(
        names,
        key=lambda name: (
            frame[name].astype(str).nunique(),
            frame[name].astype(str).str.len().mean(),
        ),
    )


def _clean(
    raw: RawTable, split: str, text_name: str, label_name: str, spec: DatasetSpec
) -> tuple[pd.DataFrame | None, dict[str, object]]:
    """Return the split's rows with valid text and label, and counts; None if it has no labels."""
    frame = pd.DataFrame(
        {
            "text": raw.frame[text_name],
            "label": raw.frame[label_name],
            "line": raw.lines,
        }
    )
    frame["split"] = split
    notes: dict[str, object] = {"rows_read": len(frame)}
    if split == "train" and spec.limit:
        frame = frame.head(spec.limit)
    if split != "train" and _is_unlabelled(frame["label"]):
        return None, {**notes, "unlabelled": True}
    wrong_type = [
        not isinstance(text, str) and not _is_missing(text) for text in frame["text"]
    ]
    if any(wrong_type):
        value = frame["text"][wrong_type].iloc[0]
        raise DataError(
            f"Column {text_name!r} of {raw.path} holds {type(value).__name__} values, expected texts: "
            f"rows {listed(frame['line'][wrong_type].tolist())}. Pass --text-column."
        )
    empty = np.array(
        [_is_missing(text) or not text.strip() for text in frame["text"]], dtype=bool
    )
    notes["empty_texts"] = int(empty.sum())
    if empty.any() and spec.empty_text == "error":
        raise DataError(
            f"{int(empty.sum()):,} empty texts in {raw.path}: lines {listed(frame['line'][empty].tolist())}. "
            "Fill them, or pass --empty-text drop (or keep)."
        )
    if spec.empty_text == "drop":
        frame = frame[~empty]
    frame = frame.assign(
        text=[text if isinstance(text, str) else "" for text in frame["text"]]
    )
    missing = frame["label"].isna() | (frame["label"].astype(str).str.strip() == "")
    if missing.any():
        raise DataError(
            f"{int(missing.sum()):,} rows of {raw.path} have no label: lines "
            f"{listed(frame['line'][missing].tolist())}. Label or remove them."
        )
    hidden = frame["label"].astype(str) == "-1"
    if hidden.any():
        raise DataError(
            f"{int(hidden.sum()):,} rows of {raw.path} have the label -1, which marks rows without a label: lines "
            f"{listed(frame['line'][hidden].tolist())}. Remove them, or name the class otherwise."
        )
    notes["rows_used"] = len(frame)
    return frame, notes


def _is_missing(value: Any) -> bool:  # Any: whatever a cell of a Parquet file holds
    return pd.api.types.is_scalar(value) and bool(pd.isna(value))


def _is_unlabelled(labels: "pd.Series") -> bool:
    """Tell whether every label of a split is -1, as hub sets mark hidden test labels."""
    return bool((labels.astype(str) == "-1").all())


def _typed_labels(column: "pd.Series") -> NDArray[np.int64] | NDArray[np.object_]:
    if pd.api.types.is_bool_dtype(column) or pd.api.types.is_integer_dtype(column):
        if len(column) and column.max() > np.iinfo(np.int64).max:
            raise DataError(
                f"Label {column.max()} does not fit 64 bits. Write such labels as texts."
            )
        return column.to_numpy(np.int64)
    if all(isinstance(label, str) for label in column):
        return np.array([label.strip() for label in column], dtype=object)
    if all(isinstance(label, (int, np.integer)) for label in column):
        return np.array(column.tolist(), dtype=np.int64)
    kinds = ", ".join(sorted({type(label).__name__ for label in column}))
    raise DataError(
        f"Labels are of type {kinds}, expected texts or whole numbers. Convert the label column."
    )


def _check_classes(table: Table) -> None:
    train = Counter(table.labels[table.splits == "train"].tolist())
    if not train:
        raise DataError(
            "No training rows are left after dropping empty texts. Check the file."
        )
    if len(train) < 2:
        raise DataError(
            f"All {sum(train.values()):,} training rows have the label {shown(next(iter(train)))}; "
            "a classifier needs at least two classes. Check --label-column, or raise --limit."
        )
    n = sum(train.values())
    if n >= MANY_ROWS and len(train) > n / 2:
        examples = ", ".join(shown(label) for label in list(train)[:3])
        raise DataError(
            f"{len(train):,} different labels in {n:,} training rows, such as {examples}: an id or a measure rather "
            "than a class? Pass --label-column."
        )
    for split in ("dev", "test"):
        found = Counter(table.labels[table.splits == split].tolist())
        unknown = {label: count for label, count in found.items() if label not in train}
        if (
            sum(unknown.values()) >= RARE_SHARE * max(1, sum(found.values()))
            and unknown
        ):
            counts = ", ".join(
                f"{shown(label)} ({count:,})"
                for label, count in sorted(unknown.items(), key=str)[:10]
            )
            raise DataError(
                f"Labels of the {split} rows that no training row has: {counts}. "
                "Add training rows with them, or remove them."
            )


def _check_first_line(raw: RawTable, table: Table, spec: DatasetSpec) -> None:
    """Refuse a label that only the first line has, where nobody said whether that is a header."""
    if spec.header != "auto" or raw.notes.get("header") is not False:
        return
    first, train = table.labels[0], table.labels[table.splits == "train"]
    if len(train) >= MANY_ROWS and (train == first).sum() == 1:
        raise DataError(
            f"The label {shown(str(first))} stands only in the first line of {raw.path}: a header? "
            "Pass --header yes, or --header no if it is a row."
        )


def _text_facts(table: Table) -> dict[str, object]:
    seen: dict[str, set[object]] = {}
    for text, label in zip(table.texts, table.labels.tolist(), strict=True):
        seen.setdefault(text, set()).add(label)
    train = table.labels[table.splits == "train"].tolist()
    return {
        "rows": len(table.texts),
        "distinct": len(seen),
        "duplicates": len(table.texts) - len(seen),
        "conflicting": sum(1 for labels in seen.values() if len(labels) > 1),
        "train_labels": {
            str(label): count
            for label, count in sorted(Counter(train).items(), key=str)
        },
    }

"""From raw tables to the checked one and its ledger, in one pass and bounded memory."""

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import DatasetSpec
from pipeline.datasets.checks import SplitRows
from pipeline.datasets.columns import Columns, choose_columns, described
from pipeline.datasets.labels import Label, LabelColumns
from pipeline.datasets.ledger import SPLITS, Ledger
from pipeline.datasets.raw import RawTable
from pipeline.datasets.table import TableWriter
from pipeline.errors import DataError, shown

logger = logging.getLogger(__name__)
Json = dict[str, Any]  # Any: JSON values
# Labels that train lacks may stand on fewer than this share of a split's rows; they count as wrong.
RARE_SHARE = 0.01
SMALLEST_RANGE = 1e-100  # of numbers: squares of less are 0
MANY_ROWS = 20  # from here on, labels that hardly ever repeat are refused


def make_table(
    raws: dict[str, RawTable],
    spec: DatasetSpec,
    directory: Path,
    on_rows: Callable[[int], None] | None = None,
) -> Json:
    """Write the checked rows of the given splits into `directory`, and return their ledger.

    Parameters
    ----------
    raws : dict of split name to RawTable
        ``train`` is required.
    spec : DatasetSpec
        Columns, empty-text policy and limit.
    directory : Path
        Gets ``rows.parquet``, see `pipeline.datasets.table`.
    on_rows : callable (int) -> None, optional
        Called with the number of rows written so far.

    Raises
    ------
    DataError
        If columns cannot be told, a text or label is missing, there is nothing to learn because all labels are the
        same, or a split has labels that train lacks.
    """
    columns = choose_columns(raws["train"], spec)
    _check_headers(raws)
    notes: Json = {}
    kinds: set[str] = set()
    with Ledger(directory, columns.labels.task) as ledger:
        with TableWriter(directory) as writer:
            for split in (name for name in SPLITS if name in raws):
                raw = raws[split]
                if _has_no_labels(raw, split, columns):
                    notes[split] = _count(raw, columns.texts)
                    continue
                rows = SplitRows(raw, split, columns, spec, kinds)
                for batch in rows.batches():
                    writer.write(split, batch)
                    ledger.add(split, batch)
                    if on_rows is not None:
                        on_rows(ledger.rows)
                known = ledger.labels["train"]
                if split != "train":
                    known = known + ledger.labels[split]
                notes[split] = rows.finish(known)
                _check_first_line(raw, spec, known, columns.labels)
        _check_labels(ledger, columns.labels)
        facts = ledger.facts()
    if facts["conflicting"]:
        first = facts["conflicts"][0]["rows"]
        places = " and ".join(
            f"{r['split']} {r['line']}: {shown(r['label'])}" for r in first
        )
        logger.warning(
            "%s texts have several labels, for example %s",
            f"{facts['conflicting']:,}",
            places,
        )
    sliced = {"slice_column": columns.slices} if columns.slices else {}
    return {
        "task": columns.labels.task,
        "text_column": columns.text,
        "label_column": columns.labels.name,
        **_label_names(ledger, columns.labels),
        **sliced,
        "splits": notes,
        "texts": facts,
    }


def _check_headers(raws: dict[str, RawTable]) -> None:
    """Refuse text files of which some have a header and others, it seems, have none."""
    texts = [raw for raw in raws.values() if raw.is_text]
    with_header = [raw.path for raw in texts if raw.has_header]
    without = [raw.path for raw in texts if not raw.has_header]
    if with_header and without:
        raise DataError(
            f"{with_header[0]} seems to have a header, {without[0]} seems to have none. "
            "Pass --header yes or --header no."
        )


def _has_no_labels(raw: RawTable, split: str, columns: Columns) -> bool:
    """Tell whether a split comes without labels, as test files often do.

    Raises
    ------
    DataError
        If another column that train has is missing.
    """
    missing = set(columns.read).difference(raw.names)
    has_texts = missing.isdisjoint(columns.texts)
    if split == "test" and has_texts and missing.issuperset(columns.labels.names):
        return True
    if missing:
        raise DataError(
            f"{raw.path} has no column {', '.join(map(repr, sorted(missing)))} "
            f"(columns: {described(raw)}), but the train file has. Make the headers equal; only test may lack labels."
        )
    return False


def _count(raw: RawTable, texts: tuple[str, ...]) -> Json:
    """Read a split without labels to its end."""
    wanted = list(map(raw.names.index, texts))
    n = sum(len(batch.lines) for batch in raw.read(wanted))
    raw.close()
    return {**raw.notes, "rows_read": n, "unlabelled": True}


def _label_names(ledger: Ledger, labels: LabelColumns) -> Json:
    """Return the labels that a row may have several of, in their order: that of the columns, else sorted."""
    if labels.task != "multilabel":
        return {}
    names = labels.names if len(labels.names) > 1 else sorted(ledger.labels["train"])
    separator = {"label_separator": labels.separator} if labels.separator else {}
    return {"label_names": list(names), **separator}


def _check_labels(ledger: Ledger, labels: LabelColumns) -> None:
    """Refuse labels of which nothing can be learnt."""
    if not ledger.n_rows["train"]:
        raise DataError(
            "No training rows are left after dropping empty texts. Check the file."
        )
    if labels.task == "regression":
        _check_values(ledger)
    elif labels.task == "multilabel":
        _check_sets(ledger, labels)
    else:
        _check_classes(ledger.labels)


def _check_values(ledger: Ledger) -> None:
    values = ledger.values["train"]
    low, high = min(values), max(values)
    if low == high:
        raise DataError(
            f"All {len(values):,} training rows have the value {low:g}; there is nothing to learn. "
            "Check --label-column, or raise --limit."
        )
    if high - low < SMALLEST_RANGE:
        raise DataError(
            f"The values of the {len(values):,} training rows differ by {high - low:.2g} at most, expected "
            f"{SMALLEST_RANGE:g} or more to compute with. Multiply them."
        )


def _check_sets(ledger: Ledger, labels: LabelColumns) -> None:
    n, found = ledger.n_rows["train"], ledger.labels["train"]
    names = labels.names if len(labels.names) > 1 else tuple(found)
    varying = [name for name in names if 0 < found[name] < n]
    if len(names) == 1:
        raise DataError(
            f"The only label of the training rows is {shown(names[0])}: with it or without it are two classes. "
            "Write them as such, or raise --limit."
        )
    if not varying:
        raise DataError(
            f"No label stands on some of the {n:,} training rows and not on others; there is nothing to learn. "
            "Check --label-column, or raise --limit."
        )
    if n >= MANY_ROWS and len(names) > n / 2 and len(labels.names) == 1:
        raise DataError(
            f"{len(names):,} different labels in {n:,} training rows, such as {shown(varying[0])}: ids rather than "
            "labels? Pass --label-column."
        )
    if len(varying) < len(names):
        same = ", ".join(shown(name) for name in names if name not in varying)
        logger.warning(
            "Labels that all training rows have, or none, cannot be learnt: %s", same
        )
    for split in ("dev", "test"):
        known = Counter(dict.fromkeys(names, 1))
        _check_unknown(split, ledger.labels[split], known, "no figure counts them")


def _check_classes(labels: dict[str, "Counter[Label]"]) -> None:
    train = labels["train"]
    n = train.total()
    if len(train) < 2:
        raise DataError(
            f"All {n:,} training rows have the label {shown(next(iter(train)))}; "
            "a classifier needs at least two classes. Check --label-column, or raise --limit."
        )
    if n >= MANY_ROWS and len(train) > n / 2:
        examples = ", ".join(shown(label) for label in list(train)[:3])
        raise DataError(
            f"{len(train):,} different labels in {n:,} training rows, such as {examples}: an id or a measure rather "
            "than a class? Pass --label-column, or --task regression."
        )
    for split in ("dev", "test"):
        _check_unknown(split, labels[split], train, "these rows count as wrong")


def _check_unknown(
    split: str, found: "Counter[Label]", train: "Counter[Label]", so: str
) -> None:
    """Refuse labels that train lacks, or warn where they are rare."""
    unknown = {label: count for label, count in found.items() if label not in train}
    if not unknown:
        return
    counts = ", ".join(
        f"{shown(label)} ({count:,})"
        for label, count in sorted(unknown.items(), key=str)[:10]
    )
    if sum(unknown.values()) >= RARE_SHARE * found.total():
        raise DataError(
            f"Labels of the {split} rows that no training row has: {counts}. "
            "Add training rows with them, or remove them."
        )
    logger.warning(
        "Labels of the %s rows that no training row has: %s; %s.", split, counts, so
    )


def _check_first_line(
    raw: RawTable, spec: DatasetSpec, known: "Counter[Label]", labels: LabelColumns
) -> None:
    """Refuse a label that only the first line has, where nobody said whether that is a header.

    `known` counts the labels of the split, and of train.
    """
    is_asked = spec.header != "auto" or not raw.is_text or raw.has_header
    if is_asked or labels.task != "classification":
        return
    first = raw.head[0][raw.names.index(labels.name)].strip()
    if known.total() >= MANY_ROWS and known[first] == 1:
        raise DataError(
            f"The label {shown(first)} stands only in the first line of {raw.path}: a header? "
            "Pass --header yes, or --header no if it is a row."
        )

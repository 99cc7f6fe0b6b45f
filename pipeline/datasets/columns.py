"""Which column holds the text, which the label, and which the values to slice the report by."""

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

from pipeline.config import DatasetSpec
from pipeline.datasets.labels import LabelColumns, is_flag, separator_of, task_of
from pipeline.datasets.raw import RawTable, is_missing
from pipeline.datasets.text import LABEL_NAMES, TEXT_NAMES
from pipeline.errors import DataError, shown

MOST = 0.9  # of a column's first cells are 0 or 1 where it is meant to be a label
MANY_COLUMNS = 50  # as many as a message lists
PAIR_SIGN = ","  # between the names of the two columns of a pair


class Columns(NamedTuple):
    """The names of the columns that are read: a text or a pair; `slices` is None where none was asked for."""

    texts: tuple[str, ...]
    labels: LabelColumns
    slices: str | None = None

    @property
    def read(self) -> list[str]:
        """Return the names of the texts, of what to slice by if asked for, and of the labels, in this order."""
        sliced = [] if self.slices is None else [self.slices]
        return [*self.texts, *sliced, *self.labels.names]

    @property
    def text(self) -> str:
        """Return what people call the text: its column, or both of a pair as ``A,B``."""
        return PAIR_SIGN.join(self.texts)


def choose_columns(raw: RawTable, spec: DatasetSpec) -> Columns:
    """Return the names of the columns of `raw` that are to be read.

    Raises
    ------
    DataError
        If the options and the known names leave it open; lists the columns.
    """
    names = raw.names
    if len(names) == 1 and raw.is_text:
        example = names[0] if raw.has_header else raw.head[0][0]
        raise DataError(
            f"Only one column in {raw.path}: {shown(example)}. "
            "Pass --separator with what stands between text and label."
        )
    texts = _find_texts(raw, spec.text_column)
    labels = _named_labels(raw, spec)
    if len(names) == 2 and not texts:
        texts = (
            next(
                (name for name in names if labels and name not in labels), _wordier(raw)
            ),
        )
    if len(names) == len(texts) + 1:
        labels = labels or [name for name in names if name not in texts]
    slices = _slices(raw, spec)
    if not texts:
        raise _unclear(raw, "text")
    if not labels and spec.task in ("auto", "multilabel"):
        labels = _flags(raw, besides=(*texts, slices))
    if not labels:
        raise _unclear(raw, "label")
    twice = [name for name in labels if name in texts]
    if twice:
        raise DataError(
            f"Column {twice[0]!r} of {raw.path} cannot be both text and label. Pass --label-column."
        )
    if slices is not None and slices in (*texts, *labels):
        raise DataError(
            f"Column {slices!r} of {raw.path} is the text or the label already. Pass another --slice-column."
        )
    return Columns(texts, _label_columns(raw, labels, spec.task), slices)


def _named_labels(raw: RawTable, spec: DatasetSpec) -> list[str]:
    """Return the label columns that the option or a known name points at; several as ``A,B``."""
    whole, *parts = names_in(spec.label_column)
    wanted = [whole] if whole in raw.names or not parts else parts
    found = [find_column(raw, one, LABEL_NAMES, "label-column") for one in wanted]
    labels = [name for name in found if name is not None]
    if len(set(labels)) < len(labels):
        raise DataError(
            f"--label-column is {shown(spec.label_column)}, which names a column of {raw.path} twice. Name each once."
        )
    return labels


def _slices(raw: RawTable, spec: DatasetSpec) -> str | None:
    if not spec.slice_column:
        return None
    slices = find_column(raw, spec.slice_column, (), "slice-column")
    if slices is None:  # the word auto, which means something for the others
        raise DataError(
            f"--slice-column has to name a column of {raw.path}: {described(raw)}."
        )
    return slices


def _flags(raw: RawTable, besides: Sequence[str | None]) -> list[str]:
    """Return the columns of zeros and ones, if there are several."""
    found = [
        name
        for i, name in enumerate(raw.names)
        if name not in besides
        and _are_flags([row[i] for row in raw.head if len(row) > i])
    ]
    return found if len(found) > 1 else []


def _are_flags(cells: Sequence[Any]) -> bool:  # Any: cells
    """Tell whether cells are zeros and ones but for a few, which are refused later by their line."""
    given = [cell for cell in cells if not is_missing(cell) and cell != ""]
    return sum(map(is_flag, given)) >= max(1, MOST * len(given))


def _label_columns(raw: RawTable, names: list[str], task: str) -> LabelColumns:
    """Return the label columns with what they hold, as the option or the first rows say.

    Raises
    ------
    DataError
        If several columns are to be one label.
    """
    if len(names) > 1:
        if task not in ("auto", "multilabel"):
            raise DataError(
                f"--task {task} takes one label column, got {', '.join(map(repr, names))}. Pass --label-column."
            )
        return LabelColumns("multilabel", tuple(names))
    i = raw.names.index(names[0])
    cells = [row[i] for row in raw.head if len(row) > i]
    if task == "auto":
        task = task_of(cells, is_text=raw.is_text)
    separator = separator_of(cells) if task == "multilabel" else ""
    return LabelColumns(task, (names[0],), separator)


def choose_text_columns(raw: RawTable, spec: DatasetSpec) -> tuple[str, ...]:
    """Return the names of the text columns of rows that need no label: the only one, or what training would take.

    Raises
    ------
    DataError
        If the options and the known names leave it open, or either of two columns may be it, as no label tells them
        apart here; lists the columns.
    """
    names = raw.names
    texts = _find_texts(raw, spec.text_column)
    if not texts and len(names) == 1:
        texts = (names[0],)
    if not texts and len(names) == 2:
        label = find_column(raw, "auto", LABEL_NAMES, "label-column")
        text = next((n for n in names if label and n != label), None)
        if text is None and not all(_are_phrases(raw, i) for i in (0, 1)):
            text = _wordier(raw)
        texts = (text,) if text else ()
    if not texts:
        raise _unclear(raw, "text")
    return texts


def names_in(option: str) -> tuple[str, ...]:
    """Return every column that an option may mean: the whole word, and its parts where it holds a comma."""
    parts = option.split(PAIR_SIGN)
    return (option,) if len(parts) == 1 else (option, *map(str.strip, parts))


def _find_texts(raw: RawTable, wanted: str) -> tuple[str, ...]:
    """Return the names of one column or two; none where nothing points at any.

    A column whose own name holds a comma is that one column.

    Raises
    ------
    DataError
        If there is no such column, or ``A,B`` names other than two.
    """
    if PAIR_SIGN not in wanted or wanted in raw.names:
        text = find_column(raw, wanted, TEXT_NAMES, "text-column")
        return () if text is None else (text,)
    _, *parts = names_in(wanted)
    found = [find_column(raw, part, (), "text-column") for part in parts]
    pair = tuple(name for name in found if name is not None)  # auto finds none
    if len(found) != 2 or len(set(pair)) != 2:
        raise DataError(
            f"--text-column is {shown(wanted)}, expected one column, or two different ones as A,B "
            f"(columns: {described(raw)}). Pass two names or 1-based numbers."
        )
    return pair


def _unclear(raw: RawTable, wanted: str) -> DataError:
    return DataError(
        f"Which column of {raw.path} holds the {wanted}? Found: {described(raw)}. "
        f"Pass --{wanted}-column with a name or a 1-based number."
    )


def find_column(
    raw: RawTable, wanted: str, known: Sequence[str], option: str
) -> str | None:
    """Return the name of the column that `wanted` or a known name points at; None if nothing does.

    Raises
    ------
    DataError
        If `wanted` is not ``auto`` and there is no such column: lists the columns and the nearest name.
    """
    names = raw.names
    if wanted == "auto":
        lower = {name.lower(): name for name in reversed(names)}
        return next((lower[name] for name in known if name in lower), None)
    if wanted in names:
        return wanted
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(names):
        return names[int(wanted) - 1]
    lower = {name.lower(): name for name in reversed(names)}
    near = difflib.get_close_matches(wanted.lower(), lower, n=1)
    hint = f"Did you mean {lower[near[0]]!r}? " if near else ""
    raise DataError(
        f"Column {shown(wanted)} not found in {raw.path} (columns: {described(raw)}). {hint}Pass --{option} NAME"
        f"{', or A,B for two texts a row' if option == 'text-column' else ''}."
    )


def described(raw: RawTable) -> str:
    """Return the first columns' names; where they are only numbers, with the first row's cells."""
    if raw.has_header:
        listed = [n if len(n) <= 80 else f"{n[:79]}…" for n in raw.names[:MANY_COLUMNS]]
    else:
        cells = zip(raw.names[:MANY_COLUMNS], raw.head[0], strict=False)
        listed = [f"{name} {shown(cell, 30)}" for name, cell in cells]
    more = len(raw.names) - len(listed)
    return ", ".join(listed) + (f" and {more:,} more" if more else "")


def _are_phrases(raw: RawTable, i: int) -> bool:
    """Tell whether most of a column's first cells are of several words, and most differ."""
    cells = [str(row[i]).strip() for row in raw.head if len(row) > i]
    n_phrases = sum(len(cell.split()) > 1 for cell in cells)
    return min(n_phrases, len(set(cells))) > len(cells) / 2


def _wordier(raw: RawTable) -> str:
    """Return the one of two columns with more distinct values in the first rows; the longer one if equal."""

    def wordiness(i: int) -> tuple[int, float]:
        cells = [str(row[i]) for row in raw.head if len(row) > i]
        return len(set(cells)), sum(map(len, cells)) / max(1, len(cells))

    return raw.names[max((0, 1), key=wordiness)]

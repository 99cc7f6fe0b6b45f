"""What a row's label says: one class of several, any number of labels, or a number; and what is wrong with one.

Each kind has a reader, which turns the cells of a row into a label while the rows of a split pass, keeps the lines of
those it cannot read, and says at the end what was wrong.
"""

import ast
import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pipeline.datasets.raw import Cells, Lines, RawTable, is_missing
from pipeline.errors import DataError, shown

Label = int | str | float | tuple[str, ...]
UNLABELLED = (-1, "-1")  # as hub sets mark hidden test labels
HIDDEN, LOW = -1.0, "low"  # the same among numbers, unless train has some as low
INT64 = 2**63
SEPARATORS = ("|", ";", ",")  # of labels in one cell; the first that occurs
MANY_VALUES = 10  # texts that are fractions of more kinds are a measure, of fewer they may be classes
LARGEST = 1e100  # of a number: sums of squares of more are infinite
YES_OR_NO = {"0": False, "1": True, "0.0": False, "1.0": True}


@dataclass(frozen=True)
class LabelColumns:
    """Where the labels stand, and what they are.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
    names : tuple of str
        One column; or several of zeros and ones, each a label.
    separator : str
        Between the labels in one cell; empty where cells hold lists, or one label.
    """

    task: str
    names: tuple[str, ...]
    separator: str = ""

    @property
    def name(self) -> str:
        """Return the columns' names, for people."""
        return ",".join(self.names)

    def reader(self, raw: RawTable, kinds: set[str]) -> "LabelReader":
        """Return what reads the labels of a split.

        Parameters
        ----------
        raw : RawTable
        kinds : set of str
            What was seen so far, in any split, of the types of classes or the range of numbers; added to.
        """
        if self.task == "regression":
            return NumberReader(self, raw, kinds)
        if self.task == "multilabel":
            kind = SetReader if len(self.names) == 1 else FlagReader
            return kind(self, raw)
        return ClassReader(self, raw, kinds)


def task_of(cells: Sequence[Any], *, is_text: bool) -> str:  # Any: cells
    """Return what kind of label the first cells of a single column look like.

    Lists, also written as texts, are several labels a row. Fractions are numbers, but as texts only if there are more
    than `MANY_VALUES` different ones. Everything else is a class.
    """
    given = [cell for cell in cells if not is_missing(cell) and cell != ""]
    if any(isinstance(cell, (list, tuple)) for cell in given):
        return "multilabel"
    if given and all(list_in(cell) is not None for cell in given):
        return "multilabel"
    numbers = [_number(cell) for cell in given]
    found = {number for number in numbers if number is not None}
    has_fractions = any(not number.is_integer() for number in found)
    if not has_fractions or None in numbers:
        return "classification"
    is_measure = not is_text or len(found) > MANY_VALUES
    return "regression" if is_measure else "classification"


def separator_of(cells: Sequence[Any]) -> str:  # Any: cells
    """Return what stands between labels in the first cells of a column; empty if nothing does."""
    texts = [x for x in cells if isinstance(x, str) and list_in(x) is None]
    return next((s for s in SEPARATORS if any(s in text for text in texts)), "")


def list_in(cell: Any) -> list[Any] | None:  # Any: a cell, and what is in it
    """Return the list that a text spells out as JSON or Python do, such as ``['a', 'b']``; None if it is none."""
    if not isinstance(cell, str) or not (text := cell.strip()).startswith("["):
        return None
    for parse in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = parse(text)
            return found if isinstance(found, list) else None
    return None


def is_flag(cell: Any) -> bool:  # Any: a cell
    """Tell whether a cell is 0 or 1."""
    return _flag(cell) is not None


def _flag(cell: Any) -> bool | None:  # Any: a cell
    if isinstance(cell, str):
        return YES_OR_NO.get(cell.strip())
    return bool(cell) if isinstance(cell, (int, float)) and cell in (0, 1) else None


def _number(cell: Any) -> float | None:  # Any: a cell
    """Return a cell as a number whose square can be computed with; None if it is none."""
    if isinstance(cell, bool) or not isinstance(cell, (int, float, str)):
        return None
    try:
        number = float(cell)
    except (ValueError, OverflowError):
        return None
    # float() also takes 1_000 and full-width digits
    is_plain = not isinstance(cell, str) or (cell.isascii() and "_" not in cell)
    return number if abs(number) <= LARGEST and is_plain else None


class LabelReader(ABC):
    """Reads the labels of one split, row by row; the base of one for each kind.

    Attributes
    ----------
    unnamed, hidden : Lines
        Rows without a label, and with one that marks that there is none.
    notes : dict
        What people should know of the labels.
    """

    def __init__(self, columns: LabelColumns, raw: RawTable) -> None:
        self._columns, self._raw = columns, raw
        self.unnamed, self.hidden = Lines(), Lines()
        self.bad, self._bad_cell = Lines(), ""
        self.notes: dict[str, object] = {}

    def plain(self, columns: list[Cells]) -> list[Label] | None:
        """Return the labels of rows that are all as they should be; None to look at each."""
        return None

    @abstractmethod
    def read(self, cells: Sequence[Any], line: int) -> Label | None:  # Any: cells
        """Return the label of a row, None if it has none that can be used."""

    def refuse(self) -> None:
        """Raise for the first kind of bad label.

        Raises
        ------
        DataError
            Names the first lines.
        """
        path = self._raw.path
        if self.unnamed.count:
            raise DataError(
                f"{self.unnamed.count:,} rows of {path} have no label: lines {self.unnamed}. "
                "Label or remove them."
            )
        if self.hidden.count:
            raise DataError(
                f"{self.hidden.count:,} rows of {path} have the label -1, which marks rows without a label: lines "
                f"{self.hidden}. Remove them, or name the class otherwise."
            )

    def could_be(self, cell: str, counts: "Counter[Label]") -> bool:
        """Tell whether a text, found where no label belongs, is one.

        Parameters
        ----------
        cell : str
        counts : Counter
            Of the labels of valid rows.
        """
        return bool(counts[cell])

    def occurrences(self, cell: str, counts: "Counter[Label]") -> int | None:
        """Return how many valid rows have a text as their label; None where that says nothing."""
        return counts[cell]

    def _refuse_bad(self, expected: str, fix: str) -> None:
        if self.bad.count:
            raise DataError(
                f"{self.bad.count:,} rows of {self._raw.path} have a label such as {self._bad_cell}, expected "
                f"{expected}: lines {self.bad}. {fix}"
            )

    def _note_bad(self, cell: object, line: int) -> None:
        self.bad.add(line)
        self._bad_cell = self._bad_cell or shown(cell)


class ClassReader(LabelReader):
    """One class a row: a text, or a whole number."""

    def __init__(self, columns: LabelColumns, raw: RawTable, kinds: set[str]) -> None:
        super().__init__(columns, raw)
        self._kinds = kinds
        self._kind_lines: dict[str, int] = {}  # the first line of each type of label
        self._too_large = Lines()
        self._n_trimmed = 0

    def plain(self, columns: list[Cells]) -> list[Label] | None:
        """Tell by the distinct labels alone, in a fraction of the time that a look at each row takes."""
        (labels,) = columns
        if set(map(type, labels)) not in ({str}, {int}):
            return None
        distinct = set(labels)
        kind = type(labels[0]).__name__
        if self._kinds | {kind} != {kind} or not distinct.isdisjoint(UNLABELLED):
            return None
        if kind == "int":
            valid = all(-INT64 <= label < INT64 for label in distinct)
        else:
            valid = all(
                label.strip() and (label == label.strip() or not self._raw.is_text)
                for label in distinct
            )
        if not valid:
            return None
        self._kinds.add(kind)
        return labels

    def read(self, cells: Sequence[Any], line: int) -> Label | None:  # Any: cells
        """Return the class of a row."""
        (label,) = cells
        if is_missing(label) or (isinstance(label, str) and not label.strip()):
            self.unnamed.add(line)
            return None
        if isinstance(label, str) and self._raw.is_text:
            self._trim(label != label.strip())
            label = label.strip()
        elif isinstance(label, int):
            label = int(label)  # False and True, too
        if label in UNLABELLED:
            self.hidden.add(line)
            return None
        kind = type(label).__name__
        self._kinds.add(kind)
        self._kind_lines.setdefault(kind, line)
        if isinstance(label, int) and not -INT64 <= label < INT64:
            self._too_large.add(line)
            return None
        is_usable = isinstance(label, (int, str)) and len(self._kinds) == 1
        return label if is_usable else None

    def _trim(self, is_trimmed: bool) -> None:
        self._n_trimmed += is_trimmed
        if self._n_trimmed:
            self.notes["labels_trimmed"] = self._n_trimmed

    def refuse(self) -> None:
        """Raise for the first kind of bad label."""
        super().refuse()
        path = self._raw.path
        if self._too_large.count:
            raise DataError(
                f"{self._too_large.count:,} labels of {path} do not fit 64 bits: lines {self._too_large}. "
                "Write such labels as texts."
            )
        if len(self._kinds) > 1 or not self._kinds <= {"int", "str"}:
            lines = ", ".join(f"{n} ({kind})" for kind, n in self._kind_lines.items())
            fix = (
                "Convert the label column, or pass --task regression if it is a measure"
                if self._kinds <= {"int", "float"}
                else "Convert the label column"
            )
            raise DataError(
                f"Labels are of type {', '.join(sorted(self._kinds))} in {path}, expected texts or whole numbers: "
                f"lines {lines}. {fix}."
            )


class NumberReader(LabelReader):
    """A finite number a row; -1 stands for none outside train, if no number of train is as low."""

    def __init__(self, columns: LabelColumns, raw: RawTable, kinds: set[str]) -> None:
        super().__init__(columns, raw)
        self._kinds = kinds
        self._is_first = not kinds
        kinds.add("number")

    def read(self, cells: Sequence[Any], line: int) -> Label | None:  # Any: cells
        """Return the number of a row."""
        (cell,) = cells
        if is_missing(cell) or (isinstance(cell, str) and not cell.strip()):
            self.unnamed.add(line)
            return None
        number = _number(cell)
        if number is None:
            self._note_bad(cell, line)
        elif self._is_first and number <= HIDDEN:
            self._kinds.add(LOW)
        elif number == HIDDEN and LOW not in self._kinds:
            self.hidden.add(line)
            return None
        return number

    def refuse(self) -> None:
        """Raise for the first kind of bad label."""
        super().refuse()
        self._refuse_bad(
            f"a number up to {LARGEST:g}", "Mend them, or pass --task classification."
        )

    def could_be(self, cell: str, counts: "Counter[Label]") -> bool:
        """Tell whether a text is a number."""
        return _number(cell) is not None

    def occurrences(self, cell: str, counts: "Counter[Label]") -> None:
        """Return None: any number may be the only one."""


class SetReader(LabelReader):
    """Any number of labels in one cell: a list, or a text with separators; an empty one has none."""

    def read(self, cells: Sequence[Any], line: int) -> Label | None:  # Any: cells
        """Return the labels of a row, sorted."""
        (cell,) = cells
        if is_missing(cell):
            self.unnamed.add(line)
            return None
        parts = self._parts(cell)
        if parts is None:
            self._note_bad(cell, line)
            return None
        found = set(parts)
        if found == {"-1"}:
            self.hidden.add(line)
            return None
        if "" in found:
            self._note_bad(cell, line)
            return None
        return tuple(sorted(found))

    def _parts(self, cell: Any) -> list[str] | None:  # Any: a cell
        """Return the names in a cell, None if it holds something else."""
        listed = list_in(cell) if isinstance(cell, str) else cell
        if isinstance(listed, (list, tuple)):
            names = [str(part).strip() for part in listed if _is_name(part)]
            return names if len(names) == len(listed) else None
        if not isinstance(cell, str):
            return None
        separator = self._columns.separator
        if separator:
            return [part.strip() for part in cell.split(separator) if part.strip()]
        is_several = any(sign in cell for sign in SEPARATORS)  # unlike the first rows
        return None if is_several else [cell.strip()] if cell.strip() else []

    def refuse(self) -> None:
        """Raise for the first kind of bad label."""
        super().refuse()
        expected = "a list of texts or whole numbers"
        if self._raw.is_text and not self._columns.separator:
            expected = "lists, or one label a row, as in the first rows"
        self._refuse_bad(expected, "Mend them, or pass another --label-column.")

    def could_be(self, cell: str, counts: "Counter[Label]") -> bool:
        """Tell whether a text is a set of known labels."""
        return bool(self.occurrences(cell, counts))

    def occurrences(self, cell: str, counts: "Counter[Label]") -> int | None:
        """Return how many valid rows have the rarest of the labels in a text."""
        parts = self._parts(cell)
        return min(counts[part] for part in parts) if parts else None


def _is_name(value: object) -> bool:
    return isinstance(value, (str, int)) and not isinstance(value, bool)


class FlagReader(LabelReader):
    """A column of zeros and ones for each label."""

    def read(self, cells: Sequence[Any], line: int) -> Label | None:  # Any: cells
        """Return the names of the columns in which a row has 1."""
        if all(cell in UNLABELLED for cell in cells):
            self.hidden.add(line)
            return None
        if any(is_missing(cell) or cell == "" for cell in cells):
            self.unnamed.add(line)
            return None
        flags = [_flag(cell) for cell in cells]
        if None in flags:
            self._note_bad(cells[flags.index(None)], line)
            return None
        names = self._columns.names
        return tuple(name for name, flag in zip(names, flags, strict=True) if flag)

    def refuse(self) -> None:
        """Raise for the first kind of bad label."""
        super().refuse()
        self._refuse_bad(
            "0 or 1", "Mend them, or name the label columns by --label-column A,B,C."
        )

    def could_be(self, cell: str, counts: "Counter[Label]") -> bool:
        """Tell whether a text is 0 or 1."""
        return is_flag(cell)

    def occurrences(self, cell: str, counts: "Counter[Label]") -> None:
        """Return None: 0 and 1 stand everywhere."""

"""Rows as a file has them, passing by in batches: no opinion yet on which column means what."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isnan
from typing import Any, Protocol

Cells = list[Any]  # Any: str in text files, whatever a typed column holds elsewhere
Row = list[str]
Chunk = tuple[list[int], list[Row]]  # where each row of a text file begins, its fields
CHUNK_ROWS = 16_384
CHUNK_CHARS = 4 * 2**20
HEAD_ROWS = 1000  # as many as a look at the beginning takes in
FIRST_LINES = 10  # line numbers that a message lists


@dataclass(frozen=True)
class Batch:
    """Some consecutive rows.

    Attributes
    ----------
    lines : list of int, length m
        Where each row begins: 1-based line in a text file, 1-based row elsewhere.
    columns : list of lists, each of length m
        The cells of the columns asked for, in the order asked for.
    """

    lines: list[int]
    columns: list[Cells]


@dataclass
class Lines:
    """How many rows have something in common, and where the first of them are."""

    count: int = 0
    first: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """Count one more row."""
        self.count += 1
        if len(self.first) < FIRST_LINES:
            self.first.append(line)

    def __str__(self) -> str:
        """Return the first lines and how many more there are."""
        more = self.count - len(self.first)
        listed = ", ".join(map(str, self.first))
        return f"{listed} and {more:,} more" if more else listed


@dataclass(frozen=True)
class Broken:
    """Stands in the cells of a row that cannot be read, where the rows behind it are wanted all the same.

    Attributes
    ----------
    reason : str
        What is wrong, in words that follow the row's place: ``has 1 of 3 fields.``
    """

    reason: str


MAX_DOUBTS = 1000


@dataclass
class Doubts:
    """Rows of a text file that may have been read wrongly; their labels will tell.

    Attributes
    ----------
    wide : Lines
        Rows with further fields that are not empty.
    wide_labels : dict of str to list of int
        How many of them have each label, and the first one's line.
    swallowed : dict of str to list of int
        The same of the rows that quoted fields of others look like.
    """

    wide: Lines = field(default_factory=Lines)
    wide_labels: dict[str, list[int]] = field(default_factory=dict)
    swallowed: dict[str, list[int]] = field(default_factory=dict)

    def add_wide(self, label: str, line: int) -> None:
        """Note a row with further fields."""
        self.wide.add(line)
        _count(self.wide_labels, label, line)

    def add_swallowed(self, label: str, line: int) -> None:
        """Note a row that holds what looks like others."""
        _count(self.swallowed, label, line)


def _count(labels: dict[str, list[int]], label: str, line: int) -> None:
    """Count a label; of more than `MAX_DOUBTS` different ones, further ones would say nothing new."""
    if label in labels:
        labels[label][0] += 1
    elif len(labels) < MAX_DOUBTS:
        labels[label] = [1, line]


class RawTable(Protocol):
    """A table being read; can be read once.

    Attributes
    ----------
    path : str
        For error messages.
    names : list of str
        From the header or the types, else ``"1"``, ``"2"``, ….
    head : list of rows
        Up to `HEAD_ROWS` first rows, for guessing what columns mean.
    is_text : bool
        Whether cells are the text between separators, without types of their own.
    has_header : bool
    notes : dict
        What was found on the way; complete when all is read.
    blank : Lines
        Blank lines that are no rows; complete when all is read. Tables of text note them where broken rows are kept.
    doubts : Doubts
        Complete when all is read.
    close : callable () -> None
        To be called at the end: lets the file go; raises `DataError` if it was not the expected one.
    """

    path: str
    names: list[str]
    head: list[Sequence[Any]]  # Any: as in `Cells`
    is_text: bool
    has_header: bool
    notes: dict[str, object]
    blank: Lines
    doubts: Doubts
    close: Callable[[], None]

    def read(self, wanted: Sequence[int], limit: int | None = None) -> Iterator[Batch]:
        """Yield the cells of all rows, or of the first `limit`, in the columns at positions `wanted`."""
        ...


@dataclass(frozen=True)
class Source:
    """A data set that was found, not yet read.

    Attributes
    ----------
    slug : str
        A short readable name for folders; never part of a key.
    identity : dict
        What the key covers: digests of the files, or a hub commit.
    read : callable () -> dict of split name to RawTable
        Opens the tables; they raise `DataError` if they are no longer those of `identity`.
    """

    slug: str
    identity: dict[str, object]
    read: Callable[[], dict[str, RawTable]]


SPLIT_NAMES = {
    "train": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}


def slug_of(name: str) -> str:
    """Return `name` as it may stand in a path."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "data"


def is_missing(cell: object) -> bool:
    """Tell whether a cell holds nothing: None or NaN."""
    return cell is None or (isinstance(cell, float) and isnan(cell))

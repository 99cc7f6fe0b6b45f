"""Rows as a file has them, passing by in batches: no opinion yet on which column means what."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

Cells = list[Any]  # Any: str in text files, whatever a typed column holds elsewhere
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


@dataclass(frozen=True)
class Doubt:
    """A row of a text file that may have been read wrongly; its label will tell.

    Attributes
    ----------
    line : int
    label : str
        For ``wide``: the label of a row with extra fields. For ``swallowed``: the label of what looks like a
        row of its own inside a quoted field. For ``short``, a row that lacks fields: empty.
    why : {"wide", "swallowed", "short"}
    """

    line: int
    label: str
    why: str


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
    doubts : list of Doubt
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
    doubts: list[Doubt]
    close: Callable[[], None]

    def read(self, wanted: Sequence[int]) -> Iterator[Batch]:
        """Yield the rows' cells in the columns at positions `wanted`."""
        ...


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

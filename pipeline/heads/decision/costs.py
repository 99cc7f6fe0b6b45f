"""What wrong answers cost: a table of classes, read from a CSV file. It imports no numpy, so a key is quick to know."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, shown
from pipeline.storage import disk

Classes = list[str] | list[int]

LARGEST = 1e100  # of a cost: sums of more are infinite


@dataclass(frozen=True)
class Costs:
    """What it costs to answer a row of one class with another.

    Attributes
    ----------
    source : str
        The file's name, for messages.
    names : tuple of str, length k
    table : tuple of tuple of float, (k, k)
        ``table[true][answered]``.
    """

    source: str
    names: tuple[str, ...]
    table: tuple[tuple[float, ...], ...]

    def by_name(self) -> dict[str, dict[str, float]]:
        """Return the cost by true class and answer: what a key holds, whatever the order in the file."""
        return {
            name: dict(zip(self.names, row, strict=True))
            for name, row in zip(self.names, self.table, strict=True)
        }

    def matrix(self, classes: Classes) -> list[list[float]]:
        """Return the table with rows and columns in the order of `classes`.

        Raises
        ------
        ConfigError
            If the names are not those of the classes.
        """
        places = {name: i for i, name in enumerate(self.names)}
        wanted = [str(label) for label in classes]
        if set(wanted) != set(places):
            odd = sorted(set(wanted) ^ set(places))[0]
            where = "none of the classes" if odd in places else "a class without costs"
            raise ConfigError(
                f"--costs {self.source}: {shown(odd)} is {where}; the classes are {', '.join(wanted[:10])}. "
                "Name each class once in the first line and once in the first column."
            )
        order = [places[name] for name in wanted]
        return [[self.table[i][j] for j in order] for i in order]


def read_costs(path: Path) -> Costs:
    """Read a CSV file with the answered classes in its first line and the true ones in its first column.

    Raises
    ------
    ConfigError
        If it cannot be read, is no such table, or has a class whose right answer costs more than a wrong one.
    """
    try:
        text = disk.read(path).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--costs {path} cannot be read ({error}). Pass a CSV file in UTF-8."
        ) from error
    try:
        read = list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error as error:
        raise ConfigError(
            f"--costs {path} is no CSV: {error}. Write short fields with commas between them, and a line feed a row."
        ) from error
    lines = [[cell.strip() for cell in line] for line in read if line]
    names = tuple(lines[0][1:]) if lines else ()
    rows = {line[0]: line[1:] for line in lines[1:]}
    is_square = len(lines) - 1 == len(rows) == len(set(names)) == len(names) > 1
    if is_square and set(rows) != set(names):
        odd = ", ".join(map(shown, sorted(set(rows) ^ set(names))[:5]))
        raise ConfigError(
            f"--costs {path} names other classes in its first column than in its first line: {odd}. Name each class in "
            "both."
        )
    if not is_square:
        raise ConfigError(
            f"--costs {path} is no square table: expected the answered classes in the first line, after an empty cell, "
            "and the same ones, the true, in the first column. Name each class once in both."
        )
    table = tuple(_row(path, name, rows[name], names) for name in names)
    _check_choice(path, names, table)
    return Costs(path.name, names, table)


def _check_choice(
    path: Path, names: tuple[str, ...], table: tuple[tuple[float, ...], ...]
) -> None:
    """Refuse costs by which one answer is the best whatever the text."""
    for j, name in enumerate(names):
        if all(row[j] <= min(row) for row in table):
            raise ConfigError(
                f"--costs {path}: answering {shown(name)} never costs more than another answer, so every text "
                "would get it. Let each wrong answer cost more than the right one."
            )


def _row(
    path: Path, name: str, cells: list[str], names: tuple[str, ...]
) -> tuple[float, ...]:
    """Return the costs of the rows of one class."""
    try:
        found = tuple(map(float, cells))
    except ValueError:
        found = ()
    if len(found) != len(names) or any(not abs(one) <= LARGEST for one in found):
        raise ConfigError(
            f"--costs {path}: the row of {shown(name)} is {shown(','.join(cells))}, expected {len(names)} numbers. "
            "Write one for each class of the first line."
        )
    right = found[names.index(name)]
    if right > min(found):
        raise ConfigError(
            f"--costs {path}: to answer {shown(name)} rightly costs {right:g}, more than a wrong answer "
            f"({min(found):g}). Give right answers the least cost, such as 0."
        )
    return found

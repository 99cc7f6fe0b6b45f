"""What a row says: one text, or a pair of texts whose order counts."""

from collections.abc import Sequence

Pair = tuple[str, str]
Text = str | Pair
BETWEEN = " ⏎ "  # shown between the two; no part of a word


def texts_in(row: Text) -> tuple[str, ...]:
    """Return the one text or the two."""
    return (row,) if isinstance(row, str) else row


def n_characters(row: Text) -> int:
    """Return the characters of a text, or of both."""
    return len(row) if isinstance(row, str) else len(row[0]) + len(row[1])


def joined(row: Text) -> str:
    """Return a row as one text, for people and for counting its words."""
    return row if isinstance(row, str) else BETWEEN.join(row)


def are_pairs(rows: Sequence[Text]) -> bool:
    """Tell whether some rows, all alike, are pairs; no rows are taken for texts."""
    return len(rows) > 0 and not isinstance(rows[0], str)


def columns_of(rows: Sequence[Text]) -> list[tuple[str, ...]]:
    """Return the texts of all rows, or the first and the second ones of pairs."""
    return list(zip(*map(texts_in, rows), strict=True))

"""Labels for rows of texts, block by block: what ``frostbert predict`` writes.

The columns, in this order: ``input`` (where there are several), ``row`` (1-based), ``label`` (a tuple where a text may
have several, a float of a regression), ``p_<class>`` for each class, ``truncated`` (whether the text has more tokens
than are read), ``error``, ``text``, and of pairs ``text_b``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import tee
from typing import Any

from pipeline.datasets.raw import Lines
from pipeline.datasets.unlabelled import TextRow, Texts
from pipeline.encoder.batching import WINDOW_CHARS
from pipeline.errors import DataError
from pipeline.pairs import n_characters, texts_in
from pipeline.predictor.predictor import Predictor, Scores

BLOCK_ROWS = (
    1_024  # seldom enough for little padding, often enough to show that it goes on
)
Columns = dict[
    str, list[Any]
]  # Any: str, int, float, bool, None; lists of equal length


@dataclass
class Tally:
    """What was met on the way.

    Attributes
    ----------
    n_rows : int
        Rows that were given out, with or without a label.
    n_cut : int
        Texts that were read in part only.
    n_unsure : int
        Texts without a label, as the predictor abstains.
    bad : Lines
        Rows that have no text.
    """

    n_rows: int = 0
    n_cut: int = 0
    n_unsure: int = 0
    bad: Lines = field(default_factory=Lines)


def probability_column(label: str | int) -> str:
    """Return the name of a class's column; no other column begins so, and classes differ."""
    return f"p_{label}"


def column_names(
    predictor: Predictor, *, with_input: bool, with_error: bool, with_text: bool
) -> list[str]:
    """Return the names of the columns that are wanted, in their order."""
    return [
        *(["input"] if with_input else []),
        "row",
        "label",
        *map(probability_column, predictor.classes_.tolist()),
        "truncated",
        *(["error"] if with_error else []),
        *(text_columns(predictor) if with_text else []),
    ]


def text_columns(predictor: Predictor) -> list[str]:
    """Return the names of the columns that the texts are written to."""
    return ["text"] if predictor.pair_encoding is None else ["text", "text_b"]


def score_rows(
    predictor: Predictor, texts: Texts, on_error: str, tally: Tally
) -> Iterator[tuple[int, Columns]]:
    """Yield some rows at a time: the last one's line in the input, and all columns.

    Parameters
    ----------
    predictor : Predictor
    texts : Texts
    on_error : {"stop", "skip", "report"}
        What to do with a row that has no text: raise; leave it out; give it out with an error and without a label.
    tally : Tally
        Counts what passes.

    Raises
    ------
    DataError
        If the input cannot be read on; with ``stop``, at the first row without a text: names it. All rows before have
        been given out then.
    """
    for portion in texts.portions:  # blocks are read ahead, but not beyond a portion
        errors: list[DataError] = []
        rows = _until_error(_usable(portion, texts, on_error, tally), errors)
        blocks, again = tee(_blocks(rows))
        readable = ([row.text for row in block if not row.error] for block in again)
        for block, scores in zip(blocks, predictor.score(readable), strict=True):
            tally.n_rows += len(block)
            tally.n_cut += int(scores.is_cut.sum())
            tally.n_unsure += scores.labels.tolist().count(None)
            yield block[-1].line, _columns(predictor, texts.name, block, scores)
        if errors:
            raise errors.pop()  # left in the list it would, by its frames, hold the input open


def _until_error(rows: Iterator[TextRow], errors: list[DataError]) -> Iterator[TextRow]:
    """Yield the rows before an error, and keep that for later."""
    try:
        yield from rows
    except DataError as error:
        errors.append(error)


def _usable(
    portion: Iterator[TextRow], texts: Texts, on_error: str, tally: Tally
) -> Iterator[TextRow]:
    for row in portion:
        if row.error:
            tally.bad.add(row.line)
            if on_error == "stop":
                raise DataError(
                    f"{texts.place(row)} {row.error} Mend it, or pass --on-error skip or report."
                )
            if on_error == "skip":
                continue
        yield row


def _blocks(rows: Iterable[TextRow]) -> Iterator[list[TextRow]]:
    block: list[TextRow] = []
    n_chars = 0
    for row in rows:
        block.append(row)
        n_chars += n_characters(row.text)
        if len(block) == BLOCK_ROWS or n_chars >= WINDOW_CHARS:
            yield block
            block, n_chars = [], 0
    if block:
        yield block


def _columns(
    predictor: Predictor, name: str, block: list[TextRow], scores: Scores
) -> Columns:
    classes = predictor.classes_.tolist()
    found = iter(
        zip(
            scores.labels.tolist(),
            *scores.probabilities.T.tolist(),
            scores.is_cut.tolist(),
            strict=True,
        )
    )
    nothing = (None,) * (len(classes) + 2)
    cells = [nothing if row.error else next(found) for row in block]
    labels, *probabilities, is_cut = map(list, zip(*cells, strict=True))
    names = map(probability_column, classes)
    return {
        "input": [name] * len(block),
        "row": [row.row for row in block],
        "label": labels,
        **dict(zip(names, probabilities, strict=True)),
        "truncated": is_cut,
        "error": [row.error or None for row in block],
        **_texts(text_columns(predictor), block),
    }


def _texts(names: list[str], block: list[TextRow]) -> Columns:
    """Return the texts of a block by the names of their columns; None where a row has an error."""
    nothing = (None,) * len(names)
    rows = [nothing if row.error else texts_in(row.text) for row in block]
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))

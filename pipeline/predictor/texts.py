"""What may be passed as texts, everywhere that texts are passed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count

import numpy as np

from pipeline.errors import DataError, shown
from pipeline.pairs import Pair


def checked_texts(texts: str | Iterable[str]) -> list[str]:
    """Return `texts` as a list; a single str is one text.

    Parameters
    ----------
    texts : str or iterable of str
        A list, tuple, array, Series, generator, …. An empty text, a NUL and a lone surrogate are texts, too.

    Raises
    ------
    DataError
        If it has no order (set) or no single column (dict, DataFrame), is bytes or no iterable, or holds something
        else than str: names its position, and its label where `texts` has an index.
    """
    return list(_each(texts))


def each_text(texts: str | Iterable[str]) -> Iterable[str]:
    """Return the texts to go through once: an iterator is checked as it passes, all else at once.

    Parameters and errors are those of `checked_texts`.
    """
    return _each(texts) if isinstance(texts, Iterator) else checked_texts(texts)


def each_pair(pairs: Iterable[Sequence[str]]) -> Iterable[Pair]:
    """Return the pairs to go through once, each as a tuple; an iterator is checked as it passes, all else at once.

    Parameters
    ----------
    pairs : iterable of pairs of str
        A list of tuples or of lists of two, an array of shape (n, 2), a DataFrame of two columns, a generator, ….

    Raises
    ------
    DataError
        If a row is no pair of str: names its position; or is as `checked_texts` tells of texts.
    """
    if isinstance(pairs, str):
        raise DataError(
            f"Expected pairs of texts, got the str {shown(pairs)}. Pass [(first, second)]."
        )
    if len(getattr(pairs, "columns", ())) == 2:  # of a DataFrame
        pairs = pairs.to_numpy()  # type: ignore[attr-defined]  # as a DataFrame has it
    _check_container(pairs)
    found = map(_pair, count(), pairs)
    return found if isinstance(pairs, Iterator) else list(found)


def _pair(i: int, row: Sequence[str]) -> Pair:
    is_row = isinstance(row, (tuple, list, np.ndarray))  # which have an order
    if not is_row or len(row) != 2 or not all(isinstance(x, str) for x in row):
        raise DataError(
            f"Row {i} is {type(row).__name__} {shown(row)}, expected two texts. Pass [(first, second)]."
        )
    first, second = row
    return str(first), str(second)


def texts_to_compare(texts: str | Iterable[str]) -> list[str]:
    """Return `texts` as a list, as `checked_texts` does, but for blank ones, which are like nothing.

    Raises
    ------
    DataError
        If a text is blank: names its position; or as `checked_texts` does.
    """
    found = checked_texts(texts)
    for i, text in enumerate(found):
        if not text.strip():
            raise DataError(
                f"Text {i} is blank: {shown(text)}. Remove it, or pass a text with a word."
            )
    return found


def _each(texts: str | Iterable[str]) -> Iterator[str]:
    if isinstance(texts, str):
        texts = [texts]
    _check_container(texts)
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            fix = "Convert or remove it."
            if isinstance(text, (tuple, list)) and len(text) == 2:
                fix = "Pass one text a row; pairs are for a predictor that was trained with --text-column A,B."
            raise DataError(
                f"Text {i}{_label(texts, i)} is {type(text).__name__} {shown(text)}, expected str. {fix}"
            )
        yield text


def _check_container(texts: object) -> None:
    kind = type(texts).__name__
    if isinstance(texts, (bytes, bytearray)):
        raise DataError(
            f"Expected texts, got {kind} {shown(texts)}. Decode it: .decode('utf-8')."
        )
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise DataError(
            f"Expected a list of texts, got a {kind}. Pass one column of it."
        )
    if isinstance(texts, (set, frozenset)):
        raise DataError(
            f"Expected a list of texts, got a {kind}, which has no order. Pass a list."
        )
    try:
        iter(texts)  # type: ignore[call-overload]  # that is the question
    except TypeError as error:
        raise DataError(
            f"Expected a list of texts, got {kind} {shown(texts)}. Pass a str or a list of str."
        ) from error


def _label(texts: object, i: int) -> str:
    """Return what a Series calls its row `i`; nothing for what has no index."""
    index = getattr(texts, "index", None)
    return "" if index is None or callable(index) else f" (index {shown(index[i])})"

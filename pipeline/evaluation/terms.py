"""Texts and pairs as the terms they hold: the matrix that the TF-IDF baseline learns from."""

from collections.abc import Sequence
from itertools import chain

from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.pairs import Text, columns_of, texts_in


def fit_terms(vectorizer: TfidfVectorizer, rows: Sequence[Text]) -> csr_array:
    """Learn the terms and their weights from all texts of some rows, and return the rows as `term_matrix` does.

    Raises
    ------
    ValueError
        If no text has a word.
    """
    vectorizer.fit(chain.from_iterable(map(texts_in, rows)))
    return term_matrix(vectorizer, rows)


def term_matrix(vectorizer: TfidfVectorizer, rows: Sequence[Text]) -> csr_array:
    """Return rows as a sparse matrix: a text's weights u, (n, t); of a pair u, v, |u - v| and the cosine, (n, 3t + 1).

    Parameters
    ----------
    vectorizer : TfidfVectorizer
        Fitted; it gives vectors of length 1.
    rows : sequence of n str or Pair
    """
    texts, *others = (
        csr_array(vectorizer.transform(column)) for column in columns_of(rows)
    )
    if not others:
        return texts
    (second,) = others
    cosine = texts.multiply(second).sum(axis=1)[:, None]
    return csr_array(hstack([texts, second, abs(texts - second), cosine]))

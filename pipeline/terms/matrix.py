"""Texts and pairs as the terms they hold: the sparse matrices that linear models learn from."""

import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
from scipy.sparse import csr_array, hstack
from sklearn.feature_extraction.text import TfidfVectorizer

from pipeline.pairs import Text, columns_of, texts_in

# Words, and single characters of the scripts that put no spaces between words.
TOKEN_PATTERN = "[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]+"
_WORDS = re.compile(TOKEN_PATTERN)
SETTINGS: Mapping[str, Mapping[str, Any]] = {  # Any: scikit-learn's
    "words": {"ngram_range": (1, 2), "token_pattern": TOKEN_PATTERN},
    "characters": {"ngram_range": (2, 5), "analyzer": "char_wb", "min_df": 2},
}


def words_of(text: str) -> list[str]:
    """Return the words of a text as TF-IDF takes them, in lower case and in order."""
    return _WORDS.findall(text.lower())


def vectorizer_of(kind: str, **settings: Any) -> TfidfVectorizer:  # Any: scikit-learn's
    """Return TF-IDF of words and word pairs, or of 2 to 5 characters within words that occur in two texts.

    Parameters
    ----------
    kind : {"words", "characters"}
    settings
        Further ones of scikit-learn's.
    """
    return TfidfVectorizer(
        **{**SETTINGS[kind], "sublinear_tf": True, "dtype": np.float64, **settings}
    )


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

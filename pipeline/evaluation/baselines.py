"""What a frozen transformer has to beat: the majority class, and TF-IDF with logistic regression."""

import re
import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline.evaluation.terms import fit_terms, term_matrix
from pipeline.pairs import Text

Labels = NDArray[np.int64] | NDArray[np.object_]

# Words, and single characters of the scripts that put no spaces between words.
TOKEN_PATTERN = "[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]+"
_WORDS = re.compile(TOKEN_PATTERN)
TFIDF_C = 10.0
MAX_ITER = 1_000


def words_of(text: str) -> list[str]:
    """Return the words of a text as TF-IDF takes them, in lower case and in order."""
    return _WORDS.findall(text.lower())


def majority_proba(
    labels: Labels, classes: Sequence[str] | Sequence[int], n: int
) -> NDArray[np.float64]:
    """Return the training shares of the classes for each of `n` rows, shape (n, k)."""
    counts = Counter(labels.tolist())
    shares = np.array([counts[label] for label in classes], dtype=np.float64) / len(
        labels
    )
    return np.tile(shares, (n, 1))


def tfidf_proba(
    texts: Sequence[Text],
    labels: Labels,
    classes: Sequence[str] | Sequence[int],
    test_texts: Sequence[Text],
) -> tuple[NDArray[np.float64], dict[str, object]]:
    """Fit TF-IDF of words and word pairs with logistic regression; return probabilities and what was fitted.

    Parameters
    ----------
    texts, labels : sequences of length n
        Training rows.
    classes : sequence, length k
        Column order of the result.
    test_texts : sequence of str or Pair, length m

    Returns
    -------
    proba : ndarray of float64, shape (m, k)
    facts : dict
    """
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=TOKEN_PATTERN,
        dtype=np.float64,
    )
    y = np.array([list(classes).index(label) for label in labels.tolist()])
    classifier = LogisticRegression(C=TFIDF_C, max_iter=MAX_ITER)
    try:
        X = fit_terms(vectorizer, texts)
    except ValueError:  # no words at all, only punctuation
        return majority_proba(labels, classes, len(test_texts)), {
            "terms": 0,
            "converged": True,
            "C": TFIDF_C,
        }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(X, y)
    converged = not any(
        issubclass(warning.category, ConvergenceWarning) for warning in caught
    )
    facts: dict[str, object] = {
        "terms": len(vectorizer.vocabulary_),
        "converged": converged,
        "C": TFIDF_C,
    }
    return np.asarray(
        classifier.predict_proba(term_matrix(vectorizer, test_texts))
    ), facts

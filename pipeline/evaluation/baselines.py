"""What a frozen transformer has to beat: always the same answer, and TF-IDF with the same kind of linear model."""

import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.evaluation.terms import fit_terms, term_matrix
from pipeline.pairs import Text

Outputs = NDArray[np.float64]
Json = dict[str, Any]  # Any: JSON values
Sparse = Any  # Any: scipy's sparse matrices have no types

# Words, and single characters of the scripts that put no spaces between words.
TOKEN_PATTERN = "[\u3040-\u30ff\u3400-\u9fff]|[^\\W\u3040-\u30ff\u3400-\u9fff]+"
_WORDS = re.compile(TOKEN_PATTERN)
TFIDF_C = 10.0
TFIDF_ALPHA = 1.0  # of ridge regression
# L-BFGS stops early where features are many and small: its first optimum is none, and takes seven times as long.
SOLVER, MAX_ITER = "newton-cg", 1_000


def words_of(text: str) -> list[str]:
    """Return the words of a text as TF-IDF takes them, in lower case and in order."""
    return _WORDS.findall(text.lower())


def baselines(
    texts: Sequence[Text],
    targets: NDArray[Any],  # Any: see below
    n_classes: int,
    test_texts: Sequence[Text],
) -> tuple[dict[str, Outputs], dict[str, Json]]:
    """Fit what needs no transformer; return what each answers for the scored rows, and what was fitted.

    Parameters
    ----------
    texts : sequence of str or Pair, length n
        Training rows.
    targets : ndarray
        What they are to be answered: int64 classes, shape (n,); bool, shape (n, k), of several labels a row; float64,
        shape (n,), of a regression.
    n_classes : int
        k, also of labels; not used by a regression.
    test_texts : sequence of str or Pair, length m

    Returns
    -------
    outputs : dict of name to ndarray of float64
        Probabilities, shape (m, k), or numbers, shape (m, 1). ``majority``: the shares of the training rows, and
        ``tfidf_logreg``; of a regression ``mean`` and ``tfidf_ridge``.
    facts : dict of name to dict
        Of those that were fitted.
    """
    is_number = targets.dtype == np.float64
    constant, name = (
        ("mean", "tfidf_ridge") if is_number else ("majority", "tfidf_logreg")
    )
    fit = _ridge if is_number else _logistic_regression
    same = np.array([targets.mean()]) if is_number else shares(targets, n_classes)
    always = np.tile(same, (len(test_texts), 1))
    matrices = _tfidf(texts, test_texts)
    if matrices is None:  # no words at all, only punctuation
        facts = {"terms": 0, "converged": True, **_settings(targets)}
        return {constant: always, name: always}, {name: facts}
    train, test, terms = matrices
    found, converged = fit(train, targets, test)
    facts = {"terms": terms, "converged": converged, **_settings(targets)}
    return {constant: always, name: found}, {name: facts}


def shares(targets: NDArray[Any], n_classes: int) -> Outputs:  # Any: int64 or bool
    """Return the share of rows that have each class, or each label, shape (k,)."""
    if targets.ndim == 2:
        return np.asarray(targets.mean(axis=0))
    return np.asarray(np.bincount(targets, minlength=n_classes) / len(targets))


def _settings(targets: NDArray[Any]) -> Json:
    is_number = targets.dtype == np.float64
    return {"alpha": TFIDF_ALPHA} if is_number else {"C": TFIDF_C}


def _tfidf(
    texts: Sequence[Text], test_texts: Sequence[Text]
) -> tuple[Sparse, Sparse, int] | None:
    """Return TF-IDF of words and word pairs for both, and the number of terms; None where there is no word."""
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2),
        sublinear_tf=True,
        token_pattern=TOKEN_PATTERN,
        dtype=np.float64,
    )
    try:
        train = fit_terms(vectorizer, texts)
    except ValueError:
        return None
    return train, term_matrix(vectorizer, test_texts), len(vectorizer.vocabulary_)


def _ridge(train: Sparse, values: NDArray[Any], test: Sparse) -> tuple[Outputs, bool]:
    model = Ridge(alpha=TFIDF_ALPHA).fit(train, values)
    return np.asarray(model.predict(test))[:, None], True


def _logistic_regression(
    train: Sparse, targets: NDArray[Any], test: Sparse
) -> tuple[Outputs, bool]:
    """Return the probabilities of classes, or of each label by a model of its own."""
    if targets.ndim == 1:
        return _fitted(train, targets, test)
    # of a label that all rows have, or none: nearly its share, as our own model answers (Jeffreys' prior)
    nearly = (targets.sum(axis=0) + 0.5) / (len(targets) + 1)
    proba = np.tile(nearly, (test.shape[0], 1))
    converged = True
    for j, y in enumerate(targets.T):
        if y.any() and not y.all():
            found, is_done = _fitted(train, y, test)
            proba[:, j] = found[:, 1]
            converged = converged and is_done
    return proba, converged


def _fitted(train: Sparse, y: NDArray[Any], test: Sparse) -> tuple[Outputs, bool]:
    classifier = LogisticRegression(C=TFIDF_C, solver=SOLVER, max_iter=MAX_ITER)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier.fit(train, y)
    converged = not any(
        issubclass(warning.category, ConvergenceWarning) for warning in caught
    )
    return np.asarray(classifier.predict_proba(test)), converged

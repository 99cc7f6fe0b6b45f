"""Linear models on TF-IDF: what a transformer has to beat, and what it can be helped by."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

from pipeline.pairs import Text
from pipeline.storage import disk
from pipeline.terms.matrix import fit_terms, term_matrix, vectorizer_of

Scores = NDArray[np.float64]
Targets = NDArray[Any]  # Any: int64, bool or float64, see `fit_term_model`
Sparse = Any  # Any: scipy's sparse matrices have no types
ARRAYS = ("idf", "coef", "intercept")
C = 10.0
ALPHA = 1.0  # of ridge regression
# L-BFGS stops early where features are many and small: its first optimum is none, and takes seven times as long.
SOLVER, MAX_ITER = "newton-cg", 1_000


@dataclass(frozen=True)
class TermModel:
    """A fitted linear model on TF-IDF: logistic regression, one a label, or ridge regression.

    Attributes
    ----------
    kind : {"words", "characters"}
    terms : list of str, length t
        Sorted.
    idf : ndarray of float32, shape (t,)
        Inverse document frequency of each.
    coef : ndarray of float32, shape (w, t), or (w, 3t + 1) for pairs
        w is 1 for two classes or a number, else the number of classes or labels; columns as in `term_matrix`.
    intercept : ndarray of float64, shape (w,)
    converged : bool
    """

    kind: str
    terms: list[str]
    idf: NDArray[np.float32]
    coef: NDArray[np.float32]
    intercept: NDArray[np.float64]
    converged: bool = True

    def scores(self, rows: Sequence[Text]) -> Scores:
        """Return the scores of texts or pairs, shape (n, w): log odds, up to a constant a row, or numbers."""
        if not self.terms or not len(rows):
            return np.tile(self.intercept, (len(rows), 1))
        found = term_matrix(self._vectorizer, rows) @ self._columns
        return np.asarray(found + self.intercept)

    @cached_property
    def _columns(self) -> Scores:
        return np.ascontiguousarray(self.coef.T, dtype=np.float64)

    @cached_property
    def _vectorizer(self) -> TfidfVectorizer:
        vectorizer = vectorizer_of(self.kind, vocabulary=self.terms)
        vectorizer.idf_ = self.idf.astype(np.float64)
        return vectorizer


def fit_term_model(
    kind: str, rows: Sequence[Text], targets: Targets, n_classes: int
) -> TermModel:
    """Fit a linear model on TF-IDF.

    Parameters
    ----------
    kind : {"words", "characters"}
    rows : sequence of n str or Pair
    targets : ndarray
        int64 classes, shape (n,); bool, shape (n, k), of several labels a row; float64, shape (n,), of a regression.
    n_classes : int
        k, also of labels; not used by a regression.
    """
    vectorizer = vectorizer_of(kind)
    try:
        matrix = fit_terms(vectorizer, rows)
    except ValueError:  # no words at all, only punctuation, or no piece twice
        width = 1 if targets.dtype == np.float64 or n_classes == 2 else n_classes
        nothing = np.empty(0, dtype=np.float32)
        same = _constant(targets, n_classes)
        return TermModel(kind, [], nothing, nothing.reshape(width, 0), same)
    coef, intercept, converged = _fit(matrix, targets, n_classes)
    return TermModel(
        kind,
        vectorizer.get_feature_names_out().tolist(),
        vectorizer.idf_.astype(np.float32),
        coef.astype(np.float32),
        intercept,
        converged,
    )


def outputs_of(scores: Scores, targets: Targets) -> Scores:
    """Return what scores mean where `targets` are fitted to: probabilities, shape (n, k), or numbers, (n, 1)."""
    if targets.dtype == np.float64:
        return scores
    if targets.ndim == 2:
        return np.asarray(expit(scores))
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    return np.asarray(softmax(scores, axis=1))


def shares(targets: Targets, n_classes: int) -> Scores:
    """Return the share of rows that have each class, or each label, shape (k,)."""
    if targets.ndim == 2:
        return np.asarray(targets.mean(axis=0))
    return np.asarray(np.bincount(targets, minlength=n_classes) / len(targets))


def _constant(targets: Targets, n_classes: int) -> Scores:
    """Return the scores, shape (w,), where nothing is known of a row."""
    if targets.dtype == np.float64:
        return np.array([targets.mean()])
    nearly = _nearly(targets, n_classes)
    if targets.ndim == 2:
        return np.asarray(logit(nearly))
    scores = np.log(nearly)
    return scores[1:] - scores[:1] if n_classes == 2 else scores


def _nearly(targets: Targets, n_classes: int) -> Scores:
    """Return shares away from 0 and 1, as our own model answers of a label that all rows have (Jeffreys' prior)."""
    n = len(targets)
    return (shares(targets, n_classes) * n + 0.5) / (n + 1)


def _fit(
    matrix: Sparse, targets: Targets, n_classes: int
) -> tuple[Scores, Scores, bool]:
    """Return coefficients, intercepts, and whether the solver converged."""
    if targets.dtype == np.float64:
        model = Ridge(alpha=ALPHA).fit(matrix, targets)
        return model.coef_[None], np.array([model.intercept_]), True
    if targets.ndim == 1:
        return _fit_classes(matrix, targets, n_classes)
    coef = np.zeros((n_classes, matrix.shape[1]))
    intercept, converged = _constant(targets, n_classes), True
    for j, y in enumerate(targets.T):
        if y.any() and not y.all():
            found, own, is_done = _logistic_regression(matrix, y)
            coef[j], intercept[j] = found[0], own[0]
            converged = converged and is_done
    return coef, intercept, converged


def _fit_classes(
    matrix: Sparse, y: Targets, n_classes: int
) -> tuple[Scores, Scores, bool]:
    """Fit on the classes that there are; one that no row has is as likely as that of half a row."""
    known, numbers = np.unique(y, return_inverse=True)
    intercept = _constant(y, n_classes)
    coef = np.zeros((len(intercept), matrix.shape[1]))
    if len(known) < 2:
        return coef, intercept, True
    found, own, converged = _logistic_regression(matrix, numbers)
    if len(known) == n_classes:
        return found, own, converged
    if len(known) == 2:  # one score for both
        found, own = np.vstack([-found, found]) / 2, np.append(-own, own) / 2
    coef[known] = found
    intercept[known] = own - own.mean() + intercept[known].mean()
    return coef, intercept, converged


def _logistic_regression(matrix: Sparse, y: Targets) -> tuple[Scores, Scores, bool]:
    model = LogisticRegression(C=C, solver=SOLVER, max_iter=MAX_ITER)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(matrix, y)
    converged = not any(
        issubclass(warning.category, ConvergenceWarning) for warning in caught
    )
    return model.coef_, model.intercept_, converged


def out_of_fold_scores(
    kind: str,
    rows: Sequence[Text],
    targets: Targets,
    folds: NDArray[np.int8],
    n_classes: int,
) -> Scores:
    """Return the scores of rows that are fitted on, each by a model without the row's fold, shape (n, w).

    The arguments are those of `fit_term_model`, with the fold of each row.
    """
    parts: list[Scores] = []
    places: list[NDArray[np.int64]] = []
    for fold in np.unique(folds):
        inside, out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        known, others = ([rows[i] for i in some.tolist()] for some in (inside, out))
        model = fit_term_model(kind, known, targets[inside], n_classes)
        parts.append(model.scores(others))
        places.append(out)
    return np.asarray(np.concatenate(parts)[np.argsort(np.concatenate(places))])


def save_term_model(model: TermModel, folder: Path) -> None:
    """Write a model as ``<kind>.json``, its terms, and ``<kind>.<array>.npy``."""
    disk.write(folder / f"{model.kind}.json", json.dumps(model.terms).encode())
    for name in ARRAYS:
        disk.save_array(folder / f"{model.kind}.{name}.npy", getattr(model, name))


def load_term_model(folder: Path, kind: str) -> TermModel:
    """Read what `save_term_model` wrote."""
    terms = json.loads(disk.read(folder / f"{kind}.json"))
    idf, coef, intercept = (
        disk.load_array(folder / f"{kind}.{name}.npy") for name in ARRAYS
    )
    return TermModel(kind, terms, idf, coef, intercept)

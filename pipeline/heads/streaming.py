"""Logistic regression on features that lie on disk and need not fit in memory.

The rows are read a block at a time, in a few passes: one for mean and scale, then one a step of the solver (see
`fit_stream`).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import numpy as np
import sklearn
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.heads import logreg
from pipeline.heads.head import Features, Head
from pipeline.heads.logreg import Labels
from pipeline.heads.objective import (
    Block,
    Matrix,
    Objective,
    chunks_of,
    one_blas_thread,
    usable_scale,
    weights_of,
)
from pipeline.heads.search import best_c, search_c
from pipeline.heads.solvers import Fit, Solve, newton, solver_for

# Up to here fit_head is as fast; it needs five times as much: float64, and its solver's copy.
IN_MEMORY_BYTES = 2**30
SEARCH_BYTES = 2**28  # rows to search C on, and to start from: 175,000 of 384 features
RARE_ROWS = 10  # of a class that the rows to search C on lack
START_SHARE = 4  # a start from a part of the rows pays where all are so many times more
START_TOLERANCE = 1e-4  # for that start: the part's own optimum lies further off


class FeatureRows(Protocol):
    """Stored features, as this module reads them."""

    @property
    def dim(self) -> int:
        """Number of features of a row, d."""

    def __len__(self) -> int:
        """Return the number of rows, n."""

    def blocks(self) -> Iterator[Block]:
        """Yield each row once, in any order: row numbers, shape (m,), and float32 features, shape (m, d).

        It is called once a pass. Peak memory grows with the largest m; some thousands are enough.
        """

    def take(self, rows: NDArray[np.int64]) -> Features:
        """Return these rows in this order, shape (len(rows), d)."""

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return at most `m` row numbers, sorted, always the same ones."""


def fit_stored(
    features: FeatureRows, labels: Labels, spec: HeadSpec, folds: NDArray[np.int8]
) -> Head:
    """Fit the head on stored training rows, searching C first where ``spec.C`` is ``auto``.

    Up to `IN_MEMORY_BYTES` of features this is `logreg.fit_head`. Beyond, C is searched on a sample of
    `SEARCH_BYTES`, and the head is fitted by `fit_stream` on all rows. The sample's C serves for all rows: it weighs
    the penalty against the sum of the losses, not their mean, and so is the variance of a Gaussian prior on the
    coefficients, which does not depend on the number of rows [1]_ [2]_.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    labels : ndarray, shape (n,)
        str or int.
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
        Fold of each row, for the search.

    Raises
    ------
    DataError
        If all features are constant, or a fold of the search leaves a single class.

    References
    ----------
    .. [1] Bishop, Pattern Recognition and Machine Learning (2006), section 4.5.1.
    .. [2] scikit-learn user guide, section 1.1.11, Logistic regression.
    """
    n = len(features)
    if n * features.dim * 4 <= IN_MEMORY_BYTES:
        return logreg.fit_head(features.take(np.arange(n)), labels, spec, folds)
    if spec.C != "auto":
        return fit_stream(features, labels, spec)
    classes, y = logreg.encode(labels)
    rows = _search_rows(features, y)
    search = search_c(features.take(rows), y[rows], folds[rows], spec)
    spec = replace(spec, C=best_c(search))
    return replace(_fit(features, y, classes, spec), search=search)


def rows_to_search(features: FeatureRows) -> NDArray[np.int64]:
    """Return the rows to search C on: all that fit in memory, else a sample."""
    n = len(features)
    if n * features.dim * 4 <= IN_MEMORY_BYTES:
        return np.arange(n)
    return features.sample(_rows_of(SEARCH_BYTES, features.dim))


def _search_rows(features: FeatureRows, y: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the rows to search C on, some of each class among them."""
    rows = rows_to_search(features)
    missing = np.setdiff1d(np.unique(y), y[rows])
    added = [np.flatnonzero(y == number)[:RARE_ROWS] for number in missing]
    return np.sort(np.concatenate([rows, *added]))


def _rows_of(size_bytes: int, dim: int) -> int:
    return max(1, size_bytes // (4 * dim))


def fit_stream(features: FeatureRows, labels: Labels, spec: HeadSpec) -> Head:
    """Fit the head for a given C in passes over the stored rows.

    The coefficients are those of scikit-learn's ``LogisticRegression`` on standardised features, to its tolerance:
    no component of the mean objective's gradient above `logreg.TOLERANCE`. Up to `solvers.NEWTON_SIZE` coefficients
    the solver is Newton's method, from there on L-BFGS. Where rows are many, both start from the optimum of a sample.
    Memory is that of a block, the sample, the labels, and for Newton's method a Hessian (the number of coefficients
    squared, float64) a thread.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    labels : ndarray, shape (n,)
        str or int, of two classes or more.
    spec : HeadSpec
        With a number as C.

    Returns
    -------
    Head
        Its solver is ``newton-stream`` or ``lbfgs-stream``.

    Raises
    ------
    DataError
        If all features are constant.
    """
    classes, y = logreg.encode(labels)
    return _fit(features, y, classes, spec)


def score_stored(head: Head, features: FeatureRows) -> Matrix:
    """Return `Head.outputs` of stored rows, shape (n, k), in the order of their numbers."""
    outputs = np.empty((len(features), max(1, len(head.classes))))
    for rows, values in chunks_of(features.blocks()):
        outputs[rows] = head.outputs(values)
    return outputs


def moments(features: FeatureRows) -> tuple[Matrix, Matrix]:
    """Return the mean of each feature and what it is divided by, both of shape (d,).

    Each chunk has its own mean and squared deviations, which are then merged (Chan, Golub and LeVeque, Algorithms
    for computing the sample variance, The American Statistician 37, 1983): no sum of squares cancels.
    """
    n, mean, squares = 0, np.zeros(features.dim), np.zeros(features.dim)
    for _, values in chunks_of(features.blocks()):
        deviations = values.astype(np.float64)
        m, part_mean = len(deviations), deviations.mean(axis=0)
        deviations -= part_mean
        shift = part_mean - mean
        mean += shift * (m / (n + m))
        squares += np.einsum("ij,ij->j", deviations, deviations)
        squares += shift**2 * (n * m / (n + m))
        n += m
    return mean, usable_scale(mean, np.sqrt(squares / n), n)


def _fit(
    features: FeatureRows,
    y: NDArray[np.intp],
    classes: list[str] | list[int],
    spec: HeadSpec,
) -> Head:
    n, k = len(y), len(classes)
    mean, scale = moments(features)
    weights = weights_of(y, k, spec)
    objective = Objective(
        features.blocks, n, y, weights, mean, scale, 1 / (float(spec.C) * n)
    )
    solve = solver_for(features.dim * (1 if k == 2 else k))
    with one_blas_thread():
        start = _start(features, objective, solve)
        done = solve(objective, start, logreg.TOLERANCE)
    return Head(
        classes=classes,
        mean=mean,
        scale=scale,
        coef=done.params[:, :-1].copy(),
        intercept=done.params[:, -1].copy(),
        C=float(spec.C),
        class_weight=spec.class_weight,
        n_iter=done.n_iter,
        converged=done.converged,
        solver="newton-stream" if solve is newton else "lbfgs-stream",
        sklearn_version=sklearn.__version__,
    )


def _start(features: FeatureRows, objective: Objective, solve: Solve) -> Fit:
    """Return where to start from: a sample's optimum where rows are many, else zeros.

    It costs no pass, is off by its standard errors alone, and its Hessian is nearly that of all rows.
    """
    k = len(objective.weights)
    zeros = Fit(np.zeros((1 if k == 2 else k, features.dim + 1)), 0, False)
    m = _rows_of(SEARCH_BYTES, features.dim)
    if objective.n < START_SHARE * m:
        return zeros
    rows = features.sample(m)
    block = rows, features.take(rows)
    part = replace(objective, blocks=lambda: [block], n=len(rows))
    return solve(part, zeros, START_TOLERANCE)

"""The search for the regularisation, and quick fits on parts of the rows: cross-validation, learning curves.

Our own solvers walk from one C to the next and keep the Hessian while it serves, which is most of the work.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.head import Features, SearchPoint, probabilities_of
from pipeline.heads.objective import (
    Matrix,
    Objective,
    one_blas_thread,
    usable_scale,
    weights_of,
)
from pipeline.heads.solvers import Fit, newton, solver_for

GRID = tuple(float(f"{10.0**e:.3g}") for e in np.arange(-4.5, 1.01, 0.5))
RISES = 2  # a path ends when the log loss has risen so often: weaker regularisation only overfits more
TOLERANCE = 1e-4  # a search compares losses that differ far more than this
QUICK_OPERATIONS = 2.5e10  # of a fit that takes about a second
NEWTON_STEPS, LBFGS_STEPS = (
    8,
    400,
)  # operations a row and coefficient, in all iterations
EPSILON = 1e-15  # probabilities are kept this far from 0 and 1 in the log loss


def best_c(search: list[SearchPoint]) -> float:
    """Return the C of least out-of-fold log loss."""
    return min(search, key=lambda point: point.log_loss).C


def search_c(
    features: Features, y: NDArray[np.intp], folds: NDArray[np.int8], spec: HeadSpec
) -> list[SearchPoint]:
    """Return out-of-fold log loss and accuracy for each C of the grid, on the training rows alone.

    Each fold is scaled by its own training part and walks the grid from strong to weak regularisation,
    starting each fit from the last one's solution. A fold's path ends once its loss keeps rising, and the
    folds after it stop there too; only what all folds have is returned.
    """
    grid, n_classes = GRID, int(y.max()) + 1
    proba = np.zeros((len(GRID), len(y), n_classes))
    for fold in np.unique(folds):
        out = folds == fold
        seen = np.unique(y[~out])
        if len(seen) < 2:
            raise DataError(
                "C cannot be searched: texts that belong together stay in one fold, and without fold "
                f"{fold} a single class is left. Pass --C 1, or add texts."
            )
        inside = np.searchsorted(seen, y[~out])
        losses: list[float] = []
        path = _path(features[~out], inside, spec, features[out], grid)
        for i, found in enumerate(path):
            proba[i][np.ix_(out, seen)] = found
            losses.append(_log_loss(proba[i][out], y[out]))
            if sum(b > a for a, b in pairwise(losses)) >= RISES:
                grid = grid[: i + 1]
                break
    return [
        SearchPoint(
            C, _log_loss(proba[i], y), float((proba[i].argmax(axis=1) == y).mean())
        )
        for i, C in enumerate(grid)
    ]


def _path(
    features: Features,
    y: NDArray[np.intp],
    spec: HeadSpec,
    held_out: Features,
    grid: Sequence[float],
) -> Iterator[Matrix]:
    """Yield the probabilities of held-out rows, (m, k), from fits with each C of a grid."""
    n, k = len(y), int(y.max()) + 1
    mean, std = (np.asarray(f(features, 0, np.float64)) for f in (np.mean, np.std))
    scale = usable_scale(mean, std, n)
    weights, rows = weights_of(y, k, spec), np.arange(n)
    objective = Objective(
        lambda: [(rows, features)], n, y, weights, mean, scale, penalty=0.0
    )
    width = 1 if k == 2 else k
    solve = solver_for(width * features.shape[1])
    fit = Fit(np.zeros((width, features.shape[1] + 1)), 0, False)
    for C in grid:
        with one_blas_thread():
            part = replace(objective, penalty=1 / (C * n))
            fit = solve(part, fit, TOLERANCE)
        coef, intercept = fit.params[:, :-1], fit.params[:, -1]
        scores = (held_out - mean) / scale @ coef.T + intercept
        yield probabilities_of(scores[:, 0] if k == 2 else scores)


def affordable_rows(n_classes: int, n_features: int) -> int:
    """Return on how many rows `fit_and_predict` takes about a second on one core."""
    size = n_features * (1 if n_classes == 2 else n_classes)
    per_row = size * (
        NEWTON_STEPS * size if solver_for(size) is newton else LBFGS_STEPS
    )
    return int(QUICK_OPERATIONS // per_row)


def fit_and_predict(
    features: Features,
    y: NDArray[np.int64],
    others: Features,
    spec: HeadSpec,
    n_classes: int,
) -> NDArray[np.float64]:
    """Fit on some rows, to the tolerance of the search, and return the class probabilities of others.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    y : ndarray of int64, shape (n,)
        Classes, 0 to k - 1. Where they are all the same, or all features are, nothing is to be learnt, and every row
        gets the shares of the classes.
    others : ndarray of float32, shape (m, d)
    spec : HeadSpec
        With a number as C.
    n_classes : int
        k; classes that `y` lacks get the probability 0.

    Returns
    -------
    ndarray of float64, shape (m, k)
    """
    if (y == y[0]).all() or (features == features[0]).all():
        shares = np.bincount(y, minlength=n_classes) / len(y)
        return np.tile(shares, (len(others), 1))
    known, numbers = np.unique(y, return_inverse=True)
    proba = np.zeros((len(others), n_classes))
    proba[:, known] = next(_path(features, numbers, spec, others, [float(spec.C)]))
    return proba


def out_of_fold(
    features: Features,
    y: NDArray[np.int64],
    folds: NDArray[np.int8],
    spec: HeadSpec,
    n_classes: int,
) -> NDArray[np.float64] | None:
    """Return class probabilities of rows, each from a fit without the row's fold, shape (n, k).

    The arguments are those of `fit_and_predict`, with the fold of each row. None where there is one fold, or where
    without some fold a single class is left.
    """
    proba = np.zeros((len(y), n_classes))
    for fold in np.unique(folds):
        out = folds == fold
        if len(np.unique(y[~out])) < 2:
            return None
        proba[out] = fit_and_predict(
            features[~out], y[~out], features[out], spec, n_classes
        )
    return proba


def _log_loss(proba: NDArray[np.float64], y: NDArray[np.intp]) -> float:
    return float(-np.log(np.clip(proba[np.arange(len(y)), y], EPSILON, 1.0)).mean())

"""The search for the regularisation that several labels share, and quick fits of all of them on parts of the rows.

The logistic regressions of the labels are independent problems over the same rows, so they are solved together: a step
is two products of the features with a matrix of one column a label. L-BFGS takes it in coordinates in which the
curvature is at most that of a ball: the features' products bound every label's Hessian (Boehning and Lindsay,
Monotonicity of quadratic-approximation algorithms, Annals of the Institute of Statistical Mathematics 40, 1988), and
one eigendecomposition of them serves all labels and every C.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from pipeline.config import HeadSpec
from pipeline.heads.head import Features, SearchPoint
from pipeline.heads.objective import (
    Matrix,
    one_blas_thread,
    usable_scale,
    weights_of,
)
from pipeline.heads.search import EPSILON, GRID, QUICK_OPERATIONS, RISES

Flags = NDArray[np.bool_]
TOLERANCE = 1e-5  # largest component of the gradient, in the coordinates of the ball
MAX_ITER = 500
STEPS = 35  # of L-BFGS, as a rule


def search_labels(
    features: Features, Y: Flags, folds: NDArray[np.int8], spec: HeadSpec
) -> list[SearchPoint]:
    """Return mean out-of-fold log loss and accuracy over all labels, for each C of the grid that they share.

    A fold's path goes from strong to weak regularisation and ends once its loss keeps rising, as in
    `pipeline.heads.search.search_c`.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    Y : ndarray of bool, shape (n, k)
        Which rows have which labels.
    folds : ndarray of int8, shape (n,)
    spec : HeadSpec
    """
    grid = GRID
    totals = np.zeros((len(GRID), 2))  # of loss and of right answers, over the rows
    for fold in np.unique(folds):
        out = folds == fold
        losses: list[float] = []
        path = _path(features[~out], Y[~out], spec, features[out], grid)
        for i, found in enumerate(path):
            losses.append(binary_log_loss(found, Y[out]))
            share = float(((found >= 0.5) == Y[out]).mean())
            totals[i] += out.sum() * np.array([losses[-1], share])
            if sum(b > a for a, b in pairwise(losses)) >= RISES:
                grid = grid[: i + 1]
                break
    means = (totals / len(Y)).tolist()
    return [SearchPoint(C, *means[i]) for i, C in enumerate(grid)]


def fit_and_predict_labels(
    features: Features, Y: Flags, others: Features, spec: HeadSpec
) -> Matrix:
    """Fit all labels on some rows, to the tolerance of the search, and return the probabilities of others.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    Y : ndarray of bool, shape (n, k)
        A label that all rows have, or none, gets `constant_share`; so do all where the features do not vary.
    others : ndarray of float32, shape (m, d)
    spec : HeadSpec
        With a number as C.

    Returns
    -------
    ndarray of float64, shape (m, k)
    """
    if (features == features[0]).all():
        return np.tile([constant_share(y) for y in Y.T], (len(others), 1))
    return next(_path(features, Y, spec, others, [float(spec.C)]))


def affordable_rows_of_labels(n_labels: int, n_features: int) -> int:
    """Return on how many rows `fit_and_predict_labels` takes about a second on one core."""
    per_row = 4 * n_features**2 + STEPS * 4 * n_features * n_labels
    return int(QUICK_OPERATIONS // per_row)


def constant_share(y: Flags) -> float:
    """Return the probability of a label that all rows have, or none: not quite 1, or 0 (Jeffreys' prior)."""
    return float((y.sum() + 0.5) / (len(y) + 1))


def binary_log_loss(proba: Matrix, Y: Flags) -> float:
    """Return the mean log loss of all decisions, natural logarithm; both of shape (n, k)."""
    right = np.where(Y, proba, 1 - proba)
    return float(-np.log(np.clip(right, EPSILON, 1.0)).mean())


def _path(
    features: Features,
    Y: Flags,
    spec: HeadSpec,
    held_out: Features,
    grid: Sequence[float],
) -> Iterator[Matrix]:
    """Yield the probabilities of held-out rows, (m, k), from fits with each C of a grid."""
    mean, std = (np.asarray(f(features, 0, np.float64)) for f in (np.mean, np.std))
    scale = usable_scale(mean, std, len(Y))
    varying = Y.any(axis=0) & ~Y.all(axis=0)
    proba = np.tile([constant_share(y) for y in Y.T], (len(held_out), 1))
    with one_blas_thread():
        problem, axes = _Problem.of((features - mean) / scale, Y[:, varying], spec)
        others = (held_out - mean) / scale @ axes
    params = np.zeros((len(axes) + 1, int(varying.sum())))
    for C in grid:
        with one_blas_thread():
            params = problem.solve(C, params)
            scores = others @ params[:-1] + params[-1]
        proba[:, varying] = np.exp(-np.logaddexp(0.0, -scores))
        yield proba.copy()


@dataclass(frozen=True)
class _Problem:
    """The labels' logistic regressions over standardised features along the axes of their products.

    Attributes
    ----------
    Z : ndarray of float64, shape (n, d)
    Y : ndarray of bool, shape (n, k)
    weights : ndarray of float64, shape (n, k)
    curvature : ndarray of float64, shape (d,)
        Of the mean log loss along each axis, at most that (where rows have the weight 1).
    """

    Z: Matrix
    Y: Flags
    weights: Matrix
    curvature: Matrix

    @classmethod
    def of(cls, values: Matrix, Y: Flags, spec: HeadSpec) -> tuple["_Problem", Matrix]:
        """Return the problem of standardised features, shape (n, d), and its axes, shape (d, d)."""
        curvature, axes = np.linalg.eigh(values.T @ values / (4 * len(values)))
        weights = np.ones(Y.shape)
        for j, y in enumerate(Y.T.astype(np.intp)):
            weights[:, j] = weights_of(y, 2, spec)[y]
        return cls(values @ axes, Y, weights, np.maximum(curvature, 0.0)), axes

    def solve(self, C: float, start: Matrix) -> Matrix:
        """Return the coefficients and, last, the intercepts for a C, shape (d + 1, k), from those of another."""
        n = len(self.Z)
        penalty = 1 / (C * n)
        ball = np.append(1 / np.sqrt(self.curvature + penalty), 2.0)[:, None]

        def loss_and_gradient(flat: Matrix) -> tuple[float, Matrix]:
            params = flat.reshape(start.shape) * ball
            scores = self.Z @ params[:-1] + params[-1]
            losses = self.weights * (np.logaddexp(0.0, scores) - self.Y * scores)
            proba = np.exp(-np.logaddexp(0.0, -scores))
            residual = self.weights * (proba - self.Y) / n
            ridge = 0.5 * penalty * float((params[:-1] ** 2).sum())
            gradient = np.vstack(
                [self.Z.T @ residual + penalty * params[:-1], residual.sum(axis=0)]
            )
            return float(losses.sum() / n + ridge), (gradient * ball).ravel()

        done = minimize(
            loss_and_gradient,
            (start / ball).ravel(),
            method="L-BFGS-B",
            jac=True,
            options={
                "maxiter": MAX_ITER,
                "maxfun": 2 * MAX_ITER,
                "gtol": TOLERANCE,
                "ftol": np.finfo(np.float64).eps,
            },
        )
        return np.asarray(done.x.reshape(start.shape) * ball)

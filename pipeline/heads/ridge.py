"""Ridge regression on standardised features, of rows that need not fit in memory.

The objective is scikit-learn's, ``||y - X w - b||^2 + alpha ||w||^2`` with ``alpha = 1 / C``. What a fit takes of the
rows is a matrix of the smaller side's size [1]_, of which one eigendecomposition serves every C:

- the products of features, d x d, where rows are at least as many. They are sums over rows, read in one pass. Those
  of each fold are summed apart: the sums of a training part are those of all rows less the fold's, and the error on the
  fold follows from the fold's own sums.
- the products of rows, n x n, where features are more: there the rows need less memory than the sums would.

.. [1] T. Hastie, R. Tibshirani, J. Friedman (2009), The Elements of Statistical Learning, section 18.3.5.
"""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve

from pipeline.config import HeadSpec
from pipeline.errors import ConfigError
from pipeline.heads.head import Features, Head, RidgePoint
from pipeline.heads.objective import THREADS, chunks_of, one_blas_thread, usable_scale
from pipeline.heads.streaming import FeatureRows

GRID = tuple(float(f"{10.0**e:.3g}") for e in np.arange(-6.0, 1.01, 0.5))
AT_ONCE_BYTES = 2**32  # of all folds that are fitted side by side
MATRICES = 6  # of products that a fit needs, by sums
MATRICES_OF_ROWS = 4  # and by rows
ROUNDING = 4 * float(np.finfo(np.float64).eps)  # of products, as a share of their trace
Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Sums over rows of z = (features, value), less a shift that keeps them small.

    Attributes
    ----------
    n : int
    total : ndarray of float64, shape (d + 1,)
        Sum of z.
    products : ndarray of float64, shape (d + 1, d + 1)
        Sum of z z'.
    """

    n: int
    total: Vector
    products: Vector

    def __sub__(self, other: "Moments") -> "Moments":
        """Return the moments of the rows without some of them."""
        return Moments(
            self.n - other.n, self.total - other.total, self.products - other.products
        )

    def __add__(self, other: "Moments") -> "Moments":
        """Return the moments of two sets of rows."""
        return Moments(
            self.n + other.n, self.total + other.total, self.products + other.products
        )

    @property
    def mean(self) -> Vector:
        """Return the mean of z, less the shift."""
        return self.total / self.n

    @property
    def scatter(self) -> Vector:
        """Return the sum of (z - mean)(z - mean)', shape (d + 1, d + 1)."""
        return self.products - np.outer(self.total, self.mean)


def fit_ridge(
    features: FeatureRows, values: Vector, spec: HeadSpec, folds: NDArray[np.int8]
) -> Head:
    """Fit the head on stored training rows, searching C first where ``spec.C`` is ``auto``.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    values : ndarray of float64, shape (n,)
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
        Fold of each row, for the search.

    Raises
    ------
    ConfigError
        If classes are to be weighed: there are none.
    DataError
        If all features are constant.
    """
    if spec.class_weight != "none":
        raise ConfigError(
            f"--class-weight {spec.class_weight} weighs classes, and the labels are numbers. Leave it out, or pass "
            "--task classification."
        )
    with one_blas_thread():  # sums have one order whatever the machine
        parts = _parts_of(features, values, folds)
        search = _search(parts, folds, values) if spec.C == "auto" else []
        C = min(search, key=lambda point: point.mse).C if search else float(spec.C)
        fit = parts.without(None)
        coef = fit.coef(C)
    return Head(
        task="regression",
        classes=[],
        mean=fit.mean,
        scale=fit.scale,
        coef=coef[None],
        intercept=np.array([fit.centre]),  # standardised features have a mean of 0
        C=C,
        class_weight=spec.class_weight,
        n_iter=0,
        converged=True,
        solver="ridge",
        sklearn_version=sklearn.__version__,
        search=search,
    )


def fit_and_predict_values(
    features: Features, values: Vector, others: Features, spec: HeadSpec
) -> Vector:
    """Fit on some rows and return the answers for others, shape (m,).

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
        Where they do not vary, every answer is the mean.
    values : ndarray of float64, shape (n,)
    others : ndarray of float32, shape (m, d)
    spec : HeadSpec
        With a number as C.
    """
    if (features == features[0]).all():
        return np.full(len(others), values.mean())
    if len(features) < features.shape[1]:
        fit = _fit_of_rows(features, values)
    else:
        z = np.column_stack([features, values]).astype(np.float64)
        shift = z.mean(axis=0)
        z -= shift
        fit = _fit_of_moments(Moments(len(z), z.sum(axis=0), z.T @ z), shift)
    return fit.answers(others, fit.coef(float(spec.C)))


def affordable_rows_of_values(n_features: int, operations: float) -> int:
    """Return on how many rows `fit_and_predict_values` takes that many operations."""
    n_rows = int(operations // n_features**2)
    return n_rows if n_rows >= n_features else math.isqrt(int(operations // n_features))


@dataclass(frozen=True)
class _Fit:
    """Ridge regression of some rows.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (d,)
        Of the features.
    centre : float
        The mean value.
    products : ndarray of float64, shape (r, r)
        Of standardised features, or of rows.
    targets : ndarray of float64, shape (r,)
        The products of features with values, or the values.
    rows : ndarray of float64, shape (r, d), optional
        Standardised, where the products are theirs.
    """

    mean: Vector
    scale: Vector
    centre: float
    products: Vector
    targets: Vector
    rows: Vector | None = None

    def coef(self, C: float) -> Vector:
        """Return the coefficients of standardised features for one C, shape (d,).

        A penalty below the rounding of the products counts as that: what is smaller decides nothing but noise.
        """
        penalty = max(1 / C, ROUNDING * float(self.products.trace()))
        products = self.products.copy()
        products[np.diag_indices_from(products)] += penalty
        factor = cho_factor(products, lower=True, overwrite_a=True)
        return self._of_features(cho_solve(factor, self.targets))

    def coefs(self, Cs: Sequence[float]) -> Vector:
        """Return those for several C, none of them large, shape (d, len(Cs))."""
        eigenvalues, vectors = np.linalg.eigh(self.products)
        penalties = 1 / np.asarray(Cs)
        shrunk = (vectors.T @ self.targets)[:, None]
        shrunk = shrunk / (np.maximum(eigenvalues, 0.0)[:, None] + penalties)
        return self._of_features(vectors @ shrunk)

    def _of_features(self, solution: Vector) -> Vector:
        return solution if self.rows is None else self.rows.T @ solution

    def answers(self, features: Features, coef: Vector) -> Vector:
        """Return what rows are answered, shape (m,), or (m, c) by (d, c) coefficients."""
        return np.asarray((features - self.mean) / self.scale @ coef + self.centre)


def _fit_of_moments(moments: Moments, shift: Vector) -> _Fit:
    """Return the fit of rows by their sums, which are less a shift, shape (d + 1,)."""
    scatter, mean = moments.scatter, moments.mean + shift
    std = np.sqrt(np.maximum(np.diagonal(scatter)[:-1] / moments.n, 0.0))
    scale = usable_scale(mean[:-1], std, moments.n)
    products = scatter[:-1, :-1] / np.outer(scale, scale)
    targets = scatter[:-1, -1] / scale
    return _Fit(mean[:-1], scale, float(mean[-1]), products, targets)


def _fit_of_rows(features: Features, values: Vector) -> _Fit:
    """Return the fit of rows, shape (n, d), that are fewer than their features."""
    rows = features.astype(np.float64)
    mean, centre = rows.mean(axis=0), float(values.mean())
    rows -= mean
    variances = np.einsum("ij,ij->j", rows, rows) / len(rows)
    scale = usable_scale(mean, np.sqrt(variances), len(rows))
    rows /= scale
    return _Fit(mean, scale, centre, rows @ rows.T, values - centre, rows)


class _Parts(Protocol):
    """Rows in folds."""

    @property
    def fit_bytes(self) -> int:
        """The memory of a fit, about."""

    def without(self, fold: int | None) -> _Fit:
        """Return the fit of all rows without those of a fold."""

    def squared_errors(self, fold: int, fit: _Fit, coefs: Vector) -> Vector:
        """Return the sum of the squared errors on a fold's rows by each of (d, c) coefficients, shape (c,)."""


def _parts_of(features: FeatureRows, values: Vector, folds: NDArray[np.int8]) -> _Parts:
    if len(features) < features.dim:
        return _Rows(features.take(np.arange(len(features))), values, folds)
    return _Sums.of(features, values, folds)


@dataclass(frozen=True)
class _Rows:
    """Rows in memory, shape (n, d), where features are more."""

    features: Features
    values: Vector
    folds: NDArray[np.int8]

    @property
    def fit_bytes(self) -> int:
        n, d = len(self.features), len(self.features[0])
        return 8 * (MATRICES_OF_ROWS * n**2 + 2 * n * d)

    def without(self, fold: int | None) -> _Fit:
        if fold is None:
            return _fit_of_rows(self.features, self.values)
        rows, values = (one[self.folds != fold] for one in (self.features, self.values))
        if (rows == rows[0]).all():  # nothing to tell them by: every answer is the mean
            zeros = np.zeros((1, rows.shape[1]))
            mean, scale = rows[0].astype(np.float64), np.ones(rows.shape[1])
            return _Fit(
                mean, scale, float(values.mean()), zeros @ zeros.T, zeros[0, :1], zeros
            )
        return _fit_of_rows(rows, values)

    def squared_errors(self, fold: int, fit: _Fit, coefs: Vector) -> Vector:
        own = self.folds == fold
        errors = self.values[own, None] - fit.answers(self.features[own], coefs)
        return np.asarray((errors**2).sum(axis=0))


@dataclass(frozen=True)
class _Sums:
    """The moments of each fold's rows, of all, and what they are less, shape (d + 1,)."""

    shift: Vector
    of_folds: dict[int, Moments]
    whole: Moments

    @classmethod
    def of(
        cls, features: FeatureRows, values: Vector, folds: NDArray[np.int8]
    ) -> "_Sums":
        """Read the rows once."""
        width = features.dim + 1
        first = features.take(features.sample(min(len(features), 1_024)))
        shift = np.append(first.astype(np.float64).mean(axis=0), values.mean())
        zeros = Moments(0, np.zeros(width), np.zeros((width, width)))
        parts = dict.fromkeys(np.unique(folds).tolist(), zeros)
        for rows, block in chunks_of(features.blocks()):
            z = np.column_stack([block, values[rows]]) - shift
            for fold in np.unique(folds[rows]).tolist():
                own = z[folds[rows] == fold]
                parts[fold] += Moments(len(own), own.sum(axis=0), own.T @ own)
        return cls(shift, parts, sum(parts.values(), start=zeros))

    @property
    def fit_bytes(self) -> int:
        return 8 * MATRICES * len(self.shift) ** 2

    def without(self, fold: int | None) -> _Fit:
        moments = self.whole if fold is None else self.whole - self.of_folds[fold]
        return _fit_of_moments(moments, self.shift)

    def squared_errors(self, fold: int, fit: _Fit, coefs: Vector) -> Vector:
        part = self.of_folds[fold]
        mean = np.append(fit.mean, fit.centre) - self.shift
        directions = np.vstack([-coefs / fit.scale[:, None], np.ones(coefs.shape[1])])
        along, offset = part.total @ directions, mean @ directions
        squares = np.einsum("ij,ij->j", directions, part.products @ directions)
        return np.asarray(squares - 2 * along * offset + part.n * offset**2)


def _search(parts: _Parts, folds: NDArray[np.int8], values: Vector) -> list[RidgePoint]:
    """Return the out-of-fold error for each C of the grid; several folds are fitted at a time."""
    names = np.unique(folds).tolist()
    n_threads = max(1, min(THREADS, len(names), AT_ONCE_BYTES // parts.fit_bytes))
    with ThreadPoolExecutor(n_threads) as pool:
        squares = np.sum(list(pool.map(partial(_squared_errors, parts), names)), axis=0)
    mse = squares / len(values)
    variance = np.var(values)
    return [
        RidgePoint(C, float(error), float(1 - error / variance))
        for C, error in zip(GRID, mse, strict=True)
    ]


def _squared_errors(parts: _Parts, fold: int) -> Vector:
    """Return the sum of the squared errors on a fold's rows for each C of the grid, shape (len(GRID),)."""
    fit = parts.without(fold)
    return parts.squared_errors(fold, fit, fit.coefs(GRID))

"""Ridge regression on standardised features, in one pass over rows that need not fit in memory.

The objective is scikit-learn's, ``||y - X w - b||^2 + alpha ||w||^2`` with ``alpha = 1 / C``. All it takes of the rows
are their moments: sums of features, values, and products of both. Those of each fold are summed apart, so that
cross-validation is arithmetic on d x d matrices: the moments of the training part are those of all rows less the
fold's, one eigendecomposition serves every C, and the error on the fold follows from the fold's own moments.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sklearn
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.errors import ConfigError
from pipeline.heads.head import Features, Head, RidgePoint
from pipeline.heads.objective import chunks_of, one_blas_thread, usable_scale
from pipeline.heads.streaming import FeatureRows

GRID = tuple(float(f"{10.0**e:.3g}") for e in np.arange(-6.0, 1.01, 0.5))
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
        shift, parts = _moments_by_fold(features, values, folds)
        whole = sum(parts[1:], start=parts[0])
        search = _search(whole, parts, shift) if spec.C == "auto" else []
        C = min(search, key=lambda point: point.mse).C if search else float(spec.C)
        scale = _scale(whole, shift)
        coef = _Spectrum.of(whole, scale).solve(C)
    mean = whole.mean + shift
    return Head(
        task="regression",
        classes=[],
        mean=mean[:-1],
        scale=scale,
        coef=coef[None],
        intercept=mean[-1:].copy(),  # standardised features have a mean of 0
        C=C,
        class_weight=spec.class_weight,
        n_iter=0,
        converged=True,
        solver="ridge-eigh",
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
    z = np.column_stack([features, values]).astype(np.float64)
    shift = z.mean(axis=0)
    z -= shift
    moments = Moments(len(z), z.sum(axis=0), z.T @ z)
    scale = _scale(moments, shift)
    coef = _Spectrum.of(moments, scale).solve(float(spec.C))
    return np.asarray((others - shift[:-1]) / scale @ coef + shift[-1])


def _moments_by_fold(
    features: FeatureRows, values: Vector, folds: NDArray[np.int8]
) -> tuple[Vector, list[Moments]]:
    """Return what z was shifted by, shape (d + 1,), and the moments of each fold's rows."""
    width = features.dim + 1
    first = features.take(features.sample(min(len(features), 1_024)))
    shift = np.append(first.astype(np.float64).mean(axis=0), values.mean())
    parts = [
        Moments(0, np.zeros(width), np.zeros((width, width))) for _ in np.unique(folds)
    ]
    number = np.searchsorted(np.unique(folds), folds)
    for rows, block in chunks_of(features.blocks()):
        z = np.column_stack([block, values[rows]]) - shift
        for i in np.unique(number[rows]).tolist():
            own = z[number[rows] == i]
            parts[i] += Moments(len(own), own.sum(axis=0), own.T @ own)
    return shift, parts


def _scale(moments: Moments, shift: Vector) -> Vector:
    variances = np.diagonal(moments.scatter)[:-1] / moments.n
    std = np.sqrt(np.maximum(variances, 0.0))
    return usable_scale((moments.mean + shift)[:-1], std, moments.n)


@dataclass(frozen=True)
class _Spectrum:
    """The eigenvalues and vectors of standardised features' products, and the products with values in their basis."""

    values: Vector
    vectors: Vector
    targets: Vector

    @classmethod
    def of(cls, moments: Moments, scale: Vector) -> "_Spectrum":
        scatter = moments.scatter
        values, vectors = np.linalg.eigh(scatter[:-1, :-1] / np.outer(scale, scale))
        return cls(values, vectors, vectors.T @ (scatter[:-1, -1] / scale))

    def solve(self, C: float) -> Vector:
        """Return the coefficients of standardised features, shape (d,)."""
        return self.vectors @ (self.targets / (np.maximum(self.values, 0.0) + 1 / C))


def _search(
    whole: Moments, parts: Sequence[Moments], shift: Vector
) -> list[RidgePoint]:
    """Return the out-of-fold error for each C of the grid."""
    squares = np.zeros(len(GRID))
    for part in parts:
        fitted = whole - part
        scale = _scale(fitted, shift)
        spectrum = _Spectrum.of(fitted, scale)
        for i, C in enumerate(GRID):
            squares[i] += _squared_error(part, fitted.mean, spectrum.solve(C) / scale)
    mse = squares / whole.n
    variance = whole.scatter[-1, -1] / whole.n
    return [
        RidgePoint(C, float(error), float(1 - error / variance))
        for C, error in zip(GRID, mse, strict=True)
    ]


def _squared_error(part: Moments, mean: Vector, coef: Vector) -> float:
    """Return the sum over rows of ((value - its mean) - (features - their mean) coef)^2, by the rows' moments."""
    direction = np.append(-coef, 1.0)
    centred = (
        part.products
        - np.outer(part.total, mean)
        - np.outer(mean, part.total)
        + part.n * np.outer(mean, mean)
    )
    return float(direction @ centred @ direction)

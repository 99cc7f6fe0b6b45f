"""Logistic regression on standardised features, as scikit-learn fits it."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from pipeline.config import HeadSpec
from pipeline.heads.head import Features, Head
from pipeline.heads.objective import usable_scale
from pipeline.heads.search import best_c, search_c
from pipeline.heads.solvers import MAX_ITER, newton, solver_for

Labels = NDArray[np.int64] | NDArray[np.object_]
TOLERANCE = 1e-6


def fit_head(
    features: Features, labels: Labels, spec: HeadSpec, folds: NDArray[np.int8]
) -> Head:
    """Fit the head on the training rows, searching C first where ``spec.C`` is ``auto``.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    labels : ndarray, shape (n,)
        str or int.
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
        Fold of each row, for the search.

    Raises
    ------
    DataError
        If all features are constant.
    """
    classes, y = encode(labels)
    search = [] if spec.C != "auto" else search_c(features, y, folds, spec)
    C = best_c(search) if search else float(spec.C)
    head = fit_standardised(Scaled.of(features), y, classes, replace(spec, C=C))
    return replace(head, search=search)


def encode(labels: Labels) -> tuple[list[str] | list[int], NDArray[np.intp]]:
    """Return the sorted classes and the class index of each label, shape (n,)."""
    classes = sorted(set(labels.tolist()))
    return classes, np.searchsorted(np.array(classes, dtype=labels.dtype), labels)


@dataclass(frozen=True)
class Scaled:
    """Standardised features, float64, with the scaling that made them."""

    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features) -> "Scaled":
        """Standardise features, shape (n, d)."""
        values = features.astype(np.float64)
        mean = values.mean(axis=0)
        scale = usable_scale(mean, values.std(axis=0), len(values))
        values -= mean
        values /= scale
        return cls(values, mean, scale)


def estimator_of(
    n_classes: int, n_features: int, spec: HeadSpec, solver: str = ""
) -> LogisticRegression:
    """Return scikit-learn's logistic regression, not fitted; without `solver` with the one cheaper for many rows."""
    size = n_features * (1 if n_classes == 2 else n_classes)
    solver = solver or ("newton-cholesky" if solver_for(size) is newton else "lbfgs")
    return LogisticRegression(
        C=spec.C,
        class_weight=None if spec.class_weight == "none" else spec.class_weight,
        solver=solver,
        max_iter=MAX_ITER[solver],
        tol=TOLERANCE,
    )


def fit_standardised(
    scaled: Scaled,
    y: NDArray[np.intp],
    classes: list[str] | list[int],
    spec: HeadSpec,
    solver: str = "",
) -> Head:
    """Fit the head for a given C on features that are scaled, and classes 0 to k - 1."""
    estimator, converged = fit_scaled(scaled, y, spec, solver)
    return Head(
        classes=classes,
        mean=scaled.mean,
        scale=scaled.scale,
        coef=np.asarray(estimator.coef_, dtype=np.float64),
        intercept=np.asarray(estimator.intercept_, dtype=np.float64),
        C=float(spec.C),
        class_weight=spec.class_weight,
        n_iter=int(np.max(estimator.n_iter_)),
        converged=converged,
        solver=str(estimator.solver),
        sklearn_version=sklearn.__version__,
    )


def fit_scaled(
    scaled: Scaled, y: NDArray[np.intp], spec: HeadSpec, solver: str = ""
) -> tuple[LogisticRegression, bool]:
    """Return a logistic regression fitted on classes 0 to k - 1, and whether the solver converged."""
    estimator = estimator_of(int(y.max()) + 1, scaled.values.shape[1], spec, solver)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(scaled.values, y)
    return estimator, not any(
        issubclass(warning.category, ConvergenceWarning) for warning in caught
    )

"""Logistic regression on standardised features, as scikit-learn fits it."""

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

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
    head = _fit(_Scaled.of(features), y, classes, replace(spec, C=C))
    return replace(head, search=search)


def encode(labels: Labels) -> tuple[list[str] | list[int], NDArray[np.intp]]:
    """Return the sorted classes and the class index of each label, shape (n,)."""
    classes = sorted(set(labels.tolist()))
    return classes, np.searchsorted(np.array(classes, dtype=labels.dtype), labels)


@dataclass(frozen=True)
class _Scaled:
    """Standardised features, float64, with the scaling that made them."""

    values: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features) -> "_Scaled":
        values = features.astype(np.float64)
        mean, scale = values.mean(axis=0), usable_scale(values.std(axis=0), len(values))
        values -= mean
        values /= scale
        return cls(values, mean, scale)


def _estimator(n_classes: int, n_features: int, spec: HeadSpec) -> LogisticRegression:
    size = n_features * (1 if n_classes == 2 else n_classes)
    solver = "newton-cholesky" if solver_for(size) is newton else "lbfgs"
    return LogisticRegression(
        C=spec.C,
        class_weight=None if spec.class_weight == "none" else spec.class_weight,
        solver=solver,
        max_iter=MAX_ITER[solver],
        tol=TOLERANCE,
    )


def _fit(
    scaled: _Scaled, y: NDArray[np.intp], classes: list[str] | list[int], spec: HeadSpec
) -> Head:
    estimator = _estimator(len(classes), scaled.values.shape[1], spec)
    converged = _fit_quietly(estimator, scaled.values, y)
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


def _fit_quietly(
    estimator: LogisticRegression, X: NDArray[np.float64], y: NDArray[np.intp]
) -> bool:
    """Fit, and tell whether the solver converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y)
    return not any(
        issubclass(warning.category, ConvergenceWarning) for warning in caught
    )


def to_sklearn(head: Head) -> "Pipeline":
    """Return the fitted scikit-learn pipeline (scaler, logistic regression) equal to `head`.

    It predicts from features, shape (n, d), not from texts.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler()
    scaler.mean_, scaler.scale_, scaler.var_ = head.mean, head.scale, head.scale**2
    scaler.n_features_in_ = len(head.mean)
    scaler.n_samples_seen_ = 1
    spec = HeadSpec(C=head.C, class_weight=head.class_weight)
    classifier = _estimator(len(head.classes), len(head.mean), spec)
    classifier.classes_ = np.array(
        head.classes, dtype=object if isinstance(head.classes[0], str) else np.int64
    )
    classifier.coef_, classifier.intercept_ = head.coef, head.intercept
    classifier.n_features_in_ = len(head.mean)
    classifier.n_iter_ = np.array([head.n_iter], dtype=np.int32)
    return make_pipeline(scaler, classifier)

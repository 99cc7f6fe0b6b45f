"""Logistic regression on standardised features, and the search for its regularisation."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.head import Features, Head, SearchPoint, probabilities_of
from pipeline.heads.objective import Matrix, Objective, one_blas_thread
from pipeline.heads.solvers import MAX_ITER, Fit, newton, solver_for

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Labels = NDArray[np.int64] | NDArray[np.object_]
GRID = tuple(float(f"{10.0**e:.3g}") for e in np.arange(-4.5, 1.01, 0.5))
RISES = 2  # a path ends when the log loss has risen so often: weaker regularisation only overfits more
TOLERANCE, SEARCH_TOLERANCE = (
    1e-6,
    1e-4,
)  # a search compares losses that differ far more than this
QUICK_OPERATIONS = 2.5e10  # of a fit that takes about a second
NEWTON_STEPS, LBFGS_STEPS = (
    8,
    400,
)  # operations a row and coefficient, in all iterations
# Share of the largest standard deviation: sums of float32 in an encoder agree to no more.
NEGLIGIBLE = float(np.finfo(np.float32).eps)
EPSILON = 1e-15  # probabilities are kept this far from 0 and 1 in the log loss


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


def best_c(search: list[SearchPoint]) -> float:
    """Return the C of least out-of-fold log loss."""
    return min(search, key=lambda point: point.log_loss).C


def usable_scale(std: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return what each feature is divided by: its standard deviation, or 1 where it hardly varies.

    Some encoders have dimensions that are all but dead: what varies there is rounding, which another batch or
    float16 changes, and division would make it as large as everything else.

    Parameters
    ----------
    std : ndarray of float64, shape (d,)
    n : int
        Rows it was taken of.

    Raises
    ------
    DataError
        If no feature varies.
    """
    if not (std > 0).any():
        raise DataError(
            f"All {n:,} texts to fit on have the same features. Check the text column and the pooling."
        )
    return np.where(std > NEGLIGIBLE * std.max(), std, 1.0)


def weights_of(y: NDArray[np.intp], n_classes: int, spec: HeadSpec) -> Matrix:
    """Return the weight of each class, shape (k,), as scikit-learn's ``class_weight`` means it."""
    if spec.class_weight == "balanced":
        return np.asarray(len(y) / (n_classes * np.bincount(y)))
    return np.ones(n_classes)


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
    """Yield the probabilities of held-out rows, (m, k), from fits with each C of a grid.

    Our own solvers: from one C to the next they keep the Hessian while it serves, which is most of the work.
    """
    n, k = len(y), int(y.max()) + 1
    mean, std = (np.asarray(f(features, 0, np.float64)) for f in (np.mean, np.std))
    scale = usable_scale(std, n)
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
            fit = solve(part, fit, SEARCH_TOLERANCE)
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

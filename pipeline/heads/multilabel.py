"""Any number of labels a row: a logistic regression for each, over the same standardised features (one versus rest)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import sklearn
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.datasets.targets import label_matrix
from pipeline.heads import streaming
from pipeline.heads.head import Head
from pipeline.heads.label_search import constant_share, search_labels
from pipeline.heads.logreg import Scaled, fit_scaled
from pipeline.heads.search import best_c
from pipeline.heads.streaming import IN_MEMORY_BYTES, FeatureRows


def fit_labels(
    features: FeatureRows,
    labels: NDArray[np.object_],
    names: Sequence[str],
    spec: HeadSpec,
    folds: NDArray[np.int8],
) -> Head:
    """Fit one logistic regression a label, searching first the C that they share where ``spec.C`` is ``auto``.

    A label that all rows have, or none, gets coefficients of 0 and nearly its share. Beyond
    `streaming.IN_MEMORY_BYTES` of features each label is fitted in passes over the stored rows.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    labels : ndarray of object holding tuples of str, shape (n,)
    names : sequence of str, length k
        The labels, in the order of probabilities.
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
        Fold of each row, for the search.

    Raises
    ------
    DataError
        If all features are constant.
    """
    Y, search = label_matrix(labels, names), []
    if spec.C == "auto":
        rows = streaming.rows_to_search(features)
        search = search_labels(features.take(rows), Y[rows], folds[rows], spec)
        spec = replace(spec, C=best_c(search))
    solved = _solve(features, Y, spec)
    return Head(
        task="multilabel",
        classes=list(names),
        mean=solved.mean,
        scale=solved.scale,
        coef=solved.coef,
        intercept=solved.intercept,
        C=float(spec.C),
        class_weight=spec.class_weight,
        n_iter=solved.n_iter,
        converged=solved.converged,
        solver=solved.solver,
        sklearn_version=sklearn.__version__,
        search=search,
    )


class _Solved(NamedTuple):
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    n_iter: int
    converged: bool
    solver: str


def _solve(features: FeatureRows, Y: NDArray[np.bool_], spec: HeadSpec) -> _Solved:
    """Fit the labels one after the other; scale and solver are the same for all."""
    coef = np.zeros((Y.shape[1], features.dim))
    intercept = np.zeros(Y.shape[1])
    n_iter, converged, solver = 0, True, ""
    is_small = len(features) * features.dim * 4 <= IN_MEMORY_BYTES
    if is_small:
        scaled = Scaled.of(features.take(np.arange(len(features))))
        mean, scale = scaled.mean, scaled.scale
    else:
        mean, scale = streaming.moments(features)
    for j, y in enumerate(Y.T):
        if y.all() or not y.any():
            share = constant_share(y)
            intercept[j] = np.log(share / (1 - share))
            continue
        if is_small:
            model, is_done = fit_scaled(scaled, y.astype(np.intp), spec)
            coef[j], intercept[j] = model.coef_[0], model.intercept_[0]
            steps, solver = int(np.max(model.n_iter_)), str(model.solver)
        else:
            head = streaming.fit_stream(features, y.astype(np.int64), spec)
            coef[j], intercept[j] = head.coef[0], head.intercept[0]
            steps, is_done, solver = head.n_iter, head.converged, head.solver
        n_iter, converged = max(n_iter, steps), converged and is_done
    return _Solved(mean, scale, coef, intercept, n_iter, converged, solver)

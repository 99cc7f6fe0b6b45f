"""Quick fits of any kind of head on parts of the rows: for learning curves, and for answers out of fold."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.heads.head import Features
from pipeline.heads.label_search import (
    affordable_rows_of_labels,
    fit_and_predict_labels,
)
from pipeline.heads.ridge import affordable_rows_of_values, fit_and_predict_values
from pipeline.heads.search import (
    QUICK_OPERATIONS,
    affordable_rows,
    fit_and_predict,
    out_of_fold,
)

Targets = NDArray[Any]  # Any: as `pipeline.datasets.targets.targets_of` returns them
Outputs = NDArray[np.float64]


def quick_rows(targets: Targets, n_classes: int, n_features: int) -> int:
    """Return on how many rows `quick_outputs` takes about a second on one core."""
    if targets.dtype == np.bool_:
        return affordable_rows_of_labels(int(targets.shape[1]), n_features)
    if targets.dtype == np.int64:
        return affordable_rows(n_classes, n_features)
    return affordable_rows_of_values(n_features, QUICK_OPERATIONS)


def quick_outputs(
    features: Features,
    targets: Targets,
    others: Features,
    spec: HeadSpec,
    n_classes: int,
) -> Outputs:
    """Fit on some rows and return what `pipeline.heads.head.Head.outputs` would be of others.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    targets : ndarray
        int64 (n,): classes; bool (n, k): which labels; float64 (n,): values.
    others : ndarray of float32, shape (m, d)
    spec : HeadSpec
        With a number as C.
    n_classes : int
        Of classes alone: k.

    Returns
    -------
    ndarray of float64, shape (m, k), or (m, 1) for values
    """
    if targets.dtype == np.bool_:
        return fit_and_predict_labels(features, targets, others, spec)
    if targets.dtype == np.int64:
        return fit_and_predict(features, targets, others, spec, n_classes)
    return fit_and_predict_values(features, targets, others, spec)[:, None]


def quick_out_of_fold(
    features: Features,
    targets: Targets,
    folds: NDArray[np.int8],
    spec: HeadSpec,
    n_classes: int,
) -> Outputs | None:
    """Return the outputs of rows, each from a fit without the row's fold; None where that cannot be.

    The arguments are those of `quick_outputs`, with the fold of each row.
    """
    if targets.dtype == np.int64:
        return out_of_fold(features, targets, folds, spec, n_classes)
    if len(np.unique(folds)) < 2:
        return None
    outputs = np.zeros((len(targets), targets[:1].size))
    for fold in np.unique(folds):
        out = folds == fold
        outputs[out] = quick_outputs(
            features[~out], targets[~out], features[out], spec, n_classes
        )
    return outputs

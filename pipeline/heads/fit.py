"""The head for each kind of label, fitted on stored features."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.head import Head
from pipeline.heads.multilabel import fit_labels
from pipeline.heads.ridge import fit_ridge
from pipeline.heads.streaming import FeatureRows, fit_stored


def fit_task(
    features: FeatureRows,
    labels: NDArray[Any],  # Any: see below
    spec: HeadSpec,
    folds: NDArray[np.int8],
    *,
    task: str,
    names: Sequence[str] = (),
) -> Head:
    """Fit logistic regression, one for each label, or ridge regression.

    Parameters
    ----------
    features : FeatureRows
        n rows to fit on.
    labels : ndarray, shape (n,)
        As in `pipeline.datasets.table.Table`.
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
    task : {"classification", "multilabel", "regression"}
    names : sequence of str
        The labels that a row may have several of.

    Raises
    ------
    DataError
        If all features are constant, or C cannot be searched.
    """
    if spec.C == "auto" and len(np.unique(folds)) < 2:
        raise DataError(
            "C cannot be searched: all texts to fit on belong together, so they are in one fold. Pass --C 1, or add "
            "texts."
        )
    if task == "regression":
        return fit_ridge(features, labels, spec, folds)
    if task == "multilabel":
        return fit_labels(features, labels, names, spec, folds)
    return fit_stored(features, labels, spec, folds)

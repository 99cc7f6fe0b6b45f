"""The kinds of answers by the type of their truth: classes, labels and values."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.values import ScoredValues

AnyScored = Scored | ScoredLabels | ScoredValues


def scored_of(
    y: NDArray[Any],  # Any: one of the three below
    outputs: NDArray[np.float64],
    answers: NDArray[Any] | None = None,
) -> AnyScored:
    """Return what a system answers, of the kind that the truth is.

    Parameters
    ----------
    y : ndarray
        int64 (n,): classes; bool (n, k): which labels; float64 (n,): values.
    outputs : ndarray of float64, shape (n, k) or (n, 1)
        As `pipeline.heads.head.Head.outputs` returns them.
    answers : ndarray, optional
        As `pipeline.heads.head.Head.decide` returns them. None: the most probable class; labels of one half or more.
    """
    if y.dtype == np.bool_:
        return ScoredLabels(y, outputs, answers)
    if y.dtype == np.int64:
        return Scored(y, outputs, answers)
    return ScoredValues(y, outputs[:, 0])

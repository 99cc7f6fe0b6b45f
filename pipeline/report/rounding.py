"""What storing features as float16 can have changed in the scores of a head."""

from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pipeline.heads.head import Features, Head
from pipeline.heads.objective import chunks_of
from pipeline.heads.streaming import FeatureRows


def float16_effect(head: Head, features: FeatureRows) -> dict[str, Any]:
    """Return how far rounding to float16 moves scores, and how many labels that can change.

    A stored value stands for all that round to it: its error is at most half the distance to its neighbour, and
    evenly distributed (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 2.8). Errors of different
    features are taken as independent for what is expected, and as all against the label for what is possible.

    Parameters
    ----------
    head : Head
        As it was fitted; what rounding did to the fit itself is not in the figures.
    features : FeatureRows
        Rows that are scored, as stored.

    Returns
    -------
    dict
        ``rows``; ``margin_rms``: root mean square of the change of the score (two classes) or of the lead of the
        first class over the second; ``labels_expected``: how many labels are expected to change; ``labels_possible``:
        how many can at all.
    """
    n = possible = 0
    squares = expected = 0.0
    for _, values in chunks_of(features.blocks()):
        margin, weights = _lead(head, values)  # (m,), (m, d)
        step = np.spacing(np.abs(values).astype(np.float16)).astype(np.float64)
        moved = np.abs(weights) * step  # what a whole step of each feature does
        variance = (moved**2).sum(axis=1) / 12  # of an even distribution one step wide
        squares += float(variance.sum())
        sigma = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
        expected += float(ndtr(-margin / sigma).sum())
        possible += int((margin <= moved.sum(axis=1) / 2).sum())
        n += len(values)
    return {
        "rows": n,
        "margin_rms": sqrt(squares / n),
        "labels_expected": expected,
        "labels_possible": possible,
    }


def _lead(
    head: Head, values: Features
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much each row's first class leads, shape (m,), and what a feature's unit adds to that, (m, d)."""
    scores = head.decision(values)
    weights = head.coef / head.scale
    if scores.ndim == 1:
        return np.abs(scores), np.broadcast_to(weights, values.shape)
    second, first = np.argsort(scores, axis=1)[:, -2:].T
    rows = np.arange(len(scores))
    return scores[rows, first] - scores[rows, second], weights[first] - weights[second]

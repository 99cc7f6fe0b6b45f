"""What storing features as float16 can have changed in the scores of a head."""

from collections.abc import Iterator
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
        ``rows``; ``margin_rms``: root mean square of the change of the score (two classes; of several labels a row
        that of the least certain one) or of the lead of the first class over the second; ``labels_expected``: how many
        rows are expected to get another answer (with more than two classes, at most); ``labels_possible``: how many
        can at all.
    """
    n = possible = 0
    squares = expected = 0.0
    for _, values in chunks_of(features.blocks()):
        step = np.spacing(np.abs(values).astype(np.float16)).astype(np.float64)
        changes = np.zeros(len(values))
        can_change = np.zeros(len(values), dtype=bool)
        nearest = np.full(len(values), np.inf)
        variance_of_nearest = np.zeros(len(values))
        for margin, weights in _leads(head, values):
            moved = np.abs(weights) * step  # what a whole step of each feature does
            variance = (moved**2).sum(
                axis=1
            ) / 12  # of an even distribution one step wide
            sigma = np.sqrt(np.maximum(variance, np.finfo(np.float64).tiny))
            changes += ndtr(-margin / sigma)
            can_change |= margin <= moved.sum(axis=1) / 2
            is_nearer = margin < nearest
            nearest[is_nearer] = margin[is_nearer]
            variance_of_nearest[is_nearer] = variance[is_nearer]
        squares += float(variance_of_nearest.sum())
        expected += float(np.minimum(changes, 1.0).sum())
        possible += int(can_change.sum())
        n += len(values)
    return {
        "rows": n,
        "margin_rms": sqrt(squares / n),
        "labels_expected": expected,
        "labels_possible": possible,
    }


def _leads(
    head: Head, values: Features
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Yield, against every other class, by how much each row's own class leads and what a feature's unit adds to that.

    Of several labels a row, for each whether it is given or not.

    Shapes are (m,) and (m, d); the lead over the row's own class is infinite.
    """
    scores = head.decision(values)
    weights = head.coef / head.scale
    if scores.ndim == 1:
        yield np.abs(scores), np.broadcast_to(weights, values.shape)
        return
    if head.task == "multilabel":  # each label leads, or trails, by its own score
        for score, own in zip(scores.T, weights, strict=True):
            yield np.abs(score), np.broadcast_to(own, values.shape)
        return
    first = scores.argmax(axis=1)
    rows = np.arange(len(scores))
    for other, other_weights in enumerate(weights):
        margin = scores[rows, first] - scores[:, other]
        margin[first == other] = np.inf
        yield margin, weights[first] - other_weights

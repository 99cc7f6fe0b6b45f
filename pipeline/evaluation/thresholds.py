"""What another threshold than one half would give, for two classes."""

from typing import Any

import numpy as np

from pipeline.evaluation.metrics import Scored

N_POINTS = 101  # from 0 to 1


def thresholds(
    scored: Scored, classes: list[str] | list[int]
) -> dict[str, Any] | None:  # Any: JSON values
    """Return precision, recall, F1 and accuracy of the second class for thresholds from 0 to 1.

    A row is answered with the second class where its probability is at least the threshold. What has no rows to be a
    share of is None. A label that no training row has is wrong whatever the answer.

    Parameters
    ----------
    scored : Scored
    classes : list, length k

    Returns
    -------
    dict or None
        ``positive``, the second class, and ``points``; None for more than two classes.
    """
    if len(classes) != 2:
        return None
    score = scored.proba[:, 1]
    at = np.linspace(0, 1, N_POINTS).round(2)
    said = score[:, None] >= at  # (n, points)
    is_positive = scored.y == 1
    hits = said[is_positive].sum(axis=0)
    right = hits + (~said[scored.y == 0]).sum(axis=0)
    points = [
        {
            "threshold": float(threshold),
            "precision": _share(hit, n_said),
            "recall": _share(hit, int(is_positive.sum())),
            "f1": _share(2 * hit, n_said + int(is_positive.sum())),
            "accuracy": n_right / len(score),
            "share_positive": n_said / len(score),
        }
        for threshold, hit, n_said, n_right in zip(
            at, _counts(hits), _counts(said.sum(axis=0)), _counts(right), strict=True
        )
    ]
    return {"positive": classes[1], "points": points}


def _counts(values: "np.ndarray[Any, Any]") -> list[int]:  # Any: of any integer type
    return [int(value) for value in values]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

"""What a decision rule brings on scored rows: costs, and errors by how many rows are answered.

.. [1] R. El-Yaniv, Y. Wiener (2010), On the Foundations of Noise-free Selective Classification, JMLR 11.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.resampling import (
    Clusters,
    Figure,
    percentiles,
    ratio,
    resampled_totals,
    share_interval,
)

Json = dict[str, Any]  # Any: JSON values
N_POINTS = 50  # of the curve of errors by coverage


def mean_costs(
    ours: Scored, plain: Scored, costs: list[list[float]], clusters: Clusters
) -> dict[str, Figure]:
    """Return the mean cost of an answer of two systems, ``value`` and ``plain``, and their paired ``difference``.

    Rows with a label that no training row has are left out: what they cost is not known. Intervals are of the
    percentile bootstrap.

    Parameters
    ----------
    ours, plain : Scored
        The same n rows.
    costs : list of list of float, (k, k)
        ``costs[true][answered]``.
    clusters : Clusters
        Of the n rows.
    """
    is_known, table = ours.y >= 0, np.array(costs)
    paid = [
        np.where(is_known, table[scored.y, scored.predicted], 0.0)
        for scored in (ours, plain)
    ]
    columns = np.column_stack([*paid, paid[0] - paid[1]])
    totals = resampled_totals(np.column_stack([columns, is_known]), clusters)
    samples = ratio(totals[:, :-1], np.tile(totals[:, -1:], 3))
    n = int(is_known.sum())
    return {
        name: {
            "value": float(column.sum() / n) if n else None,
            "ci95": list(percentiles(sample)) if n else None,
            "n": n,
        }
        for name, column, sample in zip(
            ("value", "plain", "difference"), columns.T, samples.T, strict=True
        )
    }


def selective(scored: Scored, answered: NDArray[np.bool_], clusters: Clusters) -> Json:
    """Return how many rows are answered, and the error rate among them; and the curve of both [1]_.

    Parameters
    ----------
    scored : Scored
        n rows.
    answered : ndarray of bool, shape (n,)
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    dict of JSON values
        ``coverage`` and ``error``, figures; ``points``: ``coverage``, ``error`` and least ``confidence`` where so many
        of the rows with the most probable answers are answered.
    """
    n, is_wrong = len(scored.y), scored.predicted != scored.y
    columns = np.column_stack([answered, answered & is_wrong, np.ones(n)])
    totals = resampled_totals(columns.astype(np.float64), clusters)
    n_answered = int(answered.sum())
    coverage = n_answered / n
    error = float(is_wrong[answered].mean()) if n_answered else None
    samples = ratio(totals[:, 0], totals[:, 2])
    wide = share_interval(coverage, n, clusters.n, samples)
    return {
        "coverage": {"value": coverage, "ci95": list(wide), "n": n},
        "error": _undefined()
        if error is None
        else {
            "value": error,
            "ci95": list(
                share_interval(
                    error,
                    n_answered,
                    clusters.subset(np.flatnonzero(answered)).n,
                    ratio(totals[:, 1], totals[:, 0]),
                )
            ),
            "n": n_answered,
        },
        "points": _curve(scored, is_wrong),
    }


def _undefined() -> Json:
    return {"value": None, "ci95": None, "n": 0, "reason": "no scored row is answered"}


def _curve(scored: Scored, is_wrong: NDArray[np.bool_]) -> list[dict[str, float]]:
    n = len(is_wrong)
    sure = scored.proba[np.arange(n), scored.predicted]
    order = np.argsort(-sure, kind="stable")
    errors = np.cumsum(is_wrong[order]) / np.arange(1, n + 1)
    sizes = np.unique(-(-n * np.arange(1, N_POINTS + 1) // N_POINTS))
    return [
        {
            "coverage": size / n,
            "error": float(errors[size - 1]),
            "confidence": float(sure[order[size - 1]]),
        }
        for size in sizes.tolist()
    ]

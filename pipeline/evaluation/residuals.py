"""Where answers that are numbers lie beside the true ones, and how far they are off."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.resampling import Clusters, mean_interval
from pipeline.evaluation.values import ScoredValues

MOST_POINTS = 1_500  # rows that are shown one by one
N_CELLS = 40  # a side, where there are more
N_BINS = 10
DIGITS = 5  # of a place in a figure
Json = dict[str, Any]  # Any: JSON values


def residuals(scored: ScoredValues, clusters: Clusters) -> Json:
    """Return true and answered values, and the mean error of answers of every size.

    Parameters
    ----------
    scored : ScoredValues
        n rows.
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    dict of JSON values
        ``points``: ``value``, ``answer`` and ``n``, rows one by one or where they are many the cells of a grid;
        ``residuals``: rows in tenths by the answer, of each ``n``, ``low``, ``high``, the mean ``answer`` and ``value``
        and the figure ``error``, answer minus value; ``method``.
    """
    is_binned = len(scored) > MOST_POINTS
    return {
        "points": _cells(scored) if is_binned else _points(scored),
        "is_binned": is_binned,
        "residuals": _by_answer(scored, clusters),
        "method": (
            "rows in tenths by the answer; error: answer minus true value; 95 % interval of its mean by Student's t "
            "over clusters of rows"
        ),
    }


def _points(scored: ScoredValues) -> list[Json]:
    return [
        {"value": round(value, DIGITS), "answer": round(answer, DIGITS), "n": 1}
        for value, answer in zip(scored.y.tolist(), scored.values.tolist(), strict=True)
    ]


def _cells(scored: ScoredValues) -> list[Json]:
    counts, values, answers = np.histogram2d(scored.y, scored.values, N_CELLS)
    middles = [(edges[1:] + edges[:-1]) / 2 for edges in (values, answers)]
    return [
        {
            "value": round(float(middles[0][i]), DIGITS),
            "answer": round(float(middles[1][j]), DIGITS),
            "n": int(counts[i, j]),
        }
        for i, j in np.argwhere(counts).tolist()
    ]


def _by_answer(scored: ScoredValues, clusters: Clusters) -> list[Json]:
    cuts = np.quantile(scored.values, np.arange(1, N_BINS) / N_BINS, method="lower")
    bins = np.searchsorted(np.unique(cuts), scored.values)
    most = float(np.abs(scored.errors).max())
    return [
        _bin(scored.take(rows), clusters.subset(rows), most)
        for rows in (np.flatnonzero(bins == i) for i in np.unique(bins))
    ]


def _bin(scored: ScoredValues, clusters: Clusters, most: float) -> Json:
    errors: NDArray[np.float64] = scored.errors
    low, high = mean_interval(errors, clusters, (-most, most))
    return {
        "low": float(scored.values.min()),
        "high": float(scored.values.max()),
        "n": len(scored),
        "answer": float(scored.values.mean()),
        "value": float(scored.y.mean()),
        "error": {
            "value": float(errors.mean()),
            "ci95": [low, high],
            "n": len(scored),
        },
    }

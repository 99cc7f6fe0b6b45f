"""When models on words may answer alone: a cascade of two classifiers, the cheap one first [1]_.

How sure the cheap one has to be is chosen on the rows fitted on, out of fold: as unsure as the promise allows. Levels
are tried from the surest on, and the first one whose bound is broken ends the search: tests in a fixed order need no
correction for their number [2]_.

.. [1] P. Viola, M. Jones (2001), Rapid object detection using a boosted cascade of simple features, CVPR.
.. [2] A. Angelopoulos et al. (2021), Learn then test: calibrating predictive algorithms to achieve risk control,
   arXiv:2110.01052, section on fixed sequence testing.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Json = dict[str, Any]  # Any: JSON values
POINT = 0.01  # of accuracy
CONFIDENCE = 0.95  # of the bound on the loss, one-sided
N_LEVELS = 401
DIGITS = 1e6  # of a confidence
NEVER = 2.0  # no probability is as large


def choose_confidence(
    terms_outputs: NDArray[np.floating],
    outputs: NDArray[np.floating],
    y: NDArray[np.int64],
    clusters: NDArray[np.int64],
    max_loss: float,
) -> tuple[float, Json]:
    """Return from which confidence on models on words answer alone: as many rows as the loss of accuracy allows.

    Parameters
    ----------
    terms_outputs, outputs : ndarray, shape (n, k)
        Probabilities by the models on words, and by the whole that may encode, out of fold.
    y : ndarray of int64, shape (n,)
        Their classes.
    clusters : ndarray of int64, shape (n,)
        Rows of one number belong together, and count as one in the bound.
    max_loss : float
        What the upper 95 % bound of the loss may be, as a share of all rows.

    Returns
    -------
    min_confidence : float
    facts : dict
        ``share`` of the rows that need no encoder, ``loss`` of accuracy, its ``upper`` bound, and ``max_loss``.

    Notes
    -----
    The rows are answered by models of the other folds. Models of all rows are surer of themselves, and so answer some
    more rows alone, at some more loss.
    """
    right_cheap, right_whole = (
        (proba.argmax(axis=1) == y).astype(np.float64)
        for proba in (terms_outputs, outputs)
    )
    confidence = terms_outputs.max(axis=1)
    loss = right_whole - right_cheap
    found = NEVER, 0.0, 0.0, 0.0
    quantiles = np.quantile(confidence, np.linspace(0, 1, N_LEVELS))
    levels = np.unique(np.floor(quantiles * DIGITS) / DIGITS)
    for level in levels[::-1].tolist():
        is_sure = confidence >= level
        mean, upper = _bound(np.where(is_sure, loss, 0.0), clusters)
        if upper > max_loss:
            break
        found = level, float(is_sure.mean()), mean, upper
    level, share, mean, upper = found
    return level, {"share": share, "loss": mean, "upper": upper, "max_loss": max_loss}


def _bound(
    values: NDArray[np.float64], clusters: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the mean, and its upper bound, of rows that come in clusters.

    The bound is the normal approximation with one more lost cluster, as large as the largest, than there is: where none
    was lost, or few, they tell too little for less.
    """
    sizes = np.bincount(clusters)
    sums = np.append(np.bincount(clusters, weights=values), sizes.max())
    sizes = np.append(sizes, sizes.max())
    mean = sums.sum() / sizes.sum()
    deviation = np.sqrt(((sums - mean * sizes) ** 2).sum()) / sizes.sum()
    return float(values.mean()), float(mean + ndtri(CONFIDENCE) * deviation)

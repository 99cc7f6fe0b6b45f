"""What the cosine of a pair's two vectors alone would answer, where pairs have numbers: how alike people find them."""

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.pairs import N_PARTS
from pipeline.features.stored import PairFeatures, WithTerms
from pipeline.report.material import Material


def cosine_outputs(material: Material) -> NDArray[np.float64] | None:
    """Return the answers for the scored rows, shape (m, 1): the cosine, on the straight line that fits the other rows.

    The line gives it the unit of the numbers; it changes no correlation, unless it falls.

    Returns
    -------
    ndarray or None
        None unless labels are numbers, of pairs that are encoded separately.
    """
    features = material.features
    if isinstance(features, WithTerms):
        features = features.stored
    if material.y_fit.dtype != np.float64 or not isinstance(features, PairFeatures):
        return None
    x, scored = (
        _cosines(features.subset(rows)) for rows in (material.fit, material.test)
    )
    slope, start = np.polyfit(x, material.y_fit, 1) if np.ptp(x) > 0 else (0.0, 0.0)
    return np.asarray(start + slope * scored)[:, None]


def _cosines(features: PairFeatures) -> NDArray[np.float64]:
    """Return the cosine of the two vectors of each pair, shape (n,); of several layers, those of the last."""
    width = features.dim // (N_PARTS * features.n_views)
    found = np.empty(len(features))
    for rows, values in features.blocks():
        found[rows] = values[:, -width:].sum(axis=1, dtype=np.float64)
    return found

"""Principal components, by the products of the smaller side: of features, or of rows where they are fewer [1]_.

.. [1] I. T. Jolliffe (2002), Principal component analysis, 2nd edition, section 3.5.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Values = NDArray[np.float64]
EPSILON = float(np.finfo(np.float64).eps)


class Components(NamedTuple):
    """The p directions of greatest variance.

    Attributes
    ----------
    mean : ndarray of float64, shape (d,)
    variances : ndarray of float64, shape (p,)
        Along the axes, the greatest first.
    axes : ndarray of float64, shape (d, p)
        Orthonormal, the largest component of each positive; zeros where nothing varies.
    total : float
        The variance of all features together.
    """

    mean: Values
    variances: Values
    axes: Values
    total: float


def principal_components(rows: Values, p: int) -> Components:
    """Return the first `p` components of rows, shape (n, d), with p at most n and d."""
    n, d = rows.shape
    mean = rows.mean(axis=0)
    centred = rows - mean
    products = (centred.T @ centred if n >= d else centred @ centred.T) / (n - 1)
    side = len(products)
    variances, axes = linalg.eigh(products, subset_by_index=(side - p, side - 1))
    variances, axes = np.maximum(variances[::-1], 0.0), axes[:, ::-1]
    if n < d:
        lengths = np.sqrt(variances * (n - 1))
        varies = variances > side * EPSILON * variances[0]
        axes = np.where(varies, centred.T @ axes / np.where(varies, lengths, 1.0), 0.0)
    largest = np.abs(axes).argmax(axis=0)
    signs = np.where(axes[largest, np.arange(p)] < 0, -1.0, 1.0)
    return Components(mean, variances, axes * signs, float(products.trace()))

"""A map of texts: their features in two dimensions, classes as far apart as training rows show them.

.. [1] R. A. Fisher (1936), The use of multiple measurements in taxonomic problems, Annals of Eugenics 7.
.. [2] O. Ledoit, M. Wolf (2004), A well-conditioned estimator for large-dimensional covariance matrices, Journal of
   Multivariate Analysis 88.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from pipeline.evaluation.principal import principal_components

MIN_POINTS = 4
N_COMPONENTS = 50  # of the features, before the discriminants are looked for
Values = NDArray[np.float64]


def feature_map(
    fitted: Values, y: NDArray[np.int64], shown: Values
) -> dict[str, Any] | None:  # Any: JSON values
    """Return two coordinates of each row.

    The first axis, and the second where there are three classes or more, are linear discriminants of the training rows
    [1]_, with shrunk covariance [2]_, in the space of their first principal components; two classes get the greatest
    variance across the discriminant as the second axis. The rows shown had no part in it.

    Parameters
    ----------
    fitted : ndarray of float64, shape (n, d)
        Standardised features of training rows, of two classes or more.
    y : ndarray of int64, shape (n,)
        Their classes.
    shown : ndarray of float64, shape (m, d)
        Rows to be shown, standardised in the same way.

    Returns
    -------
    dict or None
        ``method``; ``xy``, shape (m, 2); ``explained``: shares of the variance of `shown` along both axes. None for
        fewer than `MIN_POINTS` rows, or where the features leave fewer than two dimensions.
    """
    dims = min(N_COMPONENTS, len(fitted) - 1, fitted.shape[1])
    if len(shown) < MIN_POINTS or dims < 2:
        return None
    mean, _, components, _ = principal_components(fitted, dims)
    axes = _axes((fitted - mean) @ components, y) @ components.T  # (2, d)
    xy = (shown - mean) @ axes.T
    total = float(shown.var(axis=0).sum())
    return {
        "method": (
            "linear discriminants of the training rows in their first principal components (scikit-learn); for two "
            "classes the second axis is the direction of greatest variance across the discriminant"
        ),
        "xy": xy,
        "explained": [float(v) / total for v in xy.var(axis=0)] if total > 0 else None,
    }


def _axes(values: Values, y: NDArray[np.int64]) -> Values:
    """Return two orthonormal directions, shape (2, dims), each with its largest component positive."""
    directions = _discriminants(values, y)
    candidates = np.hstack([directions, _across(values, directions)])
    basis, _ = np.linalg.qr(candidates)
    axes = basis[:, :2].T
    largest = np.abs(axes).argmax(axis=1)
    return np.asarray(axes * np.sign(axes[np.arange(2), largest])[:, None])


def _discriminants(values: Values, y: NDArray[np.int64]) -> Values:
    """Return up to two directions that part the classes, shape (dims, 0 to 2); classes of a single row are left out."""
    is_known = np.bincount(y)[y] > 1
    k = len(np.unique(y[is_known]))
    model = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    try:
        if k > 1:
            fitted = model.fit(values[is_known], y[is_known])
            return np.asarray(fitted.scalings_[:, : min(2, k - 1)])
    except np.linalg.LinAlgError:  # the rows of each class are all alike
        pass
    return np.zeros((values.shape[1], 0))


def _across(values: Values, directions: Values) -> Values:
    """Return the two directions of greatest variance that are orthogonal to `directions`, shape (dims, 2)."""
    basis, _ = np.linalg.qr(directions)
    rest = values - values @ basis @ basis.T
    _, vectors = np.linalg.eigh(rest.T @ rest)
    return np.asarray(vectors[:, ::-1][:, :2])

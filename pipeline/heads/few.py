"""Logistic regression on a handful of labelled rows, with the scaling of all rows, labelled or not.

So few rows can choose nothing, and need not have the classes in the shares in which they occur. C is 1 / n, so that the
penalty weighs the same beside the mean loss, and classes are weighed equally: else the intercept, which no penalty
holds, follows the shares of the few. Whether features are scaled by the few rows or by all moves accuracy by less than
a point; all rows also serve where a class has but one. docs/few-labels.md has the figures.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HeadSpec
from pipeline.heads.head import Features, Head
from pipeline.heads.logreg import Labels, Scaled, encode, fit_standardised

SOLVER = "lbfgs"  # a Hessian of all features costs more than so few rows


def fit_few(
    features: Features,
    labels: Labels,
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
) -> Head:
    """Fit the head on few rows.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    labels : ndarray, shape (n,)
        str or int, of two classes or more.
    mean, scale : ndarray of float64, shape (d,)
        Of all rows there are, see `pipeline.heads.streaming.moments`.
    """
    classes, y = encode(labels)
    scaled = Scaled((features - mean) / scale, mean, scale)
    spec = HeadSpec(C=1 / len(y), class_weight="balanced")
    return fit_standardised(scaled, y, classes, spec, SOLVER)

"""What a predictor keeps of the features it was trained on, to notice texts of another kind."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ArtifactError
from pipeline.evaluation.drift import Drift, Reference
from pipeline.heads.objective import one_blas_thread

Arrays = dict[str, NDArray[Any]]  # Any: numbers


def reference_of(features: NDArray[np.float32]) -> Arrays:
    """Return the arrays of `Reference`, the same bytes for the same training features; none if they are too few."""
    with one_blas_thread():
        reference = Reference.of(features)
    return {} if reference is None else reference.arrays()


def compare(features: NDArray[np.float32], arrays: Arrays, level: float) -> Drift:
    """Return how far a window's features are from those of training.

    Raises
    ------
    ArtifactError
        If there are no arrays.
    """
    if not arrays:
        raise ArtifactError(
            "The predictor carries no reference: it was exported by an earlier version, or trained on too few texts "
            "(40 different ones are needed). Train and export it again."
        )
    with one_blas_thread():
        return Reference(**arrays).compare(features, level)

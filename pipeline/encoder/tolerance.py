"""How far features of one recipe may differ between batches, libraries and machines."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec

TOLERANCE = {
    "float32": 2e-4,
    "bfloat16": 0.1,
    "int8": 0.2,
}  # measured: 1e-5, 0.03
FLOAT16_STEP = (
    2.0**-10
)  # relative distance of two neighbours: a value may be rounded to either


def allowed_difference(spec: EncoderSpec, features: NDArray[np.floating[Any]]) -> float:
    """Return the largest difference that rounding explains, for features of a size as in `features`."""
    tolerance = TOLERANCE[spec.precision]
    if spec.feature_dtype == "float16":
        tolerance += FLOAT16_STEP * float(np.abs(features).max(initial=0.0))
    return tolerance

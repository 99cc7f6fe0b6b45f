"""How far features of one recipe may differ between batches, libraries, machines and engines."""

from math import comb
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


# Against float32 torch; `pipeline.encoder.certificate` measures it.
# Largest |difference| for features of order 1; measured: 4e-6 by accelerated engines on a CPU.
LARGEST = {"float32": 1e-4}
# Smallest cosine of a text's two vectors. What a recipe costs shows in label flips; this only notices wrong arithmetic.
SMALLEST_COSINE = {"bfloat16": 0.999, "int8": 0.9}  # measured: 0.9999 and 0.988
FLIPPED_SHARE = 0.03  # of labels; measured: bfloat16 0.1 %, good int8 2.1 to 2.6 %
FLIPPED_CHANCE = 0.05


def flips_too_often(flips: int, n: int) -> bool:
    """Tell whether more than `FLIPPED_SHARE` of labels flip.

    Of few texts a share alone says little: at a true share of 2 %, 8 or more of 256 labels (3.1 %) flip in one case of
    seven. So this is an exact one-sided binomial test: true where so many flips would come in at most `FLIPPED_CHANCE`
    of cases if the share were just `FLIPPED_SHARE`. Of 256 texts that is 13 or more (5.1 %), of 32 it is 4. The price:
    a recipe that flips 4 % mostly passes; its flips stand in the report.

    Parameters
    ----------
    flips, n : int
        Labels that flip, of so many texts.
    """
    fewer = sum(
        comb(n, k) * FLIPPED_SHARE**k * (1 - FLIPPED_SHARE) ** (n - k)
        for k in range(flips)
    )
    return 1.0 - fewer <= FLIPPED_CHANCE


def allowed_difference(spec: EncoderSpec, features: NDArray[np.floating[Any]]) -> float:
    """Return the largest difference that rounding explains, for features of a size as in `features`."""
    scale = float(np.abs(features).max(initial=0.0))
    tolerance = TOLERANCE[spec.precision] * max(1.0, scale)
    if spec.feature_dtype == "float16":
        tolerance += FLOAT16_STEP * scale
    return tolerance

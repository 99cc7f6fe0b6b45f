"""Whether two systems, scored on the same rows, are right equally often.

.. [1] Q. McNemar (1947), Note on the sampling error of the difference between correlated proportions, Psychometrika 12.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr


def mcnemar(
    a_right: NDArray[np.bool_], b_right: NDArray[np.bool_]
) -> dict[str, int | float]:
    """Return McNemar's exact test [1]_.

    Parameters
    ----------
    a_right, b_right : ndarray of bool, shape (n,)
        Which rows each system answers right.

    Returns
    -------
    dict
        ``b``: rows that only the first answers right; ``c``: only the second; ``p``: two-sided, of the binomial
        distribution with one half; 1.0 where no row tells them apart.
    """
    b, c = int((a_right & ~b_right).sum()), int((~a_right & b_right).sum())
    p = min(1.0, 2 * float(bdtr(min(b, c), b + c, 0.5))) if b + c else 1.0
    return {"b": b, "c": c, "p": p}

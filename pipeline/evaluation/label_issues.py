"""Training rows whose label is likely wrong, by confident learning.

.. [1] C. Northcutt, L. Jiang, I. Chuang (2021), Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 70.
"""

import numpy as np
from numpy.typing import NDArray

METHOD = (
    "confident learning (cleanlab; Northcutt et al. 2021) on out-of-fold probabilities of the rows fitted on, ranked "
    "by the probability of the given label"
)


def label_issues(
    y: NDArray[np.int64], proba: NDArray[np.float64]
) -> NDArray[np.int64] | None:
    """Return the rows whose label is likely wrong, the likeliest first [1]_.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        The given classes, each 0 to k - 1.
    proba : ndarray of float64, shape (n, k)
        Of models that did not see the row.

    Returns
    -------
    ndarray of int64 or None
        None where some class has no row, so that nothing can be said of how sure answers of it are.
    """
    from cleanlab.filter import find_label_issues

    if len(np.unique(y)) < proba.shape[1]:
        return None
    found = find_label_issues(
        y, proba, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return np.asarray(found, dtype=np.int64)


def label_set_issues(
    y: NDArray[np.bool_], proba: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the rows of which some label is likely wrong, or missing, the likeliest first [2]_.

    .. [2] A. Thyagarajan, E. Snorrason, C. Northcutt, J. Mueller (2023), Identifying Incorrect Annotations in
       Multi-Label Classification Data, ICLR workshop on trustworthy ML (arXiv 2211.13895).

    Parameters
    ----------
    y : ndarray of bool, shape (n, k)
        Which labels each row is given.
    proba : ndarray of float64, shape (n, k)
        Of models that did not see the row.
    """
    from cleanlab.multilabel_classification.filter import find_label_issues

    varying = y.any(axis=0) & ~y.all(axis=0)  # of the others there is nothing to doubt
    y, proba = y[:, varying], proba[:, varying]
    if y.shape[1] < 2:  # with it or without it are two classes
        classes = np.hstack([1 - proba, proba])
        found = label_issues(y.sum(axis=1), classes) if y.shape[1] else None
        return np.empty(0, dtype=np.int64) if found is None else found
    given = [np.flatnonzero(row).tolist() for row in y]
    found = find_label_issues(
        given, proba, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return np.asarray(found, dtype=np.int64)

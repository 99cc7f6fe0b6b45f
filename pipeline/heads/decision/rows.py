"""Rows that a decision rule is chosen on: scored by fits without them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.decision.rule import Proba

Truth = NDArray[np.bool_]  # (n, k): which classes or labels a row has


@dataclass(frozen=True)
class HeldOut:
    """Out-of-fold probabilities, with the truth.

    Attributes
    ----------
    proba : ndarray of float64, shape (n, k)
        Of each row by a fit without the row's fold.
    truth : ndarray of bool, shape (n, k)
        Which classes or labels a row has.
    folds : ndarray of int8, shape (n,)
    is_exclusive : bool
        Whether a row has one class of k, not any number of labels.
    """

    proba: Proba
    truth: Truth
    folds: NDArray[np.int8]
    is_exclusive: bool

    def with_proba(self, proba: Proba) -> "HeldOut":
        """Return the same rows with other probabilities."""
        return replace(self, proba=proba)

    def crossed(self, fit_and_apply: Callable[["HeldOut", Proba], Proba]) -> Proba:
        """Return for every row what is made of it by something that was fitted on the other folds, (n, m).

        Parameters
        ----------
        fit_and_apply : callable
            Takes the rows of all folds but one, and the probabilities of that one; returns a row for each of those.
        """
        places, found = [], []
        for fold in np.unique(self.folds).tolist():
            is_out = self.folds == fold
            others = replace(
                self,
                proba=self.proba[~is_out],
                truth=self.truth[~is_out],
                folds=self.folds[~is_out],
            )
            places.append(np.flatnonzero(is_out))
            found.append(fit_and_apply(others, self.proba[is_out]))
        return np.asarray(np.concatenate(found)[np.argsort(np.concatenate(places))])

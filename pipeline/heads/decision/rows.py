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
    clusters : ndarray of int64, shape (n,)
        Rows of one number belong together.
    is_known : ndarray of bool, shape (n,)
        Whether the fit that scored a row knew its class: else the class has probability 0, which says nothing of what a
        head makes of rows that it can get right.
    is_exclusive : bool
        Whether a row has one class of k, not any number of labels.
    """

    proba: Proba
    truth: Truth
    folds: NDArray[np.int8]
    clusters: NDArray[np.int64]
    is_known: NDArray[np.bool_]
    is_exclusive: bool

    def where(self, wanted: NDArray[np.bool_]) -> "HeldOut":
        """Return some of the rows."""
        return replace(
            self,
            proba=self.proba[wanted],
            truth=self.truth[wanted],
            folds=self.folds[wanted],
            clusters=self.clusters[wanted],
            is_known=self.is_known[wanted],
        )

    @property
    def known(self) -> "HeldOut":
        """Return the rows whose class was known."""
        return self.where(self.is_known)

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
            places.append(np.flatnonzero(is_out))
            found.append(fit_and_apply(self.where(~is_out), self.proba[is_out]))
        return np.asarray(np.concatenate(found)[np.argsort(np.concatenate(places))])

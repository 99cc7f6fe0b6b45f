"""Answers that are numbers, and their metrics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import weighted
from pipeline.evaluation.metrics import Metric, RowScores


@dataclass(frozen=True)
class ScoredValues:
    """Numbers that one system answers to scored rows, with the truth.

    Attributes
    ----------
    y : ndarray of float64, shape (n,)
        The value that each row has.
    values : ndarray of float64, shape (n,)
        The answers.
    """

    y: NDArray[np.float64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        """Return the number of scored rows."""
        return len(self.y)

    @property
    def right(self) -> None:
        """Return None: an answer is near, or far."""
        return None

    @property
    def predicted(self) -> NDArray[np.float64]:
        """Return the answers."""
        return self.values

    @property
    def errors(self) -> NDArray[np.float64]:
        """Return the answers minus the true values."""
        return np.asarray(self.values - self.y)

    @property
    def outputs(self) -> NDArray[np.float64]:
        """Return the answers in a column, as `pipeline.heads.head.Head.outputs` does."""
        return self.values[:, None]

    def take(self, rows: NDArray[np.int64]) -> "ScoredValues":
        """Return some rows, in their order."""
        return ScoredValues(self.y[rows], self.values[rows])

    @property
    def most_wrong(self) -> NDArray[np.int64]:
        """Return the numbers of all rows, the largest error first."""
        return np.asarray(np.argsort(-np.abs(self.errors), kind="stable"))

    @property
    def row_scores(self) -> RowScores:
        """Return the absolute error of each row."""
        return RowScores(
            "mae", "mean absolute error", np.abs(self.errors), is_error=True
        )

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return Pearson's and Spearman's correlation, R² and the mean absolute error."""
        y, values, n = self.y, self.values, len(self.y)
        size = np.abs(self.errors)
        flat = "the true values do not vary"
        constant = "the answers or the true values do not vary"
        return {
            "pearson": Metric(
                lambda w: weighted.pearson(y, values, w),
                n,
                (-1.0, 1.0),
                reason=constant,
            ),
            "spearman": Metric(
                lambda w: weighted.spearman(y, values, w),
                n,
                (-1.0, 1.0),
                reason=constant,
            ),
            "r2": Metric(lambda w: weighted.r2(y, values, w), n, None, reason=flat),
            "mae": Metric(lambda w: weighted.mean(size, w), n, None),
        }

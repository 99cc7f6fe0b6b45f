"""Answers of any number of labels a row, and their metrics."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation import weighted
from pipeline.evaluation.metrics import Metric, RowScores, Stated


@dataclass(frozen=True)
class ScoredLabels:
    """Probabilities of each label, of one system for scored rows, with the truth.

    Attributes
    ----------
    y : ndarray of bool, shape (n, k)
        Which labels each row has.
    proba : ndarray of float64, shape (n, k)
    answers : ndarray of bool, shape (n, k), optional
        Which labels were decided for; None: those of a probability of one half or more.
    """

    y: NDArray[np.bool_]
    proba: NDArray[np.float64]
    answers: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Return the number of scored rows."""
        return len(self.y)

    @property
    def predicted(self) -> NDArray[np.bool_]:
        """Return the answered labels of each row, shape (n, k)."""
        return np.asarray(self.proba >= 0.5) if self.answers is None else self.answers

    @property
    def outputs(self) -> NDArray[np.float64]:
        """Return the probabilities, as `pipeline.heads.head.Head.outputs` does."""
        return self.proba

    def take(self, rows: NDArray[np.int64]) -> "ScoredLabels":
        """Return some rows, in their order."""
        answers = None if self.answers is None else self.answers[rows]
        return ScoredLabels(self.y[rows], self.proba[rows], answers)

    @property
    def indicators(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return which labels each row has, and which it is answered with, both of shape (n, k)."""
        return self.y, self.predicted

    @property
    def surest_mistake(self) -> NDArray[np.float64]:
        """Return the largest probability of a wrong decision about each row, shape (n,); 0 where all are right."""
        sure = np.where(self.predicted, self.proba, 1.0 - self.proba)
        return np.asarray((sure * (self.predicted != self.y)).max(axis=1))

    @property
    def most_wrong(self) -> NDArray[np.int64]:
        """Return the numbers of rows whose labels are not all right, the surest mistake first."""
        wrong = np.flatnonzero(~self.right)
        return np.asarray(wrong[np.argsort(-self.surest_mistake[wrong], kind="stable")])

    @property
    def right(self) -> NDArray[np.bool_]:
        """Return which rows have all their labels and no other, shape (n,)."""
        return np.asarray((self.predicted == self.y).all(axis=1))

    @property
    def jaccard(self) -> NDArray[np.float64]:
        """Return labels in both over labels in either, truth and answer, of each row, shape (n,).

        Two empty sets are equal: 1, as with ``zero_division=1`` of scikit-learn.
        """
        either = (self.y | self.predicted).sum(axis=1)
        both = (self.y & self.predicted).sum(axis=1)
        return np.where(either > 0, both / np.maximum(either, 1), 1.0)

    @property
    def row_scores(self) -> RowScores:
        """Return the Jaccard index of each row."""
        return RowScores("jaccard", "Jaccard index", self.jaccard)

    @property
    def stated(self) -> Stated:
        """Return of each row and label the larger probability, of having it or not, and whether it is so."""
        likely = self.proba >= 0.5
        confidence = np.where(likely, self.proba, 1.0 - self.proba)
        right = (likely == self.y).ravel()
        of = "the larger probability, of a label or of its absence"
        return Stated(confidence.ravel(), right, 2, of, "decisions")

    @property
    def metrics(self) -> dict[str, Metric]:
        """Return the usual metrics of label sets.

        Macro means are over the labels: of F1 over those that occur, in truth or answer, of the area over those that
        some rows have and some lack. Micro ones take all decisions, a row's for a label, together; so do accuracy
        (1 - Hamming loss), Matthews correlation and log loss.
        """
        y, proba, said, n = self.y, self.proba, self.predicted, len(self.y)
        jaccard, decided = self.jaccard, (y == said).mean(axis=1)
        of_truth = np.clip(np.where(y, proba, 1.0 - proba), weighted.EPSILON, 1.0)
        losses = -np.log(of_truth).mean(axis=1)
        no_labels = "no scored row has a label, and none is answered"
        no_area = "no label is there that some scored rows have and others lack"
        return {
            "f1_micro": Metric(
                lambda w: weighted.f1_micro(y, said, w), n, reason=no_labels
            ),
            "f1_macro": Metric(
                lambda w: weighted.f1_macro(y, said, w), n, reason=no_labels
            ),
            "jaccard": Metric(lambda w: weighted.mean(jaccard, w), n),
            "subset_accuracy": Metric.share(self.right),
            "accuracy": Metric(lambda w: weighted.mean(decided, w), n),
            "roc_auc": Metric(
                lambda w: weighted.roc_auc_macro(y, proba, w), n, reason=no_area
            ),
            "roc_auc_micro": Metric(
                lambda w: weighted.roc_auc_micro(y, proba, w), n, reason=no_area
            ),
            "roc_auc_micro_thresholded": Metric(
                lambda w: weighted.roc_auc_of_answers(y, said, w), n, reason=no_area
            ),
            "matthews": Metric(
                lambda w: weighted.matthews_of_labels(y, said, w), n, (-1.0, 1.0)
            ),
            "log_loss": Metric(lambda w: weighted.mean(losses, w), n, None),
        }

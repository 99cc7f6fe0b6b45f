"""The encoder's layers and the words of the text: their scores added up, weighed on rows that neither was fitted on."""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.layers import EvaluateLayers, ExportLayers, FitLayers, TrainLayers
from tasks.logreg import Fit, TrainingRows
from tasks.terms import KINDS, FitTerms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.heads.head import Head


class WeighedRows(NamedTuple):
    """What is known of the m rows that models are weighed on.

    Attributes
    ----------
    targets : ndarray
        As `pipeline.datasets.targets.targets_of` returns them.
    folds : ndarray of int8, shape (m,)
    terms : dict of str to ndarray of float64, shape (m, w)
        What each model on words says, fitted without their fold.
    """

    targets: "NDArray[Any]"
    folds: "NDArray[np.int8]"
    terms: "dict[str, NDArray[np.float64]]"


class FitHybrid(FitLayers):
    """Add what words and characters say to the model on the layers: ``models/<slug>-<key>/``."""

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read labels, rows to fit on, features, and the models on layers and on words."""
        return {
            **super().upstream,
            "layers": self.part(FitLayers),
            "terms": self.stage(FitTerms),
        }

    def fit(self, rows: TrainingRows, draft: Draft) -> Fit:
        """Return the head on features and on the scores of words; keep what its rows get out of fold."""
        from pipeline.heads.blend import blend_with_terms
        from pipeline.heads.head import load_head
        from pipeline.heads.streaming import rows_to_search

        head = load_head(self.upstream["layers"].directory)
        some = rows_to_search(rows.features)
        targets, folds, terms = self.weighed(rows, some, head)
        features = rows.features.take(some)
        head, outputs = blend_with_terms(
            head, features, terms, targets, folds, spec=self.spec
        )
        return Fit(head, keep_held_out(outputs, some, len(rows.numbers), draft))

    def weighed(
        self, rows: TrainingRows, some: "NDArray[np.int64]", head: "Head"
    ) -> WeighedRows:
        """Return what is known of some of the rows, shape (m,): all of them, or a sample."""
        from pipeline.datasets.targets import targets_of
        from pipeline.heads.blend import term_parts

        scores = disk.load_array(self.upstream["terms"].directory / "scores.npy")
        targets = targets_of(rows.labels[some], head.task, head.classes)
        terms = term_parts(scores[rows.numbers[some]], KINDS)
        return WeighedRows(targets, rows.folds[some], terms)

    def said(self, head: "Head", task: str) -> str:
        """Return a line on the model for people."""
        assert head.blend is not None  # as fitted
        weights = ", ".join(f"{name} {w:.2f}" for name, w in head.blend.weights.items())
        return f"{super().said(head, task)}; weights: {weights}"


def keep_held_out(
    outputs: "NDArray[np.floating]", some: "NDArray[np.int64]", n: int, draft: Draft
) -> "NDArray[np.float32]":
    """Write what some of n rows get out of fold, NaN for the others, and return it: float32, shape (n, k)."""
    import numpy as np

    held_out = np.full((n, outputs.shape[1]), np.nan, np.float32)
    held_out[some] = outputs
    disk.save_array(draft.path / "held_out.npy", held_out)
    return held_out


class EvaluateHybrid(EvaluateLayers):
    """Figures of `FitHybrid` with intervals beside the baselines': ``reports/<slug>-<key>/``."""

    fits = FitHybrid
    command = "TrainHybrid"


class ExportHybrid(ExportLayers):
    """Tokenizer, encoder, models on words and `FitHybrid` in one file: ``predictors/<slug>-<key>/``."""

    reports = EvaluateHybrid


class TrainHybrid(TrainLayers):
    """Train a classifier on the encoder's layers and on words: every stage, a report and a predictor."""

    exports = ExportHybrid

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
    """The m rows that models are weighed on: of those fitted on all, or a sample.

    Attributes
    ----------
    some : ndarray of int64, shape (m,)
        Which of those fitted on.
    targets : ndarray
        As `pipeline.datasets.targets.targets_of` returns them.
    folds : ndarray of int8, shape (m,)
    terms : dict of str to ndarray of float64, shape (m, w)
        What each model on words says, fitted without their fold.
    """

    some: "NDArray[np.int64]"
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

        head = load_head(self.upstream["layers"].directory)
        weighed = self.weighed(rows, head)
        head, outputs = blend_with_terms(
            head,
            rows.features.take(weighed.some),
            weighed.terms,
            weighed.targets,
            weighed.folds,
            spec=self.spec,
        )
        return keep_held_out(Fit(head, outputs), rows, weighed, draft)

    def weighed(self, rows: TrainingRows, head: "Head") -> WeighedRows:
        """Return the rows that models are weighed on."""
        from pipeline.datasets.targets import targets_of
        from pipeline.heads.blend import term_parts
        from pipeline.heads.streaming import rows_to_search

        scores = disk.load_array(self.upstream["terms"].directory / "scores.npy")
        some = rows_to_search(rows.features)
        targets = targets_of(rows.labels[some], head.task, head.classes)
        terms = term_parts(scores[rows.numbers[some]], KINDS)
        return WeighedRows(some, targets, rows.folds[some], terms)

    def said(self, head: "Head", task: str) -> str:
        """Return a line on the model for people."""
        assert head.blend is not None  # as fitted
        weights = ", ".join(f"{name} {w:.2f}" for name, w in head.blend.weights.items())
        return f"{super().said(head, task)}; weights: {weights}"


def keep_held_out(
    fit: Fit, rows: TrainingRows, weighed: WeighedRows, draft: Draft
) -> Fit:
    """Write what the weighed rows get out of fold, float32, shape (n, k), NaN for the others; return it in the fit."""
    import numpy as np

    assert fit.outputs is not None  # of the weighed rows
    shape = len(rows.numbers), fit.outputs.shape[1]
    held_out = np.full(shape, np.nan, np.float32)
    held_out[weighed.some] = fit.outputs
    disk.save_array(draft.path / "held_out.npy", held_out)
    return Fit(fit.head, held_out)


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

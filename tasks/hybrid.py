"""The encoder's layers and the words of the text: their scores added up, weighed on rows that neither was fitted on."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.layers import EvaluateLayers, ExportLayers, FitLayers, TrainLayers
from tasks.logreg import Fit, TrainingRows
from tasks.terms import KINDS, FitTerms

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.heads.blend import Blended
    from pipeline.heads.head import Head


class FitHybrid(FitLayers):
    """Fit on the layers, and add what words and characters say: ``models/<slug>-<key>/``."""

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read labels, rows to fit on, features, and the models on words."""
        return {**super().upstream, "terms": self.stage(FitTerms)}

    def fit(self, rows: TrainingRows, draft: Draft) -> Fit:
        """Return the head on features and on the scores of words; keep what its rows get out of fold."""
        import numpy as np

        from pipeline.datasets.targets import targets_of
        from pipeline.heads.blend import blend_with_terms, term_parts
        from pipeline.heads.streaming import rows_to_search

        head = super().fit(rows, draft).head
        scores = disk.load_array(self.upstream["terms"].directory / "scores.npy")
        some = rows_to_search(rows.features)
        targets = targets_of(rows.labels[some], head.task, head.classes)
        blended = blend_with_terms(
            head,
            rows.features.take(some),
            term_parts(scores[rows.numbers[some]], KINDS),
            targets,
            rows.folds[some],
            spec=self.spec,
        )
        head, outputs = self.answering(
            blended, targets, lambda: self.clusters(rows)[some], draft
        )
        held_out = np.full((len(rows.numbers), outputs.shape[1]), np.nan, np.float32)
        held_out[some] = outputs
        disk.save_array(draft.path / "held_out.npy", held_out)
        return Fit(head, held_out)

    def answering(
        self,
        blended: "Blended",
        _targets: "NDArray[Any]",
        _clusters: "Callable[[], NDArray[np.int64]]",
        _draft: Draft,
    ) -> "tuple[Head, NDArray[np.float64]]":
        """Return the head, and what its rows get out of fold, shape (n, k)."""
        return blended.head, blended.outputs

    def said(self, head: "Head", task: str) -> str:
        """Return a line on the model for people."""
        assert head.blend is not None  # as fitted
        weights = ", ".join(f"{name} {w:.2f}" for name, w in head.blend.weights.items())
        return f"{super().said(head, task)}; weights: {weights}"


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

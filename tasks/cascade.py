"""Words first: where they are sure of an answer, the text is not encoded at all."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from pipeline.config import CascadeSpec
from pipeline.errors import ConfigError
from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.hybrid import (
    EvaluateHybrid,
    ExportHybrid,
    FitHybrid,
    TrainHybrid,
    keep_held_out,
)
from tasks.logreg import Fit, TrainingRows
from tasks.options import CascadeOptions, spec_of


class FitCascade(CascadeOptions, FitHybrid):
    """Find where words alone do as well as the hybrid: ``models/<slug>-<key>/``."""

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read what the hybrid reads, and the hybrid, which encodes every text."""
        hybrid = self.part(FitHybrid)
        return {**hybrid.upstream, "hybrid": hybrid}

    def identity(self) -> dict[str, object]:
        """Return the head's options and the loss that is allowed."""
        return {**super().identity(), "max_loss": spec_of(self, CascadeSpec).max_loss}

    def fit(self, rows: TrainingRows, draft: Draft) -> Fit:
        """Return the hybrid's head with its gate; keep what its rows get out of fold."""
        import numpy as np

        from pipeline.heads.blend import blend_outputs, fit_blend
        from pipeline.heads.gate import POINT, choose_confidence
        from pipeline.heads.head import Gate, load_head

        if rows.task != "classification":
            raise ConfigError(
                f"A cascade answers with one class, and this is {rows.task}. Use TrainHybrid."
            )
        hybrid = self.upstream["hybrid"].directory
        head, held_out = load_head(hybrid), disk.load_array(hybrid / "held_out.npy")
        some = np.flatnonzero(np.isfinite(held_out).all(axis=1))
        outputs = held_out[some]
        targets, folds, terms = self.weighed(rows, some, head)
        k = len(head.classes)
        terms_outputs = blend_outputs(terms, targets, folds, k, self.spec)
        min_confidence, draft.facts["gate"] = choose_confidence(
            terms_outputs,
            outputs,
            targets,
            self.clusters(rows)[some],
            POINT * spec_of(self, CascadeSpec).max_loss,
        )
        gate = Gate(fit_blend(terms, targets, k, self.spec), min_confidence)
        is_sure = terms_outputs.max(axis=1, keepdims=True) >= min_confidence
        answered = np.where(is_sure, terms_outputs, outputs)
        held_out = keep_held_out(answered, some, len(rows.numbers), draft)
        return Fit(replace(head, gate=gate), held_out)


class EvaluateCascade(CascadeOptions, EvaluateHybrid):
    """Figures of `FitCascade` with intervals beside the baselines': ``reports/<slug>-<key>/``."""

    fits = FitCascade
    command = "TrainCascade"


class ExportCascade(CascadeOptions, ExportHybrid):
    """Tokenizer, encoder, models on words and `FitCascade` in one file: ``predictors/<slug>-<key>/``."""

    reports = EvaluateCascade


class TrainCascade(CascadeOptions, TrainHybrid):
    """Train a classifier that encodes only what words leave open: every stage, a report and a predictor."""

    exports = ExportCascade

"""Words first: where they are sure of an answer, the text is not encoded at all."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.config import CascadeSpec
from pipeline.errors import ConfigError
from pipeline.storage import Draft
from tasks.hybrid import EvaluateHybrid, ExportHybrid, FitHybrid, TrainHybrid
from tasks.options import CascadeOptions, spec_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.heads.blend import Blended
    from pipeline.heads.head import Head


class FitCascade(CascadeOptions, FitHybrid):
    """Fit the hybrid, and find where words alone do as well: ``models/<slug>-<key>/``."""

    def identity(self) -> dict[str, object]:
        """Return the head's options and the loss that is allowed."""
        return {**super().identity(), "max_loss": spec_of(self, CascadeSpec).max_loss}

    def answering(
        self,
        blended: "Blended",
        targets: "NDArray[Any]",
        clusters: "Callable[[], NDArray[np.int64]]",
        draft: Draft,
    ) -> "tuple[Head, NDArray[np.float64]]":
        """Return the head with its gate, and what its rows get out of fold, shape (n, k)."""
        from dataclasses import replace

        import numpy as np

        from pipeline.heads.gate import POINT, fit_gate

        if blended.head.task != "classification":
            raise ConfigError(
                f"A cascade answers with one class, and this is {blended.head.task}. Use TrainHybrid."
            )
        max_loss = POINT * spec_of(self, CascadeSpec).max_loss
        gate, draft.facts["gate"] = fit_gate(blended, targets, clusters(), max_loss)
        is_sure = blended.terms_outputs.max(axis=1) >= gate.min_confidence
        outputs = np.where(is_sure[:, None], blended.terms_outputs, blended.outputs)
        return replace(blended.head, gate=gate), outputs


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

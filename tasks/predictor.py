"""Export everything a prediction needs as one file."""

from collections.abc import Mapping
from functools import cached_property

from pipeline.storage import Draft
from tasks.base import Stage
from tasks.evaluation import EvaluateModel
from tasks.features import ExtractFeatures
from tasks.logreg import FitLogReg
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    SplitOptions,
)


class ExportPredictor(
    HeadOptions, ComputeOptions, EncoderOptions, SplitOptions, DatasetOptions, Stage
):
    """Tokenizer, encoder, classifier and card in one file: ``predictors/<slug>-<key>/predictor.joblib``."""

    folder = "predictors"

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the model, the encoder's files and the figures for the card."""
        return {
            "features": self.stage(ExtractFeatures),
            "model": self.stage(FitLogReg),
            "report": self.stage(EvaluateModel),
        }

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["model"].slug

    def build(self, draft: Draft) -> str:
        """Put the parts together; no torch is imported."""
        from pipeline.predictor.export import assemble
        from pipeline.predictor.file import save_predictor

        features = self.upstream["features"]
        assert isinstance(features, ExtractFeatures)  # as `upstream` made it
        predictor = assemble(
            spec=features.spec,
            source=features.source,
            encoder_dir=features.store / "encoder",
            model_dir=self.upstream["model"].directory,
            report=self.upstream["report"].directory / "report.json",
        )
        path = draft.path / "predictor.joblib"
        save_predictor(predictor, path)
        return f"{path.stat().st_size / 1e6:,.0f} MB"

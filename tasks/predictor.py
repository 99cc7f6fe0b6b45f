"""Export everything a prediction needs as one file."""

import json
from collections.abc import Mapping
from functools import cached_property

from pipeline.config import PredictorSpec
from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.evaluation import EvaluateModel
from tasks.features import ExtractFeatures
from tasks.logreg import FitLogReg
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    PredictorOptions,
    SplitOptions,
    spec_of,
)
from tasks.split import SplitDataset


class ExportPredictor(
    PredictorOptions,
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Stage,
):
    """Tokenizer, encoder and classifier in one file, and a model card: ``predictors/<slug>-<key>/``."""

    folder = "predictors"
    schema = 3

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the model, the training rows' features, the encoder's files and the figures for the card."""
        return {
            "split": self.stage(SplitDataset),
            "features": self.stage(ExtractFeatures),
            "model": self.stage(FitLogReg),
            "report": self.stage(EvaluateModel),
        }

    @cached_property
    def spec(self) -> PredictorSpec:
        """Return the options, checked."""
        spec = spec_of(self, PredictorSpec)
        spec.check_precision(self.precision)
        return spec

    def identity(self) -> dict[str, object]:
        """Return what the file holds; nothing where it holds all."""
        chosen = self.spec.encoder_in_predictor
        return {} if chosen == "bundle" else {"encoder_in_predictor": chosen}

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["model"].slug

    def build(self, draft: Draft) -> str:
        """Put the parts together; no torch is imported."""
        from pipeline.features.stored import StoredFeatures, pair_encoding_of
        from pipeline.predictor.export import assemble
        from pipeline.predictor.file import save_predictor
        from pipeline.report.card import model_card

        features = self.upstream["features"]
        assert isinstance(features, ExtractFeatures)  # as `upstream` made it
        report = self.upstream["report"].directory / "report.json"
        fit = disk.load_array(self.upstream["split"].directory / "fit.npy")
        stored = StoredFeatures.of(features.directory, self.root)
        predictor = assemble(
            spec=features.spec,
            source=features.source,
            encoder_dir=features.store / "encoder",
            model_dir=self.upstream["model"].directory,
            report=report,
            weights=self.spec.encoder_in_predictor,
            training=stored.subset(fit),
            pair_encoding=pair_encoding_of(features.directory),
        )
        path = draft.path / "predictor.joblib"
        save_predictor(predictor, path)
        card = model_card(json.loads(disk.read(report)))
        disk.write(
            draft.path / "model_card.md", card.encode("utf-8", "backslashreplace")
        )
        inside = (
            "" if self.spec.encoder_in_predictor == "bundle" else ", without weights"
        )
        return f"{path.stat().st_size / 1e6:,.1f} MB{inside}"

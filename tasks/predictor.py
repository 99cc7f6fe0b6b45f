"""Export everything a prediction needs as one file."""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from pipeline.config import PredictorSpec
from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.evaluation import EvaluateModel
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
    reports: ClassVar[type[EvaluateModel]] = EvaluateModel  # whose model is exported

    @cached_property
    def model(self) -> FitLogReg:
        """Return the stage of the model."""
        return self.stage(self.reports).model

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the model, the training rows' features, the encoder's files and the figures for the card."""
        read = dict(self.model.upstream)
        del read["dataset"]
        return {**read, "model": self.model, "report": self.stage(self.reports)}

    @property
    def role(self) -> str:
        """Return the stage's name in the ledger."""
        return "ExportPredictor"

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
        from pipeline.features.stored import pair_encoding_of
        from pipeline.predictor.export import assemble
        from pipeline.predictor.file import save_predictor
        from pipeline.report.card import model_card

        views = list(self.model.views.values())
        terms = self.upstream.get("terms")
        report = self.upstream["report"].directory / "report.json"
        fit = disk.load_array(self.upstream["split"].directory / "fit.npy")
        predictor = assemble(
            spec=self.model.encoder_spec,
            source=views[-1].source,
            encoder_dirs=[view.store / "encoder" for view in views],
            terms_dir=None if terms is None else terms.directory,
            model_dir=self.model.directory,
            report=report,
            weights=self.spec.encoder_in_predictor,
            training=self.model.stored().subset(fit),
            pair_encoding=pair_encoding_of(views[-1].directory),
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

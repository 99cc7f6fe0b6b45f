"""Logistic regression on several layers side by side: what one layer no longer shows, another still may."""

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar

from tasks.evaluation import EvaluateModel
from tasks.features import ExtractFeatures
from tasks.logreg import FitLogReg
from tasks.options import LayerOptions
from tasks.predictor import ExportPredictor
from tasks.train import TrainLogReg
from tasks.views import ExtractViews


class FitLayers(LayerOptions, FitLogReg):
    """Standardise and fit on the features of several layers: ``models/<slug>-<key>/``."""

    poolings: ClassVar[str] = ""  # of `ExtractViews`: the one of --pooling

    @cached_property
    def views(self) -> Mapping[str, ExtractFeatures]:
        """Return the stage of each layer, ascending, by their names in `upstream`."""
        views = self.stage(ExtractViews).views
        return {f"features {i:02d}": view for i, view in enumerate(views, 1)}


class EvaluateLayers(LayerOptions, EvaluateModel):
    """Figures of `FitLayers` with intervals beside the baselines': ``reports/<slug>-<key>/``."""

    fits = FitLayers
    command = "TrainLayers"


class ExportLayers(LayerOptions, ExportPredictor):
    """Tokenizer, encoder and `FitLayers` in one file: ``predictors/<slug>-<key>/``."""

    reports = EvaluateLayers


class TrainLayers(LayerOptions, TrainLogReg):
    """Train a classifier on several layers of the encoder: every stage, a report and a predictor."""

    exports = ExportLayers

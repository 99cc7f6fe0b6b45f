"""Compare views of encoders, train with the best one, and say both."""

import json
import sys
from collections.abc import Mapping
from functools import cached_property

from pipeline.storage import disk
from tasks import ledger
from tasks.base import Stage, T
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.job import Job
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    PredictorOptions,
    SplitOptions,
    SweepOptions,
)
from tasks.predictor import ExportPredictor
from tasks.score_views import ScoreViews
from tasks.split import SplitDataset
from tasks.train import TrainLogReg


class CompareEncoders(
    SweepOptions,
    PredictorOptions,
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Job,
):
    """Score encoders, layers, poolings and precisions on the training rows, and train with the best.

    It ends as `TrainLogReg` does with the options of the best view: the same stages, report, predictor and ``latest``.
    """

    @cached_property
    def scores(self) -> ScoreViews:
        """Return the stage that compares."""
        return self.stage(ScoreViews)

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Require the comparison; what is trained follows from it."""
        return {"ScoreViews": self.scores}

    def identity(self) -> dict[str, object]:
        """Return what a run with the first view would be: every option of training is in it, and is checked now."""
        return {"run": self._with_view(ExportPredictor, self.scores.views[0]).key}

    def _with_view(self, kind: type[T], view: ExtractFeatures) -> T:
        """Return a stage with this task's options, but with a view's of the encoder."""
        names = [name for name, _ in kind.get_params()]  # type: ignore[no-untyped-call]  # luigi's
        of_view = {name for name, _ in type(view).get_params()}
        options = {
            name: getattr(view if name in of_view else self, name) for name in names
        }
        family: dict[type[Stage], Stage] = {
            PrepareDataset: self.scores.stage(PrepareDataset),
            SplitDataset: self.scores.stage(SplitDataset),
        }
        return kind(family=family, **options)

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.scores.slug

    @cached_property
    def winner(self) -> TrainLogReg:
        """Return the run with the best view; known once the comparison is complete."""
        path = self.scores.directory / "comparison.json"
        best = json.loads(disk.read(path))["views"][0]["features"]
        (view,) = [view for view in self.scores.views if view.key == best]
        return self._with_view(TrainLogReg, view)

    def complete(self) -> bool:
        """Tell whether the views are compared and the best one's run is complete."""
        return self.scores.complete() and self.winner.complete()

    def run(self) -> None:
        """Train with the best view: its features are there."""
        self._check_inputs()
        ledger.learn(self.winner.keys())
        for stage in self.winner.upstream.values():
            if not stage.complete():
                stage.run()
        self.finish("ok")

    def finish(self, status: str) -> None:
        """Print the comparison, then end as the best view's run does."""
        folder = self.scores.directory
        sys.stdout.write(disk.read(folder / "comparison.md").decode())
        sys.stdout.write(f"\ncomparison  {folder / 'comparison.html'}\n\n")
        self.winner.finish(status)

    def keys(self) -> dict[str, str]:
        """Return the keys of the comparison and of all that it reads."""
        found = {
            stage.get_task_family(): stage for stage in self.scores.requires().values()
        }
        views = {
            f"ExtractFeatures {i}": view for i, view in enumerate(self.scores.views, 1)
        }
        return {
            name: stage.key
            for name, stage in {**found, **views, **self.upstream}.items()
        }

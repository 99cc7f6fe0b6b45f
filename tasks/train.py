"""The whole job, and what it says at its end."""

import json
import logging
import sys
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pipeline.storage import (
    disk,
    keyed_directory,
    link_or_copy,
    quarantine,
    read_manifest,
)
from tasks import ledger
from tasks.base import Stage
from tasks.evaluation import EvaluateModel
from tasks.job import Job
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    PredictorOptions,
    SplitOptions,
)
from tasks.predictor import ExportPredictor

logger = logging.getLogger(__name__)


class TrainLogReg(
    PredictorOptions,
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Job,
):
    """Train a classifier: every stage, a report and a predictor.

    Its own result is a folder of links, ``runs/<slug>-<key>/``, and ``latest``, which points at the newest one.
    """

    exports: ClassVar[type[ExportPredictor]] = ExportPredictor  # the last stage

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Require every stage, so that one deleted in the middle is built again, and only it."""
        stages = [
            *self.report.upstream.values(),
            self.report,
            self.predictor,
        ]
        return {stage.role: stage for stage in stages}

    @property
    def predictor(self) -> ExportPredictor:
        """Return the stage of the predictor."""
        return self.stage(self.exports)

    @property
    def report(self) -> EvaluateModel:
        """Return the stage of the report."""
        return self.stage(self.exports.reports)

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["PrepareDataset"].slug

    def complete(self) -> bool:
        """Tell whether every stage is complete."""
        return all(stage.complete() for stage in self.upstream.values())

    def finish(self, status: str) -> None:
        """Point ``latest`` at this result, write the ledger's line and print the headline."""
        report = json.loads(disk.read(self.report.directory / "report.json"))
        figures = {
            name: {"value": figure["value"], "ci95": figure["ci95"]}
            for name, figure in report["metrics"]["test"].items()
        }
        (features, *_) = self.report.model.views.values()
        n_rows = read_manifest(features.directory)["facts"]["rows"]
        try:
            self._link_latest()
        except OSError as error:  # a read-only folder: all results are there
            logger.warning("%s was not renewed: %s", self.root / "latest", error)
        if status == "noop":
            logger.info(
                "Nothing to do: all %d stages are up to date.", len(self.upstream)
            )
            ledger.write_noop(self.root, self.keys(), figures=figures, n_rows=n_rows)
        else:
            ledger.close(status, figures=figures, n_rows=n_rows)
        sys.stdout.write(_last_lines(report, self.root / "latest"))
        sys.stdout.flush()

    def keys(self) -> dict[str, str]:
        """Return every stage's key."""
        return {name: stage.key for name, stage in self.upstream.items()}

    def _link_latest(self) -> None:
        """Make the folder of links, if it is not there, and let ``latest`` point at it."""
        folder = keyed_directory(self.root / self.folder, self.slug, self.key)
        if folder.exists() and not folder.is_dir():
            quarantine(folder, root=self.root)
        disk.make_folder(folder)
        report, predictor = self.report.directory, self.predictor.directory
        targets = [
            *(predictor / name for name in ("predictor.joblib", "model_card.md")),
            *(report / f"report.{ending}" for ending in ("json", "md", "html")),
        ]
        for target in targets:
            link = folder / target.name
            if not (link.exists() and link.samefile(target)):
                link_or_copy(target, link)
        latest = self.root / "latest"
        if not (latest.exists() and latest.samefile(folder)):
            link_or_copy(folder, latest)


def _last_lines(report: dict[str, Any], latest: Path) -> str:  # Any: JSON values
    data = "\n".join(f"{name:<8}  {said}" for name, said in report["data"])
    files = (
        f"report     {latest / 'report.html'}\npredictor  {latest / 'predictor.joblib'}"
    )
    return f"{data}\n\n{report['summary']}\n{files}\n"

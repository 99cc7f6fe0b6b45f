"""Score the model and write the report."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from pipeline.storage import Draft, read_manifest
from tasks.base import CheckedTarget, Stage
from tasks.baselines import FitBaselines
from tasks.features import ExtractFeatures
from tasks.logreg import FitLogReg
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    SplitOptions,
)
from tasks.previous import previous_run

BUILT_IN = {"minilm", "sample", "sst2", "sst2-tutorial"}  # names that win over paths


class EvaluateModel(
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Stage,
):
    """Figures with intervals beside the baselines', and the scored rows: ``reports/<slug>-<key>/``."""

    folder = "reports"
    schema = 7
    fits: ClassVar[type[FitLogReg]] = FitLogReg  # what is reported on
    command: ClassVar[str] = "TrainLogReg"

    @cached_property
    def model(self) -> FitLogReg:
        """Return the stage of the model."""
        return self.stage(self.fits)

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read everything made so far."""
        return {
            **self.model.upstream,
            "baselines": self.stage(FitBaselines),
            "model": self.model,
        }

    @property
    def role(self) -> str:
        """Return the stage's name in the ledger."""
        return "EvaluateModel"

    def output(self) -> CheckedTarget:
        """Return the target, for Luigi: a damaged report is never shown."""
        return CheckedTarget(self.directory, self.key)

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def build(self, draft: Draft) -> str:
        """Compute the figures and render the report."""
        from pipeline.report.build import build_report
        from pipeline.report.material import Material, ReportInputs
        from pipeline.report.render import write_report
        from pipeline.report.scored import load_scored, save_scored

        views = list(self.model.views.values())
        features, terms = views[-1], self.upstream.get("terms")
        inputs = ReportInputs(
            dataset=self.upstream["dataset"].directory,
            split=self.upstream["split"].directory,
            features=tuple(view.directory for view in views),
            terms=None if terms is None else terms.directory,
            model=self.model.directory,
            baselines=self.upstream["baselines"].directory,
            root=self.root,
            name=self.slug,
            spec=replace(self.model.encoder_spec, encoder=features.source.name),
            identity=features.source.identity,
            command=self._command(features),
        )
        material = Material.load(inputs)
        report = build_report(inputs, material)
        save_scored(material, draft.path)
        rows = load_scored(draft.path, report["classes"])
        stages = [*self.upstream.values(), self]
        report["run"] = {
            "pooling_source": features.source.pooling_source(features.asked),
            "encoding": read_manifest(features.directory)["facts"].get("encoding"),
            "previous": previous_run(self.root / self.folder, stages, rows),
            "seconds": {
                name: read_manifest(stage.directory)["facts"].get("elapsed_s")
                for name, stage in {**self.upstream, "features": features}.items()
                if name == "features" or name not in self.model.views
            },
        }
        write_report(report, draft.path)
        return str(report["headline"])

    def _command(self, features: ExtractFeatures) -> str:
        """Return the command of this run: options that differ from their defaults, with what ``auto`` meant."""
        known = {"pooling": features.spec.pooling}
        if isinstance(commit := features.source.identity.get("commit"), str):
            known["revision"] = commit
        words = ["luigi", "--module", "tasks", self.command]
        for name, parameter in self.get_params():
            value = known.get(name, getattr(self, name))
            if not parameter.significant or value == parameter._default:
                continue
            words.append(f"--{name.replace('_', '-')}")
            if value is not True:
                words.append(_without_folder(str(value)))
        return shlex.join(words)


def _without_folder(value: str) -> str:
    """Return a path by its last name alone; other values as they are."""
    path = Path(value)
    is_path = value not in BUILT_IN and path.exists()
    return f"./{path.resolve().name}" if is_path else value

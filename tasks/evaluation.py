"""Score the model and write the report."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from pipeline.storage import Draft, read_manifest
from tasks import ledger
from tasks.base import CheckedTarget, Stage
from tasks.baselines import FitBaselines
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.logreg import FitLogReg
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    SplitOptions,
)
from tasks.split import SplitDataset


class EvaluateModel(
    HeadOptions, ComputeOptions, EncoderOptions, SplitOptions, DatasetOptions, Stage
):
    """Figures with intervals beside the baselines': ``reports/<slug>-<key>/report.{json,md,html}``."""

    folder = "reports"
    schema = 3

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read everything made so far."""
        return {
            "dataset": self.stage(PrepareDataset),
            "split": self.stage(SplitDataset),
            "features": self.stage(ExtractFeatures),
            "model": self.stage(FitLogReg),
            "baselines": self.stage(FitBaselines),
        }

    def output(self) -> CheckedTarget:
        """Return the target, for Luigi: a damaged report is never shown."""
        return CheckedTarget(self.directory, self.key)

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def build(self, draft: Draft) -> str:
        """Compute the figures and render the report."""
        from pipeline.report.build import ReportInputs, build_report
        from pipeline.report.render import write_report

        features = self.upstream["features"]
        assert isinstance(features, ExtractFeatures)  # as `upstream` made it
        inputs = ReportInputs(
            dataset=self.upstream["dataset"].directory,
            split=self.upstream["split"].directory,
            features=features.directory,
            model=self.upstream["model"].directory,
            baselines=self.upstream["baselines"].directory,
            root=self.root,
            name=self.slug,
            spec=replace(features.spec, encoder=features.source.name),
            identity=features.source.identity,
        )
        report = build_report(inputs)
        report["run"] = {
            "pooling_source": features.source.pooling_source(features.asked),
            "previous": self._previous(),
            "seconds": {
                name: read_manifest(stage.directory)["facts"].get("elapsed_s")
                for name, stage in self.upstream.items()
            },
        }
        write_report(report, draft.path)
        return str(report["headline"])

    def _previous(self) -> dict[str, object] | None:
        """Return when and with which figures the last finished run on the same data set ended."""
        for entry in reversed(ledger.entries(self.root)):
            try:
                value, (low, high) = (
                    entry["figures"]["accuracy"][name] for name in ("value", "ci95")
                )
                is_same = (
                    entry["keys"]["PrepareDataset"] == self.upstream["dataset"].key
                )
            except (KeyError, TypeError, ValueError):
                continue  # a failed run, or a damaged line
            if is_same:
                accuracy = {"value": float(value), "ci95": [float(low), float(high)]}
                return {"when": str(entry.get("when")), "accuracy": accuracy}
        return None

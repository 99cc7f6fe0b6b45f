"""Fit logistic regression, or ridge regression where labels are numbers, on cached features."""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import ComputeSpec, DecisionSpec, HeadSpec
from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    HeadOptions,
    PairOptions,
    SplitOptions,
    spec_of,
)
from tasks.split import SplitDataset

if TYPE_CHECKING:
    from pipeline.heads.decision.costs import Costs
    from pipeline.heads.head import Head


class FitLogReg(
    HeadOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Stage,
):
    """Standardise and fit, searching C on the training rows: ``models/<slug>-<key>/``."""

    folder = "models"
    schema = 7

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read labels, rows to fit on, and features."""
        return {
            "dataset": self.stage(PrepareDataset),
            "split": self.stage(SplitDataset),
            "features": self.stage(ExtractFeatures),
        }

    @cached_property
    def spec(self) -> HeadSpec:
        """Return the options, checked."""
        return spec_of(self, HeadSpec)

    @cached_property
    def decision(self) -> DecisionSpec:
        """Return the options of the decision rule, checked."""
        return spec_of(self, DecisionSpec)

    @cached_property
    def table(self) -> "Costs | None":
        """Return what stands in the file of costs."""
        from pipeline.heads.decision.costs import read_costs

        return read_costs(Path(self.decision.costs)) if self.decision.costs else None

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def identity(self) -> dict[str, object]:
        """Return the head's options and the solver's version; of the decision rule only what is asked for."""
        sklearn = ".".join(version("scikit-learn").split(".")[:2])
        decision = {
            name: getattr(self.decision, name)
            for name in ("calibration", "thresholds", "max_error")
            if getattr(self.decision, name) != getattr(DecisionSpec, name)
        }
        costs = {} if self.table is None else {"costs": self.table.by_name()}
        return {
            "C": self.spec.C,
            "class_weight": self.spec.class_weight,
            "sklearn": sklearn,
            **decision,
            **costs,
        }

    def build(self, draft: Draft) -> str:
        """Fit on the training rows."""
        from pipeline.datasets.table import StoredTexts, load_labels
        from pipeline.evaluation.resampling import Clusters
        from pipeline.features.stored import StoredFeatures
        from pipeline.heads.decision.fit import Fitted, with_rule
        from pipeline.heads.fit import fit_task
        from pipeline.heads.head import save_head

        split = self.upstream["split"].directory
        fit, folds = (
            disk.load_array(split / f"{name}.npy") for name in ("fit", "folds")
        )
        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        labels = load_labels(dataset.directory)[fit]
        stored = StoredFeatures.of(self.upstream["features"].directory, self.root)
        rows = stored.subset(fit)
        head = fit_task(rows, labels, self.spec, folds, task=task, names=names)
        if self.decision.given:
            clusters = Clusters.of_texts(list(StoredTexts(dataset.directory).of(fit)))
            fitted = Fitted(head, rows, labels, folds, clusters.of, self.spec)
            head, draft.facts["decision"] = with_rule(fitted, self.decision, self.table)
        draft.facts["certificates"] = self._judge(head)
        save_head(head, draft.path)
        searched = (
            f", chosen of {len(head.search)} by cross-validation" if head.search else ""
        )
        ended = "" if head.converged else "; NOT CONVERGED"
        what = {"multilabel": f"{len(head.classes)} labels", "regression": "a number"}
        said = what.get(task, f"{len(head.classes)} classes")
        return f"{said} on {len(head.mean)} features, C = {head.C:g}{searched}{ended}"

    def _judge(self, head: "Head") -> list[dict[str, Any]]:  # Any: JSON values
        """Return the figures of every engine measured here, with the labels that flip; refuse too many.

        A result that was once allowed stays: `allow_lossy` is part of no key.
        """
        from pipeline.features.stored import pair_encoding_of
        from pipeline.heads.flips import check_flips, judge

        features = self.upstream["features"]
        assert isinstance(features, ExtractFeatures)  # as `upstream` made it
        pair_encoding = pair_encoding_of(features.directory)
        judged = [
            {**manifest["facts"], "flips": judge(head, path, pair_encoding)}
            for path, manifest in features.certificates.whole()
        ]
        if not spec_of(self, ComputeSpec).allow_lossy:
            for figures in judged:
                check_flips(figures, features.spec.recipe)
        return judged

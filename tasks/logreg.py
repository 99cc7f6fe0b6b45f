"""Fit logistic regression, or ridge regression where labels are numbers, on cached features."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pipeline.config import ComputeSpec, DecisionSpec, EncoderSpec, HeadSpec
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
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.features.stored import StoredFeatures
    from pipeline.heads.decision.costs import Costs
    from pipeline.heads.head import Head


Part = TypeVar("Part", bound="FitLogReg")


@dataclass(frozen=True)
class TrainingRows:
    """The n rows that are fitted on.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n,)
        In the data set.
    features : StoredFeatures
    labels : ndarray, shape (n,)
        As in `pipeline.datasets.table.Table`.
    folds : ndarray of int8, shape (n,)
    task : str
    names : sequence of str
        The labels that a row may have several of.
    """

    numbers: "NDArray[np.int64]"
    features: "StoredFeatures"
    labels: "NDArray[Any]"
    folds: "NDArray[np.int8]"
    task: str
    names: Sequence[str]


@dataclass(frozen=True)
class Fit:
    """A head without its decision rule, and what its rows get from fits without their fold, where that is known."""

    head: "Head"
    outputs: "NDArray[np.floating] | None" = None


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
    schema = 8

    def __init__(self, *args: Any, is_part: bool = False, **kwargs: Any) -> None:
        self.is_part = is_part  # of another model, which goes on from this one
        super().__init__(*args, **kwargs)

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read labels, rows to fit on, and features."""
        return {
            "dataset": self.stage(PrepareDataset),
            **self.views,
            "split": self.stage(SplitDataset),
        }

    @cached_property
    def views(self) -> Mapping[str, ExtractFeatures]:
        """Return the stages whose features stand side by side, by their names in `upstream`."""
        return {"features": self.stage(ExtractFeatures)}

    def part(self, kind: "type[Part]") -> "Part":
        """Return the stage of a model that this one goes on from; a decision rule is for the whole alone."""
        no_rule = {field.name: field.default for field in fields(DecisionSpec)}
        options = {**self.options_of(kind), **no_rule}
        return kind(is_part=True, family=self._family, **options)

    @property
    def role(self) -> str:
        """Return the stage's name in the ledger."""
        return super().role if self.is_part else "FitLogReg"

    @property
    def encoder_spec(self) -> EncoderSpec:
        """Return the encoder's options, with all layers."""
        specs = [view.spec for view in self.views.values()]
        layers = tuple(layer for spec in specs for layer in spec.layers)
        return replace(specs[-1], layer=layers)

    def stored(self) -> "StoredFeatures":
        """Return the encoder's features of all rows of the data set."""
        from pipeline.features.stored import StoredFeatures

        paths = [view.directory for view in self.views.values()]
        return StoredFeatures.of(paths, self.root)

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
        from pipeline.heads.decision.fit import Fitted, with_rule
        from pipeline.heads.head import save_head

        rows = self._training_rows()
        fit = self.fit(rows, draft)
        head = fit.head
        if self.decision.given:
            fitted = Fitted(
                head,
                rows.features,
                rows.labels,
                rows.folds,
                self.clusters(rows),
                self.spec,
                fit.outputs,
            )
            head, draft.facts["decision"] = with_rule(fitted, self.decision, self.table)
        draft.facts["certificates"] = self._judge(head)
        save_head(head, draft.path)
        return self.said(head, rows.task)

    def _training_rows(self) -> TrainingRows:
        from pipeline.datasets.table import load_labels

        split = self.upstream["split"].directory
        fit, folds = (
            disk.load_array(split / f"{name}.npy") for name in ("fit", "folds")
        )
        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        labels = load_labels(dataset.directory)[fit]
        return TrainingRows(fit, self.stored().subset(fit), labels, folds, task, names)

    def clusters(self, rows: TrainingRows) -> "NDArray[np.int64]":
        """Return which of the rows belong together, shape (n,)."""
        from pipeline.datasets.table import StoredTexts
        from pipeline.evaluation.resampling import Clusters

        texts = StoredTexts(self.stage(PrepareDataset).directory).of(rows.numbers)
        return Clusters.of_texts(list(texts)).of

    def fit(self, rows: TrainingRows, draft: Draft) -> Fit:
        """Return the model without its decision rule; may leave further facts and files."""
        from pipeline.heads.fit import fit_task

        head = fit_task(
            rows.features,
            rows.labels,
            self.spec,
            rows.folds,
            task=rows.task,
            names=rows.names,
        )
        return Fit(head)

    def said(self, head: "Head", task: str) -> str:
        """Return a line on the model for people."""
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
        from pipeline.features.certificates import side_by_side
        from pipeline.features.stored import pair_encoding_of
        from pipeline.heads.flips import check_flips, judge

        first, *_ = views = list(self.views.values())
        pair_encoding = pair_encoding_of(first.directory)
        judged = [
            {**facts, "flips": judge(head, paths, pair_encoding)}
            for paths, facts in side_by_side([view.certificates for view in views])
        ]
        if not spec_of(self, ComputeSpec).allow_lossy:
            for figures in judged:
                check_flips(figures, first.spec.recipe)
        return judged

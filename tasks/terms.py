"""Linear models on words and on pieces of words, beside which an encoder's features count."""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version

from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.options import DatasetOptions, SplitOptions
from tasks.split import SplitDataset

KINDS = ("words", "characters")


class FitTerms(SplitOptions, DatasetOptions, Stage):
    """TF-IDF of words and of characters, each with a linear model, and what they say: ``terms/<slug>-<key>/``."""

    folder = "terms"

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the rows and their split."""
        return {
            "dataset": self.stage(PrepareDataset),
            "split": self.stage(SplitDataset),
        }

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def identity(self) -> dict[str, object]:
        """Return the solver's version."""
        return {"sklearn": ".".join(version("scikit-learn").split(".")[:2])}

    def build(self, draft: Draft) -> str:
        """Fit on all training rows; score those by fits without their fold, and every other row."""
        import numpy as np

        from pipeline.datasets.table import Table
        from pipeline.datasets.targets import targets_of
        from pipeline.terms.model import (
            fit_term_model,
            out_of_fold_scores,
            save_term_model,
        )

        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        table = Table.load(dataset.directory)
        split = self.upstream["split"].directory
        fit, folds = (
            disk.load_array(split / f"{name}.npy") for name in ("fit", "folds")
        )
        others = np.setdiff1d(np.arange(len(table.texts)), fit)
        classes = names if task == "multilabel" else sorted(set(table.labels[fit]))
        targets, k = targets_of(table.labels[fit], task, classes), len(classes)
        known, unknown = ([table.texts[i] for i in rows] for rows in (fit, others))
        columns, said = [], []
        for kind in KINDS:
            model = fit_term_model(kind, known, targets, k)
            save_term_model(model, draft.path)
            scores = np.empty((len(table.texts), len(model.intercept)), np.float32)
            scores[others] = model.scores(unknown)
            scores[fit] = out_of_fold_scores(kind, known, targets, folds, k)
            columns.append(scores)
            said.append(f"{len(model.terms):,} terms of {kind}")
        disk.save_array(draft.path / "scores.npy", np.hstack(columns))
        return " and ".join(said)

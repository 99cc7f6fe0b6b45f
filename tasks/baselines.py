"""What the model has to beat, on the same split."""

from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version

from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.options import DatasetOptions, SplitOptions
from tasks.split import SplitDataset


class FitBaselines(SplitOptions, DatasetOptions, Stage):
    """Majority class, and TF-IDF with logistic regression: ``baselines/<slug>-<key>/``."""

    folder = "baselines"

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
        """Fit both and store their probabilities for the scored rows."""
        from pipeline.datasets.table import Table
        from pipeline.evaluation.baselines import majority_proba, tfidf_proba

        table = Table.load(self.upstream["dataset"].directory)
        split = self.upstream["split"].directory
        fit, test = (disk.load_array(split / f"{name}.npy") for name in ("fit", "test"))
        labels, texts = table.labels[fit], [table.texts[i] for i in fit]
        classes = sorted(set(labels.tolist()))
        proba, facts = tfidf_proba(
            texts, labels, classes, [table.texts[i] for i in test]
        )
        majority = majority_proba(labels, classes, len(test))
        disk.save_array(draft.path / "tfidf_logreg.npy", proba)
        disk.save_array(draft.path / "majority.npy", majority)
        draft.facts["tfidf_logreg"] = facts
        return f"majority, and TF-IDF with {facts['terms']:,} terms"

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
    """Always the same answer, and TF-IDF with a linear model: ``baselines/<slug>-<key>/``."""

    folder = "baselines"
    schema = 2

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
        """Fit both and store what they answer for the scored rows."""
        from pipeline.datasets.table import Table
        from pipeline.datasets.targets import targets_of
        from pipeline.evaluation.baselines import baselines

        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        table = Table.load(dataset.directory)
        split = self.upstream["split"].directory
        fit, test = (disk.load_array(split / f"{name}.npy") for name in ("fit", "test"))
        classes = names if task == "multilabel" else sorted(set(table.labels[fit]))
        found, facts = baselines(
            [table.texts[i] for i in fit],
            targets_of(table.labels[fit], task, classes),
            len(classes),
            [table.texts[i] for i in test],
        )
        for name, outputs in found.items():
            disk.save_array(draft.path / f"{name}.npy", outputs)
        draft.facts.update(facts)
        (terms,) = (one["terms"] for one in facts.values())
        return f"{' and '.join(found)}; TF-IDF has {terms:,} terms"

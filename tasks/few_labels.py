"""What the features are worth with a few labels, beside TF-IDF."""

import json
import sys
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import version

import luigi

from pipeline.config import FewLabelsSpec
from pipeline.errors import DataError
from pipeline.storage import Draft, disk
from tasks.base import CheckedTarget, Stage
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    FewLabelsOptions,
    PairOptions,
    SplitOptions,
    spec_of,
)
from tasks.split import SplitDataset

FILE = "few_labels.json"


class FewLabels(
    FewLabelsOptions,
    ComputeOptions,
    PairOptions,
    EncoderOptions,
    SplitOptions,
    DatasetOptions,
    Stage,
):
    """Fit on a few labels of each class, several times: ``fewshot/<slug>-<key>/``."""

    folder = "fewshot"
    schema = 2

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read labels, rows to draw from and to score, and features."""
        return {
            "dataset": self.stage(PrepareDataset),
            "split": self.stage(SplitDataset),
            "features": self.stage(ExtractFeatures),
        }

    @cached_property
    def spec(self) -> FewLabelsSpec:
        """Return the options, checked."""
        return spec_of(self, FewLabelsSpec)

    @property
    def slug(self) -> str:
        """Return the data set's short name."""
        return self.upstream["dataset"].slug

    def identity(self) -> dict[str, object]:
        """Return how much is drawn, from which seed, and the solver's version."""
        return {
            "per_class": self.spec.per_class,
            "draws": self.spec.draws,
            "seed": self.seed,
            "sklearn": ".".join(version("scikit-learn").split(".")[:2]),
        }

    def output(self) -> CheckedTarget:
        """Return the target, for Luigi: damaged figures are never shown."""
        return CheckedTarget(self.directory, self.key)

    def build(self, draft: Draft) -> str:
        """Fit, score and write the figures."""
        from pipeline.datasets.table import Table
        from pipeline.features.stored import StoredFeatures
        from pipeline.labelling.protocol import Rows, few_labels

        dataset = self.stage(PrepareDataset)
        task, _ = dataset.labels()
        if task != "classification":
            raise DataError(
                f"FewLabels draws rows of each class, but the labels of {self.slug} are for {task}. "
                "Run TrainLogReg, whose learning curve goes down to few labels, or pass --task classification."
            )
        table = Table.load(dataset.directory)
        stored = StoredFeatures.of([self.upstream["features"].directory], self.root)
        split = self.upstream["split"].directory
        train, scored = (
            Rows(
                stored.subset(rows), [table.texts[i] for i in rows], table.labels[rows]
            )
            for rows in (disk.load_array(split / f"{n}.npy") for n in ("fit", "test"))
        )
        found = few_labels(train, scored, self.spec, int(self.seed))
        text = json.dumps(found, indent=1, ensure_ascii=False)
        disk.write(draft.path / FILE, text.encode("utf-8", "surrogatepass"))
        accuracy = found["head"]["accuracy"]
        return f"accuracy {accuracy['mean']:.3f} ± {accuracy['std']:.3f} over {self.spec.draws} draws"

    def tell(self) -> None:
        """Print the figures and where they are."""
        from pipeline.labelling.protocol import said

        found = json.loads(disk.read(self.directory / FILE))
        lines = [*said(found), f"figures         {self.directory / FILE}"]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()


@FewLabels.event_handler(luigi.Event.SUCCESS)
@FewLabels.event_handler(luigi.Event.DEPENDENCY_PRESENT)
def _tell(task: Stage) -> None:
    assert isinstance(task, FewLabels)  # registered for it alone
    task.tell()

"""The base of stages that learn from the split's texts as they are, without an encoder."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline.storage import disk
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.options import DatasetOptions, SplitOptions
from tasks.split import SplitDataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.pairs import Text


class SplitTexts(NamedTuple):
    """The texts of a data set, and what those that are fitted on are to be answered.

    Attributes
    ----------
    texts : sequence of str or Pair
        Of all rows.
    fit : ndarray of int64, shape (n,)
        Rows that are fitted on.
    targets : ndarray
        Of these, as `pipeline.datasets.targets.targets_of` returns them.
    n_classes : int
        Also of labels; 0 of a regression.
    """

    texts: "Sequence[Text]"
    fit: "NDArray[np.int64]"
    targets: "NDArray[Any]"
    n_classes: int

    def of(self, rows: "NDArray[np.int64]") -> "list[Text]":
        """Return the texts of some rows."""
        return [self.texts[i] for i in rows.tolist()]


class TextStage(SplitOptions, DatasetOptions, Stage):
    """A stage that reads rows and their split, and fits with scikit-learn."""

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

    def rows_of(self, name: str) -> "NDArray[Any]":
        """Return an array of the split: ``fit``, ``test`` or ``folds``."""
        found: NDArray[Any] = disk.load_array(
            self.upstream["split"].directory / f"{name}.npy"
        )
        return found

    def split_texts(self) -> SplitTexts:
        """Return all texts, and what to learn."""
        from pipeline.datasets.table import Table
        from pipeline.datasets.targets import targets_of

        dataset = self.stage(PrepareDataset)
        task, names = dataset.labels()
        table, fit = Table.load(dataset.directory), self.rows_of("fit")
        labels = table.labels[fit]
        classes = names if task == "multilabel" else sorted(set(labels))
        targets = targets_of(labels, task, classes)
        return SplitTexts(table.texts, fit, targets, len(classes))

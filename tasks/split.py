"""Which rows are fitted on and which are scored."""

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property

from pipeline.config import SplitSpec
from pipeline.errors import DataError
from pipeline.storage import Draft, disk
from tasks.base import Stage
from tasks.dataset import PrepareDataset
from tasks.options import DatasetOptions, SplitOptions, spec_of

logger = logging.getLogger(__name__)


class SplitDataset(SplitOptions, DatasetOptions, Stage):
    """Split without leaks: ``splits/<slug>-<key>/{fit,test,folds}.npy``."""

    folder = "splits"
    schema = 2

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the rows."""
        return {"dataset": self.stage(PrepareDataset)}

    @cached_property
    def spec(self) -> SplitSpec:
        """Return the options, checked."""
        return spec_of(self, SplitSpec)

    @property
    def slug(self) -> str:
        """Return the data set's short name and the mode."""
        return f"{self.upstream['dataset'].slug}-{self.spec.split}"

    def identity(self) -> dict[str, object]:
        """Return the options that matter: the seed also orders the folds, the fraction is for random splits."""
        spec = asdict(self.spec)
        if self.spec.split == "official":
            del spec["test_fraction"]
        if not self.spec.fail_on_leak:
            del spec["fail_on_leak"]
        return spec

    def build(self, draft: Draft) -> str:
        """Choose the rows and count what overlap remains."""
        from pipeline.datasets.table import Table
        from pipeline.splitting import choose_split, count_overlap

        table = Table.load(self.upstream["dataset"].directory)
        split = choose_split(
            table.texts, table.labels.tolist(), table.splits.tolist(), self.spec
        )
        overlap = count_overlap(
            [table.texts[i] for i in split.fit], [table.texts[i] for i in split.test]
        )
        self._answer_leak(overlap.identical, split.scored)
        for name in ("fit", "test", "folds"):
            disk.save_array(draft.path / f"{name}.npy", getattr(split, name))
        draft.facts.update(
            mode=split.mode,
            scored=split.scored,
            n_fit=len(split.fit),
            n_test=len(split.test),
        )
        draft.facts["overlap"] = {**asdict(overlap), "share": overlap.share}
        return (
            f"{split.mode}, {len(split.fit):,} rows to fit on, {len(split.test):,} to score ({split.scored}); "
            f"{overlap.share:.1%} of these overlap with training texts"
        )

    def _answer_leak(self, n: int, scored: str) -> None:
        """Warn of, or refuse, scored rows whose text is a training text."""
        if not n:
            return
        found = f"{n:,} of the scored rows ({scored}) have a text that, but for case and spaces, is a training text"
        if self.spec.fail_on_leak:
            raise DataError(
                f"{found}, and --fail-on-leak is set. Remove them, or pass --split random, "
                "which keeps equal texts together."
            )
        logger.warning(
            "%s: their figures flatter. --fail-on-leak refuses such data; --split random keeps equal texts together.",
            found,
        )

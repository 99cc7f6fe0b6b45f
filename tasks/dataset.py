"""From a file, folder or hub to one checked table of rows."""

from functools import cached_property
from typing import Any

from pipeline.config import DatasetSpec
from pipeline.datasets.raw import Source
from pipeline.datasets.sources import find_source
from pipeline.errors import word
from pipeline.storage import DigestCache, Draft, read_manifest
from tasks.base import Stage
from tasks.options import DatasetOptions, spec_of
from tasks.progress import rows_read


class PrepareDataset(DatasetOptions, Stage):
    """Read, check and store the rows: ``datasets/<slug>-<key>/rows.parquet``."""

    folder = "datasets"
    schema = 3

    @cached_property
    def spec(self) -> DatasetSpec:
        """Return the options, checked."""
        return spec_of(self, DatasetSpec)

    @cached_property
    def source(self) -> Source:
        """Return the data set that the options name; raises if there is none."""
        return find_source(self.spec, DigestCache(self.root).sha256)

    @property
    def slug(self) -> str:
        """Return the source's short name."""
        return self.source.slug

    def identity(self) -> dict[str, object]:
        """Return the digests or the commit of the source, and how it is read."""
        spec = self.spec
        # only where it is given: without it the rows are those they always were
        sliced = {"slice_column": spec.slice_column} if spec.slice_column else {}
        kind = {"task": spec.task} if spec.task != "auto" else {}
        return {
            "source": self.source.identity,
            "text_column": spec.text_column,
            "label_column": spec.label_column,
            "separator": spec.separator,
            "header": spec.header,
            "empty_text": spec.empty_text,
            "limit": spec.limit,
            **sliced,
            **kind,
        }

    def labels(self) -> tuple[str, list[str]]:
        """Return the kind of label, and the labels that a row may have several of; known once it is built."""
        ledger = read_manifest(self.directory)["facts"]["ledger"]
        return ledger["task"], ledger.get("label_names", [])

    def build(self, draft: Draft) -> str:
        """Read and check the rows."""
        from pipeline.datasets.prepare import make_table

        ledger = make_table(
            self.source.read(), self.spec, draft.path, on_rows=rows_read()
        )
        draft.facts["source"] = self.source.identity
        draft.facts["ledger"] = ledger
        return f"{ledger['texts']['rows']:,} rows, {_labels(ledger['texts'])}"


def _labels(texts: dict[str, Any]) -> str:  # Any: JSON values
    """Return in a few words what the labels of the training rows are like."""
    if "train_values" in texts:
        values = texts["train_values"]
        return f"train values {values['min']:g} to {values['max']:g}, mean {values['mean']:.4g}"
    labels = [f"{word(name)} {n:,}" for name, n in texts["train_labels"].items()]
    more = f", … {len(labels) - 10} more" if len(labels) > 10 else ""
    return f"train labels {', '.join(labels[:10])}{more}"

"""From a file, folder or hub to one checked table of rows."""

from functools import cached_property

from pipeline.config import DatasetSpec
from pipeline.datasets.raw import Source
from pipeline.datasets.sources import find_source
from pipeline.errors import word
from pipeline.storage import DigestCache, Draft
from tasks.base import Stage
from tasks.options import DatasetOptions, spec_of
from tasks.progress import rows_read


class PrepareDataset(DatasetOptions, Stage):
    """Read, check and store the rows: ``datasets/<slug>-<key>/rows.parquet``."""

    folder = "datasets"
    schema = 2

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

    def build(self, draft: Draft) -> str:
        """Read and check the rows."""
        from pipeline.datasets.prepare import make_table

        ledger = make_table(
            self.source.read(), self.spec, draft.path, on_rows=rows_read()
        )
        draft.facts["source"] = self.source.identity
        draft.facts["ledger"] = ledger
        labels = [
            f"{word(name)} {n:,}" for name, n in ledger["texts"]["train_labels"].items()
        ]
        more = f", … {len(labels) - 10} more" if len(labels) > 10 else ""
        return f"{ledger['texts']['rows']:,} rows, train labels {', '.join(labels[:10])}{more}"

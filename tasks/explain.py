"""Why each stage will run or not: which field of its key changed since which run, or what is missing or damaged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipeline.errors import CacheError
from pipeline.features.shards import find_shards
from pipeline.storage import read_manifest, wrong_sizes
from tasks import ledger
from tasks.base import Stage
from tasks.changes import differences, key_fields
from tasks.dataset import PrepareDataset
from tasks.features import ExtractFeatures
from tasks.train import TrainLogReg

if TYPE_CHECKING:
    from pipeline.features.keys import Keys

Json = dict[str, Any]  # Any: JSON values
LAST_RUNS = 200  # that a stage is compared with
MAX_CHANGES = 5


@dataclass(frozen=True)
class Explanation:
    """What a stage will do, and why.

    Attributes
    ----------
    stage : str
    reasons : list of str
        Why it will run; empty if it is up to date.
    """

    stage: str
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """Return a line, or several if there are several reasons."""
        if not self.reasons:
            return f"{self.stage:<16} up to date"
        return f"{self.stage:<16} will run: " + f"\n{'':<28}".join(self.reasons)


def explain(job: TrainLogReg) -> list[Explanation]:
    """Return an explanation for every stage of a job, in the order in which they run.

    Nothing is written but the memory of digests.

    Completeness trusts the sizes of files, as a run does; a changed bit is noticed when a stage is read.
    """
    runs = [
        run for run in ledger.entries(job.root) if isinstance(run.get("keys"), dict)
    ]
    found = []
    for name, stage in job.upstream.items():
        if stage.complete():
            found.append(Explanation(name))
            continue
        reasons = list(_damage(stage)) or _changes(name, stage, runs[-LAST_RUNS:])
        if isinstance(stage, ExtractFeatures):
            reasons.append(_new_rows(stage))
        found.append(Explanation(name, reasons))
    return found


def _damage(stage: Stage) -> Iterator[str]:
    """Yield what is missing or of another size in a stage's directories, as far as they are there."""
    for directory in stage.directories:
        if not directory.exists():
            continue
        try:
            manifest = read_manifest(directory)
        except CacheError as error:
            yield str(error)
            continue
        yield from wrong_sizes(directory, manifest)
        if shards := manifest["facts"].get("shards"):
            try:
                find_shards(directory.parent.parent, shards)
            except CacheError as error:
                yield str(error)
    if isinstance(stage, ExtractFeatures) and stage.directory.exists():
        yield from _unmeasured(stage)


def _unmeasured(stage: ExtractFeatures) -> Iterator[str]:
    """Yield that the store lacks a certificate, where its precision needs one."""
    if stage.certificates.lack(stage.spec.precision):
        yield (
            f"{stage.store} has no certificate of {stage.spec.recipe} against float32 torch; one is measured, "
            "and nothing is encoded again for it"
        )


def _changes(name: str, stage: Stage, runs: Sequence[Json]) -> list[str]:
    """Return what differs from the earlier run that is most like this one."""
    nearest: tuple[int, list[str]] | None = None
    for run in reversed(runs):
        key = run["keys"].get(name)
        when = f"the run of {run.get('when')}"
        # A part of one model is the whole of another, under another name.
        if stage.key in run["keys"].values():
            return [f"{stage.directory} is gone, which {when} had"]
        fields = key_fields(stage, key)
        if fields is None:
            continue
        changes = differences(fields, stage.key_fields)
        if nearest is None or len(changes) < nearest[0]:
            said = [
                *changes[:MAX_CHANGES],
                *(["…"] if len(changes) > MAX_CHANGES else []),
            ]
            nearest = len(changes), [f"{'; '.join(said)} (since {when})"]
    return nearest[1] if nearest else ["it never ran here"]


def _new_rows(stage: ExtractFeatures) -> str:
    """Return how many of the data set's texts the store lacks; reads the data if no stage has yet."""
    import numpy as np

    from pipeline.features.index import KeyIndex
    from pipeline.features.keys import first_of_each

    dataset = stage.upstream["dataset"]
    assert isinstance(dataset, PrepareDataset)  # as `upstream` made it
    keys = np.concatenate(list(_keys_of(stage, dataset)))
    distinct = keys[first_of_each(keys)]
    stored = KeyIndex.of_store(stage.store)
    new = int((stored.places(distinct) < 0).sum())
    return f"{new:,} of {len(distinct):,} distinct texts are new to the store"


def _keys_of(stage: ExtractFeatures, dataset: PrepareDataset) -> "Iterator[Keys]":
    """Yield the keys of a data set's texts, block by block; where no stage has read it yet, it is read for this."""
    from pipeline.datasets.prepare import make_table
    from pipeline.datasets.table import StoredTexts
    from pipeline.encoder.pairs import SEPARATE
    from pipeline.features.keys import row_keys
    from pipeline.features.texts import BothTexts

    with TemporaryDirectory() as scratch:
        folder = dataset.directory
        if not dataset.complete():
            folder = Path(scratch)
            make_table(dataset.source.read(), dataset.spec, folder)
        table = StoredTexts(folder)
        is_separate = table.are_pairs and stage.pair_encoding == SEPARATE
        texts = BothTexts(table) if is_separate else table
        for _, block in texts.blocks():
            yield row_keys(block)

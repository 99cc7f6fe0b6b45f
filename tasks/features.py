"""Frozen-encoder features of every row, each text encoded once."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.config import ComputeSpec, EncoderSpec, PairSpec, fingerprint
from pipeline.datasets.columns import PAIR_SIGN
from pipeline.encoder import pins
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import CacheError, ConfigError
from pipeline.features import spawn
from pipeline.features.certificates import Certificates
from pipeline.features.shards import find_shards
from pipeline.hub import COMMIT
from pipeline.storage import (
    DigestCache,
    is_complete,
    keyed_directory,
    quarantine,
    read_manifest,
)
from tasks import stop
from tasks.base import DirectoryTarget, Stage
from tasks.dataset import PrepareDataset
from tasks.options import (
    ComputeOptions,
    DatasetOptions,
    EncoderOptions,
    PairOptions,
    spec_of,
)
from tasks.progress import said_rates, show_progress

logger = logging.getLogger(__name__)


class FeaturesTarget(DirectoryTarget):
    """A data set's feature list, with the shards it refers to, the encoder's own directory and a certificate."""

    def __init__(
        self, path: Path, key: str, certificates: Certificates, precision: str
    ) -> None:
        super().__init__(path, key)
        self.certificates = certificates
        self.precision = precision

    def exists(self) -> bool:
        """Tell whether list, shards, encoder directory and, of a precision that needs one, a certificate are whole."""
        store, key = self.certificates.store, self.certificates.encoder_key
        if not (super().exists() and is_complete(store / "encoder", key)):
            return False
        if self.certificates.lack(self.precision):
            return False
        try:
            find_shards(store, read_manifest(self.path)["facts"]["shards"])
        except (CacheError, KeyError):
            return False
        return True


class ExtractFeatures(
    ComputeOptions, PairOptions, EncoderOptions, DatasetOptions, Stage
):
    """Encode what the store does not hold: ``features/<encoder>-<fp>/datasets/<key>/``."""

    folder = "features"

    @cached_property
    def upstream(self) -> Mapping[str, Stage]:
        """Read the rows."""
        return {"dataset": self.stage(PrepareDataset)}

    @property
    def role(self) -> str:
        """Return the stage's name in the ledger: of one of several views with its layer."""
        name = super().role
        return name if self.maker is self else f"{name} {self.layer}"

    @cached_property
    def asked(self) -> EncoderSpec:
        """Return the options, checked."""
        return spec_of(self, EncoderSpec)

    @cached_property
    def source(self) -> EncoderSource:
        """Return the encoder that the options name; raises if there is none."""
        return find_encoder(self.asked, DigestCache(self.root).sha256)

    @cached_property
    def spec(self) -> EncoderSpec:
        """Return the options with what ``--pooling auto`` means."""
        return self.source.resolve(self.asked)

    @property
    def slug(self) -> str:
        """Return the encoder's short name."""
        return self.source.slug

    @cached_property
    def encoder_fields(self) -> dict[str, object]:
        """Return everything that decides a feature's value."""
        return self.source.key_fields(self.spec)

    @cached_property
    def encoder_key(self) -> str:
        """Return the fingerprint of the encoder configuration: one row store each."""
        return fingerprint(self.encoder_fields)

    def identity(self) -> dict[str, object]:
        """Return the encoder configuration; `ComputeOptions` change nothing."""
        spec_of(self, ComputeSpec)  # refuses nonsense early
        return {"encoder": self.encoder_fields, **self._pair_fields()}

    def _pair_fields(self) -> dict[str, object]:
        """Return how pairs are encoded, unless it is separately; nothing for single texts.

        The row store is the same: a joint pair is a row of its own there.

        Raises
        ------
        ConfigError
            If there are no pairs to encode jointly, or the precision is not for them.
        """
        spec = spec_of(self, PairSpec)
        if spec.pair_encoding == "separate":
            return {}
        if PAIR_SIGN not in self.text_column:
            raise ConfigError(
                f"--pair-encoding {spec.pair_encoding} needs two texts a row, got --text-column {self.text_column}. "
                "Pass --text-column A,B, or drop --pair-encoding."
            )
        spec.check_precision(self.precision)
        return {"pair_encoding": spec.pair_encoding}

    @cached_property
    def store(self) -> Path:
        """Return the row store's folder."""
        return keyed_directory(self.root / self.folder, self.slug, self.encoder_key)

    @property
    def certificates(self) -> Certificates:
        """Return what the row store knows of the engines that encoded."""
        return Certificates(self.store, self.encoder_key)

    @cached_property
    def directory(self) -> Path:
        """Return the data set's feature list inside the row store."""
        return self.store / "datasets" / self.key[:12]

    @property
    def directories(self) -> list[Path]:
        """Return the feature list, the encoder's directory, the certificates and the shards the list refers to."""
        found = [
            self.directory,
            self.store / "encoder",
            *self.certificates.folders(),
        ]
        with suppress(CacheError, KeyError):  # then the stage is not complete
            names = read_manifest(self.directory)["facts"]["shards"]
            found += find_shards(self.store, names)
        return found

    @property
    def mending_lock(self) -> str:
        """Return the row store's lock: other data sets share its shards."""
        return f"{self.store.name}.lock"

    def set_aside(self) -> None:
        """Move what is damaged to quarantine, also a list with rows that no shard holds any more."""
        super().set_aside()
        if self.complete() and self._lacks_rows():
            place = quarantine(self.directory, root=self.root)
            logger.warning(
                "%s lists rows that are gone; moved to %s", self.directory, place
            )

    def _lacks_rows(self) -> bool:
        from pipeline.features.index import KeyIndex
        from pipeline.features.keys import key_blocks

        try:
            index = KeyIndex.of_store(self.store)
            return any(
                (index.places(keys) < 0).any()
                for _, keys in key_blocks(self.directory / "keys.npy")
            )
        except (OSError, ValueError):  # another run sets something aside
            return True

    def output(self) -> FeaturesTarget:
        """Return the target, for Luigi."""
        return FeaturesTarget(
            self.directory, self.key, self.certificates, self.spec.precision
        )

    def produce(self, began: float) -> tuple[str, dict[str, object]]:
        """Let a process of its own encode; this one never imports torch."""
        return extract([self], self)

    def notes(self) -> None:
        """Say what people may not expect of the options."""
        if note := self.source.pooling_note(self.asked):
            logger.info("%s", note)
        if moved := self._moved_from():
            logger.warning("%s", moved)

    def request(self) -> dict[str, object]:
        """Return what the encoding process is told of this view."""
        return {
            "folder": str(self.store.absolute()),
            "name": self.directory.name,
            "key": self.key,
            "key_fields": self.key_fields,
            "encoder": asdict(self.spec),
            "encoder_key": self.encoder_key,
            "encoder_key_fields": self.encoder_fields,
        }

    def _moved_from(self) -> str | None:
        """Return a warning if the revision moves, and so far only other commits of the repository were encoded."""
        repo, commit = (self.source.identity.get(name) for name in ("hub", "commit"))
        is_fixed = COMMIT.fullmatch(self.asked.revision) or (
            self.asked.revision == "auto" and repo in pins.COMMITS
        )
        if repo is None or is_fixed:
            return None
        known = _commits(self.root / self.folder, repo)
        if not known or commit in known:
            return None
        revision = "main" if self.asked.revision == "auto" else self.asked.revision
        return (
            f"{repo} moved: {revision} is commit {commit} now, the features here are of {' and '.join(known)}. "
            f"Every row is encoded again; to stay with what was used, pass --revision {known[0]}."
        )


def extract(
    views: Sequence[ExtractFeatures], task: Stage
) -> tuple[str, dict[str, object]]:
    """Let one process encode what the stores of some views lack.

    Parameters
    ----------
    views : sequence of ExtractFeatures
        At least one; they differ in nothing but layer and pooling. Their locks are held.
    task : Stage
        Whose progress it is.

    Returns
    -------
    str, dict
        A line for people, and facts for the ledger.
    """
    first = views[0]
    first.notes()
    request: dict[str, object] = {
        "root": str(first.root.absolute()),
        "pair_encoding": first.pair_encoding,
        "table": str(first.upstream["dataset"].directory.absolute()),
        "compute": asdict(spec_of(first, ComputeSpec)),
        "identity": first.source.identity,
        "views": [view.request() for view in views],
    }
    with show_progress(task) as show:

        def on_message(message: spawn.Message) -> None:
            stop.exit_if_orphan()
            show(message)

        done: dict[str, Any] = spawn.extract(request, on_message)  # Any: JSON values
    for_views = f" for {len(views)} views" if len(views) > 1 else ""
    said = f"{done['rows_encoded']:,} texts encoded{for_views}, {done['rows_reused']:,} rows from the store"
    if "rows_per_s" in done:
        said += f", {said_rates(done)} on {done['device']}"
    return said, {
        "rows_encoded": done["rows_encoded"],
        "rows_reused": done["rows_reused"],
    }


def _commits(folder: Path, repo: str) -> list[str]:
    """Return the commits of a hub repository that row stores below `folder` were made with, sorted."""
    found = set()
    for encoder in folder.glob("*/encoder"):
        with suppress(CacheError, KeyError, TypeError):
            identity = read_manifest(encoder)["key_fields"]["encoder"]
            if identity["hub"] == repo:
                found.add(str(identity["commit"]))
    return sorted(found)

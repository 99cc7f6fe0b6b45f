"""The certificates of a row store: which engines that encoded here were measured. Imports nothing heavy.

::

    <store>/certificates/<engine>-<key>/   keys.npy (n,) 16-byte strings, reference.npy and features.npy (n, d) float32

One for each engine, version and device, made before it encodes anything (`pipeline.features.certify`). The manifest's
facts are those of `pipeline.encoder.certificate.Certificate`. With the features of float32 torch at hand, a head that
is fitted later is judged without torch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import fingerprint
from pipeline.errors import CacheError, UnreadableError
from pipeline.storage import is_complete, read_manifest

SCHEMA = 1  # raise when the meaning of a certificate changes
FOLDER = "certificates"
EXACT = "float32"  # the precision that may do without: an older store's features are the encoder's own
Json = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True)
class Place:
    """Where an engine's certificate is or will be, and what its key is made of."""

    path: Path
    key: str
    fields: Json


@dataclass(frozen=True)
class Certificates:
    """The certificates of one row store.

    Attributes
    ----------
    store : Path
        The row store's folder.
    encoder_key : str
        The fingerprint of its encoder configuration.
    """

    store: Path
    encoder_key: str

    def folders(self) -> list[Path]:
        """Return all of them, damaged ones included."""
        return sorted((self.store / FOLDER).glob("[!.]*/"))

    def place(self, engine: Mapping[str, Any]) -> Place:  # Any: JSON values
        """Return the place of an engine's certificate."""
        fields = {"schema": SCHEMA, "encoder": self.encoder_key, "engine": engine}
        key = fingerprint(fields)
        slug = re.sub(r"[^a-z0-9]+", "-", str(engine["engine"]).lower())
        return Place(self.store / FOLDER / f"{slug}-{key[:12]}", key, fields)

    def whole(self) -> Iterator[tuple[Path, Json]]:
        """Yield those whose manifest and sizes are right, with their manifests, by name.

        Raises
        ------
        UnreadableError
            If the system does not let one be read.
        """
        for path in self.folders():
            try:
                manifest = read_manifest(path)
                place = self.place(manifest["key_fields"]["engine"])
            except UnreadableError:
                raise
            except (CacheError, KeyError, TypeError):
                continue
            if place.path == path and is_complete(path, place.key):
                yield path, manifest

    def lack(self, precision: str) -> bool:
        """Tell whether features of a precision lie here that nothing was measured of."""
        return precision != EXACT and not any(self.whole())


def side_by_side(views: Sequence[Certificates]) -> Iterator[tuple[list[Path], Json]]:
    """Yield the certificates of engines that were measured for all views on the same texts: a path a view, and facts.

    The facts are those of the last view. What an engine was measured on for some views alone judges no head of all.

    Raises
    ------
    UnreadableError
        If the system does not let one be read.
    """
    *others, last = ([*view.whole()] for view in views)
    for path, manifest in last:
        paths = [*(_like(path, manifest, other) for other in others), path]
        known = [one for one in paths if one is not None]
        if len(known) == len(paths):
            yield known, manifest["facts"]


def _like(path: Path, manifest: Json, others: list[tuple[Path, Json]]) -> Path | None:
    """Return the certificate of the same engine and the same texts, if there is one."""
    engine, texts = manifest["key_fields"]["engine"], manifest["files"]["keys.npy"]
    for other, found in others:
        is_same = found["files"]["keys.npy"]["sha256"] == texts["sha256"]
        if is_same and found["key_fields"]["engine"] == engine:
            return other
    return None

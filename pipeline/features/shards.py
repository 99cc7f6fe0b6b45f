"""A row store on disk: which shards there are. Imports nothing heavy, for runs that have nothing to do.

::

    <encoder-slug>-<fingerprint>/
      encoder/             what a predictor needs beside the weights, and the probes' features
      shards/<digest>/     keys.npy (m,) 16-byte strings, features.npy (m, d), tokens.npy (m,) int32
      certificates/…/      what engines were measured (`pipeline.features.certificates`)
      datasets/<key>/      keys.npy (n,): a data set's features as references, in its order

Each is a directory published whole (`pipeline.storage`). Shards are immutable and named by their content. One that
takes the place of others (several made one, or a text forgotten) names them in its manifest, so that whoever refers to
those finds it.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import CacheError, UnreadableError
from pipeline.storage import is_complete, read_manifest, wrong_sizes

Manifest = dict[str, Any]  # Any: JSON values


def shards_in(folder: Path) -> Iterator[tuple[Path, Manifest]]:
    """Yield every shard of a store whose manifest and sizes are right, by name.

    Raises
    ------
    UnreadableError
        If the system does not let one be read.
    """
    for path in sorted((folder / "shards").glob("*/")):
        try:
            manifest = read_manifest(path)
            manifest["facts"].setdefault("replaces", [])  # the first version had none
            is_whole = manifest["key"] == path.name
            is_whole = is_whole and not any(wrong_sizes(path, manifest))
        except UnreadableError:
            raise
        except (CacheError, KeyError, TypeError, AttributeError):
            continue  # incomplete, or just put together with others
        if is_whole:
            yield path, manifest


def find_shards(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the shards of the given names, or those that took their place, without repetition.

    One that took the place of another holds its rows, but for those that were forgotten or that nothing referred to.

    Raises
    ------
    CacheError
        If one is gone or has another size, and none took its place.
    """
    found: dict[Path, None] = {}
    moved: dict[str, Path] | None = None
    for name in names:
        place: Path | None = folder / "shards" / name
        if not is_complete(folder / "shards" / name, name):
            if moved is None:  # rarely needed, and reads every manifest
                moved = {
                    old: path
                    for path, manifest in shards_in(folder)
                    for old in manifest["facts"]["replaces"]
                }
            place = moved.get(name)
        if place is None:
            raise CacheError(f"shard {name} of {folder} is missing or incomplete")
        found[place] = None
    return list(found)

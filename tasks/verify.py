"""``frostbert verify``: reads every byte that a run could rely upon, and, if asked, encodes some rows again."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CacheError, ConfigError, EncoderError, HubError
from pipeline.features.shards import find_shards
from pipeline.storage import check_contents
from tasks.inventory import Inventory, Item


@dataclass(frozen=True)
class Verified:
    """What was checked.

    Attributes
    ----------
    n_directories, n_bytes : int
    damage : list of str
        A sentence each; empty if all is whole.
    """

    n_directories: int
    n_bytes: int
    damage: list[str]


def verify(root: Path) -> Verified:
    """Compare every byte below an artifacts folder with what its manifests say; nothing is moved."""
    inventory = Inventory(root)
    damage = [said for item in inventory.items for said in _damage(item)]
    damage += [
        said for store in inventory.stores() for said in _lacking(inventory, store)
    ]
    damage += _dangling(inventory)
    n_bytes = sum(item.size_bytes for item in inventory.items)
    return Verified(len(inventory.items), n_bytes, damage)


def _damage(item: Item) -> Iterator[str]:
    try:
        check_contents(item.path)
    except CacheError as error:
        yield str(error)
        return
    ending = (
        item.path.name if item.kind in {"features", "shards"} else item.path.name[-12:]
    )
    if item.kind != "encoder" and not str(item.key).startswith(ending):
        yield f"{item.path} holds what belongs to the key {str(item.key)[:12]}. Remove it."


def _lacking(inventory: Inventory, store: Path) -> Iterator[str]:
    """Yield the lists of a store that refer to rows which no shard holds."""
    from pipeline.features.index import KeyIndex
    from pipeline.features.keys import key_blocks

    try:
        index = KeyIndex.of_store(store)
    except (OSError, ValueError) as error:
        yield f"The keys of {store} cannot be read: {error}."
        return
    for item in inventory.of("features"):
        if item.store != store:
            continue
        try:
            n = sum(
                int((index.places(keys) < 0).sum())
                for _, keys in key_blocks(item.path / "keys.npy")
            )
        except (OSError, ValueError):
            continue  # said above
        if n:
            yield f"{n:,} rows of {item.path} are in no shard; the next run encodes them again."
            continue
        try:
            find_shards(store, (item.manifest or {})["facts"]["shards"])
        except (CacheError, KeyError) as error:
            yield f"{item.path}: {error}; the next run lists its rows again."


def _dangling(inventory: Inventory) -> Iterator[str]:
    for run in inventory.runs():
        for link in sorted(run.iterdir()):
            if link.is_symlink() and not link.exists():
                yield f"{link} shows something that is gone; the next run of it makes it again."


def recompute(root: Path, n: int, encoder: str | None) -> Iterator[str]:
    """Encode `n` random stored rows of each row store again; yield a line on the largest difference of each.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    n : int
        Rows a store.
    encoder : str, optional
        Where the encoder is now; where it was when it made the store, if None.

    Raises
    ------
    CacheError
        If the difference is larger than rounding.
    """
    from pipeline.features.recheck import encode_again

    inventory = Inventory(root)
    datasets = {item.key: item.path for item in inventory.of("datasets")}
    wrong = []
    for store in inventory.stores():
        pairs = [
            (item.path, datasets[data])
            for item in inventory.of("features")
            if item.store == store
            for data in item.inputs
            if data in datasets
        ]
        if not pairs:
            yield f"{store.name}: no data set is left whose rows could be encoded again"
            continue
        try:
            found = encode_again(*random.choice(pairs), root, n, encoder)
        except (EncoderError, HubError, ConfigError) as error:
            yield f"{store.name}: not encoded again: {error}"
            continue
        yield (
            f"{store.name}: {found.n} rows encoded again, largest difference {found.largest:.2g} "
            f"(rounding explains {found.allowed:.2g})"
        )
        if found.largest > found.allowed:
            wrong.append(store.name)
    if wrong:
        raise CacheError(
            f"The features of {', '.join(wrong)} are not what the encoder gives. Move the folder away and run again."
        )

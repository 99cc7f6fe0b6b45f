"""``frostbert gc``: removes what no run, predictor, report or pin refers to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import CacheError, ConfigError
from pipeline.features.shards import shards_in
from pipeline.storage import (
    discard,
    disk,
    is_left_over,
    is_newer,
    key_lock,
    link_or_copy,
)
from tasks import ledger
from tasks.inventory import COMPARISONS, PARTS, PINS, RESULTS, Inventory, Item, size_of

if TYPE_CHECKING:
    import numpy as np

    from pipeline.features.keys import Keys

# A shard of which less is referred to is written anew without the rest.
MOSTLY_USED = 0.5


@dataclass(frozen=True)
class Removal:
    """Something that nothing refers to.

    Attributes
    ----------
    path : Path
    size_bytes : int
        What its removal frees.
    reason : str
    apply : callable () -> None
    """

    path: Path
    size_bytes: int
    reason: str
    apply: Callable[[], None]


def find_unused(root: Path, *, keep: int | None = None) -> list[Removal]:
    """Return what can go.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    keep : int, optional
        How many of the newest runs to keep with their reports and predictors, beside the pinned ones and the one that
        ``latest`` shows; all if None.

    Raises
    ------
    CacheError
        If a newer version of this package wrote something: what it refers to cannot be told.
    UnreadableError
        If the system does not let something be read.
    """
    inventory = Inventory(root)
    for item in inventory.items:
        if item.manifest is None and is_newer(item.path):
            raise CacheError(
                f"A newer version of frostbert wrote {item.path}; what it needs cannot be told, so nothing is removed. "
                "Update, or remove it by hand."
            )
    dropped = _dropped_runs(inventory, keep)
    used = _used(inventory, dropped)
    guard = _Guard(root)
    return [
        *_unused_stages(inventory, used, guard),
        *chain.from_iterable(
            _unused_rows(inventory, store, used, guard) for store in inventory.stores()
        ),
        *_left_over(root),
        *old_runs(inventory, dropped),  # last: without it nothing tells what it showed
    ]


class _Guard:
    """Notices a run that began or ended since something was found to be unused."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._before = self._runs()

    def _runs(self) -> tuple[int, list[dict[str, str]]]:
        return len(ledger.entries(self._root)), ledger.open_runs(self._root)

    def check(self, path: Path) -> None:
        if self._runs() != self._before:
            raise CacheError(
                f"{path} stays: a run began or ended meanwhile. List again."
            )


def _dropped_runs(inventory: Inventory, keep: int | None) -> list[Path]:
    """Return the runs that are older than the newest `keep`, neither pinned nor the latest."""
    runs = list(inventory.runs())
    protected = {*inventory.pins(), inventory.latest()}
    old = [] if keep is None else runs[: max(0, len(runs) - keep)]
    return [run for run in old if run.name not in protected]


def _used(inventory: Inventory, dropped: list[Path]) -> set[Path]:
    """Return the paths that a report, a predictor or a run under way reaches, and comparisons on data sets of these.

    What a comparison was made from is not used for that: views that were not chosen may go.
    """
    runs = inventory.runs()
    kept = {item.path for run in runs if run not in dropped for item in runs[run]}
    only_dropped = {item.path for run in dropped for item in runs[run]} - kept
    roots = [item for item in inventory.of(*RESULTS) if item.path not in only_dropped]
    keys = [item.key for item in roots if item.key]
    for run in ledger.open_runs(inventory.root):
        keys += [str(key) for key in run.values()]
    reached = inventory.reach(keys)
    used = {item.path for item in reached}
    data = {item.key for item in reached if item.kind == "datasets"}
    comparisons = inventory.of(COMPARISONS)
    return used | {item.path for item in comparisons if data.intersection(item.inputs)}


def old_runs(inventory: Inventory, dropped: list[Path]) -> Iterator[Removal]:
    """Yield the folders of links of `dropped` runs, and of those whose results are gone."""
    for run, shown in inventory.runs().items():
        is_empty = not shown and not any(path.exists() for path in run.iterdir())
        if run in dropped or is_empty:
            reason = (
                "a run whose report and predictor are gone"
                if is_empty
                else "an older run"
            )
            yield Removal(run, 0, reason, partial(drop_run, run, inventory.root))


def drop_run(run: Path, root: Path) -> None:
    """Remove the links to a run's folder, then the folder."""
    for link in (root / PINS / run.name, root / "latest"):
        if link.is_symlink() and link.readlink().name == run.name:
            disk.remove(link)
    discard(run, root=root)


def _unused_stages(
    inventory: Inventory, used: set[Path], guard: _Guard
) -> Iterator[Removal]:
    needed = {item.store for item in inventory.of("features") if item.path in used}
    for item in inventory.items:
        if item.path in used or item.kind in PARTS:
            continue
        if item.kind == "features" and item.store not in needed:
            continue  # goes with its store
        reason = "nothing refers to it" if item.manifest else "its manifest is damaged"
        apply = partial(_discard_unless_busy, item, inventory.root, guard)
        yield Removal(item.path, item.size_bytes, reason, apply)


def _discard_unless_busy(item: Item, root: Path, guard: _Guard) -> None:
    lock = (
        item.store.name
        if item.kind == "features"
        else f"{item.kind}-{str(item.key)[:16]}"
    )
    with _not_in_use(item.path, lock, root):
        guard.check(item.path)
        discard(item.path, root=root)


@contextmanager
def _not_in_use(path: Path, lock: str, root: Path) -> Iterator[None]:
    """Hold the lock under which `path` is built.

    Raises
    ------
    CacheError
        If a run holds it.
    """
    with key_lock(root, f"{lock}.lock", wait=False) as is_ours:
        if not is_ours:
            raise CacheError(f"{path} is in use by a run; it stays.")
        yield


def _unused_rows(
    inventory: Inventory, store: Path, used: set[Path], guard: _Guard
) -> Iterator[Removal]:
    """Yield a row store to which nothing refers, or its shards with few or no rows that a kept list refers to."""
    root = inventory.root
    lists = [
        item.path
        for item in inventory.of("features")
        if item.store == store and item.path in used
    ]
    if not lists:
        reason = "no report or predictor needs its rows"
        apply = partial(_drop_store, store, root, guard)
        yield Removal(store, size_of(store), reason, apply)
        return
    wanted = _keys_of(lists)
    for path, _ in shards_in(store):
        kept = _is_among(wanted, disk.load_array(path / "keys.npy"))
        n_kept, n = int(kept.sum()), len(kept)
        if n_kept / n >= MOSTLY_USED:
            continue
        freed = round(size_of(path) * (1 - n_kept / n))
        reason = f"{n - n_kept:,} of {n:,} rows that nothing refers to"
        yield Removal(path, freed, reason, partial(_shrink, path, root, guard))


def _keys_of(lists: list[Path]) -> "Keys":
    """Return the keys of some lists, sorted, each once.

    Raises
    ------
    CacheError
        If one cannot be read: what it refers to must stay.
    """
    import numpy as np

    from pipeline.features.keys import first_of_each

    found = []
    for path in lists:
        try:
            found.append(disk.load_array(path / "keys.npy"))
        except (OSError, ValueError) as error:
            raise CacheError(
                f"{path / 'keys.npy'} cannot be read, so its rows cannot be told: {error}. Run its command again, "
                "which mends it, then list again."
            ) from error
    keys: Keys = np.concatenate(found)
    return np.sort(keys[first_of_each(keys)])


def _is_among(wanted: "Keys", keys: "Keys") -> "np.typing.NDArray[np.bool_]":
    """Tell for each key whether it is one of the sorted `wanted`."""
    import numpy as np

    at = np.searchsorted(wanted, keys).clip(max=len(wanted) - 1)
    return np.asarray(wanted[at] == keys)


def _drop_store(store: Path, root: Path, guard: _Guard) -> None:
    with _not_in_use(store, store.name, root):
        guard.check(store)
        discard(store, root=root)


def _shrink(shard: Path, root: Path, guard: _Guard) -> None:
    """Write a shard anew with the rows that lists refer to, those that came meanwhile included."""
    from pipeline.features.store import FeatureStore

    folder = shard.parent.parent
    with _not_in_use(shard, folder.name, root):
        guard.check(shard)
        store = FeatureStore(folder, root)
        store.load()
        wanted = _keys_of(sorted((folder / "datasets").glob("*/")))
        store.rewrite([shard], partial(_is_among, wanted))


def _left_over(root: Path) -> Iterator[Removal]:
    """Yield drafts of processes that are gone, and what was set aside as damaged."""
    for path in _within(root / "tmp"):
        if is_left_over(path.name):
            reason = "a draft of a process that is gone"
            yield Removal(path, size_of(path), reason, partial(_remove, path))
    for path in _within(root / "quarantine"):
        yield Removal(path, size_of(path), "damaged, set aside", partial(_remove, path))


def _within(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        disk.remove_tree(path)
    else:
        disk.remove(path)


def pin(root: Path, name: str) -> Path:
    """Keep a run, whatever its age: ``latest``, or the name of a folder of ``runs``; return that folder.

    Raises
    ------
    ConfigError
        If there is no such run.
    """
    folder, _ = Inventory(root).run(name)
    disk.make_folder(root / PINS)
    link_or_copy(folder, root / PINS / folder.name)
    return folder


def unpin(root: Path, name: str) -> None:
    """Let `find_unused` drop a run again, which need not be there any more: named as for `pin`.

    Raises
    ------
    ConfigError
        If it is not pinned.
    """
    name = Path(name).name  # a shell completes the path
    run = Inventory(root).latest() if name == "latest" else name
    path = root / PINS / (run or name)
    if not path.is_symlink() and not path.exists():
        known = ", ".join(path.name for path in _within(root / PINS)) or "none"
        fix = "Nothing is to be done" if known == "none" else "Pass one of them"
        raise ConfigError(f"{path.name!r} is not pinned (pinned: {known}). {fix}.")
    _remove(path)

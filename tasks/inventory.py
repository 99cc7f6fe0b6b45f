"""What lies in an artifacts folder, and what refers to what. Only looks."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.errors import CacheError, ConfigError, UnreadableError, shown
from pipeline.storage import disk, read_manifest
from tasks import ledger
from tasks.few_labels import FewLabels
from tasks.score_views import ScoreViews
from tasks.train import TrainLogReg

Json = dict[str, Any]  # Any: JSON values
COMPARISONS = ScoreViews.folder
FOLDERS = (  # in the order in which stages run
    *("datasets", "features", "splits", "baselines", "terms", "models"),
    *("reports", "predictors", FewLabels.folder, COMPARISONS),
)
# what people keep; everything else serves them
RESULTS = ("reports", "predictors", FewLabels.folder)
PINS = "pins"
PARTS = (
    "encoder",
    "certificates",
    "shards",
)  # of a row store, which stay as long as it


@dataclass(frozen=True)
class Item:
    """A published directory.

    Attributes
    ----------
    kind : str
        Its folder: ``datasets``, ``splits``, …; a row store has ``features`` (a data set's list) and `PARTS`.
    path : Path
    manifest : dict or None
        None if it cannot be read.
    """

    kind: str
    path: Path
    manifest: Json | None

    @property
    def key(self) -> str | None:
        """Return the full key."""
        return self.manifest["key"] if self.manifest else None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Return the keys of what it was made from."""
        fields = self.manifest["key_fields"] if self.manifest else {}
        return tuple(fields.get("inputs", {}).values())

    @property
    def store(self) -> Path:
        """Return the row store that a list or one of its `PARTS` belongs to."""
        return self.path.parent if self.kind == "encoder" else self.path.parent.parent

    @cached_property
    def size_bytes(self) -> int:
        """Return the bytes of all files below."""
        return size_of(self.path)

    @property
    def age_s(self) -> float:
        """Return the seconds since it was published."""
        return max(0.0, time.time() - self.path.stat().st_mtime)


class Inventory:
    """Every published directory below an artifacts folder.

    Parameters
    ----------
    root : Path
        The artifacts folder.

    Attributes
    ----------
    items : list of Item
        Stages in the order in which they run; row stores with their parts.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.items = list(self._look())
        self._of_key: dict[str, list[Item]] = {}
        for item in self.items:
            if item.key is not None and item.kind not in PARTS:
                self._of_key.setdefault(item.key, []).append(item)

    def _look(self) -> Iterator[Item]:
        for folder in FOLDERS:
            places = _folders(self.root / folder)
            if folder != "features":
                yield from (_item(folder, path) for path in places)
                continue
            for store in places:
                if (store / "encoder").exists():
                    yield _item("encoder", store / "encoder")
                for below in ("datasets", "certificates", "shards"):
                    kind = folder if below == "datasets" else below
                    yield from (_item(kind, path) for path in _folders(store / below))

    def of(self, *kinds: str) -> list[Item]:
        """Return the items of some kinds."""
        return [item for item in self.items if item.kind in kinds]

    def stores(self) -> list[Path]:
        """Return the row stores' folders."""
        return _folders(self.root / "features")

    def reach(self, keys: Iterable[str]) -> list[Item]:
        """Return what has one of the keys, and all that it was made from; shards are not among it."""
        found: dict[Path, Item] = {}
        todo = list(keys)
        while todo:
            for item in self._of_key.get(todo.pop(), []):
                if item.path not in found:
                    found[item.path] = item
                    todo += item.inputs
        stores = {item.store for item in found.values() if item.kind == "features"}
        parts = self.of("encoder", "certificates")
        return [*found.values(), *(item for item in parts if item.store in stores)]

    def made_from(self, keys: Iterable[str]) -> list[Item]:
        """Return what has one of the keys, and all that was made from it."""
        known = set(keys)
        while True:
            found = [
                item
                for item in self.items
                if item.key in known or known & set(item.inputs)
            ]
            new = {item.key for item in found if item.key is not None} - known
            if not new:
                return found
            known |= new

    def runs(self) -> dict[Path, list[Item]]:
        """Return each run's folder of links with the report and predictor it shows, oldest first.

        A run is as old as its last line in the ledger.
        """
        found = {
            path: self._shown(path) for path in _folders(self.root / TrainLogReg.folder)
        }
        last = {
            key: i
            for i, entry in enumerate(ledger.entries(self.root))
            if isinstance(entry.get("keys"), dict)
            for key in entry["keys"].values()
        }
        age = {
            path: max((last.get(item.key or "", -1) for item in shown), default=-1)
            for path, shown in found.items()
        }
        return dict(sorted(found.items(), key=lambda pair: (age[pair[0]], pair[0])))

    def run(self, name: str) -> tuple[Path, list[Item]]:
        """Return a run's folder of links and what it shows.

        Parameters
        ----------
        name : str
            A folder of ``runs``, or a path to it, or ``latest``.

        Raises
        ------
        ConfigError
            If there is no such run.
        """
        runs = {path.name: (path, items) for path, items in self.runs().items()}
        name = Path(name).name  # a shell completes the path
        folder = self.latest() if name == "latest" else name
        if folder not in runs:
            known = ", ".join(runs) or "none"
            fix = "Pass one of them, or latest" if runs else "Train one"
            raise ConfigError(f"There is no run {shown(name)} (runs: {known}). {fix}.")
        return runs[folder]

    def pins(self) -> list[str]:
        """Return the names of the pinned runs."""
        return [path.name for path in _folders(self.root / PINS)]

    def latest(self) -> str | None:
        """Return the name of the run that ``latest`` shows."""
        latest = self.root / "latest"
        if latest.is_symlink():
            return latest.readlink().name if latest.exists() else None
        if not latest.is_dir():
            return None
        shown = self._shown(latest)  # a copy, where links cannot be made
        same = [run for run, items in self.runs().items() if items == shown]
        return same[-1].name if same else None

    def users(self) -> dict[Path, list[str]]:
        """Return, for every item that a run reaches, the names of those runs."""
        found: dict[Path, list[str]] = {}
        for run, items in self.runs().items():
            for item in self.reach(item.key for item in items if item.key):
                found.setdefault(item.path, []).append(run.name)
        return found

    def _shown(self, run: Path) -> list[Item]:
        """Return the results whose files a folder of links, or of copies, holds."""
        return [item for item in self.of(*RESULTS) if _shows(run, item)]


def _shows(run: Path, item: Item) -> bool:
    for name, entry in item.manifest["files"].items() if item.manifest else ():
        path = run / name
        if path.is_symlink():
            if path.exists() and path.samefile(item.path / name):
                return True
        elif path.is_file() and disk.sha256_file(path) == entry["sha256"]:
            return True
    return False


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        return sum(size_of(below) for below in path.iterdir())
    return path.lstat().st_size


def said(size_bytes: float) -> str:
    """Return a size for people."""
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.0f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} GB"


def _folders(parent: Path) -> list[Path]:
    if not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir())


def _item(kind: str, path: Path) -> Item:
    try:
        return Item(kind, path, read_manifest(path))
    except UnreadableError:  # what it refers to must not go
        raise
    except CacheError:
        return Item(kind, path, None)

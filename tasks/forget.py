"""``frostbert forget``: a text and all made of it leave an artifacts folder, and a scan of every byte shows it."""

import html
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.datasets.table import FILE, StoredTexts
from pipeline.errors import CacheError
from pipeline.features.keys import Keys, row_keys
from pipeline.features.shards import shards_in
from pipeline.features.store import FeatureStore
from pipeline.storage import discard, disk, key_lock, link_or_copy, replace_file
from tasks import ledger
from tasks.inventory import PINS, Inventory, Item, size_of

MIN_BYTES = (
    12  # a shorter text stands in files by chance; it is looked for as a row alone
)
WINDOW = 2**24
GONE = "[forgotten]"


@dataclass
class Forgotten:
    """What was removed, and what a scan of all bytes found afterwards.

    Attributes
    ----------
    removed : list of str
        A line for each thing removed.
    n_files, n_bytes : int
        Scanned.
    traces : list of str
        Where the text, its key or its features still are; empty if all went well.
    scanned_text : bool
        Whether the text is long enough to be looked for byte by byte.
    """

    removed: list[str] = field(default_factory=list)
    n_files: int = 0
    n_bytes: int = 0
    traces: list[str] = field(default_factory=list)
    scanned_text: bool = True


def forget(root: Path, text: str) -> Forgotten:
    """Remove a text from row stores, and every stage made from a data set that holds it.

    The user's own files are left as they are.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    text : str
        Exactly as it stands in the data.

    Raises
    ------
    CacheError
        If a run is under way, or something cannot be removed.
    """
    if ledger.open_runs(root):
        raise CacheError(
            f"A run is under way in {root}. Wait for its end; if there is none, remove {root / 'tmp'} and run again."
        )
    key = row_keys([text])
    found = Forgotten(
        scanned_text=len(text.encode("utf-8", "surrogatepass")) >= MIN_BYTES
    )
    needles = _Needles(text, key)
    with ExitStack() as locks:
        inventory = Inventory(root)
        for store in inventory.stores():
            locks.enter_context(key_lock(root, f"{store.name}.lock"))
        for item in _derived(inventory, text, key):
            found.removed.append(
                f"{item.path.relative_to(root)} (made from a data set that holds it)"
            )
            discard(item.path, root=root)
        for store in inventory.stores():
            found.removed += _forget_rows(store, root, key, needles)
        found.removed += _forget_words(root, text)
        found.removed += _set_aside(root)
        _renew_links(root)
    _scan(root, needles, found)
    return found


def _derived(inventory: Inventory, text: str, key: Keys) -> list[Item]:
    """Return what was made from a data set that holds the text, that data set included."""
    holders = [
        item
        for item in inventory.of("datasets", "features")
        if (
            _table_holds(item.path, text)
            if item.kind == "datasets"
            else _list_holds(item.path, key)
        )
    ]
    keys = [item.key for item in holders if item.key is not None]
    keys += [
        data for item in holders if item.kind == "features" for data in item.inputs
    ]
    found = {item.path: item for item in [*holders, *inventory.made_from(keys)]}
    return [item for item in found.values() if item.kind != "encoder"]


def _table_holds(folder: Path, text: str) -> bool:
    try:
        return any(text in block for _, block in StoredTexts(folder).blocks())
    except (OSError, ValueError):  # damaged: nobody can say, so it goes
        return True


def _list_holds(folder: Path, key: Keys) -> bool:
    try:
        return bool((disk.load_array(folder / "keys.npy") == key).any())
    except (OSError, ValueError):
        return True


def _forget_rows(store: Path, root: Path, key: Keys, needles: "_Needles") -> list[str]:
    """Write the shards that hold the text anew without it; return a line for each."""
    rows = FeatureStore(store, root)
    rows.load()
    removed = []
    for path, _ in list(shards_in(store)):
        keys = disk.load_array(path / "keys.npy")
        if (here := keys == key).any():
            needles.add_features(disk.load_array(path / "features.npy")[here])
            rows.rewrite([path], lambda keys: keys != key)
            removed.append(f"{int(here.sum())} row of {path.relative_to(root)}")
    return removed


def _forget_words(root: Path, text: str) -> list[str]:
    """Blank the text in the ledger's commands and errors."""
    path = root / ledger.LEDGER
    if not path.exists():
        return []
    lines = disk.read(path).decode("utf-8", "surrogateescape").splitlines()
    cleaned = [_without(line, _forms(text)) for line in lines]
    if cleaned == lines:
        return []
    data = "".join(f"{line}\n" for line in cleaned).encode("utf-8", "surrogateescape")
    replace_file(path, data)
    return [
        f"its words in {sum(a != b for a, b in zip(lines, cleaned, strict=True))} lines of {ledger.LEDGER}"
    ]


def _without(line: str, forms: list[str]) -> str:
    for form in forms:
        line = line.replace(form, GONE)
    return line


def _set_aside(root: Path) -> Iterator[str]:
    """Remove damaged and half-written things: nobody can say what they hold."""
    for name in ("quarantine", "tmp"):
        if (root / name).is_dir() and any((root / name).iterdir()):
            disk.remove_tree(root / name)
            yield f"{name} (what it held cannot be told)"


def _renew_links(root: Path) -> None:
    """Remove the folders of links to what is gone; ``latest`` shows the newest run that is left."""
    inventory = Inventory(root)
    left = []
    for run, shown in inventory.runs().items():
        if len(shown) == 2 or (shown and all(path.exists() for path in run.iterdir())):
            left.append(run)
        else:
            disk.remove_tree(run)
    for path in (*(root / PINS).glob("*"), root / "latest"):
        if path.is_symlink() and not path.exists():
            disk.remove(path)
        elif (
            path.is_dir() and not path.is_symlink()
        ):  # a copy, where links cannot be made
            disk.remove_tree(path)
    if left and not (root / "latest").exists():
        link_or_copy(left[-1], root / "latest")


def _forms(text: str) -> list[str]:
    """Return the text as it stands in plain files, JSON and HTML; none if it is too short to be looked for."""
    if len(text.encode("utf-8", "surrogatepass")) < MIN_BYTES:
        return []
    forms = [text, html.escape(text), html.escape(text, quote=False)]
    forms += [json.dumps(text, ensure_ascii=ascii_)[1:-1] for ascii_ in (True, False)]
    return list(dict.fromkeys(forms))


class _Needles:
    """The bytes that must not be found any more."""

    def __init__(self, text: str, key: Keys) -> None:
        self.text = text
        words = [form.encode("utf-8", "surrogatepass") for form in _forms(text)]
        self.of = dict.fromkeys(words, "the text")
        self.of[key.tobytes()] = "its key"
        self.of[key.tobytes().hex().encode()] = "its key"

    def add_features(self, rows: np.ndarray) -> None:
        for row in rows:
            self.of[row.tobytes()] = "its features"


def _scan(root: Path, needles: _Needles, found: Forgotten) -> None:
    """Look through every byte below `root`, and through the texts of every table."""
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        found.n_files += 1
        found.n_bytes += size_of(path)
        what = _whats_in(path, needles)
        if path.name == FILE and _table_holds(path.parent, needles.text):
            what.add("the text")
        found.traces += [f"{path} still holds {name}" for name in sorted(what)]


def _whats_in(path: Path, needles: _Needles) -> set[str]:
    """Return which of the needles a file holds, read window by window."""
    overlap = max(map(len, needles.of)) - 1
    what: set[str] = set()
    tail = b""
    with path.open("rb") as stream:
        while chunk := stream.read(WINDOW):
            data = tail + chunk
            what |= {name for form, name in needles.of.items() if form in data}
            tail = data[-overlap:]
    return what

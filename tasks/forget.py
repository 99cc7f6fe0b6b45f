"""``frostbert forget``: a text and all made of it leave an artifacts folder, and a scan of every byte shows it."""

import html
import json
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np

from pipeline.datasets.table import FILE, StoredTexts
from pipeline.errors import CacheError
from pipeline.features.keys import Keys, row_keys
from pipeline.features.shards import shards_in
from pipeline.features.store import FeatureStore
from pipeline.pairs import Text, texts_in
from pipeline.storage import (
    discard,
    disk,
    is_left_over,
    key_lock,
    link_or_copy,
    replace_file,
)
from tasks import ledger
from tasks.clean import drop_run, old_runs
from tasks.inventory import PINS, Inventory, Item, size_of

# Characters: the shortest cut in messages is at 40, quotes included.
SHOWN = 36
# A shorter text stands in files by chance; it is looked for as a row alone.
MIN_BYTES = 12
WINDOW = 2**24
GONE = "[forgotten]"
TEXT = "the text, perhaps within a longer one"


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
    ledger.close_gone(root)
    _refuse_if_busy(root)
    found = Forgotten(
        scanned_text=len(text.encode("utf-8", "surrogatepass")) >= MIN_BYTES
    )
    with ExitStack() as locks:
        inventory = Inventory(root)
        keys = row_keys([text, *_pairs_with(inventory, text)])
        needles = _Needles(text, keys)
        for store in inventory.stores():
            locks.enter_context(key_lock(root, f"{store.name}.lock"))
        going = _derived(inventory, text, keys)
        gone, latest = {item.path for item in going}, inventory.latest()
        runs = [
            run
            for run, shown in inventory.runs().items()
            if gone.intersection(item.path for item in shown)
        ]
        for item in going:
            if item.kind == "certificates":
                _look_for_rows(item.path, keys, needles)
            found.removed.append(
                f"{item.path.relative_to(root)} (made from a data set that holds it)"
            )
            discard(item.path, root=root)
        for store in inventory.stores():
            found.removed += _forget_rows(store, root, keys, needles)
        found.removed += _forget_words(root, text)
        found.removed += _set_aside(root)
        _forget_runs(root, runs, latest)
    _scan(root, needles, found)
    return found


def _refuse_if_busy(root: Path) -> None:
    """Make sure that nobody else writes.

    Raises
    ------
    CacheError
        Names what is being written.
    """
    if ledger.open_runs(root):
        raise CacheError(
            f"A run is under way in {root}. Wait for its end; if there is none, remove {root / 'tmp'} and run again."
        )
    for path in sorted((root / "tmp").glob("*")):
        if path.is_dir() and not is_left_over(path.name):
            raise CacheError(
                f"{path} may be written by a process. Wait for its end; if there is none, remove it and run again."
            )


def _derived(inventory: Inventory, text: str, keys: Keys) -> list[Item]:
    """Return what was made from a data set that holds the text, that data set included."""
    holders = [
        item
        for item in inventory.of("datasets", "features", "certificates")
        if (
            _table_holds(item.path, text)
            if item.kind == "datasets"
            else _list_holds(item.path, keys)
        )
    ]
    stages = [item.key for item in holders if item.key is not None]
    stages += [
        data for item in holders if item.kind == "features" for data in item.inputs
    ]
    found = {item.path for item in [*holders, *inventory.made_from(stages)]}
    found |= {item.path for item in inventory.items if item.manifest is None}
    return [
        item
        for item in reversed(inventory.items)
        if item.path in found and item.kind not in {"encoder", "shards"}
    ]


def _pairs_with(inventory: Inventory, text: str) -> set[Text]:
    """Return the pairs of all data sets that a text is one of: encoded jointly, they are rows of their own."""
    found: set[Text] = set()
    for item in inventory.of("datasets"):
        with suppress(OSError, ValueError, KeyError):  # damaged: nobody can say
            table = StoredTexts(item.path)
            if table.are_pairs:
                rows = chain.from_iterable(block for _, block in table.blocks())
                found.update(row for row in rows if text in texts_in(row))
    return found


def _table_holds(folder: Path, text: str) -> bool:
    try:
        blocks = StoredTexts(folder).blocks()
        return any(text in texts_in(row) for _, block in blocks for row in block)
    except (OSError, ValueError, KeyError):  # damaged: nobody can say, so it goes
        return True


def _list_holds(folder: Path, keys: Keys) -> bool:
    try:
        return bool(np.isin(disk.load_array(folder / "keys.npy"), keys).any())
    except (OSError, ValueError):
        return True


def _look_for_rows(certificate: Path, keys: Keys, needles: "_Needles") -> None:
    """Let the scan look for the text's features in a certificate that goes; float32 torch's may be nowhere else."""
    with suppress(OSError, ValueError, IndexError):  # damaged: nobody can say
        here = np.isin(disk.load_array(certificate / "keys.npy"), keys)
        for name in ("reference", "features"):
            needles.add_features(disk.load_array(certificate / f"{name}.npy")[here])


def _forget_rows(
    store: Path, root: Path, going: Keys, needles: "_Needles"
) -> list[str]:
    """Write the shards that hold the text, or pairs with it, anew without them; return a line for each."""
    rows = FeatureStore(store, root)
    rows.load()
    removed = []
    rows.check(path.name for path, _ in shards_in(store))
    for path, _ in list(shards_in(store)):
        keys = disk.load_array(path / "keys.npy")
        if (here := np.isin(keys, going)).any():
            needles.add_features(disk.load_array(path / "features.npy")[here])
            rows.rewrite([path], lambda keys: ~np.isin(keys, going))
            n = int(here.sum())
            removed.append(f"{n} row{'s'[: n != 1]} of {path.relative_to(root)}")
    return removed


def _forget_words(root: Path, text: str) -> list[str]:
    """Blank the text in the ledger's commands and errors."""
    path = root / ledger.LEDGER
    if not path.exists():
        return []
    forms = [*_forms(text), *_beginnings(text)]
    with key_lock(root, "runs.lock"):
        lines = disk.read(path).decode("utf-8", "surrogateescape").split("\n")
        cleaned = [_without(line, forms) for line in lines]
        if cleaned == lines:
            return []
        replace_file(path, "\n".join(cleaned).encode("utf-8", "surrogateescape"))
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


def _forget_runs(root: Path, runs: list[Path], latest: str | None) -> None:
    """Remove the folders of runs that showed what is gone; ``latest`` shows the newest that is left."""
    for run in runs:
        drop_run(run, root)
        shown = [
            root / PINS / run.name,
            *([root / "latest"] if run.name == latest else []),
        ]
        for copy in shown:
            if copy.is_dir() and not copy.is_symlink():
                disk.remove_tree(copy)
    for removal in old_runs(
        Inventory(root), []
    ):  # of a forgetting that was interrupted
        removal.apply()
    left = list(Inventory(root).runs())
    if left and not (root / "latest").exists():
        link_or_copy(left[-1], root / "latest")


def _forms(text: str) -> list[str]:
    """Return the text as it stands in files, JSON, HTML and messages; none if it is too short to be looked for."""
    if len(text.encode("utf-8", "surrogatepass")) < MIN_BYTES:
        return []
    plain = [text, repr(text)[1:-1], html.escape(text), html.escape(text, quote=False)]
    in_json = [
        json.dumps(form, ensure_ascii=ascii_)[1:-1]
        for form in plain
        for ascii_ in (True, False)
    ]
    return list(dict.fromkeys([*plain, *in_json]))


def _beginnings(text: str) -> list[str]:
    """Return how a message that shows a long text begins, which it cuts."""
    return [form[:SHOWN] for form in _forms(text) if len(form) > SHOWN]


class _Needles:
    """The bytes that must not be found any more."""

    def __init__(self, text: str, keys: Keys) -> None:
        self.text = text
        words = [form.encode("utf-8", "surrogatepass") for form in _forms(text)]
        self.of = dict.fromkeys(words, "the text")
        for key in keys.reshape(-1, 1):
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
        if (
            path.name == FILE
        ):  # its rows tell; a longer text that holds this one is another text
            what.discard(TEXT)
            what |= {TEXT} if _table_holds(path.parent, needles.text) else set()
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

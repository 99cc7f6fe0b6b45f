"""A disk that fails, ends the process, or loses power at the N-th operation; and a small job to try it on.

`FaultyDisk` replaces every function of `pipeline.storage.disk` and counts the calls; each piece written to a file that
`disk.create` opened counts as one, too. `Recorder` keeps the history instead, and lays out what a machine that lost
its power after the N-th operation may find on its disk.

Run as a program (``python -m tests.faulty_disk before|halfway FOLDER``) it kills a process at every operation and
mends what was left; the tests start that in a fresh interpreter, which may fork.
"""

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from pipeline.errors import CacheError
from pipeline.features import part
from pipeline.features import store as store_module
from pipeline.features.extract import extract_missing, list_facts
from pipeline.features.keys import row_keys
from pipeline.features.shards import find_shards, shards_in
from pipeline.features.store import FeatureStore
from pipeline.features.texts import TextList
from pipeline.storage import (
    check_contents,
    disk,
    is_complete,
    link_or_copy,
    publish_directory,
    read_manifest,
    replace_file,
)
from pipeline.storage.manifest import MANIFEST
from pipeline.testing import WordLengthEncoder

KILLED = 137
Fault = Callable[[str, Path, Callable[[], Any]], Any]


class Stream:
    """A file opened by `disk.create` whose every write is an operation of the disk."""

    def __init__(self, path: Path, stream: Any, operate: Fault) -> None:
        self._path, self._stream, self._operate = path, stream, operate

    def write(self, data: Any) -> int:
        data = bytes(data)
        return int(
            self._operate(
                "write to", self._path, _Write(self._path, self._stream, data)
            )
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Write:
    """One write; `halve` does the first half of it."""

    def __init__(self, path: Path, stream: Any, data: bytes) -> None:
        self.path, self.stream, self.data = path, stream, data

    def __call__(self) -> int:
        return int(self.stream.write(self.data))

    def halve(self) -> None:
        self.stream.write(self.data[: len(self.data) // 2])
        self.stream.flush()


class FaultyDisk:
    """Counts the disk's operations and lets `fault` take the place of some.

    Parameters
    ----------
    fault : callable (name, path, go_on) -> object
        Called for every operation from number `at` on, or for that one alone; may raise, end the process, or return
        ``go_on()``.
    at : int
        The first operation is 1.
    lasting : bool
        Whether all later operations fail as well.

    Attributes
    ----------
    n : int
        Operations so far.
    names : list of str
        Of each.
    """

    def __init__(
        self,
        fault: Fault | None = None,
        at: int = 0,
        *,
        lasting: bool = False,
    ) -> None:
        self._fault, self._at, self._lasting = fault, at, lasting
        self.n = 0
        self.names: list[str] = []

    def operate(self, name: str, path: Path, go_on: Callable[[], Any]) -> Any:
        self.n += 1
        self.names.append(name)
        is_now = self.n == self._at or (self._lasting and self.n > self._at)
        if self._fault is not None and is_now:
            return self._fault(name, path, go_on)
        return go_on()

    @contextmanager
    def installed(self) -> Iterator["FaultyDisk"]:
        """Take the place of the disk while the block runs."""
        with ExitStack() as stack:
            for name in disk.OPERATIONS:
                function = self._replacement(name, getattr(disk, name))
                stack.enter_context(mock.patch.object(disk, name, function))
            yield self

    def _replacement(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(first: Any, *args: Any, **kwargs: Any) -> Any:
            path = args[0] if name == "link" else first
            done = self.operate(name, path, _Call(name, real, (first, *args), kwargs))
            return Stream(path, done, self.operate) if name == "create" else done

        return replacement


class _Call:
    """One call of the disk; `halve` does a part of what can be done in part."""

    def __init__(
        self,
        name: str,
        real: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self.name, self.real, self.args, self.kwargs = name, real, args, kwargs

    def __call__(self) -> Any:
        return self.real(*self.args, **self.kwargs)

    def halve(self) -> None:
        if self.name == "append":
            path, data = self.args
            self.real(path, data[: len(data) // 2])
        elif self.name == "remove_tree":
            (path,) = self.args
            for below in sorted(path.iterdir())[::2] if path.is_dir() else []:
                shutil.rmtree(below) if below.is_dir() else below.unlink()


READS = {"read", "load_array", "sha256_file"}


def fail(code: int) -> Fault:
    """Return a fault that raises what the system says, naming the file only where it does."""

    def fault(name: str, path: Path, go_on: Callable[[], Any]) -> Any:
        if code == errno.ENOSPC and (name in READS or name.startswith("remove")):
            return go_on()  # a full disk can be read
        is_written = name in {"write to", "sync", "write", "save_array"}
        named = () if is_written and code != errno.EACCES else (str(path),)
        raise OSError(code, os.strerror(code), *named)

    return fault


def end(*, halfway: bool = False) -> Fault:
    """Return a fault that ends the process before or halfway through an operation, as ``kill -9`` does."""

    def fault(name: str, path: Path, go_on: Any) -> Any:
        if halfway:
            go_on.halve()
        os._exit(KILLED)

    return fault


# A small job that uses every operation.

TEXTS = ["a bbb", "a", "cc d eee", "a", "zz zz", "ee e"]
MORE = ["new one", "a", "zz zz", "q", "one more", "cc d eee"]
NAMES = {"first": TEXTS, "second": MORE}
DIM = 3


def expected(texts: list[str]) -> list[list[float]]:
    """Return the features of texts: the lengths of their first words."""
    rows = [[len(word) for word in text.split()[:DIM]] for text in texts]
    return [[*map(float, row), *[0.0] * (DIM - len(row))] for row in rows]


@contextmanager
def small_parts() -> Iterator[None]:
    """Let each batch be a part, and few parts be put together."""
    with (
        mock.patch.object(part, "PART_S", 0.0),
        mock.patch.object(store_module, "MANY", 2),
        mock.patch.object(store_module, "SHARD_BYTES", 4096),
    ):
        yield


def folder_of(root: Path) -> Path:
    return root / "features" / "words-0123456789ab"


def work(root: Path, encoder: WordLengthEncoder) -> dict[str, list[list[float]]]:
    """Extract two lists of texts as the worker does, note it, link it; return the features."""
    store = FeatureStore(folder_of(root), root)
    found = {}
    with small_parts():
        for name, texts in NAMES.items():
            final = store.folder / "datasets" / name
            if not _is_there(store, final):
                _publish_list(store, root, final, texts, encoder)
            store.load()
            keys = disk.load_array(final / "keys.npy")
            found[name] = store.features(keys).tolist()
    disk.append(root / "runs.jsonl", json.dumps({"run": os.getpid()}).encode() + b"\n")
    replace_file(root / "digests.json", json.dumps(found).encode())
    link_or_copy(final, root / "latest")
    return found


def _is_there(store: FeatureStore, final: Path) -> bool:
    """Tell what the stage asks: whether the list and the shards it refers to are whole."""
    try:
        shards = read_manifest(final)["facts"]["shards"]
        return is_complete(final, final.name) and bool(
            find_shards(store.folder, shards)
        )
    except CacheError:
        return False


def _publish_list(
    store: FeatureStore,
    root: Path,
    final: Path,
    texts: list[str],
    encoder: WordLengthEncoder,
) -> None:
    with publish_directory(
        final, root=root, stage="ExtractFeatures", key=final.name, key_fields={}
    ) as draft:
        keys_path = draft.path / "keys.npy"
        extract_missing(
            TextList(texts, block=2),
            [store],
            lambda _: encoder,
            keys_paths=[keys_path],
            feature_dtype="float32",
        )
        draft.facts.update(list_facts(keys_path, store, 128))


def count_operations(root: Path) -> list[str]:
    """Return the names of the operations that the job needs on a healthy disk."""
    with FaultyDisk().installed() as found:
        work(root, WordLengthEncoder())
    return found.names


def stored_keys(root: Path) -> set[bytes]:
    """Return the keys of the rows in finished shards."""
    found: set[bytes] = set()
    for path, _ in shards_in(folder_of(root)):
        found |= {key.tobytes() for key in np.load(path / "keys.npy")}
    return found


def partial_directories(root: Path) -> list[str]:
    """Return what is wrong with directories that count as whole, drafts and damaged ones left out."""
    wrong = []
    for manifest in root.rglob(MANIFEST):
        place = manifest.parent
        if place.relative_to(root).parts[0] in {"tmp", "quarantine", "latest"}:
            continue
        try:
            if is_complete(place, read_manifest(place)["key"]):
                check_contents(place)
        except CacheError as error:
            wrong.append(str(error))
    return wrong


def left_over(root: Path) -> list[str]:
    """Return the drafts and scratch files that are still there."""
    drafts = sorted((root / "tmp").iterdir()) if (root / "tmp").is_dir() else []
    return [str(path) for path in [*drafts, *root.glob(".*")]]


def mend(root: Path) -> list[str]:
    """Run the job on a healthy disk; return what is wrong afterwards."""
    kept = stored_keys(root)
    encoder = WordLengthEncoder()
    found = work(root, encoder)
    wrong = partial_directories(root)
    for name, texts in NAMES.items():
        if found[name] != expected(texts):
            wrong.append(f"{name} has other features: {found[name]}")
    again = [
        t for t in encoder.seen if row_keys([t])[0].tobytes().ljust(16, b"\0") in kept
    ]
    if again:
        wrong.append(f"encoded again: {again}")
    if (root / "latest").resolve().name != "second":
        wrong.append("latest does not show the newest")
    return wrong


def crash_everywhere(folder: Path, *, halfway: bool) -> Iterator[str]:
    """Kill the job at each operation, run it again; yield what was wrong."""
    names = count_operations(folder / "healthy")
    for at, name in enumerate([*names, "none"], 1):
        if halfway and name not in {"write to", "append", "remove_tree", "none"}:
            continue  # nothing that is done by halves
        root = folder / str(at)
        child = os.fork()
        if child == 0:
            with FaultyDisk(end(halfway=halfway), at).installed():
                work(root, WordLengthEncoder())
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        wrong = [] if status in {0, KILLED} else [f"status {status}"]
        if root.exists():
            wrong += partial_directories(root)
        wrong += mend(root)
        yield from (f"operation {at}: {said}" for said in wrong)
        shutil.rmtree(root)
        if status == 0:
            sys.stdout.write(f"{at - 1} operations\n")
            return


# What a sudden loss of power leaves.


class Recorder(FaultyDisk):
    """A healthy disk that keeps the history of what was asked of it.

    Attributes
    ----------
    log : list of tuple
        A change of the disk each: what, and of which path or file.
    begins : list of int
        The length of `log` before each operation.
    """

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root
        self._files: dict[Path, int] = {}  # the number of the file that has a name
        self.log: list[tuple[Any, ...]] = []
        self.begins: list[int] = []

    def operate(self, name: str, path: Path, go_on: Any) -> Any:
        self.begins.append(len(self.log))
        note = getattr(self, f"_{name.replace(' ', '_')}", None)
        args = go_on.args if isinstance(go_on, _Call) else (path, go_on.data)
        if name in {"make_folder", "remove", "remove_tree", "append"}:
            note(*args)  # type: ignore[misc]  # depends on what is there before
            done = super().operate(name, path, go_on)
        else:
            done = super().operate(name, path, go_on)
            if note is not None:
                note(*args)
        return done

    def _name(self, path: Path) -> Path:
        return path.relative_to(self._root)

    def _make_folder(self, path: Path) -> None:
        new = [p for p in (path, *path.parents) if not p.exists()]
        self.log += [("mkdir", self._name(p)) for p in reversed(new) if p != self._root]

    def _create(self, path: Path) -> None:
        self._files[self._name(path)] = len(self.log)
        self.log.append(("create", self._name(path), len(self.log)))

    def _write_to(self, path: Path, data: bytes) -> None:
        self.log.append(("data", self._files[self._name(path)], data))

    def _append(self, path: Path, data: bytes) -> None:
        if not path.exists():
            self._create(path)
        self._write_to(path, data)
        self.log.append(("sync file", self._files[self._name(path)]))

    def _sync(self, path: Path) -> None:
        name = self._name(path)
        is_file = name in self._files
        self.log.append(
            ("sync file", self._files[name]) if is_file else ("sync folder", name)
        )

    def _rename(self, old: Path, new: Path) -> None:
        a, b = self._name(old), self._name(new)
        moved = {p: n for p, n in self._files.items() if p == a or a in p.parents}
        for path in moved:
            del self._files[path]
        self._files |= {b / p.relative_to(a): n for p, n in moved.items()}
        self.log.append(("rename", a, b))

    def _link(self, target: str, path: Path) -> None:
        self.log.append(("link", self._name(path), target))

    def _remove(self, path: Path) -> None:
        if os.path.lexists(path):
            self._files.pop(self._name(path), None)
            self.log.append(("remove", self._name(path)))

    def _remove_tree(self, path: Path) -> None:
        if not path.exists():
            return
        for below in (*path.rglob("*"), path):
            self._files.pop(self._name(below), None)
        self.log.append(("remove", self._name(path)))

    def lay_out(self, at: int, place: Path, *, keep_names: bool, keep: float) -> None:
        """Build what may be found after power was lost before operation `at`.

        Parameters
        ----------
        at : int
        place : Path
            A new folder.
        keep_names : bool
            Whether changes of names are kept although their folder was not made durable.
        keep : float
            The share that is left of a file's bytes that were not made durable.
        """
        log = self.log[: self.begins[at - 1]] if at <= self.n else self.log
        durable = _durable(log)
        place.mkdir()
        for i, (what, *about) in enumerate(log):
            if what in {"data", "sync file", "sync folder"}:
                continue
            if keep_names or i in durable:
                _change(place, what, about, i)
        _fill(place, log, keep)


def _durable(log: list[tuple[Any, ...]]) -> set[int]:
    """Return the changes of names that survive: those in a folder that was made durable after them."""
    found: set[int] = set()
    for i, (what, *about) in enumerate(log):
        if what != "sync folder":
            continue
        for k, (earlier, *names) in enumerate(log[:i]):
            if earlier in {"create", "mkdir", "link", "remove"}:
                touched = {names[0].parent}
            elif earlier == "rename":
                touched = {names[0].parent, names[1].parent}
            else:
                continue
            if about[0] in touched:
                found.add(k)
    for k in sorted(found, reverse=True):  # a folder that was moved was made before
        if log[k][0] == "rename":
            found |= {
                j
                for j, (earlier, *names) in enumerate(log[:k])
                if earlier in {"mkdir", "create", "link"} and names[0] == log[k][1]
            }
    return found


def _change(place: Path, what: str, about: list[Any], number: int) -> None:
    """Do to a folder what was done to the disk; a file holds its number until it is filled."""
    path = place / about[0]
    if what == "mkdir":
        path.mkdir(parents=True, exist_ok=True)
        return
    if what in {"create", "link"}:
        path.parent.mkdir(parents=True, exist_ok=True)
        if what == "link":
            path.symlink_to(about[1])
        else:
            path.write_text(str(number))
    elif not os.path.lexists(path):
        return
    elif what == "rename":
        new = place / about[1]
        new.parent.mkdir(parents=True, exist_ok=True)
        path.replace(new)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _fill(place: Path, log: list[tuple[Any, ...]], keep: float) -> None:
    """Give files their bytes: those made durable, and a share of the others."""
    for path in place.rglob("*"):
        if path.is_symlink() or not path.is_file():
            continue
        number = int(path.read_text())
        data, n_durable = b"", 0
        for what, *about in log:
            if what == "data" and about[0] == number:
                data += about[1]
            elif what == "sync file" and about[0] == number:
                n_durable = len(data)
        path.write_bytes(data[: n_durable + int(keep * (len(data) - n_durable))])


def main(how: str, folder: str) -> int:
    """Kill the job at every operation; return 1 if something was wrong afterwards."""
    wrong = list(crash_everywhere(Path(folder), halfway=how == "halfway"))
    sys.stdout.write("\n".join(wrong))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""Data sets of a model hub: SST-2 at its pinned commit, and any repository through the package ``datasets``."""

import re
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from pipeline import hub
from pipeline.datasets import pins
from pipeline.datasets.raw import SPLIT_NAMES, RawTable, Source, slug_of
from pipeline.errors import DataError, HubError, shown
from pipeline.storage import sha256_file

STREAM_BYTES = 2 * 10**9  # a larger repository is read as it comes, without a copy here
BATCH_ROWS = 1024


def find_sst2() -> Source:
    """Return SST-2 of the hub, every file checked against its pinned digest when it is read."""

    def read() -> dict[str, RawTable]:
        from pipeline.datasets.typed import open_parquet

        folder = hub.cached_snapshot("dataset", pins.SST2_REPO, pins.SST2_COMMIT)
        wanted = [path for path, _ in pins.SST2_FILES.values()]
        if folder is None or not all((folder / path).is_file() for path in wanted):
            folder = hub.fetch_snapshot(
                "dataset", pins.SST2_REPO, pins.SST2_COMMIT, wanted
            )
        for path, sha256 in pins.SST2_FILES.values():
            if sha256_file(folder / path) != sha256:
                raise DataError(
                    f"{folder / path} is not the pinned file: its SHA-256 differs from {sha256[:12]}…. "
                    "Delete it from the hub cache and run again."
                )
        return {
            split: open_parquet(folder / path, sha256)
            for split, (path, sha256) in pins.SST2_FILES.items()
        }

    return Source("sst2", {"hub": pins.SST2_REPO, "commit": pins.SST2_COMMIT}, read)


def find_repository(name: str) -> Source:
    """Return the data set of ``hf:<repo>[:<config>][@<revision>]``.

    Raises
    ------
    DataError
        If `name` is of another form.
    HubError
        If the revision is not known here and the hub does not answer.
    """
    match = re.fullmatch(
        r"hf:(?P<repo>[^:@]+)(?::(?P<config>[^@]+))?(?:@(?P<revision>.+))?", name
    )
    if match is None:
        raise DataError(
            f"--dataset is {shown(name)}, expected hf:<repo>[:<config>][@<revision>]."
        )
    repo, config = match["repo"], match["config"]
    commit = hub.resolve_commit("dataset", repo, match["revision"] or "main")

    def read() -> dict[str, RawTable]:
        return _open_repository(repo, commit, config)

    return Source(
        slug_of(repo), {"hub": repo, "commit": commit, "config": config}, read
    )


def _place(repo: str, commit: str) -> tuple[str, str | None]:
    """Return what ``datasets`` is to load, and at which revision: files here, or a large set from the hub."""
    cached = hub.cached_snapshot("dataset", repo, commit)
    try:
        sizes = hub.file_sizes("dataset", repo, commit)
    except HubError:
        if cached is None:
            raise
        _check_parts(cached, repo)
        return str(cached), None
    if sum(sizes.values()) > STREAM_BYTES and not (cached and _holds(cached, sizes)):
        return repo, commit
    return str(hub.fetch_snapshot("dataset", repo, commit)), None


def _check_parts(folder: Path, repo: str) -> None:
    """Refuse a snapshot that lacks some of the numbered parts of a file, as one that was not fetched whole does."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
    for name in sorted(names):
        part = re.fullmatch(r"(.*-)\d{5}(-of-(\d{5}).*)", name)
        if part is None:
            continue
        lacking = [
            other
            for i in range(int(part[3]))
            if (other := f"{part[1]}{i:05}{part[2]}") not in names
        ]
        if lacking:
            raise DataError(
                f"The hub cache holds only a part of {repo}: {len(lacking):,} files are missing, such as {lacking[0]}. "
                "Run once with a connection, or fetch it with: hf download --repo-type dataset "
                + repo
            )


def _holds(folder: Path, sizes: dict[str, int]) -> bool:
    return all((folder / name).is_file() for name in sizes)


def _open_repository(repo: str, commit: str, config: str | None) -> dict[str, RawTable]:
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"Reading hf:{repo} needs the package datasets: pip install 'frostbert[hub]'."
        ) from error
    datasets.disable_progress_bars()
    place, revision = _place(repo, commit)
    scratch = _Scratch()
    try:
        loaded = datasets.load_dataset(
            place, config, revision=revision, cache_dir=scratch.path, streaming=True
        )
    except Exception as error:  # the library's own errors, of many families
        raise DataError(
            f"datasets cannot read {repo} ({config or 'default'}): {_first_line(error)} "
            f"Pass hf:{repo}:CONFIG with another configuration, or a file."
        ) from error
    tables: dict[str, RawTable] = {}
    for name, rows in loaded.items():
        split = SPLIT_NAMES.get(str(name))
        if split is not None and split not in tables:
            tables[split] = _open_rows(rows, f"{repo}:{name}", scratch)
    if "train" not in tables:
        raise DataError(
            f"{repo} has no train split (splits: {', '.join(map(str, loaded))}). Pass a file instead."
        )
    return tables


class _Scratch:
    """A folder for whatever the library keeps; goes when the last table that is read from it goes."""

    def __init__(self) -> None:
        self.path = mkdtemp()
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)

    def keep(self) -> None:
        """Be the tables' `close`, through which each of them holds the folder."""


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [repr(error)]
    return lines[0].rstrip(".:") + "."


def _open_rows(
    rows: Any, path: str, scratch: _Scratch
) -> RawTable:  # Any: an IterableDataset
    from pipeline.datasets.typed import Columns, TypedTable, first_rows

    def read(wanted: list[str] | None = None) -> Iterator[Columns]:
        try:
            chosen = rows if wanted is None else rows.select_columns(wanted)
            yield from chosen.iter(BATCH_ROWS)
        except (
            Exception
        ) as error:  # the library's own errors, the network's and the disk's
            raise DataError(
                f"{path} cannot be read: {_first_line(error)} If the connection broke, run the same command again; "
                "if its parts differ, pass a file."
            ) from error

    first = next(read(), {})
    names = list(first)
    head = first_rows(iter([first]), names)
    return TypedTable(names, read, head, path, scratch.keep)

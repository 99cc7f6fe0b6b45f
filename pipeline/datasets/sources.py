"""From what the user typed to a source: its identity for the key, and its rows when they are needed.

Finding a source and its identity is cheap and imports nothing heavy; `Source.read` does the work.
"""

import difflib
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipeline import hub
from pipeline.config import DatasetSpec
from pipeline.datasets import pins
from pipeline.errors import DataError, HubError, shown

if TYPE_CHECKING:
    from pipeline.datasets.readers import RawTable

Sha256 = Callable[[Path], str]
NAMED = ("sst2", "sst2-tutorial", "sample")
SPLIT_STEMS = {
    "train": "train",
    "dev": "dev",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "test": "test",
}
FORMATS = {".tsv": "tsv", ".csv": "csv", ".txt": "txt", ".parquet": "parquet"}


@dataclass(frozen=True)
class Source:
    """A data set that was found.

    Attributes
    ----------
    slug : str
        A short readable name for folders; never part of a key.
    identity : dict
        What the key covers: digests of the files, or a hub commit.
    read : callable () -> dict of split name to RawTable
        Reads the rows; raises `DataError` if they are no longer those of `identity`.
    """

    slug: str
    identity: dict[str, object]
    read: "Callable[[], dict[str, RawTable]]"


def find_source(spec: DatasetSpec, sha256: Sha256) -> Source:
    """Return the source that ``spec.dataset`` names.

    Parameters
    ----------
    spec : DatasetSpec
        The options.
    sha256 : callable (Path) -> str
        Digest of a file; may remember earlier answers.

    Raises
    ------
    DataError
        If there is no such file, folder or name.
    HubError
        If a hub revision is not known here and the hub does not answer.
    """
    name = spec.dataset
    if name == "sample":
        return _local_files(spec, "sample", {"train": sample_path()}, sha256)
    if name == "sst2":
        return _hub_sst2(spec)
    if name == "sst2-tutorial":
        return _tutorial(spec)
    if name.startswith("hf:"):
        return _hub_repository(spec)
    try:
        path = Path(name).expanduser()
        exists = path.exists()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, …
        raise DataError(
            f"--dataset {shown(name)} is not a path: {error}. Pass one that exists."
        ) from error
    if path.is_dir():
        return _local_files(spec, path.resolve().name, _folder_files(path), sha256)
    if not exists:
        near = difflib.get_close_matches(name, NAMED, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise DataError(
            f"Data set {shown(name)} not found: no file or folder {path.absolute()}, and no set of that name "
            f"(names: {', '.join(NAMED)}, hf:<repo>). {hint}Pass --dataset with a path that exists."
        )
    if not path.is_file():
        raise DataError(
            f"{path} is neither a file nor a folder (a pipe or device?). Pass a regular file."
        )
    return _local_files(spec, path.stem, {"train": path}, sha256)


def sample_path() -> Path:
    """Return where the project's own ``reviews.tsv`` lies, in a checkout or an installed package."""
    checkout = Path(__file__).resolve().parents[2] / "data" / "reviews.tsv"
    if checkout.is_file():
        return checkout
    from importlib.metadata import PackageNotFoundError, files

    try:
        installed = [
            entry for entry in files("frostbert") or [] if entry.name == "reviews.tsv"
        ]
    except PackageNotFoundError:
        installed = []
    if not installed:
        raise DataError(
            "The sample reviews.tsv is not installed. Install frostbert again."
        )
    return Path(str(installed[0].locate())).resolve()


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "data"


def _folder_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLIT_STEMS.get(path.stem.lower())
        if split is None or path.suffix.lower() not in FORMATS or not path.is_file():
            continue
        if split in found:
            raise DataError(
                f"{folder} has two files for {split}: {found[split].name} and {path.name}. Remove one."
            )
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"No train file in {folder}: expected train.tsv (or {', '.join(list(FORMATS)[1:])}), found "
            f"{', '.join(sorted(p.name for p in folder.iterdir())[:10]) or 'nothing'}. Pass a file, or rename yours."
        )
    return found


def _local_files(
    spec: DatasetSpec, name: str, files: dict[str, Path], sha256: Sha256
) -> Source:
    try:
        digests = {split: sha256(path) for split, path in files.items()}
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    kinds = {split: file_format(path) for split, path in files.items()}

    def read() -> "dict[str, RawTable]":
        return {
            split: _parse(spec, _bytes(path), str(path), kinds[split], digests[split])
            for split, path in files.items()
        }

    return Source(_slug(name), {"files": digests, "formats": kinds}, read)


def file_format(path: Path) -> str:
    """Return ``tsv``, ``csv``, ``txt`` or ``parquet`` by the file's ending."""
    found = FORMATS.get(path.suffix.lower())
    if found is None:
        raise DataError(
            f"{path} ends in {path.suffix!r}, expected one of: {', '.join(FORMATS)}. "
            "Convert it; a sheet, for example, by exporting it as CSV."
        )
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read any more: {error.strerror}. Run the same command again."
        ) from error


def _parse(
    spec: DatasetSpec, data: bytes, path: str, kind: str, sha256: str
) -> "RawTable":
    """Parse bytes after making sure they are the ones the key was made from."""
    from pipeline.datasets.readers import read_table

    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(
            f"{path} changed while the run was starting. Run the same command again."
        )
    wanted = (spec.text_column, spec.label_column)
    named = tuple(name for name in wanted if name != "auto" and not name.isdigit())
    return read_table(
        data, path, kind=kind, separator=spec.separator, header=spec.header, named=named
    )


def _hub_sst2(spec: DatasetSpec) -> Source:
    def read() -> "dict[str, RawTable]":
        folder = hub.cached_snapshot("dataset", pins.SST2_REPO, pins.SST2_COMMIT)
        wanted = [path for path, _ in pins.SST2_FILES.values()]
        if folder is None or not all((folder / path).is_file() for path in wanted):
            folder = hub.fetch_snapshot(
                "dataset", pins.SST2_REPO, pins.SST2_COMMIT, wanted
            )
        tables = {}
        for split, (path, sha256) in pins.SST2_FILES.items():
            data = (folder / path).read_bytes()
            if hashlib.sha256(data).hexdigest() != sha256:
                raise DataError(
                    f"{folder / path} is not the pinned file: its SHA-256 differs from {sha256[:12]}…. "
                    "Delete it from the hub cache and run again."
                )
            tables[split] = _parse(
                spec, data, f"{pins.SST2_REPO}/{path}", "parquet", sha256
            )
        return tables

    return Source("sst2", {"hub": pins.SST2_REPO, "commit": pins.SST2_COMMIT}, read)


def _tutorial(spec: DatasetSpec) -> Source:
    def read() -> "dict[str, RawTable]":
        import urllib.request

        try:
            with urllib.request.urlopen(pins.TUTORIAL_URL, timeout=10) as answer:
                data = answer.read()
        except OSError as error:
            raise HubError(
                f"Could not fetch data set sst2-tutorial from {pins.TUTORIAL_URL}: {error}\n{hub.ROUTES}"
            ) from error
        if hashlib.sha256(data).hexdigest() != pins.TUTORIAL_SHA256:
            raise DataError(
                f"{pins.TUTORIAL_URL} is not the pinned file (SHA-256 differs). Pass a local copy."
            )
        return {
            "train": _parse(spec, data, pins.TUTORIAL_URL, "tsv", pins.TUTORIAL_SHA256)
        }

    identity: dict[str, object] = {
        "files": {"train": pins.TUTORIAL_SHA256},
        "formats": {"train": "tsv"},
    }  # that of a local copy
    return Source("sst2-tutorial", identity, read)


def _hub_repository(spec: DatasetSpec) -> Source:
    match = re.fullmatch(
        r"hf:(?P<repo>[^:@]+)(?::(?P<config>[^@]+))?(?:@(?P<revision>.+))?",
        spec.dataset,
    )
    if match is None:
        raise DataError(
            f"--dataset is {shown(spec.dataset)}, expected hf:<repo>[:<config>][@<revision>]."
        )
    repo, config = match["repo"], match["config"]
    commit = hub.resolve_commit("dataset", repo, match["revision"] or "main")

    def read() -> "dict[str, RawTable]":
        return _load_repository(_repository_folder(repo, commit), repo, config)

    return Source(_slug(repo), {"hub": repo, "commit": commit, "config": config}, read)


def _repository_folder(repo: str, commit: str) -> Path:
    """Return the repository's files: fetched, or those of the cache when the hub cannot be asked."""
    cached = hub.cached_snapshot("dataset", repo, commit)
    if cached is not None and hub.is_offline():
        return cached
    return hub.fetch_snapshot("dataset", repo, commit)


def _load_repository(
    folder: Path, repo: str, config: str | None
) -> "dict[str, RawTable]":
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"Reading hf:{repo} needs the package datasets: pip install 'frostbert[hub]'."
        ) from error
    from pipeline.datasets.readers import table_of_frame

    datasets.disable_progress_bars()
    try:
        with TemporaryDirectory() as cache:  # the rows go into our own table
            loaded = datasets.load_dataset(str(folder), config, cache_dir=cache)
            frames = {str(name): rows.to_pandas() for name, rows in loaded.items()}
    except Exception as error:  # the library's own errors, of many families
        raise DataError(
            f"datasets cannot read {repo} ({config or 'default'}): {error}"
        ) from error
    tables = {}
    for name, frame in frames.items():
        split = SPLIT_STEMS.get(name)
        if split is not None and split not in tables:
            tables[split] = table_of_frame(frame, f"{repo}:{name}")
    if "train" not in tables:
        raise DataError(
            f"{repo} has no train split (splits: {', '.join(frames)}). Pass a file instead."
        )
    return tables

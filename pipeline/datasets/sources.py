"""From what the user typed to a source: its identity for the key, and its rows when they are needed.

Finding a source and its identity is cheap and imports nothing heavy; `Source.read` does the work.
"""

import difflib
import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from pipeline import hub
from pipeline.config import DatasetSpec
from pipeline.datasets import hubsets, pins
from pipeline.datasets.columns import names_in
from pipeline.datasets.files import (
    ENDINGS,
    DigestedFile,
    check_regular,
    file_format,
    is_format,
    split_name,
    text_blocks,
    unpacked,
)
from pipeline.datasets.raw import SPLIT_NAMES, RawTable, Source, slug_of
from pipeline.errors import DataError, HubError, shown

Sha256 = Callable[[Path], str]
NAMED = ("sst2", "sst2-tutorial", "sample")
# Data in forms that are not read here: such a split is refused, not passed over.
UNREADABLE = {
    ".arrow",
    ".bz2",
    ".feather",
    ".json",
    ".ods",
    ".xls",
    ".xlsx",
    ".xz",
    ".zip",
    ".zst",
}


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
        return hubsets.find_sst2()
    if name == "sst2-tutorial":
        return _tutorial(spec)
    if name.startswith("hf:"):
        return hubsets.find_repository(name)
    try:
        path = Path(name).expanduser()
        is_folder, is_here = path.is_dir(), path.exists() or path.is_symlink()
    except (OSError, RuntimeError, ValueError) as error:  # too long, no such home, …
        raise DataError(
            f"--dataset {shown(name)} is not a path: {error}. Pass one that exists."
        ) from error
    if is_folder and not is_format(path):
        return _local_files(spec, path.resolve().name, _folder_files(path), sha256)
    if not is_here:
        raise DataError(
            f"Data set {shown(name)} not found: no file or folder {path.absolute()}, and no set of that name "
            f"(names: {', '.join(NAMED)}, hf:<repo>). {_hint(path, name)}Pass --dataset with a path that exists."
        )
    check_regular(path)
    return _local_files(spec, split_name(path)[0], {"train": path}, sha256)


def _hint(path: Path, name: str) -> str:
    """Return ``Did you mean …? `` for a name near a known one, or near a file beside it."""
    try:
        beside = {found.name: found for found in path.parent.iterdir()}
    except OSError:
        beside = {}
    near = difflib.get_close_matches(path.name, beside, n=1)
    if near:
        return f"Did you mean {str(beside[near[0]])!r}? "
    near = difflib.get_close_matches(name, NAMED, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


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


def _folder_files(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"{folder} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    for path in paths:
        split = SPLIT_NAMES.get(split_name(path)[0].lower())
        if split is not None and path.suffix.lower() in UNREADABLE:
            file_format(path)  # says what it is and what to do
        if split is None or not is_format(path):
            continue
        if split in found:
            raise DataError(
                f"{folder} has two files for {split}: {found[split].name} and {path.name}. Remove one."
            )
        check_regular(path)
        _check_inside(path, folder)
        found[split] = path
    if "train" not in found:
        raise DataError(
            f"No train file in {folder}: expected train with one of {ENDINGS}; found "
            f"{', '.join(path.name for path in paths[:10]) or 'nothing'}. Pass a file, or rename yours."
        )
    return found


def _check_inside(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of the folder, unless to the blobs of the hub cache it is a snapshot of."""
    target, inside = path.resolve(), folder.resolve()
    blobs = inside.parents[1] / "blobs" if len(inside.parents) > 1 else inside
    if not (target.is_relative_to(inside) or target.is_relative_to(blobs)):
        raise DataError(
            f"{path} is a link that leads out of its folder, to {target}. "
            "Pass that file, or put a copy into the folder."
        )


def _local_files(
    spec: DatasetSpec, name: str, files: dict[str, Path], sha256: Sha256
) -> Source:
    forms = {split: file_format(path) for split, path in files.items()}
    try:
        digests = {split: sha256(path) for split, path in files.items()}
    except OSError as error:
        raise DataError(
            f"{error.filename} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error

    def read() -> dict[str, RawTable]:
        train = open_file(files["train"], digests["train"], spec)
        # a first line like that of train names the columns, too
        named = tuple(train.names) if train.is_text and train.has_header else ()
        return {
            split: train
            if split == "train"
            else open_file(path, digests[split], spec, named)
            for split, path in files.items()
        }

    return Source(slug_of(name), {"files": digests, "formats": forms}, read)


def open_file(
    path: Path, sha256: str, spec: DatasetSpec, named: tuple[str, ...] = ()
) -> RawTable:
    """Return the table in a file, which has to have the given digest when it was read to its end.

    Raises
    ------
    DataError
        If it changed, or holds no table.
    """
    form = file_format(path)
    if form == "parquet":
        from pipeline.datasets.typed import open_parquet

        return open_parquet(path, sha256)
    file = DigestedFile(path, sha256)
    table = open_stream(cast("BinaryIO", file), str(path), form, spec, named)

    def close() -> None:
        with file:
            file.check()

    table.close = close
    return table


def open_stream(
    stream: BinaryIO,
    path: str,
    form: str,
    spec: DatasetSpec,
    named: tuple[str, ...] = (),
) -> RawTable:
    """Return the table in the bytes of a text file.

    Parameters
    ----------
    stream : binary file
    path : str
        For error messages.
    form : str
        As `file_format` gives it, but not ``parquet``.
    spec : DatasetSpec
        Separator, header, columns asked for, and the most bytes to read.
    named : tuple of str
        Further names by which a header is known.
    """
    from pipeline.datasets.text import open_text
    from pipeline.datasets.typed import JsonTable

    blocks = text_blocks(unpacked(stream, form), path, 1e9 * spec.max_gb)
    kind = form.removesuffix(".gz")
    if kind == "jsonl":
        return JsonTable(blocks, path)
    wanted = (
        *names_in(spec.text_column),
        *names_in(spec.label_column),
        spec.slice_column,
    )
    named += tuple(
        name for name in wanted if name not in ("", "auto") and not name.isdigit()
    )
    return open_text(
        blocks,
        path,
        kind=kind,
        separator=spec.separator,
        header=spec.header,
        named=named,
    )


def _tutorial(spec: DatasetSpec) -> Source:
    def read() -> dict[str, RawTable]:
        import urllib.request
        from http.client import HTTPException

        try:
            with urllib.request.urlopen(pins.TUTORIAL_URL, timeout=10) as answer:
                data = answer.read()
        except (OSError, HTTPException) as error:
            raise HubError(
                f"Could not fetch data set sst2-tutorial from {pins.TUTORIAL_URL}: {error}\n{hub.ROUTES}"
            ) from error
        if hashlib.sha256(data).hexdigest() != pins.TUTORIAL_SHA256:
            raise DataError(
                f"{pins.TUTORIAL_URL} is not the pinned file (SHA-256 differs). Pass a local copy."
            )
        return {"train": open_stream(io.BytesIO(data), pins.TUTORIAL_URL, "tsv", spec)}

    identity: dict[str, object] = {
        "files": {"train": pins.TUTORIAL_SHA256},
        "formats": {"train": "tsv"},
    }  # that of a local copy
    return Source("sst2-tutorial", identity, read)

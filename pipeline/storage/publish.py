"""Directories that are there whole or not at all.

A stage writes into ``<root>/tmp/…`` on the same file system; every file is flushed to disk, the manifest is
written last, and one rename makes the directory visible. Whoever is second finds the first one's directory and
drops his own. Nothing is ever overwritten in place.
"""

import errno
import json
import os
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import CacheError
from pipeline.storage import disk
from pipeline.storage.manifest import (
    FORMAT,
    MANIFEST,
    describe_files,
    digest_of,
    is_complete,
    is_newer,
)
from pipeline.storage.owners import is_mark_of_gone, mark

# Packages whose version can matter to a result.
RECORDED = ("numpy", "pandas", "sklearn", "tokenizers", "torch", "transformers")

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# What a disk says without naming a file, when a write or a flush fails.
DISK_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
}


@dataclass(frozen=True)
class Draft:
    """A directory being written: put files into `path`, and what is worth knowing into `facts`."""

    path: Path
    facts: dict[str, object] = field(default_factory=dict)


@contextmanager
def publish_directory(
    final: Path, *, root: Path, stage: str, key: str, key_fields: Mapping[str, object]
) -> Iterator[Draft]:
    """Yield a `Draft`; when the block ends without an error, publish it as `final`.

    Parameters
    ----------
    final : Path
        Where the directory will be, below `root`.
    root : Path
        The artifacts folder; its ``tmp`` holds the draft.
    stage, key, key_fields
        Written to the manifest. `key` is the full fingerprint of `key_fields`.

    Raises
    ------
    CacheError
        If the disk refuses: no space, no permission, an I/O error.
    """
    scratch = root / "tmp" / draft_name(final.name)
    try:
        with _disk_errors(root):
            disk.make_folder(scratch)
        draft = Draft(scratch)
        with _disk_errors(root):
            yield draft
            _seal(draft, {"stage": stage, "key": key, "key_fields": key_fields})
            _install(scratch, final, root=root, key=key)
    finally:
        with suppress(OSError):
            disk.remove_tree(scratch)


@contextmanager
def _disk_errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        below = error.filename is not None and str(root) in str(error.filename)
        if (
            error.errno not in DISK_ERRORS and not below
        ):  # somebody else's error, not our disk's
            raise
        where = f"{error.strerror or error} ({error.filename or 'no file named'})"
        advice = "Free space" if error.errno in FULL else "Mend its permissions"
        raise CacheError(
            f"Cannot write below {root}: {where}. {advice}, or pass another --artifacts folder."
        ) from error


def _seal(draft: Draft, identity: Mapping[str, object]) -> None:
    """Write the manifest last, and make every byte durable."""
    manifest = {
        "format": FORMAT,
        **identity,
        "files": describe_files(draft.path),
        "facts": draft.facts,
        "versions": loaded_versions(),
    }
    whole = {**manifest, "digest": digest_of(manifest)}
    text = json.dumps(whole, indent=1, sort_keys=True, allow_nan=False)
    disk.write(draft.path / MANIFEST, text.encode())
    for path in draft.path.iterdir():
        disk.seal(path)
    disk.sync(draft.path)


def loaded_versions() -> dict[str, str]:
    """Return the versions of Python and of the recorded packages that this process has imported."""
    found = {
        name: str(sys.modules[name].__version__)
        for name in RECORDED
        if name in sys.modules
    }
    return {"python": sys.version.split()[0], **found}


def _install(scratch: Path, final: Path, *, root: Path, key: str) -> None:
    """Rename `scratch` to `final`; an equal directory already there wins, a damaged one makes way."""
    disk.make_folder(final.parent)
    try:
        disk.rename(scratch, final)
    except OSError:
        if not os.path.lexists(final):  # a dangling link is in the way, too
            raise
        if is_complete(final, key):
            return
        quarantine(final, root=root)
        disk.rename(scratch, final)
    disk.sync(final.parent)


def quarantine(directory: Path, *, root: Path) -> Path:
    """Move a damaged directory to ``<root>/quarantine`` and return its new place.

    Nothing is deleted: what was there can still be looked at.

    Raises
    ------
    CacheError
        If a newer version of this package wrote it, or it cannot be moved.
    """
    if is_newer(directory):
        raise CacheError(
            f"A newer version of frostbert wrote {directory}; it is left as it is. "
            "Update, or pass another --artifacts folder."
        )
    place = root / "quarantine" / f"{directory.name}.{secrets.token_hex(4)}"
    try:
        disk.make_folder(place.parent)
        disk.rename(directory, place)
    except FileNotFoundError:
        pass  # another run was quicker
    except OSError as error:
        raise CacheError(
            f"Cannot move {directory} to {place}: {error}. Remove it."
        ) from error
    return place


def discard(path: Path, *, root: Path) -> None:
    """Remove a directory of ours for good; nobody sees it in part. Fine if it is gone.

    Raises
    ------
    OSError
        If it cannot be removed.
    """
    scratch = root / "tmp" / draft_name(path.name)
    disk.make_folder(scratch.parent)
    try:
        disk.rename(path, scratch)
    except FileNotFoundError:  # another run was quicker
        return
    try:
        disk.sync(path.parent)
    finally:
        disk.remove_tree(scratch)


def draft_name(name: str) -> str:
    """Return a name below ``tmp`` that tells which process of which machine made it."""
    return f"{name}.{socket.gethostname()}.{mark()}.{secrets.token_hex(4)}"


def is_left_over(name: str) -> bool:
    """Tell whether `draft_name` made a name in a process of this machine that is gone."""
    parts = name.rsplit(".", 2)
    here = f".{socket.gethostname()}"
    if len(parts) < 3 or not parts[0].endswith(here):
        return False
    return is_mark_of_gone(here[1:], parts[1])


def replace_file(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, make it durable and rename it over `path`."""
    with replacing(path) as stream:
        stream.write(data)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file beside `path`; when the block ends without an error, it is made durable and renamed over `path`.

    Of a link, the file that it leads to is replaced.

    Raises
    ------
    OSError
        If it cannot be written, or something else than a regular file stands there: a device, a pipe, a folder.
    """
    path = path.resolve()
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    scratch = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with disk.create(scratch) as stream:
            yield stream
        disk.sync(scratch)
        disk.rename(scratch, path)
    finally:
        disk.remove(scratch)


def link_or_copy(target: Path, link: Path) -> None:
    """Make `link` a relative symbolic link to `target`, atomically; a copy where links cannot be made."""
    scratch = link.with_name(f".{link.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        try:
            disk.link(os.path.relpath(target, link.parent), scratch)
        except OSError:
            (shutil.copytree if target.is_dir() else shutil.copy2)(target, scratch)
        if link.is_dir() and not link.is_symlink():
            disk.remove_tree(link)  # an earlier copy: a rename cannot replace it
        disk.rename(scratch, link)
    finally:
        if scratch.is_dir() and not scratch.is_symlink():
            disk.remove_tree(scratch)
        else:
            disk.remove(scratch)


def keyed_directory(parent: Path, slug: str, key: str) -> Path:
    """Return ``parent/<slug>-<key12>``, or the directory that already ends in this key."""
    ending = f"-{key[:12]}"
    found = (
        sorted(path.name for path in parent.glob(f"*{ending}"))
        if parent.is_dir()
        else []
    )
    return parent / (found[0] if found else slug + ending)

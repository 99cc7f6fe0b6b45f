"""The few operations by which our own files are made, read and removed.

Nothing else touches them, but for the few places that ``tests/test_imports.py`` lists with their reasons.

Each is a plain function of this module, called as ``disk.rename(…)``: what a full disk, a broken one or a sudden end
does at any of them is tried out by replacing them (``tests/faulty_disk.py``).
"""

import errno
import hashlib
import os
import shutil
import stat
from io import BufferedReader
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

OPERATIONS = (
    "append",
    "create",
    "link",
    "load_array",
    "make_folder",
    "read",
    "remove",
    "remove_tree",
    "rename",
    "save_array",
    "seal",
    "sha256_file",
    "sync",
    "write",
)
Array = Any  # an ndarray; naming it would import numpy, which a run with nothing to do does without


def make_folder(path: Path) -> None:
    """Make a folder, with those above it; fine if it is there."""
    path.mkdir(parents=True, exist_ok=True)


def create(path: Path) -> BinaryIO:
    """Open a file for a library that writes it piece by piece."""
    return path.open("wb")


def write(path: Path, data: bytes) -> None:
    """Write a file."""
    with create(path) as stream:
        stream.write(data)


def save_array(path: Path, array: Array) -> None:
    """Write an array as a ``.npy`` file."""
    import numpy as np

    with create(path) as stream:
        # numpy's own way to write to a file does not say why it failed
        plain: Any = SimpleNamespace(write=stream.write)
        np.save(plain, array, allow_pickle=False)


def append(path: Path, data: bytes) -> None:
    """Add a line to a file in a single write, durably, so that those of several processes do not mix.

    After a line whose writer was ended halfway a new one begins, so that only that line is lost.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            data = b"\n" + data
        n_written = os.write(descriptor, data)
        if n_written < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: Path, limit: int = -1) -> bytes:
    """Return the first `limit` bytes of a file; all if negative."""
    with _opened(path) as stream:
        return stream.read(limit)


def _opened(path: Path) -> BufferedReader:
    """Open a file to read; a pipe or a device, which might have no end, is an error."""
    stream = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  # closed by whoever asked
    try:
        _check_is_file(path, os.fstat(stream.fileno()).st_mode)
    except OSError:
        stream.close()
        raise
    return stream


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; that of a pipe which nobody writes does not wait for ever."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_is_file(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def load_array(path: Path, *, mapped: bool = False) -> Array:
    """Return the array of a ``.npy`` file; `mapped`: read as it is used.

    Raises
    ------
    OSError, ValueError
        If it cannot be read, is no plain array, or holds objects.
    """
    import numpy as np

    _check_is_file(path, path.stat().st_mode)
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except OSError:
        raise
    except Exception as error:  # a head that lies may raise anything, MemoryError too
        raise ValueError(f"{path} is no array file: {error}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path} is an archive, expected one array")
    return array


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hex digits."""
    with _opened(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def seal(path: Path) -> None:
    """Make a file durable and read-only, as far as the umask lets others read."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o444 & ~umask)
    sync(path)


def sync(path: Path) -> None:
    """Make a file's bytes, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder its name; a file of that name is replaced, a folder that is not empty is an error."""
    old.replace(new)


def link(target: str, path: Path) -> None:
    """Make a symbolic link."""
    path.symlink_to(target)


def remove(path: Path) -> None:
    """Remove a file or link; fine if it is gone."""
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder with everything in it; fine if it is gone."""
    try:
        shutil.rmtree(path)
    except FileNotFoundError:  # another process was quicker
        if path.exists():
            raise

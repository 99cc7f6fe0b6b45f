"""One process at a time, on one machine: for the build of a key, or for a file.

The lock only saves work: correctness rests on the rename in `publish`, so where a file system
has no locks (some network shares) the work goes on without.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipeline.storage import disk

logger = logging.getLogger(__name__)

try:
    import fcntl
except ImportError:  # Windows: no advisory locks; the rename alone decides
    fcntl = None  # type: ignore[assignment]


@contextmanager
def key_lock(root: Path, name: str, *, wait: bool = True) -> Iterator[bool]:
    """Hold ``<root>/locks/<name>`` while the block runs, and yield whether nobody else does.

    The operating system frees the lock when its process ends, however it ends: no stale locks.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    name : str
    wait : bool
        Wait for another process to let go; without, False is yielded.
    """
    with file_lock(root / "locks" / name, wait=wait) as is_ours:
        yield is_ours


@contextmanager
def key_locks(root: Path, names: Iterable[str]) -> Iterator[None]:
    """Hold several locks of `key_lock`, taken by name: two who want the same never wait for ever."""
    with ExitStack() as stack:
        for name in sorted(set(names)):
            stack.enter_context(key_lock(root, name))
        yield


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock file `path`, which is made and stays, as `key_lock` does."""
    name = path.name
    try:
        disk.make_folder(path.parent)
        stream = path.open("a")
    except OSError as error:
        logger.debug(
            "no lock for %s: %s", name, error
        )  # what follows cannot write either
        yield True
        return
    with stream:
        try:
            yield _acquire(stream.fileno(), name, wait=wait)
        finally:
            _release(stream.fileno())


def _release(descriptor: int) -> None:
    """Let go at once: closing alone leaves the lock with the copy of a child that was forked meanwhile."""
    if fcntl is not None:
        with suppress(OSError):  # no lock was had
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _acquire(descriptor: int, name: str, *, wait: bool) -> bool:
    if fcntl is None:
        return True
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                return False
            logger.info("waiting: another run is building %s", name)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        logger.warning(
            "no lock for %s (%s): two runs may compute it twice", name, error
        )
    return True

"""SHA-256 of files, remembered by path, size, times of change and inode.

The memory is disposable: without it everything is hashed again. A file changed less than two seconds
before it was hashed is not remembered, since its clock may be too coarse to show the next change.
"""

import json
import time
from contextlib import suppress
from pathlib import Path

from pipeline.config import fingerprint
from pipeline.storage import disk
from pipeline.storage.publish import replace_file

YOUNG_S = 2.0


class DigestCache:
    """Digests of files, kept in ``<root>/digests.json``.

    Parameters
    ----------
    root : Path
        The artifacts folder; it need not exist.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / "digests.json"
        self._known = self._read()

    def _read(self) -> dict[str, list[object]]:
        """Return what is remembered; nothing if a byte of it is not as it was written."""
        try:
            memory = json.loads(disk.read(self._path))
            entries: dict[str, list[object]] = memory["entries"]
            return entries if memory["digest"] == fingerprint(entries) else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}

    def sha256(self, path: Path) -> str:
        """Return the SHA-256 of a file, as 64 hex digits, without reading it when it is known.

        Raises
        ------
        OSError
            If the file cannot be read.
        """
        path = path.resolve()
        stat = path.stat()
        signature: list[object] = [
            stat.st_size,
            stat.st_mtime_ns,
            stat.st_ctime_ns,  # `cp -p` onto a file keeps the other three
            stat.st_ino,
        ]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:-1] == signature:
            return str(known[-1])
        digest = disk.sha256_file(path)
        if time.time() - stat.st_mtime > YOUNG_S:
            self._known[str(path)] = [*signature, digest]
            self._save()
        return digest

    def _save(self) -> None:
        with suppress(OSError):  # a read-only artifacts folder: hash again next time
            disk.make_folder(self._path.parent)
            memory = {"entries": self._known, "digest": fingerprint(self._known)}
            replace_file(self._path, json.dumps(memory, indent=0).encode())

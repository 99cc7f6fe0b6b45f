"""``manifest.json``: what a directory holds, and the only sign that it is whole.

A manifest names its stage, full key and key fields, and every file with size and SHA-256.
A directory without a readable manifest does not exist for anybody.
"""

import errno
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipeline.config import fingerprint
from pipeline.errors import CacheError, UnreadableError
from pipeline.storage import disk

MANIFEST = "manifest.json"
FORMAT = 1
MAX_MANIFEST_BYTES = 64 * 2**20  # a manifest is small; more is not one of ours
# What the system says when it does not let us look; the file may be whole.
NOT_NOW = {errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM}


def read_manifest(directory: Path) -> dict[str, Any]:  # Any: values of a JSON object
    """Return the manifest of `directory`.

    Raises
    ------
    CacheError
        If there is none, it is not JSON of the right form, or a newer version wrote it.
    UnreadableError
        If the system does not let it be read.
    """
    path = directory / MANIFEST
    try:
        data = disk.read(path, MAX_MANIFEST_BYTES + 1)
        if len(data) > MAX_MANIFEST_BYTES:
            raise CacheError(
                f"{path} is larger than any manifest. Remove the directory and run again."
            )
        manifest = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise_if_refused(path, error)
        raise CacheError(
            f"No readable manifest in {directory}: {error}. Run the pipeline again to rebuild it."
        ) from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise CacheError(
            f"{path} is not a manifest of frostbert. Remove the directory and run again."
        )
    if manifest.get("format") != FORMAT:
        raise CacheError(
            f"{path} has format {manifest.get('format')!r}, this version reads {FORMAT}. "
            "Use the version that wrote it, or another --artifacts folder."
        )
    if not _has_its_digest(manifest):
        raise CacheError(
            f"{path} is damaged: its digest is not the one recorded when it was written."
        )
    return manifest


def raise_if_refused(path: Path, error: Exception) -> None:
    """Raise `UnreadableError` if the system would not let a file be read: then it does not count as damaged."""
    if not isinstance(error, OSError) or error.errno not in NOT_NOW:
        return
    owner = ""
    with suppress(OSError):
        owner = (
            f" (it belongs to user {path.stat().st_uid}, this is user {os.getuid()})"
        )
    raise UnreadableError(
        f"Cannot read {error.filename or path}: {error.strerror}{owner}. It is left as it is; mend what the system "
        "refuses, or pass another --artifacts folder."
    ) from error


def _has_its_digest(manifest: Mapping[str, object]) -> bool:
    try:
        return manifest.get("digest") == digest_of(manifest)
    except (ValueError, RecursionError):  # NaN, or too deep: no manifest of ours
        return False


def digest_of(manifest: Mapping[str, object]) -> str:
    """Return the fingerprint of a manifest without its own ``digest``."""
    return fingerprint(
        {name: value for name, value in manifest.items() if name != "digest"}
    )


def is_newer(directory: Path) -> bool:
    """Tell whether a later version of this package wrote `directory`.

    Raises
    ------
    UnreadableError
        If the system does not let its manifest be read.
    """
    path = directory / MANIFEST
    try:
        found = json.loads(disk.read(path, MAX_MANIFEST_BYTES))["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise_if_refused(path, error)
        return False
    return isinstance(found, int) and found > FORMAT


def is_complete(directory: Path, key: str) -> bool:
    """Tell whether `directory` is whole as far as its manifest, key and file sizes say.

    Cheap: reads one small file and the sizes. Contents are checked by `check_contents`.
    """
    try:
        manifest = read_manifest(directory)
        return manifest.get("key") == key and not any(wrong_sizes(directory, manifest))
    except (CacheError, OSError, KeyError, TypeError, ValueError):
        return False


def wrong_sizes(directory: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is missing, or of another size than `manifest` says, in a sentence each."""
    for name, entry in manifest["files"].items():
        path = directory / name
        try:
            size = path.stat().st_size
        except (OSError, ValueError) as error:  # ValueError: no name a file can have
            raise_if_refused(path, error)
            yield f"{path} is missing"
            continue
        if size != entry["size"]:
            yield f"{path} has {size:,} bytes, expected {entry['size']:,}"


def check_contents(directory: Path) -> dict[str, Any]:
    """Return the manifest of `directory` after comparing every file's SHA-256 with it.

    Raises
    ------
    CacheError
        Names the first file that is missing or differs.
    UnreadableError
        If the system does not let one be read.
    """
    manifest = read_manifest(directory)
    for name, entry in manifest["files"].items():
        path = directory / name
        try:
            found = disk.sha256_file(path)
        except (OSError, ValueError) as error:
            raise_if_refused(path, error)
            raise CacheError(f"{path} cannot be read: {error}.") from error
        if not isinstance(entry, dict) or found != entry.get("sha256"):
            raise CacheError(
                f"{path} is damaged: its SHA-256 is not the one recorded when it was written."
            )
    return manifest


def describe_files(directory: Path) -> dict[str, dict[str, object]]:
    """Return name, size and SHA-256 of every file directly in `directory`, sorted by name."""
    return {
        path.name: {"size": path.stat().st_size, "sha256": disk.sha256_file(path)}
        for path in sorted(directory.iterdir())
    }

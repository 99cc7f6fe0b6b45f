"""Compares an encoder's files with the digests that are known of them, before they are loaded."""

import hashlib
import re
from pathlib import Path

from pipeline.encoder import pins
from pipeline.encoder.folder import encoder_files, folder_name
from pipeline.errors import EncoderError
from pipeline.storage import sha256_file


def check_digests(folder: Path, commit: str) -> None:
    """Compare the files of a pinned commit with their recorded digests, and those in a hub cache with their names.

    Parameters
    ----------
    folder : Path
        With the encoder's files.
    commit : str
        40 hex digits; empty for a local folder.

    Raises
    ------
    EncoderError
        Names the file that differs.
    """
    for name, sha256 in pins.SHA256.get(commit, {}).items():
        path = folder / name
        if not path.is_file() or sha256_file(path) != sha256:
            raise EncoderError(
                f"{path} is not the pinned file: missing, or its SHA-256 differs from {sha256[:12]}…. "
                "Delete it from the hub cache and run again."
            )
    for path in encoder_files(folder):
        if path.is_symlink() and path.resolve().parent.name == "blobs":
            _check_blob(path)


def _check_blob(path: Path) -> None:
    """Compare a file of a hub cache with the name of its blob: a SHA-256 (large files) or git's SHA-1."""
    name = path.resolve().name
    if re.fullmatch(r"[0-9a-f]{64}", name):
        found = sha256_file(path)
    elif re.fullmatch(r"[0-9a-f]{40}", name):
        data = path.read_bytes()
        head = f"blob {len(data)}\0".encode()
        found = hashlib.sha1(head + data, usedforsecurity=False).hexdigest()
    else:
        return  # a mirror's own naming tells nothing
    if found != name:
        snapshot = next(p for p in path.parents if p.parent.name == "snapshots")
        raise EncoderError(
            f"{path} is damaged: its digest {found[:12]}… is not that of its blob, {name[:12]}…. "
            f"Run: hf cache verify {folder_name(snapshot)}; then delete {path.resolve()} and run again."
        )

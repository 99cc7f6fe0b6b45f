"""Everything that touches our own files on disk: atomic directories, manifests, locks, digests."""

from pipeline.storage import disk
from pipeline.storage.digests import DigestCache
from pipeline.storage.disk import sha256_file
from pipeline.storage.locks import file_lock, key_lock, key_locks
from pipeline.storage.manifest import (
    check_contents,
    is_complete,
    is_newer,
    raise_if_refused,
    read_manifest,
    wrong_sizes,
)
from pipeline.storage.owners import is_gone, this_process
from pipeline.storage.publish import (
    Draft,
    discard,
    is_left_over,
    keyed_directory,
    link_or_copy,
    publish_directory,
    quarantine,
    replace_file,
    replacing,
)

__all__ = [
    "DigestCache",
    "Draft",
    "check_contents",
    "discard",
    "disk",
    "file_lock",
    "is_complete",
    "is_gone",
    "is_left_over",
    "is_newer",
    "key_lock",
    "key_locks",
    "keyed_directory",
    "link_or_copy",
    "publish_directory",
    "quarantine",
    "raise_if_refused",
    "read_manifest",
    "replace_file",
    "replacing",
    "sha256_file",
    "this_process",
    "wrong_sizes",
]

"""Row keys: the 16 bytes that stand for a text, and files of them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.storage import disk

SCHEMA = 1  # raise when the meaning of a row key or a shard changes
SIZE = 16
BLOCK = 65_536  # keys read at once
Keys = NDArray[np.bytes_]


def row_key(text: str) -> bytes:
    """Return the 16 bytes that stand for a text: the head of SHA-256 over schema and exact bytes."""
    data = f"{SCHEMA}|{text}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).digest()[:SIZE]


def row_keys(texts: Iterable[str]) -> Keys:
    """Return the keys of texts as an array of 16-byte strings, shape (n,)."""
    return np.frombuffer(b"".join(map(row_key, texts)), dtype="S16")


def halves(keys: Keys) -> NDArray[np.uint64]:
    """Return keys as two numbers each, shape (n, 2): sorted and compared faster than strings."""
    return np.ascontiguousarray(keys).view(np.uint64).reshape(-1, 2)


def first_of_each(keys: Keys) -> NDArray[np.bool_]:
    """Tell for each key whether it is the first of its kind, shape (n,)."""
    pairs = halves(keys)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))  # stable: equal keys stay in order
    is_first = np.ones(len(keys), dtype=bool)
    for begin in range(1, len(order), BLOCK):
        here, before = (
            order[begin - shift : begin + BLOCK - shift][: len(order) - begin]
            for shift in (0, 1)
        )
        is_first[here] = (pairs[here] != pairs[before]).any(axis=1)
    return is_first


def begin_keys(stream: BinaryIO, n: int) -> None:
    """Write the head of a ``.npy`` file of `n` keys; their bytes are to follow."""
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|S16", "fortran_order": False, "shape": (n,)}
    )


def key_blocks(path: Path) -> Iterator[tuple[int, Keys]]:
    """Yield the keys of a file block by block, each with the number of its first row."""
    n = len(disk.load_array(path, mapped=True))
    for begin in range(0, n, BLOCK):
        yield begin, np.array(disk.load_array(path, mapped=True)[begin : begin + BLOCK])

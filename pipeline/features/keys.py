"""Row keys: the 16 bytes that stand for a text or a pair, and files of them."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from pipeline.pairs import Text
from pipeline.storage import disk

SCHEMA = 1  # raise when the meaning of a row key or a shard changes
SIZE = 16
BLOCK = 65_536  # keys read at once
Keys = NDArray[np.bytes_]


def row_key(row: Text) -> bytes:
    """Return the 16 bytes that stand for a text: the head of SHA-256 over schema and exact bytes.

    Those of a pair stand for the keys of its texts, behind a word that no text's begin with.
    """
    if isinstance(row, str):
        return _digest(f"{SCHEMA}|{row}".encode("utf-8", "surrogatepass"))
    first, second = row
    return pair_key(row_key(first), row_key(second))


def pair_key(first: bytes, second: bytes) -> bytes:
    """Return the key of a pair from those of its texts."""
    return _digest(b"pair|%d|" % SCHEMA + first + second)


def pair_keys(first: Keys, second: Keys) -> Keys:
    """Return the keys of pairs from those of their texts, shape (n,) each."""
    texts = np.stack([first, second], axis=1).tobytes()
    begins = range(0, len(texts), 2 * SIZE)
    pairs = (
        pair_key(texts[i : i + SIZE], texts[i + SIZE : i + 2 * SIZE]) for i in begins
    )
    return np.frombuffer(b"".join(pairs), dtype="S16")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:SIZE]


def row_keys(rows: Iterable[Text]) -> Keys:
    """Return the keys of texts or pairs as an array of 16-byte strings, shape (n,)."""
    return np.frombuffer(b"".join(map(row_key, rows)), dtype="S16")


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

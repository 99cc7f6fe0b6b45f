"""The training rows most like a row: exact, in one pass over the stored features."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Block = tuple[NDArray[np.int64], NDArray[np.float32]]


def nearest(
    queries: NDArray[np.float32],
    blocks: Iterable[Block],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    m: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of greatest cosine with each query, on standardised features.

    Raw features of a transformer all point the same way, so that any two texts look alike; standardised ones, as the
    classifier sees them, do not.

    Parameters
    ----------
    queries : ndarray of float32, shape (q, d)
    blocks : iterable of (row numbers, shape (b,); features, shape (b, d))
        Each row once. Memory is that of a block.
    mean, scale : ndarray of float64, shape (d,)
    m : int
        How many rows are wanted.

    Returns
    -------
    rows : ndarray of int64, shape (q, min(m, rows))
        Most alike first; of equals the lowest number.
    cosines : ndarray of float64, of the same shape
    """
    wanted = _directions(queries, mean, scale)
    rows = np.zeros((len(queries), 0), dtype=np.int64)
    cosines = np.zeros((len(queries), 0))
    for numbers, features in blocks:
        found = wanted @ _directions(features, mean, scale).T  # (q, b)
        few = min(m, found.shape[1])
        best = np.argpartition(-found, few - 1, axis=1)[:, :few]
        cosines = np.hstack([cosines, np.take_along_axis(found, best, axis=1)])
        rows = np.hstack([rows, numbers[best]])
        order = np.lexsort((rows, -cosines), axis=1)[:, :m]
        rows = np.take_along_axis(rows, order, axis=1)
        cosines = np.take_along_axis(cosines, order, axis=1)
    return rows, np.clip(cosines, -1.0, 1.0)


def _directions(
    features: NDArray[np.float32], mean: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    values = (features - mean) / scale
    lengths = np.linalg.norm(values, axis=1, keepdims=True)
    return np.asarray(values / np.where(lengths > 0, lengths, 1.0))

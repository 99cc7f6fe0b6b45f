"""The rows most like a row, by the cosine of their features: exact, in one pass over blocks of rows."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

Floats = NDArray[np.floating]  # float32 or float64
Block = tuple[NDArray[np.int64], Floats]
N_QUERIES = 64  # compared with a block at once


def nearest(
    queries: NDArray[np.float32],
    blocks: Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    m: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of greatest cosine with each query, on standardised features.

    Raw features of a transformer all point the same way, so that any two texts look alike; standardised ones, as the
    classifier sees them, do not.

    Parameters
    ----------
    mean, scale : ndarray of float64, shape (d,)
    queries, blocks, m
        As for `most_similar`, which returns the same.
    """
    standardised = ((rows, (features - mean) / scale) for rows, features in blocks)
    return most_similar((queries - mean) / scale, standardised, m)


def most_similar(
    queries: Floats, blocks: Iterable[Block], m: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the rows of greatest cosine with each query.

    Products of whole blocks, in the precision of the features, tell which rows may be among the first. The cosines of
    those few are computed in float64, row by row, so that neither rounding nor a row's place in its block decides.

    Parameters
    ----------
    queries : ndarray of float32 or float64, shape (q, d)
        Finite. Zeros are like nothing: their cosine is 0.
    blocks : iterable of (row numbers, shape (b,); features, shape (b, d))
        Each row once. Memory is that of a block, and of its cosines with `N_QUERIES` queries.
    m : int
        How many rows are wanted, at least 1.

    Returns
    -------
    rows : ndarray of int64, shape (q, min(m, rows))
        Most alike first; of equals the lowest number.
    cosines : ndarray of float64, of the same shape

    Raises
    ------
    DataError
        If a row is not finite.
    """
    wanted = _directions(queries)
    found = [(np.empty(0, dtype=np.int64), np.empty(0)) for _ in wanted]
    for numbers, features in blocks:
        for i, at in _candidates(wanted, numbers, features, m):
            cosines = (_directions(features[at]) * wanted[i]).sum(axis=1)
            rows = np.append(found[i][0], numbers[at])
            found[i] = _first(rows, np.append(found[i][1], cosines), m)
    if not found:
        return np.empty((0, 0), dtype=np.int64), np.empty((0, 0))
    rows, cosines = (np.stack(column) for column in zip(*found, strict=True))
    return rows, np.clip(cosines, -1.0, 1.0)


def cosine_matrix(features: Floats) -> NDArray[np.float64]:
    """Return the cosine of each row with each, float64 of shape (n, n); 0 for a row of zeros."""
    directions = _directions(features)
    return np.clip(directions @ directions.T, -1.0, 1.0)


def _candidates(
    wanted: NDArray[np.float64],
    numbers: NDArray[np.int64],
    features: Floats,
    m: int,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield for each query the places in a block of its `m` first ones, whatever rounding did, and of few others."""
    few = min(m, len(features))
    # a sum of d products is off by at most d · eps of its terms' size (Higham, Accuracy and Stability of Numerical
    # Algorithms, 2002, section 3.1), a length by half of that; so is the one that it is compared with
    slack = 4 * features.shape[1] * np.finfo(features.dtype).eps
    lengths = np.sqrt(np.einsum("bd,bd->b", features, features))
    if not np.isfinite(lengths).all():
        row = numbers[~np.isfinite(lengths)][0]
        raise DataError(
            f"The features of row {row} are not finite, expected numbers. Encode it again."
        )
    lengths[lengths == 0] = 1.0
    for begin in range(0, len(wanted), N_QUERIES):
        some = wanted[begin : begin + N_QUERIES].astype(features.dtype)
        rough = some @ features.T / lengths  # (queries, b)
        least = np.partition(rough, -few, axis=1)[:, -few] - slack
        for i, row in enumerate(rough):
            yield begin + i, np.flatnonzero(row >= least[i])


def _first(
    rows: NDArray[np.int64], cosines: NDArray[np.float64], m: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    order = np.lexsort((rows, -cosines))[:m]
    return rows[order], cosines[order]


def _directions(features: Floats) -> NDArray[np.float64]:
    """Return rows of length 1; each is computed for itself, so equal rows stay equal wherever they stand."""
    values = features.astype(np.float64)
    lengths = np.sqrt((values * values).sum(axis=1, keepdims=True))
    return np.asarray(values / np.where(lengths > 0, lengths, 1.0))

"""The texts of a data set most like a text, by the cosine of their features as the encoder gives them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CacheError, ConfigError
from pipeline.features.keys import Keys, first_of_each
from pipeline.features.shards import find_shards
from pipeline.pairs import joined
from pipeline.predictor.origin import Origin, checked
from pipeline.storage import read_manifest


@dataclass(frozen=True)
class SimilarText:
    """A text of the data set, once, however many rows have it.

    Attributes
    ----------
    text : str
    cosine : float
        Of its features with those of the query: -1 to 1.
    label : str, int, float or tuple of str
    split : str
    line : int
        1-based, in the split's file; label, split and line are those of the first row with this text.
    n_rows : int
        How many rows have exactly this text.
    """

    text: str
    cosine: float
    label: str | int | float | tuple[str, ...]
    split: str
    line: int
    n_rows: int


def similar_texts(
    queries: NDArray[np.float32], origin: Origin, top: int
) -> tuple[tuple[SimilarText, ...], ...]:
    """Return the texts of greatest cosine with each query, most alike first; of equals the first in the data set.

    Every row is compared, whatever its split. Features pass in blocks, once for all queries.

    Parameters
    ----------
    queries : ndarray of float32, shape (q, d)
        Features of texts, by the encoder that `origin`'s are from.
    origin : Origin
    top : int
        How many, at least 1; all where the data set has fewer.

    Raises
    ------
    ConfigError
        If `top` is less than 1.
    CacheError
        If features are missing or damaged.
    """
    from pipeline.datasets.table import StoredTexts, load_labels
    from pipeline.evaluation.nearest import most_similar
    from pipeline.features.stored import StoredFeatures

    if top < 1:
        raise ConfigError(f"top is {top}, expected 1 or more. Ask for at least 1 text.")
    if not len(queries):
        return ()
    for features in origin.features:
        _check_shards(features)
    stored = StoredFeatures.of(origin.features, origin.artifacts)
    distinct = np.flatnonzero(first_of_each(stored.keys))
    near, cosines = most_similar(queries, stored.subset(distinct).blocks(), top)
    rows = distinct[near].ravel()
    found = [
        SimilarText(joined(row.text), cosine, label, row.split, row.line, n_rows)
        for row, cosine, label, n_rows in zip(
            StoredTexts(origin.dataset).at(rows.tolist()),
            cosines.ravel().tolist(),
            load_labels(origin.dataset, rows).tolist(),
            _counts(stored.keys, rows),
            strict=True,
        )
    ]
    k = near.shape[1]
    return tuple(tuple(found[i * k : (i + 1) * k]) for i in range(len(queries)))


def _check_shards(features: Path) -> None:
    """Compare every byte of the features that a list refers to with what was written."""
    names = read_manifest(features)["facts"]["shards"]
    try:
        shards = find_shards(features.parent.parent, names)
    except CacheError as error:
        raise CacheError(f"{error}. Run the training command again.") from error
    for shard in shards:
        checked(shard)


def _counts(keys: Keys, rows: NDArray[np.int64]) -> list[int]:
    """Return for each of some rows how many rows have its key."""
    distinct, place = np.unique(keys[rows], return_inverse=True)
    at = np.searchsorted(distinct, keys).clip(max=len(distinct) - 1)
    counts = np.bincount(at[distinct[at] == keys], minlength=len(distinct))
    return [int(n) for n in counts[place]]

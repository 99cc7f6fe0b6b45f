"""Pairs whose texts are encoded separately: how both vectors become one.

Beside u and v stands |u - v|, as in SBERT [1]_: what a linear head needs to see how far the two are apart.

.. [1] N. Reimers, I. Gurevych (2019), Sentence-BERT, EMNLP, section 3.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.pairs import Pair, Text

SEPARATE, JOINT = "separate", "joint"
N_PARTS = 3  # u, v, |u - v|
Encode = Callable[[Sequence[Text]], NDArray[np.float32]]


def flat(pairs: Sequence[Text]) -> list[str]:
    """Return the texts of n pairs one after another: 2n, first and second in turn."""
    return list(chain.from_iterable(cast("Sequence[Pair]", pairs)))


def composed(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the features of n pairs from those of their texts: twice (n, d) -> (n, 3d)."""
    return np.concatenate([first, second, np.abs(first - second)], axis=1)


def of_flat(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the features of n pairs from those of `flat`: (2n, d) -> (n, 3d)."""
    return composed(features[0::2], features[1::2])


def encode_rows(
    encode: Encode, rows: Sequence[Text], pair_encoding: str | None
) -> NDArray[np.float32]:
    """Return the features of rows as a head takes them.

    Parameters
    ----------
    encode : callable (sequence of str or Pair) -> ndarray of float32, shape (m, d)
    rows : sequence of n str or Pair
    pair_encoding : {"separate", "joint"} or None
        None for single texts.

    Returns
    -------
    ndarray of float32, shape (n, d), or (n, 3d) of pairs that are encoded separately
    """
    if pair_encoding == SEPARATE:
        return of_flat(encode(flat(rows)))
    return encode(rows)


def as_read(
    features: NDArray[np.float32], pair_encoding: str | None
) -> NDArray[np.float32]:
    """Return features of single texts as a head of pairs may take them: each text before the next, in a ring.

    The probes and a certificate's texts are single texts; so they serve for a head of any kind.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    pair_encoding : {"separate", "joint"} or None
    """
    if pair_encoding == SEPARATE:
        return composed(features, np.roll(features, -1, axis=0))
    return features

"""Pairs whose texts are encoded separately: how both vectors become one.

Beside u and v stand |u - v| and their products, as in InferSent [1]_: what a linear head needs to see how far the two
are apart, and in which direction they agree. The products are those of the vectors at length 1: their sum is the
cosine, of which each has a weight of its own.

.. [1] A. Conneau et al. (2017), Supervised learning of universal sentence representations from natural language
   inference data, EMNLP, section 3.1.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.pairs import Pair, Text

SEPARATE, JOINT = "separate", "joint"
N_PARTS = 4  # u, v, |u - v|, u v; stages that compose pairs raise their schema with what these are
Encode = Callable[[Sequence[Text]], NDArray[np.float32]]


def flat(pairs: Sequence[Text]) -> list[str]:
    """Return the texts of n pairs one after another: 2n, first and second in turn."""
    return list(chain.from_iterable(cast("Sequence[Pair]", pairs)))


def composed(
    first: NDArray[np.float32], second: NDArray[np.float32], n_views: int
) -> NDArray[np.float32]:
    """Return the features of n pairs from those of their texts: twice (n, d) -> (n, 4d).

    Where d features are those of several views side by side, each view has a length of its own.
    """
    products = _of_length_1(first, n_views) * _of_length_1(second, n_views)
    return np.concatenate([first, second, np.abs(first - second), products], axis=1)


def _of_length_1(features: NDArray[np.float32], n_views: int) -> NDArray[np.float32]:
    """Return vectors divided by their length, (n, d); zeros stay."""
    views = features.reshape(len(features), n_views, features.shape[1] // n_views)
    norms = np.linalg.norm(views, axis=2, keepdims=True)
    found = np.divide(views, norms, out=np.zeros_like(views), where=norms > 0)
    return np.asarray(found.reshape(features.shape))


def of_flat(features: NDArray[np.float32], n_views: int) -> NDArray[np.float32]:
    """Return the features of n pairs from those of `flat`: (2n, d) -> (n, 4d)."""
    return composed(features[0::2], features[1::2], n_views)


def encode_rows(
    encode: Encode, rows: Sequence[Text], pair_encoding: str | None
) -> NDArray[np.float32]:
    """Return the features of rows as a head takes them.

    Parameters
    ----------
    encode : callable (sequence of str or Pair) -> ndarray of float32, shape (m, d)
        Of one view.
    rows : sequence of n str or Pair
    pair_encoding : {"separate", "joint"} or None
        None for single texts.

    Returns
    -------
    ndarray of float32, shape (n, d), or (n, 4d) of pairs that are encoded separately
    """
    if pair_encoding == SEPARATE:
        return of_flat(encode(flat(rows)), 1)
    return encode(rows)


def as_read(
    features: NDArray[np.float32], pair_encoding: str | None, n_views: int
) -> NDArray[np.float32]:
    """Return features of single texts as a head of pairs may take them: each text before the next, in a ring.

    The probes and a certificate's texts are single texts; so they serve for a head of any kind.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    pair_encoding : {"separate", "joint"} or None
    n_views : int
        Of how many d features are.
    """
    if pair_encoding == SEPARATE:
        return composed(features, np.roll(features, -1, axis=0), n_views)
    return features

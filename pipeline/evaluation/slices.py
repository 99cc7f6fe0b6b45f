"""Accuracy on parts of the scored rows that people can name: long ones, cut ones, ones with rare words.

.. [1] R. G. Newcombe (1998), Interval estimation for the difference between independent proportions, Statistics in
   Medicine 17, method 10.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.evaluation.baselines import words_of
from pipeline.evaluation.resampling import (
    Z95,
    Clusters,
    ratio,
    resampled_totals,
    share_interval,
)

MIN_WEAK = 10  # rows: fewer say nothing of a slice
MAX_VALUES = 12  # of a column, the last one all others together
LEVEL = 0.05  # of one false alarm among all slices of a report


@dataclass(frozen=True)
class Slice:
    """Some of the scored rows, with a name.

    Attributes
    ----------
    group, name : str
        The slices of a group divide the rows.
    rows : ndarray of bool, shape (n,)
    """

    group: str
    name: str
    rows: NDArray[np.bool_]


def length_slices(n_tokens: NDArray[np.int32]) -> list[Slice]:
    """Return quartiles of the number of tokens; fewer where many texts are equally long."""
    bounds = np.unique(np.quantile(n_tokens, [0.25, 0.5, 0.75], method="lower"))
    names = [
        f"{low + 1} to {high} tokens" if low + 1 < high else f"{high} tokens"
        for low, high in pairwise(bounds.tolist())
    ]
    names = [f"up to {bounds[0]} tokens", *names, f"more than {bounds[-1]} tokens"]
    of = np.searchsorted(bounds, n_tokens)
    return [Slice("length", name, of == i) for i, name in enumerate(names)]


def cut_slices(n_tokens: NDArray[np.int32], max_length: int) -> list[Slice]:
    """Return the rows whose tokens were all seen, and those that were cut at `max_length`."""
    is_cut = n_tokens > max_length
    return [
        Slice("cut", "whole", ~is_cut),
        Slice("cut", f"cut at {max_length} tokens", is_cut),
    ]


def overlap_slices(kinds: Sequence[str]) -> list[Slice]:
    """Return the rows that stand, as a whole, in a training text, and the others.

    Parameters
    ----------
    kinds : sequence of str, length n
        As `pipeline.splitting.overlap_kinds` names them.
    """
    is_inside = np.array([kind in ("identical", "contained") for kind in kinds])
    return [
        Slice("overlap", "contained in or identical with a training text", is_inside),
        Slice("overlap", "not in a training text", ~is_inside),
    ]


def rare_word_slices(
    texts: Sequence[str], training_texts: Iterable[str]
) -> list[Slice]:
    """Return the rows by the share of their words that stand in no training text.

    Words are those of the TF-IDF baseline: in lower case, and single characters of Chinese and Japanese.
    """
    wanted = [words_of(text) for text in texts]
    unseen = {word for words in wanted for word in words}
    for text in training_texts:
        if not unseen:
            break
        unseen.difference_update(words_of(text))
    shares = np.array(
        [
            sum(word in unseen for word in words) / len(words) if words else 0.0
            for words in wanted
        ]
    )
    is_many = shares >= 1 / 3
    return [
        Slice("rare words", "none", shares == 0),
        Slice("rare words", "some", (shares > 0) & ~is_many),
        Slice("rare words", "a third or more", is_many),
    ]


def column_slices(column: str, values: Sequence[str | None]) -> list[Slice]:
    """Return the rows by what stands in a column: its most frequent values, and all others together.

    Parameters
    ----------
    column : str
        Its name.
    values : sequence of str or None, length n
        None where the cell is empty.
    """
    names = ["(empty)" if value is None else value for value in values]
    counts = Counter(names)
    largest = sorted(counts, key=lambda name: (-counts[name], name))
    shown = largest if len(largest) <= MAX_VALUES else largest[: MAX_VALUES - 1]
    others = f"{len(largest) - len(shown):,} other values"
    merged = np.array([name if name in shown else others for name in names])
    parts = [*shown, others] if len(shown) < len(largest) else shown
    return [Slice(f"column {column}", name, merged == name) for name in parts]


def measure_slices(
    slices: Sequence[Slice], right: NDArray[np.bool_], clusters: Clusters
) -> list[dict[str, Any]]:  # Any: JSON values
    """Return the accuracy of each slice, and how much it differs from that of all other rows.

    Empty slices are left out, and groups of which one slice holds all rows. The interval of a difference is made from
    those of both shares [1]_: a slice of a few rows, all right, does not vary from resample to resample.

    Parameters
    ----------
    slices : sequence of Slice
        Of n rows.
    right : ndarray of bool, shape (n,)
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    list of dict
        ``group``, ``name``, ``n``, ``accuracy``, ``difference``, ``is_weak``: whether the slice has at least
        `MIN_WEAK` rows and is worse than the others at a level that all slices together keep (Bonferroni).
    """
    shown = [one for one in slices if 0 < one.rows.sum() < len(right)]
    if not shown:
        return []
    masks = np.stack([one.rows for one in shown], axis=1)  # (n, slices)
    inside = _shares(masks, right, clusters)
    outside = _shares(~masks, right, clusters)
    limit = float(ndtri(1 - LEVEL / 2 / len(shown))) / Z95
    found = []
    for one, ours, theirs in zip(shown, inside, outside, strict=True):
        difference = ours.value - theirs.value
        down = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
        up = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
        interval = [max(-1.0, difference - down), min(1.0, difference + up)]
        found.append(
            {
                "group": one.group,
                "name": one.name,
                "n": ours.n,
                "accuracy": {
                    "value": ours.value,
                    "ci95": [ours.low, ours.high],
                    "n": ours.n,
                },
                "difference": {
                    "value": difference,
                    "ci95": interval,
                    "n": len(right),
                },
                "is_weak": ours.n >= MIN_WEAK and difference + limit * up < 0,
            }
        )
    return found


@dataclass(frozen=True)
class _Share:
    value: float
    low: float
    high: float
    n: int


def _shares(
    masks: NDArray[np.bool_], right: NDArray[np.bool_], clusters: Clusters
) -> list[_Share]:
    """Return the share of right answers among the rows of each mask, masks having shape (n, slices)."""
    samples = np.zeros((1, masks.shape[1]))
    if clusters.n < len(right):
        hits = (masks & right[:, None]).astype(np.float64)
        samples = ratio(
            resampled_totals(hits, clusters),
            resampled_totals(masks.astype(np.float64), clusters),
        )
    found = []
    for i, rows in enumerate(masks.T):
        n, value = int(rows.sum()), float(right[rows].mean())
        n_clusters = clusters.subset(np.flatnonzero(rows)).n
        low, high = share_interval(value, n, n_clusters, samples[:, i])
        found.append(_Share(value, low, high, n))
    return found

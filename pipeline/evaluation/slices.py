"""How well parts of the scored rows are answered that people can name: long ones, cut ones, ones with rare words.

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

from pipeline.evaluation.metrics import RowScores
from pipeline.evaluation.resampling import (
    Z95,
    Clusters,
    mean_interval,
    ratio,
    resampled_totals,
    share_interval,
)
from pipeline.terms.matrix import words_of

MIN_WEAK = 10  # clusters of rows: fewer say nothing of a slice
MAX_VALUES = 12  # of a column, shown by themselves
UNSEEN = "words that no training text has"
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
        Slice(UNSEEN, "none", shares == 0),
        Slice(UNSEEN, "some", (shares > 0) & ~is_many),
        Slice(UNSEEN, "a third or more", is_many),
    ]


def column_slices(column: str, values: Sequence[str | None]) -> list[Slice]:
    """Return the rows by what stands in a column.

    Numbers of more than `MAX_VALUES` kinds are parted at their quartiles; of other values the most frequent stand
    alone, and those of fewer than `MIN_WEAK` rows together.

    Parameters
    ----------
    column : str
        Its name.
    values : sequence of str or None, length n
        None where the cell is empty.
    """
    group = f"column {column}"
    counts = Counter(value for value in values if value is not None)
    numbers = _numbers(values) if len(counts) > MAX_VALUES else None
    if numbers is not None:
        return [Slice(group, name, rows) for name, rows in _quartiles(numbers)]
    largest = sorted(counts, key=lambda value: (-counts[value], value))
    shown = [v for v in largest[:MAX_VALUES] if counts[v] >= MIN_WEAK]
    code = {value: i for i, value in enumerate(shown)}
    other, empty = len(shown), len(shown) + 1
    codes = np.array([empty if v is None else code.get(v, other) for v in values])
    n_others = len(largest) - len(shown)
    names = [
        *(f"“{value}”" for value in shown),
        "any other value" if n_others == 1 else f"any of {n_others:,} other values",
        "empty",
    ]
    return [Slice(group, name, codes == i) for i, name in enumerate(names)]


def _numbers(values: Sequence[str | None]) -> NDArray[np.float64] | None:
    """Return cells as numbers, NaN where they are empty; None if one is no finite number."""
    try:
        found = np.array([np.nan if v is None else float(v) for v in values])
    except ValueError:
        return None
    is_given = np.array([value is not None for value in values])
    return found if np.isfinite(found[is_given]).all() else None


def _quartiles(numbers: NDArray[np.float64]) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the names and rows of quartiles of numbers, and of the rows without one."""
    is_given = ~np.isnan(numbers)
    cuts = np.quantile(numbers[is_given], [0.25, 0.5, 0.75], method="lower")
    bounds = np.unique(cuts)
    names = [
        f"up to {bounds[0]:g}",
        *(f"above {a:g}, up to {b:g}" for a, b in pairwise(bounds.tolist())),
        f"above {bounds[-1]:g}",
    ]
    of = np.searchsorted(bounds, numbers)
    found = [(name, is_given & (of == i)) for i, name in enumerate(names)]
    return [*found, ("empty", ~is_given)]


def measure_slices(
    slices: Sequence[Slice], scores: RowScores, clusters: Clusters
) -> list[dict[str, Any]]:  # Any: JSON values
    """Return the mean score of each slice, and how much it differs from that of all other rows.

    Empty slices are left out, and groups of which one slice holds all rows. The interval of a difference is made from
    those of both shares [1]_: a slice of a few rows, all right, does not vary from resample to resample.

    Parameters
    ----------
    slices : sequence of Slice
        Of n rows.
    scores : RowScores
        Of the n rows.
    clusters : Clusters
        Of the n rows.

    Returns
    -------
    list of dict
        ``group``, ``name``, ``n``, the figure by the name of the metric, ``difference``, ``is_weak``: whether the slice
        has at least `MIN_WEAK` clusters of rows and is worse than the others at a level that all slices together keep
        (Bonferroni).
    """
    shown = [one for one in slices if 0 < one.rows.sum() < len(scores.values)]
    if not shown:
        return []
    masks = np.stack([one.rows for one in shown], axis=1)  # (n, slices)
    level = LEVEL / len(shown)
    inside = _means(masks, scores, clusters, level)
    outside = _means(~masks, scores, clusters, level)
    most = scores.limits[1] - scores.limits[0]
    found = []
    for one, ours, theirs in zip(shown, inside, outside, strict=True):
        difference = ours.value - theirs.value
        down = math.hypot(ours.value - ours.low, theirs.high - theirs.value)
        up = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
        interval = [max(-most, difference - down), min(most, difference + up)]
        lower, upper = (theirs, ours) if scores.is_error else (ours, theirs)
        sure = math.hypot(lower.most - lower.value, upper.value - upper.least)
        worse = lower.value - upper.value + sure
        found.append(
            {
                "group": one.group,
                "name": one.name,
                "n": ours.n,
                scores.metric: {
                    "value": ours.value,
                    "ci95": [ours.low, ours.high],
                    "n": ours.n,
                },
                "difference": {
                    "value": difference,
                    "ci95": interval,
                    "n": len(scores.values),
                },
                "is_weak": ours.n_clusters >= MIN_WEAK and worse < 0,
            }
        )
    return found


@dataclass(frozen=True)
class _Mean:
    value: float
    low: float
    high: float
    least: float  # bounds at the level of all slices together
    most: float
    n: int
    n_clusters: int


def _means(
    masks: NDArray[np.bool_], scores: RowScores, clusters: Clusters, level: float
) -> list[_Mean]:
    """Return the mean score of the rows of each mask, masks having shape (n, slices)."""
    values = scores.values
    if values.dtype == np.bool_:
        return _shares(masks, np.asarray(values, dtype=np.bool_), clusters, level)
    found = []
    for mask in masks.T:
        rows = np.flatnonzero(mask)
        own, inside = clusters.subset(rows), np.asarray(values[rows], dtype=np.float64)
        bounds = mean_interval(inside, own, scores.limits)
        wide = mean_interval(inside, own, scores.limits, level)
        found.append(_Mean(float(inside.mean()), *bounds, *wide, len(rows), own.n))
    return found


def _shares(
    masks: NDArray[np.bool_], right: NDArray[np.bool_], clusters: Clusters, level: float
) -> list[_Mean]:
    """Return the share of right answers among the rows of each mask.

    Its bounds at `level` lie further off by the ratio of normal quantiles.
    """
    times = float(ndtri(1 - level / 2)) / Z95
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
        wide = value - times * (value - low), value + times * (high - value)
        found.append(_Mean(value, low, high, *wide, n, n_clusters))
    return found

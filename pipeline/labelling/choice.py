"""Which texts to label next.

The first `N_FIRST` are random: with so few labels a model's doubts mislead, and what represents the data teaches more
[1]_. From then on three of four are uncertain: of those with the smallest margin between the two most probable classes
[2]_, the one least like all that are labelled (farthest first, as in core-sets [3]_). The fourth is random: it keeps
exploring, where uncertainty alone asks again and again about the border that the model drew first, and random texts
alone tell how good the model is. docs/few-labels.md has the measurements.

.. [1] G. Hacohen, A. Dekel and D. Weinshall (2022), Active learning on a budget: opposite strategies suit high and low
   budgets, ICML. Their choice for low budgets, a typical text of each cluster, was not better than a random one here.
.. [2] T. Scheffer, C. Decomain and S. Wrobel (2001), Active hidden Markov models for information extraction, IDA.
.. [3] O. Sener and S. Savarese (2018), Active learning for convolutional neural networks: a core-set approach, ICLR.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.few import fit_few
from pipeline.heads.head import Features, Head, probabilities_of
from pipeline.heads.objective import usable_scale

UNCERTAIN, RANDOM = REASONS = ("uncertain", "random")
N_FIRST = 60  # random texts to begin with
EVERY = 4  # texts of which one is random from then on
SHORTLIST = 50  # most uncertain rows, of which the least known is taken
BLOCK = 8_192  # rows of which means and scores are computed at once

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Choice:
    """A text to label.

    Attributes
    ----------
    row : int
    reason : str
        One of `REASONS`.
    probable : pair of float or None
        The probabilities of the two most probable classes, the larger one first; None where no model is yet.
    """

    row: int
    reason: str
    probable: tuple[float, float] | None = None


class Pool:
    """The features of all texts, labelled or not.

    Parameters
    ----------
    features : ndarray of float32, shape (n, d)
    seed : int
        Of everything that is random.
    """

    def __init__(self, features: Features, seed: int = 0) -> None:
        self.features, self.seed = features, seed
        self.mean, self.scale = _moments(features)

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.features)

    def directions(self, rows: Rows) -> NDArray[np.float32]:
        """Return standardised rows as vectors of length 1, shape (m, d): their products are cosines."""
        values = ((self.features[rows] - self.mean) / self.scale).astype(np.float32)
        norms = np.linalg.norm(values, axis=1, keepdims=True)
        return np.asarray(values / np.maximum(norms, np.finfo(np.float32).tiny))

    def generator(self, number: int) -> np.random.Generator:
        """Return the source of what is random in choosing the next text after `number` labels."""
        return np.random.Generator(np.random.PCG64([self.seed, number]))

    def fit(self, rows: Rows, labels: NDArray[np.object_]) -> Head:
        """Fit the head on labelled rows, with the scaling of all."""
        return fit_few(self.features[rows], labels, self.mean, self.scale)

    def most_probable(self, head: Head) -> NDArray[np.float32]:
        """Return the probabilities of each row's two most probable classes, the larger one first, shape (n, 2)."""
        found = np.empty((len(self), 2), dtype=np.float32)
        weights = (head.coef / head.scale).astype(np.float32)  # on features as they are
        shift = head.intercept - (head.coef / head.scale) @ head.mean
        for begin in range(0, len(self), BLOCK):
            block = slice(begin, begin + BLOCK)
            scores = (self.features[block] @ weights.T).astype(np.float64) + shift
            proba = probabilities_of(scores[:, 0] if len(weights) == 1 else scores)
            found[block] = np.partition(proba, -2, axis=1)[:, :-3:-1]
        return found


def _moments(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and usable scale of each feature, both of shape (d,)."""
    mean = features.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for begin in range(0, len(features), BLOCK):
        squares += ((features[begin : begin + BLOCK] - mean) ** 2).sum(axis=0)
    std = np.sqrt(squares / len(features))
    return mean, usable_scale(mean, std, len(features))


@dataclass(frozen=True)
class Known:
    """What is known of a pool so far.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Labelled rows, the oldest first.
    is_open : ndarray of bool
        Which rows of the pool may be asked for.
    probable : ndarray of float32, shape (n, 2), optional
        `Pool.most_probable` of the model that the labels give; None before there is one.
    """

    rows: Rows
    is_open: NDArray[np.bool_]
    probable: NDArray[np.float32] | None

    def margins(self, rows: Rows) -> NDArray[np.float32]:
        """Return how far apart the probabilities of the two most probable classes are, for some rows."""
        assert self.probable is not None  # whoever asks has a model
        return np.asarray(self.probable[rows, 0] - self.probable[rows, 1])


def choose(pool: Pool, known: Known, n: int = 1) -> list[Choice]:
    """Return the `n` texts to label next, fewer where fewer are open: a batch is as diverse as one by one.

    Parameters
    ----------
    pool : Pool
    known : Known
    n : int
    """
    is_open, rows = known.is_open.copy(), known.rows
    found: list[Choice] = []
    while len(found) < n and is_open.any():
        choice = _next(pool, Known(rows, is_open, known.probable))
        found.append(choice)
        is_open[choice.row] = False
        rows = np.append(rows, choice.row)
    return found


def _next(pool: Pool, known: Known) -> Choice:
    if known.probable is None:
        return Choice(_random(pool, known), RANDOM)
    n = len(known.rows)
    is_random = n < N_FIRST or n % EVERY == 0
    row = _random(pool, known) if is_random else _uncertain(pool, known)
    first, second = known.probable[row].tolist()
    return Choice(row, RANDOM if is_random else UNCERTAIN, (first, second))


def _random(pool: Pool, known: Known) -> int:
    rows = np.flatnonzero(known.is_open)
    return int(pool.generator(len(known.rows)).choice(rows))


def _uncertain(pool: Pool, known: Known) -> int:
    """Return the open row least like the labelled ones, of the most uncertain."""
    rows = np.flatnonzero(known.is_open)
    m = min(SHORTLIST, len(rows))
    rows = rows[np.argpartition(known.margins(rows), m - 1)[:m]]
    cosines = pool.directions(rows) @ pool.directions(known.rows).T
    return int(rows[cosines.max(axis=1).argmin()])

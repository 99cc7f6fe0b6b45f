"""The objective of logistic regression in one pass over rows that need not fit in memory.

It is that of scikit-learn's ``LogisticRegression``: mean weighted log loss plus ``||w||^2 / (2 C n)``.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.head import Features

CHUNK = 1_024  # rows a step inside a block: their float64 copies stay in the processor's cache
# Each thread has a Hessian of its own; more than a few wait for memory.
THREADS = min(
    8,
    len(os.sched_getaffinity(0))
    if hasattr(os, "sched_getaffinity")
    else os.cpu_count() or 1,
)

# Standard deviation as a share of the mean: a float32 has hardly more digits, and other batches change the last ones.
NEGLIGIBLE = 4 * float(np.finfo(np.float32).eps)

Block = tuple[NDArray[np.int64], Features]
Matrix = NDArray[np.float64]


@cache
def _libraries() -> ThreadpoolController:
    """Return the numerical libraries that are loaded: looking for them takes milliseconds."""
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[object]:
    """Let BLAS compute in the calling thread alone."""
    limited: AbstractContextManager[object] = _libraries().limit(
        limits=1, user_api="blas"
    )
    return limited


def usable_scale(
    mean: NDArray[np.float64], std: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Return what each feature is divided by: its standard deviation, or 1 where it hardly varies.

    What varies by a few units in a number's last place is rounding, which another batch or float16 changes, and
    division would make it as large as everything else. A small deviation around a mean as small is none of those:
    behind a weight near zero of a last normalisation, all digits of a feature are real.

    Parameters
    ----------
    mean, std : ndarray of float64, shape (d,)
    n : int
        Rows it was taken of.

    Raises
    ------
    DataError
        If no feature varies.
    """
    if not (std > 0).any():
        raise DataError(
            f"All {n:,} texts to fit on have the same features. Check the text column and the pooling."
        )
    return np.where(std > NEGLIGIBLE * np.abs(mean), std, 1.0)


def weights_of(y: NDArray[np.intp], n_classes: int, spec: HeadSpec) -> Matrix:
    """Return the weight of each class, shape (k,), as scikit-learn's ``class_weight`` means it."""
    if spec.class_weight == "balanced":
        return np.asarray(len(y) / (n_classes * np.bincount(y)))
    return np.ones(n_classes)


def chunks_of(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks' rows, `CHUNK` at a time."""
    for rows, values in blocks:
        for begin in range(0, len(rows), CHUNK):
            part = slice(begin, begin + CHUNK)
            yield rows[part], values[part]


@dataclass(frozen=True)
class Point:
    """The objective at some parameters: shape (1, d + 1) for two classes, else (k, d + 1), the intercept last."""

    params: Matrix
    loss: float
    gradient: Matrix
    hessian: Matrix | None

    @property
    def steepness(self) -> float:
        """Return the largest component of the gradient."""
        return float(np.abs(self.gradient).max())


@dataclass(frozen=True)
class Objective:
    """Mean weighted log loss plus penalty on standardised features, in one pass over `n` rows."""

    blocks: Callable[[], Iterable[Block]]
    n: int
    y: NDArray[np.intp]
    weights: Matrix  # of the classes, shape (k,)
    mean: Matrix
    scale: Matrix
    penalty: float
    # A thread's memory for rows, kept from pass to pass: fresh memory costs a fault a page.
    buffers: list[Matrix] = field(default_factory=list, repr=False, compare=False)

    def at(self, params: Matrix, *, with_hessian: bool) -> Point:
        """Evaluate; features are only centred, and the scale is applied to coefficients, gradient and Hessian."""
        scale = np.append(self.scale, 1.0)
        sums = self._sum(params / scale, with_hessian)
        ridge = np.full(params.shape, self.penalty)
        ridge[:, -1] = 0.0  # the intercept is free
        hessian = None
        if with_hessian:
            hessian = sums.hessian()
            hessian /= np.multiply.outer(*[np.tile(scale, len(params))] * 2) * self.n
            hessian[np.diag_indices_from(hessian)] += ridge.ravel()
        return Point(
            params,
            sums.loss / self.n + 0.5 * float((ridge * params**2).sum()),
            sums.gradient / scale / self.n + ridge * params,
            hessian,
        )

    def _sum(self, coef: Matrix, with_hessian: bool) -> "_Sums":
        """Return the sums over all rows.

        Each thread has sums of its own and fixed chunks of each block, so that the result does not depend on their
        pace. BLAS's own threads are to be kept out (`one_blas_thread`): its products here are so short that they would
        mostly wait for each other, and several times as long as they work where another process has the core.
        """

        def work(sums: _Sums, chunks: list[Block]) -> None:
            for rows, values in chunks:
                y = self.y[rows]
                sums.add(values, self.mean, coef, y, self.weights[y])

        n_threads = min(THREADS, -(-self.n // CHUNK))
        shape = (2, min(CHUNK, self.n), coef.shape[1])
        if [buffer.shape for buffer in self.buffers] != [shape] * n_threads:
            self.buffers[:] = [np.ones(shape) for _ in range(n_threads)]
        parts = [
            _Sums.zeros(len(self.weights), coef.shape, with_hessian, buffer)
            for buffer in self.buffers
        ]
        if n_threads == 1:  # starting a thread would take longer
            for block in self.blocks():
                work(parts[0], list(chunks_of([block])))
            return parts[0]
        with ThreadPoolExecutor(n_threads) as pool:
            for block in self.blocks():
                chunks = list(chunks_of([block]))
                shares = [chunks[i::n_threads] for i in range(n_threads)]
                list(pool.map(work, parts, shares))  # waits, and raises what they do
        for part in parts[1:]:
            parts[0].merge(part)
        return parts[0]


@dataclass
class _Sums:
    """Loss, gradient and products of the rows seen so far.

    The Hessian's block of classes a and b is ``-X' diag(w p_a p_b) X`` and, as probabilities sum to 1, a diagonal
    block is minus the sum of the others in its row. So one symmetric product a pair of classes is all it takes, and
    each is of the form ``A' A``, for which numpy calls BLAS's syrk: half the work of a general product.
    """

    loss: float
    gradient: Matrix
    products: Matrix  # one a pair of classes, shape (pairs, d + 1, d + 1)
    memory: Matrix  # for X and A

    @classmethod
    def zeros(
        cls,
        n_classes: int,
        shape: tuple[int, ...],
        with_hessian: bool,
        memory: Matrix,
    ) -> "_Sums":
        pairs = n_classes * (n_classes - 1) // 2 if with_hessian else 0
        products = np.zeros((pairs, shape[1], shape[1]))
        return cls(0.0, np.zeros(shape), products, memory)

    def merge(self, other: "_Sums") -> None:
        self.loss += other.loss
        self.gradient += other.gradient
        self.products += other.products

    def add(
        self,
        values: Features,
        mean: Matrix,
        coef: Matrix,
        y: NDArray[np.intp],
        weight: Matrix,
    ) -> None:
        X = self.memory[0, : len(values)]  # its last column stays 1, for the intercept
        np.subtract(values, mean, out=X[:, :-1])
        scores = coef @ X.T
        if len(scores) == 1:
            scores = np.vstack([np.zeros_like(scores), scores])
        own, top = (y, np.arange(len(y))), scores.max(axis=0)
        proba = np.exp(scores - top)
        total = proba.sum(axis=0)
        proba /= total
        self.loss += float(weight @ (top + np.log(total) - scores[own]))
        if len(self.products):
            self._add_products(X, proba, weight)
        proba[own] -= 1.0
        self.gradient += (proba * weight)[-len(coef) :] @ X

    def _add_products(self, X: Matrix, proba: Matrix, weight: Matrix) -> None:
        for pair, (a, b) in enumerate(combinations(range(len(proba)), 2)):
            root = np.sqrt(weight * proba[a] * proba[b])
            A = np.multiply(X, root[:, np.newaxis], out=self.memory[1, : len(X)])
            self.products[pair] += A.T @ A

    def hessian(self) -> Matrix:
        k, width = self.gradient.shape
        if k == 1:
            return self.products.reshape(width, width)
        blocks = np.zeros((k, width, k, width))
        for product, (a, b) in zip(
            self.products, combinations(range(k), 2), strict=True
        ):
            blocks[a, :, b] -= product
            blocks[b, :, a] -= product
            blocks[a, :, a] += product
            blocks[b, :, b] += product
        # Intercepts may all move together: this alone fixes their sum, and the gradient does not point there.
        blocks[:, -1, :, -1] += self.products[:, -1, -1].mean()
        return blocks.reshape(k * width, k * width)

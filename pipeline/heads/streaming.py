"""Logistic regression on features that lie on disk and need not fit in memory.

The rows are read a block at a time, in a few passes: one for mean and scale, then one a step of the solver (see
`fit_stream`). The objective is that of scikit-learn's ``LogisticRegression``.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Protocol

import numpy as np
import sklearn
from numpy.typing import NDArray
from scipy.linalg import (  # type: ignore[import-untyped]
    LinAlgError,
    cho_factor,
    cho_solve,
)
from scipy.optimize import minimize  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from pipeline.config import HeadSpec
from pipeline.heads import logreg
from pipeline.heads.head import Features, Head
from pipeline.heads.logreg import Labels

IN_MEMORY_BYTES = (
    2**30
)  # up to here fit_head is as fast; it needs five times as much: float64, and its solver's copy
SEARCH_BYTES = 2**28  # rows to search C on, and to start from: 175,000 of 384 features
RARE_ROWS = 10  # of a class that the rows to search C on lack
CHUNK = 1_024  # rows a step inside a block: their float64 copies stay in the processor's cache
THREADS = min(
    8, len(os.sched_getaffinity(0))
)  # each has a Hessian of its own; more wait for memory
START_SHARE = 4  # a start from a part of the rows pays where all are so many times more
START_TOLERANCE = 1e-4  # for that start: the part's own optimum lies further off
FAST = 0.25  # a step that cuts the gradient so far shows that the Hessian behind it still holds
HALVINGS = 20  # of a step that does not lower the loss
DESCENT = 1e-4  # share of the fall which the slope promises that a step must bring (Armijo's rule)
ROUNDING = 1e-14  # losses this close are the same

Block = tuple[NDArray[np.int64], Features]
Matrix = NDArray[np.float64]
_Factor = tuple[Matrix, bool]


class FeatureRows(Protocol):
    """Stored features, as this module reads them."""

    @property
    def dim(self) -> int:
        """Number of features of a row, d."""

    def __len__(self) -> int:
        """Return the number of rows, n."""

    def blocks(self) -> Iterator[Block]:
        """Yield each row once, in any order: row numbers, shape (m,), and float32 features, shape (m, d).

        It is called once a pass. Peak memory grows with the largest m; some thousands are enough.
        """

    def take(self, rows: NDArray[np.int64]) -> Features:
        """Return these rows in this order, shape (len(rows), d)."""

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return at most `m` row numbers, sorted, always the same ones."""


def fit_stored(
    features: FeatureRows, labels: Labels, spec: HeadSpec, folds: NDArray[np.int8]
) -> Head:
    """Fit the head on stored training rows, searching C first where ``spec.C`` is ``auto``.

    Up to `IN_MEMORY_BYTES` of features this is `logreg.fit_head`. Beyond, C is searched on a sample of
    `SEARCH_BYTES`, and the head is fitted by `fit_stream` on all rows. The sample's C serves for all rows: it weighs
    the penalty against the sum of the losses, not their mean, and so is the variance of a Gaussian prior on the
    coefficients, which does not depend on the number of rows [1]_ [2]_.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    labels : ndarray, shape (n,)
        str or int.
    spec : HeadSpec
    folds : ndarray of int8, shape (n,)
        Fold of each row, for the search.

    Raises
    ------
    DataError
        If all features are constant, or a fold of the search leaves a single class.

    References
    ----------
    .. [1] Bishop, Pattern Recognition and Machine Learning (2006), section 4.5.1.
    .. [2] scikit-learn user guide, section 1.1.11, Logistic regression.
    """
    n = len(features)
    if n * features.dim * 4 <= IN_MEMORY_BYTES:
        return logreg.fit_head(features.take(np.arange(n)), labels, spec, folds)
    if spec.C != "auto":
        return fit_stream(features, labels, spec)
    classes, y = logreg.encode(labels)
    rows = _search_rows(features, y)
    search = logreg.search_c(features.take(rows), y[rows], folds[rows], spec)
    spec = replace(spec, C=logreg.best_c(search))
    return replace(_fit(features, y, classes, spec), search=search)


def _search_rows(features: FeatureRows, y: NDArray[np.intp]) -> NDArray[np.int64]:
    """Return the rows to search C on, some of each class among them."""
    rows = features.sample(_rows_of(SEARCH_BYTES, features.dim))
    missing = np.setdiff1d(np.unique(y), y[rows])
    added = [np.flatnonzero(y == number)[:RARE_ROWS] for number in missing]
    return np.sort(np.concatenate([rows, *added]))


def _rows_of(size_bytes: int, dim: int) -> int:
    return max(1, size_bytes // (4 * dim))


def fit_stream(features: FeatureRows, labels: Labels, spec: HeadSpec) -> Head:
    """Fit the head for a given C in passes over the stored rows.

    The coefficients are those of scikit-learn's ``LogisticRegression`` on standardised features, to its tolerance:
    no component of the mean objective's gradient above `logreg.TOLERANCE`. Up to `logreg.NEWTON_SIZE` coefficients
    the solver is Newton's method, from there on L-BFGS. Where rows are many, both start from the optimum of a sample.
    Memory is that of a block, the sample, the labels, and for Newton's method a Hessian (the number of coefficients
    squared, float64) a thread.

    Parameters
    ----------
    features : FeatureRows
        n rows.
    labels : ndarray, shape (n,)
        str or int, of two classes or more.
    spec : HeadSpec
        With a number as C.

    Returns
    -------
    Head
        Its solver is ``newton-stream`` or ``lbfgs-stream``.

    Raises
    ------
    DataError
        If all features are constant.
    """
    classes, y = logreg.encode(labels)
    return _fit(features, y, classes, spec)


def score_stored(head: Head, features: FeatureRows) -> Matrix:
    """Return the class probabilities of stored rows, shape (n, k), in the order of their numbers."""
    proba = np.empty((len(features), len(head.classes)))
    for rows, values in _chunks(features.blocks()):
        proba[rows] = head.probabilities(values)
    return proba


def _chunks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks' rows, `CHUNK` at a time."""
    for rows, values in blocks:
        for begin in range(0, len(rows), CHUNK):
            part = slice(begin, begin + CHUNK)
            yield rows[part], values[part]


def _moments(features: FeatureRows) -> tuple[Matrix, Matrix]:
    """Return mean and population standard deviation of each feature; 1 where it does not vary.

    Each chunk has its own mean and squared deviations, which are then merged (Chan, Golub and LeVeque, Algorithms
    for computing the sample variance, The American Statistician 37, 1983): no sum of squares cancels.
    """
    n, mean, squares = 0, np.zeros(features.dim), np.zeros(features.dim)
    for _, values in _chunks(features.blocks()):
        deviations = values.astype(np.float64)
        m, part_mean = len(deviations), deviations.mean(axis=0)
        deviations -= part_mean
        shift = part_mean - mean
        mean += shift * (m / (n + m))
        squares += np.einsum("ij,ij->j", deviations, deviations)
        squares += shift**2 * (n * m / (n + m))
        n += m
    scale = np.sqrt(squares / n)
    if not (scale > 0).any():
        raise logreg.constant_features(n)
    scale[scale == 0] = 1.0
    return mean, scale


@dataclass(frozen=True)
class _Point:
    """The objective at some parameters: shape (1, d + 1) for two classes, else (k, d + 1), the intercept last."""

    params: Matrix
    loss: float
    gradient: Matrix
    hessian: Matrix | None

    @property
    def steepness(self) -> float:
        return float(np.abs(self.gradient).max())


@dataclass(frozen=True)
class _Objective:
    """Mean weighted log loss plus penalty on standardised features, in one pass over `n` rows."""

    blocks: Callable[[], Iterable[Block]]
    n: int
    y: NDArray[np.intp]
    weights: Matrix  # of the classes, shape (k,)
    mean: Matrix
    scale: Matrix
    penalty: float

    def at(self, params: Matrix, *, with_hessian: bool) -> _Point:
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
        return _Point(
            params,
            sums.loss / self.n + 0.5 * float((ridge * params**2).sum()),
            sums.gradient / scale / self.n + ridge * params,
            hessian,
        )

    def _sum(self, coef: Matrix, with_hessian: bool) -> "_Sums":
        """Return the sums over all rows.

        Each thread has sums of its own and fixed chunks of each block, so that the result does not depend on their
        pace. BLAS's own threads are kept out: its products here are so short that they would mostly wait for each
        other, and several times as long as they work where another process has the core.
        """

        def work(sums: _Sums, chunks: list[Block]) -> None:
            for rows, values in chunks:
                y = self.y[rows]
                sums.add(values, self.mean, coef, y, self.weights[y])

        parts = [
            _Sums.zeros(len(self.weights), coef.shape, with_hessian)
            for _ in range(THREADS)
        ]
        with (
            threadpool_limits(1, user_api="blas"),
            ThreadPoolExecutor(THREADS) as pool,
        ):
            for block in self.blocks():
                chunks = list(_chunks([block]))
                shares = [chunks[i::THREADS] for i in range(THREADS)]
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
    memory: Matrix  # for X and A: fresh memory for each chunk would cost a fault a page

    @classmethod
    def zeros(
        cls, n_classes: int, shape: tuple[int, ...], with_hessian: bool
    ) -> "_Sums":
        pairs = n_classes * (n_classes - 1) // 2 if with_hessian else 0
        products = np.zeros((pairs, shape[1], shape[1]))
        return cls(0.0, np.zeros(shape), products, np.ones((2, CHUNK, shape[1])))

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


@dataclass(frozen=True)
class _Fit:
    """What a solver found, whether it says that it is the optimum, and the factor of a Hessian near it."""

    params: Matrix
    n_iter: int
    converged: bool
    factor: _Factor | None = None


_Solve = Callable[[_Objective, _Fit, float], _Fit]


def _fit(
    features: FeatureRows,
    y: NDArray[np.intp],
    classes: list[str] | list[int],
    spec: HeadSpec,
) -> Head:
    n, k = len(y), len(classes)
    mean, scale = _moments(features)
    weights = np.ones(k)
    if spec.class_weight == "balanced":
        weights = n / (k * np.bincount(y))
    objective = _Objective(
        features.blocks, n, y, weights, mean, scale, 1 / (float(spec.C) * n)
    )
    newton = features.dim * (1 if k == 2 else k) <= logreg.NEWTON_SIZE
    solve = _newton if newton else _lbfgs
    start = _start(features, objective, solve)
    done = solve(objective, start, logreg.TOLERANCE)
    return Head(
        classes=classes,
        mean=mean,
        scale=scale,
        coef=done.params[:, :-1].copy(),
        intercept=done.params[:, -1].copy(),
        C=float(spec.C),
        class_weight=spec.class_weight,
        n_iter=done.n_iter,
        converged=done.converged,
        solver="newton-stream" if newton else "lbfgs-stream",
        sklearn_version=sklearn.__version__,
    )


def _start(features: FeatureRows, objective: _Objective, solve: _Solve) -> _Fit:
    """Return where to start from: a sample's optimum where rows are many, else zeros.

    It costs no pass, is off by its standard errors alone, and its Hessian is nearly that of all rows.
    """
    k = len(objective.weights)
    zeros = _Fit(np.zeros((1 if k == 2 else k, features.dim + 1)), 0, False)
    m = _rows_of(SEARCH_BYTES, features.dim)
    if objective.n < START_SHARE * m:
        return zeros
    rows = features.sample(m)
    block = rows, features.take(rows)
    part = replace(objective, blocks=lambda: [block], n=len(rows))
    return solve(part, zeros, START_TOLERANCE)


def _newton(objective: _Objective, start: _Fit, tolerance: float) -> _Fit:
    """Minimise by Newton's method.

    A pass without the Hessian takes a quarter of the time, so it is left out while the last one still does: from a
    start that has one, and after each step that cut the gradient to `FAST`.
    """
    factor, most = start.factor, logreg.MAX_ITER["newton-cholesky"]
    here = objective.at(start.params, with_hessian=factor is None)
    keep = factor is not None
    for n_iter in range(most):
        if here.hessian is not None:
            factor = _factor(here.hessian)
        if here.steepness <= tolerance:
            return _Fit(here.params, n_iter, True, factor)
        step = -cho_solve(factor, here.gradient.ravel()).reshape(here.params.shape)
        there = _walk(objective, here, step, with_hessian=not keep)
        if there is None and here.hessian is None:  # the last one did not serve
            there = objective.at(here.params, with_hessian=True)
        if there is None:
            return _Fit(here.params, n_iter, False)
        keep = there.steepness <= FAST * here.steepness
        here = there
    return _Fit(here.params, most, here.steepness <= tolerance)


def _walk(
    objective: _Objective, here: _Point, step: Matrix, *, with_hessian: bool
) -> _Point | None:
    """Return the point after `step`, halved until the loss falls; None if it never does."""
    slope, share = float((here.gradient * step).sum()), 1.0
    for _ in range(HALVINGS if here.hessian is not None else 1):
        there = objective.at(here.params + share * step, with_hessian=with_hessian)
        if there.loss <= here.loss + DESCENT * share * slope + ROUNDING:
            return there
        share /= 2
    return None


def _factor(hessian: Matrix) -> _Factor:
    """Return the Cholesky factor, of the Hessian plus the least ridge that makes it positive definite."""
    ridge, diagonal = 0.0, np.diag_indices_from(hessian)
    while True:
        try:
            factor, lower = cho_factor(hessian)
            return factor, lower
        except LinAlgError:
            more = max(10 * ridge, 1e-12 * float(hessian[diagonal].max()), 1e-300)
            hessian[diagonal] += more - ridge
            ridge = more


def _lbfgs(objective: _Objective, start: _Fit, tolerance: float) -> _Fit:
    """Minimise by L-BFGS, with the settings of scikit-learn."""
    shape = start.params.shape

    def loss_and_gradient(params: Matrix) -> tuple[float, Matrix]:
        point = objective.at(params.reshape(shape), with_hessian=False)
        return point.loss, point.gradient.ravel()

    done = minimize(
        loss_and_gradient,
        start.params.ravel(),
        method="L-BFGS-B",
        jac=True,
        options={
            "maxiter": logreg.MAX_ITER["lbfgs"],
            "maxfun": np.iinfo(np.int32).max,
            "maxls": 50,
            "gtol": tolerance,
            "ftol": 64 * np.finfo(np.float64).eps,
        },
    )
    return _Fit(done.x.reshape(shape), int(done.nit), bool(done.success))

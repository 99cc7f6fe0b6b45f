"""Minimisers of an objective that costs a pass over all rows each time it is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from pipeline.heads.objective import Matrix, Objective, Point

NEWTON_SIZE = 2_000  # coefficients up to which a Newton step (their number squared) is the cheaper solver
MAX_ITER = {"newton-cholesky": 100, "lbfgs": 3_000}
FAST = 0.25  # a step that cuts the gradient so far shows that the Hessian behind it still holds
HALVINGS = 20  # of a step that does not lower the loss
DESCENT = 1e-4  # share of the fall which the slope promises that a step must bring (Armijo's rule)
ROUNDING = 1e-14  # losses this close are the same
Factor = tuple[Matrix, bool]


@dataclass(frozen=True)
class Fit:
    """What a solver found, whether it says that it is the optimum, and the factor of a Hessian near it."""

    params: Matrix
    n_iter: int
    converged: bool
    factor: Factor | None = None


Solve = Callable[[Objective, Fit, float], Fit]


def solver_for(n_coefficients: int) -> Solve:
    """Return the cheaper solver."""
    return newton if n_coefficients <= NEWTON_SIZE else lbfgs


def newton(objective: Objective, start: Fit, tolerance: float) -> Fit:
    """Minimise by Newton's method.

    A pass without the Hessian takes a quarter of the time, so it is left out while the last one still does: from a
    start that has one, and after each step that cut the gradient to `FAST`.
    """
    factor, most = start.factor, MAX_ITER["newton-cholesky"]
    here = objective.at(start.params, with_hessian=factor is None)
    keep = factor is not None
    for n_iter in range(most):
        if here.hessian is not None:
            factor = _factor(here.hessian)
        if here.steepness <= tolerance:
            return Fit(here.params, n_iter, True, factor)
        step = -cho_solve(factor, here.gradient.ravel()).reshape(here.params.shape)
        there = _walk(objective, here, step, with_hessian=not keep)
        if there is None and here.hessian is None:  # the last one did not serve
            there = objective.at(here.params, with_hessian=True)
        if there is None:
            return Fit(here.params, n_iter, False)
        keep = there.steepness <= FAST * here.steepness
        here = there
    return Fit(here.params, most, here.steepness <= tolerance)


def _walk(
    objective: Objective, here: Point, step: Matrix, *, with_hessian: bool
) -> Point | None:
    """Return the point after `step`, halved until the loss falls; None if it never does."""
    slope, share = float((here.gradient * step).sum()), 1.0
    for _ in range(HALVINGS if here.hessian is not None else 1):
        there = objective.at(here.params + share * step, with_hessian=with_hessian)
        if there.loss <= here.loss + DESCENT * share * slope + ROUNDING:
            return there
        share /= 2
    return None


def _factor(hessian: Matrix) -> Factor:
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


def lbfgs(objective: Objective, start: Fit, tolerance: float) -> Fit:
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
            "maxiter": MAX_ITER["lbfgs"],
            "maxfun": np.iinfo(np.int32).max,
            "maxls": 50,
            "gtol": tolerance,
            "ftol": 64 * np.finfo(np.float64).eps,
        },
    )
    return Fit(done.x.reshape(shape), int(done.nit), bool(done.success))

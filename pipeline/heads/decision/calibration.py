"""Calibrators fitted on out-of-fold probabilities, and the choice among them by log loss."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from pipeline.heads.decision.rows import HeldOut, Truth
from pipeline.heads.decision.rule import (
    EPSILON,
    Calibrator,
    Isotonic,
    Proba,
    Sigmoid,
    Temperature,
    columns_of,
    logistic,
    logit,
)

Losses = NDArray[np.float64]  # (n,)
LOG_RANGE = (-4.0, 4.0)  # of a temperature's natural logarithm
METHODS = ("none", "temperature", "sigmoid", "isotonic")  # the simpler wins a tie


def fit_calibrator(method: str, rows: HeldOut) -> Calibrator | None:
    """Return the calibrator of a name of `METHODS`; None for ``none``."""
    if method == "none":
        return None
    if method == "temperature":
        return _temperature(rows)
    z = logit(columns_of(rows.proba, is_exclusive=rows.is_exclusive))
    known = columns_of(rows.truth, is_exclusive=rows.is_exclusive)
    pairs = list(zip(z.T, known.T, strict=True))
    if method == "sigmoid":
        slopes, intercepts = zip(*(_sigmoid(*pair) for pair in pairs), strict=True)
        return Sigmoid(list(slopes), list(intercepts))
    x, y = zip(*(_isotonic(*pair) for pair in pairs), strict=True)
    return Isotonic(list(x), list(y))


def log_losses(rows: HeldOut) -> dict[str, Losses]:
    """Return the log loss of each row by `METHODS`, each calibrated by what was fitted on the other folds."""

    def losses(method: str) -> Losses:
        def fit_and_apply(others: HeldOut, proba: Proba) -> Proba:
            found = fit_calibrator(method, others)
            if found is None:
                return proba
            return found(proba, is_exclusive=rows.is_exclusive)

        return row_losses(rows.with_proba(rows.crossed(fit_and_apply)))

    return {method: losses(method) for method in METHODS}


def best_method(losses: dict[str, Losses]) -> str:
    """Return the name of the least mean loss; ``none`` where that gains less than its standard error, so maybe nothing.

    Parameters
    ----------
    losses : dict of str to ndarray of float64, shape (n,)
        As `log_losses` returns them.
    """
    best = min(losses, key=lambda method: float(losses[method].mean()))
    gain = losses["none"] - losses[best]
    is_clear = gain.mean() > gain.std() / math.sqrt(len(gain))
    return best if is_clear else "none"


def row_losses(rows: HeldOut) -> Losses:
    """Return the negative logarithm of what is true of each row: its class, or, as a mean, each label's yes or no.

    Shape (n,).
    """
    proba, truth = rows.proba, rows.truth
    of_truth = np.where(truth, proba, 1.0 if rows.is_exclusive else 1 - proba)
    losses = -np.log(np.clip(of_truth, EPSILON, 1.0))
    return np.asarray(losses.sum(axis=1) / (1 if rows.is_exclusive else truth.shape[1]))


def log_loss(rows: HeldOut) -> float:
    """Return the mean of `row_losses`."""
    return float(row_losses(rows).mean())


def _temperature(rows: HeldOut) -> Temperature:
    def loss(log_temperature: float) -> float:
        found = Temperature(float(np.exp(log_temperature)))
        calibrated = found(rows.proba, is_exclusive=rows.is_exclusive)
        return log_loss(rows.with_proba(calibrated))

    done = minimize_scalar(loss, bounds=LOG_RANGE, method="bounded")
    return Temperature(float(np.exp(done.x)))


def _targets(truth: Truth) -> NDArray[np.float64]:
    """Return Platt's targets, a little inside 0 and 1: of few rows no probability is certain."""
    n_positive = int(truth.sum())
    n_negative = len(truth) - n_positive
    high, low = (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2)
    return np.where(truth, high, low)


def _sigmoid(z: NDArray[np.float64], truth: Truth) -> tuple[float, float]:
    """Return slope and intercept of least log loss against Platt's targets; the slope does not turn the ranking."""
    target = _targets(truth)

    def loss_and_gradient(
        params: NDArray[np.float64],
    ) -> tuple[float, NDArray[np.float64]]:
        scores = params[0] * z + params[1]
        wrong = logistic(scores) - target
        loss = (np.logaddexp(0.0, scores) - target * scores).mean()
        return float(loss), np.array([(wrong * z).mean(), wrong.mean()])

    done = minimize(
        loss_and_gradient,
        np.array([1.0, 0.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, None), (None, None)],
    )
    return float(done.x[0]), float(done.x[1])


def _isotonic(z: NDArray[np.float64], truth: Truth) -> tuple[list[float], list[float]]:
    """Return the points of the rising function of least squares against Platt's targets."""
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(z, _targets(truth))
    return fitted.X_thresholds_.tolist(), fitted.y_thresholds_.tolist()

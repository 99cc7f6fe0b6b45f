"""A decision rule as plain values: how probabilities are calibrated, and which answer they mean.

Applying it needs numpy alone. What fits one stands in the modules beside.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

Proba = NDArray[np.float64]  # (n, k)
Columns = TypeVar("Columns", Proba, NDArray[np.bool_])
EPSILON = 1e-15  # probabilities are kept this far from 0 and 1 in logarithms


def logit(proba: Proba) -> Proba:
    """Return the log odds of probabilities."""
    inside = np.clip(proba, EPSILON, 1 - EPSILON)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def logistic(scores: Proba) -> Proba:
    """Return the probabilities of log odds."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))


def columns_of(proba: Columns, *, is_exclusive: bool) -> Columns:
    """Return the columns that are calibrated one by one: of two classes the second alone, (n, 1), else all."""
    return proba[:, 1:] if is_exclusive and proba.shape[1] == 2 else proba


def whole(columns: Proba, *, is_exclusive: bool) -> Proba:
    """Return the probabilities, (n, k), of columns as `columns_of` chose them; those of classes sum to 1."""
    if not is_exclusive:
        return columns
    if columns.shape[1] == 1:
        return np.hstack([1 - columns, columns])
    return np.asarray(columns / columns.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Temperature:
    """Scores divided by one number [1]_: it changes no ranking of the classes of a row.

    .. [1] C. Guo et al. (2017), On Calibration of Modern Neural Networks, ICML.
    """

    method: ClassVar[str] = "temperature"
    temperature: float

    def __call__(self, proba: Proba, *, is_exclusive: bool) -> Proba:
        """Return calibrated probabilities, shape (n, k)."""
        if not is_exclusive:
            return logistic(logit(proba) / self.temperature)
        scores = np.log(np.maximum(proba, EPSILON)) / self.temperature
        exp = np.exp(scores - scores.max(axis=1, keepdims=True))
        return np.asarray(exp / exp.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Sigmoid:
    """A logistic function of each class's log odds [1]_, one class against the rest [2]_.

    .. [1] J. Platt (1999), Probabilistic Outputs for Support Vector Machines, Advances in Large Margin Classifiers.
    .. [2] B. Zadrozny, C. Elkan (2002), Transforming Classifier Scores into Accurate Multiclass Probability Estimates.
    """

    method: ClassVar[str] = "sigmoid"
    slopes: list[float]
    intercepts: list[float]

    def __call__(self, proba: Proba, *, is_exclusive: bool) -> Proba:
        """Return calibrated probabilities, shape (n, k)."""
        z = logit(columns_of(proba, is_exclusive=is_exclusive))
        found = logistic(z * np.array(self.slopes) + np.array(self.intercepts))
        return whole(found, is_exclusive=is_exclusive)


@dataclass(frozen=True)
class Isotonic:
    """A rising function of each class's log odds [1]_, linear between the points given.

    .. [1] B. Zadrozny, C. Elkan (2002), Transforming Classifier Scores into Accurate Multiclass Probability Estimates.
    """

    method: ClassVar[str] = "isotonic"
    log_odds: list[list[float]]
    probabilities: list[list[float]]

    def __call__(self, proba: Proba, *, is_exclusive: bool) -> Proba:
        """Return calibrated probabilities, shape (n, k)."""
        z = logit(columns_of(proba, is_exclusive=is_exclusive))
        curves = zip(z.T, self.log_odds, self.probabilities, strict=True)
        found = np.column_stack([np.interp(column, x, y) for column, x, y in curves])
        return whole(found, is_exclusive=is_exclusive)


Calibrator = Temperature | Sigmoid | Isotonic
CALIBRATORS: dict[str, type[Calibrator]] = {
    kind.method: kind for kind in (Temperature, Sigmoid, Isotonic)
}


@dataclass(frozen=True)
class DecisionRule:
    """How a head's probabilities become its outputs, and these its answers; None leaves a step as it is without.

    Attributes
    ----------
    calibrator : Temperature, Sigmoid or Isotonic, optional
    thresholds : list of float, length k, optional
        The answer is the class of the largest p / t; of two classes t and 1 - t. Of several labels a row, those with
        p >= t. None: the most probable class; labels from 0.5 on.
    costs : list of list of float, (k, k), optional
        ``costs[true][answered]``: the answer is that of least expected cost [1]_. Excludes thresholds.
    min_confidence : float, optional
        Rows whose answer has a smaller probability get none.

    References
    ----------
    .. [1] C. Elkan (2001), The Foundations of Cost-Sensitive Learning, IJCAI.
    """

    calibrator: Calibrator | None = None
    thresholds: list[float] | None = None
    costs: list[list[float]] | None = None
    min_confidence: float | None = None

    def calibrate(self, proba: Proba, *, is_exclusive: bool) -> Proba:
        """Return calibrated probabilities, shape (n, k).

        Parameters
        ----------
        proba : ndarray of float64, shape (n, k)
        is_exclusive : bool
            Whether a row has one class of k, not any number of labels.
        """
        if self.calibrator is None:
            return proba
        return self.calibrator(proba, is_exclusive=is_exclusive)

    def classes(self, proba: Proba) -> NDArray[np.int64]:
        """Return the class that each row of calibrated probabilities is answered with, the first one of equals."""
        if self.costs is not None:
            return np.asarray((proba @ np.array(self.costs)).argmin(axis=1))
        if self.thresholds is not None:
            proba = proba / np.array(self.thresholds)
        return np.asarray(proba.argmax(axis=1))

    def labels(self, proba: Proba) -> NDArray[np.bool_]:
        """Return which labels each row of calibrated probabilities is answered with, shape (n, k)."""
        return np.asarray(
            proba >= (0.5 if self.thresholds is None else np.array(self.thresholds))
        )

    def abstains(self, proba: Proba) -> NDArray[np.bool_]:
        """Return which rows of calibrated probabilities get no answer, shape (n,)."""
        if self.min_confidence is None:
            return np.zeros(len(proba), dtype=bool)
        return np.asarray(confidence(proba, self.classes(proba)) < self.min_confidence)

    def params(self) -> dict[str, object]:
        """Return the rule as JSON values, without what is None."""
        steps = {
            name: value for name, value in asdict(self).items() if value is not None
        }
        if self.calibrator is not None:
            steps["calibrator"] = {
                "method": self.calibrator.method,
                **asdict(self.calibrator),
            }
        return steps


def confidence(proba: Proba, classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the probability of the class that each row is answered with, shape (n,)."""
    return np.asarray(np.take_along_axis(proba, classes[:, None], axis=1)[:, 0])


def rule_of(params: dict[str, Any]) -> DecisionRule:  # Any: JSON values
    """Return the rule that `DecisionRule.params` describes."""
    if "calibrator" not in params:
        return DecisionRule(**params)
    about = dict(params["calibrator"])
    calibrator = CALIBRATORS[about.pop("method")](**about)
    return DecisionRule(**{**params, "calibrator": calibrator})

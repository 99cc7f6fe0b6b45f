"""A fitted linear model as plain arrays: a classifier, one for several labels at once, or a regression.

It is scored with numpy and stored as ``.npy`` and JSON, so no version of scikit-learn can change or break it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.decision.rule import DecisionRule, rule_of
from pipeline.storage import disk

Features = NDArray[np.float32]


@dataclass(frozen=True)
class SearchPoint:
    """One C of the search: out-of-fold log loss and accuracy on the training rows."""

    C: float
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class RidgePoint:
    """One C of a regression's search: out-of-fold mean squared error and R² on the training rows."""

    C: float
    mse: float
    r2: float


@dataclass(frozen=True)
class Blend:
    """How the scores of several models are added up: sum of weight times score, plus bias.

    Attributes
    ----------
    weights : dict of str to float
        Of each model; `pipeline.heads.blend` names them.
    bias : list of float, length w
        Of each score: 1 for two classes or a number, else as many as there are classes or labels.
    """

    weights: dict[str, float]
    bias: list[float]

    def scores(self, parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the sum for rows: of each model (n, w) -> (n, w)."""
        total = np.tile(self.bias, (len(parts[0]), 1))
        for weight, part in zip(self.weights.values(), parts, strict=True):
            total += weight * part
        return total


@dataclass(frozen=True)
class Gate:
    """When models on words answer alone, so that the text need not be encoded.

    Attributes
    ----------
    terms : Blend
        Of the models on words.
    min_confidence : float
        They do where their largest probability is at least this.
    """

    terms: Blend
    min_confidence: float

    def scores(self, terms: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what the models on words say of rows, from their scores side by side: (n, m w) -> (n, w)."""
        return self.terms.scores(np.split(terms, len(self.terms.weights), axis=1))

    def is_sure(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows they answer, shape (n,), from `scores`."""
        one = scores[:, 0] if scores.shape[1] == 1 else scores
        return np.asarray(probabilities_of(one).max(axis=1) >= self.min_confidence)


@dataclass(frozen=True)
class Head:
    """A fitted logistic regression, or ridge regression, with its scaling.

    Attributes
    ----------
    task : {"classification", "multilabel", "regression"}
        One class of k a row; any of k labels, each with a logistic regression of its own; or a number.
    classes : list of str or int, length k
        In sorted order, or for several labels a row in the data set's; column order of probabilities. Empty for a
        regression.
    mean, scale : ndarray of float64, shape (d,)
        Features are scored as ``(x - mean) / scale``.
    coef : ndarray of float64, shape (1, d) for two classes or a number, else (k, d)
    intercept : ndarray of float64, shape (1,) or (k,)
    C : float
        Inverse regularisation; of ridge regression 1 / alpha.
    class_weight : {"none", "balanced"}
    n_iter : int
        Iterations of the solver.
    converged : bool
    solver : str
    search : list of SearchPoint or of RidgePoint
        Empty if C was given.
    sklearn_version : str
        Which scikit-learn fitted it.
    blend : Blend, optional
        Of its own scores and those of models on words, whose columns stand behind the features; they are in `coef`.
    gate : Gate, optional
        Which rows those models answer alone.
    rule : DecisionRule, optional
        How outputs and answers are made of its probabilities; None: these are the outputs, and the most probable class
        is the answer, or each label from 0.5 on.
    """

    classes: list[str] | list[int]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    coef: NDArray[np.float64]
    intercept: NDArray[np.float64]
    C: float
    class_weight: str
    n_iter: int
    converged: bool
    solver: str
    sklearn_version: str
    search: list[SearchPoint] | list[RidgePoint] = field(default_factory=list)
    task: str = "classification"
    rule: DecisionRule | None = None
    blend: Blend | None = None
    gate: Gate | None = None

    @property
    def n_terms(self) -> int:
        """Return how many columns are scores of models on words: the last ones."""
        return (
            0 if self.blend is None else (len(self.blend.weights) - 1) * len(self.coef)
        )

    def decision(self, features: Features) -> NDArray[np.float64]:
        """Return the scores: shape (n,) for two classes or a number, else (n, k)."""
        scores = (features - self.mean) / self.scale @ self.coef.T + self.intercept
        if self.gate is not None:
            own = self.gate.scores(features[:, -self.n_terms :].astype(np.float64))
            is_sure = self.gate.is_sure(own)
            scores[is_sure] = own[is_sure]
        is_one = self.task != "multilabel" and len(self.coef) == 1
        return np.asarray(scores[:, 0] if is_one else scores)

    def needs_features(self, terms: Features) -> NDArray[np.bool_]:
        """Return which rows words do not decide, shape (n,), from the scores of the models on words, (n, m w)."""
        if self.gate is None:
            return np.ones(len(terms), dtype=bool)
        return ~self.gate.is_sure(self.gate.scores(terms.astype(np.float64)))

    def outputs(self, features: Features) -> NDArray[np.float64]:
        """Return what everything else is made from: probabilities, (n, k), or of a regression the numbers, (n, 1)."""
        if self.task == "regression":
            return self.decision(features)[:, None]
        return self.calibrated(self.probabilities(features))

    def calibrated(self, proba: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the outputs of rows whose `probabilities` are `proba`, shape (n, k)."""
        if self.rule is None:
            return proba
        return self.rule.calibrate(proba, is_exclusive=self.task == "classification")

    def decide(
        self, outputs: NDArray[np.float64]
    ) -> NDArray[np.int64] | NDArray[np.bool_] | NDArray[np.float64]:
        """Return the answers that `outputs` mean.

        Returns
        -------
        ndarray
            int64, shape (n,): positions in `classes`, the first one of equals; of several labels a row bool, shape
            (n, k); of a regression float64, shape (n,).
        """
        if self.task == "regression":
            return outputs[:, 0]
        rule = self.rule or DecisionRule()
        if self.task == "multilabel":
            return rule.labels(outputs)
        return rule.classes(outputs)

    @property
    def may_abstain(self) -> bool:
        """Whether there are rows that it would not answer."""
        return self.rule is not None and self.rule.min_confidence is not None

    def abstains(self, outputs: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rows are not to be answered, shape (n,), as they are not sure enough."""
        if self.rule is None:
            return np.zeros(len(outputs), dtype=bool)
        return self.rule.abstains(outputs)

    def weights_of(self, k: int) -> tuple[NDArray[np.float64], float]:
        """Return coefficients, shape (d,), and intercept of the score of one class.

        Of two classes the scores are log odds: that of the first is that of the second with its sign turned.

        Parameters
        ----------
        k : int
            Position in `classes`.
        """
        if self.task != "classification" or len(self.classes) > 2:
            return self.coef[k], float(self.intercept[k])
        sign = 1.0 if k == 1 else -1.0
        return sign * self.coef[0], sign * float(self.intercept[0])

    def probabilities(self, features: Features) -> NDArray[np.float64]:
        """Return the probabilities of classes or labels before calibration, (n, k); those of classes sum to 1."""
        scores = self.decision(features)
        if self.task == "multilabel":
            return np.asarray(np.exp(-np.logaddexp(0.0, -scores)))  # logistic
        return probabilities_of(scores)

    def params(self) -> dict[str, object]:
        """Return everything but the arrays, as JSON values."""
        skip = {"mean", "scale", "coef", "intercept", *PARTS}
        params = {
            name: value for name, value in asdict(self).items() if name not in skip
        }
        if self.rule is not None:
            params["rule"] = self.rule.params()
        if self.blend is not None:
            params["blend"] = asdict(self.blend)
        if self.gate is not None:
            params["gate"] = asdict(self.gate)
        return params


ARRAYS = ("mean", "scale", "coef", "intercept")
PARTS = ("rule", "blend", "gate")  # that not every head has


def probabilities_of(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return class probabilities of scores: the logistic function for shape (n,), softmax for (n, k)."""
    if scores.ndim == 1:
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    exp = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=1, keepdims=True))


def save_head(head: Head, directory: Path) -> None:
    """Write a head as ``head.json`` and one ``.npy`` an array."""
    text = json.dumps(head.params(), indent=1, sort_keys=True)
    disk.write(directory / "head.json", text.encode())
    for name in ARRAYS:
        disk.save_array(directory / f"{name}.npy", getattr(head, name))


def load_head(directory: Path) -> Head:
    """Read what `save_head` wrote."""
    params = json.loads(disk.read(directory / "head.json"))
    arrays = {name: disk.load_array(directory / f"{name}.npy") for name in ARRAYS}
    return head_of(params, arrays)


def head_of(
    params: dict[str, Any], arrays: dict[str, NDArray[np.float64]]
) -> Head:  # Any: JSON values
    """Return the head made of `Head.params` and its arrays."""
    kind = RidgePoint if params.get("task") == "regression" else SearchPoint
    points = [kind(**point) for point in params["search"]]
    parts = {
        "rule": rule_of(params["rule"]) if "rule" in params else None,
        "blend": Blend(**params["blend"]) if "blend" in params else None,
        "gate": _gate_of(params["gate"]) if "gate" in params else None,
    }
    return Head(**{**params, **arrays, "search": points, **parts})


def _gate_of(params: dict[str, Any]) -> Gate:  # Any: JSON values
    return Gate(Blend(**params["terms"]), params["min_confidence"])

"""Thresholds of greatest F1, accuracy or Jaccard index on rows that the classifier was not fitted on.

Each step is exact: one threshold is moved through all values that change an answer while the others stay. Where one is
not independent of the others, steps go round until none gains (coordinate ascent), which is a local optimum, and the
same one each time.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.decision.rows import HeldOut, Truth
from pipeline.heads.decision.rule import EPSILON, Proba, logistic, logit

Values = NDArray[np.float64]
Counts = NDArray[np.int64] | Values
METRICS = {
    True: ("accuracy", "f1_macro"),  # of one class a row
    False: ("accuracy", "f1_macro", "f1_micro", "jaccard"),  # of several labels
}
MAX_ROUNDS = 20  # of coordinate ascent; some three or four are the rule
GAIN = 1e-12  # a smaller one is rounding


def fit_thresholds(metric: str, rows: HeldOut) -> list[float]:
    """Return the thresholds of `DecisionRule`, one for each class (of sum 1) or label.

    Parameters
    ----------
    metric : str
        One of ``METRICS[rows.is_exclusive]``.
    rows : HeldOut
        Calibrated, if they are to be.
    """
    inside = np.clip(rows.proba, EPSILON, 1 - EPSILON)
    if rows.is_exclusive:
        return _of_classes(metric, inside, rows.truth.argmax(axis=1))
    return _of_labels(metric, inside, rows.truth)


def measured(metric: str, said: Truth, rows: HeldOut) -> float:
    """Return a metric of answers.

    Parameters
    ----------
    metric : str
        One of ``METRICS[rows.is_exclusive]``. Accuracy is the share of right rows, or of right decisions on labels.
    said : ndarray of bool, shape (n, k)
        Which classes or labels the rows are answered with.
    rows : HeldOut
    """
    truth = rows.truth
    hits, total = said & truth, said.sum(axis=0) + truth.sum(axis=0)
    if metric == "f1_macro":  # of those that occur, as 0 / 0 says nothing of the others
        f1 = _ratio(2 * hits.sum(axis=0), total)
        return float(f1[total > 0].mean()) if total.any() else 0.0
    if metric == "f1_micro":
        return 2 * int(hits.sum()) / max(1, int(total.sum()))
    if metric == "jaccard":
        return float(_jaccard(hits.sum(axis=1), (said | truth).sum(axis=1)).mean())
    is_right = hits.any(axis=1) if rows.is_exclusive else said == truth
    return float(is_right.mean())


def _ratio(value: Counts, of: Counts) -> Values:
    """Return ``value / of``, and 0 where that is 0 / 0."""
    return np.asarray(value / np.maximum(of, 1), dtype=np.float64)


def _jaccard(both: Counts, either: Counts) -> Values:
    """Return ``both / either``, and 1 of two empty sets, which are equal."""
    return np.where(either > 0, _ratio(both, either), 1.0)


def _cut(ranked: Values, objective: Values, now: float) -> float:
    """Return between which two values of `ranked`, which falls, the objective is greatest: their mean.

    Parameters
    ----------
    ranked : ndarray of float64, shape (n,)
    objective : ndarray of float64, shape (n + 1,)
        Of the first s rows being answered with yes, for every s.
    now : float
        The threshold in use, which stays where it is among the best; else the best one nearest to it is taken.
    """
    edges = np.concatenate([[ranked[0] + 1], ranked, [ranked[-1] - 1]])
    cuts = (edges[:-1] + edges[1:]) / 2
    can_cut = edges[:-1] > edges[1:]  # equal values have one answer
    can_cut &= (
        cuts < edges[:-1]
    )  # nor can neighbours so close that no number is between them
    objective = np.where(can_cut, objective, -np.inf)
    here = int((ranked > now).sum())
    if objective[here] >= objective.max() - GAIN:
        return now
    best = np.flatnonzero(objective >= objective.max() - GAIN)
    return float(cuts[best[np.abs(cuts[best] - now).argmin()]])


def _of_classes(metric: str, proba: Proba, y: NDArray[np.int64]) -> list[float]:
    """Return t of the answer argmax p / t.

    With the others as they are, class j is the answer where log p_j minus the best other class's log (p / t) is above
    log t_j.
    """
    k = proba.shape[1]
    logs, log_t = np.log(proba), np.zeros(k)
    gains = {"accuracy": _accuracy_gains, "f1_macro": _f1_gains}[metric]
    best = _Best(logs.copy())

    def step(j: int) -> None:
        other, score = best.without(j)
        lead = logs[:, j] - score
        order = np.argsort(-lead, kind="stable")
        objective = gains(j, y[order], other[order], k)
        before, log_t[j] = log_t[j], _cut(lead[order], objective, log_t[j])
        if log_t[j] != before:
            best.move(j, logs[:, j] - log_t[j])

    _go_round(step, [1] if k == 2 else range(k), log_t)
    t = np.exp(log_t - log_t.max())
    return [float(value) for value in t / t.sum()]


class _Best:
    """The best and the second best class of each row, kept while scores of one class after the other change.

    Parameters
    ----------
    scores : ndarray of float64, shape (n, k)
        Its own from now on.
    """

    def __init__(self, scores: Values) -> None:
        self._scores = scores
        self._two = np.empty((len(scores), 2), dtype=np.int64)
        self._find(np.arange(len(scores)))

    def _find(self, rows: NDArray[np.int64]) -> None:
        part = self._scores[rows]
        here = np.arange(len(rows))
        self._two[rows, 0] = part.argmax(axis=1)
        part[here, self._two[rows, 0]] = -np.inf
        self._two[rows, 1] = part.argmax(axis=1)

    def without(self, j: int) -> tuple[NDArray[np.int64], Values]:
        """Return the best class but `j` of each row, the first one of equals, and its score, both (n,)."""
        other = np.where(self._two[:, 0] == j, self._two[:, 1], self._two[:, 0])
        return other, self._scores[np.arange(len(other)), other]

    def move(self, j: int, scores: Values) -> None:
        """Take other scores of class `j`; only rows where it is, or comes, among the two best are looked at again."""
        second = self._scores[np.arange(len(scores)), self._two[:, 1]]
        is_near = (self._two == j).any(axis=1) | (scores >= second)
        self._scores[:, j] = scores
        self._find(np.flatnonzero(is_near))


def _go_round(
    step: Callable[[int], None], places: "range | list[int]", values: Values
) -> None:
    """Take one step after the other until a whole round changes nothing."""
    for _ in range(MAX_ROUNDS):
        before = values.copy()
        for j in places:
            step(j)
        if (values == before).all():
            return


def _accuracy_gains(
    j: int, y: NDArray[np.int64], other: NDArray[np.int64], k: int
) -> Values:
    """Return how many more rows are right once the first s are answered with `j` instead of `other`, (n + 1,)."""
    gained = (y == j).astype(np.float64) - (y == other)
    return np.concatenate([[0.0], np.cumsum(gained)])


def _f1_gains(j: int, y: NDArray[np.int64], other: NDArray[np.int64], k: int) -> Values:
    """Return macro F1, but for a constant, once the first s rows are answered with `j` instead of `other`, (n + 1,).

    A row that changes its answer changes the F1 of two classes: of `j`, and of the one that loses it.
    """
    n_true, n_said = np.bincount(y, minlength=k), np.bincount(other, minlength=k)
    groups = np.argsort(other, kind="stable")  # rows of one lost class, in their order
    loser, is_hit = other[groups], (y == other)[groups]
    begins = np.concatenate([[0], np.cumsum(n_said)[:-1]])[loser]
    place = np.arange(len(y)) - begins  # rows of the class that were lost before
    hits_before = np.concatenate([[0], np.cumsum(is_hit)])
    lost_hits = hits_before[:-1] - hits_before[begins]
    all_hits = np.bincount(loser, weights=is_hit, minlength=k)[loser]
    size = n_said[loser] - place + n_true[loser]
    change = np.empty(len(y))
    change[groups] = _ratio(2 * (all_hits - lost_hits - is_hit), size - 1) - _ratio(
        2 * (all_hits - lost_hits), size
    )
    of_others = np.concatenate([[0.0], np.cumsum(change)])
    return np.asarray((_f1_by_count(y == j, int(n_true[j])) + of_others) / k)


def _f1_by_count(is_positive: Truth, n_positive: int) -> Values:
    """Return F1 when the first s rows are answered with yes, for every s, (n + 1,)."""
    hits = np.concatenate([[0], np.cumsum(is_positive)])
    return _ratio(2 * hits, np.arange(n_positive, n_positive + len(hits)))


def _of_labels(metric: str, proba: Proba, truth: Truth) -> list[float]:
    """Return a threshold for each label, found in log odds."""
    scores = logit(proba)
    cuts = np.zeros(proba.shape[1])
    orders = np.argsort(-scores, axis=0, kind="stable")
    counts = _Counts.of(scores > cuts, truth)

    def step(j: int) -> None:
        order, own = orders[:, j], truth[:, j]
        others = counts.without(scores[:, j] > cuts[j], own)
        objective = _label_objective(metric, own[order], others, order)
        cuts[j] = _cut(scores[order, j], objective, cuts[j])
        counts.put(others, scores[:, j] > cuts[j], own)

    _go_round(step, range(len(cuts)), cuts)
    return [float(value) for value in logistic(cuts)]


class _Counts:
    """Of each row, how many labels stand in truth and answer both, and in either, shape (n,) each."""

    def __init__(self, both: NDArray[np.int64], either: NDArray[np.int64]) -> None:
        self.both, self.either = both, either

    @classmethod
    def of(cls, said: Truth, truth: Truth) -> "_Counts":
        return cls((said & truth).sum(axis=1), (said | truth).sum(axis=1))

    def without(self, said: Truth, own: Truth) -> "_Counts":
        """Return the counts of all labels but one, of which `said` and `own`, its truth, are the columns."""
        return _Counts(self.both - (said & own), self.either - (said | own))

    def put(self, others: "_Counts", said: Truth, own: Truth) -> None:
        """Take the counts of the others, and add a label to them."""
        self.both = others.both + (said & own)
        self.either = others.either + (said | own)


def _label_objective(
    metric: str, own: Truth, others: _Counts, order: NDArray[np.int64]
) -> Values:
    """Return the metric, but for a constant, when a label is said of the first s rows, (n + 1,).

    Parameters
    ----------
    metric : str
    own : ndarray of bool, shape (n,)
        Which rows have the label, in `order`.
    others : _Counts
        Of the other labels, of the rows as they are.
    order : ndarray of int64, shape (n,)
    """
    if metric == "f1_macro":
        return _f1_by_count(own, int(own.sum()))
    hits = np.concatenate([[0], np.cumsum(own)])
    if metric == "f1_micro":  # both + either is what is said and what is true
        size = int((others.both + others.either).sum() + own.sum())
        return _ratio(
            2.0 * (int(others.both.sum()) + hits), size + np.arange(len(hits))
        )
    if metric == "jaccard":
        both, either = others.both[order], others.either[order]
        change = _jaccard(both + own, either + 1) - _jaccard(both, either + own)
        return np.concatenate([[0.0], np.cumsum(change)]) / len(own)
    return np.asarray((2 * hits - np.arange(len(hits))) / len(own))

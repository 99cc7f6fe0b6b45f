"""The scored rows beside a report, so that two runs can be compared without computing anything again.

::

    scored.npy     float64 (n, k): probabilities, columns as ``classes`` in ``report.json``; of a regression (n, 1): the
                   answers
    labels.npy     int64 (n,): class of each row; -1 for a label that no training row has; bool (n, k): which labels; or
                   float64 (n,): values
    keys.npy       S16 (n,): the keys of the texts in the feature store
    rows.npy       int64 (n,): row numbers in the data set
    clusters.npy   int64 (n,): cluster of each row
    answers.npy    int64 (n,): class of each answer, or bool (n, k): which labels; only where a decision rule was
                   chosen, else it is the most probable one, or every label from 0.5 on
    answered.npy   bool (n,): rows that get an answer; only where a rule may give none
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.kinds import AnyScored, scored_of
from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.resampling import Clusters
from pipeline.features.keys import Keys
from pipeline.report.material import Material, Rows
from pipeline.storage import disk

FILES = ("scored", "labels", "keys", "rows", "clusters")
ANSWERS = "answers.npy"
ANSWERED = "answered.npy"
NO_ANSWER = "(no answer)"


@dataclass(frozen=True)
class ScoredRows:
    """What a run answered for each scored row, and which row that is.

    Attributes
    ----------
    classes : list of str or int, length k
    scored : Scored, ScoredLabels or ScoredValues
        n rows.
    keys : ndarray of S16, shape (n,)
    rows : ndarray of int64, shape (n,)
        Row numbers in the data set.
    clusters : Clusters
    answered : ndarray of bool, shape (n,), optional
        Which rows get an answer; None: all.
    """

    classes: list[Any]  # Any: str or int
    scored: AnyScored
    keys: Keys
    rows: Rows
    clusters: Clusters
    answered: NDArray[np.bool_] | None = None

    @property
    def answers(self) -> NDArray[np.object_]:
        """Return the predicted label, list of labels or number of each row, shape (n,), or `NO_ANSWER`."""
        if isinstance(self.scored, Scored):
            found = np.array(self.classes, dtype=object)[self.scored.predicted]
            return np.where(self.is_answered, found, NO_ANSWER)
        return _objects(self._said(self.scored.predicted))

    @property
    def is_answered(self) -> NDArray[np.bool_]:
        """Return which rows get an answer, shape (n,)."""
        return np.ones(len(self.rows), bool) if self.answered is None else self.answered

    @property
    def labels(self) -> NDArray[np.object_]:
        """Return the given label, list of labels or number of each row, shape (n,); None for an unknown label."""
        if isinstance(self.scored, Scored):
            return np.array([*self.classes, None], dtype=object)[self.scored.y]
        return _objects(self._said(self.scored.y))

    def _said(self, values: NDArray[Any]) -> list[Any]:  # Any: bool or float64
        if isinstance(self.scored, ScoredLabels):
            return [names_of(row, self.classes) for row in values]
        return list(values.tolist())


def names_of(row: NDArray[np.bool_], classes: list[Any]) -> list[Any]:  # Any: a label
    """Return the labels that a row has, or is answered with, sorted: runs may have them in other orders."""
    return sorted(classes[j] for j in np.flatnonzero(row).tolist())


def _objects(values: list[Any]) -> NDArray[np.object_]:  # Any: lists, or numbers
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found


def save_scored(material: Material, directory: Path) -> None:
    """Write what `load_scored` reads."""
    arrays = (
        material.scored.outputs,
        material.scored.y,
        material.features.subset(material.test).keys,
        material.test,
        material.clusters.of,
    )
    for name, array in zip(FILES, arrays, strict=True):
        disk.save_array(directory / f"{name}.npy", array)
    if material.head.rule is not None:
        disk.save_array(directory / ANSWERS, material.scored.predicted)
    if material.head.may_abstain:
        answered = ~material.head.abstains(material.scored.outputs)
        disk.save_array(directory / ANSWERED, answered)


def load_scored(
    directory: Path,
    classes: list[Any],  # Any: str or int
) -> ScoredRows:
    """Read the scored rows beside a report.

    Parameters
    ----------
    directory : Path
        The report's.
    classes : list
        Of its ``report.json``.
    """
    outputs, y, keys, rows, clusters = (
        disk.load_array(directory / f"{name}.npy") for name in FILES
    )
    answers, answered = (
        disk.load_array(place) if (place := directory / name).exists() else None
        for name in (ANSWERS, ANSWERED)
    )
    scored = scored_of(y, outputs, answers)
    n = int(clusters.max()) + 1
    return ScoredRows(classes, scored, keys, rows, Clusters(clusters, n), answered)

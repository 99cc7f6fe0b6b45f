"""The scored rows beside a report, so that two runs can be compared without computing anything again.

::

    scored.npy     float64 (n, k): probabilities, columns as ``classes`` in ``report.json``
    labels.npy     int64 (n,): class of each row; -1 for a label that no training row has
    keys.npy       S16 (n,): the keys of the texts in the feature store
    rows.npy       int64 (n,): row numbers in the data set
    clusters.npy   int64 (n,): cluster of each row
    answers.npy    int64 (n,): class of each answer; only where a decision rule was chosen, else it is the most probable
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.resampling import Clusters
from pipeline.features.keys import Keys
from pipeline.report.material import Material, Rows
from pipeline.storage import disk

FILES = ("scored", "labels", "keys", "rows", "clusters")
ANSWERS = "answers.npy"


@dataclass(frozen=True)
class ScoredRows:
    """What a run answered for each scored row, and which row that is.

    Attributes
    ----------
    classes : list of str or int, length k
    scored : Scored
        n rows.
    keys : ndarray of S16, shape (n,)
    rows : ndarray of int64, shape (n,)
        Row numbers in the data set.
    clusters : Clusters
    """

    classes: list[Any]  # Any: str or int
    scored: Scored
    keys: Keys
    rows: Rows
    clusters: Clusters

    @property
    def answers(self) -> NDArray[np.object_]:
        """Return the predicted label of each row, shape (n,)."""
        return np.array(self.classes, dtype=object)[self.scored.predicted]


def save_scored(material: Material, directory: Path) -> None:
    """Write what `load_scored` reads."""
    arrays = (
        material.scored.proba,
        material.scored.y,
        material.features.subset(material.test).keys,
        material.test,
        material.clusters.of,
    )
    for name, array in zip(FILES, arrays, strict=True):
        disk.save_array(directory / f"{name}.npy", array)
    if material.scored.answers is not None:
        disk.save_array(directory / ANSWERS, material.scored.answers)


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
    proba, y, keys, rows, clusters = (
        disk.load_array(directory / f"{name}.npy") for name in FILES
    )
    place = directory / ANSWERS
    scored = Scored(y, proba, disk.load_array(place) if place.exists() else None)
    n = int(clusters.max()) + 1
    return ScoredRows(classes, scored, keys, rows, Clusters(clusters, n))

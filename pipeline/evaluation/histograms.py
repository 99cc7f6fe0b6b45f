"""How probabilities are distributed: by true class or label, or for right and wrong answers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored

N_BINS = 20


def score_histograms(
    scored: Scored | ScoredLabels, classes: list[str] | list[int]
) -> dict[str, Any]:  # Any: JSON values
    """Return counts of probabilities in `N_BINS` bins of equal width from 0 to 1.

    Parameters
    ----------
    scored : Scored or ScoredLabels
    classes : list, length k

    Returns
    -------
    dict
        ``of``, what was counted: for two classes the second one's probability, by true class (rows with an unknown
        label are left out); for more the most probable class's, for rows of that class and others; of several labels a
        row those of all labels, for rows that have them and rows that do not; ``edges``; ``groups``.
    """
    edges = np.linspace(0, 1, N_BINS + 1).round(2)

    def group(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
        counts, _ = np.histogram(values, edges)
        return {"name": name, "counts": [int(count) for count in counts]}

    if isinstance(scored, ScoredLabels):
        of = "probability of a label"
        groups = [
            group("rows that have it", scored.proba[scored.y]),
            group("rows that do not", scored.proba[~scored.y]),
        ]
    elif len(classes) == 2:
        of = f"probability of {classes[1]}"
        score = scored.proba[:, 1]
        groups = [
            group(str(label), score[scored.y == i]) for i, label in enumerate(classes)
        ]
    else:
        of = "probability of the most probable class"
        right, score = scored.proba.argmax(axis=1) == scored.y, scored.proba.max(axis=1)
        groups = [group("right", score[right]), group("wrong", score[~right])]
    return {"of": of, "edges": [float(edge) for edge in edges], "groups": groups}

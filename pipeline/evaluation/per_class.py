"""How well each class, or each label, is found."""

from typing import Any

import numpy as np

from pipeline.evaluation import weighted
from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored

Json = dict[str, Any]  # Any: JSON values


def per_class(
    scored: Scored | ScoredLabels, classes: list[str] | list[int]
) -> list[Json]:
    """Return rows, answers, precision, recall and F1 of each class; of labels the area under the ROC curve, too.

    Parameters
    ----------
    scored : Scored or ScoredLabels
    classes : list, length k

    Returns
    -------
    list of dict
        ``label``, ``n``, ``predicted``, ``precision``, ``recall``, ``f1`` and of labels ``roc_auc``; None where there
        is nothing to be a share of.
    """
    truth, guess = scored.indicators
    hits, n, said = ((one.sum(axis=0)) for one in (truth & guess, truth, guess))
    rows: list[Json] = [
        {
            "label": label,
            "n": int(n[j]),
            "predicted": int(said[j]),
            "precision": int(hits[j]) / int(said[j]) if said[j] else None,
            "recall": int(hits[j]) / int(n[j]) if n[j] else None,
            "f1": 2 * int(hits[j]) / int(n[j] + said[j]) if n[j] + said[j] else None,
        }
        for j, label in enumerate(classes)
    ]
    if isinstance(scored, ScoredLabels):
        for row, area in zip(rows, _areas(scored), strict=True):
            row["roc_auc"] = area
    return rows


def _areas(scored: ScoredLabels) -> list[float | None]:
    once = np.ones((1, len(scored)))
    areas = [
        float(weighted.roc_auc(y, p, once)[0])
        for y, p in zip(scored.y.T, scored.proba.T, strict=True)
    ]
    return [None if np.isnan(area) else area for area in areas]

"""What another make of the same model gives: with words beside the encoder, or without the gate of a cascade."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.kinds import scored_of
from pipeline.evaluation.metrics import Measured, differences, figures, measure
from pipeline.heads.blend import scores_of
from pipeline.heads.streaming import score_stored
from pipeline.report.kinds import KINDS
from pipeline.report.material import Json, Material, ReportInputs, answered_by
from pipeline.storage import read_manifest
from pipeline.terms.model import outputs_of

Outputs = NDArray[np.float64]


def with_words(
    material: Material, measured: Measured, baselines: dict[str, Outputs]
) -> Json | None:
    """Return what the mean of this model's scores and TF-IDF's would answer.

    Nothing is fitted for it: log odds, or numbers, count the same; `TrainHybrid` weighs them. None where the model goes
    by words already, or has a decision rule, which was chosen for its own scores.

    Parameters
    ----------
    material : Material
    measured : Measured
        Its scored rows.
    baselines : dict of str to ndarray of float64, shape (n, k)
        What the baselines say of the scored rows.

    Returns
    -------
    dict or None
        ``metric``, ``figure`` and the paired ``difference`` to this model, both of that metric.
    """
    head = material.head
    kind = KINDS[head.task]
    if (
        head.blend is not None
        or head.rule is not None
        or kind.baseline not in baselines
    ):
        return None
    parts = [
        scores_of(one, material.y_fit)
        for one in (material.scored.outputs, baselines[kind.baseline])
    ]
    mean = outputs_of(np.mean(parts, axis=0), material.y_fit)
    both = measure(scored_of(material.scored.y, mean), material.clusters)
    return {
        "metric": kind.headline,
        "figure": figures(both)[kind.headline],
        "difference": differences(both, measured)[kind.headline],
    }


def cascade(
    inputs: ReportInputs, material: Material, measured: Measured
) -> Json | None:
    """Return how many scored rows words alone answer, and what that costs; None where every row is encoded.

    Returns
    -------
    dict or None
        ``share`` of the scored rows; the paired ``difference`` of accuracy to the model that encodes every row; what
        was found on the rows fitted on, ``fit``, as `pipeline.heads.gate.choose_confidence` tells it; and
        ``min_confidence``.
    """
    head = material.head
    if head.gate is None:
        return None
    columns = material.features.subset(material.test)
    outputs = score_stored(replace(head, gate=None), columns)
    whole = measure(answered_by(head, material.scored.y, outputs), material.clusters)
    open_rows = [
        int(head.needs_features(values[:, -head.n_terms :]).sum())
        for _, values in columns.blocks()
    ]
    return {
        "share": 1 - sum(open_rows) / len(columns),
        "difference": differences(measured, whole)["accuracy"],
        "fit": read_manifest(inputs.model)["facts"]["gate"],
        "min_confidence": head.gate.min_confidence,
    }

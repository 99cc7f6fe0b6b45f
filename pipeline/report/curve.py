"""The learning curve of a report: the same head on fewer labels, from cached features."""

import numpy as np

from pipeline.evaluation.learning_curve import learning_curve, subset_sizes
from pipeline.evaluation.metrics import RowScores
from pipeline.heads.quick import quick_outputs, quick_rows
from pipeline.report.material import Json, Material, Rows, answered_by

N_SCORED = 20_000  # more scored rows than that only take time


def curve(material: Material) -> Json | None:
    """Return the curve and its forecast; None where there are too few rows, or the head is made of several models."""
    head, y = material.head, material.y_fit
    if head.blend is not None:
        return None
    k = len(head.classes)
    most = quick_rows(y, k, material.features.dim)
    sizes = subset_sizes(len(y), max(1, k), most)
    if not sizes:
        return None
    scored = np.arange(len(material.test))[:: -(-len(material.test) // N_SCORED)]
    others = material.features.take(material.test[scored])
    itself = material.scored.take(scored)

    def fit_and_score(rows: Rows) -> RowScores:
        if len(rows) == len(y):  # the model itself
            return itself.row_scores
        features = material.features.take(material.fit[rows])
        outputs = quick_outputs(features, y[rows], others, material.head_spec, k)
        answers = answered_by(head, itself.y, head.calibrated(outputs))
        return answers.row_scores

    clusters = material.clusters.subset(scored)
    return learning_curve(material.strata, sizes, fit_and_score, clusters)

"""The learning curve of a report: the same head on fewer labels, from cached features."""

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.learning_curve import learning_curve, subset_sizes
from pipeline.heads.search import affordable_rows, fit_and_predict
from pipeline.report.material import Json, Material, Rows

N_SCORED = 20_000  # more scored rows than that only take time


def curve(material: Material) -> Json | None:
    """Return the curve and its forecast; None where there are too few rows to fit on."""
    y, k = material.y_fit, len(material.head.classes)
    most = affordable_rows(k, material.features.dim)
    sizes = subset_sizes(len(y), k, most)
    if not sizes:
        return None
    scored = np.arange(len(material.test))[:: -(-len(material.test) // N_SCORED)]
    others = material.features.take(material.test[scored])
    truth = material.scored.y[scored]

    def fit_and_score(rows: Rows) -> NDArray[np.bool_]:
        if len(rows) == len(y):  # the model itself
            return np.asarray(material.scored.predicted[scored] == truth)
        features = material.features.take(material.fit[rows])
        proba = fit_and_predict(features, y[rows], others, material.head_spec, k)
        return np.asarray(
            material.head.decide(material.head.calibrated(proba)) == truth
        )

    return learning_curve(y, sizes, fit_and_score, material.clusters.subset(scored))

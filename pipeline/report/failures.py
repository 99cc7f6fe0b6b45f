"""Where the model fails: its surest errors, weak slices, likely label errors, and a map."""

from dataclasses import replace

import numpy as np

from pipeline.evaluation.feature_map import feature_map
from pipeline.evaluation.label_issues import METHOD, label_issues
from pipeline.evaluation.learning_curve import nested_order
from pipeline.evaluation.metrics import most_confident_errors
from pipeline.evaluation.nearest import nearest
from pipeline.evaluation.resampling import SEED
from pipeline.evaluation.slices import (
    column_slices,
    cut_slices,
    length_slices,
    measure_slices,
    overlap_slices,
    rare_word_slices,
)
from pipeline.heads.search import affordable_rows, out_of_fold
from pipeline.pairs import joined
from pipeline.report.material import Json, Material, Rows, cut
from pipeline.splitting import overlap_kinds

N_ERRORS = 20
N_NEAREST = 3
N_ISSUES = 20
N_MAP = 1_500
N_MAP_FIT = 5_000  # training rows that the axes are found from
MAP_TEXT_LIMIT = 120  # characters
NAME_LIMIT = 60  # characters of a column's name, or of a value in it
DIGITS = 4  # of a place on the map


def errors(material: Material) -> list[Json]:
    """Return the wrong answers that the model was surest of, with the training texts most like them."""
    scored, head = material.scored, material.head
    wrong = most_confident_errors(scored, N_ERRORS)
    if not len(wrong):
        return []
    found = [
        {
            **row,
            "predicted": head.classes[int(scored.predicted[i])],
            "probability": float(scored.proba[i, int(scored.predicted[i])]),
        }
        for i, row in zip(
            wrong.tolist(), material.described(material.test[wrong]), strict=True
        )
    ]
    near, cosines = nearest(
        material.features.take(material.test[wrong]),
        material.features.subset(material.fit).blocks(),
        head.mean,
        head.scale,
        N_NEAREST,
    )
    for error, rows, alike in zip(found, near, cosines.tolist(), strict=True):
        described = material.described(material.fit[rows])
        error["nearest"] = [
            {**row, "cosine": cosine}
            for row, cosine in zip(described, alike, strict=True)
        ]
    return found


def slices(material: Material, max_length: int, column: str | None) -> list[Json]:
    """Return accuracy by length, what was cut, overlap with training texts, rare words, and the values of a column."""
    n_tokens = material.features.subset(material.test).n_tokens()
    found = [
        *length_slices(n_tokens),
        *cut_slices(n_tokens, max_length),
        *overlap_slices(overlap_kinds(material.fit_texts(), material.texts)),
        *rare_word_slices(
            list(map(joined, material.texts)), map(joined, material.fit_texts())
        ),
    ]
    if column is not None and material.slice_values is not None:
        name = cut(column, NAME_LIMIT)
        found += [
            replace(one, name=cut(one.name, NAME_LIMIT))
            for one in column_slices(name, material.slice_values)
        ]
    right = material.scored.predicted == material.scored.y
    return measure_slices(found, right, material.clusters)


def suspects(material: Material) -> Json | None:
    """Return training rows whose label is likely wrong; None where that cannot be said.

    Where rows are many, a stratified sample is looked at.
    """
    y, k = material.y_fit, len(material.head.classes)
    most = affordable_rows(k, material.features.dim)
    rows = _sample(y, most)
    features = material.features.take(material.fit[rows])
    proba = out_of_fold(features, y[rows], material.folds[rows], material.head_spec, k)
    found = None if proba is None else label_issues(y[rows], proba)
    if proba is None or found is None:
        return None
    first = found[:N_ISSUES]
    suggested = proba[first].argmax(axis=1)
    return {
        "n": len(found),
        "n_looked_at": len(rows),
        "error_rate": float((proba.argmax(axis=1) != y[rows]).mean()),
        "method": METHOD,
        "rows": [
            {
                **row,
                "suggested": material.head.classes[int(better)],
                "probability": float(proba[i, better]),
            }
            for i, better, row in zip(
                first.tolist(),
                suggested.tolist(),
                material.described(material.fit[rows[first]]),
                strict=True,
            )
        ],
    }


def text_map(material: Material) -> Json | None:
    """Return places of the scored rows, or of a sample of them, on a plane; None where they are too few."""
    y = material.y_fit
    some = _sample(y, N_MAP_FIT)
    generator = np.random.Generator(np.random.PCG64(SEED))
    shown = np.sort(generator.permutation(len(material.test))[:N_MAP])
    found = feature_map(
        material.standardised(material.fit[some]),
        y[some],
        material.standardised(material.test[shown]),
    )
    if found is None:
        return None
    scored = material.scored
    points = [
        {
            "x": round(x, DIGITS),
            "y": round(y, DIGITS),
            "label": label,
            "predicted": predicted,
            "text": cut(joined(material.texts[i]), MAP_TEXT_LIMIT),
        }
        for i, (x, y), label, predicted in zip(
            shown.tolist(),
            found["xy"].tolist(),
            scored.y[shown].tolist(),
            scored.predicted[shown].tolist(),
            strict=True,
        )
    ]
    return {
        "method": found["method"],
        "points": points,
        "explained": found["explained"],
    }


def _sample(y: Rows, most: int) -> Rows:
    """Return at most `most` rows, ascending, of each class its share."""
    return np.sort(nested_order(y, 0)[:most])

"""Where the model fails: its surest errors, weak slices, likely label errors, and a map."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.feature_map import feature_map
from pipeline.evaluation.kinds import AnyScored, scored_of
from pipeline.evaluation.label_issues import METHOD, label_issues, label_set_issues
from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.learning_curve import nested_order
from pipeline.evaluation.metrics import Scored
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
from pipeline.evaluation.values import ScoredValues
from pipeline.heads.quick import quick_out_of_fold, quick_rows
from pipeline.pairs import joined
from pipeline.report.material import Json, Material, Rows, cut
from pipeline.report.scored import names_of
from pipeline.splitting import overlap_kinds

N_ERRORS = 20
N_NEAREST = 3
N_ISSUES = 20
N_MAP = 1_500
N_MAP_FIT = 5_000  # training rows that the axes are found from
MAP_TEXT_LIMIT = 120  # characters
NAME_LIMIT = 60  # characters of a column's name, or of a value in it
# What the classes of a map's discriminants are, where labels are no classes.
GROUPS: dict[type, str] = {
    Scored: "",
    ScoredLabels: "; the classes are the most frequent sets of labels",
    ScoredValues: "; the classes are quartiles of the value",
}
DIGITS = 4  # of a place on the map


def errors(material: Material) -> list[Json]:
    """Return the surest wrong answers, or the largest errors, with the training texts most like them."""
    scored, head = material.scored, material.head
    wrong = scored.most_wrong[:N_ERRORS]
    if not len(wrong):
        return []
    found = [
        {**row, **_answer(scored, i, head.classes)}
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


def _answer(scored: AnyScored, i: int, classes: list[str] | list[int]) -> Json:
    """Return the answer to a row, with its probability or its error."""
    if isinstance(scored, ScoredValues):
        return {
            "predicted": float(scored.values[i]),
            "error": float(scored.errors[i]),
        }
    if isinstance(scored, ScoredLabels):
        one = scored.take(np.array([i]))
        sure = np.where(one.predicted, one.proba, 1.0 - one.proba)[0]
        worst = int((sure * (one.predicted != one.y)[0]).argmax())
        return {
            "predicted": names_of(scored.predicted[i], classes),
            "probability": float(scored.surest_mistake[i]),
            "mistake": {
                "label": classes[worst],
                "is_answered": bool(scored.predicted[i, worst]),
            },
        }
    number = int(scored.predicted[i])
    return {
        "predicted": classes[number],
        "probability": float(scored.proba[i, number]),
    }


def slices(material: Material, max_length: int, column: str | None) -> list[Json]:
    """Return how well parts of the rows are answered: by length, cut, overlap, rare words, and values of a column."""
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
    return measure_slices(found, material.scored.row_scores, material.clusters)


def suspects(material: Material) -> Json | None:
    """Return training rows whose label is likely wrong; None where that cannot be said.

    Where rows are many, a stratified sample is looked at. Of numbers nothing is said.
    """
    y, classes = material.y_fit, material.head.classes
    if not classes:
        return None
    rows, proba = _out_of_fold(material)
    if proba is None:
        return None
    answered = scored_of(y[rows], proba)
    find = label_set_issues if isinstance(answered, ScoredLabels) else label_issues
    found = find(y[rows], proba)
    if found is None or answered.right is None:
        return None
    first = found[:N_ISSUES]
    described = material.described(material.fit[rows[first]])
    return {
        "n": len(found),
        "n_looked_at": len(rows),
        "error_rate": float((~answered.right).mean()),
        "method": METHOD,
        "rows": [
            {
                **row,
                "suggested": answer.pop("predicted"),
                **answer,
            }
            for row, answer in zip(
                described,
                (_answer(answered, i, classes) for i in first.tolist()),
                strict=True,
            )
        ],
    }


def _out_of_fold(material: Material) -> tuple[Rows, NDArray[np.float64] | None]:
    """Return training rows, by their positions in `fit`, and their probabilities from fits without their fold."""
    if material.held_out is not None:
        rows = np.flatnonzero(np.isfinite(material.held_out).all(axis=1))
        return rows, material.held_out[rows].astype(np.float64)
    y, k = material.y_fit, len(material.head.classes)
    rows = _sample(material.strata, quick_rows(y, k, material.features.dim))
    features = material.features.take(material.fit[rows])
    folds = material.folds[rows]
    return rows, quick_out_of_fold(features, y[rows], folds, material.head_spec, k)


def text_map(material: Material) -> Json | None:
    """Return places of the scored rows, or of a sample of them, on a plane; None where they are too few."""
    y = material.strata
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
    scored = material.scored.take(shown)
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
            *_placed(scored),
            strict=True,
        )
    ]
    groups = GROUPS[type(scored)]
    return {
        "method": f"{found['method']}{groups}",
        "points": points,
        "explained": found["explained"],
    }


def _placed(scored: AnyScored) -> tuple[list[Any], list[Any]]:  # Any: see below
    """Return truth and answer of each row: class numbers, lists of label numbers, or values."""
    if not isinstance(scored, ScoredLabels):
        return scored.y.tolist(), scored.predicted.tolist()
    truth, answers = (
        [np.flatnonzero(row).tolist() for row in rows] for rows in scored.indicators
    )
    return truth, answers


def _sample(y: Rows, most: int) -> Rows:
    """Return at most `most` rows, ascending, of each stratum its share."""
    return np.sort(nested_order(y, 0)[:most])

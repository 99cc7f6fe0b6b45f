"""Scores of several models added up, and the gate of a cascade."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads.blend import (
    RIDGE,
    blend_outputs,
    blend_with_terms,
    fit_blend,
    scores_of,
)
from pipeline.heads.fit import fit_task
from pipeline.heads.gate import choose_confidence
from pipeline.heads.head import Gate, Head, load_head, save_head
from pipeline.terms.model import outputs_of
from tests.test_heads_streaming import Rows

SPEC = HeadSpec(C=0.1)
TASKS = {"classification": 3, "multilabel": 2, "regression": 0}


def data(task, n=300, k=2):
    """Return features that know a half of the truth, scores that know the other half, and what is to be answered."""
    rng = np.random.default_rng(0)
    width = 1 if task == "regression" or k == 2 else k
    own, other = rng.normal(size=(2, n, width))
    truth = own + other
    features = np.hstack([own, rng.normal(size=(n, 4))]).astype(np.float32)
    if task == "regression":
        return features, other, truth[:, 0]
    if task == "multilabel":
        return features, 3 * other, truth > 0
    if k == 2:
        return features, 3 * other, (truth[:, 0] > 0).astype(np.int64)
    return features, 3 * other, truth.argmax(axis=1).astype(np.int64)


class Blended(NamedTuple):
    head: Head
    outputs: np.ndarray
    parts: dict[str, np.ndarray]
    y: np.ndarray
    folds: np.ndarray

    def gate(self, clusters, max_loss):
        """Return the gate of two classes, and what it promises."""
        args = self.parts, self.y
        terms_outputs = blend_outputs(*args, self.folds, 2, SPEC)
        level, facts = choose_confidence(
            terms_outputs, self.outputs, self.y, clusters, max_loss
        )
        return Gate(fit_blend(*args, 2, SPEC), level), facts


def blended(task, k):
    features, scores, targets = data(task, k=k)
    if task == "multilabel":
        scores, targets = (np.hstack([one] * 2) for one in (scores, targets))
    names = ["a", "b"]
    labels = targets
    if task == "multilabel":
        labels = np.empty(len(targets), dtype=object)
        labels[:] = [tuple(np.array(names)[row]) for row in targets]
    folds = (np.arange(len(labels)) % 5).astype(np.int8)
    head = fit_task(Rows(features), labels, SPEC, folds, task=task, names=names)
    noise = np.random.default_rng(1).normal(size=scores.shape)
    parts = {"words": scores, "characters": noise}
    whole, outputs = blend_with_terms(head, features, parts, targets, folds, spec=SPEC)
    columns = np.hstack([features, scores, noise]).astype(np.float32)
    found = Blended(whole, outputs, parts, targets, folds)
    return head, found, features, columns, targets


@pytest.mark.parametrize(
    ("task", "k"),
    [
        ("classification", 2),
        ("classification", 3),
        ("multilabel", 2),
        ("regression", 1),
    ],
)
def test_a_blend_knows_what_each_model_knows(tmp_path, task, k):
    plain, found, features, columns, targets = blended(task, k)

    weights = found.head.blend.weights
    assert list(weights) == ["encoder", "words", "characters"]
    assert weights["characters"] < 0.1 * weights["words"]
    assert found.head.n_terms == columns.shape[1] - features.shape[1]
    errors = [
        np.mean((head.decide(head.outputs(rows)) - 1.0 * targets) ** 2)
        for head, rows in ((plain, features), (found.head, columns))
    ]
    assert errors[1] < 0.5 * errors[0]
    assert found.outputs.shape == plain.outputs(features).shape
    save_head(found.head, tmp_path)
    assert (load_head(tmp_path).outputs(columns) == found.head.outputs(columns)).all()


@pytest.mark.parametrize("k", [2, 3])
def test_scores_and_outputs_are_inverse(k):
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(k), 20)
    y = np.zeros(20, dtype=np.int64)

    assert_allclose(outputs_of(scores_of(proba, y), y), proba, atol=1e-9)


def test_weights_are_those_of_least_log_loss():
    features, scores, y = data("classification")
    parts = {"one": features[:, :1].astype(np.float64), "two": scores}

    blend = fit_blend(parts, y, 2, SPEC)

    def loss(weights, bias):
        total = sum(w * s for w, s in zip(weights, parts.values(), strict=True)) + bias
        proba = outputs_of(total, y)
        penalty = RIDGE / 2 * sum(w**2 for w in weights) / len(y)
        return -np.log(proba[np.arange(len(y)), y]).mean() + penalty

    best = loss(list(blend.weights.values()), blend.bias[0])
    for step in (0.05, -0.05):
        assert (
            loss([blend.weights["one"] + step, blend.weights["two"]], blend.bias[0])
            > best
        )
        assert (
            loss([blend.weights["one"], blend.weights["two"] + step], blend.bias[0])
            > best
        )
        assert loss(list(blend.weights.values()), blend.bias[0] + step) > best


def test_a_model_that_errs_gets_no_weight():
    features, scores, y = data("classification")

    blend = fit_blend(
        {"good": scores, "wrong": -features[:, :1].astype(float)}, y, 2, SPEC
    )

    assert blend.weights["wrong"] == 0


def test_balanced_weights_count_in_the_blend_too():
    _, scores, y = data("classification")
    rows = np.flatnonzero((y == 1) | (np.arange(len(y)) % 5 == 0))

    plain, balanced = (
        fit_blend({"one": scores[rows]}, y[rows], 2, HeadSpec(class_weight=weight))
        for weight in ("none", "balanced")
    )

    assert balanced.bias[0] < plain.bias[0]


def test_models_cannot_be_weighed_on_two_folds():
    features, scores, y = data("classification")
    folds = (np.arange(len(y)) % 2).astype(np.int8)
    head = fit_task(Rows(features), y, SPEC, folds, task="classification")

    with pytest.raises(DataError, match="form 2 folds, expected three"):
        blend_with_terms(head, features, {"words": scores}, y, folds, spec=SPEC)


def test_a_gate_lets_sure_words_answer_and_keeps_its_promise():
    _, found, _, columns, y = blended("classification", 2)
    clusters = np.arange(len(y))

    losses = (0.001, 0.05, 1.1)
    gates = [found.gate(clusters, loss) for loss in losses]

    shares = [facts["share"] for _, facts in gates]
    assert 0 == shares[0] <= shares[1] <= shares[2] == 1.0
    for (_, facts), loss in zip(gates, losses, strict=True):
        assert facts["loss"] <= facts["upper"] <= loss
    gate, _ = gates[1]
    from dataclasses import replace

    head = replace(found.head, gate=gate)
    terms = columns[:, -head.n_terms :]
    is_open = head.needs_features(terms)
    unread = columns.copy()
    unread[~is_open, : -head.n_terms] = 0
    assert 0 < is_open.sum() < len(y)
    assert (head.outputs(unread) == head.outputs(columns)).all()
    assert (
        head.outputs(columns)[is_open] == found.head.outputs(columns)[is_open]
    ).all()


def test_rows_that_belong_together_count_as_one_for_a_gate():
    _, found, _, _, y = blended("classification", 2)

    alone, together = (
        found.gate(clusters, 0.05)[1]["share"]
        for clusters in (np.arange(len(y)), np.arange(len(y)) // 30)
    )

    assert 0 == together < alone

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import (
    f1_score,
    hamming_loss,
    jaccard_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from pipeline.evaluation import resampling
from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.histograms import score_histograms
from pipeline.evaluation.label_issues import label_set_issues
from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import differences, figures, measure, points
from pipeline.evaluation.per_class import per_class
from pipeline.evaluation.resampling import Clusters, wilson

METRICS = (
    *("f1_micro", "f1_macro", "jaccard", "subset_accuracy", "accuracy", "roc_auc"),
    *("roc_auc_micro", "roc_auc_micro_thresholded", "matthews", "log_loss"),
)
UNUSED = np.array([[True, False], [True, False], [False, False]])  # the second label


def system(n=150, k=4, *, seed=0):
    """Return labels and probabilities of some skill, many of them tied; each label is there and lacks somewhere."""
    generator = np.random.default_rng(seed)
    y = generator.random((n, k)) < np.linspace(0.2, 0.6, k)
    y[0], y[1] = True, False
    proba = (generator.integers(1, 8, (n, k)) + 4 * y) / 13
    return ScoredLabels(y, proba)


def reference(scored):
    y, said, proba = scored.y, scored.proba >= 0.5, scored.proba
    return {
        "f1_micro": f1_score(y, said, average="micro"),
        "f1_macro": f1_score(y, said, average="macro"),
        "jaccard": jaccard_score(y, said, average="samples", zero_division=1.0),
        "subset_accuracy": (y == said).all(axis=1).mean(),
        "accuracy": 1 - hamming_loss(y, said),
        "roc_auc": roc_auc_score(y, proba, average="macro"),
        "roc_auc_micro": roc_auc_score(y, proba, average="micro"),
        "roc_auc_micro_thresholded": roc_auc_score(y, said, average="micro"),
        "matthews": matthews_corrcoef(y.ravel(), said.ravel()),
        "log_loss": log_loss(y.ravel(), proba.ravel()),
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_that_of_scikit_learn(seed):
    scored = system(seed=seed)

    found = points(scored)

    assert tuple(found) == METRICS
    assert found == pytest.approx(reference(scored))


@given(
    st.tuples(st.integers(2, 12), st.integers(2, 4)).flatmap(
        lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
    )
)
@settings(deadline=None)
def test_metrics_of_any_answers_are_those_of_scikit_learn(drawn):
    y, said = drawn

    found = points(ScoredLabels(y, np.where(said, 0.9, 0.1)))

    occurs = (y | said).any(axis=0)
    if occurs.any():
        of_labels = f1_score(y, said, average=None, zero_division=0)
        assert found["f1_macro"] == pytest.approx(of_labels[occurs].mean())
        micro = f1_score(y, said, average="micro", zero_division=0)
        assert found["f1_micro"] == pytest.approx(micro)
    jaccard = jaccard_score(y, said, average="samples", zero_division=1.0)
    assert found["jaccard"] == pytest.approx(jaccard)
    if len(np.unique([y, said])) == 2:
        matthews = matthews_corrcoef(y.ravel(), said.ravel())
        assert found["matthews"] == pytest.approx(matthews)


def test_weights_count_rows_as_often_as_resamples_have_them():
    scored = system(40)
    drawn = np.random.default_rng(3).integers(0, 40, 40)
    weights = np.bincount(drawn, minlength=40)[None].astype(float)

    once = reference(ScoredLabels(scored.y[drawn], scored.proba[drawn]))

    for name, metric in scored.metrics.items():
        assert metric.of(weights)[0] == pytest.approx(once[name]), name


def test_micro_area_does_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    scored = system(40)
    whole = measure(scored, metrics=["roc_auc_micro"]).samples["roc_auc_micro"]

    monkeypatch.setattr("pipeline.evaluation.weighted.CHUNK_CELLS", 500)
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 900)

    np.testing.assert_array_equal(
        measure(scored, metrics=["roc_auc_micro"]).samples["roc_auc_micro"], whole
    )


def test_intervals_hold_the_value_and_subset_accuracy_has_wilsons():
    scored = system()
    found: Any = figures(measure(scored))

    for name in METRICS:
        low, high = found[name]["ci95"]
        assert low < found[name]["value"] < high
    share = found["subset_accuracy"]["value"]
    assert tuple(found["subset_accuracy"]["ci95"]) == pytest.approx(wilson(share, 150))


def test_differences_are_paired():
    ours = system()
    nearly = ours.proba.copy()
    nearly[:10] = 1 - nearly[:10]
    theirs = ScoredLabels(ours.y, nearly)

    found: Any = differences(measure(ours), measure(theirs))
    own: Any = figures(measure(ours))

    for name in METRICS:
        expected = reference(ours)[name] - reference(theirs)[name]
        assert found[name]["value"] == pytest.approx(expected)
    (low, high), (own_low, own_high) = (one["f1_micro"]["ci95"] for one in (found, own))
    assert high - low < own_high - own_low


def test_a_label_without_rows_is_left_out_of_macro_means():
    scored = ScoredLabels(UNUSED, np.array([[0.9, 0.2], [0.4, 0.3], [0.1, 0.1]]))

    found = points(scored)

    assert found["f1_macro"] == pytest.approx(2 / 3)
    assert found["roc_auc"] == 1.0


def test_rows_without_any_label_or_answer_have_no_f1_and_no_area_and_say_why():
    nothing = ScoredLabels(np.zeros((3, 2), dtype=bool), np.full((3, 2), 0.1))

    found: Any = figures(measure(nothing))

    for name in ("f1_micro", "f1_macro"):
        assert found[name]["value"] is None
        assert found[name]["reason"].startswith("no scored row has a label")
    for name in ("roc_auc", "roc_auc_micro", "roc_auc_micro_thresholded"):
        assert found[name]["value"] is None
        assert "others lack" in found[name]["reason"]


def test_two_empty_sets_are_equal():
    nothing = ScoredLabels(np.zeros((3, 2), dtype=bool), np.full((3, 2), 0.1))

    found = points(nothing)

    assert found["jaccard"] == found["subset_accuracy"] == found["accuracy"] == 1.0


def test_answers_that_were_decided_for_replace_those_of_one_half():
    scored = system()
    decided = ScoredLabels(scored.y, scored.proba, scored.y)

    found = points(decided)

    assert found["f1_micro"] == found["jaccard"] == 1.0
    assert found["roc_auc"] == points(scored)["roc_auc"]


def test_most_wrong_begins_with_the_surest_mistake():
    y = np.array([[True, False], [True, False], [False, True]])
    proba = np.array([[0.4, 0.1], [0.9, 0.2], [0.95, 0.6]])
    scored = ScoredLabels(y, proba)

    assert scored.most_wrong.tolist() == [2, 0]
    assert scored.surest_mistake == pytest.approx([0.6, 0.0, 0.95])


def test_labels_of_the_table_have_their_area():
    scored = ScoredLabels(UNUSED, np.array([[0.9, 0.2], [0.4, 0.3], [0.1, 0.1]]))

    first, second = per_class(scored, ["joy", "fear"])

    assert first == {
        "label": "joy",
        "n": 2,
        "predicted": 1,
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "roc_auc": 1.0,
    }
    assert [second[key] for key in ("precision", "recall", "f1", "roc_auc")] == [
        None
    ] * 4


def test_calibration_is_over_all_decisions():
    scored = system()

    found = calibration(scored, Clusters.of_rows(150))

    assert sum(one["n"] for one in found["bins"]) == 150 * 4
    confidence = np.maximum(scored.proba, 1 - scored.proba)
    right = (scored.proba >= 0.5) == scored.y
    gap = sum(
        one["n"] * abs(one["confidence"] - one["accuracy"]) for one in found["bins"]
    )
    assert found["ece"]["value"] == pytest.approx(gap / 600)
    weighted = sum(one["n"] * one["confidence"] for one in found["bins"])
    assert weighted == pytest.approx(confidence.sum())
    assert sum(one["n"] * one["accuracy"] for one in found["bins"]) == pytest.approx(
        right.sum()
    )


def test_histograms_tell_rows_with_a_label_from_rows_without():
    scored = system()

    found = score_histograms(scored, list("abcd"))

    assert [sum(one["counts"]) for one in found["groups"]] == [
        scored.y.sum(),
        (~scored.y).sum(),
    ]


def test_labels_that_never_vary_raise_no_doubts():
    generator = np.random.default_rng(0)
    y = generator.random((60, 3)) < 0.5
    proba = np.where(y, 0.9, 0.1)
    proba[5, 0] = 1 - proba[5, 0]
    expected = label_set_issues(y, proba)
    always = np.ones((60, 1))

    found = label_set_issues(np.hstack([y, always > 0]), np.hstack([proba, always]))

    assert found.tolist() == expected.tolist() == [5]

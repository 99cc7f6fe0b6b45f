"""Calibration, thresholds and distributions of probabilities."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.histograms import score_histograms
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.resampling import Clusters
from pipeline.evaluation.thresholds import thresholds


def of_two(y, positive):
    positive = np.asarray(positive)
    return Scored(np.asarray(y), np.stack([1 - positive, positive], axis=1))


def drawn(n, seed=0, sharpness=1.0):
    """Return probabilities, and labels that are drawn with them; more sharpness: too sure."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1.5, n)
    y = (generator.random(n) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    return of_two(y, 1 / (1 + np.exp(-sharpness * logits)))


def points_of(scored):
    return thresholds(scored, ["neg", "pos"])


def calibrated(scored):
    return calibration(scored, Clusters.of_rows(len(scored.y)))


def test_ece_by_hand():
    # confidences 0.96 and 0.98, one of two right; 0.62, right
    found = calibrated(of_two([1, 0, 1], [0.96, 0.98, 0.62]))

    assert found["ece"]["value"] == pytest.approx(((1.94 - 1) + (1 - 0.62)) / 3)
    low, high = found["bins"]
    assert (low["n"], low["accuracy"], low["confidence"]) == (1, 1.0, 0.62)
    assert (high["n"], high["accuracy"]) == (2, 0.5)
    assert (high["low"], high["high"]) == pytest.approx((0.95, 1.0))


def test_ece_of_answers_as_sure_as_they_are_right_is_not_told_from_zero():
    low, high = calibrated(drawn(4_000))["ece"]["ci95"]

    assert low == 0.0
    assert high < 0.04


def test_ece_of_answers_that_are_too_sure_is():
    low, high = calibrated(drawn(4_000, sharpness=3.0))["ece"]["ci95"]

    assert 0.05 < low < high < 0.2


def test_ece_lies_in_its_interval_also_for_three_rows():
    ece = calibrated(of_two([1, 0, 1], [0.9, 0.8, 0.7]))["ece"]

    assert ece["ci95"][0] <= ece["value"] <= ece["ci95"][1]


def test_ece_interval_is_wider_where_rows_belong_together():
    scored = drawn(600, sharpness=3.0)
    alone = calibration(scored, Clusters.of_rows(600))["ece"]["ci95"]

    found = calibration(scored, Clusters(np.arange(600) // 20, 30))["ece"]["ci95"]

    assert found != alone


def test_a_label_that_no_training_row_has_counts_as_wrong():
    found = calibrated(of_two([-1, 1], [0.9, 0.9]))

    assert found["bins"][0]["accuracy"] == 0.5


def test_bins_of_many_classes_begin_at_their_equal_share():
    scored = Scored(np.array([0, 1]), np.full((2, 4), 0.25))

    (only,) = calibrated(scored)["bins"]

    assert only["low"] == 0.25
    assert only["confidence"] == 0.25


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.9])
def test_thresholds_give_the_figures_of_scikit_learn(threshold):
    scored = drawn(300)

    found = points_of(scored)

    said = scored.proba[:, 1] >= threshold
    (point,) = [p for p in found["points"] if p["threshold"] == threshold]
    assert point["precision"] == pytest.approx(precision_score(scored.y, said))
    assert point["recall"] == pytest.approx(recall_score(scored.y, said))
    assert point["f1"] == pytest.approx(f1_score(scored.y, said))
    assert point["accuracy"] == pytest.approx((said == scored.y).mean())
    assert point["share_positive"] == pytest.approx(said.mean())


def test_thresholds_run_from_all_positive_to_hardly_any():
    found = points_of(drawn(300))

    assert found["positive"] == "pos"
    assert len(found["points"]) == 101
    first, last = found["points"][0], found["points"][-1]
    assert (first["threshold"], first["recall"], first["share_positive"]) == (0, 1, 1)
    assert (last["threshold"], last["precision"], last["recall"]) == (1, None, 0)


def test_thresholds_without_a_positive_row_have_no_recall():
    found = points_of(of_two([0, 0], [0.2, 0.4]))

    assert found["points"][0]["recall"] is None
    assert found["points"][0]["precision"] == 0.0


def test_thresholds_are_for_two_classes():
    scored = Scored(np.array([0, 1, 2]), np.eye(3))

    assert thresholds(scored, ["a", "b", "c"]) is None


def test_an_unknown_label_is_wrong_at_every_threshold():
    found = points_of(of_two([-1], [0.5]))

    assert {point["accuracy"] for point in found["points"]} == {0.0}


def test_histograms_of_two_classes_are_by_true_class():
    found = score_histograms(of_two([0, 0, 1, -1], [0.01, 0.51, 1.0, 0.5]), ["n", "p"])

    assert found["of"] == "probability of p"
    neg, pos = found["groups"]
    assert (neg["name"], pos["name"]) == ("n", "p")
    assert [i for i, count in enumerate(neg["counts"]) if count] == [0, 10]
    assert pos["counts"][19] == 1
    assert sum(neg["counts"] + pos["counts"]) == 3


def test_histograms_of_many_classes_part_right_and_wrong_answers():
    scored = Scored(np.array([0, 1]), np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1]]))

    found = score_histograms(scored, ["a", "b", "c"])

    right, wrong = found["groups"]
    assert (right["name"], right["counts"][16]) == ("right", 1)
    assert (wrong["name"], wrong["counts"][12]) == ("wrong", 1)
    assert found["edges"][:3] == [0.0, 0.05, 0.1]


def test_thresholds_do_not_make_calibrated_probabilities_look_miscalibrated():
    random = np.random.default_rng(0)
    score = random.random(4_000)
    y = (random.random(4_000) < score).astype(np.int64)
    proba = np.column_stack([1 - score, score])
    by_threshold = Scored(y, proba, (score > 0.1).astype(np.int64))

    found = calibration(by_threshold, Clusters.of_rows(4_000))

    assert found == calibration(Scored(y, proba), Clusters.of_rows(4_000))
    assert found["ece"]["ci95"][0] == 0

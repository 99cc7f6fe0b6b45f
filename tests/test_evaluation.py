import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)

from pipeline.datasets import pins
from pipeline.datasets.targets import class_numbers
from pipeline.evaluation import baselines, resampling
from pipeline.evaluation.metrics import (
    Scored,
    confusion,
    differences,
    figures,
    measure,
)
from pipeline.evaluation.published import published_figures
from pipeline.evaluation.resampling import wilson
from pipeline.terms import model
from pipeline.terms.model import shares

# One right and sure, one right and unsure, one wrong and sure, one wrong; two classes.
BY_HAND = Scored(
    np.array([0, 1, 1, 0]),
    np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]]),
)

METRICS = tuple(BY_HAND.metrics)


def system(n_classes, n=200, *, seed=0, skill=2):
    """Return a system of some skill, with few distinct probabilities and so many ties."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n)
    counts = generator.integers(1, 4, size=(n, n_classes)).astype(np.float64)
    counts[np.arange(n), y] += generator.integers(0, skill + 1, n)
    return Scored(y, counts / counts.sum(axis=1, keepdims=True))


def reference(scored):
    y, proba = scored.y, scored.proba
    score = proba[:, 1] if proba.shape[1] == 2 else proba
    predicted = proba.argmax(axis=1)
    return {
        "accuracy": accuracy_score(y, predicted),
        "f1_macro": f1_score(y, predicted, average="macro"),
        "roc_auc": roc_auc_score(y, score, multi_class="ovr", average="macro"),
        "log_loss": log_loss(y, proba),
        "matthews": matthews_corrcoef(y, predicted),
    }


def bounds(figure):
    low, high = figure["ci95"]
    return low, high


def width(figure):
    low, high = bounds(figure)
    return high - low


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("n_classes", [2, 4])
def test_every_metric_is_that_of_scikit_learn(n_classes, seed):
    scored = system(n_classes, seed=seed)

    measured = measure(scored)

    assert measured.point == pytest.approx(reference(scored))


def test_every_metric_of_four_rows_by_hand():
    measured = measure(BY_HAND)

    assert measured.point["accuracy"] == 0.5
    assert measured.point["f1_macro"] == 0.5  # each class: one hit, one miss, one false
    assert measured.point["roc_auc"] == 0.5  # 0.6 and 0.2 against 0.1 and 0.7
    assert measured.point["log_loss"] == pytest.approx(
        -(math.log(0.9) + math.log(0.6) + math.log(0.2) + math.log(0.3)) / 4
    )


def test_f1_macro_leaves_out_classes_that_neither_occur_nor_are_predicted():
    scored = Scored(np.array([0, 1]), np.array([[0.9, 0.1, 0.0], [0.7, 0.3, 0.0]]))

    f1 = measure(scored).point["f1_macro"]

    assert f1 == pytest.approx((2 / 3 + 0) / 2)


def test_roc_auc_of_many_classes_leaves_out_those_that_do_not_occur():
    scored = system(3)
    with_a_fourth = Scored(scored.y, np.hstack([scored.proba, np.zeros((200, 1))]))

    assert measure(with_a_fourth).point["roc_auc"] == measure(scored).point["roc_auc"]


def test_log_loss_of_a_sure_wrong_answer_is_finite():
    scored = Scored(np.array([0, 1]), np.array([[0.0, 1.0], [0.0, 1.0]]))

    loss = measure(scored).point["log_loss"]

    assert loss == pytest.approx(-math.log(1e-15) / 2)


@pytest.mark.parametrize(
    ("share", "n", "low", "high"),
    [(0.824, 500, 0.788, 0.855), (0.0, 10, 0.0, 0.278), (1.0, 10, 0.722, 1.0)],
)
def test_wilson_interval_by_hand(share, n, low, high):
    assert wilson(share, n) == pytest.approx((low, high), abs=5e-4)


@given(
    st.integers(1, 2_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
)
@settings(deadline=None)
def test_wilson_interval_contains_the_share(counts):
    hits, n = counts

    low, high = wilson(hits / n, n)

    assert 0.0 <= low <= hits / n + 1e-12
    assert hits / n - 1e-12 <= high <= 1.0


@pytest.mark.parametrize("n_classes", [2, 4])
def test_figures_lie_in_their_intervals(n_classes):
    found = figures(measure(system(n_classes)))

    for name in METRICS:
        low, high = bounds(found[name])
        assert low < found[name]["value"] < high


def test_accuracy_has_the_wilson_interval():
    scored = system(2)

    figure = figures(measure(scored))["accuracy"]

    expected = wilson(reference(scored)["accuracy"], 200)
    assert bounds(figure) == pytest.approx(expected)


def test_log_loss_has_the_interval_of_a_plain_bootstrap():
    scored = system(2)
    losses = -np.log(scored.proba[np.arange(200), scored.y])
    drawn = np.random.default_rng(1).integers(0, 200, (5_000, 200))
    expected = np.percentile(losses[drawn].mean(axis=1), [2.5, 97.5])

    figure = figures(measure(scored))["log_loss"]

    assert bounds(figure) == pytest.approx(expected, abs=0.05 * width(figure))


@pytest.mark.parametrize("name", ["f1_macro", "roc_auc"])
def test_resampled_figures_spread_like_those_of_a_plain_bootstrap(name):
    scored, generator = system(2), np.random.default_rng(1)
    drawn = [generator.integers(0, 200, 200) for _ in range(60)]
    expected = [reference(Scored(scored.y[i], scored.proba[i]))[name] for i in drawn]

    samples = measure(scored).samples[name]

    assert samples.std() == pytest.approx(np.std(expected), rel=0.3)
    assert samples.mean() == pytest.approx(np.mean(expected), abs=0.5 * samples.std())


def test_intervals_are_the_same_twice():
    scored = system(4)

    assert figures(measure(scored)) == figures(measure(scored))


def test_intervals_do_not_depend_on_how_many_resamples_are_held_at_once(monkeypatch):
    scored = system(4)
    at_once = figures(measure(scored))
    monkeypatch.setattr(resampling, "CHUNK_CELLS", 7 * 200)

    in_parts = figures(measure(scored))

    assert in_parts == at_once


@pytest.mark.parametrize("name", METRICS)
def test_intervals_halve_with_four_times_the_rows(name):
    scored = system(4)
    larger = Scored(np.tile(scored.y, 4), np.tile(scored.proba, (4, 1)))

    ratio = width(figures(measure(larger))[name]) / width(
        figures(measure(scored))[name]
    )

    assert ratio == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("label", [0, 1])
def test_a_test_set_of_one_class_has_no_roc_auc_and_says_why(label):
    scored = Scored(np.full(4, label), BY_HAND.proba)

    found = figures(measure(scored))

    assert found["roc_auc"] == {
        "value": None,
        "ci95": None,
        "n": 4,
        "reason": "the scored rows have fewer than two known classes",
    }


def test_a_test_set_of_one_class_leaves_no_other_figure_undefined():
    scored = Scored(np.zeros(4, dtype=np.int64), BY_HAND.proba)

    found = figures(measure(scored))

    for name in ("accuracy", "f1_macro", "log_loss"):
        low, high = bounds(found[name])
        assert not any(map(math.isnan, (found[name]["value"], low, high)))


def test_a_difference_of_undefined_figures_is_undefined():
    one_class = measure(Scored(np.zeros(4, dtype=np.int64), BY_HAND.proba))

    found = differences(one_class, one_class)

    assert found["roc_auc"]["value"] is None
    assert found["accuracy"]["value"] == 0.0


def test_a_figure_that_few_resamples_define_has_an_interval_without_nan():
    two_rows = Scored(np.array([0, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))

    figure = figures(measure(two_rows))["roc_auc"]

    assert figure == {"value": 1.0, "ci95": list(wilson(1.0, 2)), "n": 2}


def test_one_row_gives_no_certainty():
    right = Scored(np.array([1]), np.array([[0.1, 0.9]]))
    wrong = Scored(np.array([1]), np.array([[0.9, 0.1]]))
    ours, theirs = measure(right), measure(wrong)

    found: Any = differences(ours, theirs)

    assert figures(ours)["f1_macro"]["ci95"] == list(wilson(1.0, 1))
    assert figures(ours)["log_loss"]["ci95"] is None
    assert found["accuracy"]["value"] == 1.0
    assert found["accuracy"]["ci95"][0] < 0.0
    assert found["f1_macro"]["ci95"][0] < 0.0
    assert found["log_loss"]["ci95"] is None


def with_unknown_labels(scored, n=50):
    """Return `scored` with further rows whose label no training row has, between the others."""
    y = np.append(scored.y, np.full(n, -1))
    proba = np.vstack([scored.proba, scored.proba[:n]])
    order = np.random.default_rng(0).permutation(len(y))
    return Scored(y[order], proba[order])


@pytest.mark.parametrize("n_classes", [2, 4])
def test_rows_with_an_unknown_label_count_as_wrong_in_accuracy(n_classes):
    scored = system(n_classes)

    figure = figures(measure(with_unknown_labels(scored)))["accuracy"]

    assert figure["value"] == pytest.approx(reference(scored)["accuracy"] * 200 / 250)
    assert figure["n"] == 250


@pytest.mark.parametrize("name", ["roc_auc", "log_loss"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_rows_with_an_unknown_label_are_left_out_of(name, n_classes):
    scored = system(n_classes)

    figure = figures(measure(with_unknown_labels(scored)))[name]

    assert figure["value"] == pytest.approx(reference(scored)[name])
    assert figure["n"] == 200


def test_predictions_for_rows_with_an_unknown_label_lower_f1_macro():
    y, proba = np.array([0, 1, -1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]])

    f1 = measure(Scored(y, proba)).point["f1_macro"]

    assert f1 == pytest.approx((2 / 3 + 1) / 2)  # class 0: one hit, one false


def test_rows_that_all_have_unknown_labels_have_accuracy_zero_and_no_log_loss():
    scored = Scored(np.full(4, -1), BY_HAND.proba)

    found = figures(measure(scored))

    assert found["accuracy"]["value"] == 0.0
    assert [found[name]["value"] for name in ("roc_auc", "log_loss")] == [None, None]


def test_equal_systems_differ_by_exactly_nothing():
    ours, theirs = measure(system(4)), measure(system(4))

    found: Any = differences(ours, theirs)

    for name in METRICS[1:]:
        assert (found[name]["value"], found[name]["ci95"]) == (0.0, [0.0, 0.0])
    low, high = found["accuracy"]["ci95"]
    assert found["accuracy"]["value"] == 0.0
    assert -0.04 < low < 0.0 < high < 0.04  # other rows may part them


def test_differences_are_ours_minus_theirs():
    ours, theirs = system(2), Scored(system(2).y, system(2, seed=5, skill=0).proba)

    found = differences(measure(ours), measure(theirs))

    for name in METRICS:
        assert found[name]["value"] == pytest.approx(
            reference(ours)[name] - reference(theirs)[name]
        )
        low, high = bounds(found[name])
        assert low < found[name]["value"] < high


@pytest.mark.parametrize("name", METRICS)
def test_the_difference_of_similar_systems_is_surer_than_of_unpaired_ones(name):
    ours = system(2)
    proba = ours.proba.copy()
    proba[:10] = proba[:10, ::-1]  # the same answers but for ten rows
    theirs = Scored(ours.y, proba)

    paired = differences(measure(ours), measure(theirs))[name]

    widths = [width(figures(measure(scored))[name]) for scored in (ours, theirs)]
    assert width(paired) < 0.6 * math.hypot(*widths)


def test_confusion_counts_by_hand():
    scored = Scored(np.array([0, 0, 1, 2, 2, -1]), np.eye(3)[[0, 1, 1, 0, 2, 2]])

    assert confusion(scored) == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_confusion_is_that_of_scikit_learn():
    scored = system(4)

    expected = confusion_matrix(scored.y, scored.proba.argmax(axis=1))
    assert confusion(scored) == expected.tolist()


def test_most_confident_errors_come_surest_first():
    scored = Scored(
        np.array([0, 1, 1, 0, -1, 1]),
        np.array(
            [[0.4, 0.6], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.0, 1.0], [0.7, 0.3]]
        ),
    )

    errors = scored.most_wrong[:4]

    assert errors.tolist() == [4, 1, 3, 5]  # an unknown label is an error; 1 = 3


def test_most_confident_errors_of_a_perfect_system_are_none():
    scored = Scored(np.array([0, 1]), np.eye(2))

    assert scored.most_wrong[:20].tolist() == []


def tfidf_proba(texts, labels, classes, test_texts):
    """Return what TF-IDF answers, and what was fitted."""
    targets = class_numbers(labels, classes)
    found, facts = baselines.baselines(texts, targets, len(classes), test_texts)
    return found["tfidf_logreg"], facts["tfidf_logreg"]


def test_majority_gives_every_row_the_training_shares():
    found, _ = baselines.baselines(
        ["a b", "c", "d", "e"], np.array([1, 0, 1, 1]), 2, ["a", "b"]
    )

    assert found["majority"].tolist() == [[0.25, 0.75], [0.25, 0.75]]


@pytest.mark.parametrize("n_classes", [2, 4])
def test_majority_has_a_roc_auc_of_one_half(n_classes):
    y = system(n_classes).y
    proba = np.tile(shares(y, n_classes), (200, 1))

    assert figures(measure(Scored(y, proba)))["roc_auc"]["value"] == 0.5


def test_majority_of_several_labels_a_row_gives_each_its_share():
    targets = np.array([[1, 0], [1, 1], [0, 0], [1, 0]], dtype=bool)

    found, _ = baselines.baselines(["a b", "c", "d", "e"], targets, 2, ["a"])

    assert found["majority"].tolist() == [[0.75, 0.25]]


def test_tfidf_of_several_labels_learns_each_by_itself():
    texts = ["red big", "red small", "blue big", "blue small"] * 3
    targets = np.array([[1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1]] * 3, dtype=bool)

    found, facts = baselines.baselines(texts, targets, 3, ["red big", "blue small"])

    proba = found["tfidf_logreg"]
    assert (proba > 0.5).tolist() == [[True, True, True], [False, False, True]]
    assert proba[:, 2] == pytest.approx(12.5 / 13)  # that all have: nearly its share
    assert facts["tfidf_logreg"]["converged"]


def test_baselines_of_numbers_are_the_mean_and_ridge_regression():
    texts = ["red big", "red small", "blue big", "blue small"]
    values = np.array([3.0, 2.0, 1.0, 0.0])

    found, facts = baselines.baselines(texts, values, 0, ["red", "blue"])

    assert found["mean"].tolist() == [[1.5], [1.5]]
    red, blue = found["tfidf_ridge"][:, 0]
    assert red > 1.5 > blue
    assert facts == {"tfidf_ridge": {"terms": 8, "converged": True, "alpha": 1.0}}


POLAR = ["good film", "GOOD plot", "bad film", "bad plot"]
POLES = np.array(["pos", "pos", "neg", "neg"], dtype=object)


def test_tfidf_learns_which_words_tell_the_classes_apart():
    proba, facts = tfidf_proba(
        POLAR, POLES, ["neg", "pos"], ["a good story", "one bad story"]
    )

    assert proba.argmax(axis=1).tolist() == [1, 0]
    assert proba.sum(axis=1) == pytest.approx(1.0)
    assert facts == {"terms": 8, "converged": True, "C": 10.0}  # four words, four pairs


def test_tfidf_columns_are_in_the_order_of_the_classes():
    sorted_, _ = tfidf_proba(POLAR, POLES, ["neg", "pos"], ["good"])

    reverse, _ = tfidf_proba(POLAR, POLES, ["pos", "neg"], ["good"])

    assert reverse == pytest.approx(sorted_[:, ::-1], abs=1e-4)


def test_tfidf_takes_each_chinese_character_as_a_word():
    texts = ["很好", "好看", "很差", "差看"]

    proba, facts = tfidf_proba(texts, POLES, ["neg", "pos"], ["我说好", "差了"])

    assert proba.argmax(axis=1).tolist() == [1, 0]
    assert facts["terms"] == 8  # 很 好 看 差, and the four texts as pairs


def test_tfidf_takes_one_letter_words_and_digits():
    texts = ["a 1", "a 1", "b 2", "b 2"]

    proba, _ = tfidf_proba(texts, POLES, ["neg", "pos"], ["a", "2"])

    assert proba.argmax(axis=1).tolist() == [1, 0]


def test_tfidf_of_training_texts_without_words_is_the_majority():
    labels = np.array(["pos", "pos", "pos", "neg"], dtype=object)

    proba, facts = tfidf_proba(["!", "?", "", "…"], labels, ["neg", "pos"], ["good"])

    assert proba.tolist() == [[0.25, 0.75]]
    assert facts["terms"] == 0


def test_tfidf_gives_a_scored_text_without_known_words_the_shares():
    proba, _ = tfidf_proba(POLAR, POLES, ["neg", "pos"], ["", "?!", "unseen"])

    assert proba == pytest.approx(np.full((3, 2), 0.5), abs=1e-3)


def test_tfidf_records_that_the_solver_did_not_converge(monkeypatch):
    monkeypatch.setattr(model, "MAX_ITER", 1)

    _, facts = tfidf_proba(POLAR, POLES, ["neg", "pos"], ["good"])

    assert facts["converged"] is False


def test_published_figures_of_the_tutorial_are_known_by_its_digest():
    found = published_figures(
        {"files": {"train": pins.TUTORIAL_SHA256}, "formats": {"train": "tsv"}}
    )

    assert [figure.value for figure in found] == [0.824, 0.8413, 0.844, 0.913]
    assert all(figure.source for figure in found)


def test_published_figures_of_sst2_are_known_by_its_commit():
    found = published_figures({"hub": pins.SST2_REPO, "commit": pins.SST2_COMMIT})

    assert [figure.value for figure in found] == [0.913]


@pytest.mark.parametrize(
    "identity",
    [
        {},
        {"files": {"train": "0" * 64}},
        {"files": {"train": "0" * 64, "test": pins.TUTORIAL_SHA256}},
        {"hub": pins.SST2_REPO, "commit": "0" * 40},
    ],
)
def test_published_figures_of_other_data_are_none(identity):
    assert published_figures(identity) == []


def paired(both, ours, theirs, neither):
    """Return which rows two systems have right: so many both, ours alone, theirs alone, neither."""
    first = [True] * (both + ours) + [False] * (theirs + neither)
    second = [True] * both + [False] * ours + [True] * theirs + [False] * neither
    return np.array(first), np.array(second)


def test_paired_interval_is_newcombes():
    # method 10 of the paper, its example of 36, 12, 2 and 0 pairs
    ours, theirs = paired(36, 12, 2, 0)

    found = resampling.paired_interval(ours, theirs, 50)

    assert found == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_paired_interval_of_few_rows_holds_the_truth():
    generator = np.random.default_rng(0)
    cells = np.array([0.78, 0.12, 0.04, 0.06])
    held = 0
    for counts in generator.multinomial(20, cells, size=2_000):
        ours, theirs = paired(*counts)
        low, high = resampling.paired_interval(ours, theirs, 20)
        held += low <= 0.12 - 0.04 <= high

    assert held >= 0.945 * 2_000

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import pearsonr, spearmanr, t
from sklearn.metrics import mean_absolute_error, r2_score

from pipeline.evaluation.metrics import RowScores, differences, figures, measure, points
from pipeline.evaluation.resampling import Clusters, mean_interval
from pipeline.evaluation.residuals import MOST_POINTS, residuals
from pipeline.evaluation.slices import Slice, measure_slices
from pipeline.evaluation.values import ScoredValues

METRICS = ("pearson", "spearman", "r2", "mae")


def system(n=200, *, noise=1.0, seed=0):
    """Return values with ties, and answers near them."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 6, n) * 1.0
    return ScoredValues(y, y + noise * generator.normal(0, 1, n).round(1))


def reference(scored):
    return {
        "pearson": pearsonr(scored.y, scored.values).statistic,
        "spearman": spearmanr(scored.y, scored.values).statistic,
        "r2": r2_score(scored.y, scored.values),
        "mae": mean_absolute_error(scored.y, scored.values),
    }


@pytest.mark.parametrize("seed", range(4))
def test_every_metric_is_that_of_scipy_and_scikit_learn(seed):
    scored = system(seed=seed)

    found = points(scored)

    assert tuple(found) == METRICS
    assert found == pytest.approx(reference(scored))


@given(
    arrays(np.float64, 20, elements=st.integers(-50, 50).map(float)),
    arrays(np.float64, 20, elements=st.integers(-50, 50).map(float)),
    st.integers(-(10**6), 10**6),
)
@settings(deadline=None)
def test_any_values_have_the_metrics_of_scipy_wherever_zero_is(y, values, shift):
    scored = ScoredValues(y + shift, values + shift)

    found = points(scored)

    for name in ("pearson", "spearman"):
        if np.ptp(y) and np.ptp(values):
            expected = reference(ScoredValues(y, values))[name]
            assert found[name] == pytest.approx(expected, abs=1e-9)
        else:
            assert np.isnan(found[name])


def test_weights_count_rows_as_often_as_resamples_have_them():
    scored = system(40)
    drawn = np.random.default_rng(3).integers(0, 40, 40)
    weights = np.bincount(drawn, minlength=40)[None].astype(float)

    once = reference(scored.take(drawn))

    for name, metric in scored.metrics.items():
        assert metric.of(weights)[0] == pytest.approx(once[name]), name


def test_intervals_hold_the_value_and_are_about_those_of_fisher():
    scored = system()
    found: Any = figures(measure(scored))

    for name in METRICS:
        low, high = found[name]["ci95"]
        assert low < found[name]["value"] < high
    fisher = pearsonr(scored.y, scored.values).confidence_interval(0.95)
    assert tuple(found["pearson"]["ci95"]) == pytest.approx(tuple(fisher), abs=0.01)


def test_answers_that_are_all_the_same_have_no_correlation_and_say_why():
    found: Any = figures(measure(ScoredValues(np.arange(30.0), np.full(30, 0.1))))

    for name in ("pearson", "spearman"):
        assert (found[name]["value"], found[name]["ci95"]) == (None, None)
        assert found[name]["reason"] == "the answers or the true values do not vary"
    assert found["r2"]["value"] < 0


def test_true_values_that_are_all_the_same_leave_the_error_alone():
    found: Any = figures(measure(ScoredValues(np.full(30, 0.1), np.arange(30.0))))

    assert [name for name in METRICS if found[name]["value"] is None] == [
        *("pearson", "spearman", "r2")
    ]
    assert found["mae"]["value"] == pytest.approx(np.abs(np.arange(30) - 0.1).mean())


def test_perfect_answers_to_few_rows_are_no_certainty():
    y = np.arange(5.0)

    found: Any = figures(measure(ScoredValues(y, y)))

    low, high = found["pearson"]["ci95"]
    assert (found["pearson"]["value"], high) == (pytest.approx(1.0), pytest.approx(1.0))
    assert low < 0.5


def test_differences_are_ours_minus_theirs_and_paired():
    ours, theirs = system(), system(noise=2.0)

    found: Any = differences(measure(ours), measure(theirs))

    for name in METRICS:
        expected = reference(ours)[name] - reference(theirs)[name]
        assert found[name]["value"] == pytest.approx(expected)
    assert found["pearson"]["ci95"][0] > 0 > found["mae"]["ci95"][1]


def test_a_difference_to_constant_answers_says_why_there_is_none():
    ours = system()
    mean = ScoredValues(ours.y, np.full(200, ours.y.mean()))

    found: Any = differences(measure(ours), measure(mean))

    assert found["pearson"]["value"] is None
    assert found["pearson"]["reason"].endswith("do not vary")
    assert found["r2"]["ci95"][0] > 0


def test_answers_that_differ_by_rounding_differ_by_nothing():
    ours = system()
    theirs = ScoredValues(ours.y, (ours.values + 0.3) * 7)

    found: Any = differences(measure(ours), measure(theirs))

    assert found["pearson"]["ci95"] == [0.0, 0.0]


def test_the_interval_of_a_mean_is_students():
    values = np.random.default_rng(0).normal(3, 1, 12)

    found = mean_interval(values, Clusters.of_rows(12), (-9, 9))

    error = values.std(ddof=1) / np.sqrt(12)
    assert found == pytest.approx(t.interval(0.95, 11, values.mean(), error))


def test_the_interval_of_a_mean_is_over_clusters():
    values = np.random.default_rng(0).normal(3, 1, 30)
    tripled, of = np.repeat(values, 3), np.repeat(np.arange(30), 3)

    found = mean_interval(tripled, Clusters(of, 30), (-9, 9))

    assert found == pytest.approx(mean_interval(values, Clusters.of_rows(30), (-9, 9)))


def test_a_mean_of_a_single_cluster_may_be_anything_near():
    low, high = mean_interval(np.full(3, 0.5), Clusters(np.zeros(3, int), 1), (0, 1))

    assert low < 0.1
    assert high > 0.9


def test_a_slice_with_larger_errors_is_weak():
    errors = np.random.default_rng(0).random(200)
    rows = np.arange(200) < 60
    errors[rows] += 1.0

    found, rest = measure_slices(
        [Slice("a group", "in", rows), Slice("a group", "out", ~rows)],
        RowScores("mae", "mean absolute error", errors, is_error=True),
        Clusters.of_rows(200),
    )

    assert found["mae"]["value"] == pytest.approx(errors[rows].mean())
    assert found["difference"]["value"] > 0.8
    assert (found["is_weak"], rest["is_weak"]) == (True, False)


def test_most_wrong_begins_with_the_largest_error():
    scored = ScoredValues(np.array([1.0, 2.0, 3.0]), np.array([1.5, 2.0, 1.0]))

    assert scored.most_wrong.tolist() == [2, 0, 1]


def test_residuals_are_told_row_by_row_and_in_tenths():
    scored = system(500)

    found = residuals(scored, Clusters.of_rows(500))

    assert not found["is_binned"]
    assert len(found["points"]) == 500
    assert sum(one["n"] for one in found["residuals"]) == 500
    weighted = sum(one["n"] * one["error"]["value"] for one in found["residuals"])
    assert weighted == pytest.approx(scored.errors.sum())
    answers = [one["answer"] for one in found["residuals"]]
    assert answers == sorted(answers)


def test_many_rows_are_shown_in_cells():
    scored = system(MOST_POINTS + 1)

    found = residuals(scored, Clusters.of_rows(len(scored)))

    assert found["is_binned"]
    assert sum(one["n"] for one in found["points"]) == len(scored)
    assert len(found["points"]) < 1_000


def test_an_interval_of_a_mean_of_another_level_has_that_level_s_quantile():
    values = np.random.default_rng(0).normal(size=6)

    low, high = mean_interval(values, Clusters.of_rows(6), (-99, 99), 0.005)

    assert (low, high) == pytest.approx(
        t.interval(0.995, 5, values.mean(), values.std(ddof=1) / 6**0.5)
    )

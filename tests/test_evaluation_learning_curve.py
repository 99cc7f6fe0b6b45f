import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evaluation.learning_curve import (
    N_SEEDS,
    fit_power_law,
    learning_curve,
    nested_order,
    subset_sizes,
)
from pipeline.evaluation.metrics import RowScores
from pipeline.evaluation.resampling import Clusters

Y = np.array([0] * 600 + [1] * 200)
SIZES = [100, 200, 400, 800]


def answers(accuracy_of, m=2_000):
    """Return a double of fitting: rows are right as often as `accuracy_of` says for so many labels."""
    draws = np.random.default_rng(0).random(m)
    return lambda rows: scores(draws < accuracy_of(len(rows)))


def scores(right):
    return RowScores("accuracy", "accuracy", right)


def curve(accuracy_of, sizes=SIZES):
    return curve_of(answers(accuracy_of), 2_000, sizes)


def curve_of(fit_and_score, m, sizes=SIZES):
    return learning_curve(Y, sizes, fit_and_score, Clusters.of_rows(m))


def test_sizes_are_halves_down_to_ten_rows_a_class():
    assert subset_sizes(6_920, 2, 50_000) == [216, 432, 865, 1_730, 3_460, 6_920]
    assert subset_sizes(160, 2, 50_000) == [20, 40, 80, 160]
    assert subset_sizes(9_000, 77, 50_000) == [1_125, 2_250, 4_500, 9_000]


def test_sizes_end_where_fits_take_long():
    assert subset_sizes(1_000_000, 2, 4_000)[-1] == 4_000


@pytest.mark.parametrize(("n", "k"), [(79, 2), (30, 2), (3_000, 77)])
def test_too_few_rows_have_no_sizes_and_no_curve(n, k):
    sizes = subset_sizes(n, k, 50_000)

    assert sizes == []
    assert curve(lambda n: 0.5, sizes=sizes) is None


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 5))
@settings(deadline=None)
def test_nested_order_holds_every_row_once(labels, seed):
    order = nested_order(np.array(labels), seed)

    assert sorted(order.tolist()) == list(range(len(labels)))


@pytest.mark.parametrize("size", [4, 40, 120, 400])
def test_every_beginning_of_a_nested_order_has_the_classes_in_their_shares(size):
    order = nested_order(Y, 0)

    assert abs((Y[order[:size]] == 1).sum() - size / 4) <= 1


def test_nested_orders_of_seeds_differ():
    assert nested_order(Y, 0).tolist() != nested_order(Y, 1).tolist()
    assert nested_order(Y, 0).tolist() == nested_order(Y, 0).tolist()


def test_power_law_finds_the_curve_it_was_made_from():
    sizes = np.array([100, 200, 400, 800, 1_600])

    found = fit_power_law(sizes, 0.9 - 2.0 * sizes**-0.5)

    assert found is not None
    assert (found["a"], found["b"], found["c"]) == pytest.approx((0.9, 2.0, 0.5))


def test_power_law_stays_below_one():
    sizes = np.array([100, 200, 400, 800])

    found = fit_power_law(sizes, np.array([0.6, 0.7, 0.8, 0.9]))

    assert found is not None
    assert found["a"] == 1.0


def test_a_falling_curve_has_no_power_law():
    assert fit_power_law(np.array([100, 200, 400]), np.array([0.9, 0.8, 0.7])) is None


def test_forecast_of_a_rising_curve_is_where_the_law_reaches_one_more_point():
    found = curve(lambda n: 0.9 - 2.0 * n**-0.5)

    # 0.9 - 2 / sqrt(m) = 0.9 - 2 / sqrt(800) + 0.01, so m = 1,085
    assert found["forecast"]["more_labels"] == pytest.approx(285, rel=0.35)
    assert (
        f"about {found['forecast']['more_labels']:,} more labelled rows for +1 point"
        in (found["forecast"]["said"])
    )


def test_a_flat_curve_is_called_flat():
    found = curve(lambda n: 0.8)

    assert found["forecast"]["more_labels"] is None
    assert found["forecast"]["said"] == (
        "From 400 to 800 labelled rows accuracy changed by +0.0 points (95 % +0.0 to +0.0): the curve is too flat, or "
        "too noisy, for a forecast."
    )


def test_a_curve_that_levels_off_promises_nothing():
    found = curve(lambda n: 0.9 - 20.0 * n**-1.2, sizes=[100, 200, 400, 800])

    assert found["forecast"]["more_labels"] is None
    assert "would not bring another point" in found["forecast"]["said"]


def test_points_are_means_over_seeds_with_their_interval():
    calls: list[list[int]] = []

    def fit_and_score(rows):
        calls.append(rows.tolist())
        return scores(np.arange(50) < len(rows) / 20)

    found = curve_of(fit_and_score, 50)

    assert [point["n"] for point in found["points"]] == SIZES
    assert [p["accuracy"]["value"] for p in found["points"]] == [0.1, 0.2, 0.4, 0.8]
    low, high = found["points"][1]["accuracy"]["ci95"]
    assert low < 0.2 < high
    assert [len(rows) for rows in calls] == [
        *[100] * N_SEEDS,
        *[200] * N_SEEDS,
        *[400] * N_SEEDS,
        800,
    ]
    assert set(calls[0]) < set(calls[N_SEEDS]) < set(calls[2 * N_SEEDS])

from typing import Any

import numpy as np
import pytest

from pipeline.evaluation.metrics import Scored, differences, figures, measure
from pipeline.evaluation.resampling import (
    N_RESAMPLES,
    Clusters,
    bootstrap_weights,
    resampled_totals,
    share_interval,
    wilson,
)

TEXTS = ["a film of rare charm", "rare charm", "of rare charm", "dull", "Dull "]


def scored(n=300, seed=0):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, n)
    one = np.clip(0.5 + 0.2 * (2 * y - 1) + generator.normal(0, 0.3, n), 0.01, 0.99)
    return Scored(y, np.stack([1 - one, one], axis=1))


def repeated(system, times):
    y, proba = system.y, system.proba
    return Scored(np.repeat(y, times), np.repeat(proba, times, axis=0))


def width(figure):
    low, high = figure["ci95"]
    return high - low


def test_texts_that_are_contained_in_each_other_form_a_cluster():
    clusters = Clusters.of_texts(TEXTS)

    # "rare charm" has two words: contained in others by chance
    assert clusters.of.tolist() == [0, 1, 0, 2, 2]
    assert clusters.n == 3


def test_subset_of_clusters_is_numbered_anew():
    found = Clusters.of_texts(TEXTS).subset(np.array([2, 3, 0]))

    assert found.of.tolist() == [0, 1, 0]
    assert found.n == 2


def test_rows_of_a_cluster_are_drawn_together():
    clusters = Clusters(np.array([0, 1, 0, 2, 2]), 3)

    weights = np.concatenate(list(bootstrap_weights(clusters)))

    assert weights.shape == (N_RESAMPLES, 5)
    assert (weights[:, 0] == weights[:, 2]).all()
    assert (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_totals_are_those_of_the_drawn_rows():
    clusters = Clusters.of_rows(4)
    columns = np.array([[1.0, 0.0], [2.0, 1.0], [4.0, 0.0], [8.0, 1.0]])

    totals = resampled_totals(columns, clusters)

    weights = np.concatenate(list(bootstrap_weights(clusters)))
    assert totals[7] == pytest.approx((weights[7][:, None] * columns).sum(axis=0))


def test_every_row_four_times_gives_the_intervals_of_the_rows_themselves():
    alone = figures(measure(scored()))
    clusters = Clusters(np.repeat(np.arange(300), 4), 300)

    found = figures(measure(repeated(scored(), 4), clusters))

    for name in ("f1_macro", "roc_auc", "log_loss"):
        assert found[name]["ci95"] == pytest.approx(alone[name]["ci95"])
    assert found["accuracy"]["n"] == 1_200
    assert width(found["accuracy"]) == pytest.approx(width(alone["accuracy"]), rel=0.1)


def test_clusters_of_single_rows_change_nothing():
    clusters = Clusters.of_rows(300)

    assert figures(measure(scored(), clusters)) == figures(measure(scored()))


def test_differences_between_systems_are_paired_by_cluster():
    ours, theirs = repeated(scored(), 2), repeated(scored(seed=1), 2)
    theirs = Scored(ours.y, theirs.proba)
    clusters = Clusters(np.repeat(np.arange(300), 2), 300)

    found = differences(measure(ours, clusters), measure(theirs, clusters))
    rows = differences(measure(ours), measure(theirs))

    assert width(found["accuracy"]) > 1.3 * width(rows["accuracy"])


def test_some_metrics_can_be_had_alone():
    found = figures(measure(scored(), metrics=["accuracy", "log_loss"]))

    everything = figures(measure(scored()))
    assert found == {name: everything[name] for name in ("accuracy", "log_loss")}


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_that_no_resample_varies_gets_wilsons_interval_for_the_clusters(share):
    samples = np.full(N_RESAMPLES, share)

    assert share_interval(share, 20, 5, samples) == wilson(share, 5)


def test_few_clusters_give_no_narrow_interval():
    y = np.arange(20) % 2
    half = Scored(y, np.tile([0.2, 0.8], (20, 1)))  # every second row is right
    one = Clusters(np.zeros(20, dtype=np.int64), 1)

    found: Any = figures(measure(half, one))

    assert found["accuracy"]["ci95"] == list(wilson(0.5, 1))
    low, high = found["f1_macro"]["ci95"]
    assert high - low > 0.5


def test_differences_that_cancel_within_one_cluster_are_no_certainty():
    y = np.zeros(24, dtype=np.int64)
    ours, theirs = np.tile([0.9, 0.1], (24, 1)), np.tile([0.9, 0.1], (24, 1))
    ours[:12], theirs[12:] = [0.1, 0.9], [0.1, 0.9]
    one = Clusters(np.zeros(24, dtype=np.int64), 1)

    found: Any = differences(
        measure(Scored(y, ours), one, ["accuracy"]),
        measure(Scored(y, theirs), one, ["accuracy"]),
    )

    low, high = found["accuracy"]["ci95"]
    assert found["accuracy"]["value"] == 0.0
    assert low < -0.3 < 0.3 < high


def test_what_differs_by_rounding_alone_does_not_vary():
    constant = [
        Scored(np.zeros(50, dtype=np.int64), np.tile([p, 1 - p], (50, 1)))
        for p in (0.7, 0.55)
    ]
    ours, theirs = (measure(one, metrics=["log_loss"]) for one in constant)

    found: Any = figures(ours)
    assert found["log_loss"]["ci95"] is None
    assert differences(ours, theirs)["log_loss"]["ci95"] is None


@pytest.mark.parametrize("n_clusters", [1, 3, 9])
def test_shares_of_few_clusters_hold_the_truth(n_clusters):
    generator = np.random.default_rng(n_clusters)
    held = 0
    for _ in range(400):  # all rows of a cluster are right, or none is
        right = np.repeat(generator.random(n_clusters) < 0.7, 8)
        clusters = Clusters(np.repeat(np.arange(n_clusters), 8), n_clusters)
        y, wrong = np.zeros(len(right), dtype=np.int64), ~right
        scored = Scored(y, np.stack([right, wrong], axis=1).astype(float))
        found: Any = figures(measure(scored, clusters, ["accuracy"]))
        low, high = found["accuracy"]["ci95"]
        held += low <= 0.7 <= high

    assert held >= 0.92 * 400

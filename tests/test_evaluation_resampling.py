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

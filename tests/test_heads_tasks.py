"""The heads for several labels a row and for numbers, beside scikit-learn's own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.config import HeadSpec
from pipeline.datasets.table import object_array
from pipeline.errors import ConfigError, DataError
from pipeline.heads import ridge, search
from pipeline.heads.fit import fit_task
from pipeline.heads.flips import count_flips
from pipeline.heads.head import Head, load_head, save_head
from pipeline.heads.label_search import (
    binary_log_loss,
    constant_share,
    fit_and_predict_labels,
    search_labels,
)
from pipeline.heads.quick import quick_out_of_fold
from pipeline.heads.rebuilt import to_sklearn
from pipeline.heads.ridge import affordable_rows_of_values
from pipeline.heads.streaming import score_stored

NAMES = list("abcd")
FOLDS = (np.arange(600) % 5).astype(np.int8)


class InMemory:
    """Rows in memory, given out in blocks from the last to the first."""

    def __init__(self, values, size=100):
        self._values, self._size = values, size

    dim = property(lambda self: self._values.shape[1])

    def __len__(self):
        return len(self._values)

    def blocks(self):
        for begin in reversed(range(0, len(self), self._size)):
            rows = np.arange(begin, min(begin + self._size, len(self)))
            yield rows, self._values[rows]

    def take(self, rows):
        return self._values[rows]

    def sample(self, m):
        return np.arange(min(m, len(self)))


def world(n=600, d=12, seed=0):
    """Return features far from 0 and of unequal size, flags of four labels of which one is rare, and numbers."""
    generator = np.random.default_rng(seed)
    size = generator.exponential(size=d) + 0.1
    features = (generator.normal(size=(n, d)) * size + 30).astype(np.float32)
    scores = (features - 30) / size @ generator.normal(size=(d, 4))
    scores += 2 * generator.normal(size=(n, 4)) - np.array([0, 2, 4, 7])
    return features, scores > 0, scores[:, 0]


def sets_of(Y):
    return object_array(
        [tuple(name for name, has in zip(NAMES, row, strict=True) if has) for row in Y]
    )


def fit_labels(features, Y, **options):
    spec = HeadSpec(**options)
    return fit_task(
        InMemory(features), sets_of(Y), spec, FOLDS, task="multilabel", names=NAMES
    )


def fit_numbers(features, values, **options):
    spec, folds = HeadSpec(**options), FOLDS[: len(values)]
    return fit_task(InMemory(features), values, spec, folds, task="regression")


def reference(C, class_weight=None):
    model = LogisticRegression(
        C=C, class_weight=class_weight, tol=1e-8, max_iter=10_000
    )
    return make_pipeline(StandardScaler(), OneVsRestClassifier(model))


@pytest.mark.parametrize("weight", ["none", "balanced"])
@pytest.mark.parametrize("C", [0.01, 1.0])
def test_labels_are_fitted_as_scikit_learn_fits_one_versus_rest(C, weight):
    features, Y, _ = world()
    sklearn = reference(C, None if weight == "none" else weight)

    head = fit_labels(features, Y, C=C, class_weight=weight)

    sklearn.fit(features.astype(np.float64), Y.astype(int))
    expected = sklearn.predict_proba(features.astype(np.float64))
    assert head.task == "multilabel"
    assert head.classes == NAMES
    assert head.converged
    assert head.probabilities(features) == pytest.approx(expected, abs=1e-4)
    assert head.decide(head.outputs(features)).tolist() == (expected >= 0.5).tolist()


def test_labels_that_do_not_fit_in_memory_are_fitted_in_passes(monkeypatch):
    features, Y, _ = world()
    whole = fit_labels(features, Y, C=0.1)
    monkeypatch.setattr("pipeline.heads.multilabel.IN_MEMORY_BYTES", 100)

    head = fit_labels(features, Y, C=0.1)

    assert head.solver == "newton-stream"
    assert head.coef == pytest.approx(whole.coef, abs=1e-4)
    assert head.intercept == pytest.approx(whole.intercept, abs=1e-4)
    assert head.scale == pytest.approx(whole.scale)


@pytest.mark.parametrize(("value", "share"), [(True, 600.5 / 601), (False, 0.5 / 601)])
def test_a_label_that_never_varies_gets_nearly_its_share(value, share):
    features, Y, _ = world()
    Y[:, 1] = value

    head = fit_labels(features, Y, C=0.1)

    assert not head.coef[1].any()
    assert head.probabilities(features)[:, 1] == pytest.approx(share)
    assert constant_share(Y[:, 1]) == pytest.approx(share)


@pytest.mark.parametrize("weight", ["none", "balanced"])
def test_the_search_of_labels_is_out_of_fold(weight):
    features, Y, _ = world()
    points = search_labels(features, Y, FOLDS, HeadSpec(class_weight=weight))

    for point in (points[0], points[-1]):
        sklearn = reference(point.C, None if weight == "none" else weight)
        expected = cross_val_predict(
            sklearn,
            features.astype(np.float64),
            Y.astype(int),
            cv=PredefinedSplit(FOLDS),
            method="predict_proba",
        )
        assert point.log_loss == pytest.approx(binary_log_loss(expected, Y), rel=1e-3)
        accuracy = ((expected >= 0.5) == Y).mean()
        assert point.accuracy == pytest.approx(accuracy, abs=0.002)


def test_the_head_of_labels_takes_the_C_of_least_loss():
    features, Y, _ = world()

    head = fit_labels(features, Y)

    assert min(head.search, key=lambda point: point.log_loss).C == head.C
    assert len(head.search) > 3


def test_a_label_that_a_fold_alone_has_does_not_stop_the_search():
    features, Y, _ = world()
    Y[:, 3] = FOLDS == 2

    points = search_labels(features, Y, FOLDS, HeadSpec())

    assert all(np.isfinite(point.log_loss) for point in points)


def test_probabilities_out_of_fold_do_not_know_their_rows():
    features, Y, _ = world()
    changed = Y.copy()
    changed[FOLDS == 1] = ~changed[FOLDS == 1]
    spec = HeadSpec(C=0.1)

    one, other = (quick_out_of_fold(features, y, FOLDS, spec, 0) for y in (Y, changed))

    assert one is not None
    assert other is not None
    assert (one[FOLDS == 1] == other[FOLDS == 1]).all()
    assert (one[FOLDS == 0] != other[FOLDS == 0]).any()


def test_labels_of_features_that_do_not_vary_get_their_share():
    features, Y, _ = world()
    same = np.ones_like(features)

    proba = fit_and_predict_labels(same, Y, same[:2], HeadSpec(C=1.0))

    assert proba == pytest.approx(np.tile(Y.mean(axis=0), (2, 1)), abs=0.002)


def wide_world(seed=3):
    """Return fewer rows than features, (80, 300), and their numbers."""
    generator = np.random.default_rng(seed)
    features = (generator.normal(size=(80, 300)) * 3 + 30).astype(np.float32)
    return features, features[:, :5].sum(axis=1) + generator.normal(size=80)


@pytest.mark.parametrize("is_wide", [False, True])
def test_numbers_are_fitted_as_scikit_learn_fits_ridge_regression(is_wide):
    features, values = wide_world() if is_wide else world()[::2]
    sklearn = make_pipeline(StandardScaler(), Ridge(alpha=1 / 0.03))

    head = fit_numbers(features, values, C=0.03)

    expected = sklearn.fit(features.astype(np.float64), values).predict(
        features.astype(np.float64)
    )
    assert head.task == "regression"
    assert head.decision(features) == pytest.approx(expected, abs=1e-6)
    assert head.outputs(features).shape == (len(values), 1)
    assert head.decide(head.outputs(features)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("is_wide", [False, True])
def test_the_search_of_numbers_is_out_of_fold(is_wide):
    features, values = wide_world() if is_wide else world()[::2]
    folds = FOLDS[: len(values)]

    head = fit_numbers(features, values)

    assert [point.C for point in head.search] == list(ridge.GRID)
    for point in (head.search[0], head.search[7], head.search[-1]):
        found = cross_val_predict(
            make_pipeline(StandardScaler(), Ridge(alpha=1 / point.C)),
            features.astype(np.float64),
            values,
            cv=PredefinedSplit(folds),
        )
        mse = ((found - values) ** 2).mean()
        assert point.mse == pytest.approx(mse, rel=1e-6)
        assert point.r2 == pytest.approx(1 - mse / values.var(), rel=1e-6)
    assert min(head.search, key=lambda point: point.mse).C == head.C


@pytest.mark.parametrize("is_wide", [False, True])
def test_numbers_out_of_fold_are_those_of_the_search(is_wide):
    features, values = wide_world() if is_wide else world()[::2]
    folds, (point, *_) = FOLDS[: len(values)], fit_numbers(features, values).search

    found = quick_out_of_fold(features, values, folds, HeadSpec(C=point.C), 0)

    assert found is not None
    assert ((found[:, 0] - values) ** 2).mean() == pytest.approx(point.mse, rel=1e-6)


def test_numbers_far_from_zero_lose_no_digits():
    features, _, values = world()
    near = fit_numbers(features, values, C=0.1)

    far = fit_numbers(features, values + 1e6, C=0.1)

    assert far.decision(features) - 1e6 == pytest.approx(
        near.decision(features), abs=1e-6
    )


@pytest.mark.parametrize("C", [1e9, 1e30, 1e300])
@pytest.mark.parametrize("seed", range(5))
def test_numbers_are_met_where_hardly_anything_is_paid_for_coefficients(C, seed):
    features, values = wide_world(seed)

    head = fit_numbers(features, values, C=C)

    assert head.decision(features) == pytest.approx(values, abs=1e-4)


def test_a_fold_without_which_nothing_varies_is_answered_by_the_mean():
    features = np.ones((20, 30), dtype=np.float32)
    features[0] = 2.0
    values = np.arange(20.0)

    head = fit_numbers(features, values)

    assert all(np.isfinite(point.mse) for point in head.search)


@pytest.mark.parametrize("n_features", [12, 384, 2_924, 9_216, 40_000])
def test_rows_of_numbers_that_are_affordable_take_so_many_operations(n_features):
    n = affordable_rows_of_values(n_features, 2.5e10)

    assert n * n_features * min(n, n_features) == pytest.approx(2.5e10, rel=0.01)


def test_numbers_of_constant_features_are_refused():
    _, _, values = world()

    with pytest.raises(DataError, match="have the same features"):
        fit_numbers(np.ones((600, 3), dtype=np.float32), values)


def test_numbers_have_no_classes_to_weigh():
    features, _, values = world()

    with pytest.raises(ConfigError, match="--class-weight balanced weighs classes"):
        fit_numbers(features, values, class_weight="balanced")


@pytest.mark.parametrize("fit", [fit_labels, fit_numbers])
def test_a_head_comes_back_from_disk_as_it_was(tmp_path, fit):
    features, Y, values = world()
    head = fit(features, Y if fit is fit_labels else values)

    save_head(head, tmp_path)

    found = load_head(tmp_path)
    assert found.search == head.search
    assert found.params() == head.params()
    assert (found.outputs(features) == head.outputs(features)).all()


def test_a_head_of_before_is_a_classifier():
    features, Y, _ = world()
    labels = Y[:, 0].astype(np.int64)
    head = fit_task(
        InMemory(features), labels, HeadSpec(C=1.0), FOLDS, task="classification"
    )
    params: Any = head.params()
    del params["task"]

    old = Head(
        **{**params, "search": []},
        mean=head.mean,
        scale=head.scale,
        coef=head.coef,
        intercept=head.intercept,
    )

    assert old.task == "classification"
    assert (old.probabilities(features) == head.probabilities(features)).all()


@pytest.mark.parametrize("fit", [fit_labels, fit_numbers])
def test_the_pipeline_of_scikit_learn_gives_what_the_head_gives(fit):
    features, Y, values = world()
    head = fit(features, Y if fit is fit_labels else values, C=0.1)
    exact = features.astype(np.float64)

    sklearn = to_sklearn(head)

    answers = head.decide(head.outputs(exact))
    assert sklearn.predict(exact) == pytest.approx(answers.astype(np.float64))
    if head.task == "multilabel":
        proba = head.probabilities(exact)
        assert sklearn.predict_proba(exact) == pytest.approx(proba)


def test_stored_rows_are_scored_in_the_order_of_their_numbers():
    features, Y, values = world()
    for head in (fit_labels(features, Y, C=0.1), fit_numbers(features, values, C=0.1)):
        expected = head.outputs(features)

        assert score_stored(head, InMemory(features)) == pytest.approx(expected)


def test_labels_flip_by_row_and_numbers_where_they_move_far():
    features, Y, values = world()
    labels, numbers = fit_labels(features, Y, C=1.0), fit_numbers(features, values)
    moved = features.copy()
    moved[:3] = features.mean(axis=0) + 50 * (features[:3] - features.mean(axis=0))

    assert count_flips(labels, features, features) == 0
    assert count_flips(numbers, features, features) == 0
    assert count_flips(numbers, features, moved) == 3
    assert 0 < count_flips(labels, features, moved) <= 3
    nearly = replace(numbers, intercept=numbers.intercept + 1e-6)
    assert count_flips(nearly, features, features) == 0


def test_the_search_stops_where_the_loss_keeps_rising(monkeypatch):
    features, Y, _ = world(n=120, d=60)
    folds = FOLDS[:120]

    points = search_labels(features, Y[:120], folds, HeadSpec())

    assert len(points) < len(search.GRID)

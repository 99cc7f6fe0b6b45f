import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads import search, solvers
from pipeline.heads.head import Head, SearchPoint, load_head, save_head
from pipeline.heads.logreg import fit_head
from pipeline.heads.rebuilt import to_sklearn
from pipeline.heads.search import (
    GRID,
    affordable_rows,
    fit_and_predict,
    out_of_fold,
    search_c,
)

NO_FOLDS = np.zeros(0, dtype=np.int8)  # not read where C is given
SOLVERS = pytest.mark.parametrize("solver", ["newton-cholesky", "lbfgs"])


@pytest.fixture
def use_solver(monkeypatch):
    def use(solver):
        monkeypatch.setattr(solvers, "NEWTON_SIZE", 0 if solver == "lbfgs" else 2_000)

    return use


def blobs(n_classes, n=120, dim=5, *, seed=0):
    """Return overlapping clouds on different scales, features of float32 and class numbers."""
    generator = np.random.default_rng(seed)
    y = generator.integers(0, n_classes, n)
    centres = generator.normal(size=(n_classes, dim))
    features = centres[y] + generator.normal(size=(n, dim))
    return (features * 10.0 ** np.arange(dim) + 7).astype(np.float32), y


def named(y):
    return np.array([f"class {i}" for i in y], dtype=object)


def sklearn_pipeline(C, class_weight=None, solver="lbfgs"):
    classifier = LogisticRegression(
        C=C, class_weight=class_weight, solver=solver, tol=1e-9, max_iter=10_000
    )
    return make_pipeline(StandardScaler(), classifier)


def plain_search(features, y, folds, C):
    """Return out-of-fold log loss and accuracy, by scikit-learn's own cross-validation."""
    proba = cross_val_predict(
        sklearn_pipeline(C, solver="newton-cholesky"),
        features.astype(np.float64),
        y,
        cv=PredefinedSplit(folds),
        method="predict_proba",
    )
    return log_loss(y, proba), accuracy_score(y, proba.argmax(axis=1))


@SOLVERS
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_fit_head_has_the_coefficients_of_scikit_learn(
    use_solver, n_classes, class_weight, solver
):
    features, y = blobs(n_classes)
    keep = (y != 0) | (np.arange(len(y)) % 3 == 0)  # classes of unequal size
    features, y = features[keep], y[keep]
    use_solver(solver)

    head = fit_head(features, y, HeadSpec(C=0.3, class_weight=class_weight), NO_FOLDS)

    reference = sklearn_pipeline(0.3, None if class_weight == "none" else "balanced")
    scaler, classifier = reference.fit(features.astype(np.float64), y)
    assert (head.solver, head.class_weight) == (solver, class_weight)
    assert head.mean == pytest.approx(scaler.mean_)
    assert head.scale == pytest.approx(scaler.scale_)
    assert head.coef == pytest.approx(classifier.coef_, abs=1e-4)
    assert head.intercept == pytest.approx(classifier.intercept_, abs=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_are_those_of_scikit_learn(n_classes):
    features, y = blobs(n_classes)
    unseen, _ = blobs(n_classes, seed=1)

    head = fit_head(features, y, HeadSpec(C=0.3), NO_FOLDS)

    reference = sklearn_pipeline(0.3).fit(features.astype(np.float64), y)
    expected = reference.predict_proba(unseen.astype(np.float64))
    assert head.probabilities(unseen) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("n_classes", "shape"), [(2, (120,)), (3, (120, 3))])
def test_decision_has_a_column_a_class_from_three_classes_on(n_classes, shape):
    features, y = blobs(n_classes)

    head = fit_head(features, y, HeadSpec(C=1.0), NO_FOLDS)

    assert head.decision(features).shape == shape
    assert head.probabilities(features).shape == (120, n_classes)


def hand_made_head(n_classes=2):
    rows = 1 if n_classes == 2 else n_classes
    return Head(
        classes=[f"class {i}" for i in range(n_classes)],
        mean=np.array([1.0, 2.0]),
        scale=np.array([1.0, 2.0]),
        coef=np.array([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]])[:rows],
        intercept=np.array([0.5, 0.0, 1.0])[:rows],
        C=0.1,
        class_weight="none",
        n_iter=3,
        converged=True,
        solver="lbfgs",
        sklearn_version="1.9",
        search=[SearchPoint(0.1, 0.25, 0.9), SearchPoint(1.0, 0.125, 1.0)],
    )


def test_decision_of_a_hand_made_head():
    features = np.array([[2.0, 4.0], [1.0, 2.0]], dtype=np.float32)

    two, three = hand_made_head(2), hand_made_head(3)

    assert two.decision(features).tolist() == [7.5, 0.5]
    assert three.decision(features).tolist() == [[7.5, 0.0, 0.0], [0.5, 0.0, 1.0]]


def test_probabilities_of_extreme_scores_are_finite_and_sum_to_one():
    features = np.array([[1e30, 0.0], [-1e30, 0.0]], dtype=np.float32)

    two = hand_made_head(2).probabilities(features)
    three = hand_made_head(3).probabilities(features)

    assert two.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert three.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=2),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([2, 3]),
)
@settings(max_examples=50, deadline=None)
def test_probabilities_sum_to_one(features, n_classes):
    proba = hand_made_head(n_classes).probabilities(
        np.array(features, dtype=np.float32)
    )

    assert (proba >= 0).all()
    assert proba.sum(axis=1) == pytest.approx(1.0)


def test_whole_number_labels_stay_whole_numbers_in_their_order():
    features, y = blobs(3)
    labels = np.array([10, 9, 100])[y]

    head = fit_head(features, labels, HeadSpec(C=1.0), NO_FOLDS)

    assert head.classes == [9, 10, 100]
    assert {type(label) for label in head.classes} == {int}


def test_text_labels_stay_texts_in_their_order():
    features, y = blobs(3)
    labels = np.array(["10", "9", "é"], dtype=object)[y]

    head = fit_head(features, labels, HeadSpec(C=1.0), NO_FOLDS)

    assert head.classes == ["10", "9", "é"]
    assert {type(label) for label in head.classes} == {str}


def test_each_class_has_its_own_column():
    features = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 5.0]] * 4, dtype=np.float32)
    labels = np.array(["b", "c", "a"] * 4, dtype=object)

    head = fit_head(features, labels, HeadSpec(C=1.0), NO_FOLDS)

    chosen = head.probabilities(features).argmax(axis=1)
    assert [head.classes[i] for i in chosen] == labels.tolist()


@SOLVERS
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [GRID[0], GRID[4], GRID[7]])
def test_search_has_the_log_loss_of_plain_cross_validation(
    monkeypatch, use_solver, C, n_classes, solver
):
    features, y = blobs(n_classes)
    folds = (np.arange(120) % 5).astype(np.int8)
    use_solver(solver)
    monkeypatch.setattr(search, "TOLERANCE", 1e-8)
    monkeypatch.setattr(search, "GRID", (C,))

    (point,) = search_c(features, y, folds, HeadSpec())

    expected_loss, expected_accuracy = plain_search(features, y, folds, C)
    assert point.C == C
    assert point.log_loss == pytest.approx(expected_loss, abs=1e-6)
    assert point.accuracy == expected_accuracy


def test_search_along_the_whole_path_is_as_good_as_separate_fits():
    """Each C starts from the last one's solution, to a coarser tolerance than a final fit."""
    features, y = blobs(3)
    folds = (np.arange(120) % 5).astype(np.int8)

    points = search_c(features, y, folds, HeadSpec())

    expected = [plain_search(features, y, folds, point.C)[0] for point in points]
    assert [point.C for point in points] == list(GRID[: len(points)])
    assert len(points) > 5
    assert [point.log_loss for point in points] == pytest.approx(expected, abs=1e-3)


def test_search_scales_by_the_other_folds_alone(monkeypatch):
    features, y = blobs(2)
    folds = (np.arange(120) % 5).astype(np.int8)
    features[folds == 0] *= 50  # a scaling that saw these rows would shrink the others
    monkeypatch.setattr(search, "GRID", (0.01,))

    (point,) = search_c(features, y, folds, HeadSpec())

    seen_all = StandardScaler().fit_transform(features.astype(np.float64))
    proba = cross_val_predict(
        LogisticRegression(C=0.01, max_iter=1_000),
        seen_all,
        y,
        cv=PredefinedSplit(folds),
        method="predict_proba",
    )
    expected, _ = plain_search(features, y, folds, 0.01)
    assert point.log_loss == pytest.approx(expected, rel=1e-4)
    assert abs(log_loss(y, proba) - expected) > 0.1


def test_auto_takes_the_C_of_least_out_of_fold_log_loss():
    features, y = blobs(2, n=60, dim=8)
    folds = (np.arange(60) % 5).astype(np.int8)

    head = fit_head(features, named(y), HeadSpec(C="auto"), folds)

    losses = {C: plain_search(features, y, folds, C)[0] for C in GRID}
    assert min(losses, key=lambda C: losses[C]) == head.C
    assert GRID[0] < head.C < GRID[-1]  # not by standing at an end
    assert [point.C for point in head.search] == list(GRID[: len(head.search)])


def test_auto_fits_on_all_training_rows_with_the_C_it_found():
    features, y = blobs(2)
    folds = (np.arange(120) % 5).astype(np.int8)

    searched = fit_head(features, y, HeadSpec(C="auto"), folds)
    given_C = fit_head(features, y, HeadSpec(C=searched.C), folds)

    assert searched.coef.tolist() == given_C.coef.tolist()
    assert given_C.search == []


def test_search_ends_once_weaker_regularisation_only_overfits():
    """Labels at random: the strongest regularisation is best, and the rest need not be tried."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(60, 20)).astype(np.float32)
    y = np.arange(60) % 2
    folds = (np.arange(60) // 2 % 5).astype(np.int8)

    points = search_c(features, y, folds, HeadSpec())

    assert len(points) < len(GRID)


def test_search_gives_a_class_that_lies_in_one_fold_no_probability_there():
    features, y = blobs(2)
    features = np.vstack([features, features[:10] + 1])
    y = np.append(y, [2] * 10)
    folds = np.append(np.arange(120) % 4, [4] * 10).astype(np.int8)

    points = search_c(features, y, folds, HeadSpec())

    wrong = 10 / 130  # the rows of class 2, at the least probability that is counted
    assert min(point.log_loss for point in points) > wrong * -np.log(1e-15)
    assert max(point.accuracy for point in points) <= 1 - wrong


@pytest.mark.parametrize("n_folds", [1, 2])
def test_search_is_refused_where_a_fold_leaves_a_single_class(n_folds):
    features, y = blobs(2)
    folds = (y % n_folds).astype(np.int8)  # each class in a fold of its own

    with pytest.raises(DataError, match=r"without fold 0 .*Pass --C 1, or add texts"):
        fit_head(features, y, HeadSpec(C="auto"), folds)


def test_constant_features_are_refused_with_the_remedy():
    features = np.full((6, 3), 0.1, dtype=np.float32)

    with pytest.raises(
        DataError,
        match=r"All 6 texts to fit on.*Check the text column and the pooling",
    ):
        fit_head(features, np.arange(6) % 2, HeadSpec(C=1.0), NO_FOLDS)


def test_a_single_constant_column_changes_nothing():
    features, y = blobs(2)
    constant = np.full((120, 1), 0.1, dtype=np.float32)

    head = fit_head(np.hstack([features, constant]), y, HeadSpec(C=1.0), NO_FOLDS)

    plain = fit_head(features, y, HeadSpec(C=1.0), NO_FOLDS)
    assert head.scale[-1] == 1.0
    assert head.coef[0, -1] == pytest.approx(0.0, abs=1e-12)
    assert head.coef[:, :-1] == pytest.approx(plain.coef)
    unseen = np.hstack([features, constant + 1])
    assert head.probabilities(unseen) == pytest.approx(plain.probabilities(features))


@SOLVERS
def test_a_solver_that_did_not_converge_is_recorded(monkeypatch, use_solver, solver):
    features, y = blobs(3)
    use_solver(solver)
    done = fit_head(features, y, HeadSpec(C=1.0), NO_FOLDS)
    monkeypatch.setattr(
        "pipeline.heads.logreg.MAX_ITER", {"newton-cholesky": 1, "lbfgs": 1}
    )

    stopped = fit_head(features, y, HeadSpec(C=1.0), NO_FOLDS)

    assert (done.converged, stopped.converged) == (True, False)
    assert stopped.n_iter == 1
    assert done.n_iter > 1


labels = st.lists(st.text(), min_size=2, max_size=4, unique=True) | st.lists(
    st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=4, unique=True
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@given(labels, st.data())
@settings(max_examples=30, deadline=None)
def test_a_saved_head_is_loaded_exactly(tmp_path_factory, classes, data):
    k, d = 1 if len(classes) == 2 else len(classes), data.draw(st.integers(1, 3))

    def array(*shape):
        n = int(np.prod(shape))
        drawn = data.draw(st.lists(numbers, min_size=n, max_size=n))
        return np.array(drawn, dtype=np.float64).reshape(shape)

    head = Head(
        classes=sorted(classes),
        mean=array(d),
        scale=array(d),
        coef=array(k, d),
        intercept=array(k),
        C=data.draw(numbers),
        class_weight="balanced",
        n_iter=data.draw(st.integers(0, 9)),
        converged=data.draw(st.booleans()),
        solver="lbfgs",
        sklearn_version="1.9.1",
        search=[SearchPoint(*data.draw(st.tuples(numbers, numbers, numbers)))],
    )
    folder = tmp_path_factory.mktemp("head")
    save_head(head, folder)

    loaded = load_head(folder)

    assert loaded.params() == head.params()
    assert [type(label) for label in loaded.classes] == [
        type(label) for label in head.classes
    ]
    assert loaded.search == head.search
    for name in ("mean", "scale", "coef", "intercept"):
        ours, theirs = getattr(head, name), getattr(loaded, name)
        assert (theirs.dtype, theirs.shape) == (ours.dtype, ours.shape)
        assert theirs.tobytes() == ours.tobytes()


@SOLVERS
@pytest.mark.parametrize("kind", ["texts", "whole numbers"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_to_sklearn_predicts_what_the_head_does(use_solver, n_classes, kind, solver):
    features, y = blobs(n_classes)
    unseen, _ = blobs(n_classes, seed=1)
    use_solver(solver)
    head = fit_head(
        features, named(y) if kind == "texts" else y + 10, HeadSpec(C=0.3), NO_FOLDS
    )

    estimator = to_sklearn(head)

    proba = head.probabilities(unseen)
    expected = [head.classes[i] for i in proba.argmax(axis=1)]
    assert estimator.predict_proba(unseen.astype(np.float64)) == pytest.approx(proba)
    assert estimator.predict(unseen).tolist() == expected
    assert estimator.classes_.tolist() == head.classes
    assert estimator.classes_.dtype == (object if kind == "texts" else np.int64)


def test_to_sklearn_can_be_fitted_again_on_other_classes():
    features, y = blobs(2)
    others, classes = blobs(3, seed=1)
    head = fit_head(features, y, HeadSpec(C=0.3, class_weight="balanced"), NO_FOLDS)

    estimator = to_sklearn(head).fit(others.astype(np.float64), classes)

    expected = fit_head(
        others, classes, HeadSpec(C=0.3, class_weight="balanced"), NO_FOLDS
    )
    proba = estimator.predict_proba(others.astype(np.float64))
    assert proba == pytest.approx(expected.probabilities(others), abs=1e-6)


def test_a_feature_of_which_only_the_last_digits_vary_is_not_scaled_up():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    live = rng.normal(size=(200, 3)) + y[:, np.newaxis]
    dead = 0.7 + 1e-7 * rng.normal(size=(200, 1))
    spec, folds = HeadSpec(C=1.0), np.zeros(200, dtype=np.int8)
    with_dead = np.hstack([live, dead]).astype(np.float32)
    rounded = np.hstack([live, np.full((200, 1), 0.7)]).astype(np.float32)

    head = fit_head(with_dead, y, spec, folds)

    assert head.scale[3] == 1.0
    assert np.abs(head.decision(with_dead) - head.decision(rounded)).max() < 1e-6


def test_a_small_feature_with_all_its_digits_counts_as_much_as_others():
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    features = (rng.normal(size=(200, 3)) + y[:, np.newaxis]).astype(np.float32)
    spec, folds = HeadSpec(C=1.0), np.zeros(200, dtype=np.int8)
    small = features * np.array([1, 1, 1e-30], dtype=np.float32)

    heads = [fit_head(values, y, spec, folds) for values in (features, small)]

    assert heads[1].coef == pytest.approx(heads[0].coef, rel=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_fit_and_predict_has_the_probabilities_of_scikit_learn(n_classes):
    features, y = blobs(n_classes)
    others, _ = blobs(n_classes, n=30, seed=1)

    found = fit_and_predict(features, y, others, HeadSpec(C=0.5), n_classes)

    expected = sklearn_pipeline(0.5).fit(features, y).predict_proba(others)
    assert found == pytest.approx(expected, abs=2e-3)


def test_fit_and_predict_gives_no_probability_to_classes_it_has_not_seen():
    features, y = blobs(2)

    found = fit_and_predict(features, 2 * y, features[:5], HeadSpec(C=0.5), 4)

    assert found[:, [1, 3]].tolist() == [[0.0, 0.0]] * 5
    assert found.sum(axis=1) == pytest.approx(np.ones(5))


@pytest.mark.parametrize("y", [[0, 0, 0, 0], [0, 0, 0, 1]])
def test_fit_and_predict_of_nothing_to_learn_gives_the_shares(y):
    features = np.ones((4, 3), dtype=np.float32)
    features[:, 0] += 0 if 1 in y else np.arange(4)
    y = np.array(y)

    found = fit_and_predict(features, y, features[:2], HeadSpec(C=1.0), 2)

    assert found.tolist() == [[1 - y.mean(), y.mean()]] * 2


@pytest.mark.parametrize("n_classes", [2, 3])
def test_out_of_fold_has_the_probabilities_of_scikit_learn(n_classes):
    features, y = blobs(n_classes)
    folds = (np.arange(len(y)) % 5).astype(np.int8)

    found = out_of_fold(features, y, folds, HeadSpec(C=0.5), n_classes)

    model = sklearn_pipeline(0.5)
    cv = PredefinedSplit(folds)
    expected = cross_val_predict(model, features, y, cv=cv, method="predict_proba")
    assert found == pytest.approx(expected, abs=2e-3)


def test_out_of_fold_says_nothing_where_a_fold_holds_a_class():
    features, y = blobs(2)

    assert out_of_fold(features, y, y.astype(np.int8), HeadSpec(C=1.0), 2) is None


def test_fewer_rows_are_affordable_the_more_there_is_to_fit():
    most = [affordable_rows(2, 384), affordable_rows(2, 768), affordable_rows(77, 384)]

    assert most == sorted(most, reverse=True)
    assert most[-1] > 1_000

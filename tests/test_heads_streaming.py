import tracemalloc

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.config import HeadSpec
from pipeline.errors import DataError
from pipeline.heads import objective, solvers, streaming
from pipeline.heads.logreg import fit_head
from pipeline.heads.search import search_c
from pipeline.heads.streaming import fit_stored, fit_stream, score_stored
from tests.test_heads import NO_FOLDS, blobs, named

SOLVERS = pytest.mark.parametrize("solver", ["newton-stream", "lbfgs-stream"])


@pytest.fixture
def use_solver(monkeypatch):
    def use(solver):
        size = 0 if solver == "lbfgs-stream" else 2_000
        monkeypatch.setattr(solvers, "NEWTON_SIZE", size)

    return use


class Rows:
    """Rows in memory, in blocks of `size`, in an order of their own unless `seed` is None; it counts passes."""

    def __init__(self, features, size=50, seed=0, sampled=None):
        self.features, self.size, self.sampled = features, size, sampled
        self.order = np.arange(len(features))
        if seed is not None:
            np.random.default_rng(seed).shuffle(self.order)
        self.passes = 0
        self.taken = []

    @property
    def dim(self):
        return self.features.shape[1]

    def __len__(self):
        return len(self.features)

    def blocks(self):
        self.passes += 1
        for begin in range(0, len(self.order), self.size):
            rows = self.order[begin : begin + self.size]
            yield rows, self.features[rows]

    def take(self, rows):
        self.taken.append(rows)
        return self.features[rows]

    def sample(self, m):
        if self.sampled is not None:
            return self.sampled[:m]
        chosen = np.random.default_rng(0).permutation(len(self.features))
        return np.sort(chosen[:m])


def unequal(n_classes, n=400):
    """Return overlapping clouds with fewer rows of class 0."""
    features, y = blobs(n_classes, n=n)
    keep = (y != 0) | (np.arange(n) % 3 == 0)
    return features[keep], y[keep]


def reference(features, y, C, class_weight="none"):
    classifier = LogisticRegression(
        C=C,
        class_weight=None if class_weight == "none" else class_weight,
        solver="newton-cholesky",
        tol=1e-10,
    )
    fitted = make_pipeline(StandardScaler(), classifier)
    return fitted.fit(features.astype(np.float64), y)


@SOLVERS
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_fit_stream_has_the_coefficients_of_scikit_learn(
    use_solver, n_classes, class_weight, solver
):
    features, y = unequal(n_classes)
    use_solver(solver)

    head = fit_stream(Rows(features), y, HeadSpec(C=0.3, class_weight=class_weight))

    scaler, classifier = reference(features, y, 0.3, class_weight)
    assert (head.solver, head.C, head.class_weight) == (solver, 0.3, class_weight)
    assert head.converged
    assert head.mean == pytest.approx(scaler.mean_)
    assert head.scale == pytest.approx(scaler.scale_)
    assert head.coef.shape == classifier.coef_.shape
    assert head.coef == pytest.approx(classifier.coef_, abs=1e-4)
    assert head.intercept == pytest.approx(classifier.intercept_, abs=1e-4)


@SOLVERS
@pytest.mark.parametrize("n_classes", [2, 3])
def test_labels_and_probabilities_are_those_of_scikit_learn(
    use_solver, n_classes, solver
):
    features, y = unequal(n_classes)
    unseen, _ = blobs(n_classes, n=400, seed=1)
    use_solver(solver)

    head = fit_stream(Rows(features), named(y), HeadSpec(C=3.0))

    expected = reference(features, named(y), 3.0)
    wide = unseen.astype(np.float64)
    proba = head.probabilities(unseen)
    assert head.classes == expected.classes_.tolist()
    assert proba == pytest.approx(expected.predict_proba(wide), abs=1e-4)
    labels = np.array(head.classes, dtype=object)[proba.argmax(axis=1)]
    assert labels.tolist() == expected.predict(wide).tolist()


@pytest.mark.parametrize("n_classes", [2, 3])
def test_blocks_of_any_size_and_order_give_the_same_head(monkeypatch, n_classes):
    features, y = unequal(n_classes)
    spec = HeadSpec(C=0.3, class_weight="balanced")
    whole = fit_stream(Rows(features, size=1_000, seed=None), y, spec)

    for size, seed, chunk, threads in [(1, 1, 99, 2), (17, 2, 9, 1), (100, 3, 7, 5)]:
        monkeypatch.setattr(objective, "CHUNK", chunk)
        monkeypatch.setattr(objective, "THREADS", threads)
        head = fit_stream(Rows(features, size, seed), y, spec)

        for name in ("mean", "scale", "coef", "intercept"):
            ours, theirs = getattr(head, name), getattr(whole, name)
            assert ours == pytest.approx(theirs, rel=1e-8, abs=1e-8)


@SOLVERS
@pytest.mark.parametrize("n_classes", [2, 3])
def test_many_rows_start_from_a_sample_and_end_where_all_do(
    monkeypatch, use_solver, n_classes, solver
):
    features, y = blobs(n_classes, n=2_000)
    use_solver(solver)
    plain, started = Rows(features), Rows(features)
    expected = fit_stream(plain, y, HeadSpec(C=0.3))
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 500 * 4 * features.shape[1])

    head = fit_stream(started, y, HeadSpec(C=0.3))

    assert [len(rows) for rows in started.taken] == [500]
    assert plain.taken == []
    assert started.passes < plain.passes
    assert head.n_iter < expected.n_iter
    assert head.coef == pytest.approx(expected.coef, abs=1e-4)
    assert head.intercept == pytest.approx(expected.intercept, abs=1e-4)


@SOLVERS
@pytest.mark.parametrize("kind", ["against the rest", "without a class"])
def test_a_misleading_sample_costs_passes_but_changes_nothing(
    monkeypatch, use_solver, kind, solver
):
    features, y = blobs(3, n=800)
    shown = np.flatnonzero(y < 2)[:150]
    if kind == "against the rest":
        features[shown] = -4 * features[shown]
    use_solver(solver)
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 150 * 4 * features.shape[1])

    head = fit_stream(Rows(features, sampled=shown), y, HeadSpec(C=100.0))

    _, classifier = reference(features, y, 100.0)
    assert head.converged
    assert head.coef == pytest.approx(classifier.coef_, abs=1e-4)


def test_a_step_too_long_is_shortened(monkeypatch):
    """Far from the optimum the Hessian all but vanishes, and a whole Newton step leads further away."""
    generator = np.random.default_rng(0)
    features = generator.normal(size=(1_000, 1)).astype(np.float32)
    y = (features[:, 0] + generator.normal(size=1_000) < 0).astype(int)
    shown = np.flatnonzero(np.sign(features[:, 0]) == 2 * y - 1)[:100]
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 100 * 4)

    head = fit_stream(Rows(features, sampled=shown), y, HeadSpec(C=1e4))

    _, classifier = reference(features, y, 1e4)
    assert head.converged
    assert head.coef == pytest.approx(classifier.coef_, abs=1e-4)


def test_mean_and_scale_are_exact_far_from_zero():
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(250, 3)) * [1.0, 0.3, 100.0]
    drift = np.linspace(0, 5, 250)[:, np.newaxis]  # blocks differ in their means
    features = (1e6 + drift + noise).astype(np.float32)

    head = fit_stream(Rows(features, 9, None), np.arange(250) % 2, HeadSpec(C=1.0))

    wide = features.astype(np.float64)
    assert head.mean == pytest.approx(wide.mean(axis=0), rel=1e-14)
    assert head.scale == pytest.approx(wide.std(axis=0), rel=1e-9)


def test_constant_features_are_refused_with_the_remedy():
    features = np.full((3_000, 3), 0.1, dtype=np.float32)

    with pytest.raises(
        DataError,
        match=r"All 3,000 texts to fit on.*Check the text column and the pooling",
    ):
        fit_stream(Rows(features, size=7), np.arange(3_000) % 2, HeadSpec(C=1.0))


@SOLVERS
def test_a_single_constant_column_changes_nothing(use_solver, solver):
    features, y = blobs(3)
    constant = np.full((120, 1), 0.1, dtype=np.float32)
    use_solver(solver)

    head = fit_stream(Rows(np.hstack([features, constant]), size=7), y, HeadSpec(C=1.0))

    plain = fit_stream(Rows(features, size=7), y, HeadSpec(C=1.0))
    assert head.scale[-1] == 1.0
    assert head.coef[:, -1] == pytest.approx(0.0, abs=1e-12)
    assert head.coef[:, :-1] == pytest.approx(plain.coef, abs=1e-6)


def test_equal_columns_share_their_weight():
    features, y = blobs(2)

    head = fit_stream(Rows(np.hstack([features, features])), y, HeadSpec(C=1e6))

    assert head.converged
    assert head.coef[0, :5] == pytest.approx(head.coef[0, 5:], rel=1e-6)


def test_a_hessian_that_rounding_makes_singular_is_no_obstacle():
    features, y = blobs(2)

    head = fit_stream(Rows(np.hstack([features] * 4)), y, HeadSpec(C=1e300))

    plain = fit_stream(Rows(features), y, HeadSpec(C=1e300))
    assert head.converged
    together = head.coef.reshape(4, 5).sum(axis=0)
    assert together == pytest.approx(plain.coef[0], abs=1e-3)


@SOLVERS
@pytest.mark.parametrize("n_classes", [2, 3])
def test_separable_classes_with_hardly_any_penalty(use_solver, n_classes, solver):
    y = np.arange(90) % n_classes
    features = (10.0 * np.eye(3)[y] + np.random.default_rng(0).random((90, 3))).astype(
        np.float32
    )
    use_solver(solver)

    head = fit_stream(Rows(features), y, HeadSpec(C=1e10))

    assert np.isfinite(head.coef).all()
    assert (head.probabilities(features).argmax(axis=1) == y).all()
    assert head.converged


@SOLVERS
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_solver_that_did_not_converge_is_recorded(
    monkeypatch, use_solver, n_classes, solver
):
    features, y = blobs(n_classes)
    use_solver(solver)
    done = fit_stream(Rows(features), y, HeadSpec(C=1.0))
    monkeypatch.setattr(solvers, "MAX_ITER", {"newton-cholesky": 1, "lbfgs": 1})

    stopped = fit_stream(Rows(features), y, HeadSpec(C=1.0))

    assert (done.converged, stopped.converged) == (True, False)
    assert stopped.n_iter == 1
    assert done.n_iter > 1


class MadeUp:
    """Rows made when they are read, so that only who reads them can hold them."""

    dim, size = 40, 500

    def __init__(self, n_blocks):
        self.n_blocks = n_blocks

    def __len__(self):
        return self.n_blocks * self.size

    def block(self, number):
        random = np.random.default_rng(number)
        return random.standard_normal((self.size, self.dim), dtype=np.float32)

    def blocks(self):
        for number in range(self.n_blocks):
            rows = np.arange(number * self.size, (number + 1) * self.size)
            yield rows, self.block(number)

    def take(self, rows):
        whole = np.concatenate([self.block(i) for i in np.unique(rows // self.size)])
        return whole[: len(rows)]

    def sample(self, m):
        return np.arange(min(m, self.size))


@SOLVERS
def test_memory_grows_by_the_labels_alone(monkeypatch, use_solver, solver):
    use_solver(solver)
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 500 * 4 * MadeUp.dim)
    peaks = []
    for n_blocks in (10, 10, 100):  # the first warms up caches
        rows = MadeUp(n_blocks)
        y = np.random.default_rng(0).integers(0, 2, len(rows))
        tracemalloc.start()
        fit_stream(rows, y, HeadSpec(C=0.01))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()

    bytes_a_row = (peaks[2] - peaks[1]) / (90 * MadeUp.size)
    assert (
        bytes_a_row < 24
    )  # of 160 that a row's features take: the label, its class and a copy


def test_fit_stored_holds_what_fits_in_memory_and_fits_it_there(monkeypatch):
    features, y = blobs(3)
    folds = (np.arange(120) % 5).astype(np.int8)
    monkeypatch.setattr(streaming, "IN_MEMORY_BYTES", 120 * 5 * 4)

    head = fit_stored(Rows(features), named(y), HeadSpec(C="auto"), folds)

    expected = fit_head(features, named(y), HeadSpec(C="auto"), folds)
    assert head.params() == expected.params()
    assert head.coef.tolist() == expected.coef.tolist()


def test_fit_stored_takes_no_rows_for_a_given_C_beyond_that(monkeypatch):
    features, y = blobs(3)
    rows = Rows(features)
    monkeypatch.setattr(streaming, "IN_MEMORY_BYTES", 120 * 5 * 4 - 1)

    head = fit_stored(rows, named(y), HeadSpec(C=0.3), NO_FOLDS)

    expected = fit_stream(rows, named(y), HeadSpec(C=0.3))
    assert rows.taken == []
    assert head.search == []
    assert head.params() == expected.params()
    assert head.coef.tolist() == expected.coef.tolist()


def test_fit_stored_searches_C_on_a_sample_and_fits_all_rows(monkeypatch):
    features, y = blobs(3, n=300)
    folds = (np.arange(300) % 5).astype(np.int8)
    rows = Rows(features)
    monkeypatch.setattr(streaming, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 100 * 4 * 5)

    head = fit_stored(rows, named(y), HeadSpec(C="auto"), folds)

    part = rows.sample(100)
    search = search_c(features[part], y[part], folds[part], HeadSpec(C="auto"))
    best = min(search, key=lambda point: point.log_loss).C
    expected = fit_stream(rows, named(y), HeadSpec(C=best))
    assert head.search == search
    assert best == head.C
    assert head.solver == "newton-stream"
    assert head.coef.tolist() == expected.coef.tolist()


def test_a_class_that_the_sample_lacks_is_added_to_the_search(monkeypatch):
    features, y = blobs(3, n=300)
    folds = (np.arange(300) % 5).astype(np.int8)
    rows = Rows(features, sampled=np.flatnonzero(y < 2)[:60])
    monkeypatch.setattr(streaming, "IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(streaming, "SEARCH_BYTES", 60 * 4 * 5)

    head = fit_stored(rows, named(y), HeadSpec(C="auto"), folds)

    searched = rows.taken[0]
    added = np.flatnonzero(y == 2)[: streaming.RARE_ROWS]
    assert sorted([*rows.sample(60), *added]) == searched.tolist()
    assert head.search == search_c(
        features[searched], y[searched], folds[searched], HeadSpec(C="auto")
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_score_stored_is_in_the_order_of_the_rows(monkeypatch, n_classes):
    features, y = blobs(n_classes)
    head = fit_stream(Rows(features), y, HeadSpec(C=1.0))
    monkeypatch.setattr(objective, "CHUNK", 8)

    proba = score_stored(head, Rows(features, size=50, seed=3))

    assert proba.dtype == np.float64
    assert proba.shape == (120, n_classes)
    assert proba == pytest.approx(head.probabilities(features), rel=1e-12)

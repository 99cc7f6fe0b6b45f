"""The two estimators among scikit-learn's own tools."""

import os
import pickle
from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    StratifiedKFold,
    cross_val_predict,
    cross_validate,
)
from sklearn.pipeline import make_pipeline, make_union
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    estimator_checks_generator,
)
from sklearn.utils.validation import validate_data

from pipeline import FeatureExtractor, TextClassifier, load_encoder
from pipeline.encoder import shared
from pipeline.encoder.engine_openvino import OpenVinoEngine
from pipeline.errors import DataError, EncoderError
from pipeline.features.probes import PROBES
from pipeline.features.store import FeatureStore
from tests.checkpoints import WORDS, save_tiny
from tests.conftest import review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))


@pytest.fixture
def make(tiny_encoder):
    return partial(TextClassifier, str(tiny_encoder), C=1.0, pooling="mean")


@pytest.fixture
def extractor(tiny_encoder):
    return FeatureExtractor(str(tiny_encoder), pooling="mean")


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "artifacts"


def remembered():
    """Return the encoders that this process shares."""
    return shared._loaded.get(shared._Loaded).encoders


# What scikit-learn checks is checked with texts: its matrices are read as words, a number a word. Only what a matrix
# itself may be (its shape, NaN, sparse) is answered by the reading, as it must be; all else by the estimators.
# Two of its checks have no meaning here:
NOT_FOR_TEXTS = {
    "check_class_weight_classifiers": "class_weight is one of two words, not weights by class",
}


def as_texts(X):
    words = np.round(3 * np.asarray(X, dtype=float)).astype(int) % len(WORDS)
    return [" ".join(WORDS[i] for i in row) for row in words]


class ReadsNumbers:
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()  # type: ignore[misc]  # of the estimator mixed with
        tags.input_tags.two_d_array = True
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags


class NumberClassifier(ReadsNumbers, TextClassifier):
    def fit(self, X, y):
        return super().fit(as_texts(validate_data(self, X)), y)

    def _features(self, X):
        return super()._features(as_texts(validate_data(self, X, reset=False)))


class NumberExtractor(ReadsNumbers, FeatureExtractor):
    def fit(self, X, y=None):
        return super().fit(as_texts(validate_data(self, X)))

    def transform(self, X):
        return super().transform(as_texts(validate_data(self, X, reset=False)))


def named(checks):
    return [
        pytest.param(kind, i, id=f"{kind.__name__}-{i}-{name}")
        for kind in checks
        for i, name in enumerate(checks[kind])
    ]


def checks_of(kind, *arguments, **options):
    return list(estimator_checks_generator(kind(*arguments, **options)))


def name_of(check):
    return getattr(check, "func", check).__name__


CHECKS = {
    kind: [name_of(check) for _, check in checks_of(kind)]
    for kind in (NumberClassifier, NumberExtractor)
}


@pytest.mark.parametrize(("kind", "i"), named(CHECKS))
def test_scikit_learns_checks_pass(kind, i, tiny_encoder):
    options = {"C": 100.0} if kind is NumberClassifier else {}
    estimator, check = checks_of(kind, str(tiny_encoder), pooling="mean", **options)[i]
    name = name_of(check)

    if name in NOT_FOR_TEXTS:
        with pytest.raises(ValueError, match="class-weight"):
            check(estimator)
    elif name == "check_array_api_input" and "SCIPY_ARRAY_API" not in os.environ:
        with pytest.raises(BaseException, match="SCIPY_ARRAY_API is not set"):
            check(estimator)
    else:
        check(estimator)


def test_scikit_learn_has_many_checks_for_them():
    assert len(CHECKS[NumberClassifier]) > 50
    assert len(CHECKS[NumberExtractor]) > 35
    assert {"check_fit_idempotent", "check_estimators_pickle"} <= set(
        CHECKS[NumberClassifier]
    )


@pytest.mark.parametrize("kind", [TextClassifier, FeatureExtractor])
def test_the_tags_tell_that_texts_are_wanted_and_no_matrix(kind):
    tags = get_tags(kind())

    assert tags.input_tags.string
    assert not tags.input_tags.two_d_array
    assert tags.target_tags.required == (kind is TextClassifier)
    assert tags.requires_fit == (kind is TextClassifier)
    with pytest.warns(match="Can't test estimator"):
        checks = [name_of(check) for _, check in estimator_checks_generator(kind())]
    assert checks == [check_estimator_cloneable.__name__]


@pytest.mark.parametrize(
    "estimator",
    [TextClassifier("x", C=0.5, layer=1), FeatureExtractor("x", cache="somewhere")],
)
def test_estimators_clone_and_only_store(estimator):
    copy = clone(estimator)

    assert copy.get_params() == estimator.get_params()
    assert copy.set_params(max_length=7).max_length == 7


def test_fit_gives_itself_back_and_touches_neither_options_nor_arguments(make):
    classifier, texts, labels = make(), list(TEXTS), list(LABELS)
    before = classifier.get_params()

    assert classifier.fit(texts, labels) is classifier

    assert classifier.get_params() == before
    assert (texts, labels) == (TEXTS, LABELS)
    assert not hasattr(classifier, "n_features_in_")


def test_fitting_twice_gives_the_same_and_predicting_changes_nothing(make):
    classifier = make().fit(TEXTS, LABELS)
    first, state = classifier.predict_proba(TEXTS), dict(vars(classifier))

    assert vars(classifier) == state
    assert np.array_equal(classifier.fit(TEXTS, LABELS).predict_proba(TEXTS), first)


@pytest.mark.parametrize(
    "given",
    [
        tuple(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, dtype=object),
        pd.Series(TEXTS, index=range(7, 127)),
        (text for text in TEXTS),
    ],
    ids=["tuple", "array", "objects", "Series", "generator"],
)
def test_fit_takes_texts_in_any_sequence(make, given):
    fitted = make().fit(given, LABELS)

    assert np.array_equal(fitted.head_.coef, make().fit(TEXTS, LABELS).head_.coef)


@pytest.mark.parametrize(
    ("convert", "classes", "kind"),
    [
        (list, ["neg", "pos"], "U"),
        (partial(np.array, dtype=object), ["neg", "pos"], "O"),
        (pd.Categorical, ["neg", "pos"], "O"),
        (pd.Series, ["neg", "pos"], "O"),
        (lambda y: [label == "pos" for label in y], [False, True], "b"),
        (lambda y: [3 * (label == "pos") for label in y], [0, 3], "i"),
        (lambda y: np.array(y) == "pos", [False, True], "b"),
        (lambda y: 1.0 + (np.array(y) == "pos"), [1.0, 2.0], "f"),
        (lambda y: (np.array(y) == "pos").astype(object), [False, True], "b"),
        (lambda y: np.array([int(x == "pos") for x in y], object), [0, 1], "i"),
        (lambda y: pd.Series([x == "pos" for x in y], dtype="Int64"), [0, 1], "i"),
    ],
)
def test_labels_come_back_as_they_were_given(make, convert, classes, kind):
    fitted = make().fit(TEXTS, convert(LABELS))
    again = pickle.loads(pickle.dumps(fitted))

    assert fitted.classes_.tolist() == classes
    assert fitted.classes_.dtype.kind == kind
    for classifier in (fitted, again):
        predicted = classifier.predict(TEXTS)
        assert predicted.dtype == fitted.classes_.dtype
        assert (predicted == np.array(list(convert(LABELS)))).mean() > 0.9


def test_integer_labels_stay_integers_in_the_predictor(make):
    labels = [int(label == "pos") for label in LABELS]

    predictor = make().fit(TEXTS, labels).predictor_

    assert predictor.classes_.dtype == np.int64
    assert predictor.predict(["good"]).dtype == np.int64


def test_three_classes_and_auto_c(tiny_encoder):
    labels = [text.split()[1] for text in TEXTS]

    fitted = TextClassifier(str(tiny_encoder), pooling="mean").fit(TEXTS, labels)

    assert fitted.classes_.tolist() == ["film", "plot", "story"]
    assert fitted.predict_proba(TEXTS).shape == (120, 3)
    assert fitted.decision_function(TEXTS).shape == (120, 3)
    assert fitted.score(TEXTS, np.array(labels, dtype=object)) > 0.9


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x", "x", "x"], "at least two classes.*Add texts"),
        (["x"], "3 texts but 1 labels.*one label a text"),
        (None, "y is None"),
        (["x", None, "y"], r"texts 1 are missing.*label them"),
        ([1.0, 2.0, float("nan")], r"texts 2 are missing"),
        (np.array(["x", 1, "y"], dtype=object), "several kinds.* 1 is int"),
        ([0.5, 0.25, 1.0], "Unknown label type: continuous"),
        (np.array([b"x", b"y", b"x"]), r"Labels are \|S1, expected str, int or bool"),
        (np.array(["2026", "2027", "2026"], "datetime64[Y]"), "Labels are datetime64"),
        (np.array([1, 2**63, 1], dtype=np.uint64), "does not fit 64 bits"),
        (np.array([b"x", b"y", b"x"], dtype=object), "str, int or bool"),
    ],
)
def test_labels_that_cannot_be_meant_are_refused(make, labels, message):
    with pytest.raises(ValueError, match=message):
        make().fit(["good", "bad", "fine"], labels)


@pytest.mark.parametrize(
    "method", ["predict", "predict_proba", "decision_function", "transform"]
)
def test_an_unfitted_classifier_says_so(method):
    with pytest.raises(NotFittedError):
        getattr(TextClassifier(), method)(["good"])
    assert not hasattr(TextClassifier(), "predictor_")


def test_a_pickle_of_a_fitted_classifier_needs_no_encoder(tmp_path):
    folder = save_tiny(tmp_path / "moving")
    fitted = TextClassifier(str(folder), C=1.0, pooling="mean").fit(TEXTS, LABELS)
    stream = pickle.dumps(fitted)
    folder.rename(tmp_path / "moved")
    remembered().clear()

    loaded = pickle.loads(stream)

    np.testing.assert_allclose(
        loaded.predict_proba(TEXTS), fitted.predict_proba(TEXTS), atol=1e-6
    )
    assert pickle.loads(pickle.dumps(loaded)).predict(["good"]).shape == (1,)
    with pytest.raises((EncoderError, ValueError)):
        loaded.fit(TEXTS, LABELS)


def test_the_extractor_works_in_a_chain_and_its_pickle_holds_no_encoder(extractor):
    chain = make_pipeline(extractor, LogisticRegression(max_iter=1000))

    chain.fit(TEXTS, LABELS)
    stream = pickle.dumps(chain)

    assert chain.score(TEXTS, LABELS) > 0.8
    assert len(stream) < 10_000
    assert (
        pickle.loads(stream).predict(TEXTS[:3]).tolist()
        == chain.predict(TEXTS[:3]).tolist()
    )


def test_the_extractor_follows_changed_options(extractor):
    first = extractor.transform(["the film is good"])

    changed = extractor.set_params(pooling="cls").transform(["the film is good"])

    assert not np.allclose(first, changed)


def test_estimators_of_equal_options_share_one_encoder(extractor):
    assert clone(extractor).loaded() is extractor.loaded()
    assert clone(extractor).set_params(layer=-2).loaded() is not extractor.loaded()


def test_an_encoder_whose_files_changed_is_not_shared(tmp_path):
    first = FeatureExtractor(str(save_tiny(tmp_path / "one"))).loaded()
    (tmp_path / "one").rename(tmp_path / "gone")
    second = FeatureExtractor(str(save_tiny(tmp_path / "one", seed=5))).loaded()

    assert not np.allclose(first.encode(["good"]), second.encode(["good"]))


def test_few_encoders_are_remembered(extractor):
    for layer in (0, 1, 2):
        clone(extractor).set_params(layer=layer).loaded()

    assert len(remembered()) <= shared.MOST


def test_features_as_a_table_keep_the_index_and_have_names(extractor, tiny_encoder):
    frame = pd.DataFrame({"text": TEXTS[:3], "stars": [1, 2, 3]}, index=[5, 6, 9])
    columns = make_column_transformer(
        (extractor, "text"), remainder="passthrough"
    ).set_output(transform="pandas")

    found = columns.fit_transform(frame)

    assert found.index.tolist() == [5, 6, 9]
    assert found.columns[0] == "featureextractor__featureextractor0"
    assert found.columns[-1] == "remainder__stars"
    np.testing.assert_allclose(
        found.iloc[:, :-1],
        load_encoder(str(tiny_encoder), pooling="mean").encode(TEXTS[:3]),
        atol=1e-6,
    )


def test_a_classifier_that_gives_tables_still_predicts(make):
    classifier = make().set_output(transform="pandas").fit(TEXTS, LABELS)

    assert classifier.transform(TEXTS[:2]).columns[1] == "textclassifier1"
    assert classifier.predict(["good"]).shape == (1,)


def test_features_of_two_poolings_stand_side_by_side(extractor):
    union = make_union(extractor, clone(extractor).set_params(pooling="cls"))

    assert union.fit_transform(TEXTS[:2]).shape == (2, 32)


def test_calibration_takes_the_classifier(make):
    folds = StratifiedKFold(3, shuffle=True, random_state=0)

    calibrated = CalibratedClassifierCV(make(), cv=folds).fit(TEXTS, LABELS)

    assert calibrated.predict_proba(TEXTS).shape == (120, 2)
    assert calibrated.score(TEXTS, LABELS) > 0.8


def stored_rows(cache):
    """Return how many rows each store below holds, repeated ones included."""
    found = {}
    for folder in (cache / "features").iterdir():
        store = FeatureStore(folder, cache)
        assert store.load() == []
        found[folder.name] = len(store)
    return found


def refuse(*_):
    raise AssertionError("an encoder was loaded")


def test_a_cached_search_encodes_each_text_once(make, cache):
    search = GridSearchCV(
        make(cache=cache), {"C": [0.1, 1.0, 10.0]}, cv=3, error_score="raise"
    )

    search.fit(TEXTS, LABELS)

    assert list(stored_rows(cache).values()) == [len(set(TEXTS))]
    assert search.best_estimator_.predictor_.predict(TEXTS).tolist() == (
        search.predict(TEXTS).tolist()
    )


def test_what_is_cached_needs_no_encoder(make, cache, monkeypatch):
    first = make(cache=str(cache)).fit(TEXTS, LABELS)
    remembered().clear()
    monkeypatch.setattr(shared, "load_source", refuse)

    again = make(cache=cache).fit(TEXTS, LABELS)
    scores = cross_validate(
        make(cache=cache), TEXTS, LABELS, cv=3, return_train_score=True
    )

    assert np.array_equal(again.predict_proba(TEXTS), first.predict_proba(TEXTS))
    assert again.get_feature_names_out().shape == (16,)
    assert (scores["train_score"] > 0.8).all()
    assert make(cache=cache).fit(TEXTS, LABELS).transform([]).shape == (0, 16)


def test_cached_features_are_those_that_are_computed(extractor, cache):
    cached = clone(extractor).set_params(cache=cache)
    texts = [*TEXTS[:5], TEXTS[0], "", "the film"]

    np.testing.assert_allclose(
        cached.transform(texts), extractor.transform(texts), atol=1e-6
    )
    assert list(stored_rows(cache).values()) == [7]


@pytest.fixture
def wrong_engine(monkeypatch):
    """OpenVINO computes something else than it is asked to."""
    call = OpenVinoEngine.__call__
    monkeypatch.setattr(
        OpenVinoEngine,
        "__call__",
        lambda self, *batch: call(self, *batch) + np.float32(0.1),
    )
    yield
    remembered().clear()


@pytest.mark.usefixtures("wrong_engine")
def test_a_predictor_is_made_with_the_engine_that_encoded(
    make, cache, tiny_encoder, caplog
):
    torch = load_encoder(str(tiny_encoder), pooling="mean", backend="torch")

    first = make(cache=cache).fit(TEXTS, LABELS)
    parts = first.predictor_._parts
    first.transform(["a text that was never seen"])
    n_refusals = caplog.text.count("torch does the work now.")
    other = make(cache=cache).fit(TEXTS, LABELS).predictor_._parts  # nothing is missing

    for made in (parts, other):
        assert made.made_by == torch.engine_identity
        np.testing.assert_allclose(made.probe_features, torch.encode(PROBES), atol=1e-6)
    assert n_refusals == 1


def test_an_encoder_that_is_asked_for_alone_leaves_no_certificate(extractor, cache):
    encoder = clone(extractor).set_params(cache=cache).loaded()

    assert encoder.encode(["good"]).shape == (1, 16)
    assert not list(cache.glob("features/*/certificates/*"))


def test_a_cached_chain_in_two_processes_encodes_each_text_once(extractor, cache):
    chain = make_pipeline(
        clone(extractor).set_params(cache=cache), LogisticRegression(max_iter=1000)
    )

    predicted = cross_val_predict(chain, TEXTS, LABELS, cv=2, n_jobs=2)

    assert predicted.shape == (120,)
    assert list(stored_rows(cache).values()) == [len(set(TEXTS))]


def test_a_search_over_pooling_and_layer_fills_a_store_each(make, cache):
    grid = {"pooling": ["cls", "mean"], "layer": [-1, -2]}
    search = GridSearchCV(make(cache=cache), grid, cv=2, error_score="raise")

    search.fit(TEXTS, LABELS)

    assert list(stored_rows(cache).values()) == [len(set(TEXTS))] * 4


def test_a_run_of_the_pipeline_uses_what_was_cached(job, reviews, tiny_encoder):
    FeatureExtractor(str(tiny_encoder), cache=job.artifacts).transform(TEXTS)

    done = job.train(reviews, tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    assert job.ledger()[-1]["rows_encoded"] == 0


def test_a_run_of_the_pipeline_serves_the_estimators(
    trained, tiny_encoder, monkeypatch
):
    remembered().clear()
    monkeypatch.setattr(shared, "load_source", refuse)

    features = FeatureExtractor(str(tiny_encoder), cache=trained.artifacts).transform(
        TEXTS
    )

    assert features.shape == (120, 16)


def test_a_damaged_shard_is_encoded_again(extractor, cache, caplog):
    cached = clone(extractor).set_params(cache=cache)
    before = cached.transform(TEXTS)
    (path,) = cache.glob("features/*/shards/*/features.npy")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    after = cached.transform(TEXTS)

    np.testing.assert_allclose(after, before, atol=1e-6)
    assert "moved to quarantine" in caplog.text


def test_a_changed_encoder_does_not_write_into_the_old_ones_store(tmp_path, cache):
    folder = save_tiny(tmp_path / "one")
    cached = FeatureExtractor(str(folder), cache=cache)
    cached.transform(TEXTS[:4])
    remembered().clear()
    folder.rename(tmp_path / "gone")
    save_tiny(folder, seed=5)

    with pytest.raises(EncoderError, match="changed"):
        cached.transform(TEXTS)
    assert list(stored_rows(cache).values()) == [4]


@pytest.mark.parametrize("cached", [False, True])
def test_something_else_than_texts_is_refused(extractor, cache, cached):
    given = clone(extractor).set_params(cache=cache if cached else None)

    with pytest.raises(DataError, match="Pass one column"):
        given.transform(pd.DataFrame({"text": TEXTS}))
    with pytest.raises(DataError, match="Text 1 is int"):
        given.transform(["good", 1])

"""Texts of another kind are noticed; those of the same kind hardly ever are."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from pipeline import TextClassifier, load_encoder, load_predictor
from pipeline.errors import ArtifactError, ConfigError
from pipeline.evaluation import drift
from pipeline.evaluation.drift import MIN_TEXTS, NEGLIGIBLE, Drift, Reference
from pipeline.features.stored import StoredFeatures
from pipeline.predictor.file import pack, restore, save_predictor
from pipeline.predictor.predictor import Predictor
from pipeline.predictor.reference import reference_of
from tests.conftest import review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))
DIM = 12
MIXING = np.random.default_rng(3).standard_normal((DIM, DIM))


def described(features):
    reference = Reference.of(features)
    assert reference is not None
    return reference


def rows(generator, n, *, shift=0.0, spread=1.0):
    """Return correlated features; their mean is so many standard deviations off."""
    values = spread * generator.standard_normal((n, DIM))
    values[:, 0] += shift
    return (values @ MIXING + 5.0).astype(np.float32)


def alarms(n_windows, n_texts, **options):
    """Return which share of windows alarms, each beside a training set of its own."""
    generator = np.random.default_rng(11)
    found = 0
    for _ in range(n_windows):
        reference = described(rows(generator, 800))
        found += reference.compare(rows(generator, n_texts, **options)).is_found
    return found / n_windows


def distance_along_axes(shift):
    """Return how far a shift of `rows` is on a reference's axes: the places of few dimensions do not hold all of it."""
    generator = np.random.default_rng(5)
    reference = described(rows(generator, 20_000))
    places = [
        reference.place(rows(generator, 200_000, shift=s)).mean(axis=0)
        for s in (0.0, shift)
    ]
    return float(np.linalg.norm(reference.whiten @ (places[1] - places[0])))


def test_a_drift_that_is_just_negligible_alarms_in_a_twentieth_of_windows():
    shift = NEGLIGIBLE * NEGLIGIBLE / distance_along_axes(NEGLIGIBLE)

    assert 0.02 <= alarms(500, 200, shift=shift) <= 0.07


@pytest.mark.parametrize("n_texts", [MIN_TEXTS, 200, 3_000])
def test_windows_like_the_training_texts_hardly_ever_alarm(n_texts):
    assert alarms(200, n_texts) <= 0.05


def test_a_shift_of_a_standard_deviation_is_seen_in_two_hundred_texts():
    assert alarms(100, 200, shift=1.5) >= 0.99


@pytest.mark.parametrize("spread", [0.6, 1.6])
def test_another_spread_about_the_same_mean_is_seen(spread):
    assert alarms(50, 200, spread=spread) >= 0.98


def test_what_lies_beside_all_axes_is_seen():
    generator = np.random.default_rng(1)
    flat = np.hstack([10 * rows(generator, 800), rows(generator, 800)])
    new = np.hstack([10 * rows(generator, 100), rows(generator, 100, spread=4.0)])

    assert described(flat).compare(new).is_found


def test_the_distance_is_that_of_the_means():
    generator = np.random.default_rng(2)
    found = described(rows(generator, 5_000)).compare(rows(generator, 2_000, shift=3.0))

    assert found.distance == pytest.approx(distance_along_axes(3.0), rel=0.1)


def test_few_texts_are_not_judged():
    generator = np.random.default_rng(4)
    reference = described(rows(generator, 800))

    found = reference.compare(rows(generator, MIN_TEXTS - 1, shift=9.0))

    assert (found.is_found, found.distance, found.p_value) == (None, None, None)
    assert str(found) == "49 texts, fewer than 50: cannot tell whether they drifted"


def test_the_answer_is_a_sentence():
    same = Drift(200, 0.05, 0.0, 0.61234)

    assert str(same) == (
        "200 texts show no drift from the training texts: their mean is 0.00 standard deviations off, up to 0.25 is "
        "negligible (p = 0.612, level 0.05)"
    )
    assert "are not like the training texts" in str(replace(same, p_value=1e-9))
    assert "(p < 0.001, level 0.05)" in str(replace(same, p_value=1e-9))


def test_a_lower_level_alarms_less():
    assert Drift(200, 0.05, 0.5, 0.01).is_found
    assert not Drift(200, 0.001, 0.5, 0.01).is_found


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1, float("nan")])
def test_a_level_that_is_no_share_is_refused(level):
    reference = described(rows(np.random.default_rng(4), 800))

    with pytest.raises(ConfigError, match=r"between 0 and 1, such as 0\.05"):
        reference.compare(rows(np.random.default_rng(5), 100), level)


def test_rows_in_the_order_of_their_labels_make_the_same_kind_of_halves():
    generator = np.random.default_rng(6)
    labelled = np.stack([rows(generator, 400), rows(generator, 400, shift=8.0)], axis=1)

    for order in (
        labelled.reshape(800, DIM),
        labelled.swapaxes(0, 1).reshape(800, DIM),
    ):
        window = np.vstack([rows(generator, 100), rows(generator, 100, shift=8.0)])
        assert not described(order).compare(window).is_found


def test_the_same_rows_give_the_same_bytes():
    features = rows(np.random.default_rng(7), 500)

    one, other = (
        {name: array.tobytes() for name, array in reference_of(features).items()}
        for _ in range(2)
    )

    assert one == other
    assert {*one} == {"mean", "axes", "scale", "rest", "centre", "whiten", "n_rows"}


def test_a_reference_is_small():
    features = np.random.default_rng(8).standard_normal((2_000, 768), dtype=np.float32)

    assert sum(array.nbytes for array in reference_of(features).values()) < 256_000


def test_more_rows_than_are_used_change_nothing_of_the_size(monkeypatch):
    monkeypatch.setattr(drift, "MAX_ROWS", 400)

    reference = described(rows(np.random.default_rng(9), 1_000))

    assert reference.n_rows.tolist() == [200]


@pytest.mark.parametrize(
    "features",
    [
        rows(np.random.default_rng(0), 39),
        np.ones((500, DIM), dtype=np.float32),
        np.repeat(rows(np.random.default_rng(0), 2), 250, axis=0),
    ],
    ids=["few", "constant", "two different"],
)
def test_training_rows_that_cannot_be_described_give_no_reference(features):
    assert reference_of(features) == {}


@pytest.fixture(scope="module")
def predictor(tiny_encoder):
    return (
        TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
        .fit(TEXTS, LABELS)
        .predictor_
    )


def test_a_predictor_tells_drift_before_and_after_it_is_saved(predictor, tmp_path):
    save_predictor(predictor, tmp_path / "predictor.joblib")
    loaded = load_predictor(tmp_path / "predictor.joblib")

    for one in (predictor, loaded):
        assert one.drift(TEXTS).is_found is False
        assert one.drift(["never never"] * 60 + ["cold"] * 40).is_found
        assert one.drift(["good"] * 49).is_found is None
        assert one.drift(iter(TEXTS), level=0.01).level == 0.01


def test_a_file_without_a_reference_loads_and_says_so(predictor):
    older = Predictor(replace(predictor._parts, reference={}))
    digest, header, *sections = pack(older._parts)
    assert "reference" not in header

    loaded = restore(digest, header, sections)

    assert loaded.predict(["good"]).shape == (1,)
    with pytest.raises(ArtifactError, match=r"no reference.*export it again"):
        loaded.drift(TEXTS)


def test_the_exported_predictor_describes_the_rows_it_was_fitted_on(trained):
    exported = load_predictor(trained.artifacts / "latest" / "predictor.joblib")
    (split,) = (trained.artifacts / "splits").glob("*/fit.npy")

    (features,) = (trained.artifacts / "features").glob("*/datasets/*")

    fitted_on = StoredFeatures.of([features], trained.artifacts).take(np.load(split))

    assert exported._parts.reference.keys() == reference_of(fitted_on).keys()
    for name, array in reference_of(fitted_on).items():
        assert np.array_equal(exported._parts.reference[name], array), name
    assert exported.drift(["never never"] * 60 + ["cold"] * 40).is_found


def test_tweets_are_noticed_and_held_out_sentences_are_not(shared):
    """Real weights and texts; `python -m benchmarks.drift` measures how often."""
    sentences = [
        line.split("\t")[0]
        for name in ("train", "test")
        for line in (shared / "data" / "sst2" / f"{name}.tsv")
        .read_text(encoding="utf-8")
        .splitlines()[:500]
    ]
    with (shared / "data" / "semeval2018-ec" / "dev.txt").open(encoding="utf-8") as f:
        tweets = [row[1] for row in csv.reader(f, delimiter="\t", quoting=3)][1:101]
    encode = load_encoder("minilm", pooling="mean").encode
    reference = described(encode(sentences[:500]))
    held_out, found = encode(sentences[500:]), encode(tweets)

    assert not any(
        reference.compare(held_out[begin : begin + 200]).is_found for begin in (0, 200)
    )
    assert reference.compare(found).is_found
    assert reference.compare(found[:MIN_TEXTS]).is_found

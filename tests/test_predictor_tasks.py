"""Predictors of several labels a text, and of numbers."""

import hashlib
import io
import json
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.config import HeadSpec
from pipeline.datasets.table import object_array
from pipeline.errors import ArtifactError, ConfigError
from pipeline.heads.fit import fit_task
from pipeline.heads.head import ARRAYS
from pipeline.predictor.file import pack, save_predictor, unpack
from pipeline.predictor.predictor import Predictor
from pipeline.predictor.writers import CsvWriter
from tasks import cli
from tests.conftest import review_rows
from tests.test_heads_tasks import InMemory

TEXTS, SIDES = (list(column) for column in zip(*review_rows(), strict=True))
NAMES = ["good", "long", "none has it"]
SETS = object_array(
    [
        (("good",) if side == "pos" else ()) + (("long",) if len(text) > 30 else ())
        for text, side in zip(TEXTS, SIDES, strict=True)
    ]
)
VALUES = np.array([float(len(text)) for text in TEXTS])


@pytest.fixture(scope="module")
def classifier(tiny_encoder):
    return TextClassifier(str(tiny_encoder), pooling="mean", C=1.0).fit(TEXTS, SIDES)


def of_task(classifier, task, labels, names=()):
    """Return the classifier's predictor with a head of another kind."""
    parts = classifier.predictor_._parts
    features = classifier.predictor_.transform(TEXTS)
    folds = (np.arange(len(TEXTS)) % 5).astype(np.int8)
    spec = HeadSpec(C=1.0)
    head = fit_task(InMemory(features), labels, spec, folds, task=task, names=names)
    return Predictor(
        replace(
            parts,
            head=head.params(),
            head_arrays={name: getattr(head, name) for name in ARRAYS},
            probe_proba=head.outputs(parts.probe_features),
        )
    )


@pytest.fixture(scope="module")
def labels(classifier):
    return of_task(classifier, "multilabel", SETS, NAMES)


@pytest.fixture(scope="module")
def numbers(classifier):
    return of_task(classifier, "regression", VALUES)


def test_several_labels_are_a_tuple_of_names(labels):
    found = labels.predict(TEXTS)

    assert labels.task == "multilabel"
    assert labels.classes_.tolist() == NAMES
    assert found.shape == (len(TEXTS),)
    assert {type(one) for one in found} == {tuple}
    right = [set(one) == set(given) for one, given in zip(found, SETS, strict=True)]
    assert np.mean(right) > 0.8
    assert labels.predict([]).shape == (0,)
    assert not any("none has it" in one for one in found)


def test_probabilities_of_labels_need_not_sum_to_one(labels):
    proba = labels.predict_proba(TEXTS)

    assert proba.shape == (len(TEXTS), 3)
    assert np.abs(proba.sum(axis=1) - 1).max() > 0.1
    assert labels.decision_function(TEXTS).shape == (len(TEXTS), 3)


def test_numbers_are_floats(numbers):
    found = numbers.predict(TEXTS)

    assert numbers.task == "regression"
    assert numbers.classes_.shape == (0,)
    assert found.dtype == np.float64
    assert np.corrcoef(found, VALUES)[0, 1] > 0.8
    assert found == pytest.approx(numbers.decision_function(TEXTS))


def test_numbers_have_no_probabilities(numbers):
    with pytest.raises(ConfigError, match="have no probabilities"):
        numbers.predict_proba(TEXTS)


@pytest.mark.parametrize("name", ["labels", "numbers"])
def test_the_file_gives_the_same_answers(name, request, tmp_path):
    predictor = request.getfixturevalue(name)
    path = tmp_path / "predictor.joblib"
    save_predictor(predictor, path)

    for load in (load_predictor, joblib.load):
        loaded = load(path)

        assert loaded.task == predictor.task
        assert loaded.predict(TEXTS).tolist() == predictor.predict(TEXTS).tolist()
        assert loaded.self_check() == predictor.self_check()


def header_of(predictor):
    _, header, *_ = pack(predictor._parts)
    return json.loads(header)


def test_a_reader_of_format_1_is_told_of_what_it_would_misread(
    classifier, labels, numbers
):
    plain = header_of(classifier.predictor_)

    assert plain["version"] == 1
    assert "task" not in plain["head"]
    assert [header_of(one)["version"] for one in (labels, numbers)] == [2, 2]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head": {"task": "ranking"}}, "task is 'ranking', expected one of: classif"),
        ({"pair_encoding": "crossed"}, "pair encoding is 'crossed', expected one of"),
        (
            {"head": {"task": "multilabel", "rule": {"calibrator": {"method": "x"}}}},
            "calibrator is 'x', expected one of: temperature",
        ),
        ({"version": 3}, "version 3, expected frostbert-predictor 1 or 2"),
    ],
)
def test_words_of_a_later_version_are_refused(labels, change, said):
    _, header, *sections = pack(labels._parts)
    changed = json.dumps({**json.loads(header), **change})

    with pytest.raises(ArtifactError, match=said):
        unpack(hashlib.sha256(changed.encode()).hexdigest(), changed, sections)


def test_the_rebuilt_pipeline_gives_the_same(labels, numbers):
    flags = labels.classifier.predict(labels.transform(TEXTS)).astype(bool)
    assert [tuple(np.array(NAMES)[row]) for row in flags] == labels.predict(
        TEXTS
    ).tolist()

    found = numbers.classifier.predict(numbers.transform(TEXTS))
    assert found == pytest.approx(numbers.predict(TEXTS), abs=1e-3)


def test_explanations_add_up_to_the_score_of_a_label(labels):
    for label in (None, "long"):
        why = labels.explain(TEXTS[0], label=label)

        assert why.predicted == labels.predict(TEXTS[:1])[0]
        if label:
            assert why.label == label
        k = NAMES.index(why.label)
        assert why.score == pytest.approx(labels.decision_function(TEXTS[:1])[0, k])
        assert why.remainder == pytest.approx(0, abs=1e-4)
        assert f"the score of {why.label} is" in str(why)
        assert why.answer in why.to_html()


def test_explanations_add_up_to_the_number(numbers):
    why = numbers.explain(TEXTS[0])

    assert why.label is None
    assert why.score == pytest.approx(why.predicted)
    assert why.remainder == pytest.approx(0, abs=1e-3)
    assert str(why).startswith(f"{why.predicted:.3f} is predicted.\n")
    assert "Solid underlines speak for <bdi>a larger number" in why.to_html()
    json.dumps(why.to_dict())
    with pytest.raises(ConfigError, match="a regression has no labels"):
        numbers.explain(TEXTS[0], label="long")


@pytest.mark.parametrize("name", ["labels", "numbers"])
def test_the_page_of_one_class_is_refused(name, request):
    with pytest.raises(ConfigError, match="how one class is chosen"):
        request.getfixturevalue(name).look(TEXTS[0])


@pytest.mark.parametrize(
    ("name", "said"), [("labels", "good, long"), ("numbers", "a number")]
)
def test_the_repr_says_what_is_predicted(name, said, request):
    assert f"→ {said}" in repr(request.getfixturevalue(name))


def predicted(predictor, folder, form):
    """Return the file that `frostbert predict` writes."""
    path, out = folder / "predictor.joblib", folder / f"out.{form}"
    save_predictor(predictor, path)
    (folder / "in.txt").write_text(f"{TEXTS[0]}\n{TEXTS[-1]}\n")
    options = ["--predictor", path, "--out", out, folder / "in.txt"]
    assert cli.main(["predict", *map(str, options)]) == 0
    return out


def test_the_command_writes_several_labels(labels, tmp_path):
    first, last = labels.predict([TEXTS[0], TEXTS[-1]])

    rows = pd.read_csv(predicted(labels, tmp_path, "csv"), keep_default_na=False)
    objects = pd.read_json(predicted(labels, tmp_path, "jsonl"), lines=True)
    table = pq.read_table(predicted(labels, tmp_path, "parquet"))

    assert rows["label"].tolist() == ["|".join(first), "|".join(last)]
    assert objects["label"].tolist() == [list(first), list(last)]
    assert table["label"].to_pylist() == [list(first), list(last)]
    columns = ["row", "label", *(f"p_{name}" for name in NAMES), "truncated", "text"]
    assert rows.columns.tolist() == columns


def test_the_command_writes_numbers(numbers, tmp_path):
    expected = numbers.predict([TEXTS[0], TEXTS[-1]]).tolist()

    rows = pd.read_csv(predicted(numbers, tmp_path, "csv"))
    objects = pd.read_json(predicted(numbers, tmp_path, "jsonl"), lines=True)
    table = pq.read_table(predicted(numbers, tmp_path, "parquet"))

    assert rows.columns.tolist() == ["row", "label", "truncated", "text"]
    assert rows["label"].tolist() == pytest.approx(expected)
    assert objects["label"].tolist() == pytest.approx(expected)
    assert table["label"].to_pylist() == pytest.approx(expected)


def test_names_with_the_sign_between_labels_make_a_list():
    stream = io.BytesIO()
    writer = CsvWriter(stream, ["label"])

    writer.write({"label": [("a|b",), ("a", "b"), ("c",)]})

    found = pd.read_csv(io.BytesIO(stream.getvalue()), keep_default_na=False)
    assert found["label"].tolist() == ['["a|b"]', "a|b", "c"]

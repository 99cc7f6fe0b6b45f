"""Real reports on data of odd shapes: what the schema says, without NaN, and right where it can be counted."""

import json
from importlib.resources import files

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from pipeline.datasets.table import StoredTexts
from pipeline.report.material import cut
from tests.checkpoints import WORDS
from tests.conftest import Job, review_rows, write_tsv
from tests.test_report import refuse

SCHEMA = json.loads(
    (files("pipeline.report") / "report.schema.json").read_text(encoding="utf-8")
)


def texts(n):
    """Return `n` distinct texts of the tiny tokenizer's words."""
    generator = np.random.default_rng(0)
    found: dict[str, None] = {}
    while len(found) < n:
        found[" ".join(generator.choice(WORDS, generator.integers(3, 9)))] = None
    return list(found)


def three_scored(folder):
    write_tsv(folder / "train.tsv", review_rows()[:80])
    write_tsv(folder / "test.tsv", review_rows()[117:])


def forty(folder):
    write_tsv(folder / "train.tsv", review_rows()[::3])


def many_classes(folder):
    rows = [(text, f"class {i % 77:02}") for i, text in enumerate(texts(77 * 8))]
    write_tsv(folder / "train.tsv", rows)


def unknown_and_missing(folder):
    """An unknown label and no row of a class among those scored; equal and contained texts among them."""
    labels = ("a", "b", "c")
    rows = [(text, labels[i % 3]) for i, text in enumerate(texts(330))]
    train, test = rows[:120], [row for row in rows[120:] if row[1] != "c"]
    parts = [(" ".join(text.split()[:3]), label) for text, label in test[:10]]
    write_tsv(folder / "train.tsv", train)
    unseen = [("the very last film", "unheard")]
    write_tsv(folder / "test.tsv", test + parts + test[:5] + train[:4] + unseen)


SHAPES = {
    make.__name__: make
    for make in (three_scored, forty, many_classes, unknown_and_missing)
}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_encoder):
    """Train on data of a shape, once; return the job."""
    known: dict[str, Job] = {}

    def make(shape):
        if shape not in known:
            folder = tmp_path_factory.mktemp(shape)
            (folder / "data").mkdir()
            SHAPES[shape](folder / "data")
            done = Job(folder).train("data", tiny_encoder, "--C", "0.1")
            assert done.status == 0, done.err
            assert "Warning" not in done.err
            known[shape] = Job(folder)
        return known[shape]

    return make


def problems(report):
    found = Draft202012Validator(SCHEMA).iter_errors(report)
    return [f"{'.'.join(map(str, error.path))}: {error.message}" for error in found]


def test_the_schema_is_a_json_schema():
    Draft202012Validator.check_schema(SCHEMA)


def described(schema, path=""):
    """Yield the paths of the properties that a schema leaves without a description."""
    for name, below in schema.get("properties", {}).items():
        if "description" not in below:
            yield f"{path}.{name}"
        yield from described(below, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if isinstance(below := schema.get(name), dict):
            yield from described(below, f"{path}[]")
    for name, below in schema.get("$defs", {}).items():
        yield from described(below, name)


def test_the_schema_describes_every_field():
    assert list(described(SCHEMA)) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_a_real_report_is_what_the_schema_says(made, shape):
    assert problems(made(shape).report()) == []


def test_the_schema_refuses_a_field_that_it_does_not_describe(made):
    report = made("forty").report()
    report["calibration"]["novelty"] = 1

    assert len(problems(report)) == 1


@pytest.mark.parametrize("shape", SHAPES)
def test_a_real_report_has_no_nan(made, shape):
    path = made(shape).artifacts / "latest" / "report.json"

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def test_three_scored_rows_have_no_map_but_all_that_can_be_said(made):
    report = made("three_scored").report()

    assert report["split"]["n_test"] == 3
    assert report["map"] is None
    assert report["metrics"]["test"]["roc_auc"]["value"] is None
    assert sum(row["n"] for row in report["calibration"]["bins"]) == 3


def test_forty_rows_have_no_learning_curve(made):
    report = made("forty").report()

    assert report["learning_curve"] is None
    assert report["label_issues"]["n_looked_at"] == report["split"]["n_fit"]
    assert len(report["map"]["points"]) == report["split"]["n_test"]


def test_many_classes_have_no_thresholds(made):
    report = made("many_classes").report()

    assert report["thresholds"] is None
    assert [group["name"] for group in report["scores"]["groups"]] == ["right", "wrong"]
    assert len(report["errors"]) == 20


def test_rows_that_are_pieces_of_each_other_are_clusters(made):
    report = made("unknown_and_missing").report()

    n_test = report["split"]["n_test"]
    assert report["clusters"]["n"] <= n_test - 10  # parts and repeated rows
    assert "clusters" in report["methods"]["accuracy"]
    low, high = report["metrics"]["test"]["accuracy"]["ci95"]
    assert low <= report["metrics"]["test"]["accuracy"]["value"] <= high


def test_unknown_labels_are_nowhere_on_the_map(made):
    report = made("unknown_and_missing").report()

    assert report["unknown_labels"] == 1
    assert [p["label"] for p in report["map"]["points"]].count(-1) == 1
    assert any(
        "1 scored row has a label that no training row has" in said
        for said in report["advice"]
    )


def test_slices_of_a_group_hold_every_scored_row(made):
    report = made("unknown_and_missing").report()

    groups: dict[str, list[int]] = {}
    for row in report["slices"]:
        groups.setdefault(row["group"], []).append(row["n"])
    assert {"length", "overlap"} <= set(groups)
    assert {sum(ns) for ns in groups.values()} == {report["split"]["n_test"]}
    (inside,) = [
        row for row in report["slices"] if row["name"].startswith("contained in or")
    ]
    overlap = report["split"]["overlap"]
    assert inside["n"] == overlap["identical"] + overlap["contained"]


def test_an_error_whose_text_is_a_training_text_is_nearest_to_it(made):
    job = made("unknown_and_missing")
    (data,) = (job.artifacts / "datasets").iterdir()
    n_fit = job.report()["split"]["n_fit"]
    training = set(StoredTexts(data).of(np.arange(n_fit)))

    same = [row for row in job.report()["errors"] if row["text"] in training]

    assert same
    for row in same:
        assert row["nearest"][0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    for row in job.report()["errors"]:
        assert {near["split"] for near in row["nearest"]} == {"train"}
        cosines = [near["cosine"] for near in row["nearest"]]
        assert cosines == sorted(cosines, reverse=True)


def test_the_same_inputs_give_the_same_report_but_for_its_run(made, tiny_encoder):
    job = made("unknown_and_missing")
    before = job.report()
    for path in (job.artifacts / "reports").glob("*/*"):
        path.parent.chmod(0o755)
        path.unlink()

    done = job.train("data", tiny_encoder, "--C", "0.1")

    assert done.status == 0, done.err
    assert {**job.report(), "run": None} == {**before, "run": None}


def test_the_command_has_the_options_without_folders(made, tiny_encoder):
    command = made("forty").report()["reproduce"]["command"]

    assert command == (
        f"luigi --module tasks TrainLogReg --dataset ./data --encoder ./{tiny_encoder.name} --pooling cls --C 0.1"
    )


def test_versions_name_what_computed(made):
    versions = made("forty").report()["reproduce"]["versions"]

    assert {"python", "frostbert", "numpy", "scikit-learn"} <= set(versions)


def test_texts_of_rows_come_in_their_order(made):
    job = made("forty")
    (data,) = (job.artifacts / "datasets").iterdir()
    rows = [text for text, _ in review_rows()[::3]]

    found = list(StoredTexts(data).of(np.array([0, 3, 39])))

    assert found == [rows[0], rows[3], rows[39]]


@pytest.mark.parametrize(
    ("text", "expected"), [("abcd", "abcd"), ("abcde", "abc…"), ("", "")]
)
def test_cut_texts_end_in_an_ellipsis(text, expected):
    assert cut(text, 4) == expected

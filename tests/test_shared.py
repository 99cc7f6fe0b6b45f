"""Against the independent reference and public data beside the checkout; skipped without them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipeline import load_encoder
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import Table
from pipeline.datasets.targets import class_numbers
from pipeline.errors import DataError
from pipeline.evaluation.baselines import baselines
from pipeline.splitting import count_overlap, random_split
from pipeline.storage import sha256_file


def read(path, *, header=False):
    lines = path.read_text(encoding="utf-8").split("\n")[header:]
    rows = [line.rsplit("\t", 1) for line in lines if line]
    return [text for text, _ in rows], [label for _, label in rows]


def test_sst2_gives_the_references_features_and_accuracy(
    shared, distilbert, job, tmp_path
):
    command = [
        sys.executable,
        shared / "tools" / "reference_sst2.py",
        distilbert,
        shared / "data" / "sst2",
    ]
    answer = subprocess.run(
        [*command, "--features", tmp_path / "reference.npz"],
        capture_output=True,
        text=True,
        check=True,
    )
    reference = json.loads(answer.stdout)

    done = job.train(
        shared / "data" / "sst2",
        distilbert,
        "--split",
        "official",
        "--C",
        "0.1",
        timeout=900,
    )

    assert done.status == 0, done.err
    figure = job.report()["metrics"]["test"]["accuracy"]
    assert abs(figure["value"] - reference["test"]) <= 0.002
    assert figure["n"] == 1821
    assert {row["value"] for row in job.report()["published"]} >= {0.824}
    texts, _ = read(shared / "data" / "sst2" / "test.tsv")
    ours = load_encoder(str(distilbert)).encode(texts[:300])
    np.testing.assert_allclose(
        ours, np.load(tmp_path / "reference.npz")["test"][:300], atol=1e-4
    )


def test_the_random_split_does_not_flatter_tfidf_on_phrases(shared):
    texts, labels = read(shared / "data" / "sst2-glue" / "train.tsv", header=True)
    dev_texts, dev_labels = read(shared / "data" / "sst2-glue" / "dev.tsv", header=True)
    fit, test = random_split(texts, labels, test_fraction=0.25, seed=42)
    fit_texts, fit_labels = (
        [texts[i] for i in fit],
        np.array([labels[i] for i in fit], dtype=object),
    )
    test_texts, test_labels = [texts[i] for i in test], [labels[i] for i in test]

    targets = class_numbers(fit_labels.tolist(), ["0", "1"])
    found, _ = baselines(fit_texts, targets, 2, test_texts + dev_texts)
    hits = found["tfidf_logreg"].argmax(axis=1) == np.array(
        [int(label) for label in test_labels + dev_labels]
    )

    random_accuracy, official_accuracy = (
        hits[: len(test)].mean(),
        hits[len(test) :].mean(),
    )
    assert random_accuracy - official_accuracy < 0.05
    assert count_overlap(fit_texts, test_texts).identical == 0


TRAINS = {  # options, rows of each split, classes
    "sst2": ("", {"train": 6920, "dev": 872, "test": 1821}, 2),
    "sst2-glue": ("", {"train": 67349, "dev": 872}, 2),
    "ag_news": ("", {"train": 5000, "test": 1000}, 4),
    "semeval2018-ec": ("--label-column anger", {"train": 6838, "dev": 886}, 2),
    "tnews-seed": (
        "--separator _!_ --header no --text-column 4 --label-column 3",
        {"train": 1000, "dev": 1000, "test": 1000},
        14,
    ),
}


@pytest.mark.parametrize("name", TRAINS)
def test_every_public_set_of_one_text_and_one_label_trains(
    shared, job, tiny_encoder, name
):
    options, rows, classes = TRAINS[name]
    folder = shared / "data" / name

    done = job.train(folder, tiny_encoder, "--C", "1", *options.split(), timeout=600)

    assert done.status == 0, done.err
    report = job.report()
    notes = report["dataset"]["splits"]
    assert {split: n["rows_read"] for split, n in notes.items()} == rows
    assert {split: n["rows_used"] for split, n in notes.items()} == rows
    assert len(report["classes"]) == classes
    # a text file's rows are its lines, less the header
    for path in folder.glob("*.t*"):
        n_lines = len(path.read_bytes().removesuffix(b"\n").split(b"\n"))
        assert n_lines - notes[path.stem]["header"] == rows[path.stem]


OTHERS = {  # options, kind of label, labels
    "semeval2018-ec": ("--task multilabel --thresholds f1_macro", "multilabel", 11),
    "stsb": ("--text-column 6,7 --label-column 5", "regression", 0),
    "rte": (
        "--text-column sentence1,sentence2 --calibration auto --pair-encoding joint",
        "classification",
        2,
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_every_public_set_of_several_labels_numbers_or_pairs_trains(
    shared, job, tiny_encoder, name
):
    options, task, n_labels = OTHERS[name]
    folder = shared / "data" / name

    done = job.train(folder, tiny_encoder, "--C", "0.01", *options.split(), timeout=900)

    assert done.status == 0, done.err
    report = job.report()
    assert report["head"]["task"] == task
    assert len(report["classes"]) == n_labels
    assert report["unknown_labels"] == 0


def test_the_phrases_of_glue_repeat_as_its_readme_says(shared, tmp_path):
    spec = DatasetSpec(dataset=str(shared / "data" / "sst2-glue"))

    ledger = make_table(find_source(spec, sha256_file).read(), spec, tmp_path)

    assert ledger["texts"]["duplicates"] == 371
    assert ledger["texts"]["conflicting"] == 5


def test_the_separator_of_the_chinese_titles_is_found(shared, tmp_path):
    spec = DatasetSpec(
        dataset=str(shared / "data" / "tnews-seed"), text_column="4", label_column="3"
    )

    ledger = make_table(find_source(spec, sha256_file).read(), spec, tmp_path)

    assert ledger["splits"]["train"]["separator"] == "_!_"
    assert Table.load(tmp_path).texts[0] == "股票中的突破形态"
    assert ledger["texts"]["labels"]["test"]["stock"] == 2


@pytest.mark.parametrize("name", ["rte", "stsb"])
def test_a_set_of_pairs_lists_its_columns(shared, tmp_path, name):
    spec = DatasetSpec(dataset=str(shared / "data" / name))

    with pytest.raises(DataError, match=r"Found: .*Pass --text-column with a name or"):
        make_table(find_source(spec, sha256_file).read(), spec, tmp_path)

"""Against the independent reference and public data beside the checkout; skipped without them."""

import json
import subprocess
import sys

import numpy as np
import pytest

from pipeline import load_encoder
from pipeline.evaluation.baselines import tfidf_proba
from pipeline.splitting import count_overlap, random_split


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

    proba, _ = tfidf_proba(fit_texts, fit_labels, ["0", "1"], test_texts + dev_texts)
    hits = proba.argmax(axis=1) == np.array(
        [int(label) for label in test_labels + dev_labels]
    )

    random_accuracy, official_accuracy = (
        hits[: len(test)].mean(),
        hits[len(test) :].mean(),
    )
    assert random_accuracy - official_accuracy < 0.05
    assert count_overlap(fit_texts, test_texts).identical == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("ag_news", []),
        ("rte", ["--text-column", "sentence1"]),
        (
            "semeval2018-ec",
            ["--text-column", "Tweet", "--label-column", "anger", "--separator", "\t"],
        ),
        (
            "tnews-seed",
            [
                "--separator",
                "_!_",
                "--header",
                "no",
                "--text-column",
                "4",
                "--label-column",
                "3",
            ],
        ),
    ],
)
def test_other_public_sets_train(shared, tiny_encoder, job, name, options):
    done = job.train(shared / "data" / name, tiny_encoder, "--C", "0.1", *options)

    assert done.status == 0, done.err

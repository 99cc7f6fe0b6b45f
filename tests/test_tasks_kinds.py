"""The whole job on several labels a row and on numbers, as people run it."""

import json

import pytest

from pipeline import load_predictor
from tests.conftest import Job, review_rows

ROWS = review_rows()


@pytest.fixture
def flags(job):
    """A file of texts with two columns of zeros and ones."""
    lines = [
        f"{text}\t{int(side == 'pos')}\t{int(len(text) > 30)}" for text, side in ROWS
    ]
    (job.cwd / "flags.tsv").write_text("text\tgood\tlong\n" + "\n".join(lines))
    return "flags.tsv"


@pytest.fixture
def lengths(job):
    """A file of texts with a fraction each."""
    lines = [f"{text}\t{len(text) / 8}" for text, _ in ROWS]
    (job.cwd / "lengths.tsv").write_text("text\tlabel\n" + "\n".join(lines))
    return "lengths.tsv"


def stages(job):
    return job.ledger()[-1]["stages_run"]


def predictor_of(job: Job):
    return load_predictor(job.artifacts / "latest" / "predictor.joblib")


def test_columns_of_flags_train_a_predictor_of_labels(job, flags, tiny_encoder):
    done = job.train(flags, tiny_encoder, "--pooling", "mean")

    assert done.status == 0, done.err
    assert "labels    " in done.out
    assert "micro F1" in done.out
    report = job.report()
    assert report["classes"] == ["good", "long"]
    assert report["metrics"]["test"]["f1_micro"]["value"] > 0.5
    assert report["baselines"].keys() == {"majority", "tfidf_logreg"}
    predictor = predictor_of(job)
    assert predictor.classes_.tolist() == ["good", "long"]
    assert set(map(type, predictor.predict([ROWS[0][0]]))) == {tuple}

    again = job.train(flags, tiny_encoder, "--pooling", "mean")

    assert stages(job) == []
    assert again.out.splitlines()[-6:] == done.out.splitlines()[-6:]


def test_thresholds_of_labels_fit_the_head_alone_again(job, flags, tiny_encoder):
    job.train(flags, tiny_encoder, "--pooling", "mean")

    done = job.train(
        flags, tiny_encoder, "--pooling", "mean", "--thresholds", "f1_macro"
    )

    assert done.status == 0, done.err
    assert stages(job) == ["FitLogReg", "EvaluateModel", "ExportPredictor"]
    decision = job.report()["decision"]
    assert len(decision["thresholds"]) == 2
    assert decision["gain"]["metric"] == "f1_macro"
    runs = sorted(path.name for path in (job.artifacts / "runs").iterdir())
    assert len(runs) == 2


def test_fractions_train_a_predictor_of_numbers(job, lengths, tiny_encoder):
    done = job.train(lengths, tiny_encoder, "--pooling", "mean")

    assert done.status == 0, done.err
    assert "Pearson" in done.out
    report = job.report()
    assert report["head"]["task"] == "regression"
    assert report["metrics"]["test"]["pearson"]["value"] > 0.5
    assert report["baselines"].keys() == {"mean", "tfidf_ridge"}
    assert report["confusion"] is None
    (number,) = predictor_of(job).predict([ROWS[0][0]])
    assert abs(number - len(ROWS[0][0]) / 8) < 5
    json.dumps(report, allow_nan=False)


def test_classes_cannot_be_weighed_where_labels_are_numbers(job, lengths, tiny_encoder):
    done = job.train(lengths, tiny_encoder, "--class-weight", "balanced")

    assert done.status == 30
    assert "--class-weight balanced weighs classes" in done.err

"""Runs of the models beside the simple one: several layers, words, and a cascade."""

import json
import shutil
import subprocess

import joblib
import numpy as np
import pytest
from numpy.testing import assert_allclose

from pipeline import load_encoder, load_predictor
from pipeline.errors import ConfigError
from pipeline.predictor.file import pack
from tests.conftest import BIN, NOUNS, POSITIVE, Job, review_rows, write_tsv

TASKS = ("TrainLayers", "TrainHybrid", "TrainCascade")
TEXTS = [text for text, _ in review_rows()]


def train(job: Job, task: str, dataset, encoder, *options):
    return job.run(
        task, "--dataset", dataset, "--encoder", encoder, "--layers", "2", *options
    )


def predictor_of(job: Job):
    return load_predictor(job.artifacts / "latest" / "predictor.joblib")


def cascade_rows():
    """Return texts of which words decide most, and the label of the others is chance."""
    rng = np.random.default_rng(0)
    rows = list(review_rows())
    rows += [
        (f"the {noun} is {word} and is not", rng.choice(["pos", "neg"]))
        for noun in NOUNS
        for word in POSITIVE
    ]
    return rows


@pytest.mark.parametrize("task", TASKS)
def test_a_model_trains_predicts_and_is_up_to_date(job, reviews, tiny_encoder, task):
    done = train(job, task, reviews, tiny_encoder, "--C", "0.1")

    assert done.status == 0, done.err
    report = job.report()
    assert report["encoder"]["layer"] == [-2, -1]
    assert report["head"]["n_features"] == 32
    assert ("blend" in report["head"]) == (task != "TrainLayers")
    assert (report["with_words"] is None) == (task != "TrainLayers")
    assert (report["cascade"] is None) == (task != "TrainCascade")
    assert f"--module tasks {task}" in report["reproduce"]["command"]
    predictor = predictor_of(job)
    joined = dict(zip(TEXTS, predictor.predict_proba(TEXTS), strict=True))
    for error in report["errors"]:
        k = report["classes"].index(error["predicted"])
        assert joined[error["text"]][k] == pytest.approx(error["probability"], abs=1e-4)
    same = joblib.load(job.artifacts / "latest" / "predictor.joblib")
    assert_allclose(same.predict_proba(TEXTS), predictor.predict_proba(TEXTS))
    assert predictor.transform(TEXTS[:3]).shape == (3, 32)

    again = train(job, task, reviews, tiny_encoder, "--C", "0.1")

    assert again.status == 0
    assert job.ledger()[-1]["status"] == "noop"
    assert again.out == done.out


def test_each_model_reuses_what_others_made(job, reviews, tiny_encoder):
    job.train(reviews, tiny_encoder, "--C", "0.1")
    ran = []
    for task in TASKS:
        done = train(job, task, reviews, tiny_encoder, "--C", "0.1")
        assert done.status == 0, done.err
        ran.append(job.ledger()[-1]["stages_run"])

    layers, hybrid, cascade = ran
    assert set(layers) == {
        "ExtractViews",
        "FitLayers",
        "EvaluateLayers",
        "ExportLayers",
    }
    assert set(hybrid) == {"FitTerms", "FitHybrid", "EvaluateHybrid", "ExportHybrid"}
    assert set(cascade) == {"FitCascade", "EvaluateCascade", "ExportCascade"}
    assert [run["rows_encoded"] for run in job.ledger()] == [120, 120, 0, 0]
    previous = job.report()["run"]["previous"]
    assert "stage: 'FitHybrid' -> 'FitCascade'" in previous["changed"]


def test_a_model_goes_on_from_the_one_it_holds(job, reviews, tiny_encoder):
    rule = ("--calibration", "sigmoid")
    done = train(job, "TrainCascade", reviews, tiny_encoder, *rule)
    assert done.status == 0, done.err
    alone = ["FitLayers", "FitHybrid"]
    entry = job.ledger()[-1]
    assert [name for name in entry["stages_run"] if name in alone] == alone
    assert set(alone) < set(entry["keys"])
    search = job.report()["head"]["search"]

    ran = []
    for task in ("TrainHybrid", "TrainLayers"):
        assert train(job, task, reviews, tiny_encoder).status == 0
        ran.append(job.ledger()[-1]["stages_run"])

    assert ran == [
        ["EvaluateHybrid", "ExportHybrid"],
        ["EvaluateLayers", "ExportLayers"],
    ]
    assert job.report()["head"]["search"] == search
    assert job.report()["decision"] is None

    done = train(job, "TrainCascade", reviews, tiny_encoder, *rule, "--C", "1")

    assert done.status == 0, done.err
    changed = job.report()["run"]["previous"]["changed"]
    assert sum("C: 'auto' -> 1.0" in line for line in changed) == 1


@pytest.mark.parametrize("task", ["TrainHybrid", "TrainCascade"])
def test_words_count_beside_the_encoder(job, reviews, tiny_encoder, task):
    done = train(job, task, reviews, tiny_encoder, "--C", "0.001")

    assert done.status == 0, done.err

    predictor = predictor_of(job)
    assert predictor.predict(["the film is good", "the film is bad"]).tolist() == [
        "pos",
        "neg",
    ]
    why = predictor.explain("the film is good")
    strongest = max(why.words, key=lambda word: abs(word.contribution))
    assert strongest.text == "good"
    with pytest.raises(ConfigError, match="goes by several"):
        predictor.look("the film is good")


def test_a_cascade_does_not_encode_what_words_decide(job, tiny_encoder, monkeypatch):
    lines = [f"{text}\t{label}" for text, label in cascade_rows()]
    (job.cwd / "rows.tsv").write_text("text\tlabel\n" + "\n".join(lines))
    done = train(job, "TrainCascade", "rows.tsv", tiny_encoder, "--max-loss", "15")
    assert done.status == 0, done.err
    cascade = job.report()["cascade"]
    predictor = predictor_of(job)
    seen = []
    tokenize = predictor.encoder.tokenize

    def note(texts):
        seen.extend(texts)
        return tokenize(texts)

    monkeypatch.setattr(predictor.encoder, "tokenize", note)

    predictor.predict([text for text, _ in cascade_rows()])

    assert cascade["fit"]["upper"] <= 0.15
    assert cascade["fit"]["share"] > 0
    assert len(seen) < len(lines)


def test_a_cascade_whose_words_decide_all_loads_no_encoder(job, reviews, tiny_encoder):
    train(job, "TrainCascade", reviews, tiny_encoder, "--C", "0.1", "--max-loss", "99")
    predictor = predictor_of(job)

    predictor.predict(["the film is good"])

    assert job.report()["cascade"]["share"] == 1.0
    assert predictor._encoder._value is None


@pytest.mark.parametrize("task", TASKS)
def test_a_predictor_file_of_more_than_one_part_is_of_format_2(
    job, reviews, tiny_encoder, task
):
    train(job, task, reviews, tiny_encoder, "--C", "0.1")

    _, header, *_ = pack(predictor_of(job)._parts)

    described = json.loads(header)
    assert described["version"] == 2
    assert described["encoder"]["layer"] == [-2, -1]
    kinds = [] if task == "TrainLayers" else ["words", "characters"]
    assert described.get("terms", []) == kinds


def test_other_kinds_of_label_go_by_words_too(job, tiny_encoder):
    flags = [
        f"{text}\t{int(side == 'pos')}\t{int(len(text) > 30)}"
        for text, side in review_rows()
    ]
    (job.cwd / "flags.tsv").write_text("text\tgood\tlong\n" + "\n".join(flags))
    numbers = [f"{text}\t{len(text) / 8}" for text in TEXTS]
    (job.cwd / "numbers.tsv").write_text("text\tlabel\n" + "\n".join(numbers))
    for name in ("flags.tsv", "numbers.tsv"):
        done = train(job, "TrainHybrid", name, tiny_encoder, "--pooling", "mean")

        assert done.status == 0, done.err
        assert len(predictor_of(job).predict(TEXTS[:2])) == 2

    refused = train(
        job, "TrainCascade", "numbers.tsv", tiny_encoder, "--pooling", "mean"
    )

    assert refused.status == 30
    assert "one class, and this is regression. Use TrainHybrid" in refused.err


def test_pairs_go_by_words_too(job, tiny_encoder):
    texts = [f"{text} {i}" for i, text in enumerate(TEXTS)]
    pairs = [
        f"{a}\t{b}\t{int('good' in a or 'bright' in a or 'bad' in a)}"
        for a, b in zip(texts[::2], texts[1::2], strict=True)
    ]
    (job.cwd / "pairs.tsv").write_text("a\tb\tlabel\n" + "\n".join(pairs))

    options = ("--text-column", "a,b", "--split", "random")
    done = train(job, "TrainHybrid", "pairs.tsv", tiny_encoder, *options)

    assert done.status == 0, done.err
    assert job.report()["head"]["n_features"] == 128
    report = (job.artifacts / "latest" / "report.json").resolve().parent
    rows, scored = (np.load(report / f"{name}.npy") for name in ("rows", "scored"))
    asked = [tuple(pairs[i].split("\t")[:2]) for i in rows]
    assert_allclose(predictor_of(job).predict_proba(asked), scored, atol=1e-5)
    assert len(predictor_of(job).predict([("the film", "is good")])) == 1


@pytest.mark.parametrize("task", ["TrainLayers", "TrainHybrid"])
def test_numbers_of_pairs_stand_beside_the_cosine_of_the_last_layer(
    job, tiny_encoder, task
):
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    lines = [f"{a}\t{b}\t{len(a) / len(b):.3f}" for a, b in pairs]
    (job.cwd / "pairs.tsv").write_text("a\tb\tlabel\n" + "\n".join(lines))
    options = ("--text-column", "a,b", "--pooling", "mean", "--C", "0.01")

    done = train(job, task, "pairs.tsv", tiny_encoder, *options)

    assert done.status == 0, done.err
    report = job.report()
    rows = np.load((job.artifacts / "latest/report.json").resolve().parent / "rows.npy")
    encoder = load_encoder(str(tiny_encoder), pooling="mean")
    u, v = (
        encoder.encode([pairs[i][side] for i in rows]).astype(float) for side in (0, 1)
    )
    norms = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    cosines = (u * v).sum(axis=1) / norms
    values = [float(lines[i].split("\t")[2]) for i in rows]
    found = report["baselines"]["cosine"]["pearson"]["value"]
    assert abs(found) == pytest.approx(
        abs(np.corrcoef(cosines, values)[0, 1]), abs=1e-3
    )


def test_layers_that_an_encoder_does_not_have_are_left_out(job, reviews, tiny_encoder):
    done = train(job, "TrainLayers", reviews, tiny_encoder, "--layers", "6", "--C", "1")

    assert done.status == 0, done.err
    assert job.report()["encoder"]["layer"] == [-2, -1]


def test_a_report_of_few_rows_has_no_curve(job, tiny_encoder):
    write_tsv(job.cwd / "few.tsv", review_rows()[::6])

    done = job.train("few.tsv", tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    assert job.report()["learning_curve"] is None
    assert "too few rows" in (job.artifacts / "latest" / "report.html").read_text()


def test_explain_run_takes_the_name_of_a_job(job, reviews, tiny_encoder):
    options = ("--dataset", reviews, "--encoder", tiny_encoder, "--layers", "2")
    train(job, "TrainHybrid", reviews, tiny_encoder)

    done = subprocess.run(
        [str(BIN / "frostbert"), "explain-run", "TrainHybrid", *map(str, options)],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert "will run" not in done.stdout


def test_rules_are_chosen_on_what_rows_get_out_of_fold(job, reviews, tiny_encoder):
    done = train(
        job,
        "TrainHybrid",
        reviews,
        tiny_encoder,
        "--C",
        "0.01",
        "--calibration",
        "sigmoid",
        "--thresholds",
        "f1_macro",
    )

    assert done.status == 0, done.err
    decision = job.report()["decision"]
    assert decision["n"] == job.report()["split"]["n_fit"]
    assert decision["calibrator"]["method"] == "sigmoid"


def test_a_forgotten_text_leaves_no_term(job, reviews, tiny_encoder):
    train(job, "TrainHybrid", reviews, tiny_encoder, "--C", "0.1")
    text = "the film is very good"

    done = subprocess.run(
        [str(BIN / "frostbert"), "forget", text],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "no trace of it is left" in done.stdout
    assert not list((job.artifacts / "terms").iterdir())
    assert not list((job.artifacts / "models").iterdir())


def test_every_layer_is_collected_when_its_run_goes(job, reviews, tiny_encoder):
    train(job, "TrainLayers", reviews, tiny_encoder, "--C", "0.1")

    kept = subprocess.run(
        [str(BIN / "frostbert"), "gc"],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert kept.returncode == 0, kept.stderr
    assert "features/" not in kept.stdout
    for option, said in (
        ("--layers", "expected how many layers"),
        ("--max-loss", "expected points above 0"),
    ):
        task = "TrainCascade"
        refused = train(job, task, reviews, tiny_encoder, option, "-1")
        assert refused.status == 40
        assert said in refused.err


def test_explain_run_knows_a_part_that_was_a_model_of_its_own(
    job, reviews, tiny_encoder
):
    train(job, "TrainLayers", reviews, tiny_encoder, "--C", "0.5")
    (model,) = (job.artifacts / "models").iterdir()
    shutil.rmtree(model)
    options = ("--dataset", reviews, "--encoder", tiny_encoder, "--layers", "2")

    done = subprocess.run(
        [
            *(str(BIN / "frostbert"), "explain-run", "TrainHybrid"),
            *map(str, (*options, "--C", "0.5")),
        ],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    (said,) = [line for line in done.stdout.splitlines() if "FitLayers" in line]
    assert f"{model.name} is gone" in said

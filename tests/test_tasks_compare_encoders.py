"""Comparing encoders on the real command line: what is scored, trained, said and kept."""

import csv
import json
import shutil

import numpy as np
import pytest

from tasks import ledger
from tasks.score_views import Grid, ScoreViews
from tests.checkpoints import save_kind, save_tiny
from tests.conftest import Job, review_rows, write_tsv

SWEEP = ("--layers", "2", "--poolings", "cls,mean", "--C", "1")


def compare(job, *options, **kwargs):
    return job.run("CompareEncoders", *options, **kwargs)


def comparison(job):
    (folder,) = (job.artifacts / "comparisons").iterdir()
    return folder, json.loads((folder / "comparison.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def swept_once(tmp_path_factory, tiny_encoder):
    """A working folder in which two layers and two poolings were compared; only to be copied."""
    folder = tmp_path_factory.mktemp("swept")
    write_tsv(folder / "reviews.tsv", review_rows())
    done = compare(
        Job(folder), "--dataset", "reviews.tsv", "--encoder", tiny_encoder, *SWEEP
    )
    assert done.status == 0, done.err
    (folder / "said.txt").write_text(done.out, encoding="utf-8")
    return folder


@pytest.fixture
def swept(swept_once, tmp_path):
    """A copy of `swept_once` to go on with."""
    folder = tmp_path / "swept"
    shutil.copytree(swept_once, folder, symlinks=True, copy_function=shutil.copy2)
    return Job(folder)


def again(job, encoder, *options):
    return compare(
        job, "--dataset", "reviews.tsv", "--encoder", encoder, *SWEEP, *options
    )


def test_the_best_view_is_trained_with_and_said(swept, tiny_encoder):
    _, found = comparison(swept)
    best = found["views"][0]

    said = (swept.cwd / "said.txt").read_text(encoding="utf-8").splitlines()
    report = swept.report()

    assert len(found["views"]) == 4
    assert report["encoder"]["layer"] == best["layer"]
    assert report["encoder"]["pooling"] == best["pooling"]
    assert sum(line.startswith("| ") for line in said) == 5
    assert any(line.startswith("comparison  artifacts/comparisons/") for line in said)
    assert said[-1] == "predictor  artifacts/latest/predictor.joblib"


def test_each_view_is_scored_on_training_rows_that_its_fits_did_not_see(swept):
    folder, found = comparison(swept)
    (split,) = (swept.artifacts / "splits").iterdir()
    rows, answers = (np.load(folder / f"{name}.npy") for name in ("rows", "answers"))

    assert rows.tolist() == np.load(split / "fit.npy").tolist()
    assert answers.shape == (4, len(rows))
    assert found["n"] == len(rows)
    for view, speed in zip(found["views"], found["run"]["speeds"], strict=True):
        assert 0 < view["score"]["value"] <= 1
        assert speed["rows_per_s"] > 0


def test_the_line_of_the_ledger_is_that_of_the_run_that_was_trained(swept):
    (entry,) = swept.ledger()

    assert entry["status"] == "ok"
    assert entry["stages_run"].count("ExtractFeatures") in (0, 4)
    assert entry["stages_run"][-5:] == [
        "ScoreViews",
        "FitBaselines",
        "FitLogReg",
        "EvaluateModel",
        "ExportPredictor",
    ]
    assert {"ScoreViews", "ExportPredictor", "ExtractFeatures"} <= set(entry["keys"])
    assert entry["figures"]["accuracy"]
    assert not list((swept.artifacts / "tmp").iterdir())


def test_a_second_comparison_does_nothing_and_says_the_same(swept, tiny_encoder):
    done = again(swept, tiny_encoder)

    assert done.status == 0, done.err
    assert done.out == (swept.cwd / "said.txt").read_text(encoding="utf-8")
    assert [entry["status"] for entry in swept.ledger()] == ["ok", "noop"]


def test_training_with_the_best_views_options_has_nothing_to_do(swept, tiny_encoder):
    _, found = comparison(swept)
    best = found["views"][0]

    done = swept.train(
        *("reviews.tsv", tiny_encoder, "--C", "1"),
        *("--layer", best["layer"], "--pooling", best["pooling"]),
    )

    assert "Nothing to do" in done.err


def test_speed_is_in_no_key_and_a_deleted_predictor_is_made_again(swept, tiny_encoder):
    folder, _ = comparison(swept)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    shutil.rmtree(swept.artifacts / "predictors")

    done = again(swept, tiny_encoder, "--workers", "2")

    assert "rows_per_s" not in json.dumps(manifest["key_fields"])
    assert done.status == 0, done.err
    assert swept.ledger()[-1]["stages_run"] == ["ExportPredictor"]
    assert (swept.artifacts / "latest" / "predictor.joblib").is_file()


def test_views_that_cannot_be_had_are_rows_that_say_why(job, tmp_path, reviews):
    """GPT-2 has no [CLS], which only loading it tells; int8 is not for it; a pooler reads the last layer alone."""
    gpt2 = save_kind(tmp_path / "gpt2", "gpt2")
    tiny = save_tiny(tmp_path / "bert", "bert")

    done = compare(
        job,
        *("--dataset", reviews, "--encoders", f"{gpt2},{tiny}", "--C", "1"),
        *("--layers", "1", "--poolings", "cls,pooler", "--max-length", "16"),
    )

    assert done.status == 0, done.err
    _, found = comparison(job)
    scored = [one for one in found["views"] if "error" not in one]
    failed = {
        (one["encoder"], one["pooling"]): one["error"]
        for one in found["views"]
        if "error" in one
    }
    assert {(one["encoder"], one["pooling"]) for one in scored} == {
        ("bert", "cls"),
        ("bert", "pooler"),
    }
    assert "no [CLS] token" in failed["gpt2", "cls"]
    assert "has no pooler" in failed["gpt2", "pooler"]
    assert "cannot be had" in done.out


def test_where_no_view_can_be_had_the_run_is_refused(job, reviews, tiny_encoder):
    done = compare(
        job,
        *("--dataset", reviews, "--encoder", tiny_encoder),
        *("--layers", "1", "--poolings", "pooler"),
    )

    assert done.status != 0
    assert "No view can be had." in done.err
    (entry,) = job.ledger()
    assert entry["status"] == "failed"
    assert "has no pooler" in entry["error"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--poolings", "cls,men"), "--poolings has 'men', expected some of: auto, "),
        (("--precisions", "int8,int9"), "--precisions has 'int9', expected some of: "),
    ],
)
def test_a_word_that_no_encoder_knows_is_refused_before_any_work(
    job, reviews, tiny_encoder, options, said
):
    done = compare(job, "--dataset", reviews, "--encoder", tiny_encoder, *options)

    assert done.status == compare(job, "--pooling", "men").status != 0
    assert said in done.err
    assert done.out == ""
    assert not (job.artifacts / "datasets").exists()


def test_an_option_is_none_that_only_begins_alike(job, reviews, tiny_encoder):
    """Luigi offers --CompareEncoders-dataset, which argparse would find in --C."""
    done = compare(job, "--C", "1", "--datase", reviews, "--encoder", tiny_encoder)

    assert done.status == 2
    assert "unrecognized arguments: --datase" in done.err


def test_forgetting_a_text_removes_the_comparison(swept):
    from tasks.forget import forget

    found = forget(swept.artifacts, review_rows()[0][0])

    assert any(line.startswith("comparisons/") for line in found.removed)
    assert not list((swept.artifacts / "comparisons").iterdir())
    assert not found.traces


def test_gc_keeps_a_comparison_but_not_the_rows_of_views_that_were_not_chosen(swept):
    from tasks.clean import find_unused
    from tasks.verify import verify

    found = [
        one.path.relative_to(swept.artifacts).parts[0]
        for one in find_unused(swept.artifacts)
    ]

    assert found == ["features"] * 3
    assert verify(swept.artifacts).damage == []


def test_numbers_and_pairs_are_compared_too(job, tiny_encoder):
    path = job.cwd / "pairs.csv"
    random = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["a", "b", "label"])
        texts = [text for text, _ in review_rows()]
        for text in texts:
            writer.writerow([text, random.choice(texts), f"{random.random():.3f}"])

    done = compare(
        job,
        *("--dataset", path, "--text-column", "a,b", "--encoder", tiny_encoder),
        *("--layers", "2", "--poolings", "mean"),
    )

    assert done.status == 0, done.err
    _, found = comparison(job)
    assert found["metric"] == "pearson"
    assert [one["dim"] for one in found["views"]] == [64, 64]


def test_keys_that_a_run_learns_are_in_use_and_in_its_line(tmp_path):
    ledger.begin(object(), tmp_path, {"A": "1"})

    ledger.learn({"B": "2"})

    assert ledger.open_runs(tmp_path) == [{"A": "1", "B": "2"}]
    ledger.close("ok")
    assert ledger.entries(tmp_path)[-1]["keys"] == {"A": "1", "B": "2"}


def test_nothing_to_do_needs_no_numerical_library(swept, tiny_encoder, python):
    options = ["--dataset", "reviews.tsv", "--encoder", str(tiny_encoder), *SWEEP]
    command = ["luigi", "--module", "tasks", "CompareEncoders", *options]

    done = python(
        f"import sys; sys.argv = {command!r}\n"
        "from luigi.cmdline import luigi_run\n"
        "try:\n    luigi_run()\nexcept SystemExit as end:\n    print('status', end.code)\n"
        "print(sorted({'numpy', 'pandas', 'torch', 'sklearn', 'jinja2'} & set(sys.modules)))",
        cwd=swept.cwd,
    )

    assert done.stdout.splitlines()[-2:] == ["status 0", "[]"], done.stderr


def test_a_grid_is_split_until_single_views_are_left():
    grid = Grid("e", "float32", ("cls", "mean"), (-2, -1))

    parts = grid.parts()

    assert [(part.poolings, part.layers) for part in parts] == [
        (("cls",), (-2, -1)),
        (("mean",), (-2, -1)),
    ]
    assert [part.layers for part in parts[0].parts()] == [(-2,), (-1,)]
    assert parts[0].parts()[0].parts() == []


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"layers": 9}, [-2, -1]),
        ({"layers": 1}, [-1]),
        ({"layers": 9, "layer": 2}, [0, 1, 2]),
        ({"layers": 2, "layer": -3}, [-3]),
    ],
)
def test_layers_that_an_encoder_lacks_are_left_out(
    tmp_path, tiny_encoder, options, layers
):
    stage = ScoreViews(
        dataset="sample",
        encoder=str(tiny_encoder),
        artifacts=str(tmp_path),
        poolings="mean",
        **options,
    )

    assert [view.layer for view in stage.views] == layers

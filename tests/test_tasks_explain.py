import shutil
import subprocess

import pytest

from tasks import cli
from tests.conftest import BIN, Job, review_rows, write_tsv

STAGES = [
    *("PrepareDataset", "ExtractFeatures", "SplitDataset", "FitBaselines"),
    *("FitLogReg", "EvaluateModel", "ExportPredictor"),
]


@pytest.fixture
def explained(trained, tiny_encoder):
    """Run ``frostbert explain-run`` in the trained folder; return what it says of each stage that will run."""

    def run(*options: str) -> dict[str, str]:
        given = ("--dataset", "reviews.tsv", "--encoder", str(tiny_encoder), "--C", "1")
        done = explain(trained, *given, *options)
        assert done.returncode == 0, done.stderr
        parts: dict[str, str] = {}
        for line in done.stdout.splitlines():
            name = line.split()[0]
            if name in STAGES:
                parts[name] = line
            else:
                parts[list(parts)[-1]] += line
        assert list(parts) == STAGES
        return {name: said for name, said in parts.items() if "up to date" not in said}

    return run


def explain(job: Job, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / "frostbert", "explain-run", *options],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_explain_run_of_a_finished_job_has_nothing_to_say(explained):
    assert explained() == {}


def test_explain_run_names_the_option_that_changed_and_what_follows(explained):
    found = explained("--C", "2")

    assert list(found) == ["FitLogReg", "EvaluateModel", "ExportPredictor"]
    assert "C: 1.0 -> 2.0 (since the run of 20" in found["FitLogReg"]
    assert "other inputs: model" in found["EvaluateModel"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--max-length", "64", "max_length: 128 -> 64"),
        ("--pooling", "mean", "pooling: 'cls' -> 'mean'"),
        ("--layer", "1", "layer: -1 -> 1"),
    ],
)
def test_explain_run_names_the_field_and_all_rows_are_new(
    explained, option, value, said
):
    found = explained(option, value)["ExtractFeatures"]

    assert said in found
    assert "120 of 120 distinct texts are new to the store" in found


def test_explain_run_counts_the_rows_that_are_new(explained, trained):
    rows = review_rows()
    write_tsv(trained.cwd / "reviews.tsv", [("a new text", "pos"), *rows[1:]])

    found = explained()

    assert "source.files.train: " in found["PrepareDataset"]
    assert "1 of 120 distinct texts are new to the store" in found["ExtractFeatures"]


def test_explain_run_names_a_changed_file_of_the_encoder(
    trained, tiny_encoder, tmp_path
):
    folder = tmp_path / tiny_encoder.name
    shutil.copytree(tiny_encoder, folder)
    path = folder / "tokenizer_config.json"
    path.write_bytes(path.read_bytes() + b"\n")

    done = explain(
        trained, "--dataset", "reviews.tsv", "--encoder", str(folder), "--C", "1"
    )

    assert "encoder.files.tokenizer_config.json: " in done.stdout


@pytest.mark.parametrize("folder", ["splits", "models", "predictors"])
def test_explain_run_names_a_directory_that_is_gone(explained, trained, folder):
    shutil.rmtree(trained.artifacts / folder)

    (said,) = explained().values()

    assert f"{folder}/" in said
    assert "is gone, which the run of 20" in said


def test_explain_run_names_a_missing_and_a_cut_file(explained, trained):
    (split,) = (trained.artifacts / "splits").iterdir()
    (split / "fit.npy").unlink()
    test = split / "test.npy"
    test.chmod(0o644)
    test.write_bytes(test.read_bytes()[:-8])

    said = explained()["SplitDataset"]

    assert "fit.npy is missing" in said
    assert f"test.npy has {test.stat().st_size} bytes, expected" in said


def test_explain_run_names_a_missing_shard(explained, trained):
    (shard,) = (trained.artifacts / "features").glob("*/shards/*")
    shutil.rmtree(shard)

    said = explained()["ExtractFeatures"]

    assert f"shard {shard.name} of" in said
    assert "is missing or incomplete" in said
    assert "120 of 120 distinct texts are new" in said


def test_explain_run_says_what_a_first_run_will_do(job, reviews, tiny_encoder):
    done = explain(job, "--dataset", str(reviews), "--encoder", str(tiny_encoder))

    assert done.stdout.count("it never ran here") == len(STAGES)
    assert "120 of 120 distinct texts are new to the store" in done.stdout


def test_explain_run_changes_nothing(explained, trained):
    def state() -> dict[str, bytes]:
        files = [path for path in trained.artifacts.rglob("*") if path.is_file()]
        return {str(p): p.read_bytes() for p in files if p.name != "digests.json"}

    before = state()

    explained("--C", "3", "--max-length", "32")

    assert state() == before


def test_explain_run_tells_the_truth(explained, trained, tiny_encoder):
    rows = review_rows()
    write_tsv(trained.cwd / "reviews.tsv", [*rows, ("the film is new", "pos")])
    said = explained("--C", "2")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "2")

    assert done.status == 0, done.err
    run = trained.ledger()[-1]
    assert sorted(run["stages_run"]) == sorted([*said])
    assert f"{run['rows_encoded']} of 121 distinct" in said["ExtractFeatures"]
    assert explained("--C", "2") == {}


def test_explain_run_compares_with_the_run_that_is_most_alike(
    explained, trained, tiny_encoder
):
    other = write_tsv(trained.cwd / "other.tsv", review_rows()[::2])
    assert trained.train(other, tiny_encoder, "--C", "5").status == 0

    assert "C: 1.0 -> 2.0" in explained("--C", "2")["FitLogReg"]


def test_explain_run_refuses_what_a_run_refuses(trained):
    done = explain(trained, "--dataset", "nowhere.tsv")

    assert done.returncode == 1
    assert "Pass --dataset with a path that exists" in done.stderr
    assert "Traceback" not in done.stderr


def test_rows_of_a_damaged_shard_count_as_new(trained, explained):
    (store,) = (trained.artifacts / "features").iterdir()
    (keys,) = store.glob("shards/*/keys.npy")
    keys.chmod(0o644)
    keys.write_bytes(b"")

    said = explained()["ExtractFeatures"]

    assert "is missing or incomplete" in said
    assert "120 of 120 distinct texts are new to the store" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("CompareEncoders", "--poolings", "cls"),
            "explain-run knows the jobs TrainLogReg, TrainLayers, TrainHybrid, TrainCascade, not CompareEncoders.",
        ),
        (("TrainHybird",), "'TrainHybird' is no job: "),
        (("TrainHybird",), "Did you mean TrainHybrid? Name one of them"),
    ],
)
def test_explain_run_names_the_jobs_that_it_knows(capsys, words, said):
    assert cli.main(["explain-run", *words]) == 1

    assert said in capsys.readouterr().err


def test_a_refused_question_is_no_run(job, reviews):
    done = explain(job, "TrainHybrid", "--dataset", str(reviews), "--layers", "0")

    assert done.returncode == 1
    assert "--layers is 0" in done.stderr
    assert not (job.artifacts / "runs.jsonl").exists()


def test_a_file_where_artifacts_are_to_be_is_named_once(
    job, reviews, monkeypatch, capsys
):
    monkeypatch.chdir(job.cwd)
    said = f"--artifacts {reviews} is a file, expected a folder. Pass another.\n"

    done = job.run("TrainLogReg", "--dataset", reviews, "--artifacts", reviews)
    status = cli.main(["status", "--artifacts", str(reviews)])

    assert done.status != 0
    assert done.err == f"ERROR: {said}"
    assert (status, capsys.readouterr().err) == (1, said)

"""What runs again when something changed, and what does not."""

import os
import shutil
import subprocess

import luigi
import numpy as np
import pytest

import tasks
from pipeline.features.store import FeatureStore
from tests.conftest import BIN, review_rows, write_tsv


def run_again(job, encoder, *options, dataset="reviews.tsv"):
    done = job.train(dataset, encoder, *("--C", "1"), *options)
    assert done.status == 0, done.err
    return job.ledger()[-1]


def test_another_c_runs_only_head_report_and_predictor(trained, tiny_encoder):
    entry = run_again(trained, tiny_encoder, "--C", "0.2")

    assert entry["stages_run"] == ["FitLogReg", "EvaluateModel", "ExportPredictor"]


def test_another_seed_encodes_nothing(trained, tiny_encoder):
    entry = run_again(trained, tiny_encoder, "--seed", "7")

    assert entry["rows_encoded"] == 0
    assert "ExtractFeatures" not in entry["stages_run"]


def test_one_edited_text_encodes_one(trained, tiny_encoder):
    rows = review_rows()
    rows[5] = ("the film is never never good", "neg")
    write_tsv(trained.cwd / "reviews.tsv", rows)

    entry = run_again(trained, tiny_encoder)

    assert (entry["rows_encoded"], entry["rows_reused"]) == (1, 119)


def test_shuffled_rows_encode_nothing_and_split_the_same_texts(trained, tiny_encoder):
    before = trained.report()
    write_tsv(trained.cwd / "reviews.tsv", review_rows()[::-1])

    entry = run_again(trained, tiny_encoder)

    assert entry["rows_encoded"] == 0
    assert (
        trained.report()["metrics"]["test"]["accuracy"]
        == before["metrics"]["test"]["accuracy"]
    )


def test_fewer_rows_encode_nothing(trained, tiny_encoder):
    rows = review_rows()
    write_tsv(trained.cwd / "reviews.tsv", rows[:40] + rows[60:100])

    assert run_again(trained, tiny_encoder)["rows_encoded"] == 0


def test_a_touched_renamed_or_moved_file_is_the_same_data(
    trained, tiny_encoder, tmp_path
):
    os.utime(trained.cwd / "reviews.tsv", (0, 0))
    touched = run_again(trained, tiny_encoder)
    shutil.copy(trained.cwd / "reviews.tsv", tmp_path / "other-name.tsv")
    renamed = run_again(trained, tiny_encoder, dataset=tmp_path / "other-name.tsv")

    assert (touched["status"], renamed["status"]) == ("noop", "noop")


def test_another_folder_with_absolute_paths_is_the_same_run(
    trained, tiny_encoder, tmp_path
):
    elsewhere = type(trained)(tmp_path)
    done = elsewhere.train(
        trained.cwd / "reviews.tsv",
        tiny_encoder,
        "--C",
        "1",
        "--artifacts",
        trained.artifacts,
    )

    assert done.status == 0, done.err
    assert trained.ledger()[-1]["status"] == "noop"
    assert (
        done.out.splitlines()[-1]
        == f"predictor  {trained.artifacts}/latest/predictor.joblib"
    )


def test_device_and_batch_size_change_no_key(trained, tiny_encoder):
    entry = run_again(
        trained,
        tiny_encoder,
        "--device",
        "cpu",
        "--batch-tokens",
        "64",
        "--backend",
        "torch",
    )

    assert entry["status"] == "noop"


@pytest.mark.parametrize(
    "folder", ["datasets", "splits", "baselines", "models", "reports", "predictors"]
)
def test_a_deleted_stage_is_rebuilt_and_nothing_else(trained, tiny_encoder, folder):
    figures = trained.ledger()[-1]["figures"]
    shutil.rmtree(trained.artifacts / folder)
    names = {
        "datasets": "PrepareDataset",
        "splits": "SplitDataset",
        "baselines": "FitBaselines",
        "models": "FitLogReg",
        "reports": "EvaluateModel",
        "predictors": "ExportPredictor",
    }

    entry = run_again(trained, tiny_encoder)

    assert entry["stages_run"] == [names[folder]]
    assert entry["figures"] == figures


def test_deleted_features_are_encoded_again_and_nothing_else_runs(
    trained, tiny_encoder
):
    shutil.rmtree(trained.artifacts / "features")

    entry = run_again(trained, tiny_encoder)

    assert entry["stages_run"] == ["ExtractFeatures"]
    assert entry["rows_encoded"] == 120


def test_a_deleted_latest_comes_back(trained, tiny_encoder):
    (trained.artifacts / "latest").unlink()

    assert run_again(trained, tiny_encoder)["status"] == "noop"
    assert (trained.artifacts / "latest" / "report.html").is_file()


def test_latest_follows_the_run_also_back_to_an_older_one(trained, tiny_encoder):
    run_again(trained, tiny_encoder, "--C", "0.01")
    newer = trained.report()["head"]["C"]
    run_again(trained, tiny_encoder)

    assert (newer, trained.report()["head"]["C"]) == (0.01, 1.0)


def flip_last_bit(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_flipped_bit_in_a_stage_is_noticed_before_use_and_mended_at_once(
    trained, tiny_encoder
):
    figures = trained.ledger()[-1]["figures"]
    (path,) = (trained.artifacts / "splits").glob("*/folds.npy")
    flip_last_bit(path)
    shutil.rmtree(trained.artifacts / "models")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1")

    entry = trained.ledger()[-1]
    assert done.status == 0, done.err
    assert "folds.npy is damaged" in done.err
    assert entry["stages_run"] == ["SplitDataset", "FitLogReg"]
    assert entry["figures"] == figures
    assert len(list((trained.artifacts / "quarantine").iterdir())) == 1


def test_a_flipped_bit_in_a_feature_is_never_fitted_on(trained, tiny_encoder):
    figures = trained.ledger()[-1]["figures"]
    (path,) = (trained.artifacts / "features").glob("*/shards/*/features.npy")
    flip_last_bit(path)
    shutil.rmtree(trained.artifacts / "models")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1")

    entry = trained.ledger()[-1]
    assert done.status == 0, done.err
    assert "features.npy is damaged" in done.err
    assert entry["stages_run"] == ["ExtractFeatures", "FitLogReg"]
    assert entry["rows_encoded"] == 120
    assert entry["figures"] == figures


def test_official_split_scores_the_test_file_and_never_fits_on_dev(
    job, tmp_path, tiny_encoder
):
    folder = tmp_path / "data"
    folder.mkdir()
    rows = review_rows()
    for name, part in (("train", rows[::2]), ("dev", rows[1::4]), ("test", rows[3::4])):
        write_tsv(folder / f"{name}.tsv", part, header=None)

    run_again(job, tiny_encoder, dataset=folder)

    split = job.report()["split"]
    assert (split["mode"], split["scored"], split["n_fit"], split["n_test"]) == (
        "official",
        "test",
        60,
        30,
    )


def test_stored_features_are_the_encoders(trained, tiny_encoder):
    from pipeline import load_encoder

    (folder,) = (trained.artifacts / "features").iterdir()
    store = FeatureStore(folder, trained.artifacts)
    store.load()
    (keys,) = (folder / "datasets").glob("*/keys.npy")

    features = store.features(np.load(keys))

    expected = load_encoder(str(tiny_encoder)).encode(
        [text for text, _ in review_rows()]
    )
    np.testing.assert_allclose(features, expected, atol=1e-6)


def test_the_same_command_twice_at_once_computes_once(job, reviews, tiny_encoder):
    command = [
        *(
            str(BIN / "luigi"),
            "--module",
            "tasks",
            "TrainLogReg",
        ),
        *("--dataset", str(reviews), "--encoder", str(tiny_encoder), "--C", "1"),
    ]
    both = [
        subprocess.Popen(
            command,
            cwd=job.cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ended = [process.communicate(timeout=240) for process in both]

    assert [process.returncode for process in both] == [0, 0], ended
    assert sum(entry["rows_encoded"] for entry in job.ledger()) == 120
    ran = [name for entry in job.ledger() for name in entry["stages_run"]]
    assert len(ran) == len(set(ran)) == 7


def test_tasks_see_a_file_that_changed_within_one_process(
    trained, tiny_encoder, monkeypatch
):
    monkeypatch.chdir(trained.cwd)
    before = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C="1")
    write_tsv(trained.cwd / "reviews.tsv", review_rows()[:80])
    after = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C="1")

    assert before.complete()
    assert not after.complete()


def test_luigi_build_returns_success(trained, tiny_encoder, monkeypatch):
    monkeypatch.chdir(trained.cwd)
    task = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C="3")

    result = luigi.build(
        [task], local_scheduler=True, no_lock=True, detailed_summary=True
    )

    assert result.status == luigi.LuigiStatusCode.SUCCESS
    assert trained.ledger()[-1]["status"] == "ok"


def test_a_folder_with_spaces_and_unicode_works(job, tmp_path, tiny_encoder):
    folder = tmp_path / "meine Daten ü"
    folder.mkdir()
    path = write_tsv(folder / "bewertungen 1.tsv", review_rows())

    done = job.train(path, tiny_encoder, "--C", "1", "--artifacts", folder / "out put")

    assert done.status == 0, done.err
    assert (folder / "out put" / "latest" / "report.md").is_file()


def test_a_damaged_encoder_directory_is_noticed_and_made_again(trained, tiny_encoder):
    (path,) = (trained.artifacts / "features").glob("*/encoder/probes.npy")
    flip_last_bit(path)
    shutil.rmtree(trained.artifacts / "predictors")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1")

    entry = trained.ledger()[-1]
    assert done.status == 0, done.err
    assert "probes.npy is damaged" in done.err
    assert entry["stages_run"] == ["ExtractFeatures", "ExportPredictor"]
    assert entry["rows_encoded"] == 0


def test_a_complete_job_works_without_a_writable_ledger_or_latest(
    trained, tiny_encoder
):
    """As root no permission stops a write, so a folder stands where each file should be."""
    for name in ("runs.jsonl", "latest"):
        (trained.artifacts / name).unlink()
        (trained.artifacts / name).mkdir()
    (trained.artifacts / "runs").rename(trained.artifacts / "moved")
    (trained.artifacts / "runs").write_text("in the way")

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1")

    assert done.status == 0
    assert "Traceback" not in done.err
    assert done.out.splitlines()[-1] == "predictor  artifacts/latest/predictor.joblib"


def test_a_file_as_artifacts_folder_is_refused(trained, tiny_encoder):
    done = trained.train("reviews.tsv", tiny_encoder, "--artifacts", "reviews.tsv")

    assert done.status == 40
    assert "--artifacts reviews.tsv is a file" in done.err
    assert "Traceback" not in done.err


def test_a_native_library_that_prints_does_not_disturb_the_worker(
    trained, tiny_encoder
):
    shutil.rmtree(trained.artifacts / "features")

    done = trained.train(
        "reviews.tsv",
        tiny_encoder,
        *("--C", "1", "--backend", "torch"),  # OpenVINO fails under this setting
        env={"ONEDNN_VERBOSE": "1"},
    )

    assert done.status == 0, done.err[-2000:]


def test_the_test_fraction_is_no_part_of_an_official_split(trained, tiny_encoder):
    rows = review_rows()
    write_tsv(trained.cwd / "train.tsv", rows[::2])
    write_tsv(trained.cwd / "test.tsv", rows[1::2])
    (trained.cwd / "reviews.tsv").unlink()
    run_again(trained, tiny_encoder, "--split", "official", dataset=".")

    entry = run_again(
        trained,
        tiny_encoder,
        "--split",
        "official",
        "--test-fraction",
        "0.4",
        dataset=".",
    )

    assert entry["status"] == "noop"


def test_a_damaged_report_is_never_shown_and_is_made_again(trained, tiny_encoder):
    figures = trained.ledger()[-1]["figures"]
    (path,) = (trained.artifacts / "reports").glob("*/report.json")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"value": 0.', b'"value": 1.'))

    entry = run_again(trained, tiny_encoder)

    assert entry["stages_run"] == ["EvaluateModel"]
    assert entry["figures"] == figures


def test_damaged_lines_in_the_ledger_stop_nothing(trained, tiny_encoder):
    with (trained.artifacts / "runs.jsonl").open("ab") as stream:
        stream.write(
            b'5\n\xff\xfe\n{"figures": {"a": 1}, "keys": []}\n{"figures": 1}\n'
        )

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "0.5")

    assert done.status == 0, done.err
    assert trained.report()["run"]["previous"]["accuracy"]["value"] <= 1.0


def test_an_ascii_terminal_does_not_end_a_run(trained, tiny_encoder):
    env = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}

    done = trained.train(
        "reviews.tsv", tiny_encoder, "--C", "1", "--artifacts", "é", env=env
    )

    assert done.status == 0, done.err
    assert "\\xe9/latest/predictor.joblib" in done.out


def test_a_header_that_nobody_recognised_is_asked_about(job, tmp_path, tiny_encoder):
    path = write_tsv(tmp_path / "rows.tsv", review_rows(), header="phrase\tsentiment")

    done = job.train(path, tiny_encoder)

    assert done.status == 30
    assert "stands only in the first line" in done.err
    assert "--header yes" in done.err

"""`frostbert promote`, on real runs."""

import errno
import json
import os
import shutil
import subprocess
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.config import PromotionSpec
from pipeline.errors import CacheError, ConfigError, DataError
from pipeline.predictor.file import save_predictor
from pipeline.storage import file_lock
from tasks import cli
from tasks.promote import _check_abstention, _check_kind, promote, put_back
from tasks.service import Service
from tests.conftest import BIN, review_rows, runs
from tests.faulty_disk import KILLED, FaultyDisk, end, fail

WIDE = "90"  # points: a margin within which every model is


@pytest.fixture
def frostbert(twice, capsys, monkeypatch):
    """Return a function that runs a command in the folder of two runs and returns its status, output and errors."""
    monkeypatch.chdir(twice.cwd)

    def run(*options):
        status = cli.main(["promote", *options])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def service(twice):
    return twice.cwd / "service" / "predictor.joblib"


def predictor_of(job, run):
    return (job.artifacts / "runs" / run / "predictor.joblib").resolve()


def lines(service):
    text = (service.parent / "promotions.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def put(source, service):
    service.parent.mkdir(exist_ok=True)
    shutil.copyfile(source, service)


def test_the_first_predictor_goes_into_service(frostbert, twice, service):
    status, out, _ = frostbert()

    name = runs(twice)[1]
    assert (status, out) == (
        0,
        f"Nothing was in service: run {name} is now, as service/predictor.joblib.\n",
    )
    assert service.read_bytes() == predictor_of(twice, name).read_bytes()
    (line,) = lines(service)
    assert (line["decision"], line["run"], line["before"]) == ("first", name, None)
    assert set(line["keys"]) == {"reports", "predictors"}


def test_the_same_predictor_stays(frostbert, service):
    frostbert()
    inode = service.stat().st_ino

    status, out, _ = frostbert()

    assert status == 0
    assert "is in service already" in out
    assert service.stat().st_ino == inode
    assert [line["decision"] for line in lines(service)] == ["first", "unchanged"]


def test_a_predictor_that_is_not_worse_takes_the_place_of_the_other(
    frostbert, twice, service
):
    first, second = runs(twice)
    frostbert(first)

    status, out, _ = frostbert(second, "--margin", WIDE)

    assert status == 0
    assert out.startswith(f"Promoted: run {second} is in service")
    assert service.read_bytes() == predictor_of(twice, second).read_bytes()
    before = service.with_name("predictor.joblib.previous")
    assert before.read_bytes() == predictor_of(twice, first).read_bytes()
    assert [line["decision"] for line in lines(service)] == ["first", "promoted"]


def test_a_predictor_that_may_be_worse_does_not(frostbert, twice, service):
    first, second = runs(twice)
    frostbert(first)
    report = twice.report()

    status, out, _ = frostbert(second)

    n = report["split"]["n_test"]
    assert status == 1
    assert out.startswith(
        f"Not promoted: run {second} is not shown to be at most 1 point worse"
    )
    assert f"on {n} rows" in out
    assert f"fitted on none of these {n} rows." in out
    assert service.read_bytes() == predictor_of(twice, first).read_bytes()
    assert not service.with_name("predictor.joblib.previous").exists()
    line = lines(service)[-1]
    assert line["decision"] == "refused"
    comparison = line["comparison"]
    accuracy = report["metrics"]["test"]["accuracy"]["value"]
    assert comparison["new"] == pytest.approx(accuracy)
    assert comparison["lower"] < comparison["difference"]
    assert (comparison["margin"], comparison["n"]) == (0.01, n)


def test_macro_f1_can_be_compared(frostbert, twice, service):
    frostbert(runs(twice)[0])

    _, out, _ = frostbert("--metric", "f1_macro", "--margin", WIDE)

    assert "macro F1" in out
    found = lines(service)[-1]["comparison"]
    f1 = twice.report()["metrics"]["test"]["f1_macro"]["value"]
    assert found["new"] == pytest.approx(f1)


def test_without_its_run_the_predictor_in_service_labels_the_rows_itself(
    frostbert, twice, service
):
    first, second = runs(twice)
    frostbert(first)
    frostbert(second)
    folder = predictor_of(twice, first).parent
    shutil.rmtree(folder)

    _, out, err = frostbert(second)

    assert "cannot be known" in out
    assert "labels 30 rows" in err
    noted, now = (line["comparison"] for line in lines(service)[-2:])
    assert now["n_seen_by_old"] is None
    assert noted["n_seen_by_old"] == 0
    same = {"old", "new", "lower", "n"}
    assert {name: now[name] for name in same} == {name: noted[name] for name in same}


def test_rows_that_the_one_in_service_was_fitted_on_are_counted(
    frostbert, twice, service, tiny_encoder
):
    frostbert(runs(twice)[0])
    done = twice.train("reviews.tsv", tiny_encoder, "--C", "1", "--seed", "9")
    assert done.status == 0, done.err

    _, out, _ = frostbert()

    n_seen = len(rows_of(twice, 42, "fit") & rows_of(twice, 9, "test"))
    assert n_seen > 0
    assert lines(service)[-1]["comparison"]["n_seen_by_old"] == n_seen
    assert f"fitted on {n_seen} of these 30 rows, which favours it." in out


def rows_of(job, seed, name):
    """Return the rows of one side of the split of a seed."""
    for folder in (job.artifacts / "splits").iterdir():
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["key_fields"]["seed"] == seed:
            return set(np.load(folder / f"{name}.npy").tolist())
    raise AssertionError(f"no split of seed {seed}")


def other_classes(folder, tiny_encoder):
    """Write a predictor of the classes pos and meh."""
    texts, labels = zip(*review_rows(), strict=True)
    model = TextClassifier(str(tiny_encoder), pooling="cls", C=1.0)
    model.fit(list(texts), [{"neg": "meh"}.get(label, label) for label in labels])
    path = folder / "other.joblib"
    save_predictor(model.predictor_, path)
    return path


def test_predictors_of_other_classes_are_not_compared(
    frostbert, twice, service, tiny_encoder
):
    put(other_classes(twice.cwd, tiny_encoder), service)

    status, _, err = frostbert()

    assert status == 40
    assert "only the new one has 'neg'; only the one in service has 'meh'" in err
    line = lines(service)[-1]
    assert line["decision"] == "failed"
    assert "'meh'" in line["error"]


@pytest.mark.parametrize("to", ["artifacts", "artifacts/x.joblib", "link.joblib"])
def test_a_place_among_the_artifacts_is_refused(frostbert, twice, to):
    (twice.cwd / "link.joblib").symlink_to("artifacts/latest/predictor.joblib")

    status, _, err = frostbert("--to", to)

    assert status == 40
    assert "leads into the artifacts folder" in err
    assert "such as service/predictor.joblib" in err


def test_of_a_link_the_file_it_leads_to_is_replaced(frostbert, twice):
    (twice.cwd / "models").mkdir()
    link = twice.cwd / "now.joblib"
    link.symlink_to("models/a.joblib")

    status, _, _ = frostbert("--to", "now.joblib")

    assert status == 0
    assert link.is_symlink()
    assert load_predictor(twice.cwd / "models" / "a.joblib").self_check() < 1e-4


def test_a_folder_may_be_named(frostbert, twice):
    frostbert("--to", "models/live")

    assert (twice.cwd / "models" / "live" / "predictor.joblib").is_file()


def test_a_run_that_is_not_there_changes_nothing(frostbert, twice):
    status, _, err = frostbert("nope")

    assert status == 40
    assert "There is no run 'nope'" in err
    assert not (twice.cwd / "service").exists()


def test_options_that_cannot_be_meant_are_refused(frostbert):
    assert frostbert("--margin", "-1")[0] == 40
    assert frostbert("latest", "--back")[0] == 40
    assert frostbert("--artifacts", "nowhere")[0] == 40


def test_a_damaged_predictor_is_not_promoted(frostbert, twice, service):
    frostbert(runs(twice)[0])
    before = service.read_bytes()
    path = predictor_of(twice, runs(twice)[1])
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)

    status, _, err = frostbert()

    assert status == 40
    assert "is damaged" in err
    assert service.read_bytes() == before
    assert lines(service)[-1]["decision"] == "failed"


def test_a_damaged_predictor_in_service_is_an_error(frostbert, service):
    service.parent.mkdir()
    service.write_bytes(b"not a predictor")

    status, _, err = frostbert()

    assert status == 40
    assert "is not a predictor file" in err
    assert service.read_bytes() == b"not a predictor"


def test_texts_that_are_gone_are_a_clear_error(twice, service):
    first, second = runs(twice)
    put(predictor_of(twice, first), service)
    shutil.rmtree(predictor_of(twice, first).parent)
    shutil.rmtree(twice.artifacts / "datasets")

    with pytest.raises(CacheError, match=r"The texts of run .* are gone.*again"):
        promote(twice.artifacts, second, service, PromotionSpec())


def test_the_predictor_before_can_be_put_back(frostbert, twice, service):
    first, second = runs(twice)
    frostbert(first)
    frostbert(second, "--margin", WIDE)

    status, out, _ = frostbert("--back")

    assert status == 0
    assert "--back once more undoes it" in out
    assert service.read_bytes() == predictor_of(twice, first).read_bytes()
    frostbert("--back")
    assert service.read_bytes() == predictor_of(twice, second).read_bytes()
    assert [line["decision"] for line in lines(service)[2:]] == ["back", "back"]


def test_nothing_to_put_back_is_a_clear_error(tmp_path):
    with pytest.raises(ConfigError, match=r"no predictor\.joblib\.previous beside"):
        put_back(tmp_path)


def test_two_promotions_at_once_wait_for_each_other(twice, service):
    command = [str(BIN / "frostbert"), "promote", runs(twice)[0]]
    with file_lock(service.with_name(".predictor.joblib.lock")):
        both = [
            subprocess.Popen(command, cwd=twice.cwd, stdout=subprocess.PIPE, text=True)
            for _ in range(2)
        ]
        time.sleep(3)
        assert not service.exists()

    said = sorted(process.communicate(timeout=120)[0] for process in both)

    assert said[0].startswith("Nothing was in service")
    assert "is in service already" in said[1]
    assert [line["decision"] for line in lines(service)] == ["first", "unchanged"]


# The files alone: any bytes do.

NEW, NOW, BEFORE = b"new" * 50, b"now" * 50, b"before" * 50


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "service"
    folder.mkdir()
    (tmp_path / "new").write_bytes(NEW)
    (folder / "predictor.joblib").write_bytes(NOW)
    (folder / "predictor.joblib.previous").write_bytes(BEFORE)
    return Service.at(folder)


def act(files, how):
    files.swap() if how == "swap" else files.install(files.path.parents[1] / "new")


def n_operations(files, how):
    with FaultyDisk().installed() as counted:
        act(files, how)
    return counted.n


AFTER = {"install": (NEW, NOW), "swap": (BEFORE, NOW)}
# What may be found after a sudden end.
WHOLE = {
    "install": {(NOW, BEFORE), (NOW, NOW), (NEW, NOW)},
    "swap": {(NOW, BEFORE), (BEFORE, BEFORE), (BEFORE, NOW)},
}


@pytest.mark.parametrize("how", ["install", "swap"])
@pytest.mark.parametrize("halfway", [False, True])
def test_a_sudden_end_at_any_operation_leaves_whole_files(files, how, halfway):
    found = []
    for at in range(1, 100):
        files.path.write_bytes(NOW)
        files.previous.write_bytes(BEFORE)
        child = os.fork()
        if child == 0:
            with FaultyDisk(end(halfway=halfway), at).installed():
                act(files, how)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        found.append((files.path.read_bytes(), files.previous.read_bytes()))
        if status == 0:
            break
        assert status == KILLED

    assert set(found) <= WHOLE[how]
    assert found[-1] == AFTER[how]
    assert len(found) > 8


@pytest.mark.parametrize("how", ["install", "swap"])
def test_a_disk_that_refuses_leaves_whole_files_and_nothing_else(files, how):
    n = n_operations(files, how)
    for at in range(1, n + 1):
        files.path.write_bytes(NOW)
        files.previous.write_bytes(BEFORE)

        with (
            FaultyDisk(fail(errno.EIO), at).installed() as faulty,
            pytest.raises(
                ConfigError, match=r"cannot be replaced: .*pass another --to"
            ),
        ):
            act(files, how)

        found = files.path.read_bytes(), files.previous.read_bytes()
        assert found in WHOLE[how]
        if faulty.names[at - 1] != "remove":
            assert not list(files.path.parent.glob(".*"))
        for path in files.path.parent.glob(".*"):
            path.unlink()


def asked(task="classification", pairs=None, abstention=None):
    """Return a run and a predictor in service, as far as they are compared by what they answer."""
    report = {
        "head": {"task": task},
        "encoder": {"pair_encoding": pairs},
        "decision": abstention and {"abstention": abstention},
    }
    run: Any = SimpleNamespace(name="new", report=report)
    old: Any = SimpleNamespace(
        task=task, pair_encoding=pairs, abstains=abstention is not None
    )
    return run, old


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"task": "multilabel"}, "a classification of texts, .* a multilabel of texts"),
        ({"pairs": "joint"}, "a classification of texts, .* a classification of pairs"),
    ],
)
def test_predictors_that_answer_other_questions_are_not_compared(other, said):
    run, same = asked()
    _, old = asked(**other)

    _check_kind(run, same)
    with pytest.raises(DataError, match=said):
        _check_kind(run, old)


def test_withheld_answers_are_not_judged_by_accuracy():
    run, old = asked()
    unsure_run, unsure_old = asked(abstention={"max_error": 0.1})

    _check_abstention(run, old)
    with pytest.raises(DataError, match=r"withheld by run new \(--max-error"):
        _check_abstention(unsure_run, old)
    with pytest.raises(DataError, match="withheld by the predictor in service"):
        _check_abstention(run, unsure_old)

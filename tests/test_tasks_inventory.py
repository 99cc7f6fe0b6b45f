"""``frostbert status``, ``verify``, ``gc``, ``pin`` and ``forget`` on a real, trained artifacts folder."""

import json
import shutil
import sys

import numpy as np
import pytest

from pipeline.features.keys import row_key, row_keys
from pipeline.features.store import FeatureStore
from pipeline.storage import key_lock
from tasks import ledger
from tasks.clean import find_unused
from tasks.cli import main
from tasks.forget import forget
from tasks.inventory import Inventory
from tests.conftest import review_rows, write_tsv
from tests.test_tasks_stages import flip_last_bit, run_again

TEXT = "the plot is always warm"  # of the training data
FRESH = "a review that only the other data set holds"


@pytest.fixture
def frostbert(trained, capsys):
    """Run a command on the trained folder's artifacts; return status and output."""

    def run(*arguments):
        code = main([*arguments, "--artifacts", str(trained.artifacts)])
        out, err = capsys.readouterr()
        return code, out + err

    return run


@pytest.fixture
def two_runs(trained, tiny_encoder):
    """Train once more with another C; return the names of the older and the newer run."""
    run_again(trained, tiny_encoder, "--C", "0.5")
    older, newer = (path.name for path in Inventory(trained.artifacts).runs())
    return older, newer


def other_data(trained, tiny_encoder):
    """Train on half of the reviews and one text more."""
    path = write_tsv(trained.cwd / "other.tsv", [*review_rows()[::2], (FRESH, "pos")])
    return run_again(trained, tiny_encoder, dataset=path)


def paths(removals, root):
    return {str(removal.path.relative_to(root)).split("/")[0] for removal in removals}


def remove_all(root, **options):
    for removal in find_unused(root, **options):
        removal.apply()


def test_status_shows_every_kind_with_its_size_and_users(frostbert, trained):
    code, out = frostbert("status")

    (run,) = Inventory(trained.artifacts).runs()
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert code == 0
    for kind in ("datasets", "splits", "baselines", "models", "reports", "predictors"):
        assert f"{run.name} (latest)" in lines[kind]
    assert "120 rows in 1 shard " in lines["features"]
    assert lines["ledger"].endswith("1 line in runs.jsonl")


def test_status_says_what_no_run_uses(frostbert, trained):
    shutil.rmtree(trained.artifacts / "runs")

    _, out = frostbert("status")

    assert [line.split()[-2:] for line in out.splitlines() if line[:6] == "models"] == [
        ["no", "run"]
    ]


def test_status_of_no_folder_is_one_line(tmp_path, capsys):
    assert main(["status", "--artifacts", str(tmp_path / "none")]) == 1
    assert "No artifacts folder" in capsys.readouterr().err


def test_verify_finds_nothing_in_a_whole_folder(frostbert):
    code, out = frostbert("verify")

    assert code == 0
    assert out.strip().endswith("all as written.")


@pytest.mark.parametrize(
    "pattern",
    [
        "datasets/*/rows.parquet",
        "features/*/shards/*/features.npy",
        "features/*/datasets/*/keys.npy",
        "features/*/encoder/probes.npy",
        "predictors/*/predictor.joblib",
        "reports/*/report.json",
        "splits/*/manifest.json",
    ],
)
def test_verify_names_a_file_with_a_flipped_bit(frostbert, trained, pattern):
    (path,) = trained.artifacts.glob(pattern)
    flip_last_bit(path)

    code, out = frostbert("verify")

    assert code == 1
    assert str(path if path.name != "manifest.json" else path.parent) in out
    assert path.exists()  # it only looks


def test_verify_notices_rows_that_no_shard_holds(frostbert, trained):
    (shard,) = trained.artifacts.glob("features/*/shards/*")
    shutil.rmtree(shard)

    code, out = frostbert("verify")

    assert code == 1
    assert "120 rows of" in out


def test_verify_notices_a_result_under_another_key(frostbert, trained):
    (model,) = trained.artifacts.glob("models/*")
    model.rename(model.with_name("reviews-0123456789ab"))

    code, out = frostbert("verify")

    assert code == 1
    assert "reviews-0123456789ab holds what belongs to" in out


def test_verify_encodes_rows_again(frostbert):
    code, out = frostbert("verify", "--recompute", "7")

    assert code == 0
    assert "7 rows encoded again, largest difference" in out


def test_verify_notices_features_of_another_encoder(frostbert, trained):
    (folder,) = trained.artifacts.glob("features/*")
    store = FeatureStore(folder, trained.artifacts)
    store.load()
    keys = row_keys(text for text, _ in review_rows())
    features, n_tokens = store.features(keys) + 0.01, store.n_tokens(keys)
    shutil.rmtree(folder / "shards")
    FeatureStore(folder, trained.artifacts).append(keys, features, n_tokens)

    code, out = frostbert("verify", "--recompute", "3")

    assert code == 1
    assert "largest difference 0.01 " in out
    assert "are not what the encoder gives" in out


def test_verify_says_when_the_encoder_is_not_here(frostbert, trained, tiny_bert):
    (manifest,) = trained.artifacts.glob("features/*/encoder/manifest.json")
    assert "spec" in json.loads(manifest.read_text())["facts"]

    code, out = frostbert("verify", "--recompute", "3", "--encoder", str(tiny_bert))

    assert code == 0
    assert "is not the encoder that made" in out


def test_gc_removes_nothing_that_a_result_needs(frostbert, trained, tiny_encoder):
    assert "Nothing to remove" in frostbert("gc", "--yes")[1]
    assert run_again(trained, tiny_encoder)["status"] == "noop"


def test_gc_only_lists_without_yes(frostbert, trained):
    shutil.rmtree(trained.artifacts / "predictors")
    shutil.rmtree(trained.artifacts / "reports")
    before = sorted(trained.artifacts.rglob("*"))

    code, out = frostbert("gc")

    assert code == 0
    assert "could be freed: frostbert gc --yes" in out
    assert sorted(trained.artifacts.rglob("*")) == before


def test_gc_removes_all_stages_once_no_result_is_left(frostbert, trained):
    shutil.rmtree(trained.artifacts / "predictors")
    shutil.rmtree(trained.artifacts / "reports")

    assert frostbert("gc", "--yes")[0] == 0

    assert Inventory(trained.artifacts).items == []
    assert not Inventory(trained.artifacts).runs()


def test_gc_keeps_the_newest_runs_and_what_they_share(
    trained, tiny_encoder, two_runs, frostbert
):
    _, newer = two_runs

    remove_all(trained.artifacts, keep=1)

    inventory = Inventory(trained.artifacts)
    assert [path.name for path in inventory.runs()] == [newer]
    assert [len(inventory.of(kind)) for kind in ("models", "datasets", "shards")] == [
        1,
        1,
        1,
    ]
    assert run_again(trained, tiny_encoder, "--C", "0.5")["status"] == "noop"
    assert frostbert("verify")[0] == 0


def test_gc_keeps_pinned_runs_until_they_are_unpinned(trained, two_runs, frostbert):
    older, _ = two_runs
    assert frostbert("pin", older)[0] == 0
    assert find_unused(trained.artifacts, keep=1) == []

    assert frostbert("unpin", older)[0] == 0

    assert "models" in paths(find_unused(trained.artifacts, keep=1), trained.artifacts)


def test_gc_keeps_the_latest_run_even_if_an_older_one(trained, tiny_encoder, two_runs):
    shutil.copy(trained.artifacts / ledger.LEDGER, trained.cwd / "before")
    run_again(trained, tiny_encoder, "--C", "1")  # latest shows the older one again
    shutil.copy(trained.cwd / "before", trained.artifacts / ledger.LEDGER)

    remove_all(trained.artifacts, keep=1)

    assert {path.name for path in Inventory(trained.artifacts).runs()} == set(two_runs)


def test_pinning_an_unknown_run_lists_the_known(frostbert, trained):
    (run,) = Inventory(trained.artifacts).runs()

    code, out = frostbert("pin", "nothing")

    assert code == 1
    assert f"There is no run 'nothing' (runs: {run.name})" in out
    assert "is not pinned" in frostbert("unpin", run.name)[1]


def test_gc_writes_shards_anew_without_the_rows_nobody_needs(
    trained, tiny_encoder, frostbert
):
    entry = other_data(trained, tiny_encoder)
    for path in trained.artifacts.glob("*/reviews-*"):
        if path.parent.name in {"reports", "predictors", "datasets"}:
            shutil.rmtree(path)
    remove_all(trained.artifacts)

    store = FeatureStore(next(trained.artifacts.glob("features/*")), trained.artifacts)
    store.load()

    kept = [text for text, _ in review_rows()[::2]]
    assert not store.missing(row_keys([*kept, FRESH])).any()
    assert len(store) == 121  # half of the shard is needed: it stays as it is
    assert run_again(trained, tiny_encoder, dataset="other.tsv")["status"] == "noop"
    assert entry["rows_encoded"] == 1


def test_gc_shrinks_a_shard_of_which_little_is_needed(trained, tiny_encoder, frostbert):
    rows = review_rows()
    few = write_tsv(trained.cwd / "few.tsv", rows[:16] + rows[60:76])
    before = run_again(trained, tiny_encoder, dataset=few)
    for path in trained.artifacts.glob("*/reviews-*"):
        if path.parent.name in {"reports", "predictors"}:
            shutil.rmtree(path)

    remove_all(trained.artifacts)
    remove_all(trained.artifacts)  # again: nothing happens

    (keys,) = trained.artifacts.glob("features/*/shards/*/keys.npy")
    assert len(np.load(keys)) == 32
    assert frostbert("verify")[0] == 0
    shutil.rmtree(trained.artifacts / "models")
    after = run_again(trained, tiny_encoder, dataset=few)
    assert after["stages_run"] == ["FitLogReg"]
    assert after["figures"] == before["figures"]


def test_gc_leaves_what_a_run_is_building(trained, frostbert):
    shutil.rmtree(trained.artifacts / "predictors")
    shutil.rmtree(trained.artifacts / "reports")
    (store,) = trained.artifacts.glob("features/*")

    with key_lock(trained.artifacts, f"{store.name}.lock"):
        code, out = frostbert("gc", "--yes")

    assert code == 1
    assert "is in use by a run; it stays" in out
    assert list(store.glob("shards/*"))


def test_gc_leaves_what_a_run_under_way_will_read(trained):
    shutil.rmtree(trained.artifacts / "predictors")
    shutil.rmtree(trained.artifacts / "reports")
    keys = {
        name: item.key
        for item in Inventory(trained.artifacts).items
        for name in [item.kind]
        if item.key
    }
    ledger.begin(object(), trained.artifacts, {"FitLogReg": keys["models"]})

    try:
        found = find_unused(trained.artifacts)
    finally:
        ledger.close("failed")

    assert paths(found, trained.artifacts) <= {"runs", "baselines"}


def test_gc_removes_drafts_of_dead_processes_and_keeps_those_of_others(trained, python):
    dead = python(
        "from pipeline.storage.publish import draft_name; print(draft_name('x-1'))"
    ).stdout.strip()
    from pipeline.storage.publish import draft_name

    for name in (dead, draft_name("x-2"), "x-3.elsewhere.1.00000000", "notes"):
        (trained.artifacts / "tmp" / name).mkdir()

    remove_all(trained.artifacts)

    left = sorted(path.name[:3] for path in (trained.artifacts / "tmp").iterdir())
    assert left == ["not", "x-2", "x-3"]


def test_forget_leaves_no_byte_of_a_text(trained, tiny_encoder, frostbert):
    (folder,) = trained.artifacts.glob("features/*")
    store = FeatureStore(folder, trained.artifacts)
    store.load()
    vector = store.features(row_keys([TEXT])).tobytes()
    assert any(vector in path.read_bytes() for path in folder.rglob("features.npy"))

    code, out = frostbert("forget", TEXT)

    assert code == 0
    assert "no trace of it is left" in out
    everything = b"".join(
        path.read_bytes() for path in trained.artifacts.rglob("*") if path.is_file()
    )
    assert vector not in everything
    assert row_key(TEXT) not in everything
    assert TEXT.encode() not in everything
    store.load()
    assert store.missing(row_keys([TEXT])).all()
    assert len(store) == 119
    assert Inventory(trained.artifacts).of("reports", "predictors", "datasets") == []
    assert not (trained.artifacts / "latest").exists()


def test_after_forgetting_only_the_forgotten_would_be_encoded_again(
    trained, tiny_encoder, frostbert
):
    frostbert("forget", TEXT)

    rows = [row for row in review_rows() if row[0] != TEXT]
    write_tsv(trained.cwd / "reviews.tsv", rows)

    assert run_again(trained, tiny_encoder)["rows_encoded"] == 0


def test_forget_leaves_other_data_sets_complete(trained, tiny_encoder):
    other_data(trained, tiny_encoder)
    forgotten = review_rows()[1][0]  # only the first data set holds it

    found = forget(trained.artifacts, forgotten)

    assert found.traces == []
    entry = run_again(trained, tiny_encoder, dataset="other.tsv")
    assert entry["status"] == "noop"
    assert (trained.artifacts / "latest").exists()


def test_forget_blanks_the_ledger(trained):
    entry = {"status": "failed", "error": f"The text {TEXT!r} was refused"}
    ledger.write(trained.artifacts, entry)

    found = forget(trained.artifacts, TEXT)

    assert found.traces == []
    assert ledger.entries(trained.artifacts)[-1]["error"] == (
        "The text '[forgotten]' was refused"
    )


def test_forget_names_what_it_could_not_clean(trained, frostbert):
    (trained.artifacts / "notes.txt").write_text(f"remember {TEXT}!")

    code, out = frostbert("forget", TEXT)

    assert code == 1
    assert "notes.txt still holds the text" in out


def test_forget_drops_what_was_set_aside(trained):
    aside = trained.artifacts / "quarantine" / "x"
    aside.mkdir(parents=True)
    (aside / "half").write_bytes(row_key(TEXT))

    assert forget(trained.artifacts, TEXT).traces == []


def test_forget_of_an_unknown_text_changes_nothing(trained, tiny_encoder, frostbert):
    code, out = frostbert("forget", "nobody ever wrote this")

    assert code == 0
    assert "Nothing here held it." in out
    assert run_again(trained, tiny_encoder)["status"] == "noop"


def test_forget_reads_a_text_from_standard_input(trained, frostbert, monkeypatch):
    class Pipe:
        def read(self):
            return TEXT + "\n"

    monkeypatch.setattr(sys, "stdin", Pipe())

    assert "removed datasets/" in frostbert("forget", "-")[1]


def test_forget_waits_for_nobody(trained, frostbert):
    ledger.begin(object(), trained.artifacts, {"FitLogReg": "0" * 64})

    try:
        code, out = frostbert("forget", TEXT)
    finally:
        ledger.close("failed")

    assert code == 1
    assert "A run is under way" in out
    assert Inventory(trained.artifacts).of("reports")

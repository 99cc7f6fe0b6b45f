"""``frostbert status``, ``verify``, ``gc``, ``pin`` and ``forget`` on a real, trained artifacts folder."""

import json
import re
import shutil
import socket
import sys

import numpy as np
import pytest

import tasks
from pipeline.errors import CacheError, shown
from pipeline.features.keys import row_key, row_keys
from pipeline.features.store import FeatureStore
from pipeline.storage import discard, is_left_over, key_lock
from pipeline.storage.manifest import digest_of
from pipeline.storage.owners import mark
from pipeline.storage.publish import draft_name
from tasks import ledger
from tasks.clean import find_unused, pin
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
    assert "120 rows in 1 shard, 1 certificate " in lines["features"]
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
        "features/*/certificates/*/reference.npy",
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
    (shard,) = (folder / "shards").iterdir()
    store.append(keys, features, n_tokens, replaces=[shard.name])
    shutil.rmtree(shard)

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
    assert f"could be freed: frostbert gc --artifacts {trained.artifacts} --yes" in out
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


def test_gc_names_the_command_that_removes_what_it_lists(
    trained, two_runs, monkeypatch, capsys
):
    monkeypatch.chdir(trained.cwd)
    main(["gc", "--keep", "1"])
    (hint,) = re.findall("could be freed: frostbert (.*)", capsys.readouterr().out)

    assert hint == "gc --keep 1 --yes"
    assert main(hint.split()) == 0
    assert find_unused(trained.artifacts, keep=1) == []


@pytest.mark.parametrize("name", ["latest", "artifacts/runs/{newer}", "{newer}"])
def test_a_run_is_unpinned_by_each_name_by_which_it_is_pinned(
    trained, two_runs, frostbert, name
):
    _, newer = two_runs
    name = name.format(newer=newer)

    assert frostbert("pin", name)[0] == 0
    assert Inventory(trained.artifacts).pins() == [newer]
    assert frostbert("unpin", name)[0] == 0
    assert Inventory(trained.artifacts).pins() == []


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


def test_gc_leaves_a_shard_of_which_half_is_needed(trained, tiny_encoder, frostbert):
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


def test_after_forgetting_nothing_else_is_encoded_again(
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
    before = {path: path.stat().st_mtime_ns for path in trained.artifacts.rglob("*")}

    code, out = frostbert("forget", "nobody ever wrote this")

    after = {path: path.stat().st_mtime_ns for path in trained.artifacts.rglob("*")}
    locks = trained.artifacts / "locks"
    assert {path for path in before if before[path] != after.get(path)} <= {
        trained.artifacts,
        locks,
        trained.artifacts / "tmp",
    }
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


def test_two_damaged_shards_are_mended_at_once_and_stay_so(trained, tiny_encoder):
    half = write_tsv(trained.cwd / "half.tsv", review_rows()[::2])
    shutil.rmtree(trained.artifacts)
    run_again(trained, tiny_encoder, dataset=half)
    before = run_again(trained, tiny_encoder)
    for path in trained.artifacts.glob("features/*/shards/*/features.npy"):
        flip_last_bit(path)
    shutil.rmtree(trained.artifacts / "models")

    mended = run_again(trained, tiny_encoder)

    assert mended["rows_encoded"] == 120
    assert mended["figures"] == before["figures"]
    assert run_again(trained, tiny_encoder)["status"] == "noop"


def test_verify_notices_a_list_whose_shards_nothing_replaced(trained, frostbert):
    (folder,) = trained.artifacts.glob("features/*")
    (shard,) = (folder / "shards").iterdir()
    store = FeatureStore(folder, trained.artifacts)
    store.load()
    keys = row_keys(text for text, _ in review_rows())
    features, n_tokens = store.features(keys), store.n_tokens(keys)
    shutil.rmtree(shard)
    FeatureStore(folder, trained.artifacts).append(keys, features, n_tokens)

    code, out = frostbert("verify")

    assert code == 1
    assert "the next run lists its rows again" in out


def test_a_list_whose_rows_were_dropped_heals(trained, tiny_encoder):
    (folder,) = trained.artifacts.glob("features/*")
    (shard,) = (folder / "shards").iterdir()
    store = FeatureStore(folder, trained.artifacts)
    store.load()
    store.rewrite([shard], lambda keys: np.arange(len(keys)) % 2 == 0)
    shutil.rmtree(trained.artifacts / "models")

    entry = run_again(trained, tiny_encoder)

    assert entry["stages_run"] == ["ExtractFeatures", "FitLogReg"]
    assert entry["rows_encoded"] == 60


def test_gc_stops_where_a_run_ended_since_it_looked(trained, tiny_encoder):
    for name in ("predictors", "reports"):
        shutil.rmtree(trained.artifacts / name)
    removals = find_unused(trained.artifacts)
    run_again(trained, tiny_encoder)

    for removal in removals:
        if "runs/" not in str(removal.path):
            with pytest.raises(CacheError, match="a run began or ended meanwhile"):
                removal.apply()

    assert run_again(trained, tiny_encoder)["status"] == "noop"


@pytest.mark.parametrize("n_done", [1, 2, 3])
def test_gc_of_old_runs_that_was_interrupted_is_finished_by_the_next(
    trained, two_runs, n_done
):
    for removal in find_unused(trained.artifacts, keep=1)[:n_done]:
        removal.apply()

    remove_all(trained.artifacts, keep=1)

    inventory = Inventory(trained.artifacts)
    assert [path.name for path in inventory.runs()] == [two_runs[1]]
    assert len(inventory.of("models", "reports", "predictors")) == 3


def test_gc_names_a_list_that_it_cannot_read(trained, frostbert):
    (path,) = trained.artifacts.glob("features/*/datasets/*/keys.npy")
    path.chmod(0o644)
    path.write_bytes(b"")

    code, out = frostbert("gc")

    assert code == 1
    assert f"{path} cannot be read" in out


@pytest.mark.parametrize(
    "arguments", [("gc", "--keep", "-1"), ("verify", "--recompute", "-3")]
)
def test_a_number_below_zero_is_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main(list(arguments))

    assert "is no whole number of 0 or more" in capsys.readouterr().err


def test_rows_of_a_store_of_an_earlier_version_are_not_encoded_again(
    trained, frostbert
):
    (folder,) = trained.artifacts.glob("features/*/encoder")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["facts"]["spec"]
    whole = {**manifest, "digest": digest_of(manifest)}
    (folder / "manifest.json").chmod(0o644)
    (folder / "manifest.json").write_text(json.dumps(whole))

    code, out = frostbert("verify", "--recompute", "2")

    assert code == 0
    assert "was made by an earlier version" in out


def test_a_forgotten_text_that_comes_back_is_encoded_once_more(trained, tiny_encoder):
    alone = write_tsv(
        trained.cwd / "alone.tsv", [*review_rows()[:30:2], *review_rows()[60:90:2]]
    )
    shutil.rmtree(trained.artifacts)
    before = run_again(trained, tiny_encoder, dataset=alone)
    text = review_rows()[2][0]
    forget(trained.artifacts, text)

    again = run_again(trained, tiny_encoder, dataset=alone)

    assert again["rows_encoded"] == 1
    assert again["figures"] == before["figures"]
    forget(trained.artifacts, text)
    assert run_again(trained, tiny_encoder, dataset=alone)["rows_encoded"] == 1


@pytest.mark.parametrize("n_done", [1, 2, 4, 6])
def test_a_forgetting_that_was_interrupted_is_finished_by_the_next(
    trained, monkeypatch, n_done
):
    left = [n_done]

    def discard_some(path, *, root):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        discard(path, root=root)

    monkeypatch.setattr("tasks.forget.discard", discard_some)
    with pytest.raises(KeyboardInterrupt):
        forget(trained.artifacts, TEXT)
    monkeypatch.undo()

    found = forget(trained.artifacts, TEXT)

    assert found.traces == []
    inventory = Inventory(trained.artifacts)
    assert {item.kind for item in inventory.items} <= {"encoder", "shards"}
    assert not inventory.runs()
    assert not (trained.artifacts / "latest").exists()


@pytest.mark.parametrize("folder", ["reports", "models"])
def test_forget_also_removes_what_cannot_be_told(trained, folder):
    (manifest,) = trained.artifacts.glob(f"{folder}/*/manifest.json")
    manifest.chmod(0o644)
    manifest.write_bytes(manifest.read_bytes()[:-5])

    forget(trained.artifacts, TEXT)

    assert Inventory(trained.artifacts).of(folder) == []


def test_forget_works_on_a_damaged_shard(trained):
    (path,) = trained.artifacts.glob("features/*/shards/*/features.npy")
    flip_last_bit(path)

    found = forget(trained.artifacts, TEXT)

    assert found.traces == []
    assert list(trained.artifacts.glob("features/*/shards/*")) == []


def test_forget_works_where_links_cannot_be_made(trained, tiny_encoder, monkeypatch):
    def refuse(*_):
        raise OSError(1, "Operation not permitted")

    (run,) = Inventory(trained.artifacts).runs()
    monkeypatch.setattr("pipeline.storage.disk.link", refuse)
    shutil.rmtree(run)
    (trained.artifacts / "latest").unlink()
    monkeypatch.chdir(trained.cwd)
    job = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C=1.0)
    job.finish("noop")
    pin(trained.artifacts, run.name)
    assert not (trained.artifacts / "latest").is_symlink()

    forget(trained.artifacts, "nobody ever wrote this")
    assert Inventory(trained.artifacts).latest() == run.name
    assert Inventory(trained.artifacts).pins() == [run.name]
    assert forget(trained.artifacts, TEXT).traces == []

    assert not Inventory(trained.artifacts).runs()
    assert Inventory(trained.artifacts).pins() == []
    assert not (trained.artifacts / "latest").exists()


def test_forget_keeps_every_line_of_the_ledger_whole(trained):
    odd = "a line\u2028with odd\x0bbreaks\x85in it"
    ledger.write(trained.artifacts, {"status": "failed", "error": odd})
    ledger.write(trained.artifacts, {"status": "failed", "error": f"{TEXT!r}"})

    forget(trained.artifacts, TEXT)

    assert [entry.get("error") for entry in ledger.entries(trained.artifacts)] == [
        None,
        odd,
        "'[forgotten]'",
    ]


def test_forget_blanks_a_long_text_that_a_message_cut(trained):
    long = "it's a very long text that somebody wrote about 'something' " * 3
    ledger.write(trained.artifacts, {"status": "failed", "error": shown(long)})

    forget(trained.artifacts, long)

    assert "very long text" not in (trained.artifacts / ledger.LEDGER).read_text()


def test_forget_leaves_a_longer_text_that_holds_this_one(trained, tiny_encoder):
    path = write_tsv(
        trained.cwd / "other.tsv", [*review_rows(), (f"{TEXT} and so on", "pos")]
    )
    (trained.cwd / "reviews.tsv").unlink()
    shutil.rmtree(trained.artifacts)
    run_again(trained, tiny_encoder, dataset=path)
    rows = [row for row in review_rows() if row[0] != TEXT]
    write_tsv(path, [*rows, (f"{TEXT} and so on", "pos")])
    run_again(trained, tiny_encoder, dataset=path)

    forget(trained.artifacts, TEXT)

    assert run_again(trained, tiny_encoder, dataset=path)["status"] == "noop"


def test_forget_refuses_while_a_stage_writes(trained, frostbert):
    (trained.artifacts / "tmp" / draft_name("x-1")).mkdir()

    code, out = frostbert("forget", TEXT)

    assert code == 1
    assert "may be written by a process" in out
    assert Inventory(trained.artifacts).of("reports")


def test_forget_writes_the_lines_of_killed_runs_first(trained, python):
    python(
        "import os, signal\nfrom pathlib import Path\nfrom tasks import ledger\n"
        f"ledger.begin(object(), Path({str(trained.artifacts)!r}), {{}})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )

    forget(trained.artifacts, TEXT)

    assert "ended from outside" in ledger.entries(trained.artifacts)[-1]["error"]


def test_a_draft_of_another_container_is_left_alone(trained):
    pid, space, ticks = mark().split("-")
    name = f"x-1.{socket.gethostname()}.{2**22 + 1}-{int(space) + 1}-{ticks}.00000000"
    gone = f"x-2.{socket.gethostname()}.{2**22 + 1}-{space}-{ticks}.00000000"

    assert not is_left_over(name)
    assert is_left_over(gone)
    assert not is_left_over(
        f"x-3.{socket.gethostname()}.{pid}-{space}-{ticks}.00000000"
    )
    assert is_left_over(f"x-4.{socket.gethostname()}.{pid}-{space}-{int(ticks) + 1}.0")

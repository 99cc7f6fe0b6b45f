"""What happens when the machine fails: rows 86 to 93 of the fault list; and processes that are killed or compete."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import tasks
from pipeline.errors import CacheError, EncoderError
from pipeline.features import spawn
from pipeline.features.store import FeatureStore
from pipeline.storage import (
    check_contents,
    disk,
    is_complete,
    link_or_copy,
    publish_directory,
)
from pipeline.testing import WordLengthEncoder
from tasks.clean import find_unused
from tasks.verify import verify
from tests.conftest import BIN, review_rows, write_tsv
from tests.faulty_disk import FaultyDisk, fail
from tests.stores import extract

TEXTS = ["a bbb", "a", "cc d eee", "a", "zz zz"]
ROWS = [[1, 3, 0], [1, 0, 0], [2, 1, 3], [1, 0, 0], [2, 2, 0]]
N_KILLS = 20
LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np
from pipeline.errors import CacheError
from pipeline.features.store import FeatureStore
from pipeline.features.keys import row_keys
root = Path(sys.argv[1])
store = FeatureStore(root / "features" / "words", root)
keys = row_keys(map(str, range(1000)))
columns = keys, np.ones((1000, 4), dtype=np.float32), np.ones(1000, dtype=np.int32)
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.{limit}, ({value}, {value}))
try:
    store.append(*columns)
except CacheError as error:
    print("CacheError", error)
print(sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()))
"""


@pytest.fixture
def root(tmp_path):
    return tmp_path / "artifacts"


@pytest.fixture
def store(root):
    return FeatureStore(root / "features" / "words", root)


def publish(root):
    final = root / "stage" / "abc"
    with publish_directory(
        final, root=root, stage="stage", key="k", key_fields={}
    ) as draft:
        disk.write(draft.path / "data.txt", b"hello")
    return final


def run_limited(tmp_path, limit, value):
    script = tmp_path / "limited.py"
    text = LIMITED.replace("{limit}", limit).replace("{value}", str(value))
    script.write_text(text)
    return subprocess.run(
        [sys.executable, script, tmp_path / "artifacts"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )


def test_f86_a_full_disk_says_where_and_what_to_do_and_leaves_nothing(root):
    with (
        FaultyDisk(fail(errno.ENOSPC), 4).installed(),
        pytest.raises(
            CacheError,
            match=rf"Cannot write below {root}: No space left on device.*Free space, or pass another --artifacts",
        ),
    ):
        publish(root)

    assert [path for path in root.rglob("*") if path.is_file()] == []
    check_contents(publish(root))


def test_f86_a_copy_that_fails_where_links_cannot_be_made_leaves_nothing(tmp_path):
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    link_or_copy(tmp_path / "old", tmp_path / "latest")

    def refuse(name, path, go_on):
        return (
            go_on()
            if name.startswith("remove")
            else fail(errno.EPERM)(name, path, go_on)
        )

    with (
        FaultyDisk(refuse, 1, lasting=True).installed(),
        pytest.raises(OSError, match="not permitted"),
    ):
        link_or_copy(tmp_path / "new", tmp_path / "latest")

    assert (tmp_path / "latest" / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "new", "old"]


def test_f87_a_file_that_may_not_be_as_large_is_a_full_disk(tmp_path):
    """RLIMIT_FSIZE, as a quota of the batch system sets it."""
    done = run_limited(tmp_path, "RLIMIT_FSIZE", 5000)

    assert "CacheError Cannot write below" in done.stdout, done.stderr
    assert "File too large" in done.stdout
    assert "Free space" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_f87_too_many_open_files_is_a_clear_error(tmp_path):
    done = run_limited(tmp_path, "RLIMIT_NOFILE", 3)

    assert "CacheError Cannot" in done.stdout, done.stderr
    assert "Too many open files" in done.stdout


def test_f87_too_many_open_files_while_reading_damages_nothing(store):
    extract(store, TEXTS, WordLengthEncoder())
    n = 0
    for at in range(1, 60):
        encoder = WordLengthEncoder()
        with FaultyDisk(fail(errno.EMFILE), at).installed():
            try:
                extract(store, TEXTS, encoder)
            except (CacheError, OSError):
                n += 1
        assert encoder.seen == []

    assert n > 8
    assert extract(store, TEXTS, WordLengthEncoder()).rows_encoded == 0


def test_f87_half_a_line_that_was_written_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "write", lambda descriptor, data: len(data) // 2)

    with pytest.raises(OSError, match="No space left"):
        disk.append(tmp_path / "runs.jsonl", b"{}\n")


def test_f88_power_loss_has_tests_of_its_own():
    from tests import test_disk_faults

    assert hasattr(
        test_disk_faults,
        "test_after_a_loss_of_power_at_any_operation_everything_is_old_or_new",
    )


def test_f89_an_encoding_process_that_the_system_killed_is_named_with_advice(
    monkeypatch,
):
    monkeypatch.setattr(spawn, "_run", lambda *_: (None, -signal.SIGKILL))
    said: list[spawn.Message] = []

    with pytest.raises(EncoderError, match=r"SIGKILL.*Lower --batch-tokens.*again"):
        spawn.extract({}, said.append)
    assert "started once more" in said[0]["warning"]


@pytest.mark.parametrize("when", [0, 1, 2**31, 2**33])
def test_f90_files_of_1970_or_of_the_future_are_what_they_are(
    trained, tiny_encoder, when
):
    for path in (trained.cwd / "reviews.tsv", *trained.artifacts.rglob("*")):
        os.utime(path, (when, when), follow_symlinks=False)
    job = tasks.TrainLogReg(
        dataset=str(trained.cwd / "reviews.tsv"),
        encoder=str(tiny_encoder),
        C="1",
        artifacts=str(trained.artifacts),
    )

    assert job.complete()
    assert verify(trained.artifacts).damage == []
    assert find_unused(trained.artifacts) == []


@pytest.mark.parametrize("now", [0.0, 1.0, 2.0**33])
def test_f90_a_clock_that_jumps_changes_nothing(store, monkeypatch, now):
    extract(store, TEXTS[:2], WordLengthEncoder())
    monkeypatch.setattr(time, "time", lambda: now)

    done = extract(store, TEXTS, WordLengthEncoder())

    assert store.features(done.keys).tolist() == ROWS


KEYS = """
import sys, tasks
job = tasks.TrainLogReg(dataset=sys.argv[1], encoder=sys.argv[2], C="1", artifacts=sys.argv[3])
print(sorted(job.keys().items()), job.complete())
"""


def test_f91_time_zone_locale_hash_seed_and_utf8_mode_change_no_key(
    trained, tiny_encoder
):
    rows = [(f"{text} ıİß é", label) for text, label in review_rows()[:20]]
    write_tsv(trained.cwd / "sätze.tsv", rows)
    command = [sys.executable, "-c", KEYS, "sätze.tsv", str(tiny_encoder), "artifacts"]
    settings = [
        {},
        {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"},
        {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ]
    runs = [
        subprocess.run(
            command, cwd=trained.cwd, env={**os.environ, **more}, capture_output=True
        )
        for more in settings
    ]

    assert [run.returncode for run in runs] == [0, 0, 0], runs[-1].stderr
    assert len({run.stdout for run in runs}) == 1


def test_f92_a_run_needs_neither_home_nor_a_folder_for_temporary_files(
    trained, tiny_encoder
):
    shutil.rmtree(trained.artifacts / "features")
    env = {
        name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ
    }
    command = [
        *(str(BIN / "luigi"), "--module", "tasks", "TrainLogReg", "--C", "1"),
        *("--dataset", "reviews.tsv", "--encoder", str(tiny_encoder)),
    ]

    done = subprocess.run(
        command,
        cwd=trained.cwd,
        env={
            **env,
            "HOME": "/nonexistent",
            "TMPDIR": "/nonexistent",
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert done.returncode == 0, done.stderr[-3000:]
    assert trained.ledger()[-1]["rows_encoded"] == 120


@pytest.mark.parametrize(
    "name", ["two words", "ünï ☃", "line\nbreak", "-dash", "a'b\"c"]
)
def test_f93_a_folder_of_any_name_works(root, name, monkeypatch, tmp_path):
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    odd = Path(name) / "artifacts"
    store = FeatureStore(odd / "features" / "words", odd)

    done = extract(store, TEXTS, WordLengthEncoder())

    assert store.features(done.keys).tolist() == ROWS
    assert is_complete(publish(odd), "k")


def test_f93_a_job_works_from_another_folder_and_with_odd_names(
    trained, tiny_encoder, tmp_path
):
    """Nothing is encoded: the texts are known, whatever the file and folder are called."""
    odd = tmp_path / "line\nbreak ü"
    shutil.copytree(trained.cwd, odd, symlinks=True)
    (odd / "reviews.tsv").rename(odd / "my 'reviews'\n.tsv")

    done = type(trained)(tmp_path).train(
        odd / "my 'reviews'\n.tsv",
        tiny_encoder,
        "--C",
        "1",
        "--artifacts",
        odd / "artifacts",
    )

    assert done.status == 0, done.err
    assert type(trained)(odd).ledger()[-1]["status"] == "noop"


# Processes that are killed or compete.


def many_rows(n):
    """Return distinct short texts with labels."""
    words = ("good", "fine", "bright", "warm", "bad", "dull", "cold", "never")
    rows = []
    for i in range(n):
        picked = [words[(i // 8**k) % 8] for k in range(5)]
        rows.append((f"the film is {' '.join(picked)}", "pos" if i % 8 < 4 else "neg"))
    return rows


def start(folder, encoder, *options):
    command = [
        *(str(BIN / "luigi"), "--module", "tasks", "TrainLogReg", "--C", "1"),
        *("--dataset", "rows.tsv", "--encoder", str(encoder), *options),
    ]
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def left_of(group):
    """Return the processes of a group that are still there after a while; ended ones that nobody asked for are not."""
    for _ in range(100):
        found = [
            pid
            for pid, state, pgrp in processes()
            if pgrp == group and state not in "ZX"
        ]
        if not found:
            break
        time.sleep(0.05)
    return found


def processes():
    """Yield number, state and group of every process."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            yield int(stat.parent.name), fields[0], int(fields[2])


def figures_of(folder):
    entry = json.loads(
        (folder / "artifacts" / "runs.jsonl").read_text().splitlines()[-1]
    )
    return {name: figure["value"] for name, figure in entry["figures"].items()}


def test_twenty_kills_at_random_times_change_no_figure(tmp_path, tiny_encoder):
    """The whole group of processes is killed; the encoding one, too, which runs on its own otherwise."""
    calm, stormy = tmp_path / "calm", tmp_path / "stormy"
    for folder in (calm, stormy):
        folder.mkdir()
        write_tsv(folder / "rows.tsv", many_rows(2000))
    began = time.monotonic()
    process = start(calm, tiny_encoder, "--batch-tokens", "256")
    _, said = process.communicate(timeout=240)
    assert process.returncode == 0, said
    whole_s = time.monotonic() - began
    seed = random.randrange(2**32)
    times = random.Random(seed)
    for _ in range(N_KILLS):
        process = start(stormy, tiny_encoder, "--batch-tokens", "256")
        try:
            process.wait(timeout=times.uniform(0.05, 0.4) * whole_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert left_of(process.pid) == []
    process = start(stormy, tiny_encoder, "--batch-tokens", "256")
    _, said = process.communicate(timeout=240)

    assert process.returncode == 0, said
    assert left_of(process.pid) == []
    assert verify(stormy / "artifacts").damage == []
    assert figures_of(stormy) == pytest.approx(figures_of(calm), abs=1e-5), seed
    assert features_of(stormy) == pytest.approx(features_of(calm), abs=1e-5), seed


def features_of(folder):
    root = folder / "artifacts"
    (store_folder,) = (root / "features").iterdir()
    store = FeatureStore(store_folder, root)
    store.load()
    (keys,) = store_folder.glob("datasets/*/keys.npy")
    return store.features(np.load(keys))


def test_eight_processes_on_one_key_compute_once(tmp_path, tiny_encoder):
    write_tsv(tmp_path / "rows.tsv", review_rows())

    running = [start(tmp_path, tiny_encoder) for _ in range(8)]
    said = [process.communicate(timeout=240)[1] for process in running]

    assert [process.returncode for process in running] == [0] * 8, said
    lines = (tmp_path / "artifacts" / "runs.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    ran = [name for entry in entries for name in entry["stages_run"]]
    assert len(entries) == 8
    assert sum(entry["rows_encoded"] for entry in entries) == 120
    assert len(ran) == len(set(ran)) == 7
    assert verify(tmp_path / "artifacts").damage == []
    assert not (tmp_path / "artifacts" / "quarantine").exists()


def test_every_row_of_the_section_has_a_test():
    names = " ".join(globals())

    assert [row for row in range(86, 94) if f"test_f{row}_" not in names] == []

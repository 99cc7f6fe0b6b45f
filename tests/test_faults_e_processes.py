"""Section E of the faults list: signals, killed processes, two runs at once. Real processes throughout."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import luigi
import pytest

import tasks
from pipeline.features import spawn, worker
from pipeline.features.extract import Stopped
from pipeline.features.store import FeatureStore
from pipeline.storage import check_contents, is_gone, key_lock, owners, this_process
from pipeline.storage.manifest import MANIFEST
from pipeline.testing import WordLengthEncoder
from tasks import ledger, stop
from tests.checkpoints import WORDS
from tests.conftest import BIN, write_tsv
from tests.stores import extract
from tests.test_features import TEXTS

WORKERS = pytest.mark.parametrize("workers", ["1", "2"])
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc")
STOPPED = "Stopped by SIGTERM. What was encoded is kept: run the same command again."
INTERRUPTED = "Interrupted. What was encoded is kept: run the same command again."


@pytest.fixture(scope="session")
def many(tmp_path_factory):
    """10,000 distinct texts: with one text a batch, half a minute of encoding."""
    texts = itertools.islice(itertools.product(WORDS[:8], repeat=5), 10_000)
    rows = [(" ".join(words), ("pos", "neg")[i % 2]) for i, words in enumerate(texts)]
    return write_tsv(tmp_path_factory.mktemp("many") / "many.tsv", rows)


class Running:
    """A run in a session of its own, so that all its processes can be found."""

    def __init__(self, job, *options, env=None):
        self.log = job.cwd / f"{time.monotonic_ns()}.log"
        command = [BIN / "luigi", "--module", "tasks", "TrainLogReg", *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=job.cwd,
                env={**os.environ, **(env or {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
                # a shell's background job would hand on "ignore"
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
            )

    def wait_until(self, has_come, timeout_s=60.0):
        ends = time.monotonic() + timeout_s
        while not has_come():
            assert time.monotonic() < ends, self.said()
            time.sleep(0.05)
        return self

    def encodes(self):
        return self.wait_until(lambda: "encoding: " in self.said())

    def said(self):
        return self.log.read_text()

    def after(self):
        """Return what was said after the encoding began, progress left out."""
        lines = self.said().splitlines()
        begins = next(i for i, line in enumerate(lines) if line.startswith("encoding:"))
        noise = ("encoding:", "FitBaselines:", "SplitDataset:")
        return [line for line in lines[begins:] if not line.startswith(noise)]

    def alive(self):
        """Return the command lines of all its processes that still run, by process id."""
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = owners._stat(int(path.name))[:4]
                words = (path / "cmdline").read_bytes().decode().split("\0")
            except (OSError, ValueError):
                continue  # it has just ended
            if session == str(self.process.pid) and state not in owners.ENDED:
                found[int(path.name)] = " ".join(words)
        return found

    def worker(self):
        """Return the process id of the encoding process."""
        (pid,) = [
            pid for pid, name in self.alive().items() if "features.worker" in name
        ]
        return pid

    def end(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def start(job, many, tiny_encoder):
    """Start a run whose encoding takes long; whatever is left of it ends with the test."""
    runs = []

    def begin(*options):
        encoder = ("--encoder", tiny_encoder, "--batch-tokens", "16", "--C", "1")
        runs.append(Running(job, "--dataset", many, *encoder, *options))
        return runs[-1]

    yield begin
    for run in runs:
        run.end()


def rows_stored(job):
    """Return how many rows the shards hold, every byte of them checked."""
    shards = list((job.artifacts / "features").glob("*/shards/*"))
    return sum(check_contents(shard)["facts"]["rows"] for shard in shards)


def lists(job):
    return list((job.artifacts / "features").glob("*/datasets/*"))


def left_over(job):
    return [path.name for path in (job.artifacts / "tmp").iterdir()]


@PROC
@WORKERS
def test_a_run_that_gets_sigterm_stores_what_it_encoded_and_ends_with_143(
    start, job, workers
):
    """Faults 79."""
    run = start("--workers", workers).encodes()

    began = time.monotonic()
    run.process.terminate()
    status = run.process.wait(timeout=30)

    assert status == 143
    assert time.monotonic() - began < 10
    assert run.alive() == {}
    assert run.after() == [STOPPED]
    assert 0 < rows_stored(job) < 10_000
    assert lists(job) == left_over(job) == []
    (entry,) = job.ledger()
    assert (entry["status"], entry["error"]) == ("failed", "Stopped by SIGTERM.")
    assert "PrepareDataset" in entry["stages_run"]


@PROC
def test_sigterm_to_every_process_of_a_run_ends_it_as_well(start, job):
    """Faults 79: what the end of a batch system's job looks like."""
    run = start("--workers", "2").encodes()

    os.killpg(run.process.pid, signal.SIGTERM)

    assert run.process.wait(timeout=10) == 143
    assert run.alive() == {}
    assert run.after() == [STOPPED]
    assert 0 < rows_stored(job) < 10_000


@PROC
def test_sigterm_while_the_worker_still_loads_ends_it_at_once(start, job):
    """Faults 79: there is nothing to store yet."""
    run = start()
    run.wait_until(lambda: "features.worker" in " ".join(run.alive().values()))

    began = time.monotonic()
    run.process.terminate()
    status = run.process.wait(timeout=30)

    assert status == 143
    assert time.monotonic() - began < 2
    assert run.alive() == {}
    assert run.said().splitlines()[-1] == STOPPED
    assert "Traceback" not in run.said()
    assert rows_stored(job) == 0


@pytest.mark.parametrize(
    "place",
    [
        "tasks.PrepareDataset.build = stop",
        "tasks.PrepareDataset.event_handler(luigi.Event.SUCCESS)(stop)",
    ],
)
def test_sigterm_in_another_stage_stops_the_run_there(
    python, reviews, tiny_encoder, job, place
):
    """Faults 79. Luigi drops what is raised while it tells of an event: then the next stage does not begin."""
    code = f"""
import os, signal, sys, luigi, tasks
sys.argv = ["luigi", "--module", "tasks", "TrainLogReg", "--dataset", {str(reviews)!r}, "--encoder",
            {str(tiny_encoder)!r}]
def stop(*_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10 ** 9):
        pass
{place}
from luigi.cmdline import luigi_run
luigi_run(sys.argv[1:])
"""

    done = python(code, cwd=job.cwd)

    assert done.returncode == 143, done.stderr
    assert done.stderr.splitlines()[-1] == STOPPED
    assert "Traceback" not in done.stderr
    (entry,) = job.ledger()
    assert entry["error"] == "Stopped by SIGTERM."
    assert len(entry["stages_run"]) == ("event" in place)
    assert left_over(job) == []


@PROC
def test_one_ctrl_c_stores_what_was_encoded_and_ends_with_130(start, job):
    """Faults 80: the worker gets the same Ctrl-C, for it is of the same process group."""
    run = start("--workers", "2").encodes()

    os.killpg(run.process.pid, signal.SIGINT)

    assert run.process.wait(timeout=10) == 130
    assert run.alive() == {}
    assert run.after() == [INTERRUPTED]
    assert 0 < rows_stored(job) < 10_000
    assert job.ledger()[-1]["error"] == "Interrupted (SIGINT)."


@PROC
def test_a_second_ctrl_c_ends_the_run_and_its_worker_at_once(start, job):
    """Faults 80: here the worker stands still, and would be waited for."""
    run = start("--workers", "2").encodes()
    os.kill(run.worker(), signal.SIGSTOP)

    os.kill(run.process.pid, signal.SIGINT)
    time.sleep(1)
    waits = run.process.poll() is None
    began = time.monotonic()
    os.kill(run.process.pid, signal.SIGINT)

    assert waits
    assert run.process.wait(timeout=30) == 130
    assert time.monotonic() - began < 3
    assert run.after() == [INTERRUPTED]
    run.wait_until(lambda: run.alive() == {}, timeout_s=5)
    assert job.ledger()[-1]["status"] == "failed"


def test_a_worker_that_does_not_stop_is_killed(monkeypatch):
    """Faults 79: within the ten seconds that Docker gives."""
    assert spawn.STOP_S < stop.CHILDREN_S < 10
    monkeypatch.setattr(spawn, "STOP_S", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()

        spawn._stop(process)

    assert process.returncode == -signal.SIGKILL


@PROC
@WORKERS
def test_a_worker_whose_run_was_killed_publishes_nothing_and_ends(start, job, workers):
    """Faults 81; and 78: the journal of the killed run is closed by the next one."""
    run = start("--workers", workers).encodes()
    before = rows_stored(job)
    in_use = ledger.open_runs(job.artifacts)

    run.process.kill()
    run.process.wait()

    run.wait_until(lambda: run.alive() == {}, timeout_s=5)
    assert rows_stored(job) == before
    assert lists(job) == []
    assert [sorted(keys)[0] for keys in in_use] == ["EvaluateModel"]
    assert ledger.open_runs(job.artifacts) == []
    assert not (job.artifacts / "runs.jsonl").exists()
    ledger.close_gone(job.artifacts)
    (entry,) = job.ledger()
    assert entry["status"] == "failed"
    gone = f"the run was ended from outside (process {run.process.pid} is gone)"
    assert entry["error"] == gone
    assert entry["stages_run"][0] == "PrepareDataset"
    assert entry["keys"] == in_use[0]
    assert "--batch-tokens 16" in entry["command"]
    assert not [name for name in left_over(job) if name.startswith("run-")]


def test_a_run_that_was_stopped_does_not_stop_the_next_one_of_its_process(
    trained, tiny_encoder, monkeypatch
):
    """Faults 80: in a notebook."""
    monkeypatch.chdir(trained.cwd)
    monkeypatch.setattr(stop, "_came", [signal.SIGINT])
    task = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C="3")

    assert luigi.build([task], local_scheduler=True)
    assert trained.ledger()[-1]["status"] == "ok"


def leave_journal(root, owner, *notes):
    opening = {"owner": owner, "when": "then", "command": "luigi", "keys": {"A": "1"}}
    journal = root / "tmp" / "run-0123456789ab.jsonl"
    journal.parent.mkdir(parents=True, exist_ok=True)
    journal.write_text("".join(json.dumps(line) + "\n" for line in (opening, *notes)))
    return journal


def gone_process():
    """Return what a process said of itself that has ended since."""
    code = "import json; from pipeline.storage import this_process; print(json.dumps(this_process()))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], text=True))


@pytest.mark.parametrize("status", ["ok", "noop"])
def test_the_next_run_closes_what_a_killed_one_left(trained, tiny_encoder, status):
    """Faults 78, 82: nobody has to delete anything, also where there was nothing to do."""
    journal = leave_journal(
        trained.artifacts, gone_process(), {"stage": "FitLogReg"}, {"rows_encoded": 7}
    )

    done = trained.train(
        "reviews.tsv", tiny_encoder, "--C", "1" if status == "noop" else "2"
    )

    assert done.status == 0, done.err
    _, killed, entry = trained.ledger()
    assert entry["status"] == status
    assert (killed["when"], killed["command"], killed["keys"]) == (
        "then",
        "luigi",
        {"A": "1"},
    )
    assert (killed["stages_run"], killed["rows_encoded"]) == (["FitLogReg"], 7)
    assert "ended from outside" in killed["error"]
    assert set(entry) <= set(killed)
    assert not journal.exists()


def test_the_journal_of_a_run_that_may_still_work_is_left_alone(tmp_path):
    """Faults 82: one on another host, and one of which nothing is known."""
    for owner in (this_process(), {**gone_process(), "host": "elsewhere"}, None):
        journal = leave_journal(tmp_path, owner, {"stage": "FitLogReg"})

        ledger.close_gone(tmp_path)

        assert journal.exists()
        assert ledger.open_runs(tmp_path) == [{"A": "1"}]
        assert ledger.entries(tmp_path) == []


def test_a_stage_that_outlives_its_run_opens_no_journal_again(tmp_path, monkeypatch):
    """Faults 81: one of Luigi's processes finishes its stage after the run was closed."""
    monkeypatch.setattr(ledger, "_current", None)
    ledger.begin(object(), tmp_path, {"A": "1"})
    (journal,) = (tmp_path / "tmp").iterdir()
    journal.unlink()

    ledger.note(tmp_path, stage="FitLogReg")

    assert not journal.exists()


@PROC
def test_a_process_is_known_by_host_number_and_start(monkeypatch):
    """Faults 82: the number of a dead process may be another's by now."""
    me: dict[str, Any] = this_process()
    boot, space, start = me["started"]

    assert not is_gone(me)
    assert is_gone(gone_process())
    assert is_gone({**me, "started": [boot, space, "1"]})
    assert is_gone({**me, "started": ["another boot", space, start]})
    assert not is_gone({**gone_process(), "host": "elsewhere"})
    assert not is_gone({**gone_process(), "started": [boot, "another container", "1"]})


@PROC
def test_a_process_that_only_waits_for_its_parent_is_gone():
    """Faults 82: in a container without an init it would wait for ever."""
    code = "import json; from pipeline.storage import this_process; print(json.dumps(this_process()))"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert child.stdout is not None
    said = json.loads(child.stdout.read())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    there = Path(f"/proc/{child.pid}").exists()
    gone = is_gone(said)
    child.communicate()

    assert there
    assert gone


def test_without_proc_the_number_alone_decides(monkeypatch, tmp_path):
    """Faults 82."""
    dead = gone_process()["pid"]
    monkeypatch.setattr(owners, "PROC", tmp_path)

    me = this_process()

    assert me["started"] is None
    assert not is_gone(me)
    assert is_gone({**me, "pid": dead})


@pytest.mark.parametrize(
    "owner",
    [None, {}, [], "x", {"host": socket.gethostname(), "pid": "x", "started": None}],
)
def test_an_owner_that_says_nothing_is_not_gone(owner):
    """Faults 82."""
    assert not is_gone(owner)


def test_a_lock_file_of_a_dead_process_holds_nobody(tmp_path, python):
    """Faults 82: the file stays, the lock does not; nothing has to be deleted."""
    code = """
import os, sys
from pathlib import Path
from typing import Any
from pipeline.storage import key_lock
with key_lock(Path(sys.argv[1]) if len(sys.argv) > 1 else Path.cwd(), "key"):
    os.kill(os.getpid(), 9)
"""
    died = python(code, cwd=tmp_path, env={"PYTHONPATH": os.pathsep.join(sys.path)})

    began = time.monotonic()
    with key_lock(tmp_path, "key"):
        waited_s = time.monotonic() - began

    assert died.returncode == -signal.SIGKILL
    assert (tmp_path / "locks" / "key").exists()
    assert waited_s < 1


def test_an_orphan_that_has_encoded_everything_publishes_no_list(
    reviews, tiny_encoder, monkeypatch
):
    """Faults 81: its parent may go between the last batch and the end."""

    class Orphaned(worker.Lines):
        def progress(self, progress):
            self._parent = os.getppid() + (progress.done == progress.total)

        def send(self, **message):
            pass

    options: dict[str, Any] = {"dataset": str(reviews), "encoder": str(tiny_encoder)}
    root = reviews.parent / "artifacts"
    stage = tasks.ExtractFeatures(artifacts=str(root), **options)
    stage.upstream["dataset"].run()
    lines = Orphaned(sys.stderr, os.getppid())
    monkeypatch.setattr(
        spawn, "extract", lambda request, _: worker.work(request, lines)
    )

    with pytest.raises(SystemExit, match="is gone"):
        stage.produce(time.monotonic())

    assert list((root / "features").glob("*/shards/*"))
    assert not stage.directory.exists()
    assert list((root / "tmp").iterdir()) == []


def test_an_orphan_that_is_encoding_stores_nothing_more(tmp_path):
    """Faults 81."""
    store = FeatureStore(tmp_path / "store", tmp_path)
    lines = worker.Lines(sys.stderr, os.getppid() + 1)

    with pytest.raises(SystemExit, match="is gone"):
        extract(store, TEXTS, WordLengthEncoder(), on_progress=lines.progress)

    assert not (tmp_path / "store" / "shards").exists()


@pytest.fixture
def no_locks(tmp_path):
    """An environment in which every lock is granted, as on some network shares."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(
        "import fcntl\nfcntl.flock = lambda *_: None\n"
    )
    path = [str(tmp_path / "hook"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}


def both(job, commands, env=None):
    """Run commands at once; return the process objects, ended."""
    runs = [Running(job, *command, env=env) for command in commands]
    try:
        for run in runs:
            assert run.process.wait(timeout=120) == 0, run.said()
    finally:
        for run in runs:
            run.end()
    return runs


def assert_all_whole(job):
    found = sorted(job.artifacts.rglob(MANIFEST))
    assert len(found) >= 9
    for manifest in found:
        check_contents(manifest.parent)
    assert left_over(job) == []
    assert not (job.artifacts / "quarantine").exists()


def test_two_runs_of_one_command_without_locks_give_the_same_and_harm_nothing(
    job, reviews, tiny_encoder, no_locks
):
    """Faults 75, 77."""
    options = ("--dataset", reviews, "--encoder", tiny_encoder, "--C", "1")

    runs = both(job, [options] * 2, no_locks)

    assert_all_whole(job)
    one, other = job.ledger()
    assert one["figures"] == other["figures"] != {}
    assert {one["status"], other["status"]} <= {"ok", "noop"}
    assert one["rows_encoded"] + other["rows_encoded"] >= 120
    assert "damaged" not in "".join(run.said() for run in runs)


def test_two_runs_with_other_options_at_once_do_not_mind_each_other(
    job, reviews, tiny_encoder
):
    """Faults 76."""
    options = ("--dataset", reviews, "--encoder", tiny_encoder)

    both(job, [(*options, "--C", "1"), (*options, "--C", "0.01", "--seed", "7")])

    assert_all_whole(job)
    assert [entry["status"] for entry in job.ledger()] == ["ok", "ok"]
    assert sum(entry["rows_encoded"] for entry in job.ledger()) == 120
    assert len(job.stages()["models"]) == 2


def test_a_stopped_extraction_stores_the_part_it_was_at(tmp_path):
    """Faults 79: unlike one that an error ends."""
    store = FeatureStore(tmp_path / "store", tmp_path)

    def refuse(progress):
        raise Stopped

    with pytest.raises(Stopped):
        extract(store, TEXTS, WordLengthEncoder(), on_progress=refuse)
    encoder = WordLengthEncoder()
    done = extract(store, TEXTS, encoder)

    assert len(encoder.seen) == done.rows_encoded == 2

"""The disk fails, the process ends or the power goes at every single operation; what is left is never wrong."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import pytest

import tasks
from pipeline.errors import CacheError
from pipeline.storage import disk, is_complete
from pipeline.testing import WordLengthEncoder
from tests.faulty_disk import (
    NAMES,
    FaultyDisk,
    Recorder,
    count_operations,
    expected,
    fail,
    folder_of,
    left_over,
    mend,
    partial_directories,
    work,
)

MEMORY = Path("/dev/shm")  # a disk that is flushed for nothing
ERRORS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE)
LOST = (errno.EIO,)  # after these, what could not be read counts as damaged


@pytest.fixture
def place(tmp_path):
    """A folder on the quickest disk there is."""
    if not os.access(MEMORY, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def test_the_job_uses_every_operation(place):
    assert set(count_operations(place / "root")) == {*disk.OPERATIONS, "write to"}


def try_each(place, code, operations, *, lasting):
    """Let some operations fail, one at a time; return the escaped errors, and what was wrong afterwards."""
    names = count_operations(place / "healthy")
    escaped: Counter[str] = Counter()
    wrong: list[str] = []
    for at in operations:
        if at > len(names):
            break
        root = place / str(at)
        root.mkdir()
        encoder = WordLengthEncoder()
        said = []
        with FaultyDisk(fail(code), at, lasting=lasting).installed():
            try:
                work(root, encoder)
            except (CacheError, OSError) as error:
                escaped[type(error).__name__] += 1
                if not str(error):
                    said.append("an error without words")
        said += partial_directories(root)
        twice = [text for text, n in Counter(encoder.seen).items() if n > 1]
        if twice and code not in LOST:
            said.append(f"encoded twice: {twice}")
        if (root / "quarantine").exists() and code not in LOST:
            said.append("something whole was set aside")
        if not lasting and not names[at - 1].startswith("remove"):
            said += [f"left over: {path}" for path in left_over(root)]
        said += mend(root)
        wrong += [f"{at} ({names[at - 1]}): {line}" for line in said]
        shutil.rmtree(root)
    return escaped, wrong


# The others fail at every third operation, each at other ones: the whole would take minutes.
TURNS = [
    (errno.ENOSPC, 1, 1),
    (errno.EIO, 1, 3),
    (errno.EACCES, 2, 3),
    (errno.EMFILE, 3, 3),
]


@pytest.mark.parametrize(("code", "first", "step"), TURNS)
def test_an_error_at_any_operation_leaves_nothing_partial_and_costs_no_finished_part(
    place, code, first, step
):
    """# faults 86, 87"""
    escaped, wrong = try_each(place, code, range(first, 10_000, step), lasting=False)

    assert wrong == []
    assert escaped["CacheError"] > 100 // step


@pytest.mark.parametrize(("code", "first", "step"), TURNS)
def test_a_disk_that_fails_for_good_at_any_operation_leaves_nothing_partial(
    place, code, first, step
):
    """# faults 86, 87"""
    step *= 4

    escaped, wrong = try_each(place, code, range(first, 10_000, step), lasting=True)

    assert wrong == []
    assert escaped.total() > 300 // step


@pytest.mark.parametrize("how", ["before", "halfway"])
def test_a_process_killed_at_any_operation_leaves_nothing_partial_and_loses_no_finished_part(
    place, how
):
    done = subprocess.run(
        [sys.executable, "-m", "tests.faulty_disk", how, str(place)],
        cwd=Path(__file__).parents[1],
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
    )

    first, *wrong = done.stdout.splitlines()
    assert (done.returncode, wrong) == (0, []), done.stderr
    assert int(first.split()[0]) > 300


@pytest.mark.parametrize(
    ("keep_names", "keep"),
    [(False, 0.0), (True, 0.0), (True, 0.5), (False, 1.0)],
    ids=["nothing", "names", "names_and_half", "bytes_without_names"],
)
def test_after_a_loss_of_power_at_any_operation_everything_is_old_or_new(
    place, keep_names, keep
):
    """# faults 88: what was not flushed is gone, torn, or under its old name."""
    live = place / "live"
    live.mkdir()
    recorder = Recorder(live)
    with recorder.installed():
        work(live, WordLengthEncoder())
    wrong = []
    for at in range(1, recorder.n + 2, 2 if keep else 1):
        root = place / str(at)
        recorder.lay_out(at, root, keep_names=keep_names, keep=keep)
        said = partial_directories(root) + mend(root)
        wrong += [f"{at}: {line}" for line in said]
        shutil.rmtree(root)

    assert wrong == []


def test_the_history_without_a_loss_is_what_lies_on_the_disk(place):
    """Else the test above would try disks that never were."""
    live, laid_out = place / "live", place / "laid_out"
    live.mkdir()
    recorder = Recorder(live)
    with recorder.installed():
        work(live, WordLengthEncoder())

    recorder.lay_out(recorder.n + 1, laid_out, keep_names=True, keep=1.0)

    assert contents(laid_out) == contents(live)


def contents(root):
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "tmp" not in path.relative_to(root).parts
    }


def test_what_was_published_outlives_a_loss_of_power(place):
    """# faults 88: the list and its shards are flushed before anybody is told that they are there."""
    live, lost = place / "live", place / "lost"
    live.mkdir()
    recorder = Recorder(live)
    with recorder.installed():
        work(live, WordLengthEncoder())

    recorder.lay_out(recorder.n + 1, lost, keep_names=False, keep=0.0)

    lists = folder_of(lost) / "datasets"
    assert [name for name in NAMES if not is_complete(lists / name, name)] == []
    encoder = WordLengthEncoder()
    found = work(lost, encoder)
    assert encoder.seen == []
    assert found == {name: expected(texts) for name, texts in NAMES.items()}


def error_of(stage):
    """Run a stage; return its error's words, empty if there is none."""
    try:
        stage.run()
    except CacheError as error:
        return str(error)
    return ""


STAGES = ("PrepareDataset", "SplitDataset", "FitBaselines", "FitLogReg")


def stage_of(job, tiny_encoder, name):
    options = {"dataset": str(job.cwd / "reviews.tsv"), "artifacts": str(job.artifacts)}
    if name == "FitLogReg":
        options |= {"encoder": str(tiny_encoder), "C": "1"}
    return getattr(tasks, name)(**options)


@pytest.mark.parametrize("name", STAGES)
def test_a_full_disk_at_any_operation_of_a_stage_is_a_clear_error_and_the_next_run_works(
    trained, tiny_encoder, name
):
    """# faults 86"""
    stage = stage_of(trained, tiny_encoder, name)
    before = contents(stage.directory)
    healthy, said = FaultyDisk(), []
    shutil.rmtree(stage.directory)
    with healthy.installed():
        stage.run()
    del before["manifest.json"]
    for at in range(1, healthy.n + 1):
        shutil.rmtree(stage.directory)
        with FaultyDisk(fail(errno.ENOSPC), at).installed():
            said.append(error_of(stage))
        assert not stage.directory.exists() or stage.complete()
        stage.run()
        assert stage.complete()
        now = contents(stage.directory)
        del now["manifest.json"]
        assert now == before
    assert len([words for words in said if words]) > 10
    assert all(
        "Free space, or pass another --artif" in words for words in said if words
    )

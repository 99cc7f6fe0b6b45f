"""Section D of the fault list, a test or more a row: what happens when the artifacts folder is not as it should be."""

import errno
import json
import logging
import os
import re
import shutil
import signal
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

import tasks
import tasks.base
from pipeline.errors import CacheError, UnreadableError
from pipeline.features.index import KeyIndex
from pipeline.features.keys import row_keys
from pipeline.features.shards import find_shards, shards_in
from pipeline.features.store import FeatureStore
from pipeline.features.stored import StoredFeatures
from pipeline.storage import (
    DigestCache,
    check_contents,
    disk,
    is_complete,
    publish_directory,
    quarantine,
    read_manifest,
)
from pipeline.storage.manifest import digest_of
from pipeline.testing import WordLengthEncoder
from tasks import ledger
from tasks.clean import find_unused
from tasks.verify import verify
from tests.faulty_disk import FaultyDisk, fail, small_parts
from tests.stores import extract

TEXTS = ["a bbb", "a", "cc d eee", "a", "zz zz"]
ROWS = [[1, 3, 0], [1, 0, 0], [2, 1, 3], [1, 0, 0], [2, 2, 0]]


@pytest.fixture(autouse=True)
def in_time():
    """A test that waits for a pipe or reads without end fails."""

    def ring(*_):
        raise TimeoutError("a minute is over")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(100)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def store(tmp_path):
    root = tmp_path / "artifacts"
    return FeatureStore(root / "features" / "words", root)


def flip(place):
    def change(data):
        data = bytearray(data)
        data[int(place * (len(data) - 1))] ^= 1
        return bytes(data)

    return change


def zero_page(data):
    middle = len(data) // 2
    page = slice(middle - middle % 4096, middle - middle % 4096 + 4096)
    return data[: page.start] + bytes(len(data[page])) + data[page.stop :]


BYTES = {
    "first_bit": flip(0),
    "middle_bit": flip(0.5),
    "last_bit": flip(1),
    "one_byte_less": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "nothing": lambda _: b"",
    "junk_behind": lambda data: data + b"junk",
    "zeros": zero_page,
}


def rewrite(change):
    def damage(path):
        data = path.read_bytes()
        path.unlink()
        path.write_bytes(change(data))

    return damage


def become_link(path):
    other = path.with_name(".other")
    other.write_bytes(flip(0.5)(path.read_bytes()))
    path.unlink()
    path.symlink_to(".other")


def become_device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def become_folder(path):
    path.unlink()
    path.mkdir()


def become_pipe(path):
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    **{name: rewrite(change) for name, change in BYTES.items()},
    "gone": Path.unlink,
    "link": become_link,
    "device": become_device,
    "folder": become_folder,
    "pipe": become_pipe,
}


def published_files(root):
    """Return every file of a published directory."""
    return [
        path
        for manifest in sorted(root.rglob("manifest.json"))
        for path in sorted(manifest.parent.iterdir())
    ]


def copied(folder, place):
    shutil.copytree(folder, place, symlinks=True)
    return place


@pytest.mark.parametrize("name", DAMAGES)
def test_verify_names_every_damaged_file_and_no_stage_reads_it(
    trained, tiny_encoder, monkeypatch, tmp_path, name
):
    """# faults 58, 59, 62"""
    monkeypatch.chdir(trained.cwd)
    job = tasks.TrainLogReg(dataset="reviews.tsv", encoder=str(tiny_encoder), C="1")
    stages = {
        path.resolve(): stage
        for stage in job.upstream.values()
        for path in stage.directories
    }
    built = []

    def build(stage):
        built.append(stage)

    for module in (tasks.base, tasks.features):
        monkeypatch.setattr(module, "quarantine", lambda path, root: built.append(path))
    monkeypatch.setattr(tasks.base.Stage, "run", build)
    files = published_files(trained.artifacts)
    unnamed, used = [], []
    for path in files:
        saved = copied(path.parent, tmp_path / "saved")
        DAMAGES[name](path)
        said = verify(Path("artifacts")).damage
        named = path.parent if path.name == "manifest.json" else path
        shown = str(named.relative_to(trained.cwd))
        if not any(shown in line for line in said):
            unnamed.append(shown)
        built.clear()
        stages[path.parent.resolve()].mend()
        if not built:
            used.append(shown)
        shutil.rmtree(path.parent)
        saved.rename(path.parent)

    assert len({path.name for path in files}) >= 20
    assert (unnamed, used) == ([], [])
    assert verify(Path("artifacts")).damage == []


@pytest.mark.parametrize("name", [name for name in DAMAGES if name != "folder"])
def test_a_damaged_ledger_or_digest_memory_stops_nothing(trained, name):
    """Both only serve: a line is lost, or a file hashed again."""
    data = trained.cwd / "reviews.tsv"
    os.utime(data, (0, 0))  # a young file is not remembered
    DigestCache(trained.artifacts).sha256(data)
    for file in ("runs.jsonl", "digests.json"):
        DAMAGES[name](trained.artifacts / file)

    digest = DigestCache(trained.artifacts).sha256(data)

    assert digest == DigestCache(trained.cwd / "none").sha256(data)
    assert len(ledger.entries(trained.artifacts)) <= 1
    find_unused(trained.artifacts)


def test_a_torn_line_of_the_ledger_costs_that_line_alone(tmp_path):
    """What a process leaves that is killed while it writes."""
    ledger.write(tmp_path, {"n": 1})
    disk.append(tmp_path / ledger.LEDGER, b'{"n": 2, "torn')

    ledger.write(tmp_path, {"n": 3})

    assert [entry["n"] for entry in ledger.entries(tmp_path)] == [1, 3]


def test_d58_a_flipped_bit_in_one_of_two_shards_costs_the_rows_of_that_one(store):
    extract(store, TEXTS, WordLengthEncoder())
    first = {path.name for path, _ in shards_in(store.folder)}
    extract(store, ["new"], WordLengthEncoder())
    (name,) = first
    rewrite(flip(1))(store.folder / "shards" / name / "features.npy")
    encoder = WordLengthEncoder()

    done = extract(store, [*TEXTS, "new"], encoder)

    assert done.damaged == [name]
    assert sorted(encoder.seen) == sorted(set(TEXTS))
    assert store.features(done.keys).tolist() == [*ROWS, [3, 0, 0]]


@pytest.mark.parametrize("name", ["zeros", "half", "junk_behind", "pipe", "folder"])
def test_d59_a_shard_of_another_size_or_kind_is_encoded_again(store, name):
    extract(store, TEXTS, WordLengthEncoder())
    ((path, _),) = shards_in(store.folder)
    DAMAGES[name](path / "features.npy")

    done = extract(store, TEXTS, WordLengthEncoder())

    assert (done.damaged, done.rows_encoded) == ([path.name], 4)
    assert store.features(done.keys).tolist() == ROWS


def publish(root, name="abc"):
    final = root / "stage" / name
    with publish_directory(
        final, root=root, stage="stage", key="k" * 64, key_fields={}
    ) as draft:
        (draft.path / "data.txt").write_text("hello")
    return final


def put(path, data):
    path.unlink()
    path.write_bytes(data)


HOPELESS = {
    "empty": b"",
    "not_json": b"{",
    "list": b"[]",
    "number": b"5",
    "not_a_number": b'{"format": 1, "files": {}, "n": NaN}',
    "half_a_character": b'{"format": 1, "files": {}, "n": "\\ud800"}',
    "deep": b"[" * 200_000,
    "deep_objects": b'{"format": 1, "files": {}, "a": '
    + b'{"a":' * 900
    + b"1"
    + b"}" * 901,
    "digits": b'{"format": 1, "files": {}, "n": ' + b"9" * 10_000 + b"}",
    "files_of_nothing": b'{"format": 1, "files": {"a": null}}',
}


@pytest.mark.parametrize("data", HOPELESS.values(), ids=HOPELESS)
def test_d60_a_manifest_that_is_none_counts_as_absent_and_makes_way(tmp_path, data):
    final = publish(tmp_path)
    put(final / "manifest.json", data)

    with pytest.raises(CacheError):
        read_manifest(final)
    assert not is_complete(final, "k" * 64)
    check_contents(publish(tmp_path))
    assert len(list((tmp_path / "quarantine").iterdir())) == 1


def test_d60_a_manifest_without_end_is_not_read_to_its_end(tmp_path):
    final = publish(tmp_path)
    put(final / "manifest.json", b"")
    os.truncate(final / "manifest.json", 2**40)  # takes no room on the disk

    with pytest.raises(CacheError, match="larger than any manifest"):
        read_manifest(final)
    assert not is_complete(final, "k" * 64)


def write_newer(directory):
    manifest = json.loads((directory / "manifest.json").read_bytes())
    data = json.dumps({**manifest, "format": 2}).encode()
    put(directory / "manifest.json", data)
    return data


def test_d61_what_a_newer_version_wrote_is_neither_replaced_nor_moved(tmp_path):
    final = publish(tmp_path)
    newer = write_newer(final)

    with pytest.raises(CacheError, match="newer version of frostbert wrote"):
        publish(tmp_path)
    with pytest.raises(CacheError, match="newer version of frostbert wrote"):
        quarantine(final, root=tmp_path)
    assert (final / "manifest.json").read_bytes() == newer


def test_d61_a_shard_of_a_newer_version_stays(store):
    extract(store, TEXTS, WordLengthEncoder())
    ((path, _),) = shards_in(store.folder)
    newer = write_newer(path)

    with pytest.raises(CacheError, match="newer version of frostbert wrote"):
        extract(store, TEXTS, WordLengthEncoder())
    assert (path / "manifest.json").read_bytes() == newer


def test_d61_gc_removes_nothing_where_a_newer_version_wrote(trained):
    """What a newer version's directory refers to cannot be told."""
    (report,) = (trained.artifacts / "reports").iterdir()
    write_newer(report)

    with pytest.raises(CacheError, match="newer version of frostbert wrote"):
        find_unused(trained.artifacts)


def test_d62_a_shard_that_is_gone_is_encoded_again_alone(store):
    extract(store, TEXTS, WordLengthEncoder())
    (first,) = [path for path, _ in shards_in(store.folder)]
    extract(store, ["new"], WordLengthEncoder())
    shutil.rmtree(first)

    done = extract(store, [*TEXTS, "new"], WordLengthEncoder())

    assert done.rows_encoded == 4
    with pytest.raises(CacheError, match="missing or incomplete"):
        find_shards(store.folder, [first.name + "x"])


@pytest.mark.parametrize("column", ["features.npy", "keys.npy", "tokens.npy"])
def test_d63_files_of_two_shards_that_changed_places_are_noticed(store, column):
    extract(store, ["a b", "cc"], WordLengthEncoder())
    extract(store, ["d d", "eee e e"], WordLengthEncoder())
    (one, _), (two, _) = shards_in(store.folder)
    (one / column).rename(store.folder / "kept")
    (two / column).rename(one / column)
    (store.folder / "kept").rename(two / column)

    done = extract(store, ["a b", "cc", "d d", "eee e e"], WordLengthEncoder())

    assert done.rows_encoded == 4
    assert store.features(done.keys).tolist() == [
        [1, 1, 0],
        [2, 0, 0],
        [1, 1, 0],
        [3, 1, 1],
    ]


def test_d63_whole_shards_that_changed_places_are_noticed(store):
    extract(store, ["a b", "cc"], WordLengthEncoder())
    extract(store, ["d d", "eee e e"], WordLengthEncoder())
    (one, _), (two, _) = shards_in(store.folder)
    one.rename(store.folder / "kept")
    two.rename(one)
    (store.folder / "kept").rename(two)

    done = extract(store, ["a b", "cc", "d d", "eee e e"], WordLengthEncoder())

    assert sorted(done.damaged) == sorted([one.name, two.name])
    assert store.features(done.keys).tolist() == [
        [1, 1, 0],
        [2, 0, 0],
        [1, 1, 0],
        [3, 1, 1],
    ]


def test_d64_keys_whose_first_eight_bytes_are_equal_are_told_apart(tmp_path):
    keys = np.array([b"headhead" + bytes([65 + i]) * 8 for i in range(5)], dtype="S16")
    for i, part in enumerate((keys[3:], keys[:2])):
        np.save(tmp_path / f"{i}.npy", part)

    index = KeyIndex([tmp_path / "0.npy", tmp_path / "1.npy"])

    assert index.places(keys).tolist() == [2, 3, -1, 0, 1]


def test_d64_a_directory_of_another_key_with_an_equal_beginning_does_not_count(
    tmp_path,
):
    final = publish(tmp_path)

    assert not is_complete(final, "k" * 63 + "x")


def test_d65_a_read_only_folder_serves_a_complete_job(trained, tiny_encoder, caplog):
    """As root no permission stops a write, so every operation that writes says no."""
    job = tasks.TrainLogReg(
        dataset=str(trained.cwd / "reviews.tsv"),
        encoder=str(tiny_encoder),
        C="1",
        artifacts=str(trained.artifacts),
    )
    reading = {"read", "load_array", "sha256_file"}

    def refuse(name, path, go_on):
        return go_on() if name in reading else fail(errno.EROFS)(name, path, go_on)

    with FaultyDisk(refuse, 1, lasting=True).installed():
        assert job.complete()
        job.finish("noop")
        features = StoredFeatures.of(
            [job.upstream["ExtractFeatures"].directory], trained.artifacts
        )
        assert len(features.take(np.arange(5))) == 5
        with pytest.raises(
            CacheError, match=r"Read-only file system.*pass another --artif"
        ):
            tasks.SplitDataset(
                dataset=str(trained.cwd / "reviews.tsv"),
                artifacts=str(trained.artifacts),
                seed="9",
            ).run()
    assert "no line in" in caplog.text


def refuse_reading(name, path, go_on):
    is_shard = name in {"read", "sha256_file"} and "shards" in str(path)
    return fail(errno.EACCES)(name, path, go_on) if is_shard else go_on()


def test_d66_what_may_not_be_read_is_an_error_with_its_owner_and_stays(store):
    """Somebody else's files are not damaged, and must not be moved."""
    extract(store, TEXTS, WordLengthEncoder())
    ((path, _),) = shards_in(store.folder)

    with (
        FaultyDisk(refuse_reading, 1, lasting=True).installed(),
        pytest.raises(UnreadableError) as error,
    ):
        extract(store, TEXTS, WordLengthEncoder())

    assert re.search(
        r"shards/.* Permission denied .*belongs to user \d+", str(error.value)
    )
    assert check_contents(path)


def test_d66_gc_stops_where_it_may_not_read(trained):
    def refuse(name, path, go_on):
        if name == "read" and path.name == "manifest.json":
            return fail(errno.EACCES)(name, path, go_on)
        return go_on()

    with (
        FaultyDisk(refuse, 1, lasting=True).installed(),
        pytest.raises(UnreadableError, match="Permission denied"),
    ):
        find_unused(trained.artifacts)


@pytest.mark.parametrize(("mask", "mode"), [(0o077, 0o400), (0o022, 0o444)])
def test_d66_others_may_read_a_shard_as_far_as_the_umask_says(store, mask, mode):
    before = os.umask(mask)
    try:
        extract(store, TEXTS, WordLengthEncoder())
    finally:
        os.umask(before)

    modes = {
        stat.S_IMODE(path.stat().st_mode) for path in store.folder.glob("shards/*/*")
    }
    assert modes == {mode}


def test_d67_a_folder_removed_while_texts_are_encoded_is_a_clear_error(store):
    def remove(progress):
        shutil.rmtree(store.folder.parent.parent)

    with small_parts(), pytest.raises(CacheError, match="Cannot write below"):
        publish_list(store, TEXTS, on_progress=remove)

    done = extract(store, TEXTS, WordLengthEncoder())
    assert store.features(done.keys).tolist() == ROWS


def publish_list(store, texts, on_progress):
    root = store.folder.parent.parent
    with publish_directory(
        store.folder / "datasets" / "x", root=root, stage="s", key="x", key_fields={}
    ) as draft:
        extract(store, texts, WordLengthEncoder(), on_progress=on_progress)
        disk.write(draft.path / "keys.npy", b"")


def test_d68_a_folder_that_is_a_link_to_another_disk_works(
    trained, tiny_encoder, tmp_path
):
    """Drafts are made inside it, so a rename never leaves its disk."""
    elsewhere = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    target = elsewhere / f"frostbert-{os.getpid()}"
    shutil.move(trained.artifacts, target)
    trained.artifacts.symlink_to(target)
    try:
        done = trained.train("reviews.tsv", tiny_encoder, "--C", "2")

        assert done.status == 0, done.err
        assert trained.ledger()[-1]["rows_encoded"] == 0
        assert verify(trained.artifacts).damage == []
    finally:
        shutil.rmtree(target)


def test_d69_names_below_the_folder_are_lower_case_and_short(trained):
    names = [
        str(path.relative_to(trained.artifacts))
        for path in trained.artifacts.rglob("*")
    ]

    assert [name for name in names if name.lower() != name] == []
    assert max(map(len, names)) < 130
    assert max(len(part) for name in names for part in Path(name).parts) < 100


def test_d70_a_shard_of_the_first_version_is_read(store):
    """It says nothing of what it replaces."""
    extract(store, TEXTS, WordLengthEncoder())
    ((path, manifest),) = shards_in(store.folder)
    del manifest["facts"]["replaces"]
    whole = {**manifest, "digest": digest_of(manifest)}
    put(path / "manifest.json", json.dumps(whole).encode())

    done = extract(store, TEXTS, WordLengthEncoder())

    assert (done.rows_encoded, done.damaged) == (0, [])


def test_d71_an_array_of_objects_is_never_loaded(tmp_path):
    """Loading one would run whatever its file asks for."""
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(ValueError, match=r"x\.npy is no array file"):
        disk.load_array(tmp_path / "x.npy")


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    "lie",
    [
        b"(1000000000000, )",
        b"(-5, )           ",
        b"(2, 'a')         ",
        b"((((((((((((((()",
    ],
)
def test_d72_a_head_that_lies_about_its_size_is_an_error(tmp_path, lie, mapped):
    np.save(tmp_path / "x.npy", np.arange(40))
    data = (tmp_path / "x.npy").read_bytes()
    begin = data.index(b"(40,)")
    (tmp_path / "x.npy").write_bytes(
        data[:begin] + lie + data[begin + 5 :].replace(b" ", b"", len(lie) - 5)
    )

    with pytest.raises((ValueError, OSError)):
        disk.load_array(tmp_path / "x.npy", mapped=mapped)


@pytest.mark.parametrize(
    "data", [b"", b"\x93NUMPY", b"PK\x05\x06" + bytes(18), b"\x80\x04N."]
)
def test_d72_a_file_that_is_no_array_is_an_error(tmp_path, data):
    (tmp_path / "x.npy").write_bytes(data)

    with pytest.raises(ValueError, match=r"x\.npy is"):
        disk.load_array(tmp_path / "x.npy")


@pytest.mark.parametrize("name", ["pipe", "folder", "device"])
def test_d72_what_is_no_file_is_an_error_at_once_and_leaves_nothing_open(
    tmp_path, name
):
    path = tmp_path / "x.npy"
    path.write_bytes(b"x")
    DAMAGES[name](path)
    n_open = len(list(Path("/proc/self/fd").iterdir()))

    for look in (disk.read, disk.sha256_file, disk.load_array):
        with pytest.raises(OSError, match=r"directory|regular"):
            look(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == n_open


def read_rows(store, keys):
    """Read as another process would; shards may go faster than one can read, which is an error with advice."""
    reader = FeatureStore(store.folder, store.folder.parent.parent)
    try:
        reader.load()
        return reader.features(keys).tolist()
    except CacheError as error:
        return "busy" if "same command again" in str(error) else str(error)


def test_d73_a_reader_is_not_disturbed_while_shards_are_put_together(store, tmp_path):
    texts = [f"{'a' * (i % 7 + 1)} {'b' * (i // 7 + 1)}" for i in range(40)]
    done = extract(store, texts, WordLengthEncoder())
    expected = store.features(done.keys).tolist()
    stop = threading.Event()
    failed: list[BaseException] = []

    def rewrite_for_ever():
        try:
            while not stop.is_set():
                other = FeatureStore(store.folder, tmp_path / "artifacts")
                other.load()
                other.rewrite(list(other._shards), lambda _: True)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=rewrite_for_ever)
    thread.start()
    try:
        seen = []
        seen = [read_rows(store, done.keys) for _ in range(60)]
    finally:
        stop.set()
        thread.join()

    assert failed == []
    assert seen.count(expected) > 5
    assert [rows for rows in seen if rows not in (expected, "busy")] == []
    assert not (tmp_path / "artifacts" / "quarantine").exists()


def published_names(root):
    """Return what is there beside locks and drafts."""
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*"))
    return [name for name in names if not name.startswith(("tmp", "locks"))]


def clean(root):
    for removal in find_unused(root):
        removal.apply()


def test_d74_a_gc_that_was_interrupted_anywhere_can_be_run_again(trained, tmp_path):
    shutil.rmtree(trained.artifacts / "reports")
    shutil.rmtree(trained.artifacts / "predictors")
    root = copied(trained.artifacts, tmp_path / "0")
    with FaultyDisk().installed() as healthy:
        clean(root)
    expected = published_names(root)
    assert healthy.n > 20
    for at in range(1, healthy.n + 1):
        root = copied(trained.artifacts, tmp_path / str(at))
        with FaultyDisk(fail(errno.EIO), at).installed():
            try:
                clean(root)
            except (OSError, CacheError) as error:
                logging.getLogger(__name__).info("%s", error)

        clean(root)

        left = published_names(root)
        assert left == expected
        shutil.rmtree(root)


def test_every_row_of_the_section_has_a_test():
    names = " ".join(globals())

    assert [row for row in range(58, 75) if f"test_d{row}_" not in names] == []


def test_row_keys_of_the_first_version_are_those_of_today():
    """# faults 70: a store written by this schema stays readable; a change must raise the schema's number."""
    assert row_keys(["a"])[0].hex() == "d55e0424345a817e3757ad3bb43e6c7d"

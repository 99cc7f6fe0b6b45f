import errno
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.config import fingerprint
from pipeline.errors import CacheError
from pipeline.storage import (
    DigestCache,
    check_contents,
    digests,
    is_complete,
    key_lock,
    link_or_copy,
    publish_directory,
    quarantine,
    read_manifest,
    replace_file,
    sha256_file,
)
from pipeline.storage.manifest import digest_of
from pipeline.storage.publish import loaded_versions

KEY = "k" * 64
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
HALLO = "d3751d33f9cd5049c4af2b462735457e4d3baf130bcbb87f389e349fbaeb20b9"
LONG_AGO = 1_000_000_000_000_000_000  # in 2001, in nanoseconds


@pytest.fixture
def root(tmp_path):
    """An artifacts folder that does not exist yet."""
    return tmp_path / "artifacts"


@pytest.fixture
def umask():
    """Set the umask for the test."""
    before = os.umask(0)
    yield os.umask
    os.umask(before)


def publish(root, content="hello", key=KEY, name="data.txt"):
    final = root / "stage" / "abc"
    with publish_directory(
        final, root=root, stage="stage", key=key, key_fields={"n": 1}
    ) as draft:
        (draft.path / name).write_text(content)
        draft.facts["rows"] = 3
    return final


def files_below(folder):
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def rewrite(path, data):
    path.chmod(0o644)
    path.write_bytes(data)


def reseal(final, manifest):
    """Write a changed manifest with the digest it would have had."""
    whole = {**manifest, "digest": digest_of(manifest)}
    rewrite(final / "manifest.json", json.dumps(whole).encode())


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_sha256_file_is_that_of_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"hello")

    assert sha256_file(tmp_path / "x") == HELLO


def test_publish_shows_nothing_before_the_end(root):
    final = root / "stage" / "abc"

    with publish_directory(
        final, root=root, stage="stage", key=KEY, key_fields={}
    ) as draft:
        (draft.path / "data.txt").write_text("hello")
        seen_before = final.exists()

    assert not seen_before
    assert files_below(root) == ["stage/abc/data.txt", "stage/abc/manifest.json"]


def test_publish_writes_into_the_root_so_that_one_rename_is_enough(root):
    with publish_directory(
        root / "abc", root=root, stage="stage", key=KEY, key_fields={}
    ) as draft:
        folder = draft.path.parent

    assert folder == root / "tmp"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_publish_leaves_nothing_after_an_exception(root, error):
    def stop_halfway():
        with publish_directory(
            root / "stage" / "abc", root=root, stage="stage", key=KEY, key_fields={}
        ) as draft:
            (draft.path / "data.txt").write_text("hello")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        stop_halfway()

    assert not (root / "stage" / "abc").exists()
    assert list((root / "tmp").iterdir()) == []


def test_publish_records_size_and_digest_of_each_file(root):
    final = root / "stage" / "abc"
    fields = {"n": 1, "name": "é"}

    with publish_directory(
        final, root=root, stage="stage", key=KEY, key_fields=fields
    ) as draft:
        (draft.path / "b.txt").write_bytes(b"hello")
        (draft.path / "a.txt").write_bytes(b"hallo")
        draft.facts["rows"] = 3

    assert json.loads((final / "manifest.json").read_bytes()) == {
        "format": 1,
        "stage": "stage",
        "key": KEY,
        "key_fields": {"n": 1, "name": "é"},
        "files": {
            "a.txt": {"size": 5, "sha256": HALLO},
            "b.txt": {"size": 5, "sha256": HELLO},
        },
        "facts": {"rows": 3},
        "versions": loaded_versions(),
        "digest": digest_of(json.loads((final / "manifest.json").read_bytes())),
    }


@pytest.mark.parametrize(
    ("mask", "mode"), [(0o022, 0o444), (0o027, 0o440), (0o077, 0o400)]
)
def test_publish_makes_files_read_only_as_far_as_the_umask_lets_see(
    root, umask, mask, mode
):
    umask(mask)

    final = publish(root)

    modes = {path.name: path.stat().st_mode & 0o777 for path in final.iterdir()}
    assert modes == {"data.txt": mode, "manifest.json": mode}


def test_publish_leaves_the_umask_as_it_was(root, umask):
    umask(0o027)

    publish(root)

    assert umask(0) == 0o027


def test_publish_keeps_the_first_of_two_writers_of_a_key(root):
    final = root / "stage" / "abc"

    with publish_directory(
        final, root=root, stage="stage", key=KEY, key_fields={}
    ) as slow:
        (slow.path / "data.txt").write_text("second")
        publish(root, "first")

    assert (final / "data.txt").read_text() == "first"
    assert files_below(root) == ["stage/abc/data.txt", "stage/abc/manifest.json"]


def test_publish_twice_keeps_the_first(root):
    publish(root, "first")

    final = publish(root, "second")

    assert (final / "data.txt").read_text() == "first"


def test_publish_moves_an_incomplete_directory_to_quarantine(root):
    final = publish(root, "damaged")
    (final / "manifest.json").unlink()

    publish(root, "hello")

    [moved] = (root / "quarantine").iterdir()
    assert (final / "data.txt").read_text() == "hello"
    assert is_complete(final, KEY)
    assert (moved / "data.txt").read_text() == "damaged"
    assert moved.name.startswith("abc.")


def test_publish_moves_the_directory_of_another_key_to_quarantine(root):
    publish(root, "other", key="o" * 64)

    final = publish(root, "hello")

    assert (final / "data.txt").read_text() == "hello"
    assert len(list((root / "quarantine").iterdir())) == 1


def test_publish_moves_a_file_in_the_way_to_quarantine(root):
    (root / "stage").mkdir(parents=True)
    (root / "stage" / "abc").write_text("no directory")

    final = publish(root)

    [moved] = (root / "quarantine").iterdir()
    assert is_complete(final, KEY)
    assert moved.read_text() == "no directory"


def test_publish_replaces_an_empty_directory_in_the_way(root):
    (root / "stage" / "abc").mkdir(parents=True)

    assert is_complete(publish(root), KEY)


def test_publish_on_a_full_disk_advises_and_leaves_nothing(root, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(
        CacheError,
        match=r"No space left on device .*\. Free space, or pass another --artifacts",
    ):
        publish(root)

    assert not (root / "stage" / "abc").exists()
    assert list((root / "tmp").iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_publish_advises_when_the_disk_is_full_while_the_stage_writes(root, number):
    with (
        pytest.raises(CacheError, match="pass another --artifacts folder"),
        publish_directory(
            root / "abc", root=root, stage="stage", key=KEY, key_fields={}
        ),
    ):
        raise OSError(number, "the disk says no")

    assert files_below(root) == []


def test_publish_works_after_the_disk_was_full(root, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(CacheError, match="Free space"):
            publish(root)

    assert check_contents(publish(root))["facts"] == {"rows": 3}


def test_publish_below_a_root_that_is_a_file_advises(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(CacheError, match="pass another --artifacts folder"):
        publish(tmp_path / "file")

    assert (tmp_path / "file").read_text() == "x"


def test_publish_lets_an_error_about_another_file_through(root, tmp_path):
    with (
        pytest.raises(FileNotFoundError, match="elsewhere"),
        publish_directory(
            root / "abc", root=root, stage="stage", key=KEY, key_fields={}
        ),
    ):
        (tmp_path / "elsewhere").read_bytes()


def test_quarantine_keeps_what_was_there(root):
    final = publish(root)

    place = quarantine(final, root=root)

    assert not final.exists()
    assert place.parent == root / "quarantine"
    assert (place / "data.txt").read_text() == "hello"


def test_quarantine_takes_two_directories_of_one_name(root):
    places = {quarantine(publish(root), root=root) for _ in range(2)}

    assert {path.is_dir() for path in places} == {True}
    assert len(places) == 2


def test_is_complete_is_true_for_what_was_published(root):
    assert is_complete(publish(root), KEY)


def test_is_complete_is_false_for_another_key(root):
    final = publish(root)

    assert not is_complete(final, KEY[:-1] + "x")
    assert not is_complete(final, KEY[:10])


def test_is_complete_is_false_where_nothing_is(root):
    assert not is_complete(root / "stage" / "abc", KEY)


def remove_file(final):
    (final / "data.txt").unlink()


def truncate_file(final):
    rewrite(final / "data.txt", b"hell")


def lengthen_file(final):
    rewrite(final / "data.txt", b"hello\0")


def remove_manifest(final):
    (final / "manifest.json").unlink()


def empty_manifest(final):
    rewrite(final / "manifest.json", b"")


def truncate_manifest(final):
    data = (final / "manifest.json").read_bytes()
    rewrite(final / "manifest.json", data[:-1])


def list_manifest(final):
    rewrite(final / "manifest.json", b"[]")


def deep_manifest(final):
    rewrite(final / "manifest.json", b"[" * 200_000)


def huge_manifest(final):
    (final / "manifest.json").chmod(0o644)
    os.truncate(final / "manifest.json", 2**40)  # takes no room on the disk


def binary_manifest(final):
    rewrite(final / "manifest.json", b"\xff\xfe\0")


def folder_manifest(final):
    (final / "manifest.json").unlink()
    (final / "manifest.json").mkdir()


def edit(**changes):
    def damage(final):
        manifest = json.loads((final / "manifest.json").read_bytes())
        reseal(final, manifest | changes)

    return damage


@pytest.mark.parametrize(
    "damage",
    [
        remove_file,
        truncate_file,
        lengthen_file,
        remove_manifest,
        empty_manifest,
        truncate_manifest,
        list_manifest,
        deep_manifest,
        huge_manifest,
        binary_manifest,
        folder_manifest,
        pytest.param(edit(files=[]), id="files_a_list"),
        pytest.param(edit(files={"data.txt": 5}), id="entry_a_number"),
        pytest.param(edit(files={"data.txt": {}}), id="entry_without_size"),
        pytest.param(edit(files={"gone.txt": {"size": 0}}), id="unknown_file"),
        pytest.param(edit(format=2), id="newer_format"),
        pytest.param(edit(key=None), id="no_key"),
    ],
)
def test_is_complete_is_false_after_damage(root, damage):
    final = publish(root)

    damage(final)

    assert not is_complete(final, KEY)


@pytest.mark.parametrize(
    ("damage", "fix"),
    [
        (remove_manifest, "Run the pipeline again to rebuild it"),
        (truncate_manifest, "Run the pipeline again to rebuild it"),
        (deep_manifest, "Run the pipeline again to rebuild it"),
        (binary_manifest, "Run the pipeline again to rebuild it"),
        (list_manifest, "Remove the directory and run again"),
        (huge_manifest, "Remove the directory and run again"),
        (edit(files=[]), "Remove the directory and run again"),
    ],
)
def test_read_manifest_says_what_to_do_about_a_damaged_one(root, damage, fix):
    final = publish(root)
    damage(final)

    with pytest.raises(CacheError, match=fix):
        read_manifest(final)


@pytest.mark.parametrize("number", [2, 0, None, "1"])
def test_read_manifest_refuses_another_format(root, number):
    final = publish(root)
    edit(format=number)(final)

    with pytest.raises(
        CacheError,
        match=rf"has format {number!r}, this version reads 1\. Use the version that wrote it, or another --art",
    ):
        read_manifest(final)


def test_check_contents_returns_the_manifest_of_a_whole_directory(root):
    assert check_contents(publish(root))["facts"] == {"rows": 3}


def test_check_contents_names_the_flipped_file(root):
    final = root / "stage" / "abc"
    with publish_directory(
        final, root=root, stage="stage", key=KEY, key_fields={}
    ) as draft:
        for name in ("a.txt", "b.txt", "c.txt"):
            (draft.path / name).write_text("hello")
    rewrite(final / "b.txt", b"hallo")

    with pytest.raises(CacheError, match=r"abc/b\.txt is damaged: its SHA-256"):
        check_contents(final)


def test_check_contents_sees_what_is_complete_does_not(root):
    final = publish(root)
    rewrite(final / "data.txt", b"hallo")

    assert is_complete(final, KEY)
    with pytest.raises(CacheError, match=r"data\.txt is damaged"):
        check_contents(final)


def test_check_contents_names_the_missing_file(root):
    final = publish(root)
    remove_file(final)

    with pytest.raises(CacheError, match=r"abc/data\.txt cannot be read: "):
        check_contents(final)


def test_check_contents_names_the_file_whose_entry_is_nonsense(root):
    final = publish(root)
    manifest = json.loads((final / "manifest.json").read_bytes())
    reseal(final, {**manifest, "files": {"data.txt": 5}})

    with pytest.raises(CacheError, match=r"data\.txt is damaged"):
        check_contents(final)


def test_a_manifest_with_a_changed_fact_does_not_count(root):
    final = publish(root)
    path = final / "manifest.json"
    rewrite(path, path.read_bytes().replace(b'"rows": 3', b'"rows": 4'))

    assert not is_complete(final, KEY)
    with pytest.raises(CacheError, match="its digest is not the one recorded"):
        check_contents(final)


def test_quarantine_of_what_is_already_gone_is_done(root):
    final = publish(root)
    quarantine(final, root=root)

    quarantine(final, root=root)

    assert len(list((root / "quarantine").iterdir())) == 1


@pytest.mark.parametrize("target", ["/nonexistent", "abc"], ids=["dangling", "looping"])
def test_publish_replaces_a_link_that_leads_nowhere(root, target):
    (root / "stage").mkdir(parents=True)
    (root / "stage" / "abc").symlink_to(target)

    final = publish(root)

    assert is_complete(final, KEY)


@pytest.fixture
def old_file(tmp_path):
    """A file that was last changed long ago."""
    path = tmp_path / "file.tsv"
    path.write_bytes(b"hello")
    os.utime(path, ns=(LONG_AGO, LONG_AGO))
    return path


FORGED = "f" * 64


def remember(root, entries):
    """Write a memory as `DigestCache` does."""
    root.mkdir(exist_ok=True)
    memory = {"entries": entries, "digest": fingerprint(entries)}
    (root / "digests.json").write_text(json.dumps(memory))


def forge(root):
    """Change every remembered digest: an answer with it was remembered, not computed."""
    path = root / "digests.json"
    entries = json.loads(path.read_bytes())["entries"] if path.exists() else {}
    remember(root, {name: [*entry[:-1], FORGED] for name, entry in entries.items()})


def test_digest_cache_hashes_the_bytes(root, old_file):
    assert DigestCache(root).sha256(old_file) == HELLO


def test_digest_cache_remembers_a_file_by_its_stat(root, old_file):
    DigestCache(root).sha256(old_file)
    forge(root)

    assert DigestCache(root).sha256(old_file) == FORGED


def test_digest_cache_notices_a_copy_with_the_old_time_onto_the_file(root, old_file):
    """What ``cp -p`` leaves: same path, size, modification time and inode."""
    DigestCache(root).sha256(old_file)
    old_file.write_bytes(b"hallo")
    os.utime(old_file, ns=(LONG_AGO, LONG_AGO))

    assert DigestCache(root).sha256(old_file) == HALLO


def test_digest_cache_hashes_again_when_the_time_changed(root, old_file):
    DigestCache(root).sha256(old_file)
    old_file.write_bytes(b"hallo")
    os.utime(old_file, ns=(LONG_AGO, LONG_AGO + 1000))

    assert DigestCache(root).sha256(old_file) == HALLO


def test_digest_cache_hashes_again_when_the_size_changed(root, old_file):
    DigestCache(root).sha256(old_file)
    old_file.write_bytes(b"")
    os.utime(old_file, ns=(LONG_AGO, LONG_AGO))

    digest = DigestCache(root).sha256(old_file)

    assert digest == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_digest_cache_hashes_again_when_the_inode_changed(root, old_file):
    DigestCache(root).sha256(old_file)
    other = old_file.with_name("other")
    other.write_bytes(b"hallo")
    os.utime(other, ns=(LONG_AGO, LONG_AGO))
    other.replace(old_file)

    assert DigestCache(root).sha256(old_file) == HALLO


@pytest.mark.parametrize(
    ("age_s", "expected"), [(1.5, HELLO), (-1.0, HELLO), (2.5, FORGED)]
)
def test_digest_cache_remembers_only_files_older_than_two_seconds(
    root, old_file, monkeypatch, age_s, expected
):
    root.mkdir()
    now = LONG_AGO / 1e9 + age_s
    monkeypatch.setattr(digests, "time", SimpleNamespace(time=lambda: now))
    DigestCache(root).sha256(old_file)
    forge(root)

    assert DigestCache(root).sha256(old_file) == expected


def test_digest_cache_knows_a_file_by_any_of_its_paths(root, old_file, tmp_path):
    DigestCache(root).sha256(old_file)
    (tmp_path / "link").symlink_to(old_file)
    forge(root)

    assert DigestCache(root).sha256(tmp_path / "link") == FORGED


@pytest.mark.parametrize(
    "garbage",
    [b"", b"no json", b"\xff\0", b"[1, 2]", b"null", b"[" * 200_000],
    ids=["empty", "words", "binary", "list", "null", "deep"],
)
def test_digest_cache_survives_a_garbage_memory(root, old_file, garbage):
    root.mkdir()
    (root / "digests.json").write_bytes(garbage)

    first = DigestCache(root).sha256(old_file)
    memory = json.loads((root / "digests.json").read_bytes())

    assert first == HELLO
    assert list(memory["entries"]) == [str(old_file)]


@pytest.mark.parametrize("value", [None, 5, "digest", [], [5], {"size": 5}])
def test_digest_cache_survives_a_garbage_entry(root, old_file, value):
    remember(root, {str(old_file): value})

    assert DigestCache(root).sha256(old_file) == HELLO


def test_digest_cache_forgets_everything_when_a_byte_of_its_memory_changed(
    root, old_file
):
    DigestCache(root).sha256(old_file)
    path = root / "digests.json"
    path.write_bytes(path.read_bytes().replace(HELLO.encode(), HALLO.encode()))

    assert DigestCache(root).sha256(old_file) == HELLO


def test_digest_cache_works_where_it_cannot_write(tmp_path, old_file):
    (tmp_path / "artifacts").write_text("a file in the way")

    assert DigestCache(tmp_path / "artifacts").sha256(old_file) == HELLO


def test_digest_cache_passes_on_the_error_of_an_unreadable_file(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        DigestCache(root).sha256(tmp_path / "missing")


LOCK = """
import logging, sys, time
from pathlib import Path
from pipeline.storage.locks import key_lock
root, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
logging.basicConfig(level=logging.INFO, filename=root / (name + ".log"))
with key_lock(root, "key"):
    (root / name).touch()
    time.sleep(seconds)
"""


def start_locker(root, name, seconds=0.0):
    """Start a process that holds the lock, says so by a file `name`, and logs to ``name.log``."""
    return subprocess.Popen(
        [sys.executable, "-c", LOCK, str(root), name, str(seconds)], cwd="/"
    )


def wait_for(condition, timeout_s=30.0):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def is_waiting(root, name):
    log = root / f"{name}.log"
    return log.exists() and "waiting: another run is building key" in log.read_text()


def test_key_lock_makes_a_second_process_wait(tmp_path):
    with key_lock(tmp_path, "key"):
        second = start_locker(tmp_path, "second")
        wait_for(lambda: is_waiting(tmp_path, "second"))
        entered_early = (tmp_path / "second").exists()
    status = second.wait(timeout=30)

    assert not entered_early
    assert status == 0
    assert (tmp_path / "second").exists()


def test_key_lock_is_freed_when_its_process_is_killed(tmp_path):
    first = start_locker(tmp_path, "first", seconds=60)
    wait_for((tmp_path / "first").exists)
    second = start_locker(tmp_path, "second")
    wait_for(lambda: is_waiting(tmp_path, "second"))

    first.kill()
    first.wait(timeout=30)

    assert second.wait(timeout=30) == 0
    assert (tmp_path / "second").exists()


def test_key_lock_is_freed_after_an_exception(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), key_lock(tmp_path, "key"):
        raise RuntimeError("stop")

    assert start_locker(tmp_path, "second").wait(timeout=30) == 0


FORKING = """
import os, signal, sys
from pathlib import Path
from pipeline.storage.locks import key_lock
with key_lock(Path(sys.argv[1]), "key"):
    pid = os.fork()
    if pid == 0:
        signal.pause()
with key_lock(Path(sys.argv[1]), "key", wait=False) as is_free:
    print(is_free)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
"""


def test_key_lock_is_not_left_to_a_child_that_was_forked_meanwhile(tmp_path, python):
    done = python(f"import sys; sys.argv[1:] = [{str(tmp_path)!r}]" + FORKING)

    assert done.stdout == "True\n", done.stderr


def test_key_lock_does_not_hold_another_key(tmp_path):
    with key_lock(tmp_path, "other"):
        status = start_locker(tmp_path, "second").wait(timeout=30)

    assert status == 0
    assert not is_waiting(tmp_path, "second")


def test_key_lock_goes_on_without_where_no_lock_file_can_be(tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    entered = []

    with (
        caplog.at_level(logging.DEBUG, "pipeline"),
        key_lock(tmp_path / "file", "key"),
    ):
        entered.append(True)

    assert entered == [True]
    assert "no lock for key" in caplog.text


def test_replace_file_writes_the_bytes(tmp_path):
    (tmp_path / "x").write_bytes(b"old and longer")

    replace_file(tmp_path / "x", b"new\0\r\n")

    assert (tmp_path / "x").read_bytes() == b"new\0\r\n"
    assert files_below(tmp_path) == ["x"]


def test_replace_file_keeps_the_old_bytes_on_a_full_disk(tmp_path, monkeypatch):
    (tmp_path / "x").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(OSError, match="No space left"):
        replace_file(tmp_path / "x", b"new")

    assert (tmp_path / "x").read_bytes() == b"old"
    assert files_below(tmp_path) == ["x"]


def read_while_writing(write, read):
    """Return the different things `read` gave while another thread went on with ``write(0)``, ``write(1)``, …."""
    stop = threading.Event()

    def go_on():
        i = 0
        while not stop.is_set():
            write(i)
            i += 1

    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        return {read() for _ in range(500)}
    finally:
        stop.set()
        writer.join()


def test_replace_file_shows_a_reader_the_old_or_the_new_bytes(tmp_path):
    versions = [b"a" * 100_000, b"b" * 100_000]
    path = tmp_path / "x"
    replace_file(path, versions[0])

    seen = read_while_writing(
        lambda i: replace_file(path, versions[i % 2]), path.read_bytes
    )

    assert seen <= set(versions)


@pytest.fixture
def places(tmp_path):
    """Two targets and the place of a link in another folder."""
    for name in ("one", "two"):
        (tmp_path / "reports" / name).mkdir(parents=True)
        (tmp_path / "reports" / name / "x.txt").write_text(name)
    return tmp_path / "reports" / "one", tmp_path / "reports" / "two", tmp_path / "link"


@pytest.fixture
def no_links(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)


def test_link_or_copy_makes_a_relative_link(places):
    one, _, link = places

    link_or_copy(one, link)

    assert str(link.readlink()) == "reports/one"
    assert (link / "x.txt").read_text() == "one"


def test_link_or_copy_still_points_right_after_the_folder_moved(places, tmp_path):
    one, _, link = places
    link_or_copy(one, link)
    moved = tmp_path.with_name(tmp_path.name + "-moved")

    tmp_path.rename(moved)

    assert (moved / "link" / "x.txt").read_text() == "one"


def test_link_or_copy_replaces_a_link_and_leaves_its_target(places):
    one, two, link = places
    link_or_copy(one, link)

    link_or_copy(two, link)

    assert (link / "x.txt").read_text() == "two"
    assert (one / "x.txt").read_text() == "one"
    assert sorted(path.name for path in link.parent.iterdir()) == ["link", "reports"]


def test_link_or_copy_shows_a_reader_always_one_of_the_targets(places):
    one, two, link = places
    link_or_copy(one, link)

    seen = read_while_writing(
        lambda i: link_or_copy((one, two)[i % 2], link), (link / "x.txt").read_text
    )

    assert seen <= {"one", "two"}


def test_link_or_copy_replaces_a_file_by_a_link(places):
    one, _, link = places
    link.write_text("old")

    link_or_copy(one / "x.txt", link)

    assert link.is_symlink()
    assert link.read_text() == "one"


def test_link_or_copy_copies_a_folder_where_links_cannot_be_made(places, no_links):
    one, two, link = places
    link_or_copy(one, link)

    link_or_copy(two, link)

    assert not link.is_symlink()
    assert (link / "x.txt").read_text() == "two"
    assert sorted(path.name for path in link.parent.iterdir()) == ["link", "reports"]


def test_link_or_copy_copies_a_file_where_links_cannot_be_made(places, no_links):
    one, two, link = places
    link_or_copy(one / "x.txt", link)

    link_or_copy(two / "x.txt", link)

    assert not link.is_symlink()
    assert link.read_text() == "two"
    assert sorted(path.name for path in link.parent.iterdir()) == ["link", "reports"]


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE, errno.ENOSPC])
def test_publish_directory_says_what_the_disk_said(root, monkeypatch, code):
    def fail(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fail)

    with pytest.raises(CacheError, match="another --artifacts folder"):
        publish(root)
    assert files_below(root) == []


def test_publish_directory_leaves_what_a_newer_version_wrote(root):
    final = publish(root)
    manifest = json.loads((final / "manifest.json").read_text())
    newer = json.dumps({**manifest, "format": 2}).encode()
    rewrite(final / "manifest.json", newer)

    with pytest.raises(CacheError, match="Update, or pass another"):
        publish(root)
    assert (final / "manifest.json").read_bytes() == newer


@pytest.mark.parametrize("name", ["a\0b", "\ud800"])
def test_is_complete_and_check_contents_survive_names_that_no_file_has(root, name):
    final = publish(root)
    manifest = json.loads((final / "manifest.json").read_text())
    manifest["files"] = {name: {"size": 5, "sha256": HELLO}}
    reseal(final, manifest)

    assert not is_complete(final, KEY)
    with pytest.raises(CacheError, match="cannot be read"):
        check_contents(final)


def test_link_or_copy_replaces_an_earlier_copy(tmp_path):
    for name in ("new", "latest"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)

    link_or_copy(tmp_path / "new", tmp_path / "latest")

    assert (tmp_path / "latest" / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "new"]


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_never_replaced(tmp_path, kind):
    target = tmp_path / "target"
    target.mkdir() if kind == "folder" else os.mkfifo(target)

    with pytest.raises(OSError, match="it is no regular file"):
        replace_file(target, b"new")

    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert not target.is_file()


def test_of_a_link_the_file_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")

    replace_file(tmp_path / "link", b"new")

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"

"""Properties of manifests, keys and the row store that hold whatever comes in."""

import json
import tempfile
from contextlib import suppress
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.errors import CacheError
from pipeline.features import store as store_module
from pipeline.features.index import KeyIndex
from pipeline.features.keys import first_of_each, row_key
from pipeline.features.store import FeatureStore
from pipeline.storage import (
    check_contents,
    disk,
    is_complete,
    publish_directory,
    read_manifest,
)
from pipeline.storage.manifest import digest_of

QUICK = settings(
    deadline=None,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("format", "stage", "key", "key_fields", "files", "facts", "digest")
ENTRY = st.dictionaries(st.sampled_from(["size", "sha256"]), JSON)


def published(root):
    with publish_directory(
        root / "abc", root=root, stage="s", key="k", key_fields={}
    ) as draft:
        disk.write(draft.path / "data.txt", b"hello")
    return root / "abc"


def survives(directory, data):
    """Put other bytes in a manifest's place; only our error may come of it."""
    path = directory / "manifest.json"
    path.unlink()
    path.write_bytes(data)
    assert is_complete(directory, "k") in {True, False}
    for look in (read_manifest, check_contents):
        with suppress(CacheError):
            look(directory)


@QUICK
@given(field=st.sampled_from(FIELDS), value=JSON, is_sealed=st.booleans())
def test_any_value_of_any_field_of_a_manifest_is_read_or_an_error_of_ours(
    field, value, is_sealed
):
    with tempfile.TemporaryDirectory() as folder:
        directory = published(Path(folder))
        manifest = json.loads((directory / "manifest.json").read_bytes())
        manifest[field] = value
        if is_sealed and field != "digest":
            try:
                manifest["digest"] = digest_of(manifest)
            except ValueError:
                manifest["digest"] = "none"  # NaN has no digest

        survives(directory, json.dumps(manifest).encode())


@QUICK
@given(files=st.dictionaries(st.text(max_size=20), ENTRY | JSON, max_size=3))
def test_any_list_of_files_is_read_or_an_error_of_ours(files):
    with tempfile.TemporaryDirectory() as folder:
        directory = published(Path(folder))
        manifest = json.loads((directory / "manifest.json").read_bytes())
        manifest["files"] = files
        try:
            manifest["digest"] = digest_of(manifest)
        except ValueError:
            return

        survives(directory, json.dumps(manifest).encode())


@QUICK
@given(data=st.binary(max_size=300))
def test_any_bytes_for_a_manifest_are_an_error_of_ours(data):
    with tempfile.TemporaryDirectory() as folder:
        survives(published(Path(folder)), data)


@QUICK
@given(at=st.integers(0, 127), byte=st.integers(0, 255), cut=st.integers(0, 200))
def test_any_change_of_an_arrays_head_gives_an_array_or_one_of_two_errors(
    at, byte, cut
):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, np.arange(9, dtype=np.int64))
        data = bytearray(path.read_bytes())
        data[at] = byte
        path.write_bytes(data[: len(data) - cut] if cut < 50 else data)
        for mapped in (False, True):
            with suppress(OSError, ValueError):
                assert isinstance(disk.load_array(path, mapped=mapped), np.ndarray)


TEXT = st.text(st.characters(), max_size=12)  # lone surrogates, too


@QUICK
@given(texts=st.lists(TEXT, unique=True, max_size=20))
def test_different_texts_have_different_keys(texts):
    assert len({row_key(text) for text in texts}) == len(texts)
    assert all(len(row_key(text)) == 16 for text in texts)


# Few heads and tails, so that many keys share one; zero bytes at the end, which numpy's strings drop.
HALF = st.sampled_from([b"\0" * 8, b"a" * 8, b"a" * 7 + b"\0", b"\xff" * 8, b"b" * 8])
KEY = st.tuples(HALF, HALF).map(b"".join)


def as_keys(keys):
    return np.frombuffer(b"".join(keys), dtype="S16")


def test_as_keys_of_nothing_is_an_empty_array():
    assert as_keys([]).shape == (0,)


@QUICK
@given(keys=st.lists(KEY, max_size=60))
def test_first_of_each_is_what_a_set_says(keys):
    seen: set[bytes] = set()
    expected = []
    for key in keys:
        expected.append(key not in seen)
        seen.add(key)

    assert first_of_each(as_keys(keys)).tolist() == expected


@QUICK
@given(
    shards=st.lists(st.lists(KEY, min_size=1, max_size=20), max_size=4),
    asked=st.lists(KEY, max_size=30),
)
def test_the_index_finds_the_lowest_place_as_a_dict_would(shards, asked):
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        model: dict[bytes, int] = {}
        for i, shard in enumerate(shards):
            paths.append(Path(folder) / f"{i}.npy")
            np.save(paths[-1], as_keys(shard))
        for place, key in enumerate(key for shard in shards for key in shard):
            model.setdefault(key, place)

        found = KeyIndex(paths).places(as_keys(asked)).tolist()

    assert found == [model.get(key, -1) for key in asked]


class Store(RuleBasedStateMachine):
    """Rows are appended, forgotten, put together and loaded in any order, as a dict would hold them."""

    def __init__(self):
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._patches = [
            mock.patch.object(store_module, "MANY", 2),
            mock.patch.object(store_module, "SHARD_BYTES", 400),
        ]
        for patch in self._patches:
            patch.start()
        self.model: dict[bytes, int] = {}
        self.n = 0
        self.reopen()

    def teardown(self):
        for patch in self._patches:
            patch.stop()
        self._folder.cleanup()

    def reopen(self):
        root = Path(self._folder.name)
        self.store = FeatureStore(root / "features" / "x", root)
        assert self.store.load() == []

    @rule(keys=st.lists(KEY, min_size=1, max_size=6, unique=True))
    def append_what_is_new(self, keys):
        missing = self.store.missing(as_keys(keys))
        new = [key for key, is_new in zip(keys, missing, strict=True) if is_new]
        assert set(new) == set(keys) - set(self.model)
        if not new:
            return
        values = range(self.n, self.n + len(new))
        self.n += len(new)
        features = np.array([[v, -v] for v in values], dtype=np.float32)
        self.store.append(as_keys(new), features, np.array(values, dtype=np.int32))
        self.model.update(zip(new, values, strict=True))

    @rule()
    def put_together(self):
        self.store.compact()

    @rule()
    def open_again(self):
        self.reopen()

    @rule(key=KEY)
    def forget(self, key):
        gone = as_keys([key])
        holders = self.store.shards_of(gone)
        paths = [path for path in self.store._shards if path.name in holders]
        for path in paths:
            self.store.rewrite([path], lambda keys: keys != gone[0])
        self.model.pop(key, None)
        assert self.store.missing(gone).all()

    @invariant()
    def every_row_is_as_it_was_stored(self):
        keys = list(self.model)
        if not keys:
            return
        assert not self.store.missing(as_keys(keys)).any()
        features = self.store.features(as_keys(keys))
        assert features.tolist() == [[v, -v] for v in self.model.values()]
        assert self.store.n_tokens(as_keys(keys)).tolist() == list(self.model.values())

    @invariant()
    def nothing_is_set_aside_or_left_over(self):
        root = Path(self._folder.name)
        assert not (root / "quarantine").exists()
        assert not (root / "tmp").exists() or not list((root / "tmp").iterdir())


TestStore = Store.TestCase
TestStore.settings = settings(
    deadline=None,
    max_examples=40,
    stateful_step_count=12,
    suppress_health_check=[HealthCheck.too_slow],
)

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder import batching
from pipeline.errors import CacheError, EncoderError
from pipeline.features import keys as keys_module
from pipeline.features import part, worker
from pipeline.features.extract import (
    Extraction,
    Progress,
    Stopped,
    extract_missing,
    list_facts,
)
from pipeline.features.keys import row_key, row_keys
from pipeline.features.store import FeatureStore
from pipeline.features.texts import TextList
from pipeline.testing import WordLengthEncoder
from tests.stores import extract
from tests.test_tasks_stages import flip_last_bit

TEXTS = ["a bbb", "a", "cc d eee", "a", "zz zz"]
ROWS = [[1, 3, 0], [1, 0, 0], [2, 1, 3], [1, 0, 0], [2, 2, 0]]


@pytest.fixture
def store(tmp_path):
    return FeatureStore(
        tmp_path / "artifacts" / "features" / "words", tmp_path / "artifacts"
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 5])
def test_extract_restores_the_order_of_the_texts(store, batch_size):
    done = extract(store, TEXTS, WordLengthEncoder(batch_size=batch_size))

    assert store.features(done.keys).tolist() == ROWS


def test_extract_encodes_a_repeated_text_once(store):
    encoder = WordLengthEncoder()

    done = extract(store, TEXTS, encoder)

    assert sorted(encoder.seen) == sorted(set(TEXTS))
    assert done.rows_encoded == 4


def test_extract_encodes_only_what_is_new(store):
    extract(store, TEXTS, WordLengthEncoder())
    encoder = WordLengthEncoder()

    done = extract(store, ["zz zz", "new", "a"], encoder)

    assert encoder.seen == ["new"]
    assert store.features(done.keys).tolist() == [[2, 2, 0], [3, 0, 0], [1, 0, 0]]


def test_extract_does_not_load_the_encoder_when_all_is_known(store):
    extract(store, TEXTS, WordLengthEncoder())

    class Untouched:
        def tokenize(self, texts):
            raise AssertionError("nothing is missing")

    done = extract(store, TEXTS[::-1], Untouched())

    assert done.rows_encoded == 0
    assert store.features(done.keys).tolist() == ROWS[::-1]


def test_extract_reports_progress_up_to_the_whole(store):
    seen: list[Progress] = []

    extract(store, TEXTS, WordLengthEncoder(), on_progress=seen.append)

    assert [p.done for p in seen] == [2, 4]
    assert seen[-1].share == 1.0
    assert seen[-1].total == 4


def test_a_stopped_extraction_keeps_its_finished_parts(store, monkeypatch):
    monkeypatch.setattr(part, "PART_S", 0.0)

    def stop(progress):
        if progress.done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(store, TEXTS, WordLengthEncoder(), on_progress=stop)
    encoder = WordLengthEncoder()
    done = extract(store, TEXTS, encoder)

    assert len(encoder.seen) == 2
    assert store.features(done.keys).tolist() == ROWS


def test_float16_features_are_stored_as_such_and_read_as_float32(store):
    done = extract(
        store, ["a" * 2049], WordLengthEncoder(dim=1), feature_dtype="float16"
    )

    features = store.features(done.keys)

    assert features.dtype == np.float32
    assert features.tolist() == [[2048.0]]  # float16 has eleven bits


@pytest.mark.parametrize("name", ["features.npy", "keys.npy", "tokens.npy"])
def test_a_damaged_shard_goes_to_quarantine_and_only_its_rows_are_encoded_again(
    store, tmp_path, name
):
    extract(store, TEXTS, WordLengthEncoder())
    extract(store, ["new"], WordLengthEncoder())
    shard = next(
        p
        for p in (store.folder / "shards").iterdir()
        if len(np.load(p / "keys.npy")) == 4
    )
    path = shard / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)

    encoder = WordLengthEncoder()
    done = extract(store, [*TEXTS, "new"], encoder)

    assert done.damaged == [shard.name]
    assert sorted(encoder.seen) == sorted(set(TEXTS))
    assert store.features(done.keys).tolist() == [*ROWS, [3, 0, 0]]
    assert len(list((tmp_path / "artifacts" / "quarantine").iterdir())) == 1


def test_features_of_an_unknown_text_are_an_error_with_the_remedy(store):
    extract(store, TEXTS, WordLengthEncoder())

    with pytest.raises(CacheError, match="Run the same command again"):
        store.features(row_keys(["never encoded"]))


def test_every_damaged_shard_is_named(store):
    for texts in (["a bbb", "x"], ["zz", "y"]):
        extract(store, texts, WordLengthEncoder())
    for path in (store.folder / "shards").glob("*/tokens.npy"):
        flip_last_bit(path)

    done = extract(store, ["a bbb", "x", "zz", "y"], WordLengthEncoder())

    assert len(done.damaged) == 2
    assert done.rows_encoded == 4


def test_long_texts_are_encoded_fewer_at_a_time(store, monkeypatch):
    monkeypatch.setattr("pipeline.encoder.batching.WINDOW_CHARS", 10)
    sizes = []

    class Counting(WordLengthEncoder):
        def tokenize(self, texts):
            sizes.append(len(texts))
            return super().tokenize(texts)

    extract(store, ["a" * n for n in range(1, 9)], Counting())

    assert sizes == [4, 2, 2]


def test_row_key_covers_the_exact_bytes():
    assert row_key("a") != row_key("a ")
    assert row_key("é") != row_key("e\u0301")
    assert len(row_key("\ud800")) == 16  # a lone surrogate is a text like any other


def test_keys_that_end_in_zero_bytes_are_told_apart(store):
    keys = np.frombuffer(b"x" * 14 + b"\0\0" + b"x" * 15 + b"\0", dtype="S16")
    store.append(
        keys,
        np.array([[1.0], [2.0]], dtype=np.float32),
        np.array([1, 1], dtype=np.int32),
    )
    store.load()

    assert store.features(keys).tolist() == [[1.0], [2.0]]


def test_list_facts_count_what_was_cut(store, monkeypatch):
    monkeypatch.setattr(keys_module, "BLOCK", 2)
    texts = ["b" * n + " a" * (n - 1) for n in (3, 10, 12)]
    extract(store, texts, WordLengthEncoder())

    facts = list_facts(store.folder / "keys.npy", store, max_length=10)

    assert (facts["rows"], facts["dim"]) == (3, 3)
    assert facts["shards"] == [path.name for path in store.folder.glob("shards/*")]
    assert facts["tokens"] == {
        "tokens": 25,
        "mean_tokens": 8.33,
        "longest_tokens": 12,
        "rows_cut": 1,
        "tokens_cut": 2,
    }


def test_compute_options_are_not_part_of_an_encoders_options():
    assert not set(ComputeSpec.names()) & set(EncoderSpec.names())


def test_features_that_do_not_fit_float16_are_refused_and_not_stored(store):
    with pytest.raises(EncoderError, match="--feature-dtype float32"):
        extract(
            store, ["a" * 70_000], WordLengthEncoder(dim=1), feature_dtype="float16"
        )

    assert not (store.folder / "shards").exists()


def test_a_store_whose_shards_are_gone_knows_nothing(store):
    done = extract(store, TEXTS, WordLengthEncoder())
    shutil.rmtree(store.folder / "shards")

    store.load()

    assert store.missing(done.keys).all()


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("one-ahead")]


@pytest.fixture
def small_windows(monkeypatch):
    """Let texts be sorted two at a time, and every batch be a part."""
    monkeypatch.setattr(batching, "WINDOW", 2)
    monkeypatch.setattr(part, "PART_S", 0.0)


SIX = ["a", "bb b", "ccc", "d d d", "ee", "f"]


def test_progress_counts_tokens_and_padding(store):
    seen: list[Progress] = []

    extract(store, ["a b c", "d", "e f"], WordLengthEncoder(), on_progress=seen.append)

    assert [(p.tokens, p.padded) for p in seen] == [(3, 4), (6, 7)]


def test_the_share_is_one_of_tokens_within_a_window(store, monkeypatch):
    monkeypatch.setattr(batching, "WINDOW", 3)
    seen: list[Progress] = []
    texts = ["x", "y", "a b c d e f g h", "new", "other", "a b"]

    extract(store, texts, WordLengthEncoder(batch_size=1), on_progress=seen.append)

    assert [p.share for p in seen] == pytest.approx(
        [0.5 * 0.8, 0.5 * 0.9, 0.5, 0.5 + 0.5 * 0.5, 0.5 + 0.5 * 0.75, 1.0]
    )


def test_the_next_texts_are_tokenized_while_others_are_encoded(store, small_windows):
    """Encoding a window waits until the next one is being tokenized, and that for a third never begins."""
    asked = [threading.Event() for _ in range(4)]

    class Waiting(WordLengthEncoder):
        n_windows = 0

        def tokenize(self, texts):
            asked[len(self.seen) // 2].set()
            return super().tokenize(texts)

        def encode_tokens(self, tokens):
            self.n_windows += 1
            last = self.n_windows == 3
            assert last or asked[self.n_windows].wait(10)
            assert last or not asked[self.n_windows + 1].wait(0.02)
            yield from super().encode_tokens(tokens)

    done = extract(store, SIX, Waiting())

    assert done.rows_encoded == 6
    assert store.features(done.keys)[:2].tolist() == [[1, 0, 0], [2, 1, 0]]


def test_an_encoder_that_fails_in_the_middle_leaves_finished_parts_and_no_thread(
    store, small_windows
):
    class Failing(WordLengthEncoder):
        def encode_tokens(self, tokens):
            yield from super().encode_tokens(tokens)
            if len(self.seen) >= 4:
                raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        extract(store, SIX, Failing())

    assert threads() == []
    encoder = WordLengthEncoder()
    done = extract(store, SIX, encoder)
    assert 2 <= len(encoder.seen) < 6
    assert store.features(done.keys)[5].tolist() == [1, 0, 0]


def test_texts_that_cannot_be_tokenized_end_it_after_those_before(store, small_windows):
    class Failing(WordLengthEncoder):
        def tokenize(self, texts):
            if "ee" in texts:
                raise ValueError("cannot be tokenized")
            return super().tokenize(texts)

    seen: list[Progress] = []
    with pytest.raises(ValueError, match="cannot be tokenized"):
        extract(store, SIX, Failing(), on_progress=seen.append)

    assert [p.done for p in seen] == [2, 4]
    assert threads() == []
    encoder = WordLengthEncoder()
    extract(store, SIX, encoder)
    assert encoder.seen == ["ee", "f"]


def test_a_stopped_extraction_stores_before_it_waits_for_the_tokenizer(
    store, monkeypatch
):
    monkeypatch.setattr(batching, "WINDOW", 2)
    is_asked = threading.Event()
    found: list[Path] = []

    class Slow(WordLengthEncoder):
        def tokenize(self, texts):
            if "ccc" in texts:
                is_asked.set()
                ends = time.monotonic() + 10
                while not found and time.monotonic() < ends:
                    found.extend(store.folder.glob("shards/*"))
            return super().tokenize(texts)

    def stop(_):
        assert is_asked.wait(10)
        raise Stopped

    with pytest.raises(Stopped):
        extract(store, SIX, Slow(), on_progress=stop)

    assert len(found) == 1
    assert threads() == []


def test_rates_are_those_of_what_was_encoded():
    done = Extraction(
        n=30, rows_encoded=20, damaged=[], tokens=75, padded=100, elapsed_s=10.0
    )

    assert worker._rates(done) == {
        "rows_per_s": 2.0,
        "tokens_per_s": 7.5,
        "padding_share": 0.25,
    }
    assert worker._rates(replace(done, rows_encoded=0)) == {}


def test_time_spent_loading_makes_no_part_due(store, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(part, "time", SimpleNamespace(monotonic=lambda: now[0]))
    sizes = []
    append = store.append

    def listen(keys, *columns):
        sizes.append(len(keys))
        append(keys, *columns)

    monkeypatch.setattr(store, "append", listen)

    def load(_):
        now[0] += 2 * part.PART_S
        return WordLengthEncoder()

    store.folder.mkdir(parents=True)
    extract_missing(
        TextList(SIX, block=2),
        [store],
        load,
        keys_paths=[store.folder / "keys.npy"],
        feature_dtype="float32",
    )

    assert sizes == [6]

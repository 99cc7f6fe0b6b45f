"""The row store on disk: shards put together, read while that happens, and referred to by older names."""

import shutil

import numpy as np
import pytest

import tasks
from pipeline.datasets.checks import Rows
from pipeline.datasets.table import StoredTexts, TableWriter
from pipeline.errors import CacheError
from pipeline.features import store as store_module
from pipeline.features.extract import Progress
from pipeline.features.keys import row_keys
from pipeline.features.shards import find_shards, shards_in
from pipeline.features.store import FeatureStore
from pipeline.features.stored import StoredFeatures
from tests.stores import extract
from tests.test_tasks_stages import flip_last_bit

TEXTS = [f"text {i}" for i in range(12)]


@pytest.fixture
def store(tmp_path):
    return FeatureStore(
        tmp_path / "artifacts" / "features" / "x", tmp_path / "artifacts"
    )


def add(store, *numbers):
    """Store the features ``[number, 10 * number]`` of some of `TEXTS` as one shard."""
    store.append(
        row_keys(TEXTS[i] for i in numbers),
        np.array([[i, 10 * i] for i in numbers], dtype=np.float32),
        np.array(numbers, dtype=np.int32),
    )


def fill(store, n=12):
    """Store one shard a text; return the shards' names."""
    for i in range(n):
        add(store, i)
    return sorted(path.name for path, _ in shards_in(store.folder))


def assert_holds(store, numbers):
    features = store.features(row_keys(TEXTS[i] for i in numbers))

    assert features.tolist() == [[i, 10 * i] for i in numbers]


def test_many_small_shards_are_put_together_and_hold_the_same(store):
    fill(store)

    store.compact()

    assert len(list(shards_in(store.folder))) == 1
    assert_holds(store, range(11, -1, -1))
    store.load()
    assert_holds(store, range(12))
    assert len(store) == 12


def test_a_few_small_shards_are_left_as_they_are(store):
    before = fill(store, store_module.MANY)

    store.compact()

    assert [path.name for path, _ in shards_in(store.folder)] == before


def test_shards_are_put_together_up_to_their_size(store, monkeypatch):
    monkeypatch.setattr(store_module, "SHARD_BYTES", 3 * 136)  # a row's file has 136
    fill(store)

    store.compact()

    sizes = [manifest["facts"]["rows"] for _, manifest in shards_in(store.folder)]
    assert sorted(sizes) == [3, 3, 3, 3]
    assert_holds(store, range(12))


def test_who_refers_to_a_small_shard_finds_the_large_one(store):
    names = fill(store)
    store.compact()
    ((large, _),) = shards_in(store.folder)

    assert find_shards(store.folder, names) == [large]
    assert find_shards(store.folder, [large.name, names[0]]) == [large]


def test_names_are_found_after_shards_were_put_together_twice(store, monkeypatch):
    names = fill(store, 10)
    store.compact()
    monkeypatch.setattr(store_module, "MANY", 1)
    add(store, 10)
    store.compact()
    ((large, _),) = shards_in(store.folder)

    assert find_shards(store.folder, names) == [large]


def test_a_shard_that_nothing_replaced_is_missed(store):
    names = fill(store, 3)
    shutil.rmtree(store.folder / "shards" / names[0])

    with pytest.raises(CacheError, match=f"shard {names[0]} .* is missing"):
        find_shards(store.folder, names)


def test_a_text_that_several_shards_hold_is_kept_once(store):
    add(store, 0, 1)
    fill(store)

    store.compact()

    assert len(store) == 12
    assert_holds(store, [0, 1])


def test_a_reader_goes_on_while_shards_are_put_together(store, tmp_path):
    fill(store)
    reader = FeatureStore(store.folder, tmp_path / "artifacts")
    reader.load()
    keys = row_keys(TEXTS)
    blocks = reader.blocks(keys)
    found = [next(blocks)]

    store.compact()
    found += blocks

    assert [len(rows) for rows, _ in found] == [1, 11]
    pairs = [
        (row, value)
        for rows, values in found
        for row, value in zip(rows.tolist(), values[:, 0].tolist(), strict=True)
    ]
    assert sorted(pairs) == [(i, i) for i in range(12)]
    assert not (tmp_path / "artifacts" / "quarantine").exists()


def test_shards_are_named_by_the_rows_they_hold(store):
    for numbers in ((0, 1), (2,), (3, 4)):
        add(store, *numbers)
    names = {
        tuple(sorted(np.load(path / "tokens.npy").tolist())): path.name
        for path, _ in shards_in(store.folder)
    }

    def shards_of(*numbers):
        return store.shards_of(row_keys(TEXTS[i] for i in numbers))

    assert shards_of(0) == {names[0, 1]}
    assert shards_of(1, 2) == {names[0, 1], names[2,]}
    assert shards_of(4, 9) == {names[3, 4]}
    assert shards_of(9) == set()


def test_shards_of_other_lengths_are_never_read_together(store, tmp_path):
    add(store, 0)
    other = FeatureStore(
        tmp_path / "artifacts" / "features" / "z", tmp_path / "artifacts"
    )
    other.append(
        row_keys([TEXTS[1]]), np.ones((1, 5), np.float32), np.ones(1, dtype=np.int32)
    )
    for shard in (other.folder / "shards").iterdir():
        shutil.copytree(shard, store.folder / "shards" / shard.name)
    store.load()

    with pytest.raises(CacheError, match="dimensions, but others have"):
        list(store.blocks(row_keys(TEXTS[:2])))


def test_a_writer_goes_on_when_its_first_shard_was_put_together_with_others(
    store, tmp_path
):
    fill(store)
    writer = FeatureStore(store.folder, tmp_path / "artifacts")
    writer.load()
    store.compact()

    writer.append(
        row_keys(["new"]), np.ones((1, 2), np.float32), np.ones(1, dtype=np.int32)
    )

    writer.load()
    assert len(writer) == 13


def test_a_text_stored_alone_again_after_it_was_dropped_is_seen(store):
    fill(store)
    store.compact()
    ((large, _),) = shards_in(store.folder)
    store.rewrite([large], lambda keys: keys != row_keys(TEXTS[:1]))
    store.load()

    add(store, 0)

    assert not store.missing(row_keys(TEXTS[:1])).any()
    store.load()
    assert_holds(store, range(12))
    store.compact()
    assert_holds(store, range(12))


def test_a_reader_whose_index_is_old_reads_the_new_shard(store, tmp_path):
    fill(store)
    reader = FeatureStore(store.folder, tmp_path / "artifacts")
    reader.load()

    store.compact()

    assert_holds(reader, range(12))


def test_shards_that_were_replaced_but_not_removed_go_next_time(
    store, tmp_path, monkeypatch
):
    fill(store)
    monkeypatch.setattr(store_module, "discard", lambda *_, **__: None)
    store.compact()
    monkeypatch.undo()
    again = FeatureStore(store.folder, tmp_path / "artifacts")

    assert again.load() == []
    assert len(again) == 12  # each row once
    again.compact()

    assert len(list(shards_in(store.folder))) == 1
    assert_holds(again, range(12))


def test_a_damaged_shard_is_not_put_together_with_others(store, tmp_path):
    names = fill(store)
    flip_last_bit(store.folder / "shards" / names[0] / "features.npy")

    store.compact()

    assert len(list(shards_in(store.folder))) == 12
    fresh = FeatureStore(store.folder, tmp_path / "artifacts")
    fresh.load()
    assert fresh.check(names) == [names[0]]
    assert len(fresh) == 11


def test_rows_are_read_in_the_order_in_which_they_lie(store, monkeypatch):
    monkeypatch.setattr(store_module, "ROWS", 2)
    add(store, 0, 1, 2, 3, 4)
    keys = row_keys(TEXTS[i] for i in (4, 0, 3, 0, 2))

    blocks = [
        (rows.tolist(), values[:, 0].tolist()) for rows, values in store.blocks(keys)
    ]

    assert blocks == [([1, 3], [0, 0]), ([4, 2], [2, 3]), ([0], [4])]


def test_a_list_stays_complete_when_its_shards_are_put_together(
    trained, tiny_encoder, monkeypatch
):
    monkeypatch.setattr(store_module, "MANY", 0)
    monkeypatch.chdir(trained.cwd)
    stage = tasks.ExtractFeatures(dataset="reviews.tsv", encoder=str(tiny_encoder))
    store = FeatureStore(stage.store, trained.artifacts)
    store.load()
    store.append(
        row_keys(["another"]),
        np.zeros((1, 16), dtype=np.float32),
        np.ones(1, dtype=np.int32),
    )
    before = {path.name for path, _ in shards_in(store.folder)}

    store.compact()

    assert before.isdisjoint(path.name for path, _ in shards_in(store.folder))
    assert stage.complete()
    assert len(stage.directories) == 4
    assert trained.train("reviews.tsv", tiny_encoder, "--C", "1").status == 0
    assert trained.ledger()[-1]["status"] == "noop"


def test_a_sample_is_the_same_rows_in_any_order(store):
    add(store, *range(12))
    keys = row_keys(TEXTS)
    order = np.random.default_rng(0).permutation(12)

    one = StoredFeatures([store], keys)
    other = StoredFeatures([store], keys[order])

    assert set(keys[one.sample(5)]) == set(keys[order][other.sample(5)])
    assert len(one.sample(5)) == 5
    assert one.sample(20).tolist() == list(range(12))


def test_a_subset_counts_its_rows_from_zero(store):
    add(store, *range(12))
    part = StoredFeatures([store], row_keys(TEXTS)).subset(np.array([7, 3]))

    assert len(part) == 2
    assert part.take(np.array([1]))[0, 0] == 3
    assert {
        row: value
        for rows, values in part.blocks()
        for row, value in zip(rows.tolist(), values[:, 0].tolist(), strict=True)
    } == {0: 7.0, 1: 3.0}


def write_table(folder, blocks):
    with TableWriter(folder) as writer:
        line = 1
        for texts in blocks:
            lines = list(range(line, line + len(texts)))
            writer.write("train", Rows(texts, ["a"] * len(texts), lines))
            line += len(texts)
    return StoredTexts(folder)


def test_stored_texts_come_block_by_block_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.table.ROWS", 2)
    texts = write_table(tmp_path, [["a", "b", "c"], ["d"]])

    assert len(texts) == 4
    assert list(texts.blocks()) == [(0, ["a", "b"]), (2, ["c"]), (3, ["d"])]


def test_stored_texts_skip_blocks_of_which_nothing_is_wanted(tmp_path):
    texts = write_table(tmp_path, [["a", "b"], ["c", "d"], ["e"]])
    wanted = np.array([False, False, False, True, False])

    assert list(texts.blocks(wanted)) == [(2, ["c", "d"])]


def test_stored_texts_know_their_lines_and_odd_characters(tmp_path):
    texts = write_table(tmp_path, [["a", "b"], ["half \ud83d", "d"]])

    assert [block for _, block in texts.blocks()] == [["a", "b"], ["half \ud83d", "d"]]
    assert [texts.name(row) for row in range(4)] == [
        f"train line {i}" for i in (1, 2, 3, 4)
    ]


def test_an_extraction_in_windows_equals_one_in_one_go(store, tmp_path, monkeypatch):
    from pipeline.encoder import batching
    from pipeline.testing import WordLengthEncoder

    texts = [f"{'a' * (i % 7 + 1)} {'b' * (i % 3)}{i}" for i in range(50)] * 2
    whole = extract(store, texts, WordLengthEncoder(batch_size=8))
    expected = store.features(whole.keys)
    monkeypatch.setattr(batching, "WINDOW", 7)
    other = FeatureStore(
        tmp_path / "artifacts" / "features" / "y", tmp_path / "artifacts"
    )
    seen: list[Progress] = []
    encoder = WordLengthEncoder(batch_size=3)

    done = extract(other, texts, encoder, on_progress=seen.append)

    assert np.array_equal(other.features(done.keys), expected)
    assert sorted(encoder.seen) == sorted(set(texts))
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_subset_has_the_token_counts_and_keys_of_its_rows(store):
    add(store, *range(12))
    keys = row_keys(TEXTS)

    part = StoredFeatures([store], keys).subset(np.array([7, 3]))

    assert part.n_tokens().tolist() == [7, 3]
    assert part.keys.tolist() == [keys[7], keys[3]]

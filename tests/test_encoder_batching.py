"""How texts are put into windows and batches, how large a batch is, and what is done ahead."""

import threading
from contextlib import closing

import numpy as np
import pytest

from pipeline import load_encoder
from pipeline.encoder import batching
from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import (
    batches_by_length,
    cpu_batch_tokens,
    largest_cache_bytes,
    windows,
)
from pipeline.errors import EncoderError


@pytest.mark.parametrize(
    ("width", "cache", "tokens"),
    [
        (3072, 36 * 2**20, 512),
        (1536, 36 * 2**20, 1024),
        (3072, 2**20, 512),
        (64, 2**30, 4096),
        (10**9, 1, 512),
    ],
)
def test_a_batch_fits_the_cache_of_the_machine(width, cache, tokens):
    assert cpu_batch_tokens(width, cache) == tokens


def test_the_largest_cache_counts(tmp_path, monkeypatch):
    for index, size in enumerate(("48K", "2048K", "36608K")):
        (tmp_path / f"index{index}").mkdir()
        (tmp_path / f"index{index}" / "size").write_text(size + "\n")
    monkeypatch.setattr(batching, "CACHES", tmp_path)

    assert largest_cache_bytes() == 36608 * 1024


@pytest.mark.parametrize("size", [None, "", "big"])
def test_a_machine_that_does_not_tell_its_cache(tmp_path, monkeypatch, size):
    if size is not None:
        (tmp_path / "index0").mkdir()
        (tmp_path / "index0" / "size").write_text(size)
    monkeypatch.setattr(batching, "CACHES", tmp_path)

    assert largest_cache_bytes() == 32 * 2**20


def test_what_is_asked_for_is_the_budget(tiny_encoder, monkeypatch):
    monkeypatch.setattr("pipeline.encoder.frozen.largest_cache_bytes", lambda: 2**19)

    assert load_encoder(str(tiny_encoder), batch_tokens=7).batch_tokens == 7
    assert load_encoder(str(tiny_encoder), device="cpu").batch_tokens == 1024


@pytest.mark.parametrize(("lengths", "budget", "sizes"), [
    ([60] + [10] * 9, 640, [1, 9]),
    ([60] * 5 + [10] * 5, 640, [5, 5]),
    ([60] * 9 + [10], 640, [10]),
    ([20, 19, 18, 17], 80, [4]),
    ([9, 1, 1], 8, [1, 2]),
])  # fmt: skip
def test_a_batch_ends_early_where_that_saves_an_eighth_of_the_budget(
    lengths, budget, sizes
):
    batches = batches_by_length(lengths, budget)

    assert [len(rows) for rows in batches] == sizes


def test_windows_hold_at_most_so_many_texts_and_characters(monkeypatch):
    monkeypatch.setattr(batching, "WINDOW", 3)
    monkeypatch.setattr(batching, "WINDOW_CHARS", 6)

    assert list(windows("a" * n for n in (1, 1, 1, 1, 5, 9, 1))) == [
        ["a", "a", "a"],
        ["a", "aaaaa"],
        ["a" * 9],
        ["a"],
    ]
    assert list(windows([])) == []


def threads():
    return [t.name for t in threading.enumerate() if t.name.startswith("one-ahead")]


def double(i):
    return 2 * i


def test_items_come_in_order_and_the_thread_ends():
    assert list(one_ahead(double, range(100))) == list(range(0, 200, 2))
    assert list(one_ahead(double, [])) == []
    assert threads() == []


def test_one_item_needs_no_thread():
    with closing(one_ahead(lambda _: threading.current_thread(), [0])) as ahead:
        assert next(ahead) is threading.main_thread()
        assert threads() == []


def test_never_more_than_one_item_is_made_ahead():
    made: list[int] = []

    for i, _ in enumerate(one_ahead(made.append, range(20))):
        assert len(made) <= i + 2


def test_the_next_item_is_made_while_this_one_is_used():
    is_made = {0: threading.Event(), 1: threading.Event()}

    with closing(one_ahead(lambda i: is_made[i].set(), [0, 1])) as ahead:
        next(ahead)
        assert is_made[1].wait(10)


class Odd(BaseException):
    pass


@pytest.mark.parametrize("kind", [ValueError, Odd])
def test_an_error_comes_where_the_item_would(kind):
    def make(i):
        if i == 2:
            raise kind("no third")
        return i

    ahead = one_ahead(make, range(4))

    assert [next(ahead), next(ahead)] == [0, 1]
    with pytest.raises(kind, match="no third"):
        next(ahead)
    assert threads() == []


def test_closing_waits_for_the_item_under_way_and_ends_the_thread():
    is_asked, may_end = threading.Event(), threading.Event()
    ended = []

    def make(i):
        if i == 1:
            is_asked.set()
            may_end.wait(10)
        ended.append(i)

    ahead = one_ahead(make, range(3))
    next(ahead)
    assert is_asked.wait(10)
    threading.Timer(0.05, may_end.set).start()
    ahead.close()

    assert ended == [0, 1]
    assert threads() == []


def test_windows_change_nothing(tiny_encoder, monkeypatch):
    encoder = load_encoder(str(tiny_encoder), pooling="mean")
    texts = ["the film", "good", "the story is not very good", "", "bad", "the", "is"]
    expected = encoder.encode(texts)
    monkeypatch.setattr(batching, "WINDOW", 2)

    np.testing.assert_allclose(encoder.encode(texts), expected, atol=1e-6)
    assert threads() == []


def test_encode_names_the_rows_of_all_texts(tiny_encoder, monkeypatch):
    encoder = load_encoder(str(tiny_encoder))
    monkeypatch.setattr(batching, "WINDOW", 2)
    forward = encoder._forward
    monkeypatch.setattr(
        encoder,
        "_forward",
        lambda tokens, rows: (
            forward(tokens, rows) * (np.nan if len(rows) == 1 else 1.0)
        ),
    )

    with pytest.raises(EncoderError, match=r"1 of 1 vectors .*\(texts: 2\)"):
        encoder.encode(["good", "bad", "the film"])
    assert threads() == []


def test_a_batch_says_how_many_tokens_were_computed(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder), max_length=6)
    tokens = encoder.tokenize(["the film is very good but the story is not", "good"])

    (batch,) = encoder.encode_tokens(tokens)

    assert tokens.lengths.tolist() == [6, 3]
    assert batch.n_padded == 12

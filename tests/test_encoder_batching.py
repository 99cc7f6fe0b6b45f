"""How texts are put into windows and batches, how large a batch is, and what is done ahead."""

import threading
from contextlib import closing

import numpy as np
import pytest

from pipeline import load_encoder
from pipeline.encoder import batching
from pipeline.encoder.ahead import one_ahead
from pipeline.encoder.batching import TokenBudget, batches_by_length, windows
from pipeline.errors import EncoderError

SIZES = (512, 1024, 2048, 4096)


def drive(budget, token_s, n_batches=200, fill=1.0):
    """Let batches be encoded at so many seconds a token, a function of size and turn; return their sizes."""
    given = []
    for turn in range(n_batches):
        tokens = budget()
        given.append(tokens)
        n_padded = int(tokens * fill)
        budget.note(n_padded, n_padded * token_s(tokens, turn))
    return given


def search():
    return TokenBudget(1024, (512, 2048, 4096))


@pytest.mark.parametrize("best", SIZES)
def test_the_fastest_budget_is_found_and_kept(best):
    budget = search()

    given = drive(budget, lambda tokens, _: 1.0 if tokens == best else 1.1)

    assert set(given) == set(SIZES)
    assert set(given[100:]) == {best}
    assert set(drive(budget, lambda *_: 1.0)) == {best}


def test_a_small_job_is_no_place_to_search():
    given = drive(search(), lambda *_: 1.0, TokenBudget.WARM_TOKENS // 1024)

    assert set(given) == {1024}


def test_candidates_take_turns_up_and_down():
    given = drive(search(), lambda *_: 1.0)[TokenBudget.WARM_TOKENS // 1024 :]

    assert given[:10] == [*SIZES, *reversed(SIZES), 512, 1024]


def test_a_budget_that_is_hardly_better_is_not_taken():
    given = drive(search(), lambda tokens, _: 1 - tokens / 1e6)

    assert given[-1] == 1024


@pytest.mark.parametrize("slope", [0.05, -0.02])
def test_texts_that_get_shorter_favour_no_budget(slope):
    """A batch costs more, or less, the later it comes."""
    given = drive(search(), lambda _, turn: 2 + slope * (turn - 32))

    assert given[-1] == 1024


@pytest.mark.parametrize("begin", range(32, 56, 3))
def test_a_slow_moment_of_the_machine_decides_nothing(begin):
    """Eight batches in a row take nine times as long."""

    def token_s(tokens, turn):
        pace = 1.0 if tokens == 2048 else 1.2
        return pace * (9 if begin <= turn < begin + 8 else 1)

    assert drive(search(), token_s)[-1] == 2048


def test_batches_that_are_not_half_full_say_nothing():
    budget = search()

    given = drive(budget, lambda *_: 1.0, 400, fill=0.4)

    assert set(given[-8:]) == set(SIZES)


def test_a_budget_without_others_stays():
    assert set(drive(TokenBudget(7), lambda tokens, turn: turn, 10_000)) == {7}


def test_what_is_asked_for_is_the_budget_and_auto_searches(tiny_encoder):
    fixed = load_encoder(str(tiny_encoder), batch_tokens=7).budget
    auto = load_encoder(str(tiny_encoder), device="cpu").budget

    assert set(drive(fixed, lambda *_: 1.0)) == {7}
    assert set(drive(auto, lambda *_: 1.0)) == set(SIZES)


def test_an_encoder_keeps_the_budget_it_found(tiny_encoder, monkeypatch):
    monkeypatch.setattr(TokenBudget, "WARM_TOKENS", 0)
    encoder = load_encoder(str(tiny_encoder), device="cpu")
    budget = encoder.budget
    note, noted = budget.note, []

    def note_faster(n_padded, _):
        """Let large batches be the best."""
        noted.append(n_padded)
        note(n_padded, n_padded * (1 if n_padded > 2048 else 2))

    monkeypatch.setattr(budget, "note", note_faster)

    encoder.encode(["the film is very good"] * 8000)
    first = len(noted)
    encoder.encode(["the film is very good"] * 3000)

    width = 7  # five words, [CLS] and [SEP]
    assert min(noted[:first]) == 512 // width * width
    assert noted[-1] < noted[first] == 4096 // width * width


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
    batches = batches_by_length(lengths, lambda: budget)

    assert [len(rows) for rows in batches] == sizes


def test_a_batch_is_as_large_as_the_budget_of_its_turn():
    budgets = iter([8, 2, 4])

    batches = batches_by_length([2] * 7, lambda: next(budgets))

    assert [len(rows) for rows in batches] == [4, 1, 2]


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
        lambda ids: forward(ids) * (np.nan if len(ids) == 1 else 1.0),
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

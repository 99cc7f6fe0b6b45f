import tracemalloc

import numpy as np
import pytest

from pipeline.evaluation.metrics import RowScores
from pipeline.evaluation.resampling import Clusters, wilson
from pipeline.evaluation.slices import (
    MAX_VALUES,
    Slice,
    column_slices,
    cut_slices,
    length_slices,
    measure_slices,
    overlap_slices,
    rare_word_slices,
)
from pipeline.splitting import overlap_kinds


def members(slices):
    return {one.name: np.flatnonzero(one.rows).tolist() for one in slices}


def scores(right):
    return RowScores("accuracy", "accuracy", np.asarray(right))


def measured(rows, right, clusters=None):
    right = np.asarray(right, dtype=bool)
    slices = [Slice("a group", "in", rows), Slice("a group", "out", ~rows)]
    return measure_slices(
        slices, scores(right), clusters or Clusters.of_rows(len(right))
    )


def test_length_slices_are_quartiles():
    found = length_slices(np.array([9, 3, 5, 7, 4, 8, 6, 10], dtype=np.int32))

    assert members(found) == {
        "up to 4 tokens": [1, 4],
        "5 to 6 tokens": [2, 6],
        "7 to 8 tokens": [3, 5],
        "more than 8 tokens": [0, 7],
    }


def test_length_slices_of_texts_of_one_length_are_one():
    found = members(length_slices(np.full(5, 7, dtype=np.int32)))

    assert found == {"up to 7 tokens": [0, 1, 2, 3, 4], "more than 7 tokens": []}


def test_cut_slices_part_texts_longer_than_what_is_kept():
    found = cut_slices(np.array([7, 8, 9], dtype=np.int32), 8)

    assert members(found) == {"whole": [0, 1], "cut at 8 tokens": [2]}


def test_overlap_slices_part_texts_that_stand_in_training_texts():
    training = ["A film of rare charm", "never dull"]
    texts = ["of rare charm", "Never  dull", "new", "it is a film of rare charm indeed"]

    kinds = overlap_kinds(training, texts)

    assert kinds == ["contained", "identical", "none", "containing"]
    assert members(overlap_slices(kinds)) == {
        "contained in or identical with a training text": [0, 1],
        "not in a training text": [2, 3],
    }


def test_rare_word_slices_count_words_that_no_training_text_has():
    texts = ["A good film", "good quirky film scene", "quirky scene film", "!?", "好片"]
    training = ["a GOOD scene", "the film 好"]

    assert members(rare_word_slices(texts, training)) == {
        "none": [0, 3],
        "some": [1],
        "a third or more": [2, 4],  # one of three, and one of two characters
    }


def test_a_slice_has_the_accuracy_of_its_rows_and_the_difference_to_the_others():
    rows = np.arange(100) < 40
    right = [*[True] * 20, *[False] * 20, *[True] * 54, *[False] * 6]

    found, rest = measured(rows, right)

    assert found["n"] == found["accuracy"]["n"] == 40
    assert found["accuracy"]["value"] == 0.5
    assert tuple(found["accuracy"]["ci95"]) == pytest.approx(wilson(0.5, 40))
    assert found["difference"]["value"] == pytest.approx(-0.4)
    assert rest["difference"]["value"] == pytest.approx(0.4)
    assert (found["is_weak"], rest["is_weak"]) == (True, False)


def test_the_interval_of_a_difference_is_newcombes():
    # The first example of Newcombe (1998), table II: 56 of 70 and 48 of 80.
    rows = np.arange(150) < 70
    right = [*[True] * 56, *[False] * 14, *[True] * 48, *[False] * 32]

    found, _ = measured(rows, right)

    assert found["difference"]["ci95"] == pytest.approx([0.0524, 0.3339], abs=1e-4)


def test_a_few_lucky_rows_make_the_others_no_weak_slice():
    rows = np.arange(1_000) < 4
    right = np.arange(1_000) < 800

    found, rest = measured(rows, right)

    assert found["accuracy"]["value"] == 1.0
    assert not rest["is_weak"]


def test_slices_of_nothing_and_of_everything_are_left_out():
    assert measured(np.ones(20, dtype=bool), np.ones(20, dtype=bool)) == []


def test_slices_of_clustered_rows_have_wider_intervals():
    generator = np.random.default_rng(0)
    right = np.repeat(generator.random(60) < 0.7, 5)
    rows = np.repeat(np.arange(60) < 30, 5)

    (alone, _), (together, _) = (
        measured(rows, right),
        measured(rows, right, Clusters(np.repeat(np.arange(60), 5), 60)),
    )

    def width(found):
        low, high = found["accuracy"]["ci95"]
        return high - low

    assert width(together) > 1.5 * width(alone)


def test_column_slices_are_the_values_most_frequent_first():
    values = ["web"] * 12 + ["mail"] * 10 + [None] * 2 + ["fax"] * 9

    found = column_slices("source", values)

    assert {name: len(rows) for name, rows in members(found).items()} == {
        "“web”": 12,
        "“mail”": 10,
        "any other value": 9,
        "empty": 2,
    }
    assert {one.group for one in found} == {"column source"}


def test_column_slices_of_many_values_put_the_rare_ones_together():
    values = [f"value {i:02}" for i in range(30) for _ in range(10 + (i < 3))]

    found = column_slices("source", values)

    assert [one.name for one in found[:3]] == ["“value 00”", "“value 01”", "“value 02”"]
    assert len(found) == MAX_VALUES + 2
    assert found[-2].name == "any of 18 other values"
    assert np.sum([one.rows for one in found], axis=0).tolist() == [1] * len(values)


def test_column_slices_of_many_numbers_are_quartiles():
    values = [None, *(str(i) for i in range(1, 41))]

    found = members(column_slices("year", values))

    assert {name: len(rows) for name, rows in found.items()} == {
        "up to 10": 10,
        "above 10, up to 20": 10,
        "above 20, up to 30": 10,
        "above 30": 10,
        "empty": 1,
    }


@pytest.mark.parametrize("odd", ["nan", "inf", "1e3x"])
def test_column_slices_of_what_is_no_finite_number_are_values(odd):
    found = column_slices("year", [odd, *map(str, range(40))])

    assert members(found)["any of 41 other values"] == list(range(41))


def test_column_slices_tell_values_from_names_and_nulls():
    values = ["empty"] * 10 + [None] * 10 + ["a"] * 10 + ["a\0"] * 10

    found = column_slices("source", values)

    assert [(one.name, int(one.rows.sum())) for one in found] == [
        ("“a”", 10),
        ("“a\0”", 10),
        ("“empty”", 10),
        ("any of 0 other values", 0),
        ("empty", 10),
    ]


def test_one_long_value_takes_no_room_for_every_row():
    values = ["a", "b"] * 440 + ["x" * 1_000_000]
    tracemalloc.start()

    column_slices("source", values)

    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


def test_one_family_of_texts_is_no_weak_slice():
    rows = np.arange(60) < 12
    right = np.ones(60, dtype=bool)
    right[:4] = False
    of = np.where(rows, 0, np.arange(60))
    clusters = Clusters(np.unique(of, return_inverse=True)[1], 49)

    found, _ = measured(rows, right, clusters)

    assert not found["is_weak"]
    low, high = found["accuracy"]["ci95"]
    assert high - low > 0.5


def test_a_slice_of_few_families_is_not_called_weak_whatever_their_rows():
    rows = np.arange(80) < 20
    of = np.where(rows, np.arange(80) // 4, np.arange(80))
    numbers, of = np.unique(of, return_inverse=True)

    found, _ = measured(rows, ~rows, Clusters(of, len(numbers)))
    alone, _ = measured(rows, ~rows)

    assert not found["is_weak"]  # five texts, however often
    assert alone["is_weak"]

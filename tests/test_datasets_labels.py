"""What a row's label is: one class, several labels, or a number; found from the data, and what is refused."""

import logging

import numpy as np
import pandas as pd
import pytest

from pipeline.config import DatasetSpec
from pipeline.datasets.labels import separator_of, task_of
from pipeline.datasets.targets import label_matrix, targets_of
from pipeline.errors import DataError
from tests.tables import make, opened, typed

FLAGS = "id\ttweet\tjoy\tfear\n1\ta\t1\t0\n2\tb\t0\t1\n3\tc\t1\t1\n4\td\t0\t0\n"
MEASURES = "".join(f"text {i}\t{i / 8}\n" for i in range(24))


@pytest.mark.parametrize(
    ("cells", "is_text", "task"),
    [
        (["pos", "neg"], True, "classification"),
        (["1", "2", "3"], True, "classification"),
        ([1, 2, 3], False, "classification"),
        (["0.0", "0.5", "1.0"], True, "classification"),  # few: may be classes
        ([f"{i}.5" for i in range(11)], True, "regression"),
        ([f"{i}.5" for i in range(11)] + ["none"], True, "classification"),
        ([f"{i}.0" for i in range(11)], True, "classification"),
        ([0.5, 1.0], False, "regression"),
        ([0.0, 1.0, float("nan")], False, "classification"),
        ([[], ["a"]], False, "multilabel"),
        (["a|b", "a"], True, "classification"),
        ([True, False], False, "classification"),
        ([], True, "classification"),
    ],
)
def test_the_first_cells_tell_the_kind_of_label(cells, is_text, task):
    assert task_of(cells, is_text=is_text) == task


@pytest.mark.parametrize(
    ("cells", "found"),
    [(["a", "a,b"], ","), (["a,b;c", "d"], ";"), (["x|y;z"], "|"), (["a b"], "")],
)
def test_the_separator_of_labels_is_the_first_known_one(cells, found):
    assert separator_of(cells) == found


def test_columns_of_zeros_and_ones_are_labels():
    table, ledger = make(train=opened(FLAGS))

    assert ledger["task"] == "multilabel"
    assert ledger["label_names"] == ["joy", "fear"]
    assert ledger["label_column"] == "joy,fear"
    assert ledger["splits"]["train"]["ignored_columns"] == ["id"]
    assert table.labels.tolist() == [("joy",), ("fear",), ("joy", "fear"), ()]
    assert ledger["texts"]["train_labels"] == {"fear": 2, "joy": 2}
    assert ledger["texts"]["train_sets"] == {"mean_labels": 1.0, "without": 1}


def test_a_single_column_of_zeros_and_ones_is_no_guess_at_labels():
    with pytest.raises(DataError, match="holds the label"):
        make(train=opened("id\ttweet\tjoy\n11\ta\t1\n12\tb\t0\n"))


def test_a_label_column_of_a_known_name_wins_over_zeros_and_ones():
    table, ledger = make(train=opened("text\tlabel\tx\ty\na\tp\t0\t1\nb\tq\t1\t0\n"))

    assert ledger["task"] == "classification"
    assert table.labels.tolist() == ["p", "q"]


@pytest.mark.parametrize("wanted", ["joy,fear", "3,4", " joy , fear "])
def test_label_columns_can_be_named(wanted):
    spec = DatasetSpec(label_column=wanted)

    table, ledger = make(spec, train=opened(FLAGS))

    assert ledger["label_names"] == ["joy", "fear"]
    assert table.labels.tolist()[2] == ("joy", "fear")


def test_several_label_columns_are_no_class():
    spec = DatasetSpec(label_column="joy,fear", task="classification")

    with pytest.raises(DataError, match="takes one label column, got 'joy', 'fear'"):
        make(spec, train=opened(FLAGS))


def test_a_flag_that_is_neither_zero_nor_one_is_refused_with_its_line():
    rows = FLAGS + "5\te\t2\t0\n"

    with pytest.raises(DataError, match=r"label such as '2', expected 0 or 1: lines 6"):
        make(DatasetSpec(label_column="joy,fear"), train=opened(rows))


def test_typed_flags_may_be_numbers_or_truth_values():
    raw = typed(
        ["a", "b", "c"], [True, False, True], other=[0, 1, 1], third=[1.0, 0.0, 1.0]
    )

    table, _ = make(DatasetSpec(label_column="label,other,third"), train=raw)

    assert table.labels.tolist() == [
        ("label", "third"),
        ("other",),
        ("label", "other", "third"),
    ]


def test_lists_are_labels_and_sorted():
    raw = typed(["a", "b", "c"], [["y", "x"], [], ["y", "y"]])

    table, ledger = make(train=raw)

    assert ledger["label_names"] == ["x", "y"]
    assert table.labels.tolist() == [("x", "y"), (), ("y",)]


def test_lists_of_whole_numbers_become_names():
    table, _ = make(train=typed(["a", "b"], [[1, 2], [2]]))

    assert table.labels.tolist() == [("1", "2"), ("2",)]


def test_rows_of_equally_many_labels_stay_rows():
    """numpy would make a matrix of them."""
    table, _ = make(train=typed(["a", "b"], [["x", "y"], ["y", "z"]]))

    assert table.labels.shape == (2,)
    assert table.labels.tolist() == [("x", "y"), ("y", "z")]


def test_texts_with_separators_are_labels_where_it_is_asked_for():
    rows = "text\tlabel\na\tx|y\nb\t\nc\ty| x |\nd\tz\n"

    table, ledger = make(DatasetSpec(task="multilabel"), train=opened(rows))

    assert ledger["label_separator"] == "|"
    assert table.labels.tolist() == [("x", "y"), (), ("x", "y"), ("z",)]


def test_without_a_separator_each_text_is_one_label():
    rows = "text\tlabel\na\tx y\nb\tz\nc\t\n"

    table, ledger = make(DatasetSpec(task="multilabel"), train=opened(rows))

    assert "label_separator" not in ledger
    assert table.labels.tolist() == [("x y",), ("z",), ()]


@pytest.mark.parametrize("bad", [[["x"], {"a": 1}], [["x"], [None]], [["x"], [""]]])
def test_what_is_no_list_of_names_is_refused(bad):
    with pytest.raises(
        DataError, match="expected a list of texts or whole numbers: lines 2"
    ):
        make(train=typed(["a", "b"], bad))


def test_labels_that_all_rows_have_are_told_and_kept(caplog):
    with caplog.at_level(logging.WARNING):
        _, ledger = make(train=typed(["a", "b"], [["x", "y"], ["x"]]))

    assert ledger["label_names"] == ["x", "y"]
    assert "cannot be learnt: 'x'" in caplog.text


@pytest.mark.parametrize("labels", [[["x", "y"], ["x", "y"]], [[], []]])
def test_labels_that_never_vary_are_refused(labels):
    with pytest.raises(DataError, match="there is nothing to learn"):
        make(train=typed(["a", "b"], labels))


def test_ids_as_labels_are_refused():
    labels = [[f"id{i}"] for i in range(30)]

    with pytest.raises(DataError, match="ids rather than labels"):
        make(train=typed([f"t{i}" for i in range(30)], labels))


def test_labels_that_train_lacks_are_refused_in_other_splits():
    train = typed(["a", "b"], [["x"], ["y"]])

    with pytest.raises(
        DataError, match=r"dev rows that no training row has: 'z' \(1\)"
    ):
        make(train=train, dev=typed(["c"], [["z"]]))


def test_fractions_are_numbers():
    table, ledger = make(train=opened(MEASURES))

    assert ledger["task"] == "regression"
    assert table.labels.dtype == np.float64
    assert table.labels[:3].tolist() == [0.0, 0.125, 0.25]
    assert ledger["texts"]["train_values"] == {
        "n": 24,
        "min": 0.0,
        "quartiles": [0.71875, 1.4375, 2.15625],
        "mean": 1.4375,
        "max": 2.875,
    }
    assert ledger["texts"]["conflicting"] == 0


def test_whole_numbers_are_numbers_where_it_is_asked_for():
    table, _ = make(DatasetSpec(task="regression"), train=typed(["a", "b"], [1, 5]))

    assert table.labels.tolist() == [1.0, 5.0]


def test_numbers_are_classes_where_it_is_asked_for():
    table, _ = make(
        DatasetSpec(task="classification"),
        train=opened("a\t0.5\nb\t1.5\nc\t0.5\nd\t1.5\n"),
    )

    assert table.labels.tolist() == ["0.5", "1.5", "0.5", "1.5"]


@pytest.mark.parametrize("cell", ["high", "1_000", "inf", "nan", "１"])
def test_what_is_no_plain_finite_number_is_refused_with_its_line(cell):
    rows = MEASURES + f"last\t{cell}\n"

    with pytest.raises(DataError, match=r"expected a number up to 1e\+100: lines 25"):
        make(DatasetSpec(task="regression"), train=opened(rows))


def test_a_missing_number_is_refused_with_its_line():
    frame = pd.Series([0.5, None, 1.5])

    with pytest.raises(DataError, match="have no label: lines 2"):
        make(train=typed(["a", "b", "c"], frame))


def test_one_value_for_all_is_refused():
    with pytest.raises(DataError, match=r"All 2 training rows have the value 0\.5"):
        make(train=typed(["a", "b"], [0.5, 0.5]))


def test_a_test_file_without_the_label_columns_is_not_scored():
    test = opened("id\ttweet\n9\tz\n")

    table, ledger = make(train=opened(FLAGS), test=test)

    assert ledger["splits"]["test"]["unlabelled"]
    assert len(table.texts) == 4


def test_hidden_flags_are_no_labels():
    test = opened("id\ttweet\tjoy\tfear\n9\tz\t-1\t-1\n")

    _, ledger = make(train=opened(FLAGS), test=test)

    assert ledger["splits"]["test"]["unlabelled"]


def test_sets_become_a_matrix_in_the_order_of_the_names():
    labels = np.empty(3, dtype=object)
    labels[:] = [("b", "a"), (), ("unknown", "a")]

    matrix = label_matrix(labels, ["a", "b"])

    assert matrix.tolist() == [[True, True], [False, False], [True, False]]


@pytest.mark.parametrize(
    ("labels", "task", "classes", "targets"),
    [
        (np.array(["x", "z"], dtype=object), "classification", ["x", "y"], [0, -1]),
        (np.array([5, 3]), "classification", [3, 5], [1, 0]),
        (np.array([0.5, 2.0]), "regression", [], [0.5, 2.0]),
    ],
)
def test_targets_are_numbers(labels, task, classes, targets):
    assert targets_of(labels, task, classes).tolist() == targets


@pytest.mark.parametrize(
    "cells", [["['a', 'b']", "['a']", "[]"], ['["a", "b"]', '["a"]', "[]"]]
)
@pytest.mark.parametrize("task", ["auto", "multilabel"])
def test_lists_written_as_texts_are_lists(cells, task):
    """So pandas writes them."""
    table, ledger = make(DatasetSpec(task=task), train=typed(["x", "y", "z"], cells))

    assert ledger["label_names"] == ["a", "b"]
    assert table.labels.tolist() == [("a", "b"), ("a",), ()]


def test_a_separator_that_the_first_rows_lack_is_refused():
    rows = "".join(f"t{i}\t{'ab'[i % 2]}\n" for i in range(1_200)) + "last\ta|b\n"

    with pytest.raises(
        DataError,
        match=r"such as 'a\|b', expected lists, or one label a row, .*: lines 1201",
    ):
        make(DatasetSpec(task="multilabel"), train=opened(rows, header="no"))


def test_a_test_file_that_lacks_one_of_the_label_columns_is_refused():
    test = opened("id\ttweet\tjoy\tFear\n9\tz\t1\t0\n")

    with pytest.raises(DataError, match="has no column 'fear'"):
        make(train=opened(FLAGS), test=test)


def test_a_missing_flag_is_refused_with_its_line_wherever_it_stands():
    rows = FLAGS.replace("1\ta\t1\t0", "1\ta\t1\t")

    with pytest.raises(DataError, match="have no label: lines 2"):
        make(train=opened(rows))


def test_a_label_column_named_twice_is_refused():
    with pytest.raises(DataError, match="which names a column of"):
        make(DatasetSpec(label_column="joy,joy"), train=opened(FLAGS))


def test_a_single_label_is_refused():
    with pytest.raises(DataError, match="The only label of the training rows is 'x'"):
        make(train=typed(["a", "b"], [["x"], []]))


def test_hidden_numbers_are_no_labels():
    """As the hub's test sets mark them."""
    train = typed(["a", "b"], [0.5, 3.0])

    table, ledger = make(train=train, test=typed(["c", "d"], [-1.0, -1.0]))

    assert ledger["splits"]["test"]["unlabelled"]
    assert len(table.texts) == 2


def test_numbers_that_train_has_lower_ones_of_are_labels():
    train = typed(["a", "b"], [-2.5, 3.0])

    table, _ = make(train=train, test=typed(["c", "d"], [-1.0, -1.0]))

    assert table.labels.tolist() == [-2.5, 3.0, -1.0, -1.0]


def test_some_hidden_numbers_are_refused():
    train = typed(["a", "b"], [0.5, 3.0])

    with pytest.raises(DataError, match="have the label -1"):
        make(train=train, test=typed(["c", "d"], [-1.0, 2.0]))


def test_many_different_sets_of_few_labels_are_no_ids():
    generator = np.random.default_rng(0)
    sets = [
        [f"l{j}" for j in generator.choice(40, 8, replace=False)]
        for _ in range(110_000)
    ]
    texts = [f"text {i}" for i in range(len(sets))]
    texts[-1] = texts[0]

    _, ledger = make(train=typed(texts, sets))

    assert len(ledger["label_names"]) == 40
    assert ledger["texts"]["conflicting"] == 1


def test_a_text_that_slipped_into_the_labels_is_refused_for_several_labels_too():
    rows = "a;x\nb;y\nc;x\nmoved; text;x\n" + "".join(f"t{i};y\n" for i in range(20))

    with pytest.raises(DataError, match="extra fields and a label that no other row"):
        make(
            DatasetSpec(task="multilabel"),
            train=opened(rows, "txt", separator=";", header="no"),
        )


@pytest.mark.parametrize("bad", ["yes", "2", "nan"])
def test_a_flag_that_is_none_is_refused_wherever_it_stands(bad):
    rows = [f"{i}\tt{i}\t{i % 2}\t{i % 3 // 2}" for i in range(40)]
    rows[7] = f"7\tt7\t{bad}\t0"

    with pytest.raises(DataError, match=rf"such as '{bad}', expected 0 or 1: lines 9"):
        make(train=opened("id\ttweet\tjoy\tfear\n" + "\n".join(rows)))


def test_half_a_character_in_one_of_several_labels_is_refused():
    with pytest.raises(DataError, match="holds half a character"):
        make(train=typed(["a", "b"], [["a\ud800"], ["b"]]))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.5, 1e101], r"expected a number up to 1e\+100: lines 2"),
        ([0.0, 1e-300], "differ by 1e-300 at most, expected 1e-100 or more"),
    ],
)
def test_numbers_that_cannot_be_computed_with_are_refused(values, said):
    with pytest.raises(DataError, match=said):
        make(DatasetSpec(task="regression"), train=typed(["a", "b"], values))


def test_many_columns_of_flags_are_no_ids():
    generator = np.random.default_rng(0)
    flags = {f"l{j}": generator.integers(0, 2, 40).tolist() for j in range(30)}
    texts = [f"text {i}" for i in range(40)]
    raw = typed(texts, list(range(40)), **flags)

    _, ledger = make(DatasetSpec(label_column=",".join(flags)), train=raw)

    assert len(ledger["label_names"]) == 30

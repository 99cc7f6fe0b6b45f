from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import DatasetSpec
from pipeline.datasets.readers import read_table, table_of_frame
from pipeline.datasets.table import Table, choose_columns, make_table
from pipeline.errors import DataError


def tsv(table, header="auto"):
    return read_table(
        table.encode(),
        "my.tsv",
        kind="tsv",
        separator="auto",
        header=header,
        named=(),
    )


def typed(texts, labels):
    """Return a raw table as Parquet or the hub gives it."""
    return table_of_frame(pd.DataFrame({"text": texts, "label": labels}), "my.parquet")


def labelled(*pairs):
    """Return a raw table of a TSV with a header and these (label, count) rows, each text another."""
    labels = [label for label, count in pairs for _ in range(count)]
    lines = [f"text {i}\t{label}" for i, label in enumerate(labels)]
    return tsv("text\tlabel\n" + "\n".join(lines))


def make(*, spec=None, **raws):
    return make_table(raws, spec or DatasetSpec())


TRAIN = "text\tlabel\na\tx\nb\ty\n"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("id\tsentence\tlabel", ("sentence", "label")),
        ("target\tid\treview", ("review", "target")),
        ("class\ttitle\ttext", ("text", "class")),
        ("CATEGORY\tContent\tid", ("Content", "CATEGORY")),
    ],
)
def test_choose_columns_by_known_names(header, found):
    raw = tsv(header + "\n1\t2\t3\n")

    assert choose_columns(raw, DatasetSpec()) == found


@pytest.mark.parametrize(
    ("table", "found"),
    [
        ("a fine film\tpos\na dull film\tneg\nso so\tpos\n", ("1", "2")),
        ("pos\ta fine film\nneg\ta dull film\npos\tso so\n", ("2", "1")),
        ("pos\ta fine film\nneg\ta dull film\n", ("2", "1")),
        ("a fine film\t1\na dull film\t0\n", ("1", "2")),
    ],
)
def test_choose_columns_of_exactly_two_in_either_order(table, found):
    raw = tsv(table, header="no")

    assert choose_columns(raw, DatasetSpec()) == found


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("mood\ttext", ("text", "mood")),
        ("label\tphrase", ("phrase", "label")),
        ("phrase\tlabel", ("phrase", "label")),
    ],
)
def test_choose_columns_takes_the_other_of_two(header, found):
    raw = tsv(header + "\nlong words\tlong words\n")

    assert choose_columns(raw, DatasetSpec()) == found


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"text_column": "title"}, ("title", "label")),
        ({"text_column": "1", "label_column": "3"}, ("title", "id")),
        ({"label_column": "id"}, ("text", "id")),
    ],
)
def test_choose_columns_by_option(options, found):
    raw = tsv("title\ttext\tid\tlabel\na\tb\t1\tx\n")

    assert choose_columns(raw, DatasetSpec(**options)) == found


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("id\tphrase\tlabel", "text"),
        ("id\ttext\tmood", "label"),
        ("id\tphrase\tmood", "text"),
    ],
)
def test_choose_columns_lists_the_columns_when_it_is_open(header, wanted):
    raw = tsv(header + "\n1\ta\tx\n", header="yes")

    with pytest.raises(
        DataError,
        match=f"holds the {wanted}\\? Found: {header.replace(chr(9), ', ')}\\. Pass --{wanted}-column",
    ):
        choose_columns(raw, DatasetSpec())


def test_choose_columns_refuses_a_single_column():
    raw = table_of_frame(pd.DataFrame({"text": ["a", "b"]}), "my.parquet")

    with pytest.raises(DataError, match=r"Found: text\. Pass --label-column"):
        choose_columns(raw, DatasetSpec())


def test_choose_columns_refuses_one_column_for_both():
    raw = tsv("text\tlabel\tid\na\tx\t1\n")

    with pytest.raises(
        DataError, match=r"'text' .* cannot be both text and label\. Pass --label-col"
    ):
        choose_columns(raw, DatasetSpec(label_column="text"))


def test_make_table_gives_texts_labels_splits_and_lines_in_order():
    table, _ = make(train=tsv(TRAIN), dev=tsv("text\tlabel\n\nc\ty\n"))

    assert table.texts == ["a", "b", "c"]
    assert table.labels.tolist() == ["x", "y", "y"]
    assert table.splits.tolist() == ["train", "train", "dev"]
    assert table.lines.tolist() == [2, 3, 3]


@pytest.mark.parametrize("text", [" a ", "nan", "NaN", "None", "NA", "null", "\0", "0"])
def test_make_table_takes_a_text_exactly_as_it_stands(text):
    table, _ = make(train=tsv(f"text\tlabel\n{text}\tx\nb\ty\n"))

    assert table.texts == [text, "b"]


EMPTY = "text\tlabel\n\tx\na\tx\n  \ty\nb\ty\n\u00a0\ty\n"


def test_make_table_refuses_empty_texts_and_names_their_lines():
    with pytest.raises(
        DataError,
        match=r"3 empty texts in my\.tsv: lines 2, 4, 6\. Fill them, or pass --empty-text drop \(or keep\)",
    ):
        make(train=tsv(EMPTY))


def test_make_table_drops_empty_texts_on_request():
    table, ledger = make(train=tsv(EMPTY), spec=DatasetSpec(empty_text="drop"))

    assert table.texts == ["a", "b"]
    assert table.lines.tolist() == [3, 5]
    assert ledger["splits"]["train"]["empty_texts"] == 3
    assert ledger["splits"]["train"]["rows_read"] == 5
    assert ledger["splits"]["train"]["rows_used"] == 2


def test_make_table_keeps_empty_texts_on_request():
    table, ledger = make(train=tsv(EMPTY), spec=DatasetSpec(empty_text="keep"))

    assert table.texts == ["", "a", "  ", "b", "\u00a0"]
    assert ledger["splits"]["train"]["empty_texts"] == 3
    assert ledger["splits"]["train"]["rows_used"] == 5


def test_make_table_refuses_a_file_of_which_nothing_is_left():
    with pytest.raises(DataError, match=r"No training rows are left .* Check the file"):
        make(train=tsv("text\tlabel\n\tx\n \ty\n"), spec=DatasetSpec(empty_text="drop"))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_make_table_takes_a_missing_text_for_an_empty_one(missing):
    with pytest.raises(DataError, match=r"1 empty texts .*: lines 2\. Fill them"):
        make(train=typed(["a", missing, "b"], ["x", "x", "y"]))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_make_table_never_writes_a_missing_text_as_a_word(missing):
    raw = typed(["a", missing, "b"], ["x", "x", "y"])

    table, _ = make(train=raw, spec=DatasetSpec(empty_text="keep"))

    assert table.texts == ["a", "", "b"]


@pytest.mark.parametrize(
    ("texts", "kind"),
    [([1, 2], "int"), ([1.5, 2.5], "float"), (["a", 2], "int"), ([b"a", "b"], "bytes")],
)
def test_make_table_refuses_texts_that_are_none(texts, kind):
    with pytest.raises(
        DataError, match=f"'text' .* holds {kind}.* values, expected texts: .*--text-c"
    ):
        make(train=typed(texts, ["x", "y"]))


def test_make_table_refuses_a_missing_label_and_names_the_lines():
    with pytest.raises(
        DataError,
        match=r"2 rows of my\.tsv have no label: lines 3, 5\. Label or remove them",
    ):
        make(train=tsv("text\tlabel\na\tx\nb\t\nc\ty\nd\t \n"))


@pytest.mark.parametrize("labels", [["x", None, "y"], [1, None, 0]])
def test_make_table_refuses_a_missing_typed_label(labels):
    with pytest.raises(DataError, match=r"have no label: lines 2\. Label or remove"):
        make(train=typed(["a", "b", "c"], labels))


@pytest.mark.parametrize("label", ["1", "01", "1.0", "nan", "positive", "été"])
def test_make_table_takes_labels_of_text_files_as_text(label):
    table, _ = make(train=tsv(f"text\tlabel\na\t{label}\nb\tother\n"))

    assert table.labels.tolist() == [label, "other"]


def test_make_table_strips_labels():
    table, _ = make(train=tsv("text\tlabel\na\t x\nb\tx \nc\ty\n"))

    assert table.labels.tolist() == ["x", "x", "y"]


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "Int64", "bool"])
def test_make_table_takes_typed_whole_labels_as_int64(dtype):
    raw = typed(["a", "b"], pd.Series([1, 0], dtype=dtype))

    table, _ = make(train=raw)

    assert table.labels.dtype == np.int64
    assert table.labels.tolist() == [1, 0]


def test_make_table_takes_labels_of_a_category_as_text():
    raw = typed(["a", "b"], pd.Series(["x", "y"], dtype="category"))

    table, _ = make(train=raw)

    assert table.labels.tolist() == ["x", "y"]


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [([0.0, 1.0], "float"), ([0.5, 1.5], "float"), (["x", 1], "int, str")],
)
def test_make_table_refuses_labels_that_are_neither_text_nor_whole(labels, kinds):
    with pytest.raises(
        DataError, match=f"Labels are of type {kinds}, .* Convert the label column"
    ):
        make(train=typed(["a", "b"], labels))


def test_make_table_refuses_labels_of_two_types_in_two_splits():
    with pytest.raises(
        DataError, match=r"of type int, str, .* Convert the label column"
    ):
        make(train=typed(["a", "b"], [0, 1]), dev=tsv("text\tlabel\nc\t1\n"))


def test_make_table_refuses_a_single_class():
    with pytest.raises(
        DataError,
        match=r"All 3 training rows have the label 'x'; .* at least two classes\. Check --label-column, or raise",
    ):
        make(train=labelled(("x", 3)), dev=labelled(("y", 1)))


def test_make_table_takes_the_first_training_rows_only():
    train = labelled(("x", 1), ("y", 1), ("x", 2))
    dev = labelled(("x", 2), ("y", 2))

    table, ledger = make(train=train, dev=dev, spec=DatasetSpec(limit=2))

    assert table.splits.tolist() == ["train"] * 2 + ["dev"] * 4
    assert table.labels.tolist() == ["x", "y", "x", "x", "y", "y"]
    assert ledger["splits"]["train"]["rows_read"] == 4
    assert ledger["splits"]["train"]["rows_used"] == 2


def test_make_table_with_a_limit_beyond_the_end_takes_all():
    table, _ = make(train=labelled(("x", 2), ("y", 2)), spec=DatasetSpec(limit=100))

    assert len(table.texts) == 4


def test_make_table_does_not_look_at_rows_beyond_the_limit():
    raw = tsv("text\tlabel\na\tx\nb\ty\n\ty\nc\t\n")

    table, _ = make(train=raw, spec=DatasetSpec(limit=2))

    assert table.texts == ["a", "b"]


@pytest.mark.parametrize("split", ["dev", "test"])
def test_make_table_leaves_out_a_split_whose_labels_are_all_minus_one(split):
    train = typed(["a", "b"], [0, 1])

    table, ledger = make(train=train, **{split: typed(["c", "d"], [-1, -1])})

    assert table.texts == ["a", "b"]
    assert ledger["splits"][split] == {
        "header": True,
        "rows_read": 2,
        "unlabelled": True,
    }


def test_make_table_leaves_out_minus_one_in_a_text_file():
    table, ledger = make(train=tsv(TRAIN), test=labelled(("-1", 3)))

    assert table.splits.tolist() == ["train", "train"]
    assert ledger["splits"]["test"]["unlabelled"] is True


def test_make_table_leaves_out_a_test_split_without_label_column():
    table, ledger = make(train=tsv(TRAIN), test=tsv("id\ttext\n1\tc\n"))

    assert table.splits.tolist() == ["train", "train"]
    assert ledger["splits"]["test"]["unlabelled"] is True
    assert ledger["splits"]["test"]["rows_read"] == 1


def test_make_table_refuses_a_dev_split_without_label_column():
    with pytest.raises(
        DataError,
        match=r"no column 'label' \(columns: id, text\).* Make the headers eq",
    ):
        make(train=tsv(TRAIN), dev=tsv("id\ttext\n1\tc\n"))


@pytest.mark.parametrize(
    "raw",
    [labelled(("x", 2), ("y", 2), ("-1", 3)), typed(list("abcde"), [0, 1, -1, -1, -1])],
    ids=["text", "typed"],
)
def test_make_table_refuses_minus_one_in_some_training_rows(raw):
    with pytest.raises(
        DataError,
        match=r"3 rows of my\.\w+ have the label -1, .*: lines \d.* Remove them",
    ):
        make(train=raw)


def test_make_table_refuses_minus_one_in_a_few_test_rows():
    test = labelled(("x", 400), ("-1", 1))

    with pytest.raises(DataError, match=r"1 rows of my\.tsv .*: lines 402\. Remove"):
        make(train=tsv(TRAIN), test=test)


def test_make_table_refuses_a_test_split_with_another_text_column():
    with pytest.raises(DataError, match=r"no column 'text' .* Make the headers equal"):
        make(train=tsv(TRAIN), test=tsv("sentence\tlabel\nc\tx\n"))


def test_make_table_refuses_labels_beyond_64_bits():
    labels = np.array([2**63 + 5, 1], dtype=np.uint64)

    with pytest.raises(DataError, match="Write such labels as texts"):
        make(train=typed(["a", "b"], labels))


def test_make_table_refuses_lists_as_texts():
    with pytest.raises(DataError, match=r"holds list values.*--text-column"):
        make(train=typed([["a"], ["b"]], [0, 1]))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_make_table_refuses_unknown_labels_from_one_percent_on(split):
    scored = labelled(("x", 99), ("z", 1))

    with pytest.raises(
        DataError,
        match=rf"Labels of the {split} rows that no training row has: 'z' \(1\)\. Add training rows with them",
    ):
        make(train=tsv(TRAIN), **{split: scored})


@pytest.mark.parametrize("split", ["dev", "test"])
def test_make_table_allows_unknown_labels_below_one_percent(split):
    scored = labelled(("x", 100), ("z", 1))

    table, _ = make(train=tsv(TRAIN), **{split: scored})

    assert len(table.texts) == 103
    assert table.labels[-1] == "z"


def test_make_table_lists_each_unknown_label_with_its_count():
    with pytest.raises(
        DataError, match=r"has: 'v' \(2\), 'z' \(1,000\)\. Add training"
    ):
        make(train=tsv(TRAIN), dev=labelled(("z", 1000), ("x", 1), ("v", 2)))


def test_make_table_counts_repeated_and_conflicting_texts():
    raw = tsv("text\tlabel\na\tx\na\tx\nb\tx\nb\ty\nc\ty\na\tx\n")

    table, ledger = make(train=raw)

    assert len(table.texts) == 6
    assert ledger["texts"] == {
        "rows": 6,
        "distinct": 3,
        "duplicates": 3,
        "conflicting": 1,
        "train_labels": {"x": 4, "y": 2},
    }


def test_make_table_counts_a_text_of_two_splits_as_repeated():
    _, ledger = make(train=tsv(TRAIN), dev=tsv("text\tlabel\na\ty\n"))

    assert ledger["texts"]["duplicates"] == 1
    assert ledger["texts"]["conflicting"] == 1
    assert ledger["texts"]["train_labels"] == {"x": 1, "y": 1}


def test_make_table_tells_unicode_forms_of_a_text_apart():
    _, ledger = make(train=tsv("text\tlabel\n\u00e9\tx\ne\u0301\ty\n"))

    assert ledger["texts"]["distinct"] == 2


def test_make_table_records_columns_and_what_the_reader_found():
    _, ledger = make(train=tsv("text\tlabel\na\tx\tmore\n\nb\ty"))

    assert ledger["text_column"] == "text"
    assert ledger["label_column"] == "label"
    assert ledger["splits"]["train"] == {
        "blank_lines": 1,
        "header": True,
        "extra_fields": 1,
        "rows_read": 2,
        "empty_texts": 0,
        "rows_used": 2,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def save_and_load(folder, texts, labels):
    count = len(texts)
    splits = (["train", "dev", "test"] * count)[:count]
    table = Table(
        texts=texts,
        labels=labels,
        splits=np.array(splits, dtype=object),
        lines=np.arange(count, dtype=np.int64) * 10**12,
    )
    table.save(folder)
    return table, Table.load(folder)


@settings(deadline=timedelta(seconds=5))
@given(rows=st.lists(st.tuples(st.text(), st.text(min_size=1)), min_size=1))
@example([("👩\u200d💻", "x"), ("\u202eשלום עולם", "ي")])
@example(
    [("\0", "\0x"), ("a\0b", "x"), ("\x01\x1b\x7f\x85", "\t"), ("\r\n\u2028", "y")]
)
@example([("", "nan"), ("nan", "None"), ("e\u0301", "NA"), ("\ufeff", "1")])
def test_table_comes_back_as_it_was_saved(folder, rows):
    texts = [text for text, _ in rows]
    labels = np.array([label for _, label in rows], dtype=object)

    table, loaded = save_and_load(folder, texts, labels)

    assert loaded.texts == texts
    assert all(type(text) is str for text in loaded.texts)
    assert loaded.labels.tolist() == table.labels.tolist()
    assert loaded.labels.dtype == object
    assert loaded.splits.tolist() == table.splits.tolist()
    assert loaded.lines.tolist() == table.lines.tolist()
    assert loaded.lines.dtype == np.int64


@settings(deadline=timedelta(seconds=5), max_examples=30)
@given(labels=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_table_keeps_whole_labels_whole(folder, labels):
    _, loaded = save_and_load(
        folder, ["a"] * len(labels), np.array(labels, dtype=np.int64)
    )

    assert loaded.labels.dtype == np.int64
    assert loaded.labels.tolist() == labels


def test_table_made_from_a_file_comes_back_as_it_was_saved(tmp_path):
    table, _ = make(train=tsv("text\tlabel\n\ufeff a\0\rb \tx\n👩\u200d💻\ty\n"))

    table.save(tmp_path)
    loaded = Table.load(tmp_path)

    assert loaded.texts == ["\ufeff a\0\rb ", "👩\u200d💻"]
    assert loaded.labels.tolist() == ["x", "y"]
    assert loaded.splits.tolist() == ["train", "train"]
    assert loaded.lines.tolist() == [2, 3]


def test_make_table_refuses_labels_that_hardly_ever_repeat():
    lines = [f"text {i}\t{i / 7:.3f}" for i in range(30)]

    with pytest.raises(
        DataError, match=r"30 different labels in 30 training rows.*--label-column"
    ):
        make(train=tsv("text\tlabel\n" + "\n".join(lines)))


def test_choose_columns_advises_a_separator_where_there_is_one_column():
    raw = read_table(
        b"text;label\na;x\nb;y\n",
        "my.csv",
        kind="csv",
        separator="auto",
        header="auto",
        named=(),
    )

    with pytest.raises(DataError, match=r"Only one column in my\.csv: .*--separator"):
        choose_columns(raw, DatasetSpec())

import csv
import io
import logging
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config import DatasetSpec
from pipeline.datasets import files, prepare, quoted, text
from pipeline.datasets.prepare import make_table
from pipeline.datasets.table import Table, load_slices
from pipeline.errors import DataError
from tests.tables import labelled, make, opened, packed, typed

TRAIN = "text\tlabel\na\tx\nb\ty\n"


def test_make_table_gives_texts_labels_splits_and_lines_in_order():
    table, _ = make(train=opened(TRAIN), dev=opened("text\tlabel\n\nc\ty\n"))

    assert table.texts == ["a", "b", "c"]
    assert table.labels.tolist() == ["x", "y", "y"]
    assert table.splits.tolist() == ["train", "train", "dev"]
    assert table.lines.tolist() == [2, 3, 3]


@pytest.mark.parametrize("text", [" a ", "nan", "NaN", "None", "NA", "null", "\0", "0"])
def test_make_table_takes_a_text_exactly_as_it_stands(text):
    table, _ = make(train=opened(f"text\tlabel\n{text}\tx\nb\ty\n"))

    assert table.texts == [text, "b"]


EMPTY = "text\tlabel\n\tx\na\tx\n  \ty\nb\ty\n\u00a0\ty\n"


def test_make_table_refuses_empty_texts_and_names_their_lines():
    with pytest.raises(
        DataError,
        match=r"3 empty texts in my\.tsv: lines 2, 4, 6\. Fill them, or pass --empty-text drop \(or keep\)",
    ):
        make(train=opened(EMPTY))


def test_make_table_drops_empty_texts_on_request():
    table, ledger = make(train=opened(EMPTY), spec=DatasetSpec(empty_text="drop"))

    assert table.texts == ["a", "b"]
    assert table.lines.tolist() == [3, 5]
    assert ledger["splits"]["train"]["empty_texts"] == 3
    assert ledger["splits"]["train"]["rows_read"] == 5
    assert ledger["splits"]["train"]["rows_used"] == 2


def test_make_table_keeps_empty_texts_on_request():
    table, ledger = make(train=opened(EMPTY), spec=DatasetSpec(empty_text="keep"))

    assert table.texts == ["", "a", "  ", "b", "\u00a0"]
    assert ledger["splits"]["train"]["empty_texts"] == 3
    assert ledger["splits"]["train"]["rows_used"] == 5


def test_make_table_refuses_a_file_of_which_nothing_is_left():
    with pytest.raises(DataError, match=r"No training rows are left .* Check the file"):
        make(
            train=opened("text\tlabel\n\tx\n \ty\n"),
            spec=DatasetSpec(empty_text="drop"),
        )


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_make_table_takes_a_missing_text_for_an_empty_one(missing):
    with pytest.raises(DataError, match=r"1 empty texts .*: lines 2\. Fill them"):
        make(train=typed(pd.Series(["a", missing, "b"]), ["x", "x", "y"]))


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_make_table_never_writes_a_missing_text_as_a_word(missing):
    raw = typed(pd.Series(["a", missing, "b"]), ["x", "x", "y"])

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
        make(train=opened("text\tlabel\na\tx\nb\t\nc\ty\nd\t \n"))


@pytest.mark.parametrize("labels", [["x", None, "y"], [1, None, 0]])
def test_make_table_refuses_a_missing_typed_label(labels):
    with pytest.raises(DataError, match=r"have no label: lines 2\. Label or remove"):
        make(train=typed(["a", "b", "c"], labels))


@pytest.mark.parametrize("label", ["1", "01", "1.0", "nan", "positive", "été"])
def test_make_table_takes_labels_of_text_files_as_text(label):
    table, _ = make(train=opened(f"text\tlabel\na\t{label}\nb\tother\n"))

    assert table.labels.tolist() == [label, "other"]


def test_make_table_strips_labels():
    table, _ = make(train=opened("text\tlabel\na\t x\nb\tx \nc\ty\n"))

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
        DataError, match=f"Labels are of type {kinds} in .* Convert the label column"
    ):
        make(DatasetSpec(task="classification"), train=typed(["a", "b"], labels))


def test_make_table_refuses_labels_of_two_types_in_two_splits():
    with pytest.raises(
        DataError, match=r"of type int, str in my\.tsv, .* Convert the label column"
    ):
        make(train=typed(["a", "b"], [0, 1]), dev=opened("text\tlabel\nc\t1\n"))


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
    assert ledger["splits"]["train"]["rows_read"] == 2
    assert ledger["splits"]["train"]["rows_used"] == 2


def test_make_table_with_a_limit_beyond_the_end_takes_all():
    table, _ = make(train=labelled(("x", 2), ("y", 2)), spec=DatasetSpec(limit=100))

    assert len(table.texts) == 4


def test_make_table_does_not_look_at_rows_beyond_the_limit():
    raw = opened("text\tlabel\na\tx\nb\ty\n\ty\nc\t\n")

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
    table, ledger = make(train=opened(TRAIN), test=labelled(("-1", 3)))

    assert table.splits.tolist() == ["train", "train"]
    assert ledger["splits"]["test"]["unlabelled"] is True


def test_make_table_leaves_out_a_test_split_without_label_column():
    table, ledger = make(train=opened(TRAIN), test=opened("id\ttext\n1\tc\n"))

    assert table.splits.tolist() == ["train", "train"]
    assert ledger["splits"]["test"]["unlabelled"] is True
    assert ledger["splits"]["test"]["rows_read"] == 1


def test_make_table_refuses_a_dev_split_without_label_column():
    with pytest.raises(
        DataError,
        match=r"no column 'label' \(columns: id, text\).* Make the headers eq",
    ):
        make(train=opened(TRAIN), dev=opened("id\ttext\n1\tc\n"))


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
        make(train=opened(TRAIN), test=test)


def test_make_table_refuses_a_test_split_with_another_text_column():
    with pytest.raises(DataError, match=r"no column 'text' .* Make the headers equal"):
        make(train=opened(TRAIN), test=opened("sentence\tlabel\nc\tx\n"))


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
        make(train=opened(TRAIN), **{split: scored})


@pytest.mark.parametrize("split", ["dev", "test"])
def test_make_table_allows_unknown_labels_below_one_percent(split):
    scored = labelled(("x", 100), ("z", 1))

    table, _ = make(train=opened(TRAIN), **{split: scored})

    assert len(table.texts) == 103
    assert table.labels[-1] == "z"


def test_make_table_lists_each_unknown_label_with_its_count():
    with pytest.raises(
        DataError, match=r"has: 'v' \(2\), 'z' \(1,000\)\. Add training"
    ):
        make(train=opened(TRAIN), dev=labelled(("z", 1000), ("x", 1), ("v", 2)))


def test_make_table_counts_repeated_and_conflicting_texts(caplog):
    raw = opened("text\tlabel\na\tx\na\tx\nb\tx\nb\ty\nc\ty\na\tx\n")

    table, ledger = make(train=raw)

    assert len(table.texts) == 6
    assert ledger["texts"] == {
        "rows": 6,
        "distinct": 3,
        "duplicates": 3,
        "conflicting": 1,
        "conflicts": [
            {
                "rows": [
                    {"split": "train", "line": 4, "label": "x"},
                    {"split": "train", "line": 5, "label": "y"},
                ]
            }
        ],
        "in_train": {},
        "control_characters": {"rows": 0, "first": []},
        "mean_characters": 1.0,
        "longest": [
            {"split": "train", "line": line, "characters": 1} for line in range(2, 7)
        ],
        "train_labels": {"x": 4, "y": 2},
        "labels": {"train": {"x": 4, "y": 2}},
    }
    assert (
        "1 texts have several labels, for example train 4: 'x' and train 5: 'y'"
        in caplog.text
    )


def test_make_table_counts_a_text_of_two_splits_as_repeated():
    _, ledger = make(train=opened(TRAIN), dev=opened("text\tlabel\na\ty\n"))

    assert ledger["texts"]["duplicates"] == 1
    assert ledger["texts"]["conflicting"] == 1
    assert ledger["texts"]["in_train"] == {"dev": 1}
    assert ledger["texts"]["train_labels"] == {"x": 1, "y": 1}


def test_make_table_tells_unicode_forms_of_a_text_apart():
    _, ledger = make(train=opened("text\tlabel\n\u00e9\tx\ne\u0301\ty\n"))

    assert ledger["texts"]["distinct"] == 2


def test_make_table_records_columns_and_what_the_reader_found():
    _, ledger = make(train=opened("id\ttext\tlabel\n1\ta\tx\tmore\n\n2\tb\ty\n3\tc\tx"))

    assert ledger["text_column"] == "text"
    assert ledger["label_column"] == "label"
    assert ledger["splits"]["train"] == {
        "blank_lines": 1,
        "separator": "\t",
        "lines": 5,
        "header": True,
        "extra_fields": 1,
        "rows_read": 3,
        "ignored_columns": ["id"],
        "empty_texts": 0,
        "rows_used": 3,
    }


def test_make_table_refuses_labels_that_hardly_ever_repeat():
    lines = [f"text {i}\tid{i}" for i in range(30)]

    with pytest.raises(
        DataError, match=r"30 different labels in 30 training rows.*--label-column"
    ):
        make(train=opened("text\tlabel\n" + "\n".join(lines)))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_make_table_warns_of_unknown_labels_below_one_percent(split, caplog):
    make(train=opened(TRAIN), **{split: labelled(("x", 100), ("z", 1))})

    assert (
        f"Labels of the {split} rows that no training row has: 'z' (1)" in caplog.text
    )


def test_make_table_refuses_a_training_file_without_labels():
    with pytest.raises(
        DataError, match=r"Every label of my\.tsv is -1, .* Pass a train"
    ):
        make(train=labelled(("-1", 5)))


def test_make_table_refuses_a_label_that_only_the_first_line_has():
    lines = ["words\tmood", *(f"text {i}\tm{i % 2}" for i in range(25))]

    with pytest.raises(
        DataError, match=r"'mood' stands only in the first line of .*Pass --header yes"
    ):
        make(train=opened("\n".join(lines)))
    assert len(make(train=opened("\n".join(lines), header="yes"))[0].texts) == 25


def test_make_table_takes_the_first_line_for_a_row_on_request():
    lines = ["words\tmood", *(f"text {i}\tm{i % 2}" for i in range(25))]
    raw = opened("\n".join(lines), header="no")

    table, _ = make(train=raw, spec=DatasetSpec(header="no"))

    assert len(table.texts) == 26


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_make_table_says_where_it_ignored_extra_fields(caplog, form):
    sep = "," if form == "csv" else "\t"
    rows = ["text,label", "a,x", "b,y,more", "c,x", "d,y"]

    table, _ = make(train=opened("\n".join(rows).replace(",", sep), form))

    assert table.texts == ["a", "b", "c", "d"]
    assert (
        "1 rows have more than 2 fields, what is too much is ignored: lines 3"
        in caplog.text
    )


def test_make_table_refuses_a_label_that_a_separator_in_the_text_moved():
    raw = opened("text,label\na,x\ngood, pos, but not for me,y\nb,y\n", "csv")

    with pytest.raises(
        DataError,
        match=r"1 rows of my\.csv have extra fields and a label that no other row has, such as 'pos' on line 3\. "
        "A separator inside the text moved it: quote the text",
    ):
        make(train=raw)


def test_make_table_knows_the_label_of_a_wide_row_from_train(caplog):
    dev = opened("text\tlabel\nc\tx\tmore\n")

    table, _ = make(train=opened(TRAIN), dev=dev)

    assert table.texts == ["a", "b", "c"]
    assert "1 rows have more than 2 fields" in caplog.text


@pytest.mark.parametrize("n", [30, 1500])
def test_make_table_ignores_empty_extra_fields_however_many(n):
    rows = "".join(f"text {i}\t{'ab'[i % 2]}\t\n" for i in range(n))

    table, ledger = make(train=opened("text\tlabel\n" + rows))

    assert len(table.texts) == ledger["splits"]["train"]["extra_fields"] == n


def test_make_table_finds_a_moved_label_behind_many_wide_rows():
    rows = "".join(f"text {i}\t{'ab'[i % 2]}\tmore\n" for i in range(3000))
    rows += "plain\ta\nplain\tb\ngood\tbut long\ta\n"

    with pytest.raises(DataError, match=r"1 rows .*such as 'but long' on line 3004\."):
        make(train=opened("text\tlabel\n" + rows))


def test_make_table_refuses_rows_that_all_have_more_fields_than_the_header():
    rows = "".join(f"{i}\ttext {i}\t{'ab'[i % 2]}\n" for i in range(30))

    with pytest.raises(DataError, match=r"Every row of .* more fields than the 2 col"):
        make(train=opened("text\tlabel\n" + rows))


LINES = "one line\nanother line"


@pytest.mark.parametrize(
    "rows",
    [
        [("label", "text"), *(("ab"[i % 2], f"{LINES} {i}") for i in range(30))],
        [
            ("text", "label"),
            *((f"review {i}\nfood, 1\nfine", "10"[i % 2]) for i in range(30)),
        ],
        [
            ("id", "text", "label"),
            *((str(i), f"{LINES} {i}", "ab"[i % 2]) for i in range(30)),
        ],
    ],
    ids=["label first", "like rows", "in the middle"],
)
def test_make_table_takes_quoted_texts_of_several_lines(rows):
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)

    table, _ = make(train=opened(stream.getvalue(), "csv"))

    assert len(table.texts) == 30
    assert all("\n" in text for text in table.texts)


@pytest.mark.parametrize(
    "table",
    [
        'text,label\na,x\n"oops,y\nb,x\nend",x\nd,y\n',
        'label,text\nx,a\ny,"oops\nx,b\ny,end"\nx,d\n',
        'id,text,label\n1,a,x\n2,"oops,y\n3,b,x\n4,end",x\n5,d,y\n',
    ],
    ids=["text first", "label first", "in the middle"],
)
def test_make_table_knows_merged_rows_wherever_the_text_stands(table):
    with pytest.raises(DataError, match="A stray quote merged them"):
        make(train=opened(table, "csv"))


def test_make_table_asks_about_a_first_line_of_the_test_rows_that_is_a_header():
    rows = "".join(f"t {i}\t{'ab'[i % 2]}\n" for i in range(200))

    with pytest.raises(DataError, match=r"'sentiment' stands only in the first line"):
        make(train=opened(rows), test=opened("comment\tsentiment\n" + rows))


def test_make_table_refuses_files_of_which_some_have_a_header():
    rows = "".join(f"t {i}\t{'ab'[i % 2]}\n" for i in range(9))

    with pytest.raises(
        DataError, match=r"seems to have a header, .* Pass --header yes"
    ):
        make(train=opened(rows), dev=opened("text\tlabel\n" + rows))


def test_make_table_keeps_the_white_space_of_typed_labels():
    table, ledger = make(train=typed(["a", "b", "c"], ["x", "x ", "x"]))

    assert table.labels.tolist() == ["x", "x ", "x"]
    assert "labels_trimmed" not in ledger["splits"]["train"]


def test_make_table_counts_the_labels_it_trims():
    _, ledger = make(train=opened("text\tlabel\na\tx\nb\tx \nc\t y\n"))

    assert ledger["splits"]["train"]["labels_trimmed"] == 2


STRAY = 'text,label\na,x\n"oops,y\nb,x\nc,y\nend",x\nd,y\n'


def test_make_table_refuses_rows_that_a_stray_quote_swallowed():
    with pytest.raises(
        DataError,
        match=r"my\.csv:3 has a quoted text that holds whole rows\. A stray quote "
        r"merged them: double it, name the file \.tsv",
    ):
        make(train=opened(STRAY, "csv"))


def test_make_table_refuses_a_swallowed_row_of_which_train_knows_the_label():
    dev = 'text,label\n"oops,y\nend",x\n'

    with pytest.raises(DataError, match="A stray quote merged them"):
        make(train=opened(TRAIN), dev=opened(dev, "csv"))


@pytest.mark.parametrize(
    "quoted",
    [
        "a poem\nof three\nlines",
        "dear all,\nyes, I do\nregards, me",
        "\na\n\n",
        "a\n,\nb",
    ],
)
def test_make_table_is_silent_about_ordinary_line_breaks(caplog, quoted):
    table, _ = make(train=opened(f'text,label\n"{quoted}",x\nb,y\n', "csv"))

    assert table.texts == [quoted, "b"]
    assert caplog.text == ""


def test_make_table_refuses_a_short_row_within_the_limit():
    raw = opened("text\tlabel\na\tx\nshort\nb\ty\nc\tx\nd\ty\n")

    with pytest.raises(
        DataError, match=r"1 rows .* fewer than 2 fields: lines 3\. Mend them"
    ):
        make(train=raw, spec=DatasetSpec(limit=2))


def test_make_table_does_not_look_at_the_width_of_rows_beyond_the_limit(caplog):
    raw = opened("text\tlabel\na\tx\nb\ty\nshort\nc\tx\tmore\n")

    table, _ = make(train=raw, spec=DatasetSpec(limit=2))

    assert table.texts == ["a", "b"]
    assert caplog.text == ""


def test_make_table_warns_of_extra_fields_within_the_limit(caplog):
    raw = opened("text\tlabel\na\tx\tmore\nb\tx\nc\ty\nd\tx\n")

    table, _ = make(train=raw, spec=DatasetSpec(limit=3))

    assert table.texts == ["a", "b", "c"]
    assert "1 rows have more than 2 fields" in caplog.text


def test_make_table_limits_training_rows_across_batches(monkeypatch):
    monkeypatch.setattr(text, "CHUNK_ROWS", 3)
    monkeypatch.setattr(quoted, "CHUNK_ROWS", 3)
    train = labelled(("x", 4), ("y", 10))

    table, ledger = make(train=train, dev=labelled(("x", 9)), spec=DatasetSpec(limit=7))

    assert table.splits.tolist() == ["train"] * 7 + ["dev"] * 9
    assert ledger["splits"]["train"]["rows_read"] == 7
    assert ledger["splits"]["dev"]["rows_read"] == 9


def test_make_table_puts_the_splits_in_order():
    test, dev = (opened(f"text\tlabel\n{name}\tx\n") for name in ("test", "dev"))

    table, ledger = make(test=test, dev=dev, train=opened(TRAIN))

    assert table.texts == ["a", "b", "dev", "test"]
    assert list(ledger["splits"]) == ["train", "dev", "test"]


def test_make_table_tells_how_far_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "CHUNK_ROWS", 2)
    monkeypatch.setattr(quoted, "CHUNK_ROWS", 2)
    told: list[int] = []
    raws = {"train": labelled(("x", 3), ("y", 2)), "dev": labelled(("x", 1))}

    make_table(raws, DatasetSpec(), tmp_path, told.append)

    assert told == [1, 3, 5, 6]  # two lines at a time, one of them the header


def test_make_table_leaves_only_the_rows_in_the_folder(tmp_path):
    make_table({"train": opened(TRAIN)}, DatasetSpec(), tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_make_table_closes_the_tables():
    closed = []
    raws = {"train": opened(TRAIN), "dev": opened(TRAIN)}
    raws["test"] = opened("id\ttext\n1\tc\n")  # without labels
    for split, raw in raws.items():
        raw.close = lambda split=split: closed.append(split)  # type: ignore[misc]

    make(**raws)

    assert closed == ["train", "dev", "test"]


def test_make_table_refuses_a_wrong_digest_even_under_a_limit():
    raw = opened(TRAIN + "c\tx\n" * 10)

    def close():
        raise DataError("changed")

    raw.close = close

    with pytest.raises(DataError, match="changed"):
        make(train=raw, spec=DatasetSpec(limit=2))


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize(
    "labels", [["x", "y", "x"], [1, 0, 1], [-(2**63), 2**63 - 1, 0]]
)
def test_make_table_gives_the_same_on_the_quick_and_the_careful_way(plain, labels):
    """One empty text, to be dropped, sends its batch the careful way."""
    texts = ["a", "b", "c"] if plain else ["a", "b", "c", " "]

    table, _ = make(
        train=typed(texts, [*labels, labels[0]][: len(texts)]),
        spec=DatasetSpec(empty_text="drop"),
    )

    assert table.texts == ["a", "b", "c"]
    assert table.labels.tolist() == labels


@settings(max_examples=150, deadline=timedelta(seconds=5))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a", "b", "", " ", "\u3000", "c\r"]),
            st.sampled_from(["x", "y", " x", "", "-1", "z"]),
            st.sampled_from(["", "", "", "\tmore"]),
        ),
        min_size=1,
        max_size=12,
    ),
    policy=st.sampled_from(["drop", "keep", "error"]),
    chunk=st.integers(1, 4),
    size=st.integers(3, 40),
)
def test_make_table_gives_the_same_for_any_batches(rows, policy, chunk, size):
    data = "text\tlabel\n" + "".join(f"{a}\t{b}{c}\n" for a, b, c in rows)
    spec = DatasetSpec(empty_text=policy)

    def outcome():
        try:
            table, ledger = make(train=opened(packed(data), "tsv.gz"), spec=spec)
        except DataError as error:
            return str(error)
        return table.texts, table.labels.tolist(), table.lines.tolist(), ledger

    whole = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", size)
        patch.setattr(text, "CHUNK_ROWS", chunk)
        patch.setattr(quoted, "CHUNK_ROWS", chunk)
        assert outcome() == whole


def test_make_table_shows_the_examples_of_many_labels(monkeypatch):
    monkeypatch.setattr(prepare, "MANY_ROWS", 4)

    with pytest.raises(
        DataError, match=r"3 different labels in 4 .*'x', 'y', 'z': an id"
    ):
        make(train=labelled(("x", 1), ("y", 1), ("z", 2)))


def test_make_table_warns_once_only_per_file(caplog):
    caplog.set_level(logging.WARNING)

    make(train=opened("text\tlabel\n" + "a\tx\tmore\nb\ty\n" * 30 + "c\tx\n" * 9))

    assert (
        len(
            [r for r in caplog.records if "extra" in r.message or "fields" in r.message]
        )
        == 1
    )


PIECES = [
    *(
        "text",
        "label",
        "a",
        "b c",
        "x",
        "y",
        "-1",
        "1",
        "2",
        "0.5",
        " ",
        "\u2028",
        "\0",
    ),
    *("\t", "\t", ",", ",", ";", "|", "\n", "\n", "\n", "\r\n", "\r", '"', '""', "::"),
]


@settings(max_examples=400, deadline=timedelta(seconds=5))
@given(
    data=st.lists(st.sampled_from(PIECES), max_size=60).map("".join),
    form=st.sampled_from(["tsv", "csv", "txt"]),
    options=st.fixed_dictionaries(
        {},
        optional={
            "header": st.sampled_from(["yes", "no"]),
            "limit": st.integers(1, 4),
            "empty_text": st.sampled_from(["drop", "keep"]),
            "text_column": st.sampled_from(["1", "text"]),
            "label_column": st.sampled_from(["2", "label"]),
        },
    ),
    chunk=st.integers(1, 4),
)
def test_make_table_of_any_text_gives_a_table_or_a_data_error(
    data, form, options, chunk
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "CHUNK_ROWS", chunk)
        patch.setattr(quoted, "CHUNK_ROWS", chunk)
        try:
            raw = opened(data, form, **options)
            table, ledger = make(train=raw, spec=DatasetSpec(**options))
        except DataError:
            return

    notes = ledger["splits"]["train"]
    assert len(table.texts) == notes["rows_used"] <= notes["rows_read"]
    assert len(set(table.labels.tolist())) >= 2
    if not options.get("limit"):
        # every line is a row, blank, the header, or inside a quoted field
        n_rows = notes["rows_read"] + notes["blank_lines"] + notes["header"]
        assert n_rows <= notes["lines"]
        assert form == "csv" or n_rows == notes["lines"]


def slices_of(tmp_path, **raws):
    spec = DatasetSpec(slice_column="source", empty_text="drop")
    ledger = make_table(raws, spec, tmp_path)
    n = len(Table.load(tmp_path).texts)
    return ledger, load_slices(tmp_path, np.arange(n))


def test_make_table_keeps_the_column_to_slice_by_with_its_row(tmp_path):
    train = "text\tlabel\tsource\na\tx\tweb\n\tx\tgone\nb\ty\t\nc\ty\t mail \n"
    dev = "text\tsource\tlabel\nd\tfax\tx\n"

    ledger, found = slices_of(tmp_path, train=opened(train), dev=opened(dev))

    assert found == ["web", None, "mail", "fax"]
    assert ledger["slice_column"] == "source"
    assert "ignored_columns" not in ledger["splits"]["train"]


def test_make_table_writes_typed_cells_to_slice_by_as_texts(tmp_path):
    cells = [1, None, float("nan"), True, "half \udc00"]

    _, found = slices_of(
        tmp_path, train=typed(list("abcde"), list("xyxyx"), source=cells)
    )

    assert found == ["1", None, None, "True", "half \ufffd"]


def test_a_test_file_without_labels_needs_no_column_to_slice_by(tmp_path):
    train = "text\tlabel\tsource\na\tx\tweb\nb\ty\tmail\n"

    ledger, _ = slices_of(
        tmp_path, train=opened(train), test=opened("text\tid\nc\t7\n")
    )

    assert ledger["splits"]["test"]["unlabelled"]


def test_a_labelled_file_without_the_column_to_slice_by_is_refused(tmp_path):
    train = "text\tlabel\tsource\na\tx\tweb\nb\ty\tmail\n"

    with pytest.raises(DataError, match=r"has no column 'source'"):
        slices_of(tmp_path, train=opened(train), dev=opened("text\tlabel\nc\tx\n"))


def test_a_table_without_a_column_to_slice_by_has_no_slices(tmp_path):
    ledger = make_table({"train": opened(TRAIN)}, DatasetSpec(), tmp_path)

    assert load_slices(tmp_path, np.arange(2)) is None
    assert "slice_column" not in ledger

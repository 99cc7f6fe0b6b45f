import csv
import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.datasets.readers import (
    LABEL_NAMES,
    TEXT_NAMES,
    find_column,
    read_table,
    table_of_frame,
)
from pipeline.datasets.sources import file_format
from pipeline.errors import DataError, listed

NO_ROWS = [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"]


def read(data, kind="tsv", *, separator="auto", header="auto", named=()):
    if isinstance(data, str):
        data = data.encode()
    return read_table(
        data, "my.file", kind=kind, separator=separator, header=header, named=named
    )


def rows(data, kind="tsv", **options):
    """Return the fields below a header line that is there."""
    return read(data, kind, header="yes", **options).frame.to_numpy().tolist()


def parquet(frame):
    stream = io.BytesIO()
    frame.to_parquet(stream, index=False)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.tsv", "tsv"),
        ("a.CSV", "csv"),
        ("a.b.txt", "txt"),
        ("tsv.parquet", "parquet"),
    ],
)
def test_file_format_goes_by_the_ending(name, kind):
    assert file_format(Path(name)) == kind


@pytest.mark.parametrize("name", ["a.xlsx", "a", "tsv", "a.tsv.gz"])
def test_file_format_refuses_another_ending(name):
    with pytest.raises(
        DataError,
        match=r"expected one of: \.tsv, \.csv, \.txt, \.parquet\. Convert it; a sheet",
    ):
        file_format(Path(name))


def test_read_table_keeps_quotes_in_tsv():
    table = 'text\tlabel\n"a" b\tx\n"c"\ty\n""\tx\n'

    assert rows(table) == [['"a" b', "x"], ['"c"', "y"], ['""', "x"]]


def test_read_table_does_not_merge_rows_at_an_unbalanced_quote():
    table = 'text\tlabel\n"a\tx\nb\ty\nc"\tx\nd\ty\n'

    assert rows(table) == [['"a', "x"], ["b", "y"], ['c"', "x"], ["d", "y"]]


@pytest.mark.parametrize("kind", ["tsv", "csv", "txt"])
def test_read_table_reads_crlf_as_lf(kind):
    sep = "," if kind == "csv" else "\t"
    table = f"text{sep}label\na{sep}x\nb{sep}y\n"

    assert rows(table.replace("\n", "\r\n"), kind) == [["a", "x"], ["b", "y"]]
    assert rows(table, kind) == [["a", "x"], ["b", "y"]]


def test_read_table_takes_one_carriage_return_only_for_the_line_end():
    assert rows("label\ttext\r\nx\ta\r\r\ny\tb\r\n") == [["x", "a\r"], ["y", "b"]]


@pytest.mark.parametrize("kind", ["tsv", "csv", "txt"])
def test_read_table_needs_no_final_newline(kind):
    sep = "," if kind == "csv" else "\t"

    assert rows(f"text{sep}label\na{sep}x", kind) == [["a", "x"]]


@pytest.mark.parametrize(
    "text",
    ["a\rb", "\ra", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb", "a\x1cb"],
)
def test_read_table_splits_tsv_lines_at_line_feeds_only(text):
    assert rows(f"text\tlabel\n{text}\tx\nb\ty\n") == [[text, "x"], ["b", "y"]]


@pytest.mark.parametrize("text", ["a\u2028b", "a\x85b", "a\x0bb", "a\x0cb"])
def test_read_table_splits_csv_rows_at_line_breaks_only(text):
    assert rows(f"text,label\n{text},x\nb,y\n", "csv") == [[text, "x"], ["b", "y"]]


@pytest.mark.parametrize("kind", ["tsv", "csv"])
@pytest.mark.parametrize("text", ["\0", "a\0b", "\x01\x02", "\x1b[31m", "\x7f"])
def test_read_table_keeps_nul_and_control_characters(kind, text):
    sep = "," if kind == "csv" else "\t"

    assert rows(f"text{sep}label\n{text}{sep}x\n", kind) == [[text, "x"]]


@pytest.mark.parametrize("text", ["  a ", "nan", "NA", "None", "null", "1e3", "007"])
def test_read_table_takes_no_text_for_anything_else(text):
    assert rows(f"text\tlabel\n{text}\tx\n") == [[text, "x"]]


def test_read_table_does_not_normalise_unicode():
    table = "text\tlabel\n\u00e9\tx\ne\u0301\tx\n"

    assert rows(table) == [["\u00e9", "x"], ["e\u0301", "x"]]


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_read_table_strips_a_byte_order_mark(kind):
    sep = "," if kind == "csv" else "\t"
    table = read(b"\xef\xbb\xbf" + f"text{sep}label\na{sep}x\n".encode(), kind)

    assert list(table.frame.columns) == ["text", "label"]


def test_read_table_keeps_a_byte_order_mark_inside_a_text():
    assert rows("text\tlabel\n\ufeffa\tx\n") == [["\ufeffa", "x"]]


def test_read_table_names_offset_and_fix_of_a_latin_1_file():
    data = "text\tlabel\ncafé\tx\n".encode("latin-1")

    with pytest.raises(
        DataError,
        match=r"my\.file is not UTF-8: byte 0xe9 at offset 14\. .*iconv -f latin1 -t utf-8",
    ):
        read(data)


def test_read_table_refuses_utf_16():
    with pytest.raises(DataError, match=r"byte 0xff at offset 0\. Convert it"):
        read("text\tlabel\na\tx\n".encode("utf-16"))


@pytest.mark.parametrize("kind", ["tsv", "csv", "txt"])
@pytest.mark.parametrize("data", NO_ROWS)
def test_read_table_refuses_a_file_without_rows(kind, data):
    with pytest.raises(
        DataError, match=r"No (rows in|tab in the first line of) my\.file.* Pass "
    ):
        read(data, kind)


def test_read_table_names_the_lines_of_short_rows():
    with pytest.raises(
        DataError,
        match=r"2 rows of my\.file have fewer than 2 fields: lines 3, 5\. Mend them, or pass the right --sep",
    ):
        read("text\tlabel\na\tx\nb\nc\ty\nd\n")


def test_read_table_counts_blank_lines_into_the_line_numbers():
    with pytest.raises(DataError, match=r"1 rows of .*: lines 5\. Mend them"):
        read("text\tlabel\n\na\tx\n\nb\n")


def test_read_table_names_the_first_ten_short_rows_only():
    table = "text\tlabel\n" + "a\n" * 12

    with pytest.raises(
        DataError, match=r"12 rows .*: lines 2, 3, .*, 10, 11 and 2 more\. Mend them"
    ):
        read(table)


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_read_table_ignores_and_counts_extra_fields(kind):
    sep = "," if kind == "csv" else "\t"
    lines = [("text", "label"), ("a", "x", "more"), ("b", "y"), ("c", "x", "", "")]
    table = read("\n".join(map(sep.join, lines)), kind)

    assert table.frame.to_numpy().tolist() == [["a", "x"], ["b", "y"], ["c", "x"]]
    assert table.notes["extra_fields"] == 2


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_read_table_skips_and_counts_blank_lines(kind):
    sep = "," if kind == "csv" else "\t"
    table = read(f"text{sep}label\n\na{sep}x\n\n\nb{sep}y", kind)

    assert table.frame.to_numpy().tolist() == [["a", "x"], ["b", "y"]]
    assert table.lines.tolist() == [3, 6]
    assert table.notes["blank_lines"] == 3


def test_read_table_reads_breaks_and_separators_in_quoted_csv_fields():
    table = 'text,label\n"a,\nb",x\n"c\r\nd",y\n"e\rf",x\n'

    assert rows(table, "csv") == [["a,\nb", "x"], ["c\r\nd", "y"], ["e\rf", "x"]]


def test_read_table_reads_escaped_quotes_in_csv():
    table = 'text,label\n"say ""hi""",x\n"""",y\n'

    assert rows(table, "csv") == [['say "hi"', "x"], ['"', "y"]]


def test_read_table_numbers_csv_rows_by_their_first_line():
    table = read('text,label\n"a\nb\nc",x\nd,y\n"e\nf",x\ng,y\n', "csv")

    assert table.lines.tolist() == [2, 5, 6, 8]


def test_read_table_names_the_row_of_an_unclosed_csv_quote():
    with pytest.raises(
        DataError,
        match=r"my\.file, row that begins on line 3: .* Close the quotes, or name the file \.tsv",
    ):
        read('text,label\na,x\n"b,y\nc,x\n', "csv")


def test_read_table_refuses_characters_behind_a_csv_quote():
    with pytest.raises(DataError, match=r"begins on line 2: .* Close the quotes"):
        read('text,label\n"a"b,x\n', "csv")


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_read_table_reads_a_field_over_128_kb(kind):
    """Python's csv refuses one by default."""
    sep = "," if kind == "csv" else "\t"
    text = "long " * 40_000

    assert rows(f"text{sep}label\n{text}{sep}x\n", kind) == [[text, "x"]]


def test_read_table_takes_one_character_as_csv_separator():
    assert rows('text;label\n"a;b";x\n', "csv", separator=";") == [["a;b", "x"]]


def test_read_table_refuses_a_long_csv_separator():
    with pytest.raises(
        DataError, match=r"one character, got '\|\|'\. Name the file \.txt"
    ):
        read("a||x\n", "csv", separator="||")


def test_read_table_takes_a_separator_of_several_characters_in_txt():
    table = "text ||| label\na, \tb ||| x\nc || d ||| y\n"

    assert rows(table, "txt", separator=" ||| ") == [["a, \tb", "x"], ["c || d", "y"]]


@pytest.mark.parametrize("kind", ["tsv", "txt"])
def test_read_table_asks_for_the_separator_of_lines_without_tab(kind):
    with pytest.raises(
        DataError, match=r"No tab in the first line of .*: 'a,b'\. Pass --separator"
    ):
        read("a,b\nc\td\n", kind)


@pytest.mark.parametrize("name", [*TEXT_NAMES, *LABEL_NAMES, " Text ", "LABEL"])
def test_read_table_knows_a_header_by_a_known_name(name):
    table = read(f"something\t{name}\na\tx\nb\ty\n")

    assert list(table.frame.columns) == ["something", name.strip()]
    assert table.notes["header"] is True


def test_read_table_knows_a_header_by_a_wanted_name():
    table = read("Phrase\tmood\na\tx\nb\ty\n", named=("phrase",))

    assert list(table.frame.columns) == ["Phrase", "mood"]


def test_read_table_knows_a_header_above_numeric_labels():
    table = read("phrase\tmood\na\t1\nb\t0\nc\t1\n")

    assert list(table.frame.columns) == ["phrase", "mood"]
    assert table.lines.tolist() == [2, 3, 4]


@pytest.mark.parametrize(
    "table",
    ["good film\t1\n1984\t0\n", "great\tpos\nnan\tneg\ninfinity\tpos\nnan\tneg\n"],
    ids=["too few numbers to tell", "words that float() reads"],
)
def test_read_table_takes_no_row_for_a_header_by_accident(table):
    assert len(read(table).frame) == table.count("\n")


def test_read_table_keeps_a_row_of_empty_fields_for_the_empty_text_policy():
    table = read("text\tlabel\na\tx\n\t\nb\ty\n")

    assert table.lines.tolist() == [2, 3, 4]
    assert table.notes["blank_lines"] == 0


def test_read_table_keeps_a_lone_carriage_return_in_unquoted_csv():
    table = read(b"label,text\r\n1,hello\rworld\r\n", "csv")

    assert table.frame["text"].tolist() == ["hello\rworld"]


def test_read_table_refuses_a_line_break_as_csv_separator():
    with pytest.raises(DataError, match=r"Name the file \.txt"):
        read("a,b\n", "csv", separator="\n")


@pytest.mark.parametrize(
    "table", ["a\t1\nb\t0\nc\t1\n", "a\tx\nb\ty\n", "a\t1\n", "1\ta\n0\tb\n"]
)
def test_read_table_takes_the_first_line_as_a_row_otherwise(table):
    raw = read(table)

    assert list(raw.frame.columns) == ["1", "2"]
    assert raw.lines.tolist() == list(range(1, table.count("\n") + 1))
    assert raw.notes["header"] is False


def test_read_table_header_yes_takes_any_first_line_as_names():
    table = read("a\tx\nb\ty\n", header="yes")

    assert list(table.frame.columns) == ["a", "x"]
    assert table.frame.to_numpy().tolist() == [["b", "y"]]


def test_read_table_header_no_takes_known_names_as_a_row():
    table = read("text\tlabel\nb\ty\n", header="no")

    assert list(table.frame.columns) == ["1", "2"]
    assert table.frame.to_numpy().tolist() == [["text", "label"], ["b", "y"]]


@pytest.mark.parametrize("kind", ["tsv", "csv"])
def test_read_table_refuses_a_name_that_stands_twice_in_the_header(kind):
    sep = "," if kind == "csv" else "\t"

    with pytest.raises(
        DataError, match=r"Column 'text' stands more than once .*\. Rename one"
    ):
        read(f"text{sep}text {sep}label\na{sep}b{sep}x\n", kind)


@pytest.mark.parametrize("header", ["auto", "yes"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
def test_read_table_refuses_a_header_without_rows(header, end):
    with pytest.raises(
        DataError, match=r"only a header line\. Add rows, or pass --header no"
    ):
        read("text\tlabel" + end, header=header)


def test_read_table_keeps_the_types_of_parquet():
    table = read(
        parquet(pd.DataFrame({"text": ["a", "b"], "label": [1, 0]})), "parquet"
    )

    assert table.frame["label"].dtype == np.int64
    assert table.frame.to_numpy().tolist() == [["a", 1], ["b", 0]]
    assert table.lines.tolist() == [1, 2]


def test_read_table_keeps_texts_of_parquet_as_they_are():
    texts = ['"a"\tb\nc', "\r", "nan", "", "\0"]

    table = read(parquet(pd.DataFrame({"text": texts, "label": "x"})), "parquet")

    assert table.frame["text"].tolist() == texts


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"text\tlabel\na\tx\n",
        lambda data: data[:4] + bytes(len(data) - 8) + data[-4:],
    ],
    ids=["truncated", "halved", "empty", "tsv", "zeroed"],
)
def test_read_table_refuses_damaged_parquet(damage):
    data = parquet(pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}))

    with pytest.raises(
        DataError, match=r"(?s)my\.file cannot be read as Parquet: .*Write it again"
    ):
        read(damage(data), "parquet")


def test_read_table_refuses_parquet_without_rows():
    with pytest.raises(DataError, match=r"No rows in my\.file"):
        read(parquet(pd.DataFrame({"text": [], "label": []})), "parquet")


def test_table_of_frame_numbers_rows_from_one_and_names_columns_by_text():
    frame = pd.DataFrame({0: ["a", "b"], 1: ["x", "y"]}, index=[7, 7])

    table = table_of_frame(frame, "me/tiny:train")

    assert list(table.frame.columns) == ["0", "1"]
    assert table.frame.index.tolist() == [0, 1]
    assert table.lines.tolist() == [1, 2]


@pytest.fixture
def raw():
    return read("Id\tSentence\tlabel\tsentence2\n1\ta\tx\tb\n")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("auto", "Sentence"),
        ("Sentence", "Sentence"),
        ("sentence2", "sentence2"),
        ("1", "Id"),
        ("4", "sentence2"),
    ],
)
def test_find_column_by_known_name_name_and_number(raw, wanted, found):
    assert find_column(raw, wanted, TEXT_NAMES, "text-column") == found


def test_find_column_takes_the_first_known_name():
    raw = read("title\treview\tlabel\na\tb\tx\n")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") == "review"


def test_find_column_takes_the_first_column_of_a_name():
    raw = read("TEXT\ttext\tlabel\na\tb\tx\n")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") == "TEXT"


def test_find_column_by_number_in_a_file_without_header():
    raw = read("a\tx\nb\ty\n")

    assert find_column(raw, "2", LABEL_NAMES, "label-column") == "2"


def test_find_column_leaves_it_open_when_no_name_is_known():
    raw = read("phrase\tmood\na\tx\n", header="yes")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") is None


def test_find_column_suggests_the_nearest_name(raw):
    with pytest.raises(
        DataError,
        match=r"Column 'Sentense' not found in my\.file \(columns: Id, Sentence, label, sentence2\)\. "
        r"Did you mean 'Sentence'\? Pass --text-column NAME",
    ):
        find_column(raw, "Sentense", TEXT_NAMES, "text-column")


@pytest.mark.parametrize("wanted", ["0", "5", "-1", "xyz", ""])
def test_find_column_suggests_nothing_when_nothing_is_near(raw, wanted):
    with pytest.raises(
        DataError, match=r"label, sentence2\)\. Pass --label-column NAME"
    ):
        find_column(raw, wanted, LABEL_NAMES, "label-column")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([3], "3"),
        ([1, 2, 3, 4, 5], "1, 2, 3, 4, 5"),
        ([1, 2, 3, 4, 5, 6], "1, 2, 3, 4, 5 and 1 more"),
    ],
)
def test_listed_shows_the_first_five_numbers(numbers, text):
    assert listed(numbers) == text


PIECES = [
    *(b"\t", b",", b"\n", b"\r\n", b"\r", b'"', b'""', b" ", b"\0", b"text", b"label"),
    *(b"a", b"1", b"nan", b"\xff", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80"),
]
ANY_BYTES = st.binary(max_size=300) | st.lists(
    st.sampled_from(PIECES), max_size=60
).map(b"".join)


@settings(max_examples=400, deadline=timedelta(seconds=5))
@given(
    data=ANY_BYTES,
    kind=st.sampled_from(["tsv", "csv", "txt"]),
    separator=st.sampled_from(["auto", "\t", ",", ";", " "]),
    header=st.sampled_from(["auto", "yes", "no"]),
    named=st.sampled_from([(), ("a", "label")]),
)
@example(b'"' * 300, "csv", "auto", "auto", ())
@example(b"\t" * 300 + b"\n" + b"\t" * 299 + b"a", "tsv", "auto", "auto", ())
def test_read_table_of_any_bytes_gives_a_table_or_a_data_error(
    data, kind, separator, header, named
):
    try:
        table = read(data, kind, separator=separator, header=header, named=named)
    except DataError:
        return

    assert (
        1
        <= len(table.frame)
        == len(table.lines)
        <= data.count(b"\n") + 1 + (data.count(b"\r") if kind == "csv" else 0)
    )
    assert (np.diff(table.lines) > 0).all()


@settings(max_examples=100, deadline=timedelta(seconds=5))
@given(data=st.binary(max_size=300), cut=st.integers(0, 10_000))
def test_read_table_of_any_bytes_as_parquet_gives_a_data_error(data, cut):
    whole = parquet(pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}))

    damaged = whole[: cut % len(whole)] + data
    assume(damaged != whole)

    with pytest.raises(DataError, match="Write it again"):
        read(damaged, "parquet")


LINES = st.text().filter(lambda text: not {"\t", "\n"} & set(text))


@settings(deadline=timedelta(seconds=5))
@given(texts=st.lists(LINES, min_size=1), end=st.sampled_from(["\n", "\r\n"]))
@example(
    ["\r", "\u2028", '"', "\ufeff", "\x1a", "👩\u200d💻", "\u202eשלום", "\0"], "\n"
)
def test_read_table_gives_back_any_texts_written_as_tsv(texts, end):
    table = end.join(["text\tlabel", *(f"{text}\tx" for text in texts)])

    assert rows(table) == [[text, "x"] for text in texts]


@settings(deadline=timedelta(seconds=5))
@given(texts=st.lists(st.text(), min_size=1), end=st.sampled_from(["\n", "\r\n"]))
@example(["a\nb", "\r", '"', '",\n"', "\ufeff", "👩\u200d💻", "\u202eשלום", "\0"], "\n")
def test_read_table_gives_back_any_texts_written_as_csv(texts, end):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *((text, "x") for text in texts)])

    assert rows(stream.getvalue(), "csv") == [[text, "x"] for text in texts]


def test_read_table_says_where_it_ignored_extra_fields(caplog):
    read("text,label\na,x\ngood, pos, but not for me,neg\nb,y\n", "csv")

    assert (
        "1 rows have more than 2 fields, what is too much is ignored: lines 3"
        in caplog.text
    )


def test_read_table_warns_of_a_stray_quote_that_swallowed_rows(caplog):
    table = read('text,label\na,x\n"oops,y\nb,x\nc,y\nend",x\n', "csv")

    assert len(table.frame) == 2
    assert "the row on line 3 holds 2 lines that look like rows" in caplog.text


def test_read_table_is_silent_about_ordinary_quoted_line_breaks(caplog):
    read('text,label\n"a poem\nof three\nlines",x\nb,y\n', "csv")

    assert caplog.text == ""


def test_read_table_advises_utf_16_for_its_byte_order_mark():
    with pytest.raises(DataError, match="iconv -f utf-16"):
        read("text\tlabel\na\tx\n".encode("utf-16"))

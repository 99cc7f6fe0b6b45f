import csv
import io
import random
from datetime import timedelta

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.datasets import files, quoted, raw, text
from pipeline.datasets.quoted import swallowed_labels
from pipeline.datasets.text import LABEL_NAMES, TEXT_NAMES
from pipeline.errors import DataError
from tests.tables import opened, packed, read_out

NO_ROWS = [b"", b"\n", b"\r\n\r\n", b"\xef\xbb\xbf"]


def read(data, form="tsv", **options):
    """Return the table in the bytes of a text file, read to its end."""
    return read_out(opened(data, form, **options))


def rows(data, form="tsv", **options):
    """Return the fields below a header line that is there."""
    return read(data, form, header="yes", **options).rows


def test_open_text_keeps_quotes_in_tsv():
    table = 'text\tlabel\n"a" b\tx\n"c"\ty\n""\tx\n'

    assert rows(table) == [['"a" b', "x"], ['"c"', "y"], ['""', "x"]]


def test_open_text_does_not_merge_rows_at_an_unbalanced_quote():
    table = 'text\tlabel\n"a\tx\nb\ty\nc"\tx\nd\ty\n'

    assert rows(table) == [['"a', "x"], ["b", "y"], ['c"', "x"], ["d", "y"]]


@pytest.mark.parametrize("form", ["tsv", "csv", "txt"])
def test_open_text_reads_crlf_as_lf(form):
    sep = "," if form == "csv" else "\t"
    table = f"text{sep}label\na{sep}x\nb{sep}y\n"

    assert rows(table.replace("\n", "\r\n"), form) == [["a", "x"], ["b", "y"]]
    assert rows(table, form) == [["a", "x"], ["b", "y"]]


def test_open_text_takes_one_carriage_return_only_for_the_line_end():
    assert rows("label\ttext\r\nx\ta\r\r\ny\tb\r\n") == [["x", "a\r"], ["y", "b"]]


@pytest.mark.parametrize("form", ["tsv", "csv", "txt"])
def test_open_text_needs_no_final_newline(form):
    sep = "," if form == "csv" else "\t"

    assert rows(f"text{sep}label\na{sep}x", form) == [["a", "x"]]


@pytest.mark.parametrize(
    "cell",
    ["a\rb", "\ra", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb", "a\x1cb"],
)
def test_open_text_splits_tsv_lines_at_line_feeds_only(cell):
    assert rows(f"text\tlabel\n{cell}\tx\nb\ty\n") == [[cell, "x"], ["b", "y"]]


@pytest.mark.parametrize("cell", ["a\u2028b", "a\x85b", "a\x0bb", "a\x0cb"])
def test_open_text_splits_csv_rows_at_line_breaks_only(cell):
    assert rows(f"text,label\n{cell},x\nb,y\n", "csv") == [[cell, "x"], ["b", "y"]]


@pytest.mark.parametrize("form", ["tsv", "csv"])
@pytest.mark.parametrize("cell", ["\0", "a\0b", "\x01\x02", "\x1b[31m", "\x7f"])
def test_open_text_keeps_nul_and_control_characters(form, cell):
    sep = "," if form == "csv" else "\t"

    assert rows(f"text{sep}label\n{cell}{sep}x\n", form) == [[cell, "x"]]


@pytest.mark.parametrize("cell", ["  a ", "nan", "NA", "None", "null", "1e3", "007"])
def test_open_text_takes_no_text_for_anything_else(cell):
    assert rows(f"text\tlabel\n{cell}\tx\n") == [[cell, "x"]]


def test_open_text_does_not_normalise_unicode():
    table = "text\tlabel\n\u00e9\tx\ne\u0301\tx\n"

    assert rows(table) == [["\u00e9", "x"], ["e\u0301", "x"]]


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_open_text_strips_a_byte_order_mark(form):
    sep = "," if form == "csv" else "\t"
    table = read(b"\xef\xbb\xbf" + f"text{sep}label\na{sep}x\n".encode(), form)

    assert table.names == ["text", "label"]


def test_open_text_keeps_a_byte_order_mark_inside_a_text():
    assert rows("text\tlabel\n\ufeffa\tx\n") == [["\ufeffa", "x"]]


def test_open_text_names_offset_and_fix_of_a_latin_1_file():
    data = "text\tlabel\ncafé\tx\n".encode("latin-1")

    with pytest.raises(
        DataError,
        match=r"my\.tsv:2 is not UTF-8: byte 0xe9 at offset 14\. .*iconv -f latin1 -t utf-8",
    ):
        read(data)


@pytest.mark.parametrize("form", ["tsv", "csv", "txt", "tsv.gz"])
@pytest.mark.parametrize("data", NO_ROWS)
def test_open_text_refuses_a_file_without_rows(form, data):
    data = packed(data) if form.endswith("gz") else data

    with pytest.raises(
        DataError, match=r"No rows in my\..*: the file is empty\. Pass a "
    ):
        read(data, form)


def test_open_text_names_the_lines_of_short_rows():
    with pytest.raises(
        DataError,
        match=r"2 rows of my\.tsv have fewer than 2 fields: lines 3, 5\. Mend them, or pass the right --sep",
    ):
        read("text\tlabel\na\tx\nb\nc\ty\nd\n")


def test_open_text_counts_blank_lines_into_the_line_numbers():
    with pytest.raises(DataError, match=r"1 rows of .*: lines 5\. Mend them"):
        read("text\tlabel\n\na\tx\n\nb\n")


def test_open_text_names_the_first_ten_short_rows_only():
    table = "text\tlabel\n" + "a\n" * 12

    with pytest.raises(
        DataError, match=r"12 rows .*: lines 2, 3, .*, 10, 11 and 2 more\. Mend them"
    ):
        read(table)


def test_open_text_gives_the_rows_before_it_complains_of_short_ones():
    raw = opened("text\tlabel\na\tx\nb\nc\ty\n")
    batches = raw.read([0, 1])

    batch = next(batches)

    assert (batch.lines, batch.columns) == ([2, 4], [["a", "c"], ["x", "y"]])
    with pytest.raises(DataError, match="Mend them"):
        next(batches)


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_open_text_ignores_and_counts_extra_fields(form):
    sep = "," if form == "csv" else "\t"
    lines = [("text", "label"), ("a", "x", "more"), ("b", "y"), ("c", "x", "", "")]
    table = read("\n".join(map(sep.join, lines)), form)

    assert table.rows == [["a", "x"], ["b", "y"], ["c", "x"]]
    assert table.notes["extra_fields"] == 2
    assert table.doubts.wide_labels == {"x": [1, 2]}  # the other's are empty


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_open_text_skips_and_counts_blank_lines(form):
    sep = "," if form == "csv" else "\t"
    table = read(f"text{sep}label\n\na{sep}x\n\n\nb{sep}y", form)

    assert table.rows == [["a", "x"], ["b", "y"]]
    assert table.lines == [3, 6]
    assert table.notes["blank_lines"] == 3
    assert table.notes["lines"] == 6


def test_open_text_notes_what_it_found():
    assert read("text\tlabel\r\na\tx\r\n\r\n").notes == {
        "blank_lines": 1,
        "separator": "\t",
        "lines": 3,
        "header": True,
        "extra_fields": 0,
    }
    assert read('a;x\n\n"b\nc";y', "csv").notes == {
        "blank_lines": 1,
        "separator": ";",
        "lines": 4,
        "rows_of_several_lines": 1,
        "header": False,
        "extra_fields": 0,
    }


def test_open_text_reads_breaks_and_separators_in_quoted_csv_fields():
    table = 'text,label\n"a,\nb",x\n"c\r\nd",y\n"e\rf",x\n'

    assert rows(table, "csv") == [["a,\nb", "x"], ["c\r\nd", "y"], ["e\rf", "x"]]


def test_open_text_reads_escaped_quotes_in_csv():
    table = 'text,label\n"say ""hi""",x\n"""",y\n'

    assert rows(table, "csv") == [['say "hi"', "x"], ['"', "y"]]


def test_open_text_numbers_csv_rows_by_their_first_line():
    table = read('text,label\n"a\nb\nc",x\nd,y\n"e\nf",x\ng,y\n', "csv")

    assert table.lines == [2, 5, 6, 8]


def test_open_text_names_the_row_of_an_unclosed_csv_quote():
    with pytest.raises(
        DataError,
        match=r"my\.csv, row that begins on line 3: .* Close the quotes, or name the file \.tsv",
    ):
        read('text,label\na,x\n"b,y\nc,x\n', "csv")


def test_open_text_refuses_characters_behind_a_csv_quote():
    with pytest.raises(DataError, match=r"begins on line 2: .* Close the quotes"):
        read('text,label\n"a"b,x\n', "csv")


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_open_text_reads_a_field_over_128_kb(form):
    """Python's csv refuses one by default."""
    sep = "," if form == "csv" else "\t"
    long = "long " * 40_000

    assert rows(f"text{sep}label\n{long}{sep}x\n", form) == [[long, "x"]]


def test_open_text_tells_the_separator_beside_a_field_over_128_kb():
    csv.field_size_limit(131_072)  # as in a new process

    assert rows(f"text;label\n{'long ' * 40_000};x\n", "csv")[0][1] == "x"


def test_open_text_refuses_a_csv_field_beyond_the_limit(monkeypatch):
    """An unclosed quote would take in the rest of the file, however large."""
    monkeypatch.setattr(quoted, "MAX_ROW_BYTES", 100)

    with pytest.raises(DataError, match=r"begins on line 2: field larger .* Close the"):
        read('text,label\n"a' + "b,x\n" * 50 + '",y\n', "csv")


@pytest.mark.parametrize("form", ["tsv", "csv", "jsonl"])
def test_open_text_refuses_a_line_beyond_the_limit(monkeypatch, form):
    monkeypatch.setattr(files, "MAX_ROW_BYTES", 100)
    monkeypatch.setattr(files, "BLOCK_BYTES", 16)

    with pytest.raises(DataError, match=rf"my\.{form}:1 is a row of more .* Split it"):
        read("a" * 200, form)


def test_open_text_takes_one_character_as_csv_separator():
    assert rows('text;label\n"a;b";x\n', "csv", separator=";") == [["a;b", "x"]]


@pytest.mark.parametrize("separator", ["||", "\n", "\r", '"'])
def test_open_text_refuses_what_cannot_separate_csv(separator):
    with pytest.raises(DataError, match=r"one character, got .*\. Name the file \.txt"):
        read("a||x\n", "csv", separator=separator)


@pytest.mark.parametrize("separator", quoted.CSV_SEPARATORS)
def test_open_text_tells_the_separator_of_csv(separator):
    lines = ["text,label", "so, so,x", '"a, ""quoted""\nb;c|d\te",y', "", "e,x"]
    table = "\n".join(
        line
        if line.startswith('"')
        else line.replace(", ", "/").replace(",", separator)
        for line in lines
    ).replace('e",y', f'e"{separator}y')

    read_rows = rows(table, "csv")

    assert read_rows == [["so/so", "x"], ['a, "quoted"\nb;c|d\te', "y"], ["e", "x"]]


def test_open_text_takes_a_comma_where_several_csv_separators_fit():
    assert rows("a;b,c\nd;e,f\n", "csv") == [["d;e", "f"]]


def test_open_text_takes_a_comma_where_no_csv_separator_fits():
    with pytest.raises(DataError, match=r"1 rows of .* fewer than 3 .*: lines 2"):
        read("a,b,c\na,b\n", "csv", header="no")


@pytest.mark.parametrize("separator", text.TXT_SEPARATORS)
def test_open_text_tells_the_separator_of_plain_text(separator):
    lines = [("a, b", "x"), ("", ""), ("c", "y"), ("d", "x")]
    table = "\n".join(separator.join(line) if line[0] else "" for line in lines)

    found = read(table, "txt", header="no")

    assert found.rows == [["a, b", "x"], ["c", "y"], ["d", "x"]]
    assert found.notes["separator"] == separator


def test_open_text_needs_the_same_count_of_a_separator_in_every_line():
    with pytest.raises(DataError, match=r"No tab in the first line of my\.txt: 'a;x'"):
        read("a;x\nb;y;\n", "txt")


def test_open_text_tells_no_separator_but_a_tab_in_tsv():
    with pytest.raises(DataError, match=r"No tab .*: 'a\|x'\. Pass --separator"):
        read("a|x\nb|y\n", "tsv")


def test_open_text_takes_a_separator_of_several_characters_in_txt():
    table = "text ||| label\na, \tb ||| x\nc || d ||| y\n"

    assert rows(table, "txt", separator=" ||| ") == [["a, \tb", "x"], ["c || d", "y"]]


@pytest.mark.parametrize("form", ["tsv", "txt"])
def test_open_text_asks_for_the_separator_of_lines_without_tab(form):
    with pytest.raises(
        DataError, match=r"No tab in the first line of .*: 'a,b'\. Pass --separator"
    ):
        read("a,b\nc\td\n", form)


@pytest.mark.parametrize("name", [*TEXT_NAMES, *LABEL_NAMES, " Text ", "LABEL"])
def test_open_text_knows_a_header_by_a_known_name(name):
    table = read(f"something\t{name}\na\tx\nb\ty\n")

    assert table.names == ["something", name.strip()]
    assert table.notes["header"] is True


def test_open_text_knows_a_header_by_a_wanted_name():
    assert read("Phrase\tmood\na\tx\n", text_column="phrase").names == [
        "Phrase",
        "mood",
    ]


@pytest.mark.parametrize("names", ["id\tbody", "body\tStar_rating"])
@pytest.mark.parametrize("n", [1, 2])
def test_open_text_knows_a_header_of_single_words_above_few_numbers(names, n):
    row = "1\tgood" if names.startswith("id") else "good\t1"

    table = read("\n".join([names, *[row] * n]))

    assert table.names == names.split("\t")
    assert len(table.rows) == n


def test_open_text_knows_a_header_above_numeric_labels():
    table = read("phrase\tmood\na\t1\nb\t0\nc\t1\n")

    assert table.names == ["phrase", "mood"]
    assert table.lines == [2, 3, 4]


@pytest.mark.parametrize(
    "table",
    [
        "good film\t1\n1984\t0\n",
        "good film\tpos\n1984\tneg\n",
        "great\tpos\nnan\tneg\ninfinity\tpos\nnan\tneg\n",
    ],
    ids=[
        "a number above numbers",
        "too few numbers to tell",
        "words that float() reads",
    ],
)
def test_open_text_takes_no_row_for_a_header_by_accident(table):
    assert len(read(table).rows) == table.count("\n")


def test_open_text_keeps_a_row_of_empty_fields_for_the_empty_text_policy():
    table = read("text\tlabel\na\tx\n\t\nb\ty\n")

    assert table.lines == [2, 3, 4]
    assert table.notes["blank_lines"] == 0


def test_open_text_keeps_a_lone_carriage_return_in_unquoted_csv():
    table = read(b"label,text\r\n1,hello\rworld\r\n", "csv")

    assert table.column("text") == ["hello\rworld"]


@pytest.mark.parametrize(
    "table", ["a\t1\nb\t0\nc\t1\n", "a\tx\nb\ty\n", "a\t1\n", "1\ta\n0\tb\n"]
)
def test_open_text_takes_the_first_line_as_a_row_otherwise(table):
    found = read(table)

    assert found.names == ["1", "2"]
    assert found.lines == list(range(1, table.count("\n") + 1))
    assert found.notes["header"] is False


def test_open_text_header_yes_takes_any_first_line_as_names():
    table = read("a\tx\nb\ty\n", header="yes")

    assert table.names == ["a", "x"]
    assert table.rows == [["b", "y"]]


def test_open_text_header_no_takes_known_names_as_a_row():
    table = read("text\tlabel\nb\ty\n", header="no")

    assert table.names == ["1", "2"]
    assert table.rows == [["text", "label"], ["b", "y"]]


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_open_text_refuses_a_name_that_stands_twice_in_the_header(form):
    sep = "," if form == "csv" else "\t"

    with pytest.raises(
        DataError, match=r"Column 'text' stands more than once .*\. Rename one"
    ):
        read(f"text{sep}text {sep}label\na{sep}b{sep}x\n", form)


@pytest.mark.parametrize("header", ["auto", "yes"])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
def test_open_text_refuses_a_header_without_rows(header, end):
    with pytest.raises(
        DataError, match=r"only a header line\. Add rows, or pass --header no"
    ):
        read("text\tlabel" + end, header=header)


def test_open_text_doubts_lines_in_a_quoted_field_that_look_like_rows():
    table = 'text,label\na,x\n"oops,y\nb,x\nc,z\nend",x\nd,y\n'

    assert read(table, "csv").doubts.swallowed == {
        label: [1, 3] for label in ("y", "x", "z")
    }


def test_open_text_doubts_no_ordinary_line_breaks_in_a_quoted_field():
    table = 'text,label\n"a poem\nof three\nlines",x\n"one,\r\ntwo, three, four",y\n'

    assert read(table, "csv").doubts.swallowed == {}


@pytest.mark.parametrize(
    ("cell", "column", "width", "label", "found"),
    [
        ("oops,y\nend", 0, 2, 1, {"y"}),
        ("oops,y\nb,x\nend", 0, 2, 1, {"y", "x"}),
        ("oops\nend", 0, 2, 1, set()),  # the end of no row
        ("oops,y\nb\nend", 0, 2, 1, set()),  # a line that is no row
        ("oops,y\nb,x\nend,more", 0, 2, 1, set()),  # the beginning of no row
        ("oops\ny,end", 1, 2, 0, {"y"}),
        ("oops\nx,b\ny,end", 1, 2, 0, {"x", "y"}),
        ("oops\nend", 1, 2, 0, set()),
        ("oops,y\n3,b,x\n4,end", 1, 3, 2, {"y", "x"}),
        ("oops,y\n4,end", 1, 3, 0, {"4"}),
    ],
)
def test_swallowed_labels_are_those_of_the_rows_inside(
    cell, column, width, label, found
):
    assert swallowed_labels(cell, ",", (column, width), label) == found


def test_swallowed_labels_are_those_of_a_bounded_number_of_lines():
    cell = "oops,y\n" + "a,x\n" * 10**5 + "no end, no row, nothing"

    assert swallowed_labels(cell, ",", (0, 2), 1) == {"y", "x"}


def test_open_text_keeps_a_bounded_number_of_doubtful_labels(monkeypatch):
    monkeypatch.setattr(raw, "MAX_DOUBTS", 5)

    table = read("text\tlabel\n" + "".join(f"a\tx{i}\tmore\n" for i in range(20)))

    assert len(table.doubts.wide_labels) == 5
    assert table.doubts.wide.count == table.notes["extra_fields"] == 20


@pytest.mark.parametrize(
    ("rows", "has_header"),
    [
        (["text\tx", "a\tx", "text\ty"], False),  # a label called text
        (["Title\t3\tx", "a\t4\ty", "b\t5\tx", "c\t6\ty"], False),  # above a number
        (["Title\tn\tx", "a\t4\ty", "b\t5\tx", "c\t6\ty"], True),
        (["Title\tmood", "a\tx", "b\ty"], True),
    ],
)
def test_open_text_takes_a_known_name_that_recurs_or_stands_above_numbers_for_a_cell(
    rows, has_header
):
    assert opened("\n".join(rows)).has_header is has_header


def test_open_text_takes_the_separator_on_which_all_lines_of_a_txt_agree():
    table = read("a\tb_!_x\nc_!_y\nd_!_x\n", "txt")

    assert table.rows[0] == ["a\tb", "x"]


def test_open_text_names_line_ends_of_carriage_returns_alone():
    with pytest.raises(DataError, match=r"end in CR alone: convert them with tr"):
        read("text,label\ra,x\rb,y\r", "csv")


@pytest.mark.parametrize("form", ["tsv", "csv", "txt"])
def test_open_text_numbers_lines_across_chunks(monkeypatch, form):
    monkeypatch.setattr(text, "CHUNK_ROWS", 3)
    monkeypatch.setattr(quoted, "CHUNK_ROWS", 3)
    sep = "," if form == "csv" else "\t"
    table = f"text{sep}label\n" + f"\na{sep}x\n" * 10

    found = read(table, form)

    assert found.lines == list(range(3, 22, 2))
    assert found.notes["lines"] == 21
    assert found.notes["blank_lines"] == 10


@settings(max_examples=100, deadline=timedelta(seconds=5))
@given(
    cells=st.lists(
        st.text(st.sampled_from('ab ,"é👩\n\r\u2028\ufeff'), max_size=8), min_size=1
    ),
    size=st.integers(1, 7),
    form=st.sampled_from(["tsv", "csv", "txt"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
def test_open_text_gives_the_same_for_any_block_size(cells, size, form, end):
    sep = "," if form == "csv" else "\t"
    quote = str if form != "csv" else lambda cell: '"' + cell.replace('"', '""') + '"'
    cells = [
        cell if form == "csv" else cell.replace("\n", " ").replace("\r", " ")
        for cell in cells
    ]
    table = end.join([f"text{sep}label", *(f"{quote(cell)}{sep}x" for cell in cells)])
    whole = read(table, form, header="yes")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", size)
        patch.setattr(text, "CHUNK_ROWS", size)
        patch.setattr(quoted, "CHUNK_ROWS", size)
        found = read(table, form, header="yes")

    assert found == whole


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
    form=st.sampled_from(["tsv", "csv", "txt"]),
    separator=st.sampled_from(["auto", "\t", ",", ";", " "]),
    header=st.sampled_from(["auto", "yes", "no"]),
    named=st.sampled_from(["auto", "label"]),
)
@example(b'"' * 300, "csv", "auto", "auto", "auto")
@example(b"\t" * 300 + b"\n" + b"\t" * 299 + b"a", "tsv", "auto", "auto", "auto")
def test_open_text_of_any_bytes_gives_a_table_or_a_data_error(
    data, form, separator, header, named
):
    try:
        table = read(data, form, separator=separator, header=header, label_column=named)
    except DataError:
        return

    n_lines = data.count(b"\n") + (not data.endswith(b"\n"))
    assert table.notes["lines"] == n_lines
    assert 1 <= len(table.rows) == len(table.lines) <= n_lines
    assert all(a < b for a, b in zip(table.lines, table.lines[1:], strict=False))


@settings(max_examples=200, deadline=timedelta(seconds=5))
@given(data=ANY_BYTES, form=st.sampled_from(["tsv.gz", "csv.gz", "txt.gz", "jsonl.gz"]))
def test_open_text_of_any_bytes_as_gzip_gives_a_table_or_a_data_error(data, form):
    with pytest.raises(DataError, match=r"Pass a file|fetch or pack|one JSON object"):
        read(data, form)


LINES = st.text().filter(lambda cell: not {"\t", "\n"} & set(cell))


def check_not_full_of_nul(data):
    """That is taken for UTF-16."""
    assume(data.count("\0") * 4 < len(data))


@settings(deadline=timedelta(seconds=5))
@given(texts=st.lists(LINES, min_size=1), end=st.sampled_from(["\n", "\r\n"]))
@example(
    ["\r", "\u2028", '"', "\ufeff", "\x1a", "👩\u200d💻", "\u202eשלום", "\0"], "\n"
)
def test_open_text_gives_back_any_texts_written_as_tsv(texts, end):
    table = end.join(["text\tlabel", *(f"{cell}\tx" for cell in texts)])
    check_not_full_of_nul(table)

    assert rows(table) == [[cell, "x"] for cell in texts]


def written_as_csv(texts, end):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *((cell, "x") for cell in texts)])
    return stream.getvalue()


@settings(deadline=timedelta(seconds=5))
@given(texts=st.lists(st.text(), min_size=1), end=st.sampled_from(["\n", "\r\n"]))
@example(["a\nb", "\r", '"', '",\n"', "\ufeff", "👩\u200d💻", "\u202eשלום", "\0"], "\n")
def test_open_text_gives_back_any_texts_written_as_csv(texts, end):
    table = written_as_csv(texts, end)
    check_not_full_of_nul(table)

    assert rows(table, "csv") == [[cell, "x"] for cell in texts]


@settings(deadline=timedelta(seconds=5))
@given(
    texts=st.lists(st.text(st.sampled_from('a,"\n\r\u2028'), max_size=6), min_size=1),
    end=st.sampled_from(["\n", "\r\n"]),
    blanks=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_open_text_accounts_for_every_line_of_csv(texts, end, blanks, seed):
    lines = [written_as_csv([cell], end).split(end, 1)[1] for cell in texts]
    lines += [end] * blanks
    random.Random(seed).shuffle(lines)
    table = f"text,label{end}{''.join(lines)}"

    found = read(table, "csv", header="yes")

    inner = sum(str(cell).count("\n") for row in found.rows for cell in row)
    assert found.notes["blank_lines"] == blanks
    assert found.notes["lines"] == 1 + len(found.rows) + blanks + inner
    assert found.notes["lines"] == table.count("\n")
    assert found.notes["rows_of_several_lines"] == sum("\n" in c for c in texts)

import pytest

from pipeline.config import DatasetSpec
from pipeline.datasets.columns import (
    choose_columns,
    choose_text_columns,
    find_column,
)
from pipeline.datasets.text import LABEL_NAMES, TEXT_NAMES
from pipeline.datasets.typed import TypedTable
from pipeline.errors import DataError, listed
from tests.tables import make, opened, typed


@pytest.fixture
def raw():
    return opened("Id\tSentence\tlabel\tsentence2\n1\ta\tx\tb\n")


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
    raw = opened("title\treview\tlabel\na\tb\tx\n")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") == "review"


def test_find_column_takes_the_first_column_of_a_name():
    raw = opened("TEXT\ttext\tlabel\na\tb\tx\n")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") == "TEXT"


def test_find_column_by_number_in_a_file_without_header():
    raw = opened("a\tx\nb\ty\n")

    assert find_column(raw, "2", LABEL_NAMES, "label-column") == "2"


def test_find_column_takes_a_name_of_digits_before_a_number():
    raw = opened("2\t1\na\tx\n", header="yes")

    assert find_column(raw, "1", TEXT_NAMES, "text-column") == "1"


def test_find_column_leaves_it_open_when_no_name_is_known():
    raw = opened("phrase\tmood\na\tx\n", header="yes")

    assert find_column(raw, "auto", TEXT_NAMES, "text-column") is None


@pytest.mark.parametrize("wanted", ["Sentense", "SENTENCE"])
def test_find_column_suggests_the_nearest_name(raw, wanted):
    with pytest.raises(
        DataError,
        match=rf"Column '{wanted}' not found in my\.tsv \(columns: Id, Sentence, label, sentence2\)\. "
        r"Did you mean 'Sentence'\? Pass --text-column NAME",
    ):
        find_column(raw, wanted, TEXT_NAMES, "text-column")


@pytest.mark.parametrize("wanted", ["0", "5", "-1", "xyz", "", "²"])
def test_find_column_suggests_nothing_when_nothing_is_near(raw, wanted):
    with pytest.raises(
        DataError, match=r"label, sentence2\)\. Pass --label-column NAME"
    ):
        find_column(raw, wanted, LABEL_NAMES, "label-column")


def test_find_column_shows_the_first_cells_where_columns_have_no_names():
    raw = opened("a fine film\tpos\nbad\tneg\n", header="no")

    with pytest.raises(
        DataError, match=r"\(columns: 1 'a fine film', 2 'pos'\)\. Pass --text-column"
    ):
        find_column(raw, "5", TEXT_NAMES, "text-column")


def chosen(raw, **options):
    """Return the names of the text and of the label columns."""
    columns = choose_columns(raw, DatasetSpec(**options))
    return columns.text, *columns.labels.names


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
    raw = opened(header + "\n1\t2\t3\n")

    assert chosen(raw) == found


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
    raw = opened(table, header="no")

    assert chosen(raw) == found


def test_choose_columns_of_two_does_not_stumble_over_short_rows():
    raw = opened("pos\ta fine film\nneg\npos\tso so\n", header="no")

    assert chosen(raw) == ("2", "1")
    with pytest.raises(DataError, match=r"1 rows .* fewer than 2 fields: lines 2"):
        make(train=raw)


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("mood\ttext", ("text", "mood")),
        ("label\tphrase", ("phrase", "label")),
        ("phrase\tlabel", ("phrase", "label")),
    ],
)
def test_choose_columns_takes_the_other_of_two(header, found):
    raw = opened(header + "\nlong words\tlong words\n")

    assert chosen(raw) == found


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"text_column": "title"}, ("title", "label")),
        ({"text_column": "1", "label_column": "3"}, ("title", "id")),
        ({"label_column": "id"}, ("text", "id")),
    ],
)
def test_choose_columns_by_option(options, found):
    raw = opened("title\ttext\tid\tlabel\na\tb\t1\tx\n")

    assert chosen(raw, **options) == found


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("id\tphrase\tlabel", "text"),
        ("id\ttext\tmood", "label"),
        ("id\tphrase\tmood", "text"),
    ],
)
def test_choose_columns_lists_the_columns_when_it_is_open(header, wanted):
    raw = opened(header + "\n1\ta\tx\n", header="yes")

    with pytest.raises(
        DataError,
        match=f"holds the {wanted}\\? Found: {header.replace(chr(9), ', ')}\\. Pass --{wanted}-column",
    ):
        choose_columns(raw, DatasetSpec())


def test_choose_columns_refuses_a_single_typed_column():
    raw = TypedTable(["text"], lambda wanted: iter([]), [("a",), ("b",)], "my.parquet")

    with pytest.raises(DataError, match=r"Found: text\. Pass --label-column"):
        choose_columns(raw, DatasetSpec())


@pytest.mark.parametrize(
    ("table", "shown"),
    [("text,label\na,x\nb,y\n", "text,label"), ("a fine film\nbad\n", "a fine film")],
)
def test_choose_columns_advises_a_separator_where_there_is_one_column(table, shown):
    raw = opened(table, "csv", separator="|")

    with pytest.raises(
        DataError, match=rf"Only one column in my\.csv: '{shown}'\. Pass --separator"
    ):
        choose_columns(raw, DatasetSpec())


def test_choose_columns_refuses_one_column_for_both():
    raw = opened("text\tlabel\tid\na\tx\t1\n")

    with pytest.raises(
        DataError, match=r"'text' .* cannot be both text and label\. Pass --label-col"
    ):
        choose_columns(raw, DatasetSpec(label_column="text"))


def test_choose_columns_works_the_same_on_typed_tables():
    raw = typed(["a", "b"], [0, 1], sentence=["c", "d"])

    assert chosen(raw) == ("text", "label")
    assert choose_columns(raw, DatasetSpec(text_column="3")).text == "sentence"


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


@pytest.mark.parametrize("header", ["yes", "no"])
def test_choose_columns_lists_the_first_of_very_many_columns(header):
    names = [*map(str, range(1000)), "x" * 1000]
    raw = opened("\t".join(names) + "\n" + "\t".join(names) + "\n", header=header)

    with pytest.raises(DataError, match=r"Found: .* and 951 more\. Pass --text") as e:
        choose_columns(raw, DatasetSpec())

    assert len(str(e.value)) < 2000


@pytest.mark.parametrize("header", ["yes", "no"])
def test_choose_text_columns_asks_where_either_of_two_may_be_the_text(header):
    table = "ask\tanswer\nwhat is it\ta good film\nis it dull\tnot at all\n"
    raw = opened(table, header=header)

    with pytest.raises(
        DataError,
        match=r"holds the text\? Found: (1 ')?ask.*answer.*Pass --text-column",
    ):
        choose_text_columns(raw, DatasetSpec())

    assert choose_text_columns(raw, DatasetSpec(text_column="2")) == (raw.names[1],)


@pytest.mark.parametrize(
    "table",
    [
        "7\ta fine film\n8\ta dull film\n",
        "very good\ta fine film\nvery bad\ta dull film\nvery good\tso so\nvery bad\tno\n",
        "pos\ta fine film\nneg\tdull\n",
    ],
    ids=["numbers", "repeated phrases", "words"],
)
def test_choose_text_columns_takes_the_one_of_two_that_only_can_be_the_text(table):
    assert choose_text_columns(opened(table, header="no"), DatasetSpec()) == ("2",)


SOURCED = "text\tlabel\tsource\na\tx\tweb\nb\ty\tmail\n"


@pytest.mark.parametrize("wanted", ["source", "3"])
def test_choose_columns_takes_a_column_to_slice_by_where_one_is_named(wanted):
    spec = DatasetSpec(slice_column=wanted)

    assert choose_columns(opened(SOURCED), spec).slices == "source"
    assert choose_columns(opened(SOURCED), DatasetSpec()).slices is None


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("sauce", r"'sauce' not found .* Did you mean 'source'\? Pass --slice-column"),
        ("label", r"'label' .* is the text or the label already\. Pass another"),
        ("1", r"'text' .* is the text or the label already"),
        ("auto", r"has to name a column of my\.tsv: text, label, source"),
    ],
)
def test_choose_columns_refuses_what_cannot_be_sliced_by(wanted, message):
    with pytest.raises(DataError, match=message):
        choose_columns(opened(SOURCED), DatasetSpec(slice_column=wanted))

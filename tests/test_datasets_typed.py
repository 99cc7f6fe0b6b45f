import csv
import io
import json
from datetime import timedelta

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from pipeline.config import DatasetSpec
from pipeline.datasets import files
from pipeline.datasets import typed as typed_module
from pipeline.datasets.sources import open_file
from pipeline.datasets.typed import TypedTable, open_parquet
from pipeline.errors import DataError
from pipeline.storage import sha256_file
from tests.tables import make, opened, packed, read_out, typed


def read(data, form="jsonl", **options):
    return read_out(opened(data, form, **options))


def jsonl(*rows, ascii_only=True):
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows)


def labelled_jsonl(*texts):
    """Return JSON lines of the texts, labelled 0 and 1 in turn."""
    return jsonl(*({"text": cell, "label": i % 2} for i, cell in enumerate(texts)))


def test_json_lines_keep_their_types():
    row = {"text": "a", "label": 1, "b": True, "f": 0.5, "n": None, "l": [1], "o": {}}

    found = read(jsonl(row))

    assert found.names == list(row)
    assert found.rows == [list(row.values())]
    assert found.lines == [1]


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize(
    "text",
    ["a\nb\r\tc", "\0", "", "\u2028\x85", "👩\u200d💻", "e\u0301", '"\\', "\ufeff"],
)
def test_json_lines_keep_texts_as_they_are(ascii_only, text):
    found = read(jsonl({"text": text, "label": "x"}, ascii_only=ascii_only))

    assert found.column("text") == [text]


def test_json_lines_keep_a_lone_surrogate_up_to_the_table():
    table, _ = make(train=opened(labelled_jsonl("a \ud800 b", "c\udfff", "d"), "jsonl"))

    assert table.texts == ["a \ud800 b", "c\udfff", "d"]


def test_json_lines_join_a_pair_of_surrogates():
    assert read(r'{"text": "\ud83d\ude00", "label": 0}').column("text") == ["😀"]


def test_json_lines_refuse_a_lone_surrogate_as_label():
    data = jsonl({"text": "a", "label": "x"}, {"text": "b", "label": "\ud800"})

    with pytest.raises(
        DataError, match=r"label '\\ud800' of train row 2 .*Rename the class"
    ):
        make(train=opened(data, "jsonl"))


def test_json_lines_take_null_for_missing():
    data = jsonl({"text": None, "label": 0}, {"text": "b", "label": 1})

    with pytest.raises(DataError, match=r"1 empty texts in my\.jsonl: lines 1\. Fill"):
        make(train=opened(data, "jsonl"))


@pytest.mark.parametrize("text", ["NaN", "null"])
def test_json_lines_never_take_a_missing_text_for_a_word(text):
    data = f'{{"text": {text}, "label": 0}}\n{{"text": "b", "label": 1}}'

    table, _ = make(DatasetSpec(empty_text="keep"), train=opened(data, "jsonl"))

    assert table.texts == ["", "b"]


@pytest.mark.parametrize("label", ["null", "NaN", '""', '" "'])
def test_json_lines_refuse_a_missing_label(label):
    data = f'{{"text": "a", "label": 0}}\n{{"text": "b", "label": {label}}}'

    with pytest.raises(DataError, match=r"have no label: lines 2\. Label or remove"):
        make(train=opened(data, "jsonl"))


@pytest.mark.parametrize(
    ("label", "kind"),
    [("0.5", "float"), ("Infinity", "float"), ("[1]", "list"), ('{"a": 1}', "dict")],
)
def test_json_lines_refuse_labels_of_another_type(label, kind):
    data = f'{{"text": "a", "label": {label}}}\n{{"text": "b", "label": {label}}}'

    with pytest.raises(
        DataError, match=f"of type {kind} in my.jsonl, .* Convert the label column"
    ):
        make(DatasetSpec(task="classification"), train=opened(data, "jsonl"))


def test_json_lines_take_true_and_false_for_numbers():
    data = jsonl({"text": "a", "label": True}, {"text": "b", "label": False})

    table, _ = make(train=opened(data, "jsonl"))

    assert table.labels.tolist() == [1, 0]


def test_json_lines_refuse_labels_beyond_64_bits():
    data = jsonl({"text": "a", "label": 2**63}, {"text": "b", "label": 0})

    with pytest.raises(DataError, match=r"1 labels .*: lines 1\. Write such labels as"):
        make(train=opened(data, "jsonl"))


@pytest.mark.parametrize(
    ("text", "kind"), [("1", "int"), ("[]", "list"), ('{"a": {}}', "dict")]
)
def test_json_lines_refuse_texts_of_another_type(text, kind):
    data = f'{{"text": "a", "label": 0}}\n{{"text": {text}, "label": 1}}'

    with pytest.raises(
        DataError, match=f"holds {kind} values, expected texts: rows 2. Pass --text-col"
    ):
        make(train=opened(data, "jsonl"))


def test_json_lines_ignore_nested_values_in_other_columns():
    data = jsonl(
        {"text": "a", "label": 0, "meta": {"deep": [1, {"x": None}]}},
        {"text": "b", "label": 1},
    )

    table, ledger = make(train=opened(data, "jsonl"))

    assert table.texts == ["a", "b"]
    assert ledger["splits"]["train"]["ignored_columns"] == ["meta"]


def test_json_lines_refuse_rows_without_a_chosen_key():
    data = labelled_jsonl("a", "b") + '{"text": "c"}\n{"label": 0}\n'

    with pytest.raises(
        DataError,
        match=r"2 rows of my\.jsonl have no field 'text' or 'label': lines 3, 4\. Add it, or null",
    ):
        make(train=opened(data, "jsonl"))


@pytest.mark.parametrize("late", ['{"text": "c"}', "[]"])
def test_json_lines_are_looked_at_behind_the_first_batch(monkeypatch, late):
    monkeypatch.setattr(typed_module, "HEAD_ROWS", 2)
    monkeypatch.setattr(typed_module, "BATCH_ROWS", 3)
    data = labelled_jsonl(*"abcdefgh") + late

    with pytest.raises(DataError, match=r"lines 9\. Add it|jsonl:9 is \[\], expected"):
        read(data)


def test_json_lines_find_a_column_that_the_first_row_lacks():
    data = jsonl({"id": 1, "text": "a", "label": "x"}, {"text": "b", "label": "y"})

    assert opened(data, "jsonl").names == ["id", "text", "label"]
    assert make(train=opened(data, "jsonl"))[0].texts == ["a", "b"]


@pytest.mark.parametrize("line", ["1", '"a"', "null", "[]", '[{"text": "a"}]', "true"])
def test_json_lines_refuse_what_is_not_an_object(line):
    with pytest.raises(
        DataError, match=r"my\.jsonl:2 is .*, expected a JSON object .*\. Write one obj"
    ):
        read(labelled_jsonl("a") + line)


def test_json_lines_refuse_an_array_over_many_lines():
    data = json.dumps([{"text": "a", "label": 0}], indent=1)

    with pytest.raises(
        DataError, match=r"my\.jsonl:1 is not JSON: .* an array, .* jq -c '\.\[\]'"
    ):
        read(data)


@pytest.mark.parametrize(
    "line",
    [
        *(
            '{"text": "a"',
            "{'text': 'a'}",
            "{text: 1}",
            '{"a": 1} {"a": 2}',
            '{"a": 1},',
        ),
        *("a\tx", '{"a": "b\tc"}', '{"a": 1e}', "\ufeff{}"),
        '{"n": ' + "9" * 5000 + "}",
    ],
)
def test_json_lines_refuse_what_is_not_json(line):
    with pytest.raises(DataError, match=r"my\.jsonl:2 is not JSON: .*\. Write one obj"):
        read(labelled_jsonl("a") + line)


def test_json_lines_refuse_a_key_that_stands_twice():
    with pytest.raises(
        DataError, match=r"jsonl:1 .*more than once in one object.*Write"
    ):
        read('{"text": "a", "text": "b", "label": 0}')


@pytest.mark.parametrize("line", ["[" * 100_000, '{"a":' * 100_000])
def test_json_lines_refuse_deep_nesting(line):
    with pytest.raises(DataError, match=r"my\.jsonl:1 is not JSON: .*recursion"):
        read(line)


def test_json_lines_skip_and_count_blank_lines():
    found = read("\n" + labelled_jsonl("a") + "  \n\r\n" + labelled_jsonl("b") + "\n")

    assert found.lines == [2, 5]
    assert found.notes == {"header": True, "blank_lines": 4, "lines": 6}


def test_json_lines_read_crlf_and_a_byte_order_mark():
    data = "\ufeff" + labelled_jsonl("a", "b").replace("\n", "\r\n")

    assert read(data).column("text") == ["a", "b"]


@pytest.mark.parametrize("data", ["", "\n", "\r\n \n", "\ufeff"])
def test_json_lines_refuse_a_file_without_rows(data):
    with pytest.raises(DataError, match=r"No rows in my\.jsonl: .* Write one JSON obj"):
        read(data)


def test_json_lines_of_empty_objects_have_no_columns():
    with pytest.raises(DataError, match=r"Which column .* Pass --text-column"):
        make(train=opened("{}\n{}\n", "jsonl"))


def test_json_lines_do_not_look_at_rows_beyond_the_limit():
    data = labelled_jsonl(*map(str, range(3000))) + '{"text": 1}\n'

    table, ledger = make(DatasetSpec(limit=4), train=opened(data, "jsonl"))

    assert len(table.texts) == ledger["splits"]["train"]["rows_read"] == 4


def test_json_lines_refuse_a_row_without_its_keys_within_the_limit():
    data = labelled_jsonl("a") + '{"text": "b"}\n' + labelled_jsonl("c", "d", "e")

    with pytest.raises(
        DataError, match=r"1 rows .* have no field 'text' or 'label': lines 2"
    ):
        make(DatasetSpec(limit=3), train=opened(data, "jsonl"))


@settings(max_examples=50, deadline=timedelta(seconds=5))
@given(texts=st.lists(st.text(max_size=8), min_size=1), size=st.integers(1, 7))
def test_json_lines_give_the_same_for_any_block_size(texts, size):
    data = jsonl(*({"text": x, "label": 0} for x in texts), ascii_only=False)
    whole = read(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "BLOCK_BYTES", size)
        assert read(data) == whole


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["text", "label", "a"]), inner, max_size=3)
    ),
    max_leaves=6,
)
PIECES = [
    *(b"{", b"}", b"[", b"]", b'"text"', b'"label"', b":", b",", b'"', b"\\ud800"),
    *(b"1", b"null", b"NaN", b"\n", b"\r", b" ", b"\xff", b"\\", b"1e999", b"\0"),
]
ANY_BYTES = (
    st.binary(max_size=200)
    | st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join)
    | st.lists(JSON.map(json.dumps).map(str.encode), max_size=5).map(b"\n".join)
)


@settings(max_examples=400, deadline=timedelta(seconds=5))
@given(data=ANY_BYTES, empty_text=st.sampled_from(["error", "drop", "keep"]))
def test_json_lines_of_any_bytes_give_a_table_or_a_data_error(data, empty_text):
    spec = DatasetSpec(empty_text=empty_text)

    try:
        table, ledger = make(spec, train=opened(data, "jsonl"))
    except DataError:
        return

    assert 2 <= len(table.texts) == ledger["splits"]["train"]["rows_used"]


@pytest.fixture
def write(tmp_path):
    """Write a frame or an Arrow table as Parquet; return the path."""

    def write_it(table, name="my.parquet", **options):
        if isinstance(table, dict):
            table = pa.table(table)
        elif isinstance(table, pd.DataFrame):
            table = pa.Table.from_pandas(table)
        pq.write_table(table, tmp_path / name, **options)
        return tmp_path / name

    return write_it


def read_parquet(path):
    return read_out(open_parquet(path, sha256_file(path)))


def make_of(path, **options):
    raw = open_parquet(path, sha256_file(path))
    return make(DatasetSpec(**options), train=raw)


def test_open_parquet_keeps_types(write):
    found = read_parquet(write({"text": ["a", "b"], "label": [1, 0]}))

    assert found.names == ["text", "label"]
    assert found.rows == [["a", 1], ["b", 0]]
    assert found.lines == [1, 2]
    assert found.notes == {"header": True}


def test_open_parquet_keeps_texts_as_they_are(write):
    texts = ['"a"\tb\nc', "\r", "nan", "", "\0", "e\u0301", "👩\u200d💻"]

    found = read_parquet(write({"text": texts, "label": ["x"] * 7}))

    assert found.column("text") == texts


def test_open_parquet_gives_none_for_null(write):
    path = write({"text": ["a", None], "label": pa.array([None, 1], pa.int8())})

    assert read_parquet(path).rows == [["a", None], [None, 1]]


def test_open_parquet_reads_a_frame_of_pandas_without_its_index(write):
    frame = pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}, index=[7, 7])
    frame["label"] = frame["label"].astype("category")

    found = read_parquet(write(frame))

    assert found.column("label") == ["x", "y"]
    assert found.lines == [1, 2]


def test_open_parquet_numbers_rows_across_row_groups(write):
    path = write({"text": ["a"] * 5, "label": [0] * 5}, row_group_size=2)

    assert read_parquet(path).lines == [1, 2, 3, 4, 5]


def test_open_parquet_takes_column_names_with_dots(write):
    path = write(
        {
            "te.xt": ["a", "b"],
            "te": ["no", "no"],
            "la.bel": ["x", "y"],
            "la": [{"bel": 1}, {"bel": 2}],
        }
    )

    table, ledger = make_of(path, text_column="te.xt", label_column="la.bel")

    assert (table.texts, table.labels.tolist()) == (["a", "b"], ["x", "y"])
    assert ledger["splits"]["train"]["ignored_columns"] == ["te", "la"]


def test_open_parquet_ignores_nested_columns_that_are_not_chosen(write):
    path = write(
        {
            "meta": [{"text": "no", "list": [1, 2]}, None],
            "text": ["a", "b"],
            "label": [0, 1],
        }
    )

    assert make_of(path)[0].texts == ["a", "b"]


def test_open_parquet_refuses_a_nested_column_that_is_chosen(write):
    path = write({"text": [["a"], ["b"]], "label": [0, 1]})

    with pytest.raises(DataError, match=r"holds list values, .* Pass --text-column"):
        make_of(path)


def test_open_parquet_reads_only_the_chosen_columns_behind_the_head(write, monkeypatch):
    path = write({"text": ["a", "b"], "label": [0, 1], "more": ["x" * 99] * 2})
    asked = []
    original = pq.ParquetFile.iter_batches

    def iter_batches(self, size, *, columns):
        asked.append(columns)
        return original(self, size, columns=columns)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)

    make_of(path)

    assert asked[1:] == [["text", "label"]]


def test_open_parquet_refuses_names_that_stand_twice(write):
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])

    with pytest.raises(
        DataError, match=r"Column 'text' .* more than once.* Rename one"
    ):
        read_parquet(write(table))


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"text\tlabel\na\tx\n",
        lambda data: data[:4] + bytes(len(data) - 8) + data[-4:],
        lambda data: data[:4] + bytes(100) + data[104:],
    ],
    ids=["truncated", "halved", "empty", "tsv", "zeroed", "page zeroed"],
)
def test_open_parquet_refuses_a_damaged_file(write, damage):
    path = write({"text": ["a", "b"] * 100, "label": [1, 0] * 100}, compression="none")
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(
        DataError, match=r"(?s)my\.parquet cannot be read as Parquet: .*Write it again"
    ):
        read_parquet(path)


def test_open_parquet_refuses_damage_behind_the_head(write):
    n = 4000
    table = {"text": [f"text {i}" for i in range(n)], "label": [0, 1] * (n // 2)}
    path = write(table, compression="none", use_dictionary=False, row_group_size=2000)
    data = bytearray(path.read_bytes())
    place = data.index(b"text 2000")
    data[place - 200 : place - 4] = bytes(196)
    path.write_bytes(data)

    with pytest.raises(
        DataError, match=r"(?s)cannot be read as Parquet.*Write it again"
    ):
        read_parquet(path)


def test_open_parquet_refuses_texts_that_are_not_utf_8(write):
    texts = pa.array([b"caf\xe9", b"b"]).view(pa.string())

    with pytest.raises(DataError, match=r"(?s)as Parquet: .*Write it again"):
        read_parquet(write({"text": texts, "label": [0, 1]}))


def test_open_parquet_refuses_a_file_without_rows(write):
    with pytest.raises(DataError, match=r"No rows in .*my\.parquet\. Pass one with"):
        read_parquet(write({"text": pa.array([], pa.string()), "label": [1][:0]}))


def test_open_parquet_refuses_a_file_without_columns(write):
    with pytest.raises(DataError, match=r"No rows in .*my\.parquet\. Pass one with"):
        read_parquet(write(pa.table({})))


def test_open_parquet_refuses_other_bytes_than_expected(write):
    path = write({"text": ["a"], "label": [0]})

    with pytest.raises(
        DataError, match=r"changed while the run .* Run the same command"
    ):
        open_parquet(path, "0" * 64)


def test_open_parquet_refuses_a_file_that_is_gone(write):
    path = write({"text": ["a"], "label": [0]})
    path.unlink()

    with pytest.raises(DataError, match=r"No such file.*Run the same command again"):
        open_parquet(path, "0" * 64)


@pytest.mark.parametrize("change", ["replace", "remove"])
def test_open_parquet_refuses_a_file_that_changes_while_it_is_read(write, change):
    path = write({"text": ["a"], "label": [0]})
    raw = open_parquet(path, sha256_file(path))

    path.unlink()
    if change == "replace":
        write({"text": ["b", "c"], "label": [0, 1]})

    with pytest.raises(DataError, match=r"changed while it was read\. Run the same"):
        raw.close()


@settings(max_examples=100, deadline=timedelta(seconds=5))
@given(data=st.binary(max_size=300), cut=st.integers(0, 10_000))
def test_open_parquet_of_any_bytes_gives_a_data_error(tmp_path_factory, data, cut):
    path = tmp_path_factory.getbasetemp() / "any.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}).to_parquet(path)
    whole = path.read_bytes()
    damaged = whole[: cut % len(whole)] + data
    assume(damaged != whole)
    path.write_bytes(damaged)

    with pytest.raises(DataError, match="Write it again"):
        read_parquet(path)


@settings(max_examples=200, deadline=timedelta(seconds=5))
@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_open_parquet_with_one_bit_flipped_gives_a_table_or_a_data_error(
    tmp_path_factory, place, bit
):
    path = tmp_path_factory.getbasetemp() / "flipped.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": [1, 0]}).to_parquet(path)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)

    try:
        table, _ = make_of(path)
    except DataError:
        return

    assert len(table.texts) == len(table.labels)


def test_typed_table_refuses_names_that_stand_twice():
    with pytest.raises(
        DataError, match=r"'a' stands more than once in the header of m"
    ):
        TypedTable(["a", "a"], lambda wanted: iter([]), [("x", "y")], "me/tiny:train")


def test_typed_table_refuses_to_be_empty():
    with pytest.raises(DataError, match=r"No rows in me/tiny:train\. Pass one with a"):
        TypedTable(["a", "b"], lambda wanted: iter([]), [], "me/tiny:train")


def test_typed_table_gives_the_columns_in_the_order_asked_for():
    batch = next(typed(["a", "b"], [0, 1], more=["c", "d"]).read([2, 0]))

    assert batch.columns == [["c", "d"], ["a", "b"]]


CELLS = st.text().filter(lambda x: x.strip() and not {"\t", "\n"} & set(x))


@settings(max_examples=40, deadline=timedelta(seconds=10))
@given(texts=st.lists(CELLS, min_size=2, max_size=19))
@example(["\r", "a\u2028\x85", '"', "\ufeffb", "👩\u200d💻", '""a', "e\u0301", "a\0b"])
def test_the_same_rows_give_the_same_table_in_every_format(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("formats")
    texts = [text if text.strip() else f"{text}." for text in texts]
    labels = [f"label {i % 2}" for i in range(len(texts))]
    pairs = list(zip(texts, labels, strict=True))
    lines = "".join(f"{text}\t{label}\n" for text, label in pairs)
    assume(lines.count("\0") * 4 < len(lines))
    quoted = io.StringIO(newline="")
    csv.writer(quoted).writerows([("text", "label"), *pairs])
    objects = [{"label": label, "text": text} for text, label in pairs]
    contents = {
        "tsv": "text\tlabel\n" + lines,
        "txt": "text\tlabel\n" + lines,
        "csv": quoted.getvalue(),
        "jsonl": jsonl(*objects),
        "ndjson": jsonl(*objects, ascii_only=False),
    }
    paths = []
    for ending, content in contents.items():
        for name, data in (
            (f"a.{ending}", content.encode()),
            (f"a.{ending}.gz", packed(content)),
        ):
            (folder / name).write_bytes(data)
            paths.append(folder / name)
    pq.write_table(pa.table({"text": texts, "label": labels}), folder / "a.parquet")
    paths.append(folder / "a.parquet")

    for path in paths:
        spec = DatasetSpec()
        table, ledger = make(spec, train=open_file(path, sha256_file(path), spec))

        first = 2 if path.name.startswith(("a.tsv", "a.txt", "a.csv")) else 1
        assert table.texts == texts, path
        assert table.labels.tolist() == labels
        assert table.lines.tolist() == list(range(first, first + len(texts)))
        assert ledger["texts"]["distinct"] == len(set(texts))
        assert ledger["texts"]["labels"]["train"] == ledger["texts"]["train_labels"]

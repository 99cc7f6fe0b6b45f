from datetime import timedelta

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.datasets.checks import Rows
from pipeline.datasets.table import FILE, Table, TableWriter
from pipeline.errors import DataError
from tests.tables import make, opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tables")


def save_and_load(folder, texts, labels, size=None):
    """Write the rows of each split, `size` at once, and read them back."""
    count = len(texts)
    with TableWriter(folder) as writer:
        for split in ("train", "dev"):
            for i in range(0, count, size or count):
                part = slice(i, i + (size or count))
                lines = [n * 10**12 for n in range(count)][part]
                writer.write(split, Rows(texts[part], labels[part], lines))
    return Table.load(folder)


@settings(deadline=timedelta(seconds=5))
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(), max_size=20),  # surrogates, too
            st.text(min_size=1),
        ),
        min_size=1,
    ),
    size=st.integers(1, 5),
)
@example([("👩\u200d💻", "x"), ("\u202eשלום עולם", "ي")], 1)
@example(
    [("\0", "\0x"), ("a\0b", "x"), ("\x01\x1b\x7f\x85", "\t"), ("\r\n\u2028", "y")], 3
)
@example([("", "nan"), ("nan", "None"), ("e\u0301", "NA"), ("\ufeff", "1")], 2)
@example([("\ud800", "x"), ("a\udfff\ud83d\ude00", "x"), ("\ufffd", "x")], 1)
def test_table_comes_back_as_it_was_written(folder, rows, size):
    texts, labels = ([row[i] for row in rows] for i in (0, 1))

    loaded = save_and_load(folder, texts, labels, size)

    assert loaded.texts == texts * 2
    assert all(type(text) is str for text in loaded.texts)
    assert loaded.labels.tolist() == labels * 2
    assert loaded.labels.dtype == object
    assert loaded.splits.tolist() == ["train"] * len(rows) + ["dev"] * len(rows)
    assert loaded.lines.tolist() == [n * 10**12 for n in range(len(rows))] * 2
    assert loaded.lines.dtype == np.int64


@settings(deadline=timedelta(seconds=5), max_examples=30)
@given(labels=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_table_keeps_whole_labels_whole(folder, labels):
    loaded = save_and_load(folder, ["a"] * len(labels), labels)

    assert loaded.labels.dtype == np.int64
    assert loaded.labels.tolist() == labels * 2


def test_table_writer_stores_a_lone_surrogate_beside_a_readable_text(tmp_path):
    save_and_load(tmp_path, ["a\ud800", "é"], ["x", "y"])

    stored = pq.read_table(tmp_path / FILE).to_pydict()
    assert stored["text"] == ["a\ufffd", "é"] * 2
    assert stored["exact"] == [b"a\xed\xa0\x80", None] * 2


def test_table_writer_refuses_a_label_with_a_lone_surrogate(tmp_path):
    with (
        pytest.raises(
            DataError,
            match=r"label 'x\\udc00' of dev row 9 holds half a character .* Rename the class",
        ),
        TableWriter(tmp_path) as writer,
    ):
        writer.write("dev", Rows(["a", "b"], ["x", "x\udc00"], [7, 9]))


def test_table_writer_writes_nothing_for_no_rows(tmp_path):
    with TableWriter(tmp_path) as writer:
        writer.write("train", Rows([], [], []))

    assert list(tmp_path.iterdir()) == []


def test_table_made_from_a_file_comes_back_as_it_was_read():
    table, _ = make(train=opened("text\tlabel\n\ufeff a\0\rb \tx\n👩\u200d💻\ty\n"))

    assert table.texts == ["\ufeff a\0\rb ", "👩\u200d💻"]
    assert table.labels.tolist() == ["x", "y"]
    assert table.splits.tolist() == ["train", "train"]
    assert table.lines.tolist() == [2, 3]

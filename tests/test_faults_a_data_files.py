"""Bad data files, one test or more for each row A1 to A29 of the list of faults."""

import csv
import gzip
import json
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.config import DatasetSpec, SplitSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import Table
from pipeline.errors import DataError
from pipeline.features.keys import row_key
from pipeline.features.store import FeatureStore
from pipeline.pairs import joined
from pipeline.splitting import choose_split
from pipeline.storage import DigestCache, sha256_file
from pipeline.testing import WordLengthEncoder
from tests.conftest import Done, Job, review_rows, write_tsv
from tests.stores import extract

ROWS = "text\tlabel\n" + "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(20))


def prepare(path: Path, **options: Any) -> tuple[Table, dict[str, Any]]:
    """Read a file or folder as `PrepareDataset` does; return the table and its ledger."""
    spec = DatasetSpec(dataset=str(path), **options)
    with tempfile.TemporaryDirectory() as folder:
        ledger = make_table(find_source(spec, sha256_file).read(), spec, Path(folder))
        return Table.load(Path(folder)), ledger


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(job: Job, done: Done, status: int) -> str:
    """Assert that a command was refused in one clear message that published nothing; return the message."""
    assert done.status == status, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    messages = [line for line in done.err.splitlines() if line.strip()]
    assert len(messages) == 1, done.err
    assert not any(job.stages().values())
    return messages[0]


def run(job: Job, path: Path, *options: str, status: int = 30) -> str:
    done = job.run("PrepareDataset", "--dataset", path, *options, timeout=30)
    return refused(job, done, status)


def test_a01_a_missing_file_is_named_before_anything_is_scheduled(job, tmp_path):
    message = run(job, tmp_path / "nowhere.tsv", status=40)

    assert str(tmp_path / "nowhere.tsv") in message
    assert "Pass --dataset with a path that exists" in message


def make_folder(path: Path) -> None:
    path.mkdir()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's whole path is at most 108 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere.tsv")


def make_circle(path: Path) -> None:
    path.symlink_to(path.name)


NO_FILES = {
    "folder": (make_folder, "is a folder, expected a regular file"),
    "pipe": (make_pipe, "is a pipe, expected a regular file"),
    "socket": (make_socket, "is a socket, expected a regular file"),
    "broken link": (make_broken_link, "is a link that leads to no file"),
    "circle of links": (make_circle, "Too many levels of symbolic links"),
}


@pytest.mark.parametrize("in_a_folder", [False, True], ids=["alone", "in a folder"])
@pytest.mark.parametrize("kind", NO_FILES)
def test_a02_what_is_no_file_is_called_what_it_is(job, tmp_path, kind, in_a_folder):
    make, expected = NO_FILES[kind]
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder / "train.tsv")

    message = run(job, folder if in_a_folder else folder / "train.tsv", status=40)

    assert f"train.tsv {expected}" in message or expected in message
    assert "train.tsv" in message


def test_a02_a_link_that_leads_out_of_its_folder_is_refused(job, tmp_path):
    outside = write(tmp_path / "outside.tsv", ROWS)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.tsv").symlink_to(outside)

    message = run(job, tmp_path / "set", status=40)

    assert "leads out of its folder" in message
    assert "put a copy into the folder" in message


def test_a02_a_link_within_its_folder_is_followed(tmp_path):
    write(tmp_path / "set" / "rows.tsv", ROWS)
    (tmp_path / "set" / "train.tsv").symlink_to("rows.tsv")

    table, _ = prepare(tmp_path / "set")

    assert len(table.texts) == 20


@pytest.mark.parametrize("ending", ["tsv", "csv", "txt", "jsonl", "tsv.gz"])
def test_a03_an_empty_file_has_no_rows(tmp_path, ending):
    content = gzip.compress(b"") if ending.endswith(".gz") else b""
    path = write(tmp_path / f"empty.{ending}", content)

    with pytest.raises(DataError, match=r"No rows in .*: the file is empty\."):
        prepare(path)


@pytest.mark.parametrize("content", ["text\tlabel\n", "text\tlabel", "text\tlabel\n\n"])
def test_a04_a_header_alone_has_no_rows(tmp_path, content):
    with pytest.raises(DataError, match=r"No rows in .*: only a header line"):
        prepare(write(tmp_path / "h.tsv", content))


def test_a05_a_missing_column_gets_the_columns_and_the_nearest_name(job, tmp_path):
    path = write(tmp_path / "r.tsv", ROWS)

    message = run(job, path, "--text-column", "txet")

    assert "(columns: text, label). Did you mean 'text'?" in message


def test_a05_a_column_renamed_in_one_split_is_named(tmp_path):
    write(tmp_path / "set" / "train.tsv", ROWS)
    write(tmp_path / "set" / "dev.tsv", ROWS.replace("label", "labels", 1))

    with pytest.raises(DataError, match=r"dev\.tsv has no column 'label' \(columns: "):
        prepare(tmp_path / "set")


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_a06_a_column_name_that_stands_twice_is_refused(tmp_path, ending):
    content = ROWS.replace("text\tlabel", "text\ttext").replace(
        "\t", "," if ending == "csv" else "\t"
    )

    with pytest.raises(DataError, match=r"Column 'text' stands more than once"):
        prepare(write(tmp_path / f"r.{ending}", content))


def test_a07_further_columns_are_ignored_and_recorded(tmp_path):
    content = ROWS.replace("\tlabel", "\tlabel\tid").replace("a\n", "a\t1\n")
    table, ledger = prepare(write(tmp_path / "r.tsv", content.replace("b\n", "b\t2\n")))

    assert table.texts[0] == "text 0"
    assert ledger["splits"]["train"]["ignored_columns"] == ["id"]


def test_a08_a_utf8_mark_is_no_part_of_the_first_name(tmp_path):
    table, ledger = prepare(write(tmp_path / "r.tsv", b"\xef\xbb\xbf" + ROWS.encode()))

    assert ledger["text_column"] == "text"
    assert len(table.texts) == 20


@pytest.mark.parametrize(
    ("encoding", "place"),
    [
        ("latin-1", rf":22 is not UTF-8: byte 0xe9 at offset {len(ROWS) + 3}"),
        ("utf-16", r":1 is not UTF-8: byte 0xff at offset 0"),
        ("utf-16-le", r" is full of NUL bytes: UTF-16"),
    ],
)
def test_a08_another_encoding_is_refused_with_its_place(tmp_path, encoding, place):
    path = write(tmp_path / "r.tsv", (ROWS + "café\ta\n").encode(encoding))

    with pytest.raises(DataError, match=rf"r\.tsv{place}.*iconv -f "):
        prepare(path)


def test_a09_nul_and_control_characters_are_kept_counted_and_placed(tmp_path):
    table, ledger = prepare(write(tmp_path / "r.tsv", ROWS + "a\0b\ta\nc\x1b[1m\tb\n"))

    assert table.texts[20:22] == ["a\0b", "c\x1b[1m"]
    assert ledger["texts"]["control_characters"] == {
        "rows": 2,
        "first": [{"split": "train", "line": 22}, {"split": "train", "line": 23}],
    }


def test_a09_a_zeroed_block_is_damage(tmp_path):
    content = ROWS.encode()

    with pytest.raises(DataError, match=r"damaged: a block of NUL bytes at offset 100"):
        prepare(write(tmp_path / "r.tsv", content[:100] + bytes(512) + content[100:]))


@pytest.mark.parametrize("ending", ["tsv", "csv"])
def test_a10_only_line_feeds_end_a_row_whatever_the_line_ends(tmp_path, ending):
    separator = "," if ending == "csv" else "\t"
    rows = [("a\rb", "x"), ("c\u2028d", "y"), ("e\x85f", "x"), ("g\x0bh\x0ci", "y")]
    lines = [f"{text}{separator}{label}" for text, label in rows]
    content = "\n".join([f"text{separator}label", *lines])

    unix, _ = prepare(write(tmp_path / f"unix.{ending}", content + "\n"))
    dos, _ = prepare(
        write(tmp_path / f"dos.{ending}", content.replace("\n", "\r\n"))
    )  # and no final line end

    assert unix.texts == dos.texts == [text for text, _ in rows]
    assert unix.labels.tolist() == dos.labels.tolist()


def test_a11_quotes_in_tsv_never_merge_rows(tmp_path):
    content = 'text\tlabel\n"a\tx\nb\ty\nc"\tx\n"d" e\ty\n'

    table, ledger = prepare(write(tmp_path / "r.tsv", content))

    notes = ledger["splits"]["train"]
    assert table.texts == ['"a', "b", 'c"', '"d" e']
    assert notes["rows_read"] == content.count("\n") - 1 == notes["lines"] - 1


def test_a11_a_stray_quote_in_csv_that_merged_rows_is_refused(tmp_path):
    content = 'text,label\na,x\n"oops,y\nb,x\nc,y\nend",x\n'

    with pytest.raises(DataError, match=r":3 has a quoted text that holds whole rows"):
        prepare(write(tmp_path / "r.csv", content))


def test_a11_an_open_quote_in_csv_is_refused_with_its_line(tmp_path):
    with pytest.raises(DataError, match=r"row that begins on line 3: .*Close the quot"):
        prepare(write(tmp_path / "r.csv", 'text,label\na,x\n"b,y\nc,x\n'))


def test_a12_short_rows_are_refused_with_the_first_ten_lines(tmp_path):
    content = ROWS + "only text\n" * 12

    with pytest.raises(
        DataError, match=r"12 rows of .* lines 22, 23, .*, 31 and 2 more\. Mend them"
    ):
        prepare(write(tmp_path / "r.tsv", content))


def test_a12_further_fields_are_ignored_counted_and_reported(tmp_path, caplog):
    table, ledger = prepare(write(tmp_path / "r.tsv", ROWS + "wide\ta\tmore\n"))

    assert (table.texts[-1], table.labels[-1]) == ("wide", "a")
    assert ledger["splits"]["train"]["extra_fields"] == 1
    assert "1 rows have more than 2 fields, what is too much is ignored" in caplog.text
    assert "lines 22" in caplog.text


def test_a12_further_fields_that_moved_the_label_are_refused(tmp_path):
    content = ROWS.replace("\t", ",") + "good, but long,a\n"

    with pytest.raises(
        DataError, match=r"no other row has, such as ' ?but long' on line"
    ):
        prepare(write(tmp_path / "r.csv", content))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a13_a_truncated_gzip_file_is_refused(tmp_path, share):
    data = gzip.compress(ROWS.encode() * 500)

    with pytest.raises(DataError, match=r"cannot be unpacked .* cut off or damaged"):
        prepare(write(tmp_path / "r.tsv.gz", data[: int(share * len(data))]))


def test_a13_a_truncated_parquet_file_is_refused(tmp_path):
    path = tmp_path / "r.parquet"
    pd.DataFrame({"text": ["a", "b"], "label": ["x", "y"]}).to_parquet(path)
    write(path, path.read_bytes()[:-20])

    with pytest.raises(DataError, match=r"cannot be read as Parquet: .*Write it again"):
        prepare(path)


def test_a13_a_zip_file_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"ends in '\.zip', expected one of: .tsv"):
        prepare(write(tmp_path / "r.zip", b"PK\x03\x04"))
    with pytest.raises(DataError, match=r"begins like a zip file or a sheet"):
        prepare(write(tmp_path / "r.csv", b"PK\x03\x04\xff\xfe\xfd"))


def test_a13_nothing_of_a_damaged_file_is_published(job, tmp_path):
    data = gzip.compress(random.Random(0).randbytes(200_000).hex().encode())

    run(job, write(tmp_path / "r.tsv.gz", data[: len(data) // 2]))

    assert list((job.artifacts / "tmp").iterdir()) == []


def test_a14_a_bomb_of_one_row_is_refused_before_it_is_unpacked(python, tmp_path):
    bomb = gzip.compress(b"a" * 2 * 10**8)
    peak = peak_of_reading(python, write(tmp_path / "bomb.tsv.gz", bomb))

    assert "is a row of more than" in peak["error"]
    assert peak["mb"] < 150


def test_a14_a_size_limit_refuses_what_unpacks_to_more(tmp_path):
    path = write(tmp_path / "r.tsv.gz", gzip.compress(ROWS.encode() * 1000))

    with pytest.raises(DataError, match=r"holds more than 0\.0001 GB .*Pass --max-gb"):
        prepare(path, max_gb=0.0001)


def test_a15_a_text_of_ten_megabytes_is_read_and_counted(python, tmp_path):
    path = write(tmp_path / "r.tsv", ROWS + "word " * 2_000_000 + "\ta\n")
    _, ledger = prepare(path)

    assert ledger["texts"]["longest"][0] == {
        "split": "train",
        "line": 22,
        "characters": 10_000_000,
    }
    assert peak_of_reading(python, path)["mb"] < 150


EMPTY = ROWS + "\ta\n  \tb\n\u00a0\ta\n"


def test_a16_empty_texts_are_refused_with_their_lines_by_default(job, tmp_path):
    message = run(job, write(tmp_path / "r.tsv", EMPTY))

    assert "3 empty texts in" in message
    assert (
        "lines 22, 23, 24. Fill them, or pass --empty-text drop (or keep)." in message
    )


@pytest.mark.parametrize(("policy", "n_used"), [("drop", 20), ("keep", 23)])
def test_a16_empty_texts_are_dropped_or_kept_on_request_and_recorded(
    tmp_path, policy, n_used
):
    path = write(tmp_path / "r.tsv", EMPTY)

    table, ledger = prepare(path, empty_text=policy)

    notes = ledger["splits"]["train"]
    assert len(table.texts) == n_used
    assert (notes["empty_texts"], notes["rows_used"]) == (3, n_used)


@pytest.mark.parametrize("missing", ["null", "NaN"])
def test_a17_a_missing_text_is_never_a_word(tmp_path, missing):
    lines = ['{"text": "a", "label": "x"}', f'{{"text": {missing}, "label": "y"}}']
    path = write(tmp_path / "r.jsonl", "\n".join([*lines, *lines]))

    with pytest.raises(DataError, match=r"2 empty texts in .*: lines 2, 4\."):
        prepare(path)
    kept, _ = prepare(path, empty_text="keep")
    assert kept.texts == ["a", "", "a", ""]


def test_a17_a_missing_text_of_parquet_is_never_a_word(tmp_path):
    path = tmp_path / "r.parquet"
    pd.DataFrame({"text": ["a", None, "b"], "label": ["x", "y", "x"]}).to_parquet(path)

    with pytest.raises(DataError, match=r"1 empty texts in .*: lines 2\."):
        prepare(path)


def test_a17_the_words_nan_and_none_are_texts(tmp_path):
    words = ["nan", "NaN", "None", "null", "NA"]
    rows = "".join(f"{word}\t{'ab'[i % 2]}\n" for i, word in enumerate(words))

    table, _ = prepare(write(tmp_path / "r.tsv", "text\tlabel\n" + rows))

    assert table.texts == words


@pytest.mark.parametrize(
    ("cell", "kind"), [("1", "int"), ("1.5", "float"), ("[]", "list")]
)
def test_a18_texts_that_are_none_are_refused(tmp_path, cell, kind):
    path = write(tmp_path / "r.jsonl", f'{{"text": {cell}, "label": "a"}}\n' * 2)

    with pytest.raises(
        DataError, match=rf"holds {kind} values, expected texts: rows 1"
    ):
        prepare(path)


ODD = ["a \ud800 b", "👩\u200d💻", "\u202eשלום", "\u00e9", "e\u0301", "ﬁ"]


def test_a19_odd_texts_are_kept_to_the_byte(tmp_path):
    lines = [json.dumps({"text": t, "label": "ab"[i % 2]}) for i, t in enumerate(ODD)]

    table, ledger = prepare(write(tmp_path / "r.jsonl", "\n".join(lines)))

    assert table.texts == ODD
    assert ledger["texts"]["distinct"] == len(ODD)  # nothing is normalised
    assert len({row_key(text) for text in table.texts}) == len(ODD)


def encoded(tmp_path: Path, path: Path) -> list[str]:
    """Bring a file's texts into the store; return those that had to be encoded."""
    encoder = WordLengthEncoder()
    table, _ = prepare(path)
    extract(FeatureStore(tmp_path / "features", tmp_path), table.texts, encoder)
    return list(map(joined, encoder.seen))


def test_a20_a_repeated_row_is_encoded_once_and_kept_twice(tmp_path):
    path = write(tmp_path / "r.tsv", ROWS + "text 3\tb\ntext 3\tb\n")
    table, ledger = prepare(path)

    assert table.texts.count("text 3") == 3
    assert ledger["texts"]["duplicates"] == 2
    assert encoded(tmp_path, path).count("text 3") == 1


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """A folder of which two test texts are training texts."""
    folder, rows = tmp_path / "set", review_rows()
    folder.mkdir()
    write_tsv(folder / "train.tsv", rows)
    write_tsv(folder / "test.tsv", [*rows[:2], ("so bad", "neg"), ("oh", "pos")])
    return folder


def test_a21_scored_texts_that_are_training_texts_are_counted_and_warned_of(job, leaky):
    done = job.run("SplitDataset", "--dataset", leaky)

    assert done.status == 0, done.err
    assert "2 of the scored rows (test) have a text that, but for case" in done.err
    (split,) = (job.artifacts / "splits").iterdir()
    manifest = json.loads((split / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["facts"]["overlap"]["identical"] == 2
    (data,) = (job.artifacts / "datasets").iterdir()
    facts = json.loads((data / "manifest.json").read_text(encoding="utf-8"))["facts"]
    assert facts["ledger"]["texts"]["in_train"] == {"test": 2}


def test_a21_fail_on_leak_refuses_them(job, leaky):
    done = job.run("SplitDataset", "--dataset", leaky, "--fail-on-leak")

    assert done.status == 30
    assert "--fail-on-leak is set. Remove them, or pass --split random" in done.err
    assert "splits" not in job.stages()


def test_a21_fail_on_leak_also_refuses_a_split_that_was_made_without_it(job, leaky):
    assert job.run("SplitDataset", "--dataset", leaky).status == 0

    assert job.run("SplitDataset", "--dataset", leaky, "--fail-on-leak").status == 30


def test_a21_random_splits_keep_equal_and_contained_texts_together():
    texts = [f"a film of {i} parts" for i in range(40)]
    texts += [f"film of {i} parts" for i in range(40)] + texts
    labels = ["ab"[i % 2] for i in range(40)] * 3

    split = choose_split(texts, labels, ["train"] * len(texts), SplitSpec())

    number = [i % 40 for i in range(120)]
    assert not {number[i] for i in split.fit} & {number[i] for i in split.test}


def test_a22_texts_with_several_labels_are_counted_warned_of_and_placed(
    tmp_path, caplog
):
    _, ledger = prepare(write(tmp_path / "r.tsv", ROWS + "text 4\tb\n"))

    assert ledger["texts"]["conflicting"] == 1
    places = [
        (row["line"], row["label"]) for row in ledger["texts"]["conflicts"][0]["rows"]
    ]
    assert places == [(6, "a"), (22, "b")]
    assert "1 texts have several labels, for example train 6: 'a'" in caplog.text


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "jsonl", "parquet"])
def test_a23_a_file_that_changes_while_it_is_read_is_refused(tmp_path, ending):
    path = tmp_path / f"r.{ending}"

    def fill(word: str) -> None:
        frame = pd.DataFrame({"text": [f"{word} {i}" for i in range(9)]})
        frame["label"] = [*"ababababa"]
        if ending == "parquet":
            frame.to_parquet(path)
        elif ending == "jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_csv(path, sep="\t", index=False)

    fill("one")
    spec = DatasetSpec(dataset=str(path))
    source = find_source(spec, sha256_file)
    fill("two")

    with pytest.raises(DataError, match=r"changed while .*Run the same command again"):
        make_table(source.read(), spec, tmp_path)


def test_a24_a_changed_file_has_another_key_and_only_new_texts_are_encoded(tmp_path):
    path = write(tmp_path / "r.tsv", ROWS)
    before = find_source(DatasetSpec(dataset=str(path)), sha256_file).identity
    encoded(tmp_path, path)

    write(path, ROWS.replace("text 7\t", "text seven\t") + "one more\ta\n")

    assert find_source(DatasetSpec(dataset=str(path)), sha256_file).identity != before
    assert sorted(encoded(tmp_path, path)) == ["one more", "text seven"]


def test_a25_reordered_rows_encode_nothing(tmp_path):
    path = write(tmp_path / "r.tsv", ROWS)
    encoded(tmp_path, path)
    header, *lines = ROWS.splitlines()

    write(path, "\n".join([header, *reversed(lines)]))

    assert encoded(tmp_path, path) == []


def test_a26_a_touched_file_runs_nothing(trained, tiny_encoder):
    os.utime(trained.cwd / "reviews.tsv", (10**9, 10**9))

    done = trained.train("reviews.tsv", tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    assert trained.ledger()[-1]["stages_run"] == []


def test_a27_other_bytes_of_the_same_size_and_time_are_noticed(tmp_path):
    path = write(tmp_path / "r.tsv", ROWS)
    os.utime(path, (10**9, 10**9))
    cache = DigestCache(tmp_path / "artifacts")
    before = cache.sha256(path)

    write(path, ROWS.replace("text 1", "text I"))
    os.utime(path, (10**9, 10**9))  # as `cp -p` leaves it

    assert (
        cache.sha256(path)
        != before
        == DigestCache(tmp_path / "other").sha256(write(tmp_path / "copy.tsv", ROWS))
    )


def test_a27_a_file_younger_than_its_clock_is_hashed_again(tmp_path, monkeypatch):
    path = write(tmp_path / "r.tsv", ROWS)
    cache = DigestCache(tmp_path / "artifacts")
    cache.sha256(path)
    hashed: list[Path] = []

    def sha256(found: Path) -> str:
        hashed.append(found)
        return "0" * 64

    monkeypatch.setattr("pipeline.storage.disk.sha256_file", sha256)

    cache.sha256(path)

    assert hashed == [path]


@pytest.mark.parametrize(
    "nasty", ["../../x", "/etc/passwd", "=cmd|' /C calc'!A1", "..\\x"]
)
def test_a28_nothing_of_a_row_is_ever_a_path(job, tmp_path, nasty):
    rows = [
        ("id", "text", "label"),
        *((nasty, f"t {i}", nasty + "ab"[i % 2]) for i in range(4)),
    ]
    path = tmp_path / "r.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)
    before = sorted(tmp_path.iterdir())

    done = job.run("PrepareDataset", "--dataset", path)

    assert done.status == 0, done.err
    assert sorted(tmp_path.iterdir()) == before
    assert sorted(p.name for p in job.cwd.iterdir()) == ["artifacts"]
    assert not any("passwd" in p.name or p.name == "x" for p in job.cwd.rglob("*"))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a film\tx\n", "All 1 training rows have the label 'x'"),
        (
            "a film\tx\nb film\ty\n",
            "Label 'x' has a single row, but a random split needs",
        ),
    ],
)
def test_a29_too_few_rows_are_refused(job, tmp_path, tiny_encoder, rows, message):
    path = write(tmp_path / "r.tsv", "text\tlabel\n" + rows)

    done = job.train(path, tiny_encoder)

    assert done.status == 30
    assert message in done.err
    assert "Traceback" not in done.err


PEAK = """
import json, sys, tempfile
from pathlib import Path
from pipeline.config import DatasetSpec
from pipeline.datasets import ledger
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.errors import DataError
from pipeline.storage import sha256_file

ledger.PART_ROWS = 100_000

def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

def read(path):
    spec = DatasetSpec(dataset=path)
    with tempfile.TemporaryDirectory() as folder:
        make_table(find_source(spec, sha256_file).read(), spec, Path(folder))

read({small!r})
before, error = peak_mb(), ""
try:
    read({path!r})
except DataError as found:
    error = str(found)
print(json.dumps({{"mb": peak_mb() - before, "error": error}}))
"""


def peak_of_reading(python: Any, path: Path) -> Any:
    """Return by how many MB reading `path` raises the peak memory of a process that has read a small file."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory is told by Linux alone")
    small = write(path.with_name("small.tsv"), ROWS)
    done = python(PEAK.format(small=str(small), path=str(path)))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a29_many_rows_are_read_in_bounded_memory(python, tmp_path):
    rows = (
        f"text of the row with the number {i}\t{'ab'[i % 2]}\n" for i in range(10**6)
    )
    path = tmp_path / "many.tsv"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("text\tlabel\n")
        stream.writelines(rows)

    peak = peak_of_reading(python, path)

    assert peak["error"] == ""
    assert peak["mb"] < 120  # all rows at once would be another 150 as Python objects


def damaged_folders(tmp_path: Path) -> dict[str, Path]:
    """Return three folders, each with damage of several kinds."""
    ragged = ROWS + "only text\n"
    one, two, three = (tmp_path / name for name in ("one", "two", "three"))
    write(one / "train.tsv", (ROWS + "café\ta\n").encode("latin-1"))
    write(one / "dev.tsv", ragged)
    write(one / "test.tsv", ROWS.encode() + bytes(100) + b"\ta\n")
    write(two / "train.tsv", ragged)
    write(two / "dev.tsv.gz", gzip.compress(ROWS.encode() * 99)[:-30])
    write(three / "train.tsv", ROWS)
    make_circle(three / "dev.tsv")
    make_pipe(three / "test.tsv")
    return {"one": one, "two": two, "three": three}


@pytest.mark.parametrize(
    ("name", "status", "message"),
    [
        ("one", 30, "train.tsv:22 is not UTF-8"),
        ("two", 30, "dev.tsv.gz cannot be unpacked"),
        ("three", 40, "dev.tsv is a link that leads to no file"),
    ],
)
def test_damaged_folders_get_one_clear_message_each(
    job, tmp_path, name, status, message
):
    folder = damaged_folders(tmp_path)[name]

    assert message in run(job, folder, status=status)

"""Bad data files as users meet them: what the report says of them, and what they cost.

Named after rows A1 to A29 of the list of faults; the reader's own tests of these rows stand in
``test_faults_a_data_files.py``.
"""

import gzip
import json
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import DatasetSpec
from pipeline.datasets.files import BLOCK_BYTES
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import Table
from pipeline.errors import DataError
from pipeline.storage import sha256_file
from tests.conftest import Done, Job, review_rows
from tests.tables import make, opened

ROWS = "text\tlabel\n" + "".join(f"text {i}\t{'ab'[i % 2]}\n" for i in range(20))


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def below(folder: Path) -> list[str]:
    """Return every file below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def refusal(done: Done, status: int) -> str:
    """Assert that a command gave one message and a status; return the message."""
    assert done.status == status, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    (message,) = (line for line in done.err.splitlines() if line.strip())
    return message


def read(path: Path, folder: Path, **options: Any) -> Table:
    """Read a file or folder as `PrepareDataset` does."""
    folder.mkdir(exist_ok=True)
    spec = DatasetSpec(dataset=str(path), **options)
    make_table(find_source(spec, sha256_file).read(), spec, folder)
    return Table.load(folder)


LONG = "good film " * 1_000


@pytest.fixture(scope="module")
def odd(
    tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path
) -> tuple[Job, Done]:
    """A finished training on rows that are odd in nearly every way that is allowed."""
    job = Job(tmp_path_factory.mktemp("odd"))
    rows = review_rows()
    lines = [f"{text}\t{label}\t../../{i}" for i, (text, label) in enumerate(rows)]
    lines += [
        "bad\0film\tneg\t120",  # line 122
        "good\x1b[31m plot\tpos\t121",
        " \tneg\t122",
        f"{rows[0][0]}\t{rows[0][1]}\t123",  # repeated
        f"{rows[1][0]}\tneg\t124",  # with another label
        "wide story\tpos\t125\tmore\tfields",
        f"{LONG}\tpos\t126",
    ]
    test = [f"a {text}\t{label}\t0" for text, label in rows[:20] + rows[-20:]]
    test += [f"{rows[7][0]}\t{rows[7][1]}\t1"]  # a training text
    header = "text\tlabel\tid"
    write(job.cwd / "set" / "train.tsv", "\n".join([header, *lines]) + "\n")
    write(job.cwd / "set" / "test.tsv", "\n".join([header, *test]) + "\n")
    done = job.train("set", tiny_encoder, "--C", "1", "--empty-text", "drop")
    assert done.status == 0, done.err
    return job, done


def manifest_of(job: Job) -> dict[str, Any]:
    (folder,) = (job.artifacts / "datasets").iterdir()
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    facts: dict[str, Any] = manifest["facts"]
    return facts


def test_the_report_repeats_the_ledger_of_the_manifest(odd):
    job, _ = odd

    ledger, dataset = manifest_of(job)["ledger"], job.report()["dataset"]

    assert {name: dataset[name] for name in ledger} == ledger


def test_a07_further_columns_stand_in_manifest_and_report(odd):
    job, _ = odd

    for splits in (
        manifest_of(job)["ledger"]["splits"],
        job.report()["dataset"]["splits"],
    ):
        assert [splits[s]["ignored_columns"] for s in ("train", "test")] == [["id"]] * 2


def test_a09_the_report_names_the_rows_with_control_characters(odd):
    job, done = odd

    assert job.report()["dataset"]["texts"]["control_characters"] == {
        "rows": 2,
        "first": [{"split": "train", "line": 122}, {"split": "train", "line": 123}],
    }
    assert "2 with control characters (train 122, train 123)" in done.out


def test_a12_further_fields_are_counted_in_report_and_last_lines(odd):
    job, done = odd

    assert job.report()["dataset"]["splits"]["train"]["extra_fields"] == 1
    assert "1 with extra fields" in done.out
    assert "more than 3 fields, what is too much is ignored: lines 127" in done.err


def test_a15_a_long_text_is_cut_by_the_tokenizer_and_counted(odd):
    job, _ = odd
    report = job.report()

    assert report["dataset"]["texts"]["longest"][0] == {
        "split": "train",
        "line": 128,
        "characters": len(LONG),
    }
    assert (report["encoder"]["rows_cut"], report["encoder"]["longest_tokens"]) == (
        1,
        2_002,
    )


def test_a16_dropped_texts_are_counted_in_report_and_last_lines(odd):
    job, done = odd

    notes = job.report()["dataset"]["splits"]["train"]
    assert (notes["rows_read"], notes["empty_texts"], notes["rows_used"]) == (
        127,
        1,
        126,
    )
    assert "train 127 (126 used;" in done.out
    assert "1 empty" in done.out


def test_a20_repeated_texts_are_counted_and_encoded_once(odd):
    job, _ = odd
    texts = job.report()["dataset"]["texts"]

    assert (texts["rows"], texts["distinct"], texts["duplicates"]) == (167, 164, 3)
    entry = job.ledger()[-1]
    assert (entry["rows_encoded"], entry["rows_reused"]) == (164, 3)
    assert job.report()["encoder"]["rows"] == 167


def test_a21_a_leaked_text_is_told_in_report_and_warning(odd):
    job, done = odd
    report = job.report()

    assert report["dataset"]["texts"]["in_train"] == {"test": 1}
    assert report["split"]["overlap"]["identical"] == 1
    assert "1 of the scored rows (test) have a text that" in done.err


def test_a22_texts_with_several_labels_are_told_with_their_lines(odd):
    job, done = odd
    texts = job.report()["dataset"]["texts"]

    assert texts["conflicting"] == 1
    assert [(r["line"], r["label"]) for r in texts["conflicts"][0]["rows"]] == [
        (3, "pos"),
        (126, "neg"),
    ]
    assert "1 texts have several labels, for example train 3: 'pos'" in done.err


def test_a28_ids_that_look_like_paths_name_no_file(odd):
    job, _ = odd

    assert sorted(p.name for p in job.cwd.iterdir()) == ["artifacts", "set"]


def test_a01_a_missing_file_leaves_nothing_but_a_line_in_the_ledger(job, tiny_encoder):
    write(job.cwd / "reviews.tsv", ROWS)

    message = refusal(job.train("revews.tsv", tiny_encoder), 40)

    assert "no file or folder" in message
    assert "Did you mean 'reviews.tsv'?" in message
    assert below(job.artifacts) == ["runs.jsonl"]
    (entry,) = job.ledger()
    assert (entry["status"], entry["stages_run"]) == ("failed", [])
    assert "'revews.tsv' not found" in entry["error"]


@pytest.mark.parametrize("name", ["/dev/zero", "/dev/stdin"])
def test_a02_a_device_is_not_read(job, name):
    done = job.run("PrepareDataset", "--dataset", name, timeout=30)

    assert name in refusal(done, 40)
    assert not job.artifacts.exists()


def test_a02_a_folder_may_be_a_link_itself(tmp_path):
    write(tmp_path / "real" / "train.tsv", ROWS)
    (tmp_path / "link").symlink_to("real")

    assert len(read(tmp_path / "link", tmp_path / "out").texts) == 20


@pytest.mark.parametrize("ending", ["tsv", "tsv.gz", "jsonl", "parquet"])
def test_a03_an_empty_file_never_becomes_features(job, tmp_path, tiny_encoder, ending):
    path = write(tmp_path / f"empty.{ending}", b"")

    message = refusal(job.train(path, tiny_encoder), 30)

    assert str(path) in message
    assert "No rows in" in message or "Parquet file size is 0 bytes" in message
    left = [name for name in below(job.artifacts) if not name.startswith("locks/")]
    assert sorted({*left, "digests.json"}) == ["digests.json", "runs.jsonl"]


def test_a03_an_empty_dev_file_is_named(tmp_path):
    write(tmp_path / "set" / "train.tsv", ROWS)
    write(tmp_path / "set" / "dev.tsv", b"")

    with pytest.raises(DataError, match=r"No rows in .*dev\.tsv: the file is empty"):
        read(tmp_path / "set", tmp_path / "out")


@pytest.mark.parametrize("wanted", ["0", "3", "lable"])
def test_a05_a_column_that_is_not_there_gets_the_list(wanted):
    with pytest.raises(
        DataError, match=rf"Column '{wanted}' not found in .*\(columns: text, label\)"
    ):
        make(DatasetSpec(label_column=wanted), train=opened(ROWS))


def test_a05_a_json_row_without_the_field_is_named():
    rows = '{"text": "a", "label": "x"}\n{"text": "b"}\n{"txt": "c", "label": "y"}\n'

    with pytest.raises(DataError, match=r"2 rows of .* lines 2, 3\. Add it, or null"):
        make(train=opened(rows, "jsonl"))


def test_a06_a_json_key_that_stands_twice_is_refused_with_its_line():
    rows = '{"text": "a", "label": "x"}\n{"text": "a", "text": "b", "label": "x"}\n'

    with pytest.raises(DataError, match=r"my\.jsonl:2 .*a key stands more than once"):
        make(train=opened(rows, "jsonl"))


def test_a06_a_parquet_column_that_stands_twice_is_refused(tmp_path):
    columns = [pa.array([word]) for word in "abc"]
    table = pa.Table.from_arrays(columns, names=["text", "text", "label"])
    pq.write_table(table, tmp_path / "r.parquet")

    with pytest.raises(DataError, match=r"Column 'text' stands more than once"):
        read(tmp_path / "r.parquet", tmp_path / "out")


@pytest.mark.parametrize("form", ["tsv", "tsv.gz"])
def test_a08_a_wrong_byte_behind_many_blocks_has_its_line_and_offset(form):
    good = ("word " * 200 + "\ta\n").encode() * 9_000
    assert len(good) > 2 * BLOCK_BYTES
    data = good + b"caf\xe9\ta\n" + ROWS.encode()
    line, offset = good.count(b"\n") + 1, len(good) + 3

    with pytest.raises(
        DataError, match=rf":{line:,} is not UTF-8: byte 0xe9 at offset {offset:,}\."
    ):
        make(
            train=opened(gzip.compress(data, 1) if form.endswith("gz") else data, form)
        )


@pytest.mark.parametrize("n", [63, 64])
@pytest.mark.parametrize("before", [0, 1, 32, 63])
def test_a09_so_many_nuls_are_damage_also_across_the_end_of_a_block(n, before):
    start = ROWS.encode()
    start += b"x" * (BLOCK_BYTES - len(start) - before)
    raw = start + bytes(n) + b"\ta\n"

    if n < 64:
        table, _ = make(train=opened(raw))
        assert str(table.texts[-1]).endswith("x" + "\0" * n)
    else:
        offset = f"{BLOCK_BYTES - before:,}"
        with pytest.raises(DataError, match=f"a block of NUL bytes at offset {offset}"):
            make(train=opened(raw))


def test_a09_a_file_of_which_a_third_is_nul_is_damaged():
    content = "text\tlabel\n" + "a\0\0\0\tx\nb\0\0\0\ty\n" * 50

    with pytest.raises(DataError, match="is full of NUL bytes"):
        make(train=opened(content))


def test_a10_line_ends_inside_a_quoted_text_stay_as_they_are():
    table, _ = make(train=opened('text,label\r\n"a\r\nb",x\r\n"c\rd",y\r\n', "csv"))

    assert table.texts == ["a\r\nb", "c\rd"]


def test_a10_json_lines_end_at_line_feeds_only():
    rows = '{"text": "a\u2028b\x85", "label": "x"}\r\n{"text": "c\\rd", "label": "y"}'

    table, _ = make(train=opened(rows, "jsonl"))

    assert table.texts == ["a\u2028b\x85", "c\rd"]


def test_a11_as_many_rows_as_line_ends_wherever_quotes_stand():
    shapes = ['"{}', '{}"', '"{}"', "{} \" '", '"" {}', "`` {} ''", '{}"" "']
    texts = [shapes[i % 7].format(f"word {i}") for i in range(700)]
    content = "sentence\tlabel\n" + "".join(
        f"{text}\t{i % 2}\n" for i, text in enumerate(texts)
    )

    table, ledger = make(train=opened(content))

    assert ledger["splits"]["train"]["rows_read"] == content.count("\n") - 1
    assert table.texts == texts
    assert table.lines.tolist() == list(range(2, 702))


def test_a12_a_tab_inside_a_text_gets_advice_that_fits():
    with pytest.raises(
        DataError, match=r"such as 'too' on line 22\. .*take the separator out"
    ):
        make(train=opened(ROWS + "a\ttoo\tb\n"))


DAMAGE: dict[str, tuple[str, str | bytes, str]] = {
    "wrong encoding": (
        "dev.tsv",
        (ROWS + "caf\xe9\ta\n").encode("latin-1"),
        "dev.tsv:22 is not UTF-8: byte 0xe9",
    ),
    "ragged": (
        "dev.csv",
        ROWS.replace("\t", ",") + "alone\n",
        "1 rows of",
    ),
    "NULs": ("dev.tsv", ROWS.encode() + bytes(4096), "is damaged: a block of NUL"),
    "truncated": (
        "dev.tsv.gz",
        gzip.compress(ROWS.encode() * 99)[:-9],
        "cannot be unpacked",
    ),
    "no Parquet": ("dev.parquet", b"PAR1" + bytes(99), "cannot be read as Parquet"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a13_one_damaged_file_of_a_folder_spoils_it_in_one_message(job, tmp_path, kind):
    name, content, expected = DAMAGE[kind]
    write(tmp_path / "set" / "train.tsv", ROWS)
    write(tmp_path / "set" / name, content)

    done = job.run("PrepareDataset", "--dataset", tmp_path / "set", timeout=30)

    message = refusal(done, 30)
    assert expected in message
    assert str(tmp_path / "set" / name) in message
    assert not job.stages().get("datasets")
    assert below(job.artifacts / "tmp") == []


def test_a14_the_size_limit_is_an_option_and_part_of_no_key(job, tmp_path):
    path = write(tmp_path / "r.tsv.gz", gzip.compress(ROWS.encode() * 1_000))
    command = ("PrepareDataset", "--dataset", path, "--max-gb")

    message = refusal(job.run(*command, "0.0001", timeout=30), 30)
    allowed = [job.run(*command, size, timeout=30).status for size in ("0.001", "2")]

    assert "holds more than 0.0001 GB of text. Pass --max-gb" in message
    assert allowed == [0, 0]
    assert len(job.stages()["datasets"]) == 1


def test_a17_an_empty_cell_of_a_csv_is_no_word():
    with pytest.raises(DataError, match=r"1 empty texts in .*: lines 3\."):
        make(train=opened("text,label\na,x\n,y\nb,y\n", "csv"))
    table, _ = make(
        DatasetSpec(empty_text="keep"), train=opened("text,label\na,x\n,y\n", "csv")
    )
    assert table.texts == ["a", ""]


@pytest.mark.parametrize(
    ("texts", "kind"), [([1, 2], "int"), ([b"a", b"b"], "bytes"), ([0.5, 1.5], "float")]
)
def test_a18_parquet_columns_without_texts_are_refused(job, tmp_path, texts, kind):
    path = tmp_path / "r.parquet"
    pd.DataFrame({"text": texts, "label": ["x", "y"]}).to_parquet(path)

    message = refusal(job.run("PrepareDataset", "--dataset", path), 30)

    assert f"holds {kind} values, expected texts: rows 1, 2. Pass" in message


def test_a18_only_the_rows_without_a_text_are_named():
    cells = ["a", 5, "b", True, ["c"]]
    rows = [json.dumps({"text": cell, "label": "x"}) for cell in cells]

    with pytest.raises(DataError, match=r"holds int values, .*: rows 2, 4, 5\."):
        make(train=opened("\n".join(rows), "jsonl"))


def test_a19_half_a_character_survives_the_published_table(job, tmp_path):
    texts = ["a \ud800 b", "\udfff", "e\u0301", "\u00e9", "\ufffd", "👩\u200d💻"]
    rows = [json.dumps({"text": t, "label": "ab"[i % 2]}) for i, t in enumerate(texts)]
    path = write(tmp_path / "r.jsonl", "\n".join(rows))

    done = job.run("PrepareDataset", "--dataset", path)

    assert done.status == 0, done.err
    (folder,) = (job.artifacts / "datasets").iterdir()
    assert Table.load(folder).texts == texts


LONG_ROWS = "".join(f"{'word ' * 200}\t{'ab'[i % 2]}\n" for i in range(20_000))


def append(path: Path) -> None:
    with path.open("ab") as stream:
        stream.write(b"one more\ta\n")


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 7)


def edit_the_end(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(-20, os.SEEK_END)
        stream.write(b"X")


def edit_in_secret(path: Path) -> None:
    """Leave size and time as they were."""
    before = path.stat()
    edit_the_end(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("change", [append, cut_off, edit_the_end, edit_in_secret])
def test_a23_a_change_in_the_middle_of_the_reading_is_noticed(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = write(tmp_path / "r.tsv", LONG_ROWS)
    assert path.stat().st_size > 2 * BLOCK_BYTES
    spec = DatasetSpec(dataset=str(path))
    source = find_source(spec, sha256_file)
    changed: list[int] = []

    def on_rows(n: int) -> None:
        if not changed:
            change(path)
        changed.append(n)

    with pytest.raises(
        DataError, match=r"r\.tsv changed while .*Run the same command again"
    ):
        make_table(source.read(), spec, tmp_path, on_rows)
    assert changed


def test_a27_a_file_of_the_same_size_and_time_is_another_data_set(job):
    path = write(job.cwd / "r.tsv", ROWS)
    folders = []
    for content in (ROWS, ROWS.replace("text 7\t", "text X\t"), ROWS):
        path.write_text(content)
        os.utime(path, (10**9, 10**9))  # as `cp -p` leaves it
        done = job.run("PrepareDataset", "--dataset", "r.tsv")
        assert done.status == 0, done.err
        folders.append(job.stages()["datasets"])

    assert [len(names) for names in folders] == [1, 2, 2]


PEAK = """
import sys, tempfile
from pathlib import Path
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.storage import sha256_file

def peak_mb():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

def read(path):
    spec = DatasetSpec(dataset=path)
    with tempfile.TemporaryDirectory() as folder:
        make_table(find_source(spec, sha256_file).read(), spec, Path(folder))

read({small!r})
before = peak_mb()
read({path!r})
print(peak_mb() - before)
"""


@pytest.fixture
def peak(python: Any, tmp_path: Path) -> Callable[[Path], float]:
    """Tell by how many MB reading a file raises the peak memory of a process that has read a small one."""
    if not Path("/proc/self/status").exists():
        pytest.skip("the peak memory is told by Linux alone")

    def measured(path: Path) -> float:
        small = path.with_name(f"small.{path.name.partition('.')[2]}")
        write_rows(small, 20, "", small.name.partition(".")[2])
        done = python(PEAK.format(small=str(small), path=str(path)))
        assert done.returncode == 0, done.stderr
        return float(done.stdout)

    return measured


def write_rows(path: Path, n: int, filling: str, form: str) -> Path:
    """Write `n` rows, each text its number and `filling`."""

    texts = ((f"{i} {filling}", "ab"[i % 2]) for i in range(n))
    if form == "parquet":
        schema = pa.schema([("text", pa.string()), ("label", pa.string())])
        # pages of few rows, as other writers make them; pyarrow looks at their size each 1,024 rows
        with pq.ParquetWriter(path, schema, write_batch_size=4) as writer:
            while rows := list(islice(texts, 10_000)):
                columns = [list(column) for column in zip(*rows, strict=True)]
                writer.write_table(pa.table(columns, schema=schema))
        return path
    with gzip.open(path, "wt", compresslevel=1, encoding="utf-8") as stream:
        if form == "jsonl.gz":
            stream.writelines(
                json.dumps({"text": text, "label": label}) + "\n"
                for text, label in texts
            )
        else:
            separator = "," if form == "csv.gz" else "\t"
            stream.write(f"text{separator}label\n")
            stream.writelines(f"{t}{separator}{label}\n" for t, label in texts)
    return path


@pytest.mark.parametrize("form", ["tsv.gz", "csv.gz", "jsonl.gz", "parquet"])
def test_a14_long_rows_are_read_in_bounded_memory(peak, tmp_path, form):
    """As objects, all rows at once are 200 MB and more; a file of 1 MB may hold them."""
    path = write_rows(tmp_path / f"long.{form}", 200, "word " * 200_000, form)

    assert peak(path) < 150


@pytest.mark.parametrize("form", ["csv.gz", "jsonl.gz", "parquet"])
def test_a29_many_rows_are_read_in_bounded_memory(peak, tmp_path, form):
    """As objects, all rows at once are more than 200 MB."""
    path = write_rows(tmp_path / f"many.{form}", 200_000, "word " * 200, form)

    assert peak(path) < 150

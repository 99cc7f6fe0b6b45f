import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.config import DatasetSpec
from pipeline.datasets import pins
from pipeline.datasets.sources import find_source, sample_path
from pipeline.errors import DataError, HubError
from pipeline.storage import DigestCache, sha256_file
from tests.tables import make, packed, read_out, write_parquet

ROOT = Path(__file__).resolve().parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TABLE = "text\tlabel\na\tx\nb\ty\n"
# printf 'text\tlabel\na\tx\nb\ty\n' | sha256sum
TABLE_SHA256 = "3c1ec0162c7fb4626c58c03f224c1471e9098e75455a74b41521485983350c7e"


def find(dataset, digest=sha256_file, **options):
    return find_source(DatasetSpec(dataset=str(dataset), **options), digest)


def not_to_be_called(path):
    raise AssertionError(f"{path} must not be read")


def write(path, content=TABLE):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def texts_of(tables):
    return {split: read_out(raw).column("text") for split, raw in tables.items()}


def test_find_source_of_a_file(tmp_path):
    path = write(tmp_path / "My Reviews.tsv")

    source = find(path)

    assert source.slug == "my-reviews"
    assert source.identity == {
        "files": {"train": TABLE_SHA256},
        "formats": {"train": "tsv"},
    }
    assert texts_of(source.read()) == {"train": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("!!!.tsv", "data"),
        ("..%2f..%2fetc.tsv", "2f-2fetc"),
        ("Überblick.tsv", "berblick"),
        ("x" * 100 + ".tsv", "x" * 40),
        ("a\nb.tsv", "a-b"),
    ],
)
def test_find_source_makes_a_harmless_slug(tmp_path, name, slug):
    assert find(write(tmp_path / name)).slug == slug


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("r.csv", '"text","label"\n"a",x\n"b",y\n'),
        ("r.TXT", TABLE),
        ("r.tsv", "\ufeff" + TABLE.replace("\n", "\r\n")),
        ("r.txt", TABLE.replace("\t", "|||")),
        ("r.csv", TABLE.replace("\t", ";")),
        ("r.jsonl", '{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n'),
        ("r.NDJSON", '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n'),
    ],
)
def test_find_source_reads_each_format(tmp_path, name, content):
    source = find(write(tmp_path / name, content))

    assert texts_of(source.read()) == {"train": ["a", "b"]}
    path = tmp_path / f"{name}.gz"
    path.write_bytes(packed(content))
    assert texts_of(find(path).read()) == {"train": ["a", "b"]}


def test_find_source_passes_the_options_to_the_reader(tmp_path):
    path = write(tmp_path / "r.txt", "x || good\ny || bad\n")

    source = find(path, separator=" || ", header="yes")

    found = read_out(source.read()["train"])
    assert (found.names, found.rows) == (["x", "good"], [["y", "bad"]])


def test_find_source_knows_a_header_by_the_wanted_columns(tmp_path):
    path = write(tmp_path / "r.tsv", "phrase\tmood\na\tx\n")

    source = find(path, text_column="phrase", label_column="mood")

    found = read_out(source.read()["train"])
    assert (found.names, found.rows) == (["phrase", "mood"], [["a", "x"]])


def test_find_source_takes_a_path_from_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "r.tsv")

    assert texts_of(find("~/r.tsv").read()) == {"train": ["a", "b"]}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("dev.tsv", "dev"),
        ("validation.tsv", "dev"),
        ("valid.csv", "dev"),
        ("val.txt", "dev"),
        ("test.tsv", "test"),
        ("TEST.TSV", "test"),
        ("test.jsonl", "test"),
    ],
)
def test_find_source_of_a_folder_knows_the_splits_by_name(tmp_path, name, split):
    write(tmp_path / "set" / "train.tsv")
    sep = "," if name.endswith("csv") else "\t"
    content = f"text{sep}label\nc{sep}x\n"
    if name.endswith("jsonl"):
        content = '{"text": "c", "label": "x"}'
    write(tmp_path / "set" / name, content)

    source = find(tmp_path / "set")

    assert texts_of(source.read()) == {"train": ["a", "b"], split: ["c"]}
    assert source.slug == "set"


def test_find_source_of_a_folder_covers_each_file_in_the_identity(tmp_path):
    write(tmp_path / "train.tsv")
    write(tmp_path / "test.csv", "text,label\nc,x\n")

    source = find(tmp_path)

    assert source.identity == {
        "files": {"test": sha256_file(tmp_path / "test.csv"), "train": TABLE_SHA256},
        "formats": {"test": "csv", "train": "tsv"},
    }


def test_find_source_of_a_folder_ignores_other_files(tmp_path):
    write(tmp_path / "train.tsv")
    for name in ("README.md", "train.bak", "trains.tsv", ".train.tsv"):
        write(tmp_path / name, "not a table")
    (tmp_path / "test").mkdir()

    assert texts_of(find(tmp_path).read()) == {"train": ["a", "b"]}


def test_find_source_refuses_a_folder_without_train_file(tmp_path):
    write(tmp_path / "set" / "dev.tsv")
    write(tmp_path / "set" / "all.tsv")

    with pytest.raises(
        DataError,
        match=r"No train file in .*set: expected train with one of \.tsv, .*; found all\.tsv, dev\.tsv\. Pass a file",
    ):
        find(tmp_path / "set")


def test_find_source_refuses_an_empty_folder(tmp_path):
    with pytest.raises(DataError, match=r"found nothing\. Pass a file, or rename"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("train.csv", "train.tsv"), "train"),
        (("dev.tsv", "validation.tsv"), "dev"),
        (("test.parquet", "test.tsv"), "test"),
    ],
)
def test_find_source_refuses_two_files_for_one_split(tmp_path, names, split):
    for name in {"train.tsv", *names}:
        write(tmp_path / name)

    with pytest.raises(
        DataError, match=f"two files for {split}: {names[0]} and {names[1]}. Remove one"
    ):
        find(tmp_path)


@pytest.mark.parametrize(
    ("name", "near"),
    [("sst-2", "sst2"), ("ssst2", "sst2"), ("samples", "sample")],
)
def test_find_source_suggests_the_nearest_name(tmp_path, monkeypatch, name, near):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        DataError,
        match=f"no file or folder {tmp_path}/{name}, .* Did you mean '{near}'\\? Pass --dataset with a path",
    ):
        find(name)


@pytest.mark.parametrize("name", ["no/such/file.tsv", "\n", "a b.tsv"])
def test_find_source_lists_the_names_when_nothing_is_near(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(
        DataError,
        match=r"\(names: sst2, sst2-tutorial, sample, hf:<repo>\)\. Pass --dataset with a path that exists",
    ):
        find(name)


@pytest.mark.parametrize(
    ("target", "why"), [("missing.tsv", "No such file"), ("r.tsv", "Too many levels")]
)
@pytest.mark.parametrize("name", ["r.tsv", "train.tsv"])
def test_find_source_refuses_a_broken_or_circular_link(tmp_path, target, why, name):
    """The second one is found in its folder."""
    (tmp_path / "r.tsv").symlink_to(tmp_path / target)
    (tmp_path / "train.tsv").symlink_to("r.tsv")

    for path in (tmp_path / name, tmp_path):
        with pytest.raises(
            DataError, match=rf"leads to no file \({why}.*\)\. Pass the file itself"
        ):
            find(path, not_to_be_called)


@pytest.mark.parametrize(
    ("make_it", "kind"), [(os.mkfifo, "a pipe"), (Path.mkdir, "a folder")]
)
def test_find_source_refuses_what_is_no_regular_file_without_opening_it(
    tmp_path, make_it, kind
):
    make_it(tmp_path / "train.tsv")

    for path in (tmp_path / "train.tsv", tmp_path):
        with pytest.raises(
            DataError, match=rf"train\.tsv is {kind}, expected a regular file\. Write"
        ):
            find(path, not_to_be_called)


def test_find_source_reads_a_link_within_its_folder(tmp_path):
    write(tmp_path / "set" / "rows" / "mine.tsv")
    (tmp_path / "set" / "train.tsv").symlink_to("rows/mine.tsv")

    assert texts_of(find(tmp_path / "set").read()) == {"train": ["a", "b"]}


@pytest.mark.parametrize("name", ["train.tsv", "test.tsv"])
def test_find_source_refuses_a_link_that_leads_out_of_its_folder(tmp_path, name):
    write(tmp_path / "secret.tsv")
    write(tmp_path / "set" / "dev.tsv")
    write(tmp_path / "set" / "train.tsv")
    (tmp_path / "set" / name).unlink(missing_ok=True)
    (tmp_path / "set" / name).symlink_to("../secret.tsv")

    with pytest.raises(
        DataError, match=r"leads out of its folder, to .*secret\.tsv\. Pass that file"
    ):
        find(tmp_path / "set", not_to_be_called)


def test_find_source_follows_a_file_link_that_was_passed_itself(tmp_path):
    write(tmp_path / "rows.tsv")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "train.tsv").symlink_to("../rows.tsv")

    assert find(tmp_path / "set" / "train.tsv").identity["files"] == {
        "train": TABLE_SHA256
    }


def test_find_source_reads_a_snapshot_folder_of_a_hub_cache(tmp_path):
    write(tmp_path / "datasets--me--tiny" / "blobs" / "0123")
    folder = tmp_path / "datasets--me--tiny" / "snapshots" / COMMIT
    folder.mkdir(parents=True)
    (folder / "train.tsv").symlink_to("../../blobs/0123")

    assert texts_of(find(folder).read()) == {"train": ["a", "b"]}


def test_find_source_reports_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)

    with pytest.raises(DataError, match=r"Permission denied\. Check the path and perm"):
        find(tmp_path)


@pytest.mark.parametrize(
    ("missing", "near"),
    [("revews.tsv", "reviews.tsv"), ("reviews.csv", "reviews.tsv"), ("sets", "set")],
)
def test_find_source_suggests_a_file_beside_a_missing_one(tmp_path, missing, near):
    write(tmp_path / "reviews.tsv")
    (tmp_path / "set").mkdir()

    with pytest.raises(
        DataError,
        match=f"no file or folder {tmp_path}/{missing}, .* Did you mean '{tmp_path}/{near}'\\? Pass --dataset",
    ):
        find(tmp_path / missing)


def test_find_source_suggests_no_more_than_the_names_for_a_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"hf:<repo>\)\. Pass --dataset with a path"):
        find(tmp_path / "no" / "file.tsv")


def test_find_source_reports_a_file_that_cannot_be_read(tmp_path):
    path = write(tmp_path / "r.tsv")

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(
        DataError,
        match=r"r\.tsv cannot be read: Permission denied\. Check the path and perm",
    ):
        find(path, refuse)


def test_find_source_gives_a_copy_the_same_identity(tmp_path):
    path = write(tmp_path / "one.tsv")
    copy = tmp_path / "folder" / "other name.TSV"
    copy.parent.mkdir()
    shutil.copy(path, copy)
    os.utime(copy, (1, 1))

    assert find(copy).identity == find(path).identity


def test_find_source_gives_a_folder_with_one_file_the_identity_of_the_file(tmp_path):
    path = write(tmp_path / "set" / "train.tsv")

    assert find(tmp_path / "set").identity == find(path).identity


def test_find_source_gives_another_identity_after_one_byte(tmp_path):
    before = find(write(tmp_path / "r.tsv")).identity

    after = find(write(tmp_path / "r.tsv", TABLE.replace("a", "A", 1))).identity

    assert after != before


def test_find_source_gives_another_identity_to_another_format(tmp_path):
    one, other = write(tmp_path / "r.tsv"), write(tmp_path / "r.csv")

    assert find(one).identity != find(other).identity


def test_find_source_hashes_without_reading_the_rows(tmp_path):
    path = write(tmp_path / "r.tsv", "not a table")

    source = find(path)

    with pytest.raises(DataError, match="Pass --separator"):
        make(**source.read())


@pytest.mark.parametrize("content", [TABLE + "c\tx\n", TABLE.replace("a", "c", 1)])
def test_read_refuses_a_file_that_changed_since_its_identity(tmp_path, content):
    path = write(tmp_path / "r.tsv")
    source = find(path, DigestCache(tmp_path / "artifacts").sha256)

    write(path, content)

    with pytest.raises(
        DataError, match=r"r\.tsv changed while .* Run the same command again"
    ):
        make(**source.read())


def test_read_accepts_a_file_that_was_touched(tmp_path):
    path = write(tmp_path / "r.tsv")
    source = find(path)

    os.utime(path, (1, 1))

    assert texts_of(source.read()) == {"train": ["a", "b"]}


def test_read_names_the_file_that_holds_a_bad_row(tmp_path):
    write(tmp_path / "train.tsv")
    write(tmp_path / "dev.tsv", "text\tlabel\nc\n")

    with pytest.raises(DataError, match=r"rows of .*dev\.tsv have fewer .* lines 2\."):
        make(**find(tmp_path).read())


def test_sample_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    source = find("sample")
    table, _ = make(**source.read())

    assert source.slug == "sample"
    assert sample_path() == ROOT / "data" / "reviews.tsv"
    assert sorted(set(table.labels.tolist())) == ["negative", "positive"]


def test_sample_has_the_identity_of_a_copy(tmp_path):
    shutil.copy(ROOT / "data" / "reviews.tsv", tmp_path / "mine.tsv")

    assert find("sample").identity == find(tmp_path / "mine.tsv").identity


def test_sample_wins_over_a_file_of_that_name(tmp_path, monkeypatch):
    write(tmp_path / "sample")
    monkeypatch.chdir(tmp_path)

    assert find("sample").identity["files"] == {"train": sha256_file(sample_path())}


def test_tutorial_has_the_identity_of_a_local_file_with_its_digest(tmp_path):
    path = write(tmp_path / "train.tsv")

    local = find(path, lambda _: pins.TUTORIAL_SHA256)

    assert find("sst2-tutorial", not_to_be_called).identity == local.identity
    assert find("sst2-tutorial", not_to_be_called).slug == "sst2-tutorial"


@pytest.fixture
def tutorial_file(tmp_path, monkeypatch):
    """A file that stands where the tutorial's would be downloaded from."""
    path = write(tmp_path / "train.tsv", "a film\t1\nb film\t0\n")
    monkeypatch.setattr(pins, "TUTORIAL_URL", path.as_uri())
    return path


def test_tutorial_is_read_as_tsv_without_header(tutorial_file, monkeypatch):
    monkeypatch.setattr(pins, "TUTORIAL_SHA256", sha256_file(tutorial_file))

    tables = find("sst2-tutorial").read()

    assert read_out(tables["train"]).rows == [["a film", "1"], ["b film", "0"]]


def test_tutorial_refuses_a_download_that_differs(tutorial_file):
    with pytest.raises(DataError, match=r"not the pinned file .* Pass a local copy"):
        find("sst2-tutorial").read()


def test_tutorial_out_of_reach_is_a_hub_error_with_the_other_routes(tutorial_file):
    tutorial_file.unlink()

    with pytest.raises(
        HubError, match=r"fetch data set sst2-tutorial from .*\nWays without it: "
    ):
        find("sst2-tutorial").read()


def test_finding_a_source_imports_nothing_heavy(tmp_path, python):
    code = (
        "import sys, json\n"
        "from pipeline.config import DatasetSpec\n"
        "from pipeline.datasets.sources import find_source\n"
        "from pipeline.storage import sha256_file\n"
        f"find_source(DatasetSpec(dataset={str(write(tmp_path / 'r.tsv'))!r}), sha256_file)\n"
        "find_source(DatasetSpec(), sha256_file)\n"
        "heavy = ('pandas', 'numpy', 'pyarrow', 'datasets', 'torch', 'huggingface_hub')\n"
        "print(json.dumps([name for name in heavy if name in sys.modules]))"
    )

    done = python(code)

    assert json.loads(done.stdout) == [], done.stderr


@pytest.mark.parametrize("column", ["1", "2"])
def test_read_does_not_take_a_column_number_for_a_header(tmp_path, column):
    path = write(tmp_path / "rows.tsv", "a fine film\t1\nbad\t2\ngood\t1\n")

    tables = find(path, text_column=column).read()

    assert len(read_out(tables["train"]).rows) == 3


@pytest.mark.parametrize("name", ["r.xlsx", "r.tsv.bz2", "r"])
def test_find_source_refuses_an_ending_it_cannot_read(tmp_path, name):
    path = write(tmp_path / name)

    with pytest.raises(DataError, match="exporting it as CSV"):
        find(path)


@pytest.mark.parametrize("name", ["x" * 300, "~nosuchuser/x.tsv", "a\0b"])
def test_find_source_refuses_what_cannot_be_a_path(name):
    with pytest.raises(DataError, match="exists"):
        find(name)


def test_read_refuses_a_file_that_is_gone(tmp_path):
    path = write(tmp_path / "rows.tsv")
    source = find(path)
    path.unlink()

    with pytest.raises(DataError, match="Run the same command again"):
        source.read()


def test_read_refuses_a_parquet_file_that_is_gone(tmp_path):
    path = write_parquet(tmp_path / "rows.parquet", [0, 1])
    source = find(path)
    path.unlink()

    with pytest.raises(DataError, match="Run the same command again"):
        source.read()


def test_read_refuses_a_packed_file_that_changed_since_its_identity(tmp_path):
    path = tmp_path / "r.tsv.gz"
    path.write_bytes(packed(TABLE))
    source = find(path)
    path.write_bytes(packed(TABLE) + bytes(8))  # that unpacks to the same

    with pytest.raises(DataError, match=r"changed while .* Run the same command again"):
        make(**source.read())


@pytest.mark.parametrize("name", ["r.tsv", "r.tsv.gz", "r.jsonl", "r.csv"])
def test_read_compares_the_digest_under_a_limit(tmp_path, name):
    rows = "".join(f'{{"text": "t{i}", "label": {i % 2}}}\n' for i in range(5000))
    if name != "r.jsonl":
        sep = "," if name == "r.csv" else "\t"
        rows = f"text{sep}label\n" + "".join(f"t{i}{sep}{i % 2}\n" for i in range(5000))
    path = tmp_path / name
    path.write_bytes(packed(rows) if name.endswith("gz") else rows.encode())
    source = find(path, limit=4)
    spec = DatasetSpec(limit=4)

    assert len(make(spec, **source.read())[0].texts) == 4
    with path.open("ab") as more:
        more.write(b"\0" if name.endswith("gz") else b"\n")
    with pytest.raises(DataError, match="Run the same command again"):
        make(spec, **source.read())


def test_read_refuses_a_file_of_more_than_max_gb(tmp_path):
    path = write(tmp_path / "r.tsv", TABLE * 100)

    with pytest.raises(DataError, match=r"holds more than 1e-07 GB.* Pass --max-gb"):
        make(**find(path, max_gb=1e-7).read())


def test_read_gives_make_table_what_it_needs(tmp_path):
    write(tmp_path / "train.tsv")
    write(tmp_path / "test.tsv", "text\tlabel\nc\tx\n")
    source = find(tmp_path)

    table, ledger = make(**source.read())

    assert table.texts == ["a", "b", "c"]
    assert ledger["texts"]["labels"] == {"test": {"x": 1}, "train": {"x": 1, "y": 1}}

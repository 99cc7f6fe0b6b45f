import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest

from pipeline.config import DatasetSpec
from pipeline.datasets import pins
from pipeline.datasets.sources import find_source, sample_path
from pipeline.datasets.table import make_table
from pipeline.errors import DataError, HubError
from pipeline.storage import DigestCache, sha256_file

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


def write_parquet(path, labels, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = [f"text {i}" for i in range(len(labels))]
    pd.DataFrame({"text": texts, "label": labels, **columns}).to_parquet(path)
    return path


def texts_of(tables):
    return {split: raw.frame["text"].tolist() for split, raw in tables.items()}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache below ``HF_HOME``, and one of `datasets`."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "prepared"))
    return tmp_path / "hf" / "hub"


@pytest.fixture
def tiny_repository(cache, tmp_path, monkeypatch):
    """The snapshot folder of ``me/tiny`` in the hub cache, with two training rows."""
    import datasets

    # read from the environment only once, when it is imported
    monkeypatch.setattr(
        datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "prepared")
    )
    write(cache / "datasets--me--tiny" / "refs" / "main", COMMIT)
    folder = cache / "datasets--me--tiny" / "snapshots" / COMMIT
    write_parquet(folder / "data" / "train-00000-of-00001.parquet", [0, 1])
    return folder


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
    ],
)
def test_find_source_reads_each_format(tmp_path, name, content):
    source = find(write(tmp_path / name, content))

    assert texts_of(source.read()) == {"train": ["a", "b"]}


def test_find_source_passes_the_options_to_the_reader(tmp_path):
    path = write(tmp_path / "r.txt", "x || good\ny || bad\n")

    source = find(path, separator=" || ", header="yes")

    frame = source.read()["train"].frame
    assert frame.to_dict("list") == {"x": ["y"], "good": ["bad"]}


def test_find_source_knows_a_header_by_the_wanted_columns(tmp_path):
    path = write(tmp_path / "r.tsv", "phrase\tmood\na\tx\n")

    source = find(path, text_column="phrase", label_column="mood")

    assert source.read()["train"].frame.to_dict("list") == {
        "phrase": ["a"],
        "mood": ["x"],
    }


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
    ],
)
def test_find_source_of_a_folder_knows_the_splits_by_name(tmp_path, name, split):
    write(tmp_path / "set" / "train.tsv")
    sep = "," if name.endswith("csv") else "\t"
    write(tmp_path / "set" / name, f"text{sep}label\nc{sep}x\n")

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
    (tmp_path / "test.tsv").mkdir()

    assert texts_of(find(tmp_path).read()) == {"train": ["a", "b"]}


def test_find_source_refuses_a_folder_without_train_file(tmp_path):
    write(tmp_path / "set" / "dev.tsv")
    write(tmp_path / "set" / "all.tsv")

    with pytest.raises(
        DataError,
        match=r"No train file in .*set: expected train\.tsv .*, found all\.tsv, dev\.tsv\. Pass a file, or rename",
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


@pytest.mark.parametrize("target", ["missing.tsv", "r.tsv"])
def test_find_source_takes_a_broken_or_circular_link_for_missing(tmp_path, target):
    (tmp_path / "r.tsv").symlink_to(tmp_path / target)

    with pytest.raises(DataError, match="Pass --dataset with a path that exists"):
        find(tmp_path / "r.tsv")


def test_find_source_refuses_a_pipe_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "r.tsv")

    with pytest.raises(
        DataError, match=r"neither a file nor a folder .* Pass a regular file"
    ):
        find(tmp_path / "r.tsv", not_to_be_called)


def test_find_source_does_not_open_a_pipe_in_a_folder(tmp_path):
    os.mkfifo(tmp_path / "train.tsv")

    with pytest.raises(
        DataError, match=r"No train file .* Pass a file, or rename yours"
    ):
        find(tmp_path, not_to_be_called)


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
        source.read()


@pytest.mark.parametrize("content", [TABLE + "c\tx\n", TABLE.replace("a", "c", 1)])
def test_read_refuses_a_file_that_changed_since_its_identity(tmp_path, content):
    path = write(tmp_path / "r.tsv")
    source = find(path, DigestCache(tmp_path / "artifacts").sha256)

    write(path, content)

    with pytest.raises(
        DataError, match=r"r\.tsv changed while .* Run the same command again"
    ):
        source.read()


def test_read_accepts_a_file_that_was_touched(tmp_path):
    path = write(tmp_path / "r.tsv")
    source = find(path)

    os.utime(path, (1, 1))

    assert texts_of(source.read()) == {"train": ["a", "b"]}


def test_read_names_the_file_that_holds_a_bad_row(tmp_path):
    write(tmp_path / "train.tsv")
    write(tmp_path / "dev.tsv", "text\tlabel\nc\n")

    with pytest.raises(DataError, match=r"rows of .*dev\.tsv have fewer .* lines 2\."):
        find(tmp_path).read()


def test_sample_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    source = find("sample")
    table, _ = make_table(source.read(), DatasetSpec(dataset="sample"))

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

    assert tables["train"].frame.to_numpy().tolist() == [
        ["a film", "1"],
        ["b film", "0"],
    ]


def test_tutorial_refuses_a_download_that_differs(tutorial_file):
    with pytest.raises(DataError, match=r"not the pinned file .* Pass a local copy"):
        find("sst2-tutorial").read()


def test_tutorial_out_of_reach_is_a_hub_error_with_the_other_routes(tutorial_file):
    tutorial_file.unlink()

    with pytest.raises(
        HubError, match=r"fetch data set sst2-tutorial from .*\nWays without it: "
    ):
        find("sst2-tutorial").read()


def test_sst2_is_its_pinned_commit(cache):
    source = find("sst2", not_to_be_called)

    assert source.slug == "sst2"
    assert source.identity == {"hub": "stanfordnlp/sst2", "commit": pins.SST2_COMMIT}


def test_sst2_offline_is_a_hub_error_with_the_other_routes(cache):
    source = find("sst2")

    with pytest.raises(
        HubError, match=r"fetch data set stanfordnlp/sst2 .*\nWays without it: a mirror"
    ):
        source.read()


@pytest.fixture
def sst2_files(cache):
    """The files of ``sst2`` in the hub cache, with other rows."""
    folder = cache / "datasets--stanfordnlp--sst2" / "snapshots" / pins.SST2_COMMIT
    labels = {"train": [0, 1, 1], "dev": [1, 0], "test": [-1, -1]}
    return {
        split: write_parquet(folder / path, labels[split])
        for split, (path, _) in pins.SST2_FILES.items()
    }


def test_sst2_refuses_a_cached_file_that_is_not_the_pinned_one(sst2_files):
    source = find("sst2")

    with pytest.raises(
        DataError,
        match=r"train-00000-of-00001\.parquet is not the pinned file: its SHA-256 differs from c7921283b75a…\. "
        r"Delete it from the hub cache and run again",
    ):
        source.read()


def test_sst2_with_a_missing_file_is_a_hub_error(sst2_files):
    sst2_files["test"].unlink()

    with pytest.raises(HubError, match=r"stanfordnlp/sst2 .*\nWays without it: "):
        find("sst2").read()


def test_sst2_is_read_from_the_cache_when_the_digests_agree(sst2_files, monkeypatch):
    agreed = {
        split: (pins.SST2_FILES[split][0], sha256_file(path))
        for split, path in sst2_files.items()
    }
    monkeypatch.setattr(pins, "SST2_FILES", agreed)

    tables = find("sst2").read()

    labels = {split: raw.frame["label"].tolist() for split, raw in tables.items()}
    assert labels == {"train": [0, 1, 1], "dev": [1, 0], "test": [-1, -1]}


@pytest.mark.parametrize(
    "name",
    ["hf:", "hf:@main", "hf::config", "hf:me/tiny:", "hf:me/tiny@", "hf:me/tiny:@main"],
)
def test_hub_repository_refuses_a_malformed_name(name):
    with pytest.raises(
        DataError,
        match=f"--dataset is '{name}', expected hf:<repo>\\[:<config>\\]\\[@<revision>\\]",
    ):
        find(name)


@pytest.mark.parametrize(
    ("name", "repo", "config", "slug"),
    [
        ("hf:me/tiny", "me/tiny", None, "me-tiny"),
        ("hf:me/tiny:small", "me/tiny", "small", "me-tiny"),
        ("hf:me/tiny@main", "me/tiny", None, "me-tiny"),
        ("hf:me/tiny:small@main", "me/tiny", "small", "me-tiny"),
        (f"hf:you/Other@{COMMIT}", "you/Other", None, "you-other"),
    ],
)
def test_hub_repository_is_known_by_its_commit(cache, name, repo, config, slug):
    write(cache / "datasets--me--tiny" / "refs" / "main", COMMIT)

    source = find(name, not_to_be_called)

    assert source.identity == {"hub": repo, "commit": COMMIT, "config": config}
    assert source.slug == slug


def test_hub_repository_unknown_offline_is_a_hub_error(cache):
    with pytest.raises(
        HubError, match=r"data set me/tiny .*\nWays without it: a mirror"
    ):
        find("hf:me/tiny")


def test_hub_repository_known_but_not_cached_offline_is_a_hub_error(cache):
    source = find(f"hf:me/tiny@{COMMIT}")

    with pytest.raises(HubError, match=f"me/tiny .{COMMIT[:12]}.*\nWays without it: "):
        source.read()


def test_hub_repository_is_read_from_the_cache(tiny_repository):
    tables = find("hf:me/tiny").read()

    assert list(tables) == ["train"]
    assert tables["train"].frame.to_dict("list") == {
        "text": ["text 0", "text 1"],
        "label": [0, 1],
    }
    assert tables["train"].lines.tolist() == [1, 2]


def test_hub_repository_calls_its_validation_rows_dev(tiny_repository):
    write_parquet(
        tiny_repository / "data" / "validation-00000-of-00001.parquet", [1, 1, 0]
    )
    write_parquet(tiny_repository / "data" / "test-00000-of-00001.parquet", [-1])

    tables = find("hf:me/tiny").read()

    labels = {split: raw.frame["label"].tolist() for split, raw in tables.items()}
    assert labels == {"train": [0, 1], "dev": [1, 1, 0], "test": [-1]}


def test_hub_repository_without_train_rows_is_an_error(tiny_repository):
    (tiny_repository / "data" / "train-00000-of-00001.parquet").unlink()
    write_parquet(tiny_repository / "data" / "test-00000-of-00001.parquet", [0, 1])

    with pytest.raises(
        DataError, match=r"no train split \(splits: test\)\. Pass a file instead"
    ):
        find("hf:me/tiny").read()


def test_hub_repository_lists_its_configs_when_there_is_no_such(tiny_repository):
    with pytest.raises(
        DataError, match=r"datasets cannot read me/tiny \(small\): .*\['default'\]"
    ):
        find("hf:me/tiny:small").read()


def test_hub_repository_with_a_damaged_file_is_a_data_error(tiny_repository):
    path = tiny_repository / "data" / "train-00000-of-00001.parquet"
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(DataError, match=r"datasets cannot read me/tiny \(default\): "):
        find("hf:me/tiny").read()


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

    assert len(tables["train"].frame) == 3


@pytest.mark.parametrize("name", ["r.xlsx", "r.jsonl", "r"])
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

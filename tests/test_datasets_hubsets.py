import gc
import sys
import tempfile
from pathlib import Path

import pytest

from pipeline import hub
from pipeline.config import DatasetSpec
from pipeline.datasets import hubsets, pins
from pipeline.datasets.sources import find_source
from pipeline.errors import DataError, HubError
from pipeline.storage import sha256_file
from tests.tables import make, read_out, write_parquet

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def find(dataset, digest=sha256_file, **options):
    return find_source(DatasetSpec(dataset=str(dataset), **options), digest)


def not_to_be_called(*args):
    raise AssertionError(f"{args} must not be asked for")


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


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

    labels = {split: read_out(raw).column("label") for split, raw in tables.items()}
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
    found = read_out(tables["train"])
    assert found.names == ["text", "label"]
    assert found.rows == [["text 0", 0], ["text 1", 1]]
    assert found.lines == [1, 2]


def test_hub_repository_calls_its_validation_rows_dev(tiny_repository):
    write_parquet(
        tiny_repository / "data" / "validation-00000-of-00001.parquet", [1, 1, 0]
    )
    write_parquet(tiny_repository / "data" / "test-00000-of-00001.parquet", [-1])

    tables = find("hf:me/tiny").read()

    labels = {split: read_out(raw).column("label") for split, raw in tables.items()}
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


def test_hub_repository_with_damaged_rows_is_a_data_error(tiny_repository):
    path = tiny_repository / "data" / "train-00000-of-00001.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:4] + bytes(60) + data[64:])

    with pytest.raises(
        DataError, match=r"me/tiny.* cannot be read: .* run the same command again; if"
    ):
        make(**find("hf:me/tiny").read())


def test_hub_repository_reads_every_row_of_every_split(tiny_repository, monkeypatch):
    monkeypatch.setattr(hubsets, "BATCH_ROWS", 3)
    for split, labels in {"train": [0, 1] * 5, "validation": [1, 0, 1, 1]}.items():
        write_parquet(
            tiny_repository / "data" / f"{split}-00000-of-00001.parquet", labels
        )

    table, ledger = make(**find("hf:me/tiny").read())

    assert table.labels.tolist() == [0, 1] * 5 + [1, 0, 1, 1]
    assert table.splits.tolist() == ["train"] * 10 + ["dev"] * 4
    assert table.lines.tolist() == [*range(1, 11), *range(1, 5)]
    assert ledger["texts"]["in_train"] == {"dev": 4}


def test_hub_repository_takes_label_names_for_numbers(tiny_repository):
    import datasets

    features = datasets.Features(
        text=datasets.Value("string"), label=datasets.ClassLabel(names=["bad", "good"])
    )
    rows = datasets.Dataset.from_dict(
        {"text": ["a", "b"], "label": [1, 0]}, features=features
    )
    rows.to_parquet(str(tiny_repository / "data" / "train-00000-of-00001.parquet"))

    assert make(**find("hf:me/tiny").read())[0].labels.tolist() == [1, 0]


def test_hub_repository_without_rows_is_an_error(tiny_repository):
    write_parquet(tiny_repository / "data" / "train-00000-of-00001.parquet", [])

    with pytest.raises(
        DataError, match=r"No rows in me/tiny:train|me/tiny:train cannot be"
    ):
        find("hf:me/tiny").read()


def test_hub_repository_leaves_no_folder_behind(tiny_repository, monkeypatch, tmp_path):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    tables = find("hf:me/tiny").read()
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    make(**tables)
    del tables
    gc.collect()

    assert list((tmp_path / "scratch").iterdir()) == []


def test_hub_repository_leaves_no_folder_behind_after_an_error(
    tiny_repository, monkeypatch, tmp_path
):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))

    with pytest.raises(DataError):
        find("hf:me/tiny:small").read()
    gc.collect()

    assert list((tmp_path / "scratch").iterdir()) == []


def test_hub_repository_needs_the_package_datasets(tiny_repository, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)

    with pytest.raises(DataError, match=r"pip install 'frostbert\[hub\]'"):
        find("hf:me/tiny").read()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Ask where a repository of files of these sizes would be read from, with or without a cached snapshot."""

    def place_of(sizes, cached=None):
        def file_sizes(kind, repo, commit):
            if sizes is None:
                raise HubError("no answer")
            return sizes

        folder = tmp_path / "snapshot"
        for name in cached or ():
            write(folder / name, "")
        known = None if cached is None else folder
        monkeypatch.setattr(hub, "cached_snapshot", lambda *_: known)
        monkeypatch.setattr(hub, "file_sizes", file_sizes)
        monkeypatch.setattr(hub, "fetch_snapshot", lambda *_: Path("/fetched"))
        return hubsets._place("me/tiny", COMMIT)

    return place_of


LARGE = {"a.parquet": hubsets.STREAM_BYTES, "b/c.parquet": 1}
SMALL = {"a.parquet": hubsets.STREAM_BYTES}


def test_place_of_a_small_repository_is_a_copy(place):
    assert place(SMALL) == ("/fetched", None)


def test_place_of_a_large_repository_is_the_hub_at_its_commit(place):
    assert place(LARGE) == ("me/tiny", COMMIT)


def test_place_of_a_large_repository_that_is_here_is_the_copy(place):
    assert place(LARGE, cached=LARGE) == ("/fetched", None)


def test_place_of_a_large_repository_of_which_a_part_is_here_is_the_hub(place):
    assert place(LARGE, cached=["a.parquet"]) == ("me/tiny", COMMIT)


def test_place_without_an_answer_is_the_cached_snapshot(place, tmp_path):
    assert place(None, cached=SMALL) == (str(tmp_path / "snapshot"), None)


def test_place_without_an_answer_nor_a_snapshot_is_a_hub_error(place):
    with pytest.raises(HubError, match="no answer"):
        place(None)


def test_hub_repository_that_is_large_is_loaded_from_the_hub_row_by_row(
    cache, monkeypatch
):
    import datasets

    asked: dict[str, object] = {}

    def load_dataset(path, config, **options):
        asked.update(options, path=path, config=config)
        rows = datasets.Dataset.from_dict({"text": ["a", "b"], "label": ["x", "y"]})
        return {"train": rows.to_iterable_dataset()}

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "file_sizes", lambda *_: LARGE)
    monkeypatch.setattr(hub, "fetch_snapshot", not_to_be_called)

    table, _ = make(**find(f"hf:me/tiny:small@{COMMIT}").read())

    assert table.texts == ["a", "b"]
    del asked["cache_dir"]
    assert asked == {
        "path": "me/tiny",
        "config": "small",
        "revision": COMMIT,
        "streaming": True,
    }

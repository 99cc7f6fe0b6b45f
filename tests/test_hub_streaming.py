"""Hub data sets over real HTTP, from a stand-in on this machine: downloaded whole, or streamed where they are large."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.hub_server import HubServer

CODE = """
import json, sys, tempfile
from pathlib import Path
from pipeline.config import DatasetSpec
from pipeline.datasets import hubsets
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import Table
from pipeline.storage import sha256_file

hubsets.STREAM_BYTES = {stream_bytes}
spec = DatasetSpec(dataset="hf:me/tiny", limit={limit})
source = find_source(spec, sha256_file)
with tempfile.TemporaryDirectory() as folder:
    make_table(source.read(), spec, Path(folder))
    table = Table.load(Path(folder))
print(json.dumps([source.identity, table.splits.tolist(), table.texts[:2], table.labels.tolist()[:2]]))
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Files of a data set with 3,000 training and two validation rows."""
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    frame = pd.DataFrame({"text": [f"text {i}" for i in range(3000)]})
    frame["label"] = frame.index % 2
    frame.to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    frame[:2].to_parquet(folder / "data" / "validation-00000-of-00001.parquet")
    return folder


@pytest.fixture
def read(python, tmp_path):
    """Read ``hf:me/tiny`` from a server in a fresh process with an empty cache."""

    def run(server: HubServer | None, *, stream_bytes: int, limit: int = 0, **env: str):
        settings = {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", **env}
        if server is not None:
            settings["HF_ENDPOINT"] = server.url
        code = CODE.format(stream_bytes=stream_bytes, limit=limit)
        done = python(code, env=settings)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def kept(tmp_path: Path) -> list[str]:
    """Return the names of the data files that are in the cache."""
    return sorted({p.name for p in (tmp_path / "home").rglob("*.parquet")})


def expected(n_train: int) -> list[str]:
    return ["train"] * n_train + ["dev"] * 2


def test_a_large_repository_is_streamed_and_leaves_no_copy(repository, read, tmp_path):
    with HubServer(repository, "me/tiny") as server:
        _, splits, texts, labels = read(server, stream_bytes=10)

    assert splits == expected(3000)
    assert (texts, labels) == (["text 0", "text 1"], [0, 1])
    assert kept(tmp_path) == []


def test_a_streamed_repository_stops_at_the_limit(repository, read):
    with HubServer(repository, "me/tiny") as server:
        _, splits, _, _ = read(server, stream_bytes=10, limit=50)

    assert splits == expected(50)


def test_a_small_repository_is_downloaded_and_read_offline_afterwards(
    repository, read, tmp_path
):
    with HubServer(repository, "me/tiny") as server:
        online = read(server, stream_bytes=10**9)
    offline = read(None, stream_bytes=10**9, HF_HUB_OFFLINE="1")

    assert online[1] == expected(3000)
    assert offline == online
    assert kept(tmp_path) == [
        "train-00000-of-00001.parquet",
        "validation-00000-of-00001.parquet",
    ]


def test_a_large_repository_that_is_here_is_not_streamed(repository, read):
    with HubServer(repository, "me/tiny") as server:
        read(server, stream_bytes=10**9)
        before = len(server.requests)
        read(server, stream_bytes=10)
        asked = [path for _, path, _ in server.requests[before:]]

    assert not any(path.endswith(".parquet") for path in asked), asked


@pytest.mark.parametrize("stream_bytes", [10, 10**9], ids=["streamed", "downloaded"])
def test_the_token_goes_with_every_question(repository, read, stream_bytes):
    with HubServer(repository, "me/tiny") as server:
        read(server, stream_bytes=stream_bytes, HF_TOKEN="hf_secret")

    sent = [
        {name.lower(): value for name, value in headers.items()}.get("authorization")
        for _, _, headers in server.requests
    ]
    assert sent
    assert set(sent) == {"Bearer hf_secret"}

"""Hub encoders, from caches laid out by hand, with the network absent."""

import json
import shutil

import pytest

from pipeline.config import EncoderSpec
from pipeline.encoder import pins
from pipeline.encoder.frozen import load_encoder
from pipeline.encoder.identity import find_encoder
from pipeline.errors import EncoderError, HubError
from pipeline.storage import sha256_file

COMMIT = "c0ffee" * 6 + "c0ff"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def lay_out(cache, repo, folder, commit=COMMIT, ref="main"):
    """Put an encoder into a hub cache: blobs, a snapshot of links, and a ref."""
    base = cache / f"models--{repo.replace('/', '--')}"
    snapshot = base / "snapshots" / commit
    for sub in (base / "blobs", base / "refs", snapshot):
        sub.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        blob = base / "blobs" / sha256_file(path)
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(f"../../blobs/{blob.name}")
    (base / "refs" / ref).write_text(commit)
    return snapshot


def test_a_cached_branch_is_resolved_to_its_commit(cache, tiny_encoder):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)

    source = find_encoder(EncoderSpec(encoder="someone/tiny"), sha256_file)

    assert source.identity == {"hub": "someone/tiny", "commit": COMMIT}
    assert source.folder == snapshot
    assert load_encoder("someone/tiny").encode(["good"]).shape == (1, 16)


def test_a_tag_that_moved_is_another_key(cache, tiny_encoder):
    lay_out(cache, "someone/tiny", tiny_encoder, ref="v1")
    spec = EncoderSpec(encoder="someone/tiny", revision="v1")
    before = find_encoder(spec, sha256_file).key_fields(spec)
    lay_out(cache, "someone/tiny", tiny_encoder, commit="d" * 40, ref="v1")

    assert find_encoder(spec, sha256_file).key_fields(spec) != before


def test_an_incomplete_snapshot_does_not_count_as_here(cache, tiny_encoder):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    (snapshot / "model.safetensors").unlink()

    source = find_encoder(EncoderSpec(encoder="someone/tiny"), sha256_file)

    assert source.folder is None
    with pytest.raises(HubError, match="HF_ENDPOINT"):
        source.fetch()


def test_an_encoder_that_is_nowhere_names_the_routes(cache):
    with pytest.raises(HubError, match="Could not fetch encoder someone/else") as error:
        find_encoder(EncoderSpec(encoder="someone/else"), sha256_file)

    assert len(str(error.value).splitlines()) == 3
    assert "--encoder minilm" in str(error.value)


def test_the_default_encoder_is_pinned_under_both_of_its_names(cache):
    short = find_encoder(EncoderSpec(encoder="distilbert-base-uncased"), sha256_file)
    long = find_encoder(EncoderSpec(encoder=pins.DEFAULT_REPO), sha256_file)

    assert (
        short.identity
        == long.identity
        == {"hub": pins.DEFAULT_REPO, "commit": pins.COMMITS[pins.DEFAULT_REPO]}
    )


def test_a_default_encoder_with_other_bytes_is_refused(cache, tiny_encoder):
    snapshot = lay_out(
        cache, pins.DEFAULT_REPO, tiny_encoder, commit=pins.COMMITS[pins.DEFAULT_REPO]
    )
    (snapshot / "vocab.txt").write_text("another")

    with pytest.raises(
        EncoderError, match=r"not the pinned file.*Delete it from the hub cache"
    ):
        load_encoder(max_length=64)


def test_a_cached_encoder_is_found_without_a_connection_or_the_offline_switch(
    cache, tiny_encoder, python
):
    lay_out(cache, "someone/tiny", tiny_encoder)
    code = f"""
import os, socket
os.environ["HF_HUB_CACHE"] = {str(cache)!r}
def refuse(*args, **kwargs):
    raise SystemExit("a connection was attempted")
socket.getaddrinfo = socket.create_connection = refuse
from pipeline import load_encoder
print(load_encoder("someone/tiny").encode(["good"]).shape)
"""

    done = python(code, env={"HF_HUB_OFFLINE": "0"})

    assert done.stdout == "(1, 16)\n", done.stderr


def test_nothing_calls_home(cache, tiny_encoder, python, tmp_path):
    """Name resolution refused, an empty home, CI unset: no look-up is tried and no file appears."""
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import json, os, socket
asked = []
def refuse(*args, **kwargs):
    asked.append(str(args[:2]))
    raise OSError("refused")
socket.getaddrinfo = socket.gethostbyname = refuse
os.environ.pop("CI", None)
from pipeline import TextClassifier
classifier = TextClassifier({str(tiny_encoder)!r}, C=1.0, max_length=32)
classifier.fit(["good", "bad", "fine", "dull"] * 5, ["p", "n"] * 10).predict(["good"])
print(json.dumps(asked))
"""

    done = python(
        code,
        env={
            "HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "XDG_CACHE_HOME": str(home / "x"),
        },
    )

    assert json.loads(done.stdout) == [], done.stderr
    assert list(home.rglob("*")) == []


def test_a_snapshot_that_leaves_the_tokens_open_does_not_count_as_here(
    cache, tiny_encoder
):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (snapshot / name).unlink()
    (snapshot / "vocab.txt").write_text("a\nb\n")

    assert find_encoder(EncoderSpec(encoder="someone/tiny"), sha256_file).folder is None


def test_a_pinned_snapshot_without_one_of_its_files_does_not_count_as_here(
    cache, tiny_encoder
):
    lay_out(
        cache, pins.DEFAULT_REPO, tiny_encoder, commit=pins.COMMITS[pins.DEFAULT_REPO]
    )

    assert (
        find_encoder(EncoderSpec(), sha256_file).folder is None
    )  # vocab.txt is missing

"""Encoders from a hub: the real client over real HTTP, from a stand-in on this machine."""

import json
import shutil

import pytest

from tests.checkpoints import make_sentence_transformer, save_kind, save_tiny
from tests.model_hub import COMMIT, serve_hub

TOKEN = "hf_secret"
LOAD = """
import json, sys
from pipeline import load_encoder
from pipeline.errors import PipelineError
try:
    encoder = load_encoder("someone/tiny")
    print(json.dumps([encoder.spec.pooling, list(encoder.encode(["good film"]).shape)]))
except PipelineError as error:
    print(type(error).__name__, error)
"""
FIND = """
from pipeline.config import EncoderSpec
from pipeline.encoder.identity import find_encoder
from pipeline.errors import PipelineError
from pipeline.storage import sha256_file
try:
    spec = EncoderSpec(encoder="{name}", revision="{revision}")
    print(find_encoder(spec, sha256_file).resolve(spec).pooling)
except PipelineError as error:
    print(type(error).__name__, error)
"""


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    """A repository's files, among them some that nobody needs."""
    folder = tmp_path / "repository"
    shutil.copytree(tiny_encoder, folder)
    (folder / "README.md").write_text("about")
    (folder / "tf_model.h5").write_text("large")
    return folder


@pytest.fixture
def cache(tmp_path):
    return {"HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HOME": str(tmp_path / "home")}


def find(python, env, name="someone/tiny", revision="auto"):
    return python(FIND.format(name=name, revision=revision), env=env)


def test_a_whole_encoder_is_fetched_with_the_token_and_then_works_offline(
    folder, cache, python
):
    with serve_hub(folder, token=TOKEN) as hub:
        first = python(LOAD, env={**hub.environment, **cache, "HF_TOKEN": TOKEN})
        asked = list(hub.asked)
        offline = python(LOAD, env={**hub.environment, **cache, "HF_HUB_OFFLINE": "1"})

        assert json.loads(first.stdout) == ["cls", [1, 16]], first.stderr
        assert offline.stdout == first.stdout, offline.stderr
        assert hub.asked == asked
    assert {token for _, _, token in asked} == {f"Bearer {TOKEN}"}
    assert any(path.endswith("model.safetensors") for _, path, _ in asked)
    assert not [path for _, path, _ in asked if path.endswith((".md", ".h5"))]


def test_the_one_question_carries_the_token(folder, cache, python):
    with serve_hub(folder, token=TOKEN) as hub:
        done = find(python, {**hub.environment, **cache, "HF_TOKEN": TOKEN})

    assert done.stdout == "cls\n", done.stderr
    assert hub.asked[0] == (
        "GET",
        "/api/models/someone/tiny/revision/main",
        f"Bearer {TOKEN}",
    )


@pytest.mark.parametrize(
    ("refusal", "remedy"),
    [
        ((401, "GatedRepo"), "Ask for access on its page and set HF_TOKEN"),
        ((403, "GatedRepo"), "Ask for access on its page and set HF_TOKEN"),
        ((401, "RepoNotFound"), "Check the spelling, or set HF_TOKEN"),
        ((404, "RepoNotFound"), "Check the spelling, or set HF_TOKEN"),
        ((404, "RevisionNotFound"), "Pass another --revision"),
        ((403, ""), "the hub refused (403): set HF_TOKEN"),
    ],
)
def test_a_refusal_names_the_remedy_after_one_question(
    folder, cache, python, refusal, remedy
):
    with serve_hub(folder, token=TOKEN, refusal=refusal) as hub:
        done = find(python, {**hub.environment, **cache})

    first, *others = done.stdout.splitlines()
    assert first.startswith("HubError Could not fetch encoder someone/tiny")
    assert remedy in first
    assert len(others) == 2
    assert len(hub.asked) == 1


def test_the_small_files_of_a_sentence_transformers_repository_tell_its_pooling(
    folder, cache, python
):
    make_sentence_transformer(folder, {"pooling_mode_max_tokens": True})

    with serve_hub(folder) as hub:
        found = find(python, {**hub.environment, **cache})
        asked = hub.paths()
        loaded = python(LOAD, env={**hub.environment, **cache})

    assert found.stdout == "max\n", found.stderr
    assert not any(path.endswith((".safetensors", "tokenizer.json")) for path in asked)
    assert json.loads(loaded.stdout) == ["max", [1, 16]], loaded.stderr


def test_the_small_files_are_asked_for_once(folder, cache, python):
    with serve_hub(folder) as hub:
        find(python, {**hub.environment, **cache})
        asked = list(hub.asked)
        again = find(python, {**hub.environment, **cache})

        assert again.stdout == "cls\n", again.stderr
        assert hub.asked == asked


def test_a_repository_of_the_old_form_with_its_transformer_in_a_folder_works(
    tmp_path, cache, python
):
    folder = tmp_path / "repository"
    save_kind(folder / "0_Transformer", "bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_mean_tokens": true}'
    )
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "type": "sentence_transformers.models.Transformer",
                    "path": "0_Transformer",
                },
                {"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            ]
        )
    )

    with serve_hub(folder) as hub:
        done = python(
            LOAD.replace('"someone/tiny"', '"someone/tiny", max_length=16'),
            env={**hub.environment, **cache},
        )

    assert json.loads(done.stdout) == ["mean", [1, 16]], done.stderr


def test_an_unknown_commit_that_is_not_here_names_the_routes_when_nobody_answers(
    cache, python
):
    env = {
        **cache,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "",
        "NO_PROXY": "127.0.0.1",
    }

    done = find(python, env, revision=COMMIT)

    first, second, _ = done.stdout.splitlines()
    assert first.startswith(
        f"HubError Could not fetch encoder someone/tiny ({COMMIT[:12]})"
    )
    assert second.startswith("Ways without it: a mirror")


def test_an_encoder_is_fetched_by_the_command_and_its_pooling_said(
    job, reviews, folder, cache, tmp_path
):
    make_sentence_transformer(folder, {"pooling_mode": "mean"})

    with serve_hub(folder, token=TOKEN) as hub:
        done = job.train(
            reviews,
            "someone/tiny",
            "--C",
            "1",
            env={**hub.environment, **cache, "HF_TOKEN": TOKEN},
        )

    assert done.status == 0, done.err
    said = "someone/tiny is a sentence-transformers folder: --pooling mean, as it was trained"
    assert done.err.count(said) == 1
    assert job.report()["encoder"]["pooling"] == "mean"
    assert job.report()["run"]["pooling_source"] == "sentence-transformers"


def test_a_name_with_a_typo_is_asked_back_with_what_is_in_the_cache(
    tmp_path, cache, python, folder
):
    shutil.copytree(
        save_tiny(tmp_path / "e"), tmp_path / "cache" / "models--someone--tiny"
    )

    with serve_hub(folder) as hub:
        done = find(python, {**hub.environment, **cache}, name="someone/tinny")

    assert done.stdout.startswith(
        "HubError Did you mean 'someone/tiny'? Could not fetch"
    )

"""The file format as it is described, files of earlier versions, weights elsewhere, what changed since training."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.encoder.tolerance import TOLERANCE
from pipeline.errors import ArtifactError
from pipeline.predictor.changes import changes
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.predictor.file import save_predictor
from tests.conftest import review_rows

FOLDER = Path(__file__).with_name("predictors")
DESCRIPTION = Path(__file__).parents[1] / "docs" / "predictor-file.md"
GOLDEN = sorted(set(FOLDER.glob("*.joblib")) - set(FOLDER.glob("*-elsewhere.joblib")))
TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))


@pytest.fixture(scope="module")
def described():
    """The reader that the description prints."""
    (code,) = re.findall(r"```python\n(.*?)```", DESCRIPTION.read_text(), re.S)
    names: dict[str, Any] = {}
    exec(code, names)
    return names["read"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_file_of_an_earlier_version_answers_as_it_did(path):
    expected = json.loads(path.with_suffix(".json").read_text())

    predictor = load_predictor(path)

    # of the whole recipe, probabilities of these tiny random encoders move as their features do
    atol = {"float32": 1e-5, "int8": 0.02}[predictor.encoder.spec.precision]
    found = predictor.predict_proba(expected["texts"])
    np.testing.assert_allclose(found, expected["proba"], atol=atol)
    assert predictor.self_check() < TOLERANCE["int8"]


def test_a_file_without_weights_of_an_earlier_version_answers_as_it_did(
    described, tmp_path
):
    _, sections, _ = described(FOLDER / "v1-float32.joblib")
    (tmp_path / "model.safetensors").write_bytes(sections["model.safetensors"])
    path = FOLDER / "v1-elsewhere.joblib"
    expected = json.loads(path.with_suffix(".json").read_text())

    predictor = load_predictor(path, encoder=tmp_path)

    found = predictor.predict_proba(expected["texts"])
    np.testing.assert_allclose(found, expected["proba"], atol=1e-5)


def test_there_are_files_of_earlier_versions():
    assert len(GOLDEN) >= 2


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_the_description_is_enough_to_read_a_file(path, described):
    header, sections, arrays = described(path)
    predictor = load_predictor(path)

    x = arrays["probe_features"]
    scores = ((x - arrays["mean"]) / arrays["scale"]) @ arrays["coef"].T + arrays[
        "intercept"
    ]
    second = 1 / (1 + np.exp(-scores[:, 0]))
    np.testing.assert_allclose(arrays["probe_proba"][:, 1], second, atol=1e-12)
    assert header["head"]["classes"] == predictor.classes_.tolist()
    assert set(header["weights"]) < set(sections)


def test_the_description_names_every_field_of_the_header(described, bundled):
    header, sections, arrays = described(bundled)
    text = DESCRIPTION.read_text()

    named = [*header, *header["encoder"], *header["head"]]
    assert not [name for name in named if f"`{name}`" not in text]
    assert not [
        name for name in arrays if f"`{name}.array`" not in text and "." not in name
    ]
    assert {"config.json", "tokenizer.json"} < set(sections)


@pytest.fixture(scope="module")
def bundled(tiny_encoder, tmp_path_factory):
    classifier = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
    path = tmp_path_factory.mktemp("bundled") / "predictor.joblib"
    save_predictor(classifier.fit(TEXTS, LABELS).predictor_, path)
    return path


@pytest.fixture
def referring(job, reviews, tiny_encoder, tmp_path):
    """A job whose predictor names its encoder's weights only, and the encoder's folder."""
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    done = job.train(reviews, folder, "--C", "1", "--encoder-in-predictor", "reference")
    assert done.status == 0, done.err
    return job.artifacts / "latest" / "predictor.joblib", folder


def test_a_predictor_may_name_its_weights_only(referring, described):
    path, folder = referring
    header, sections, _ = described(path)

    assert not [name for name in sections if name.endswith(".safetensors")]
    assert header["elsewhere"]["encoder"] == folder.name
    assert str(folder).encode() not in path.read_bytes()
    predictor = load_predictor(path, encoder=folder)
    assert predictor.predict(["the film is good"]).shape == (1,)
    assert predictor.self_check() == pytest.approx(0, abs=1e-5)


def test_weights_in_a_folder_have_to_be_pointed_out(referring, tmp_path):
    path, _ = referring

    with pytest.raises(
        ArtifactError, match=r"only names its encoder's weights .* Pass"
    ):
        load_predictor(path).predict(["a film"])
    with pytest.raises(ArtifactError, match=r"are not at hand"):
        load_predictor(path, encoder=tmp_path / "nowhere").predict(["a film"])


def test_weights_of_a_hub_commit_are_found_in_the_cache(
    job, reviews, tiny_encoder, monkeypatch, described
):
    commit = "0123456789abcdef0123456789abcdef01234567"
    hub = job.cwd / "hub"
    snapshot = hub / "models--some--encoder" / "snapshots" / commit
    shutil.copytree(tiny_encoder, snapshot)
    monkeypatch.setenv("HF_HUB_CACHE", str(hub))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    options = ("--revision", commit, "--encoder-in-predictor", "reference")
    done = job.train(reviews, "some/encoder", "--C", "1", *options)
    assert done.status == 0, done.err

    path = job.artifacts / "latest" / "predictor.joblib"

    elsewhere = described(path)[0]["elsewhere"]
    assert (elsewhere["encoder"], elsewhere["revision"]) == ("some/encoder", commit)
    code = f"from pipeline import load_predictor; print(load_predictor({str(path)!r}).predict(['a film']))"
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


GOOD: dict[str, Any] = {
    "encoder": "minilm",
    "revision": "auto",
    "files": {"model.safetensors": "0" * 64},
}


@pytest.mark.parametrize(
    "change",
    [
        {"files": {"../../../etc/passwd": "0" * 64}},
        {"files": {"/etc/hostname": "0" * 64}},
        {"files": {"model.safetensors": "0"}},
        {"files": {}},
        {"files": []},
        {"encoder": "someone/model", "revision": "main"},
        {"encoder": ""},
    ],
)
def test_a_file_cannot_make_us_read_another_file_or_a_branch(change):
    with pytest.raises(ArtifactError, match="does not say properly"):
        Elsewhere(**{**GOOD, **change})


def test_a_path_is_no_place_for_weights_elsewhere(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"secret")

    with pytest.raises(ArtifactError, match="folder of the machine"):
        Elsewhere(**{**GOOD, "encoder": str(tmp_path)}).read()


def test_weights_elsewhere_that_changed_are_refused(referring):
    path, folder = referring
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)

    with pytest.raises(
        ArtifactError, match=r"is not what the predictor was trained with"
    ):
        load_predictor(path, encoder=folder).predict(["a film"])


def test_only_the_export_runs_again_when_the_weights_move_out(
    trained, reviews, tiny_encoder
):
    done = trained.train(
        reviews, tiny_encoder, "--C", "1", "--encoder-in-predictor", "reference"
    )

    assert done.status == 0, done.err
    assert trained.ledger()[-1]["stages_run"] == ["ExportPredictor"]


def test_int8_has_no_weights_elsewhere(job, reviews, tiny_encoder):
    done = job.train(
        reviews,
        tiny_encoder,
        *("--precision", "int8", "--encoder-in-predictor", "reference"),
    )

    assert done.status == 40
    assert "does not go with --precision int8" in done.err


ENGINE = {
    "engine": "openvino",
    "version": "2026.4.1",
    "device": "cpu",
    "capabilities": ["AVX2"],
}


@pytest.mark.parametrize(
    ("before", "versions", "said"),
    [
        (ENGINE, {}, "Engine, libraries and processor are those of training"),
        (
            {**ENGINE, "version": "2026.3.0"},
            {},
            "engine openvino 2026.3.0 -> openvino 2026.4.1",
        ),
        (
            {**ENGINE, "capabilities": ["AVX2", "BF16"]},
            {},
            "processor AVX2, BF16 -> AVX2",
        ),
        ({**ENGINE, "engine": "torch", "device": "cuda"}, {}, "device cuda -> cpu"),
        (ENGINE, {"numpy": "1.0"}, f"numpy 1.0 -> {np.__version__}"),
        (None, {}, "The file does not say what it was trained with"),
    ],
)
def test_what_changed_since_training_is_named(before, versions, said):
    assert said in changes(before, versions, ENGINE)


def test_a_library_that_is_missing_here_did_not_change():
    assert "no-such-library" not in changes(ENGINE, {"no-such-library": "1"}, ENGINE)

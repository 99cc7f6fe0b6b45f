import json
import os
import pickle
import pickletools
import random
import shutil
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pytest

from pipeline import TextClassifier, load_encoder, load_predictor
from pipeline.encoder import engine
from pipeline.encoder.tolerance import TOLERANCE
from pipeline.errors import ArtifactError, DataError
from pipeline.predictor.file import save_predictor
from tests.conftest import review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))


@pytest.fixture(scope="module")
def classifier(tiny_encoder):
    return TextClassifier(str(tiny_encoder), pooling="mean", C=1.0).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def predictor(classifier):
    return classifier.predictor_


@pytest.fixture
def path(predictor, tmp_path):
    save_predictor(predictor, tmp_path / "predictor.joblib")
    return tmp_path / "predictor.joblib"


def test_predictor_learns_what_can_be_learned(predictor):
    assert (predictor.predict(TEXTS) == np.array(LABELS)).mean() > 0.9


def test_load_predictor_gives_the_same_probabilities(predictor, path):
    loaded = load_predictor(path)

    assert np.array_equal(loaded.predict_proba(TEXTS), predictor.predict_proba(TEXTS))
    assert loaded.classes_.tolist() == ["neg", "pos"]


def test_joblib_load_works_in_a_fresh_process_elsewhere_without_a_network(
    predictor, path, python
):
    code = f"""
import socket, sys, json
def refuse(*args, **kwargs):
    raise SystemExit("a connection was attempted")
socket.getaddrinfo = socket.create_connection = refuse
import joblib
predictor = joblib.load({str(path)!r})
assert "torch" not in sys.modules
print(json.dumps(predictor.predict_proba(["the film is good", "dull"]).tolist()))
"""

    done = python(code)

    expected = predictor.predict_proba(["the film is good", "dull"])
    np.testing.assert_allclose(
        json.loads(done.stdout), expected, atol=1e-9, err_msg=done.stderr
    )


def test_the_file_names_exactly_one_global(path):
    names = [
        argument
        for opcode, argument, _ in pickletools.genops(path.read_bytes())
        if opcode.name in {"GLOBAL", "INST"}
    ]
    opcodes = [opcode.name for opcode, _, _ in pickletools.genops(path.read_bytes())]
    strings = [
        argument
        for opcode, argument, _ in pickletools.genops(path.read_bytes())
        if opcode.name == "SHORT_BINUNICODE"
    ]

    assert names == []
    assert opcodes.count("STACK_GLOBAL") == 1
    assert strings[:2] == ["pipeline.predictor", "_restore_v1"]


def test_the_same_predictor_gives_the_same_bytes(predictor, path, tmp_path):
    save_predictor(load_predictor(path), tmp_path / "again.joblib")

    assert (tmp_path / "again.joblib").read_bytes() == path.read_bytes()


def test_a_flipped_bit_is_an_error_or_changes_nothing(predictor, path):
    data = path.read_bytes()
    expected = predictor.predict_proba(["good", "dull film"])
    generator = random.Random(7)
    refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        damaged[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            loaded = load_predictor(path)
        except ArtifactError:
            refused += 1
        else:
            assert np.array_equal(loaded.predict_proba(["good", "dull film"]), expected)

    assert refused > 50


@pytest.mark.parametrize("keep", [0, 1, 100, -1, -5000])
def test_a_truncated_file_is_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])

    with pytest.raises(ArtifactError, match=r"Copy or export it again"):
        load_predictor(path)


def test_bytes_behind_the_end_are_refused(path):
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(ArtifactError, match="behind its end"):
        load_predictor(path)


class Hostile:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def test_a_hostile_pickle_is_refused_and_nothing_runs(tmp_path):
    marker = tmp_path / "ran"
    joblib.dump(Hostile(str(marker)), tmp_path / "evil.joblib")

    with pytest.raises(ArtifactError, match="nothing of it was run"):
        load_predictor(tmp_path / "evil.joblib")
    assert not marker.exists()


def test_a_few_bytes_do_not_take_all_memory(tmp_path):
    path = tmp_path / "bomb.joblib"
    path.write_bytes(b"\x80\x04Nr" + (2**28).to_bytes(4, "little") + b".")
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
from pipeline import load_predictor
load_predictor({str(path)!r})
"""

    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True
    )

    assert "is not a predictor file" in done.stderr
    assert "MemoryError" not in done.stderr


def test_a_stream_that_meddles_with_our_function_changes_nothing(path, tmp_path):
    """BUILD can set attributes of whatever `find_class` returns; ours must not be on the stack."""
    meddling = (
        b"\x80\x04"
        + b"cpipeline.predictor\n_restore_v1\n"
        + b"}X\x08\x00\x00\x00__name__X\x06\x00\x00\x00systemsb."
    )
    (tmp_path / "meddling.joblib").write_bytes(meddling)

    with pytest.raises(ArtifactError):
        load_predictor(tmp_path / "meddling.joblib")
    assert load_predictor(path).classes_.tolist() == ["neg", "pos"]


def test_state_appended_to_a_good_stream_is_refused(path):
    data = path.read_bytes()
    assert data.endswith(b".")
    path.write_bytes(data[:-1] + b"}X\x04\x00\x00\x00cardK\x01sb.")

    with pytest.raises(ArtifactError):
        load_predictor(path)


def test_another_pickle_is_refused(tmp_path):
    (tmp_path / "list.joblib").write_bytes(pickle.dumps([1, 2]))

    with pytest.raises(ArtifactError, match="not a predictor file"):
        load_predictor(tmp_path / "list.joblib")


def test_what_is_no_predictor_is_told_from_a_damaged_one(path, tmp_path):
    (tmp_path / "p.py").write_text("from pipeline import load_predictor\n")
    (tmp_path / "cut.joblib").write_bytes(path.read_bytes()[:-1000])

    for name, message in (
        ("p.py", r"p\.py is not a predictor file\. Pass the predictor\.joblib that"),
        ("", r"is a folder, expected a predictor file\. Pass .*/predictor\.joblib\.$"),
        ("cut.joblib", r"is damaged: .*Copy or export it again"),
    ):
        with pytest.raises(ArtifactError, match=message):
            load_predictor(tmp_path / name)


def test_a_missing_file_names_the_command_that_makes_one(tmp_path):
    with pytest.raises(ArtifactError, match="luigi --module tasks TrainLogReg"):
        load_predictor(tmp_path / "none.joblib")


def test_a_newer_version_is_refused(predictor, tmp_path):
    from pipeline.predictor.file import pack, restore

    _, header, *sections = pack(predictor._parts)
    newer = header.replace('"version":1', '"version":3')
    import hashlib

    with pytest.raises(ArtifactError, match="Update frostbert"):
        restore(hashlib.sha256(newer.encode()).hexdigest(), newer, sections)


@pytest.mark.parametrize("names_it", [True, False])
def test_features_of_an_older_recipe_are_not_taken_for_those_of_today(
    predictor, names_it
):
    from pipeline.predictor.file import pack, restore

    _, header, *sections = pack(predictor._parts)
    older = header.replace('"precision":"float32"', '"precision":"int8"')
    older = older.replace(
        '"recipe":"float32-v1",', '"recipe":"int8-static-v0",' if names_it else ""
    )
    import hashlib

    with pytest.raises(
        ArtifactError, match=r"made by int8-static-v[01]; int8 is int8-static-v2 here"
    ):
        restore(hashlib.sha256(older.encode()).hexdigest(), older, sections)


def test_the_three_parts_are_there(predictor, tiny_encoder):
    tokens = predictor.tokenizer("the film", return_tensors="np")
    features = predictor.transform(TEXTS[:4])

    assert tokens["input_ids"].shape == (1, 4)
    np.testing.assert_allclose(
        features,
        load_encoder(str(tiny_encoder), pooling="mean").encode(TEXTS[:4]),
        atol=1e-6,
    )
    np.testing.assert_allclose(
        predictor.classifier.predict_proba(features),
        predictor.predict_proba(TEXTS[:4]),
        atol=1e-6,
    )
    assert predictor.encoder.dim == 16


def test_self_check_is_silent_here_and_loud_on_other_weights(
    predictor, path, monkeypatch
):
    assert load_predictor(path).self_check() < TOLERANCE["float32"]
    changed = load_predictor(path)
    monkeypatch.setattr(changed.encoder, "engine", Off(changed.encoder.engine, 0.5))
    with pytest.raises(ArtifactError, match="are those of training"):
        changed.self_check()


@pytest.mark.parametrize(
    "texts",
    [
        ["the film is good", "dull"],
        ("the film is good", "dull"),
        pd.Series(["the film is good", "dull"], index=[7, 3]),
        np.array(["the film is good", "dull"]),
        (text for text in ["the film is good", "dull"]),
    ],
    ids=["list", "tuple", "Series", "array", "generator"],
)
def test_texts_may_come_in_any_sequence(predictor, texts):
    assert (
        predictor.predict(texts).tolist()
        == predictor.predict(["the film is good", "dull"]).tolist()
    )


def test_no_texts_give_no_rows(predictor):
    assert predictor.predict([]).shape == (0,)
    assert predictor.predict_proba([]).shape == (0, 2)
    assert predictor.transform([]).shape == (0, 16)


@pytest.mark.parametrize("bad", [None, b"bytes", 3, float("nan"), ["nested"]])
def test_something_else_than_a_text_is_named_by_position(predictor, bad):
    with pytest.raises(DataError, match=r"Text 1 is .*Convert or remove it"):
        predictor.predict(["good", bad])


@pytest.mark.parametrize(
    "table",
    [pd.DataFrame({"text": ["good", "dull"]}), {"text": ["good"]}],
    ids=["frame", "dict"],
)
def test_a_whole_table_is_not_taken_for_its_column_names(predictor, table):
    with pytest.raises(DataError, match="Pass one column"):
        predictor.predict(table)


def test_float16_storage_is_repeated_when_predicting(trained, tiny_encoder):
    done = trained.train(
        "reviews.tsv", tiny_encoder, "--C", "1", "--feature-dtype", "float16"
    )
    assert done.status == 0, done.err

    features = load_predictor(
        trained.artifacts / "latest" / "predictor.joblib"
    ).transform(["the film is good"])

    assert np.array_equal(features, features.astype(np.float16).astype(np.float32))


def test_the_exported_file_agrees_with_the_stored_features(trained, tiny_encoder):
    exported = load_predictor(trained.artifacts / "latest" / "predictor.joblib")

    assert exported.self_check() <= 1e-6
    assert {"python", "torch", "transformers", "sklearn"} <= set(
        exported.card["versions"]
    )
    assert (
        exported.card["metrics"]["accuracy"]["value"]
        == trained.report()["metrics"]["test"]["accuracy"]["value"]
    )
    np.testing.assert_allclose(
        exported.transform(["the film is good"]),
        load_encoder(str(tiny_encoder)).encode(["the film is good"]),
        atol=1e-6,
    )


def test_the_exported_file_works_without_the_encoder_folder(
    reviews, job, tiny_encoder, tmp_path
):
    folder = tmp_path / "moving"
    shutil.copytree(tiny_encoder, folder)
    done = job.train(reviews, folder, "--C", "1")
    assert done.status == 0, done.err
    shutil.rmtree(folder)

    exported = load_predictor(job.artifacts / "latest" / "predictor.joblib")

    assert exported.predict(["the film is good"]).shape == (1,)


class Off:
    """An engine whose features are off by so much."""

    n_halved = 0

    def __init__(self, engine, by):
        self._engine, self._by = engine, by
        self.identity, self.device = engine.identity, engine.device

    def __call__(self, ids, mask):
        return self._engine(ids, mask) + np.float32(self._by)


def test_an_engine_that_is_off_gives_way_to_torch(path, monkeypatch, caplog):
    expected = load_predictor(path).transform(TEXTS)
    make = engine.make_engine

    def off(checkpoint, spec, compute):
        made = make(checkpoint, spec, compute)
        return made if compute.backend == "torch" else Off(made, 0.01)

    monkeypatch.setattr("pipeline.encoder.frozen.make_engine", off)
    predictor = load_predictor(path)

    np.testing.assert_allclose(predictor.transform(TEXTS), expected, atol=1e-5)
    assert predictor.encoder.engine.identity["engine"] == "torch"
    assert "openvino gives features that differ by up to 0.01" in caplog.text

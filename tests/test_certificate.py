"""Every engine is measured beside float32 torch before it encodes; too many flipped labels refuse a head."""

import json
import os
import shutil
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import tasks
from pipeline import load_encoder
from pipeline.config import EncoderSpec
from pipeline.encoder import engine_openvino, frozen
from pipeline.encoder.certificate import Certificate, check, measure, spread
from pipeline.encoder.engine_openvino import OpenVinoEngine
from pipeline.encoder.frozen import reference_encoder
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.tolerance import flips_too_often
from pipeline.errors import CacheError, ConfigError, EncoderError
from pipeline.features import certify as certify_module
from pipeline.features import spawn, worker
from pipeline.features.certificates import Certificates
from pipeline.features.certify import certify, spread_texts
from pipeline.features.extract import _Work
from pipeline.features.keys import row_keys
from pipeline.features.texts import TextList
from pipeline.heads.flips import check_flips, count_flips
from pipeline.heads.head import Head
from pipeline.storage import (
    check_contents,
    publish_directory,
    read_manifest,
    sha256_file,
)
from pipeline.testing import WordLengthEncoder
from tasks.explain import explain
from tasks.forget import forget
from tasks.inventory import Inventory
from tasks.verify import verify
from tests.conftest import review_rows
from tests.test_tasks_stages import flip_last_bit

ENGINE = {"engine": "Fast One", "version": "1.2", "device": "cpu", "capabilities": []}
TEXTS = ["a bbb", "cc", "dd d", "eee"]


def lengths(texts):
    """Return hand-written features: the lengths of a text and of its first word."""
    return np.array([[len(t), len(t.split()[0])] for t in texts], dtype=np.float32)


def figures(encode, encode_reference=lengths, texts=TEXTS):
    found = measure(texts, encode, encode_reference, ENGINE)
    assert found is not None
    return found.certificate


def test_figures_of_the_same_features_are_perfect():
    assert figures(lengths).facts() == {
        **ENGINE,
        "n": 4,
        "scale": 5.0,
        "largest": 0.0,
        "mean": 0.0,
        "cosine": 1.0,
        "smallest_cosine": 1.0,
        "batch_of_one": 0.0,
        "batch_orders": 0.0,
    }


def test_figures_are_those_written_by_hand():
    reference = np.array([[3, 0], [0, 2]], dtype=np.float32)
    features = {"a": [3.0, 4.0], "b": [0.0, 2.0]}

    found = figures(
        lambda texts: np.array([features[t] for t in texts], dtype=np.float32),
        lambda _: reference,
        ["a", "b"],
    )

    assert (found.scale, found.largest, found.mean) == (3.0, 4.0, 1.0)
    assert found.smallest_cosine == pytest.approx(0.6)
    assert found.cosine == pytest.approx(0.8)


def test_features_that_depend_on_the_batch_show():
    def encode(texts):
        return lengths(texts) + (0.5 if len(texts) == 1 else 0.0)

    found = figures(encode)

    assert (found.largest, found.batch_of_one, found.batch_orders) == (0.0, 0.5, 0.0)


def test_features_that_depend_on_the_order_show():
    def encode(texts):
        return lengths(texts) + np.arange(len(texts), dtype=np.float32)[:, None]

    assert figures(encode).batch_orders == 3.0


def test_a_zero_vector_has_cosine_one_with_itself_and_zero_with_others():
    reference = np.array([[0, 0], [0, 0]], dtype=np.float32)
    features = {"a": [0.0, 0.0], "b": [0.0, 1.0]}

    found = figures(
        lambda texts: np.array([features[t] for t in texts], dtype=np.float32),
        lambda _: reference,
        ["a", "b"],
    )

    assert (found.cosine, found.smallest_cosine) == (0.5, 0.0)


def test_texts_without_finite_reference_features_are_left_to_the_extraction():
    def reference(texts):
        return np.where([[t == "cc"] for t in texts], np.nan, lengths(texts))

    found = measure(TEXTS, reference, reference, ENGINE)

    assert found is not None
    assert found.texts == ["a bbb", "dd d", "eee"]
    assert measure(["cc"], reference, reference, ENGINE) is None


def test_an_engine_that_alone_gives_nan_is_refused():
    with pytest.raises(
        EncoderError, match=r"Fast One 1\.2 on cpu gives NaN .* 4 of 4 .*Pass --prec"
    ):
        figures(lambda texts: lengths(texts) * np.nan)


PERFECT = {
    "scale": 1.0,
    "largest": 0.0,
    "mean": 0.0,
    "cosine": 1.0,
    "smallest_cosine": 1.0,
    "batch_of_one": 0.0,
    "batch_orders": 0.0,
}


@pytest.mark.parametrize(
    ("precision", "changed"),
    [
        ("float32", {"largest": 2e-4}),
        ("float32", {"largest": 2e-3, "scale": 10.0}),
        ("float32", {"batch_of_one": 2e-4}),
        ("float32", {"batch_orders": 2e-4}),
        ("float32", {"largest": np.nan}),
        ("bfloat16", {"smallest_cosine": 0.99}),
        ("bfloat16", {"smallest_cosine": np.nan}),
        ("int8", {"smallest_cosine": 0.8}),
    ],
)
def test_an_engine_beyond_its_bound_is_refused(precision, changed):
    certificate = Certificate(ENGINE, 7, **{**PERFECT, **changed})
    spec = EncoderSpec(precision=precision)

    with pytest.raises(
        EncoderError,
        match=rf"^Fast One 1\.2 on cpu, {spec.recipe}: .*7 texts.*expected at .*Pass --precision float32",
    ):
        check(certificate, spec)


@pytest.mark.parametrize(
    ("precision", "changed"),
    [
        ("float32", {"largest": 9e-5, "batch_of_one": 9e-5}),
        ("float32", {"largest": 9e-4, "scale": 10.0}),
        ("bfloat16", {"largest": 0.1, "smallest_cosine": 0.9995}),
        ("int8", {"largest": 1.0, "smallest_cosine": 0.95}),
    ],
)
def test_an_engine_within_its_bound_is_not(precision, changed):
    certificate = Certificate(ENGINE, 7, **{**PERFECT, **changed})

    check(certificate, EncoderSpec(precision=precision))


@pytest.mark.parametrize(
    ("n", "allowed"), [(1, 0), (10, 1), (32, 3), (120, 7), (256, 12)]
)
def test_flips_count_as_too_many_where_chance_does_not_explain_them(n, allowed):
    assert not flips_too_often(0, n)
    assert not flips_too_often(allowed, n)
    assert flips_too_often(allowed + 1, n)


def test_spread_takes_the_first_and_the_last():
    assert spread(3, 10).tolist() == [0, 1, 2]
    assert spread(11, 3).tolist() == [0, 5, 10]
    assert spread(0, 3).tolist() == []


def test_texts_of_a_certificate_are_different_and_evenly_spread(monkeypatch):
    monkeypatch.setattr(certify_module, "N_TEXTS", 3)
    monkeypatch.setattr(certify_module, "N_ROWS", 6)

    assert spread_texts(TextList(["a", "b", "a", "c"], block=2)) == ["a", "b", "c"]
    assert spread_texts(TextList([str(i) for i in range(11)], block=2)) == [
        "0",
        "4",
        "10",
    ]
    assert spread_texts(TextList(["a"] * 9, block=2)) == ["a"]


class Engine(WordLengthEncoder):
    """The double with an engine; `error` is added to its features."""

    spec, beside = EncoderSpec(), ()

    def __init__(self, error=0.0, version="1.2"):
        super().__init__()
        self.error, self.engine_identity = error, {**ENGINE, "version": version}

    def _row(self, words):
        return super()._row(words) + np.float32(self.error)


@pytest.fixture
def home(tmp_path):
    return Certificates(tmp_path / "features" / "words", "e" * 64)


def make(home, engine, reference=None, **options):
    """Certify an engine; return how many texts the reference encoded."""
    reference = reference or Engine()
    root = home.store.parents[1]
    certify(
        engine,
        lambda: reference,
        TextList(TEXTS, block=2),
        [home],
        root=root,
        **options,
    )
    return len(reference.seen)


def test_an_engine_is_measured_once_and_its_next_version_again(home):
    assert make(home, Engine()) == 4
    assert make(home, Engine()) == 0
    assert make(home, Engine(version="1.3")) == 4

    found = list(home.whole())
    assert [path.name[:9] for path, _ in found] == ["fast-one-", "fast-one-"]
    assert {manifest["facts"]["version"] for _, manifest in found} == {"1.2", "1.3"}


def test_a_certificate_holds_keys_and_both_features(home):
    make(home, Engine(error=1e-5))

    ((path, manifest),) = home.whole()
    reference, features = (
        np.load(path / "reference.npy"),
        np.load(path / "features.npy"),
    )
    assert (np.load(path / "keys.npy") == row_keys(TEXTS)).all()
    assert reference.tolist() == [[1, 3, 0], [2, 0, 0], [2, 1, 0], [3, 0, 0]]
    np.testing.assert_allclose(features - reference, 1e-5, rtol=0.1)
    assert manifest["facts"]["largest"] == pytest.approx(1e-5, rel=0.1)


def test_a_wrong_engine_publishes_nothing(home):
    with pytest.raises(EncoderError, match=r"differs from float32 torch by 0\.1 "):
        make(home, Engine(error=0.1))

    assert home.folders() == []


def test_who_may_not_publish_does_not(home):
    def refuse():
        raise SystemExit("orphan")

    with pytest.raises(SystemExit, match="orphan"):
        make(home, Engine(), before_publishing=refuse)

    assert home.folders() == []


@pytest.mark.parametrize("name", ["reference.npy", "features.npy", "keys.npy"])
@pytest.mark.parametrize("damage", [flip_last_bit, lambda path: path.unlink()])
def test_a_damaged_certificate_is_set_aside_and_measured_again(home, name, damage):
    make(home, Engine())
    ((path, _),) = home.whole()
    damage(path / name)

    assert make(home, Engine()) == 4

    assert check_contents(path)
    assert len(list((home.store.parents[1] / "quarantine").iterdir())) == 1


def test_a_certificate_of_another_store_does_not_count(home):
    make(home, Engine())
    other = Certificates(home.store.with_name("other"), "f" * 64)
    shutil.copytree(home.store / "certificates", other.store / "certificates")

    assert len(other.folders()) == 1
    assert list(other.whole()) == []
    assert other.lack("bfloat16")
    assert not other.lack("float32")


def head(coef):
    coef = np.array(coef, dtype=np.float64)
    d = coef.shape[1]
    return Head(
        classes=["a", "b", "c"][: max(2, len(coef))],
        mean=np.zeros(d),
        scale=np.ones(d),
        coef=coef,
        intercept=np.zeros(len(coef)),
        C=1.0,
        class_weight="none",
        n_iter=1,
        converged=True,
        solver="by hand",
        sklearn_version="none",
    )


def test_flips_are_rows_with_another_label():
    before = np.array([[1, 0], [-1, 0], [2, 0]], dtype=np.float32)
    now = np.array([[1, 5], [1, 0], [-2, 0]], dtype=np.float32)

    assert count_flips(head([[1.0, 0.0]]), before, now) == 2
    assert count_flips(head([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), before, now) == 3


def test_too_many_flips_name_figures_bound_and_fix():
    facts = {**ENGINE, "n": 256}

    check_flips({**facts, "flips": 12}, "int8-x-v1")
    with pytest.raises(
        ConfigError,
        match=r"^int8-x-v1 on Fast One 1\.2 on cpu flips 13 of 256 labels .*\(5\.1 %\).* 3 % .*--allow-lossy",
    ):
        check_flips({**facts, "flips": 13}, "int8-x-v1")


def test_the_reference_is_float32_on_the_cpu_whatever_is_measured(tiny_encoder):
    spec = EncoderSpec(encoder=str(tiny_encoder), precision="bfloat16", pooling="mean")

    reference = reference_encoder(find_encoder(spec, sha256_file), spec)

    exact = load_encoder(str(tiny_encoder), pooling="mean", device="cpu")
    np.testing.assert_allclose(
        reference.encode(["good film"]), exact.encode(["good film"]), atol=1e-5
    )
    assert reference.engine_identity["engine"] == "transformers"
    assert reference.engine_identity["device"] == "cpu"


# In the pipeline


@pytest.fixture
def here(reviews, tiny_encoder, monkeypatch):
    """Let extractions run in this process; make stages, and note the worker's warnings and the measurements."""
    sent, measured = [], []

    class Here(worker.Lines):
        def __init__(self):
            super().__init__(sys.stderr, os.getppid())

        def send(self, **message):
            sent.append(message)

    def extract(request, _):
        return worker.work(json.loads(json.dumps(request)), Here())

    def reference(source, spec, beside=()):
        measured.append(spec.precision)
        return reference_encoder(source, spec, beside)

    def stage(kind, **options):
        root = reviews.parent / "artifacts"
        return kind(
            **{
                "dataset": str(reviews),
                "encoder": str(tiny_encoder),
                "artifacts": str(root),
                **options,
            }
        )

    monkeypatch.setattr(spawn, "extract", extract)
    monkeypatch.setattr(frozen, "reference_encoder", reference)
    return SimpleNamespace(stage=stage, sent=sent, measured=measured)


def extraction(here, **options):
    stage = here.stage(tasks.ExtractFeatures, **options)
    stage.upstream["dataset"].run()
    return stage


def shards(stage):
    return list(stage.store.glob("shards/*"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_first_extraction_measures_and_the_next_does_not(here, reviews, precision):
    stage = extraction(here, precision=precision)
    stage.run()
    reviews.write_text(reviews.read_text() + "a good film\tpos\n")

    extraction(here, precision=precision).run()

    ((_, manifest),) = stage.certificates.whole()
    facts = manifest["facts"]
    assert here.measured == [precision]
    assert facts["n"] == 120
    if precision == "float32":
        assert facts["largest"] < 1e-5
    else:
        assert 1e-4 < facts["largest"] < 0.1
        assert 0.999 < facts["smallest_cosine"] < 1.0


def test_an_encoder_that_fails_its_measurement_encodes_nothing(here, monkeypatch):
    def wrong(source, spec, beside=()):
        return reference_encoder(source, replace(spec, pooling="mean"))

    monkeypatch.setattr(frozen, "reference_encoder", wrong)
    stage = extraction(here)

    with pytest.raises(EncoderError, match=r"torch .* on cpu, float32-v1: a feature"):
        stage.run()

    (warning,) = (message["warning"] for message in here.sent)
    assert warning.startswith("openvino ")  # which was tried before
    assert warning.endswith("torch does the work now.")
    assert stage.certificates.folders() == []
    assert shards(stage) == []


def test_a_run_that_ended_between_certificate_and_extraction_measures_once(
    here, monkeypatch
):
    def end(*_):
        raise KeyboardInterrupt

    stage, encode = extraction(here), _Work.encode
    monkeypatch.setattr("pipeline.features.extract._Work.encode", end)
    with pytest.raises(KeyboardInterrupt):
        stage.run()
    assert shards(stage) == []
    monkeypatch.setattr("pipeline.features.extract._Work.encode", encode)

    stage.run()

    assert stage.complete()
    assert here.measured == ["float32"]


def test_a_low_precision_without_a_certificate_is_incomplete_and_only_measured_again(
    here,
):
    stage = extraction(here, precision="bfloat16")
    stage.run()
    kept = shards(stage)
    shutil.rmtree(stage.store / "certificates")

    assert not stage.complete()
    (said,) = [
        str(found)
        for found in explain(here.stage(tasks.TrainLogReg, precision="bfloat16"))
        if found.stage == "ExtractFeatures"
    ]
    assert "no certificate of bfloat16-v1 against float32 torch" in said
    stage.run()
    assert stage.complete()
    assert shards(stage) == kept
    assert here.measured == ["bfloat16", "bfloat16"]


def test_float32_does_without_a_certificate(here):
    stage = extraction(here)
    stage.run()
    shutil.rmtree(stage.store / "certificates")

    assert stage.complete()
    fit = here.stage(tasks.FitLogReg, C="1")
    fit.run()
    assert read_manifest(fit.directory)["facts"]["certificates"] == []


def test_a_flipped_bit_is_noticed_before_a_head_is_judged_and_mended(here, caplog):
    options = {"precision": "bfloat16", "allow_lossy": True}
    here.stage(tasks.FitLogReg, C="1", **options).run()
    fit = here.stage(tasks.FitLogReg, C="2", **options)
    ((path, _),) = fit.upstream["features"].certificates.whole()
    flip_last_bit(path / "reference.npy")
    assert any("reference.npy is damaged" in line for line in verify(fit.root).damage)

    fit.run()

    assert "reference.npy is damaged" in caplog.text
    assert here.measured == ["bfloat16", "bfloat16"]
    (figures,) = read_manifest(fit.directory)["facts"]["certificates"]
    assert (figures["n"], figures["largest"] < 0.1) == (120, True)
    assert verify(fit.root).damage == []


def turn_round(certificates, root):
    """Put a certificate in the place of one whose features all have another sign."""
    ((path, manifest),) = certificates.whole()
    arrays = {
        name: np.load(path / f"{name}.npy")
        for name in ("keys", "reference", "features")
    }
    shutil.rmtree(path)
    with publish_directory(
        path,
        root=root,
        stage="Certificate",
        key=manifest["key"],
        key_fields=manifest["key_fields"],
    ) as draft:
        arrays["features"] *= -1
        for name, array in arrays.items():
            np.save(draft.path / f"{name}.npy", array)
        draft.facts.update(manifest["facts"])


def test_a_precision_that_flips_labels_is_refused_unless_it_is_allowed(here):
    options = {"C": "1", "precision": "bfloat16"}
    fit = here.stage(tasks.FitLogReg, **options)
    fit.upstream["features"].mend()
    turn_round(fit.upstream["features"].certificates, fit.root)

    with pytest.raises(ConfigError, match=r"flips \d+ of 120 labels .*--allow-lossy"):
        fit.run()
    assert not fit.directory.exists()
    allowed = here.stage(tasks.FitLogReg, allow_lossy=True, **options)
    allowed.run()

    (figures,) = read_manifest(allowed.directory)["facts"]["certificates"]
    assert figures["flips"] > 20
    assert allowed.key == fit.key


def test_a_head_is_fitted_and_judged_without_torch(trained, tiny_encoder, python):
    shutil.rmtree(trained.artifacts / "models")
    done = python(
        "import sys, tasks\n"
        f"fit = tasks.FitLogReg(dataset='reviews.tsv', encoder={str(tiny_encoder)!r}, C='1')\n"
        "fit.run()\n"
        "print('torch' in sys.modules)",
        cwd=trained.cwd,
    )

    assert done.stdout == "False\n", done.stderr
    (manifest,) = trained.artifacts.glob("models/*/manifest.json")
    (figures,) = json.loads(manifest.read_text())["facts"]["certificates"]
    assert (figures["flips"], figures["n"]) == (0, 120)


def test_the_report_shows_the_figures_and_the_predictor_has_none(trained):
    from pipeline import load_predictor

    (figures,) = trained.report()["encoder"]["certificates"]
    latest = trained.artifacts / "latest"

    assert {"engine", "version", "n", "largest", "batch_orders", "flips"} < set(figures)
    for name in ("report.md", "report.html"):
        assert "0 of 120 labels flip" in (latest / name).read_text()
    card = load_predictor(latest / "predictor.joblib").card
    assert "certificates" not in card["encoder"]


def test_forget_removes_a_certificate_with_the_text_and_leaves_others(
    here, monkeypatch
):
    monkeypatch.setattr(certify_module, "N_TEXTS", 5)
    stage = extraction(here)
    stage.run()
    inside, outside = (review_rows()[i][0] for i in (0, 1))

    assert forget(stage.root, outside).traces == []
    assert len(Inventory(stage.root).of("certificates")) == 1
    found = forget(stage.root, inside)

    assert found.traces == []
    assert any("certificates/" in line for line in found.removed)
    assert Inventory(stage.root).of("certificates") == []


def test_forget_looks_for_the_features_of_both_encoders(here):
    stage = extraction(here, precision="bfloat16")
    stage.run()
    ((path, _),) = stage.certificates.whole()
    row = np.load(path / "reference.npy")[3].tobytes()
    text = review_rows()[3][0]
    assert np.load(path / "keys.npy")[3] == row_keys([text])[0]
    (stage.root / "kept.bin").write_bytes(row)

    found = forget(stage.root, text)

    assert found.traces == [f"{stage.root}/kept.bin still holds its features"]


def test_forget_removes_a_certificate_that_nobody_can_read(here):
    stage = extraction(here)
    stage.run()
    ((path, _),) = stage.certificates.whole()
    (path / "keys.npy").chmod(0o644)
    (path / "keys.npy").write_bytes(b"")

    forget(stage.root, "nobody ever wrote this")

    assert stage.certificates.folders() == []


def test_a_certificate_that_may_not_be_read_is_no_damage(here, monkeypatch):
    stage = extraction(here)
    stage.run()

    def refuse(path, limit=-1):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pipeline.storage.disk.read", refuse)
    with pytest.raises(CacheError, match="Permission denied"):
        list(stage.certificates.whole())


def test_torch_does_the_work_where_openvino_computes_something_else(here, monkeypatch):
    call = OpenVinoEngine.__call__
    monkeypatch.setattr(
        OpenVinoEngine,
        "__call__",
        lambda self, *batch: call(self, *batch) + np.float32(0.1),
    )
    stage = extraction(here)

    stage.run()

    ((_, manifest),) = stage.certificates.whole()
    assert manifest["facts"]["engine"] == "torch"
    assert manifest["facts"]["largest"] < 1e-5
    with pytest.raises(
        EncoderError, match=r"openvino .* differs from float32 torch by 0\.1"
    ):
        extraction(here, backend="openvino", pooling="mean").run()


def test_a_second_run_needs_neither_torch_nor_transformers(
    here, reviews, python, monkeypatch
):
    """The tokenizer, prepared once, and OpenVINO are enough."""
    extraction(here).run()
    reviews.write_text(reviews.read_text() + "a good film\tpos\n")
    stage = extraction(here)
    requests = []
    run = spawn.extract

    def noting(request, on_message):
        requests.append(request)
        return run(request, on_message)

    monkeypatch.setattr(spawn, "extract", noting)
    stage.run()
    shutil.rmtree(stage.directory)
    for shard in stage.store.glob("shards/*"):
        shutil.rmtree(shard)

    done = python(
        "import json, os, sys\n"
        "from pipeline.features import worker\n"
        f"request = json.loads({json.dumps(requests[0])!r})\n"
        "worker.work(request, worker.Lines(sys.stderr, os.getppid()))\n"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )

    assert done.stdout == "[]\n", done.stderr


def test_int8_weights_are_made_once_and_kept(here, reviews, monkeypatch):
    extraction(here, precision="int8").run()
    monkeypatch.setattr("pipeline.encoder.quantize.quantize", None)
    reviews.write_text(reviews.read_text() + "a good film\tpos\n")
    stage = extraction(here, precision="int8")

    stage.run()

    assert (stage.store / "encoder" / "int8.safetensors").is_file()
    assert len(list(stage.certificates.whole())) == 1


def test_a_damaged_encoder_directory_is_made_again(here, reviews):
    extraction(here).run()
    flip_last_bit(extraction(here).store / "encoder" / "tokenizer.json")
    reviews.write_text(reviews.read_text() + "a good film\tpos\n")
    stage = extraction(here)

    stage.run()

    (warning,) = (message["warning"] for message in here.sent if "warning" in message)
    assert "was damaged and moved to" in warning
    assert check_contents(stage.store / "encoder")


def test_an_engine_that_hides_an_overflow_is_refused():
    def overflowing(texts):
        return np.where([[t == "cc"] for t in texts], np.nan, lengths(texts))

    with pytest.raises(
        EncoderError, match=r"Fast One .* gives finite features for 1 texts"
    ):
        figures(lengths, overflowing)


class Failing:
    """A request of OpenVINO that fails on more than two texts at a time."""

    def __init__(self, request):
        self._request = request

    def infer(self, inputs, **_):
        if len(inputs[0]) > 2:
            raise RuntimeError("could not execute a primitive")
        return self._request.infer(inputs)


def test_torch_does_the_work_where_openvino_fails_on_a_batch(here, monkeypatch):
    prepare = engine_openvino.compile_graph
    monkeypatch.setattr(
        engine_openvino, "compile_graph", lambda *given: Failing(prepare(*given))
    )
    stage = extraction(here)

    stage.run()

    (warning,) = (message["warning"] for message in here.sent if "warning" in message)
    assert warning.startswith("OpenVINO failed on a batch of shape (")
    assert warning.endswith("torch does the work now.")

"""How fast encoders are said to be, and how large."""

import time
from dataclasses import asdict
from itertools import pairwise

import pytest

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.frozen import load_encoder
from pipeline.encoder.size import weights_bytes
from pipeline.errors import EncoderError, WorkerError
from pipeline.features import spawn, timing

TEXTS = ["the film is good", "a dull plot"] * 40


def asked(root, *specs, texts=TEXTS, pair_encoding=None):
    return {
        "root": str(root),
        "compute": asdict(ComputeSpec(device="cpu")),
        "encoders": [{"spec": asdict(spec), "prepared": None} for spec in specs],
        "texts": texts,
        "pair_encoding": pair_encoding,
    }


def test_rows_a_second_are_those_of_the_fastest_pass():
    passes = []

    def encode(rows):
        passes.append(len(rows))
        time.sleep(0.001 * len(rows) + 0.05 * (len(passes) == 4))

    found = timing.rows_per_s(encode, ["a"] * 1000)

    first, few, *rest = passes
    assert (first, few) == (timing.N_FIRST, timing.N_FIRST)
    assert len(rest) == timing.N_PASSES
    assert len(set(rest)) == 1
    assert 500 < found < 1000


def test_few_texts_are_all_taken():
    assert timing.rows_per_s(lambda _: time.sleep(0.001), ["a", "b"]) < 2000


def test_each_encoder_is_measured_or_says_why_not(tiny_bert, tiny_encoder, tmp_path):
    specs = (
        EncoderSpec(encoder=str(tiny_bert), pooling="mean", layer=-2),
        EncoderSpec(encoder=str(tiny_encoder), pooling="pooler"),
        EncoderSpec(encoder=str(tiny_bert), pooling="cls"),
    )
    notes: list[spawn.Message] = []

    first, failed, last = spawn.time_encoders(asked(tmp_path, *specs), notes.append)

    assert "has no pooler" in failed["error"]
    assert first["rows_per_s"] > 0
    assert 0 < first["size_mb"] < last["size_mb"]
    assert len(notes) == 3


@pytest.mark.parametrize("pair_encoding", ["separate", "joint"])
def test_pairs_are_timed_as_they_are_encoded(tiny_bert, tmp_path, pair_encoding):
    pairs = list(zip(TEXTS, TEXTS[::-1], strict=True))
    spec = EncoderSpec(encoder=str(tiny_bert), pooling="mean")
    request = asked(tmp_path, spec, texts=pairs, pair_encoding=pair_encoding)

    (found,) = spawn.time_encoders(request, lambda _: None)

    assert found["rows_per_s"] > 0


def test_a_process_that_dies_is_an_error_that_is_no_encoders_fault(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(spawn, "TIMING", "pipeline.no_such_module")

    with pytest.raises(WorkerError, match="stopped with status 1"):
        spawn.time_encoders(asked(tmp_path), lambda _: None)
    assert issubclass(WorkerError, EncoderError)


def test_the_size_is_that_of_the_layers_that_are_run(tiny_bert):
    sizes = [
        weights_bytes(load_encoder(str(tiny_bert), layer=layer, pooling=pooling))
        for layer, pooling in ((0, "mean"), (1, "mean"), (2, "mean"), (-1, "pooler"))
    ]
    whole = load_encoder(str(tiny_bert)).checkpoint.bert()

    assert whole is not None
    steps = [b - a for a, b in pairwise(sizes)]
    assert steps[0] == steps[1] > 0
    assert steps[2] == 4 * (16 * 16 + 16)
    assert sizes[-1] == 4 * whole.n_parameters

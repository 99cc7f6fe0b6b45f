"""Every engine gives what transformers gives; int8 gives nearly that."""

import json
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from safetensors.torch import load_file, save_file

from pipeline import load_encoder
from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder import engine as engines
from pipeline.encoder.bert import QuantizedLinear, arrays_of, bert_of
from pipeline.encoder.checkpoint import read_checkpoint
from pipeline.encoder.frozen import load_source, reference_encoder
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.ops_onnx import OnnxOps
from pipeline.encoder.quantize import WEIGHT_TOP, quantize
from pipeline.encoder.quantized import from_arrays, to_arrays
from pipeline.errors import ConfigError, EncoderError, EngineError
from pipeline.storage import sha256_file
from tests.checkpoints import KINDS, MANY_SCRIPTS, N_POSITIONS, save_kind

BACKENDS = ["torch", "openvino", "onnxruntime"]
FAMILY = ("bert", "distilbert", "roberta", "xlm-roberta")
TEXTS = [
    *MANY_SCRIPTS,
    "",
    "the film",
    "a <pad> in the middle [PAD] of a text",
    "a " * 40,
]
STATES = [
    ("cls", -1),
    ("mean", -1),
    ("max", -1),
    ("cls", 1),
    ("mean", 1),
    ("max", -2),
    ("mean", 0),
]


def load_both(folder, backend, **options):
    """Return the encoder on an engine, and transformers' own."""
    spec = EncoderSpec(encoder=str(folder), max_length=N_POSITIONS, **options)
    source = find_encoder(spec, sha256_file)
    return load_source(source, spec, ComputeSpec(backend=backend)), reference_encoder(
        source, spec
    )


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("pooling", "layer"), STATES)
@pytest.mark.parametrize("kind", FAMILY)
def test_an_engine_gives_what_transformers_gives(
    tmp_path, kind, pooling, layer, backend
):
    folder = save_kind(tmp_path / kind, kind)
    encoder, reference = load_both(folder, backend, pooling=pooling, layer=layer)

    np.testing.assert_allclose(
        encoder.encode(TEXTS), reference.encode(TEXTS), atol=1e-5
    )
    assert encoder.engine.identity["engine"] == backend
    assert reference.engine.identity["engine"] == "transformers"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer", [-1, -2, 1, 0])
@pytest.mark.parametrize("kind", FAMILY)
def test_every_layer_of_every_token_is_what_transformers_gives(
    tmp_path, kind, layer, backend
):
    folder = save_kind(tmp_path / kind, kind)
    encoder, reference = load_both(folder, backend, pooling="mean", layer=layer)
    ids = encoder.tokenize(TEXTS).ids

    found, expected = encoder.token_states(ids), reference.token_states(ids)

    assert len(found.layers) == {-1: 3, -2: 2, 1: 2, 0: 1}[layer]
    kept = found.mask.astype(bool)
    for ours, theirs in zip(found.layers, expected.layers, strict=True):
        np.testing.assert_allclose(ours[kept], theirs[kept], atol=1e-5)


@pytest.mark.parametrize("layer", [-1, 2, 1, 0])
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_the_mean_of_the_tokens_of_the_last_layer(tmp_path, kind, layer):
    """Of every architecture; some normalise once more behind the last layer."""
    folder = save_kind(tmp_path / kind, kind)
    encoder = load_encoder(
        str(folder), pooling="mean", layer=layer, max_length=N_POSITIONS
    )

    states = encoder.token_states(encoder.tokenize(TEXTS).ids)

    weights = states.mask[:, :, None]
    means = (states.layers[-1] * weights).sum(1) / weights.sum(1)
    np.testing.assert_allclose(means, encoder.encode(TEXTS), atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_token_of_the_last_layer_is_the_cls_feature(tmp_path, backend):
    """There the engine computes the last layer for the first token alone, by other sums."""
    folder = save_kind(tmp_path / "bert", "bert")
    encoder, _ = load_both(folder, backend, pooling="cls")

    states = encoder.token_states(encoder.tokenize(TEXTS).ids)

    np.testing.assert_allclose(
        states.layers[-1][:, 0], encoder.encode(TEXTS), atol=1e-5
    )


def test_a_model_in_training_mode_is_refused_for_its_layers_too(tmp_path):
    _, reference = load_both(save_kind(tmp_path / "bert", "bert"), "torch")
    reference.engine.model.train()

    with pytest.raises(EncoderError, match=r"Call encoder\.engine\.model\.eval"):
        reference.token_states(reference.tokenize(["a film"]).ids)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_trained_pooler_is_run_by_every_engine(tmp_path, backend):
    folder = save_kind(tmp_path / "bert", "bert")
    encoder, reference = load_both(folder, backend, pooling="pooler")

    np.testing.assert_allclose(
        encoder.encode(TEXTS), reference.encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(FAMILY)))
def test_other_architectures_are_left_to_transformers(tmp_path, kind):
    folder = save_kind(tmp_path / kind, kind)

    encoder = load_encoder(str(folder), pooling="mean", max_length=N_POSITIONS)

    assert encoder.engine.identity["engine"] == "transformers"
    with pytest.raises(ConfigError, match="--backend openvino: OpenVINO runs BERT"):
        load_encoder(
            str(folder), pooling="mean", max_length=N_POSITIONS, backend="openvino"
        )


def test_weights_named_by_tensorflow_and_with_a_prefix_are_found(tmp_path):
    folder = save_kind(tmp_path / "bert", "bert")
    config = read_checkpoint(folder).config
    weights = read_checkpoint(folder).weights
    other = {
        "bert."
        + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): array
        for name, array in weights.items()
    }

    plain, renamed = (arrays_of(bert_of(config, named)) for named in (weights, other))

    assert plain.keys() == renamed.keys()
    assert all(np.array_equal(plain[name], renamed[name]) for name in plain)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_stored_in_half_precision_are_read_exactly(tmp_path, dtype):
    folder = save_kind(tmp_path / "bert", "bert")
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: tensor.to(dtype) for name, tensor in weights.items()},
        folder / "model.safetensors",
    )

    encoder, reference = load_both(folder, "openvino")

    np.testing.assert_allclose(
        encoder.encode(TEXTS), reference.encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "relu"},
        {"position_embedding_type": "relative_key"},
        {"is_decoder": True},
        {"num_attention_heads": None},
        {"num_hidden_layers": 99},
        {"hidden_size": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_an_engine_does_not_know_is_not_guessed(tmp_path, change):
    checkpoint = read_checkpoint(save_kind(tmp_path / "bert", "bert"))

    assert bert_of(checkpoint.config, checkpoint.weights) is not None
    assert bert_of({**checkpoint.config, **change}, checkpoint.weights) is None


def test_a_weight_of_another_shape_is_not_guessed(tmp_path):
    checkpoint = read_checkpoint(save_kind(tmp_path / "bert", "bert"))
    weights = dict(checkpoint.weights)
    weights["encoder.layer.0.output.dense.bias"] = np.zeros(3, dtype=np.float32)

    assert bert_of(checkpoint.config, weights) is None


def test_without_openvino_torch_does_the_work(tiny_encoder, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda _: None)

    assert load_encoder(str(tiny_encoder)).engine.identity["engine"] == "torch"
    with pytest.raises(
        ConfigError, match=r"not installed. Run: pip install 'frostbert\[fast\]'"
    ):
        load_encoder(str(tiny_encoder), backend="openvino")
    with pytest.raises(
        ConfigError, match=r"int8 is run by ONNX Runtime alone.*frostbert\[fast\]"
    ):
        load_encoder(str(tiny_encoder), precision="int8")


@pytest.mark.parametrize(
    ("backend", "precision", "match"),
    [
        ("openvino", "int8", "by ONNX Runtime alone. Pass --backend onnxruntime"),
        ("onnxruntime", "bfloat16", "ONNX Runtime has no bfloat16 on processors"),
    ],
)
def test_an_engine_without_a_precision_names_the_one_that_has_it(
    tiny_encoder, backend, precision, match
):
    with pytest.raises(ConfigError, match=match):
        load_encoder(str(tiny_encoder), backend=backend, precision=precision)


def test_integers_are_added_exactly_where_they_are_largest():
    """Processors without VNNI add two products in 16 bits, and would cut what does not fit."""
    rng = np.random.RandomState(0)
    q = rng.choice([-128, 127], (40, 256)).astype(np.float32)
    weight = rng.choice([-63, 63], (24, 256)).astype(np.int8)
    q[0], weight[0] = 127, 63
    linear = QuantizedLinear(
        weight=weight,
        scale=np.full(24, 1, np.float32),
        bias=np.zeros(24, np.float32),
        factor=np.full(256, 2, np.float32),
        shift=np.full(256, -1, np.float32),
    )
    ops = OnnxOps()
    x = ops.reshape(ops.mask, [-1, 256])
    found = ops.quantized_linear(ops.quantize(x, linear), linear)
    session = onnxruntime.InferenceSession(ops.model([found]).SerializeToString())
    given = ((q + 1) / 2).astype(np.float32)
    none = np.zeros(q.shape, np.int32)

    (sums,) = session.run(None, {"ids": none, "positions": none, "mask": given})

    assert np.array_equal(sums, q @ weight.T.astype(np.float32))
    assert sums[0, 0] == 127 * 63 * 256


def test_weights_are_seven_bits(int8):
    weights = [
        array for array in int8.checkpoint.weights.values() if array.dtype == np.int8
    ]

    assert 2 * 255 * WEIGHT_TOP < 2**15  # what processors without VNNI add two in
    assert max(np.abs(array.astype(int)).max() for array in weights) == WEIGHT_TOP


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_an_engine_that_cannot_run_gives_way_to_torch(
    tiny_encoder, monkeypatch, caplog, precision
):
    def refuse(*_, **__):
        raise EngineError("The engine does not take the encoder.")

    monkeypatch.setattr("pipeline.encoder.engine_openvino.compile_graph", refuse)
    monkeypatch.setattr("pipeline.encoder.engine_onnx.Compiled.__call__", refuse)

    if precision == "int8":  # torch has none
        with pytest.raises(EngineError, match="does not take"):
            load_encoder(str(tiny_encoder), precision="int8")
        return
    assert load_encoder(str(tiny_encoder)).engine.identity["engine"] == "torch"
    assert "does not take the encoder. torch does the work now." in caplog.text
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(EngineError, match="does not take"):
            load_encoder(str(tiny_encoder), backend=backend)


def test_torch_has_no_int8(tiny_encoder):
    with pytest.raises(ConfigError, match="int8 is run by ONNX Runtime alone"):
        load_encoder(str(tiny_encoder), precision="int8", backend="torch")


def test_bfloat16_goes_to_openvino_only_where_the_processor_has_it(
    tiny_encoder, monkeypatch
):
    monkeypatch.setattr(
        "pipeline.encoder.engine_openvino.capabilities", lambda: ["FP32"]
    )

    assert (
        load_encoder(str(tiny_encoder), precision="bfloat16").engine.identity["engine"]
        == "torch"
    )
    with pytest.raises(ConfigError, match="This processor has no bfloat16"):
        load_encoder(str(tiny_encoder), precision="bfloat16", backend="openvino")


def test_an_engine_says_what_it_is(tiny_encoder):
    identity = load_encoder(str(tiny_encoder), backend="openvino").engine.identity

    assert identity["version"] == openvino.__version__.split("-")[0]
    assert "FP32" in identity["capabilities"]
    assert load_encoder(str(tiny_encoder)).engine.n_parameters == sum(
        tensor.numel()
        for tensor in load_file(tiny_encoder / "model.safetensors").values()
    )


@pytest.fixture(scope="module")
def int8(distilbert):
    """An encoder with learned weights on 8-bit integers."""
    return load_encoder(str(distilbert), precision="int8")


REVIEWS = [
    "a joy from start to finish",
    "The plot is thin, but the acting saves it.",
    "dull , lifeless , and amateurishly assembled .",
    "I laughed exactly once, at the credits.",
    "An unhurried portrait of two sisters and the shop that they cannot sell.",
    "no",
]


def test_int8_is_close_to_float32_and_not_equal(int8, distilbert):
    exact = load_encoder(str(distilbert)).encode(REVIEWS)

    rough = int8.encode(REVIEWS)

    assert 0.995 < cosines(exact, rough).min() < 1 - 1e-6
    assert int8.engine.identity["engine"] == "onnxruntime"


def test_int8_does_not_depend_on_the_batch(int8):
    alone = np.concatenate([int8.encode([text]) for text in REVIEWS])

    np.testing.assert_allclose(int8.encode(REVIEWS), alone, atol=0.02)


def test_int8_weights_come_back_from_their_arrays(int8, distilbert):
    bert = int8.checkpoint.bert()
    arrays = to_arrays(bert)

    again = arrays_of(from_arrays(arrays, int8.checkpoint.config))

    assert again.keys() == arrays_of(bert).keys()
    assert all(
        np.array_equal(array, again[name]) for name, array in arrays_of(bert).items()
    )
    assert arrays["int8.layers.0.up.weight"].dtype == np.int8
    assert (
        "int8.layers.5.up.scale" not in arrays
    )  # the last layer sees one row a text: float32


@pytest.mark.parametrize("kind", FAMILY)
@pytest.mark.parametrize(
    ("pooling", "layer"),
    [("mean", -1), ("cls", -1), ("cls", 0), ("max", 1), ("mean", -2), ("cls", -2)],
)
def test_the_int8_recipe_takes_every_family_and_state(tmp_path, kind, pooling, layer):
    folder = save_kind(tmp_path / kind, kind)
    spec = EncoderSpec(
        encoder=str(folder),
        pooling=pooling,
        layer=layer,
        precision="int8",
        max_length=N_POSITIONS,
    )
    source = find_encoder(spec, sha256_file)

    found = load_source(source, spec, ComputeSpec()).encode(TEXTS)

    assert cosines(found, reference_encoder(source, spec).encode(TEXTS)).min() > 0.98


def test_the_int8_recipe_needs_no_luck(tmp_path):
    """The same integers come out twice, and a tiny encoder has fewer hidden units than stay exact."""
    folder = save_kind(tmp_path / "bert", "bert")
    checkpoint = read_checkpoint(folder)
    spec = EncoderSpec(
        encoder="x", pooling="mean", precision="int8", max_length=N_POSITIONS
    )

    bert = checkpoint.bert()
    assert bert is not None

    first, second = (
        to_arrays(quantize(bert, checkpoint.tokenizer, spec)) for _ in range(2)
    )

    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_nothing_is_looked_up_when_an_engine_is_imported(python):
    done = python(
        "import socket, sys\n"
        "def refuse(*_, **__): raise AssertionError('looked up a host')\n"
        "socket.getaddrinfo = refuse\n"
        "import pipeline.encoder.engine_onnx\n"
        "import pipeline.encoder.engine_openvino\n"
        "print(sys.modules['openvino_telemetry'])"
    )

    assert done.stdout == "None\n", done.stderr


def test_the_engine_of_int8_starts_no_thread_before_it_has_work(python):
    """Its telemetry would, and a forked child that lacks this thread never ends."""
    done = python(
        "import os\n"
        "import numpy\n"
        "before = os.listdir('/proc/self/task')\n"
        "import pipeline.encoder.engine_onnx\n"
        "print(os.listdir('/proc/self/task') == before)"
    )

    assert done.stdout == "True\n", done.stderr


def test_the_fast_engine_needs_no_torch(tiny_encoder, tmp_path, python):
    """A predictor on OpenVINO imports neither torch nor transformers."""
    shutil.copytree(tiny_encoder, tmp_path / "encoder")
    done = python(
        "import sys\n"
        "from tokenizers import Tokenizer\n"
        "from pathlib import Path\n"
        "from pipeline.config import ComputeSpec, EncoderSpec\n"
        "from pipeline.encoder.checkpoint import checkpoint_of_bytes\n"
        "from pipeline.encoder.frozen import Encoder\n"
        "import json\n"
        f"folder = Path({str(tmp_path / 'encoder')!r})\n"
        "texts = [(folder / name).read_text() for name in ('config.json', 'tokenizer.json')]\n"
        "c = checkpoint_of_bytes(json.loads(texts[0]), texts[1],"
        " {'cls_token': '[CLS]', 'pad_token': '[PAD]'}, [(folder / 'model.safetensors').read_bytes()])\n"
        "e = Encoder(c, EncoderSpec(encoder='x', pooling='cls'), ComputeSpec())\n"
        "e.encode(['the film'])\n"
        "print(e.engine.identity['engine'], sorted({'torch', 'transformers'} & set(sys.modules)))"
    )

    assert done.stdout == "openvino []\n", done.stderr


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_share_an_engine(tiny_encoder, backend):
    encoder = load_encoder(str(tiny_encoder), backend=backend, batch_tokens=64)
    expected = encoder.encode(REVIEWS * 20)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: encoder.encode(REVIEWS * 20), range(8)))

    for features in found:
        np.testing.assert_allclose(features, expected, atol=1e-5)


def test_int8_takes_the_processor_where_there_is_a_gpu_too(tiny_encoder, monkeypatch):
    monkeypatch.setattr(engines, "_has_gpu", lambda: True)

    assert load_encoder(str(tiny_encoder), precision="int8").device == "cpu"
    with pytest.raises(ConfigError, match="Pass --device cpu"):
        load_encoder(str(tiny_encoder), precision="int8", device="cuda")


def test_an_openvino_too_old_gives_way_to_torch(tiny_encoder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pipeline.encoder.engine_openvino", None)

    assert load_encoder(str(tiny_encoder)).engine.identity["engine"] == "torch"
    with pytest.raises(ConfigError, match="OpenVINO here cannot be used"):
        load_encoder(str(tiny_encoder), backend="openvino")


def broken(tmp_path, change):
    checkpoint = read_checkpoint(save_kind(tmp_path / "bert", "bert"))
    weights = dict(checkpoint.weights)
    change(checkpoint.config, weights)
    return bert_of(checkpoint.config, weights)


def test_an_activation_of_another_family_means_nothing(tmp_path):
    found = broken(
        tmp_path, lambda config, _: config.update(hidden_act="relu", activation="gelu")
    )

    assert found is None


def test_only_the_architectures_own_prefixes_are_taken(tmp_path):
    def prefix(_, weights):
        for name in list(weights):
            weights[f"model.bert.{name}"] = weights.pop(name)

    def teacher(_, weights):
        for name in list(weights):
            weights[f"a_teacher.{name}"] = 2 * weights[name]

    assert broken(tmp_path / "a", prefix) is None
    both = broken(tmp_path / "b", teacher)
    plain = broken(tmp_path / "b", lambda *_: None)
    assert np.array_equal(both.words, plain.words)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("embeddings.word_embeddings.weight", (3,)),
        ("embeddings.token_type_embeddings.weight", (2, 1)),
        ("pooler.dense.weight", (3, 16)),
    ],
)
def test_shapes_that_would_broadcast_are_not_taken(tmp_path, name, shape):
    found = broken(
        tmp_path, lambda _, weights: weights.update({name: np.ones(shape, np.float32)})
    )

    assert found is None


def test_a_token_beyond_the_embeddings_is_not_looked_up(tiny_encoder, tmp_path):
    folder = tmp_path / "far"
    shutil.copytree(tiny_encoder, folder)
    saved = json.loads((folder / "tokenizer.json").read_text())
    del saved["model"]["vocab"]["story"]
    saved["model"]["vocab"]["story"] = 500
    (folder / "tokenizer.json").write_text(json.dumps(saved))

    assert read_checkpoint(folder).bert() is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_8_bit_weights_are_not_made_of_what_is_not_finite(tmp_path, value):
    folder = save_kind(tmp_path / "bert", "bert")
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.0.intermediate.dense.weight"] *= value
    save_file(weights, folder / "model.safetensors")

    with pytest.raises(EncoderError, match=r"NaN or infinity.*--precision float32"):
        load_encoder(str(folder), precision="int8", max_length=N_POSITIONS)

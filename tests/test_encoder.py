import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer

from pipeline import load_encoder
from pipeline.config import EncoderSpec
from pipeline.encoder.batching import batches_by_length
from pipeline.encoder.identity import find_encoder
from pipeline.errors import ConfigError, EncoderError
from pipeline.storage import sha256_file
from tests.checkpoints import save_tiny

TEXTS = [
    "a joy from start to finish",
    "no",
    "The plot is thin, but two of the actors nearly save it from itself.",
    "dull",
    "这部电影很好看",
    "",
]


@torch.inference_mode()
def reference(folder, texts, pooling, layer=-1, max_length=128):
    """One text at a time, with transformers alone: no padding, no batches, no sorting."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )
    rows = []
    for text in texts:
        inputs = tokenizer(
            text, truncation=True, max_length=max_length, return_tensors="pt"
        )
        out = model(
            **{name: inputs[name] for name in ("input_ids", "attention_mask")},
            output_hidden_states=True,
        )
        hidden = out.hidden_states[layer][0]  # (t, d)
        pooled = {
            "cls": lambda h=hidden: h[0],
            "mean": lambda h=hidden: h.mean(0),
            "max": lambda h=hidden: h.amax(0),
            "pooler": lambda o=out: o.pooler_output[0],
        }[pooling]()
        rows.append(pooled.numpy())
    return np.stack(rows)


@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_encode_gives_transformers_own_values_on_real_weights(distilbert, pooling):
    encoder = load_encoder(str(distilbert), pooling=pooling)

    features = encoder.encode(TEXTS)

    assert features.dtype == np.float32
    np.testing.assert_allclose(
        features, reference(distilbert, TEXTS, pooling), atol=1e-5
    )


def test_distilbert_and_bert_forms_of_the_same_weights_agree(distilbert, minilm):
    features = load_encoder(str(distilbert), pooling="mean").encode(TEXTS)

    np.testing.assert_allclose(
        features, load_encoder("minilm", pooling="mean").encode(TEXTS), atol=1e-5
    )
    assert find_encoder(EncoderSpec(encoder="minilm"), sha256_file).folder == minilm


@pytest.mark.parametrize("layer", [0, 1, 2, -1, -2, -3])
def test_encode_takes_the_layer_asked_for(tiny_encoder, layer):
    features = load_encoder(str(tiny_encoder), layer=layer).encode(
        ["the film is good", "bad"]
    )

    np.testing.assert_allclose(
        features,
        reference(tiny_encoder, ["the film is good", "bad"], "cls", layer),
        atol=1e-6,
    )


def test_pooler_is_the_models_own(tiny_bert):
    features = load_encoder(str(tiny_bert), pooling="pooler").encode(
        ["the film is good"]
    )

    np.testing.assert_allclose(
        features, reference(tiny_bert, ["the film is good"], "pooler"), atol=1e-6
    )


def test_pooler_that_was_never_trained_is_refused(tiny_bert, tmp_path):
    folder = tmp_path / "no-pooler"
    shutil.copytree(tiny_bert, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {
            name: tensor
            for name, tensor in weights.items()
            if not name.startswith("pooler.")
        },
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )

    with pytest.raises(EncoderError, match=r"no trained pooler.*--pooling cls or mean"):
        load_encoder(str(folder), pooling="pooler")
    assert load_encoder(str(folder)).encode(["good"]).shape == (1, 16)


@pytest.mark.parametrize("batch_tokens", [1, 7, 64, 4096])
def test_a_row_does_not_depend_on_batch_size_or_neighbours(distilbert, batch_tokens):
    alone = np.concatenate(
        [load_encoder(str(distilbert)).encode([text]) for text in TEXTS[:3]]
    )

    together = load_encoder(str(distilbert), batch_tokens=batch_tokens).encode(TEXTS)

    np.testing.assert_allclose(together[:3], alone, atol=1e-5)


def test_encode_gives_the_same_bits_twice(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder))

    first, second = encoder.encode(["the film"] * 3), encoder.encode(["the film"] * 3)

    assert np.array_equal(first, second)


def test_encode_of_nothing_has_no_rows(tiny_encoder):
    assert load_encoder(str(tiny_encoder)).encode([]).shape == (0, 16)


def test_encode_refuses_a_single_string(tiny_encoder):
    with pytest.raises(TypeError, match=r"Pass \["):
        load_encoder(str(tiny_encoder)).encode("the film")


def test_long_texts_are_cut_as_transformers_cuts_them_and_counted(tiny_encoder):
    encoder = load_encoder(str(tiny_encoder), max_length=6, pooling="mean")
    text = "the film is very good but the story is not"

    (batch,) = encoder.encode_tokens(encoder.tokenize([text, "good"]))

    assert (
        batch.n_tokens[batch.rows.tolist().index(0)] == 12
    )  # ten words, [CLS] and [SEP]
    expected = reference(tiny_encoder, [text, "good"], "mean", max_length=6)
    np.testing.assert_allclose(
        batch.features[np.argsort(batch.rows)], expected, atol=1e-6
    )


def test_truncation_and_padding_saved_in_the_tokenizer_are_ignored(
    tiny_encoder, tmp_path
):
    folder = tmp_path / "cutting"
    shutil.copytree(tiny_encoder, folder)
    saved = json.loads((folder / "tokenizer.json").read_text())
    saved["truncation"] = {
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
        "direction": "Right",
    }
    saved["padding"] = {
        "strategy": {"Fixed": 20}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]",
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(saved))
    text = "the film is very good but the story is not"

    features = load_encoder(str(folder), pooling="mean").encode([text])

    np.testing.assert_allclose(
        features,
        load_encoder(str(tiny_encoder), pooling="mean").encode([text]),
        atol=1e-6,
    )


def test_bfloat16_is_close_to_float32_and_not_equal(distilbert):
    exact = load_encoder(str(distilbert)).encode(TEXTS)

    rough = load_encoder(str(distilbert), precision="bfloat16").encode(TEXTS)

    cosine = (
        (exact * rough).sum(1)
        / np.linalg.norm(exact, axis=1)
        / np.linalg.norm(rough, axis=1)
    )
    assert rough.dtype == np.float32
    assert 0.999 < cosine.min() < 1.0


def test_a_device_that_is_not_here_is_refused(tiny_encoder):
    with pytest.raises(ConfigError, match="--device auto"):
        load_encoder(str(tiny_encoder), device="cuda:99")


def test_nan_from_an_encoder_is_an_error(tiny_encoder, tmp_path):
    folder = tmp_path / "broken"
    shutil.copytree(tiny_encoder, folder)
    weights = load_file(folder / "model.safetensors")
    weights["embeddings.LayerNorm.weight"] = torch.full((16,), torch.nan)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(EncoderError, match=r"NaN or infinity.*--precision float32"):
        load_encoder(str(folder)).encode(["good"])


def test_missing_weights_are_an_error_not_random_numbers(tiny_encoder, tmp_path):
    folder = tmp_path / "partial"
    shutil.copytree(tiny_encoder, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.layer.1.ffn.lin1.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(EncoderError, match=r"1 missing.*Fetch the encoder again"):
        load_encoder(str(folder))


def test_weights_in_several_files_are_one_encoder(tiny_encoder, tmp_path):
    folder = tmp_path / "sharded"
    AutoModel.from_pretrained(tiny_encoder).save_pretrained(
        folder, max_shard_size="5kB"
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_encoder / name, folder / name)
    assert not (folder / "model.safetensors").exists()

    features = load_encoder(str(folder)).encode(["the film"])

    assert np.array_equal(
        features, load_encoder(str(tiny_encoder)).encode(["the film"])
    )


def test_weights_as_bin_are_refused_with_the_conversion(tiny_encoder, tmp_path):
    folder = tmp_path / "bin"
    shutil.copytree(tiny_encoder, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(EncoderError, match=r"only as \.bin.*save_pretrained"):
        load_encoder(str(folder))


def test_code_of_the_checkpoints_own_is_refused(tiny_encoder, tmp_path):
    folder = tmp_path / "remote"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}})
    )

    with pytest.raises(EncoderError, match="never run here"):
        load_encoder(str(folder))


def test_a_damaged_weights_file_is_an_error_of_ours(tiny_encoder, tmp_path):
    folder = tmp_path / "torn"
    shutil.copytree(tiny_encoder, folder)
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])

    with pytest.raises(EncoderError, match="Fetch the encoder again"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("options", "fix"),
    [
        ({"layer": 3}, r"0 \(embeddings\) to 2"),
        ({"layer": -4}, r"0 \(embeddings\) to 2"),
        ({"max_length": 161}, "--max-length 160 or less"),
        ({"pooling": "pooler"}, "--pooling cls or mean"),
    ],
)
def test_options_that_do_not_fit_the_encoder_are_refused_before_loading(
    tiny_encoder, options, fix
):
    with pytest.raises(ConfigError, match=fix):
        find_encoder(EncoderSpec(encoder=str(tiny_encoder), **options), sha256_file)


def test_a_name_that_means_nothing_is_refused_with_a_suggestion():
    with pytest.raises(ConfigError, match="Did you mean 'minilm'"):
        find_encoder(EncoderSpec(encoder="./minilm"), sha256_file)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_identity_follows_every_file_that_decides_a_feature(
    tiny_encoder, tmp_path, name
):
    folder = tmp_path / "edited"
    shutil.copytree(tiny_encoder, folder)
    before = find_encoder(EncoderSpec(encoder=str(folder)), sha256_file)
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")

    after = find_encoder(EncoderSpec(encoder=str(folder)), sha256_file)

    assert (
        before.identity
        == find_encoder(EncoderSpec(encoder=str(tiny_encoder)), sha256_file).identity
    )
    assert after.identity != before.identity


def test_identity_ignores_files_that_decide_nothing(tiny_encoder, tmp_path):
    folder = tmp_path / "edited"
    shutil.copytree(tiny_encoder, folder)
    before = find_encoder(EncoderSpec(encoder=str(folder)), sha256_file)
    (folder / "README.md").write_text("about")

    assert (
        find_encoder(EncoderSpec(encoder=str(folder)), sha256_file).identity
        == before.identity
    )


@pytest.mark.parametrize(("lengths", "budget", "expected"), [
    ([], 8, []),
    ([3], 8, [[0]]),
    ([2, 4, 3], 8, [[1, 2], [0]]),
    ([5, 5, 5], 5, [[0], [1], [2]]),
    ([9, 1], 8, [[0], [1]]),
    ([2, 2, 2, 2, 2], 4, [[0, 1], [2, 3], [4]]),
])  # fmt: skip
def test_batches_are_longest_first_and_within_the_budget(lengths, budget, expected):
    batches = batches_by_length(lengths, budget)

    assert [rows.tolist() for rows in batches] == expected


@pytest.mark.gpu
def test_gpu_gives_the_cpus_features(distilbert):
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")

    features = load_encoder(str(distilbert), device="cuda").encode(TEXTS)

    np.testing.assert_allclose(
        features, load_encoder(str(distilbert), device="cpu").encode(TEXTS), atol=1e-3
    )


def test_tiny_checkpoints_differ_by_seed(tmp_path, tiny_encoder):
    other = save_tiny(tmp_path / "other", seed=1)

    assert not np.allclose(
        load_encoder(str(other)).encode(["good"]),
        load_encoder(str(tiny_encoder)).encode(["good"]),
    )


@pytest.mark.parametrize(
    "change",
    [
        {"n_heads": 0},
        {"n_heads": 7},
        {"activation": "unheard-of"},
        {"dim": 10**9},
        {"pad_token_id": 10**6},
        {"model_type": "unheard-of"},
        {"model_type": ["bert"]},
        {"quantization_config": {"quant_method": "x"}},
        {"vocab_size": 5},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_configuration_that_cannot_be_meant_is_an_error_of_ours(
    tiny_encoder, tmp_path, change
):
    folder = tmp_path / "odd"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))

    with pytest.raises(EncoderError, match=r"Fetch|[Cc]hoose another"):
        load_encoder(str(folder))


def test_a_checkpoint_cannot_choose_attention_code(tiny_encoder, tmp_path):
    folder = tmp_path / "kernel"
    shutil.copytree(tiny_encoder, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "_attn_implementation": "someone/kernel"})
    )

    features = load_encoder(str(folder)).encode(["good"])

    assert np.array_equal(features, load_encoder(str(tiny_encoder)).encode(["good"]))


def test_identity_follows_versioned_tokenizer_files(tiny_encoder, tmp_path):
    folder = tmp_path / "versioned"
    shutil.copytree(tiny_encoder, folder)
    before = find_encoder(EncoderSpec(encoder=str(folder)), sha256_file).identity
    shutil.copy(folder / "tokenizer.json", folder / "tokenizer.4.0.0.json")

    assert (
        find_encoder(EncoderSpec(encoder=str(folder)), sha256_file).identity != before
    )

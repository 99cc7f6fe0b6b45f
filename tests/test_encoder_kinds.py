"""Every architecture people bring: tiny random checkpoints against transformers' own values, one text at a time."""

import json

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertTokenizer

from pipeline import load_encoder
from pipeline.config import EncoderSpec
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.limits import max_positions
from pipeline.errors import ConfigError, EncoderError
from pipeline.storage import sha256_file
from tests.checkpoints import DIM, KINDS, MANY_SCRIPTS, N_POSITIONS, save_kind

WITH_CLS = [kind for kind in KINDS if kind not in {"gpt2", "xlnet"}]
WITH_POOLER = ["bert", "roberta", "xlm-roberta", "mpnet", "albert"]
UNLIMITED = {"xlnet"}
# relative positions: their stated limit is what they were trained for, not where they break
RELATIVE = {"modernbert", "deberta-v2"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("kinds")
    return {kind: save_kind(root / kind, kind) for kind in KINDS}


@torch.inference_mode()
def reference(folder, texts, pooling, layer=-1, max_length=N_POSITIONS):
    """Transformers alone, with every input that its own tokenizer gives."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    rows = []
    for text in texts:
        inputs = tokenizer(
            text, truncation=True, max_length=max_length, return_tensors="pt"
        )
        out = model(**inputs, output_hidden_states=True)
        hidden = out.hidden_states[layer][0]  # (t, d)
        if layer == -1:
            hidden = out.last_hidden_state[0]
        pooled = {
            "cls": lambda h=hidden: h[0],
            "mean": lambda h=hidden: h.mean(0),
            "max": lambda h=hidden: h.amax(0),
            "pooler": lambda o=out: o.pooler_output[0],
        }[pooling]()
        rows.append(pooled.numpy())
    return np.stack(rows)


CASES = [
    *((kind, pooling) for kind in KINDS for pooling in ("mean", "max")),
    *((kind, "cls") for kind in WITH_CLS),
    *((kind, "pooler") for kind in WITH_POOLER),
]


@pytest.mark.parametrize(("kind", "pooling"), CASES)
def test_features_are_transformers_own(folders, kind, pooling):
    expected = reference(folders[kind], MANY_SCRIPTS, pooling)

    encoder = load_encoder(
        str(folders[kind]), pooling=pooling, max_length=N_POSITIONS, batch_tokens=128
    )
    features = encoder.encode(MANY_SCRIPTS)

    assert encoder.dim == DIM
    np.testing.assert_allclose(features, expected, atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-2  # else the comparison says nothing


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [0, 1, -2])
def test_layers_are_transformers_own(folders, kind, layer):
    features = load_encoder(
        str(folders[kind]), pooling="mean", layer=layer, max_length=N_POSITIONS
    ).encode(MANY_SCRIPTS[:3])

    np.testing.assert_allclose(
        features, reference(folders[kind], MANY_SCRIPTS[:3], "mean", layer), atol=1e-5
    )


@pytest.mark.parametrize("kind", KINDS)
def test_texts_are_cut_as_transformers_cuts_them(folders, kind):
    features = load_encoder(str(folders[kind]), pooling="mean", max_length=6).encode(
        MANY_SCRIPTS
    )

    expected = reference(folders[kind], MANY_SCRIPTS, "mean", max_length=6)
    np.testing.assert_allclose(features, expected, atol=1e-5)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in UNLIMITED])
def test_the_longest_text_that_fits_is_encoded_and_one_more_is_refused(folders, kind):
    """The limit read from config.json is the model's own: no more are possible where positions are learned."""
    config = json.loads((folders[kind] / "config.json").read_text())
    model = AutoModel.from_pretrained(folders[kind]).eval()
    ids = torch.full((1, N_POSITIONS + 1), 6)

    assert max_positions(config) == N_POSITIONS
    load_encoder(str(folders[kind]), pooling="mean", max_length=N_POSITIONS).encode(
        ["the film " * 99]
    )
    with pytest.raises(ConfigError, match=f"--max-length {N_POSITIONS} or less"):
        find_encoder(
            EncoderSpec(
                encoder=str(folders[kind]), pooling="mean", max_length=N_POSITIONS + 1
            ),
            sha256_file,
        )
    if kind not in RELATIVE:
        with pytest.raises((IndexError, RuntimeError)):
            model(input_ids=ids)


def test_xlnet_has_no_limit(folders):
    config = json.loads((folders["xlnet"] / "config.json").read_text())

    assert max_positions(config) is None


def test_positions_behind_the_pad_token_count_from_1_where_nothing_is_said():
    config = {"model_type": "roberta", "max_position_embeddings": 514}

    assert max_positions(config) == 512
    assert max_positions({**config, "pad_token_id": 0}) == 513


@pytest.mark.parametrize(
    ("kind", "why"), [("gpt2", r"has no \[CLS\] token"), ("xlnet", "<cls> first")]
)
def test_cls_pooling_needs_a_cls_token_in_the_first_place(folders, kind, why):
    with pytest.raises(EncoderError, match=rf"{why}.*Pass --pooling mean or max"):
        load_encoder(str(folders[kind]), max_length=N_POSITIONS)


@pytest.mark.parametrize("kind", ["distilbert", "electra", "modernbert", "gpt2"])
def test_kinds_without_a_pooler_say_so_before_loading(folders, kind):
    spec = EncoderSpec(encoder=str(folders[kind]), pooling="pooler", max_length=8)

    with pytest.raises(
        ConfigError, match=r"has no pooler\. Pass --pooling cls or mean"
    ):
        find_encoder(spec, sha256_file)


def test_an_empty_text_has_features_even_without_special_tokens(folders):
    encoder = load_encoder(str(folders["gpt2"]), pooling="mean", max_length=8)

    features = encoder.encode(["", "the film"])

    assert np.isfinite(features).all()
    assert encoder.tokenize([""])[1].tolist() == [0]
    np.testing.assert_allclose(
        features[0], encoder.encode(["<|endoftext|>"])[0], atol=1e-6
    )


def test_chinese_is_one_token_a_character(folders):
    encoder = load_encoder(str(folders["bert"]), max_length=N_POSITIONS)

    (ids,), (n,), _ = encoder.tokenize(["这部电影很好看"])

    assert n == 9
    tokens = [encoder.tokenizer.id_to_token(i) for i in ids]
    assert tokens == ["[CLS]", *"这部电影很好看", "[SEP]"]
    assert len(set(ids)) == 9  # each is in the vocabulary


def test_a_tokenizer_that_keeps_chinese_together_gives_other_features(
    folders, tmp_path
):
    folder = save_kind(tmp_path / "bert", "bert")
    vocab = AutoTokenizer.from_pretrained(folder).get_vocab()
    BertTokenizer(vocab=vocab, tokenize_chinese_chars=False).save_pretrained(folder)

    features = load_encoder(str(folder), max_length=8).encode(["这部电影很好看"])

    np.testing.assert_allclose(
        features, reference(folder, ["这部电影很好看"], "cls", max_length=8), atol=1e-5
    )
    assert not np.allclose(
        features,
        load_encoder(str(folders["bert"]), max_length=8).encode(["这部电影很好看"]),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_does_not_depend_on_its_neighbours(folders, kind):
    encoder = load_encoder(str(folders[kind]), pooling="mean", max_length=N_POSITIONS)

    alone = np.concatenate([encoder.encode([text]) for text in MANY_SCRIPTS])

    np.testing.assert_allclose(encoder.encode(MANY_SCRIPTS), alone, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_predictor_reads_every_kind_back_from_bytes(folders, kind, tmp_path):
    from pipeline import TextClassifier, load_predictor
    from pipeline.predictor.file import save_predictor

    texts, labels = ["good film", "bad film", "fine plot", "dull plot"] * 5, [1, 0] * 10
    fitted = TextClassifier(
        str(folders[kind]), pooling="mean", C=1.0, max_length=N_POSITIONS
    ).fit(texts, labels)
    save_predictor(fitted.predictor_, tmp_path / "p.joblib")

    loaded = load_predictor(tmp_path / "p.joblib")

    assert loaded.self_check() < 1e-6
    np.testing.assert_allclose(
        loaded.predict_proba(MANY_SCRIPTS), fitted.predict_proba(MANY_SCRIPTS)
    )

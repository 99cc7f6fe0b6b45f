"""Folders people pass as --encoder: sentence-transformers, hub cache, ModelScope, and those that cannot be loaded."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from pipeline import hub, load_encoder
from pipeline.config import EncoderSpec, fingerprint
from pipeline.encoder.identity import find_encoder
from pipeline.errors import ConfigError, EncoderError, HubError
from pipeline.storage import sha256_file
from tests.checkpoints import make_sentence_transformer, save_kind
from tests.test_encoder_hub import COMMIT, lay_out

OLD = {  # as sentence-transformers wrote it until version 5
    "word_embedding_dimension": 16,
    "pooling_mode_cls_token": False,
    "pooling_mode_mean_tokens": False,
    "pooling_mode_max_tokens": False,
    "pooling_mode_mean_sqrt_len_tokens": False,
}
TEXTS = ["the film is good", "bad"]


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    folder = tmp_path / "Encoder"
    shutil.copytree(tiny_encoder, folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def find(folder, **options):
    return find_encoder(EncoderSpec(encoder=str(folder), **options), sha256_file)


def key(folder, **options):
    spec = EncoderSpec(encoder=str(folder), **options)
    return fingerprint(find_encoder(spec, sha256_file).key_fields(spec))


def resolved(folder):
    return find(folder).resolve(EncoderSpec(encoder=str(folder))).pooling


def test_a_plain_folder_is_pooled_by_its_first_token(folder):
    assert resolved(folder) == "cls"
    assert key(folder) == key(folder, pooling="cls")
    assert find(folder).pooling_source(EncoderSpec()) == "default"


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ({**OLD, "pooling_mode_mean_tokens": True}, "mean"),
        ({**OLD, "pooling_mode_cls_token": True}, "cls"),
        ({**OLD, "pooling_mode_max_tokens": True}, "max"),
        ({"embedding_dimension": 16, "pooling_mode": "mean"}, "mean"),
        ({"embedding_dimension": 16, "pooling_mode": ["cls"]}, "cls"),
        ({**OLD, "pooling_mode": "max", "pooling_mode_cls_token": True}, "max"),
        (OLD, "mean"),
    ],
)
def test_a_sentence_transformers_folder_is_pooled_as_it_was_trained(
    folder, config, pooling
):
    plain = key(folder, pooling=pooling)
    make_sentence_transformer(folder, config)

    assert resolved(folder) == pooling
    assert key(folder) == key(folder, pooling=pooling) == plain
    assert find(folder).pooling_source(EncoderSpec()) == "sentence-transformers"
    assert load_encoder(str(folder)).spec.pooling == pooling


@pytest.mark.parametrize(
    "config",
    [
        {**OLD, "pooling_mode_mean_sqrt_len_tokens": True},
        {**OLD, "pooling_mode_weightedmean_tokens": True},
        {**OLD, "pooling_mode_lasttoken": True},
        {**OLD, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode": ["mean", "max"]},
        {"pooling_mode": "lasttoken"},
        {"pooling_mode": "unheard-of"},
    ],
)
def test_a_pooling_we_lack_is_asked_back_and_an_explicit_one_works(folder, config):
    make_sentence_transformer(folder, config)

    with pytest.raises(ConfigError, match="Pass --pooling mean, cls or max"):
        find(folder)
    assert find(folder, pooling="mean").folder == folder


def test_sentence_transformers_own_values_are_ours(minilm):
    """The real library on the real encoder: its pooling before Normalize is our feature."""
    from sentence_transformers import SentenceTransformer

    theirs = SentenceTransformer(str(minilm), device="cpu")
    theirs.max_seq_length = 128
    expected = theirs.encode(TEXTS, normalize_embeddings=False)
    norms = load_encoder("minilm").encode(TEXTS)

    ours = norms / np.linalg.norm(norms, axis=1, keepdims=True)  # its Normalize

    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_minilm_means_mean_unless_told_otherwise(minilm, caplog):
    caplog.set_level("INFO")

    encoder = load_encoder("minilm")

    assert encoder.spec.pooling == "mean"
    assert (
        key("minilm") == key("minilm", pooling="mean") != key("minilm", pooling="cls")
    )
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("pipeline")]
    assert (
        line
        == "minilm is a sentence-transformers folder: --pooling mean, as it was trained"
    )


def test_nothing_is_said_of_an_explicit_pooling_or_the_first_token(folder, caplog):
    caplog.set_level("INFO")
    load_encoder(str(folder))
    make_sentence_transformer(folder, {"pooling_mode": "mean"})

    load_encoder(str(folder), pooling="mean")

    assert not [r for r in caplog.records if r.name.startswith("pipeline")]


def test_a_dense_layer_that_is_not_applied_is_said(folder):
    make_sentence_transformer(folder, {"pooling_mode": "mean"}, more=("Dense",))

    note = find(folder).pooling_note(EncoderSpec())

    assert note.endswith("as it was trained; its Dense layer is not applied")


def test_the_transformer_may_lie_in_a_folder_of_its_own(tiny_encoder, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(tiny_encoder, folder / "0_Transformer")
    make_sentence_transformer(folder, {**OLD, "pooling_mode_mean_tokens": True})
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "0_Transformer"
    (folder / "modules.json").write_text(json.dumps(modules))

    source = find(folder)

    assert (source.name, source.folder) == ("old", folder / "0_Transformer")
    assert key(folder) == key(tiny_encoder, pooling="mean")


def test_lower_casing_beside_the_tokenizer_is_honoured_and_part_of_the_key(tmp_path):
    folder = save_kind(tmp_path / "roberta", "roberta")
    make_sentence_transformer(folder, {"pooling_mode": "mean"})
    plain = key(folder, max_length=16)
    as_is = load_encoder(str(folder), max_length=16)
    (folder / "sentence_bert_config.json").write_text('{"do_lower_case": true}')

    lowering = load_encoder(str(folder), max_length=16)

    assert key(folder, max_length=16) != plain
    assert find(folder, max_length=16).identity["lowercase"] is True
    upper, lower = lowering.encode(["The FILM", "the film"])
    np.testing.assert_allclose(upper, lower, atol=1e-6)
    np.testing.assert_allclose(lower, as_is.encode(["the film"])[0], atol=1e-6)
    assert not np.allclose(*as_is.encode(["The FILM", "the film"]))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("modules.json", "{"),
        ("modules.json", "{}"),
        ("modules.json", "[]"),
        ("modules.json", "[1]"),
        ("modules.json", '[{"type": "x.Transformer", "path": "../elsewhere"}]'),
        ("modules.json", '[{"type": "x.Transformer", "path": "/etc"}]'),
        ("1_Pooling/config.json", "[]"),
        ("sentence_bert_config.json", "not JSON"),
    ],
)
def test_damaged_sentence_transformers_files_are_an_error_of_ours(
    folder, file, content
):
    make_sentence_transformer(folder, {"pooling_mode": "mean"})
    (folder / file).write_text(content)

    with pytest.raises(EncoderError, match="Fetch the encoder again"):
        find(folder)


def test_a_sentence_transformer_that_begins_with_something_else_is_not_one_for_us(
    folder,
):
    make_sentence_transformer(folder, {"pooling_mode": "mean"})
    (folder / "modules.json").write_text('[{"type": "x.WordEmbeddings", "path": ""}]')

    assert resolved(folder) == "cls"


def test_a_repository_folder_of_a_hub_cache_is_its_main_snapshot(cache, tiny_encoder):
    lay_out(cache, "someone/tiny", tiny_encoder, commit="d" * 40, ref="v1")
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    repository = cache / "models--someone--tiny"

    source = find(repository)

    assert (source.name, source.folder) == ("someone/tiny", snapshot)
    assert find(repository, revision="v1").folder.name == "d" * 40
    assert find(repository, revision="d" * 40).folder.name == "d" * 40
    assert find(snapshot).name == "someone/tiny"
    assert key(repository) == key(tiny_encoder)


def test_a_repository_folder_with_one_snapshot_needs_no_ref(cache, tiny_encoder):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    (cache / "models--someone--tiny" / "refs" / "main").unlink()

    assert find(cache / "models--someone--tiny").folder == snapshot


@pytest.mark.parametrize("revision", ["auto", "v2"])
def test_a_repository_folder_with_several_snapshots_lists_them(
    cache, tiny_encoder, revision
):
    lay_out(cache, "someone/tiny", tiny_encoder, ref="v1")
    lay_out(cache, "someone/tiny", tiny_encoder, commit="d" * 40, ref="v1")

    with pytest.raises(ConfigError, match=rf"{COMMIT}, d{{40}}\. Pass --revision"):
        find(cache / "models--someone--tiny", revision=revision)


def test_a_folder_above_an_encoder_names_it(tiny_encoder, tmp_path):
    shutil.copytree(tiny_encoder, tmp_path / "outer" / "inner")

    with pytest.raises(
        EncoderError, match=r"no config\.json. Did you mean .*/outer/inner\?"
    ):
        find(tmp_path / "outer")


def test_a_modelscope_folder_works(tiny_encoder, tmp_path):
    folder = tmp_path / "models" / "org" / "nlp_bert___5"
    shutil.copytree(tiny_encoder, folder)
    for name in ("configuration.json", ".msc", ".mdl", "README.md"):
        (folder / name).write_text('{"framework": "pytorch"}')

    source = find(folder)

    assert (source.name, source.slug) == ("nlp_bert___5", "nlp-bert-5")
    assert key(folder) == key(tiny_encoder)
    assert load_encoder(str(folder)).encode(TEXTS).shape == (2, 16)


@pytest.mark.parametrize(
    ("name", "what", "remedy"),
    [
        ("pytorch_model.bin", r"only as \.bin", "save_pretrained"),
        ("tf_model.h5", "for TensorFlow", "that has model.safetensors"),
        ("flax_model.msgpack", "for Flax", "that has model.safetensors"),
        ("encoder.Q4_K_M.gguf", r"only as \.gguf", "that has model.safetensors"),
        ("model.onnx", r"only as \.onnx", "that has model.safetensors"),
        ("onnx/model.onnx", r"only as \.onnx", "that has model.safetensors"),
        ("adapter_config.json", "only an adapter", "merge_and_unload"),
    ],
)
@pytest.mark.parametrize("with_config", [True, False])
def test_other_weights_are_refused_by_name(folder, name, what, remedy, with_config):
    (folder / "model.safetensors").unlink()
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    if not with_config:
        (folder / "config.json").unlink()

    with pytest.raises(EncoderError, match=rf"{what}.*{remedy}"):
        find(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "onnx/model.onnx"])
def test_other_weights_beside_safetensors_are_ignored(folder, name):
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")

    assert find(folder).folder == folder


def write_config(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def test_an_encoder_decoder_is_refused(folder):
    write_config(folder, model_type="bart", is_encoder_decoder=True)

    with pytest.raises(
        EncoderError, match=r"bart encoder-decoder, not an encoder.*BERT"
    ):
        find(folder)


def test_an_encoder_decoder_that_does_not_say_so_is_refused_when_loaded(folder):
    write_config(folder, model_type="bart")

    with pytest.raises(EncoderError, match=r"'bart' is an encoder-decoder.*Choose"):
        load_encoder(str(folder))


def test_a_model_for_images_is_refused(folder):
    (folder / "config.json").write_text('{"model_type": "vit", "hidden_size": 16}')

    with pytest.raises(
        EncoderError, match="takes no tokens: it is for images or sound"
    ):
        load_encoder(str(folder))


def test_a_model_that_needs_more_than_tokens_is_refused(folder, monkeypatch):
    from transformers import DistilBertModel

    monkeypatch.setattr("pipeline.encoder.checkpoint.bert_of", lambda *_: None)

    def forward(self, input_ids, pixel_values):
        raise AssertionError("not reached without an image")

    monkeypatch.setattr(DistilBertModel, "forward", forward)

    with pytest.raises(EncoderError, match=r"by its tokens alone.*pixel_values"):
        load_encoder(str(folder))


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("MiniLM", "minilm"),
        ("distilbert-base-uncasd", "distilbert-base-uncased"),
        ("someone/tinny", "someone/tiny"),
        ("tiny", "someone/tiny"),
    ],
)
def test_a_name_that_is_nowhere_is_asked_back(cache, tiny_encoder, name, near):
    lay_out(cache, "someone/tiny", tiny_encoder)

    with pytest.raises(HubError, match=f"^Did you mean '{near}'. Could not fetch"):
        find(name)


def test_a_path_that_does_not_exist_names_its_neighbour(folder):
    with pytest.raises(ConfigError, match=f"Did you mean '{folder}'"):
        find(folder.parent / "Encodr")


def test_a_name_like_nothing_is_not_asked_back(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(HubError, match=r"^Could not fetch encoder zzzzzz/qqqqqq"):
        find("zzzzzz/qqqqqq")


def test_cached_repositories_are_those_of_the_kind(cache):
    for name in ("models--a--b", "models--gpt2", "datasets--c--d", "version.txt"):
        (cache / name).mkdir(parents=True)

    assert hub.cached_repositories("model") == ["a/b", "gpt2"]
    assert hub.cached_repositories("dataset") == ["c/d"]


def test_no_cache_has_no_repositories(cache):
    assert hub.cached_repositories("model") == []


def test_auto_and_the_same_pooling_share_a_store_in_the_job(
    job, reviews, tiny_encoder, folder
):
    make_sentence_transformer(folder, {"pooling_mode": "mean"})
    first = job.train(reviews, folder, "--C", "1")
    sources = [job.report()["run"]["pooling_source"]]

    second = job.train(reviews, folder, "--C", "1", "--pooling", "mean")

    assert (first.status, second.status) == (0, 0), first.err + second.err
    assert [entry["status"] for entry in job.ledger()] == ["ok", "noop"]
    assert sources == ["sentence-transformers"]
    assert job.report()["encoder"]["pooling"] == "mean"
    import joblib

    card = joblib.load(job.artifacts / "latest" / "predictor.joblib").card
    assert card["encoder"]["pooling"] == "mean"


@torch.inference_mode()
def test_mean_is_over_the_tokens_alone(folder):
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder),
    )
    make_sentence_transformer(folder, {"pooling_mode": "mean"})

    (row, _) = load_encoder(str(folder)).encode(["good", "the film is very good"])

    out = model.eval()(**tokenizer("good", return_tensors="pt")).last_hidden_state
    np.testing.assert_allclose(row, out[0].mean(0).numpy(), atol=1e-6)

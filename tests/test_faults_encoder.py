"""Section C of the fault list, a test or more a row: what happens when something is wrong with the encoder."""

import hashlib
import json
import logging
import os
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tasks
from pipeline import load_encoder
from pipeline.config import EncoderSpec, fingerprint
from pipeline.encoder.engine_torch import TorchEngine
from pipeline.encoder.engine_transformers import TransformersEngine
from pipeline.encoder.identity import find_encoder
from pipeline.errors import CacheError, ConfigError, EncoderError
from pipeline.features import spawn, worker
from pipeline.features.store import FeatureStore
from pipeline.storage import read_manifest, sha256_file
from pipeline.testing import WordLengthEncoder
from tests.checkpoints import N_POSITIONS, save_kind
from tests.conftest import review_rows, write_tsv
from tests.model_hub import serve_hub
from tests.stores import extract
from tests.test_encoder_hub import COMMIT, lay_out

TEXTS = [text for text, _ in review_rows()]
QUICKLY_S = (
    60  # of which nearly all is starting Python; a retrying download takes ten minutes
)


@pytest.fixture
def folder(tiny_encoder, tmp_path):
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def messages(monkeypatch):
    """Let extractions run in this process, where things can be replaced; collects what the worker sends."""
    sent = []

    class Here(worker.Lines):
        def __init__(self):
            super().__init__(sys.stderr, os.getppid())

        def send(self, **message):
            sent.append(message)

    monkeypatch.setattr(
        spawn,
        "extract",
        lambda request, _: worker.work(json.loads(json.dumps(request)), Here()),
    )
    return sent


def extraction(reviews, encoder, **options):
    """Return the stage, its rows prepared."""
    stage = tasks.ExtractFeatures(
        dataset=str(reviews),
        encoder=str(encoder),
        artifacts=str(reviews.parent / "artifacts"),
        **options,
    )
    stage.upstream["dataset"].run()
    return stage


def shards(stage):
    return list((stage.store / "shards").glob("*"))


def warnings_of(caplog):
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def key(folder, **options):
    spec = EncoderSpec(encoder=str(folder), **options)
    return fingerprint(find_encoder(spec, sha256_file).key_fields(spec))


def change_weights(folder, name, change):
    weights = load_file(folder / "model.safetensors")
    weights[name] = change(weights[name])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a15_a_row_of_10_mb_is_cut_and_counted(tiny_encoder, reviews, messages):
    write_tsv(reviews, [*review_rows(), ("the film is good " * 600_000, "pos")])
    stage = extraction(reviews, tiny_encoder)

    stage.run()

    facts = read_manifest(stage.directory)["facts"]["tokens"]
    assert (facts["rows_cut"], facts["longest_tokens"]) == (1, 2_400_002)
    assert facts["tokens_cut"] == 2_400_002 - 128


def test_a19_texts_that_differ_in_a_code_point_are_rows_of_their_own(
    tmp_path, reviews, messages
):
    folder = save_kind(tmp_path / "roberta", "roberta")
    odd = [
        "café",
        "cafe\u0301",
        "👩‍👩‍👧",
        "👩👩👧",
        "هذا جيد",
        "\u202eهذا جيد",
        "a\u200bb",
    ]
    write_tsv(reviews, [(text, "ab"[i % 2]) for i, text in enumerate(odd)])
    stage = extraction(reviews, folder, max_length=N_POSITIONS)

    stage.run()

    store = FeatureStore(stage.store, stage.root)
    store.load()
    keys = np.load(stage.directory / "keys.npy")
    assert len(np.unique(keys)) == len(odd)
    expected = load_encoder(str(folder), max_length=N_POSITIONS).encode(odd)
    np.testing.assert_allclose(store.features(keys), expected, atol=1e-5)


def test_c40_an_unknown_encoder_fails_after_one_question_with_a_suggestion(
    job, reviews, folder, tmp_path
):
    began = time.monotonic()
    with serve_hub(folder, "distilbert/distilbert-base-uncased") as hub:
        env = {**hub.environment, "HF_HUB_CACHE": str(tmp_path / "hub")}
        done = job.train(reviews, "distilbert-base-uncasd", env=env)

    assert done.status != 0
    assert "Did you mean 'distilbert-base-uncased'?" in done.err
    assert "there is no such repository" in done.err
    assert "Traceback" not in done.err
    assert len(hub.asked) == 1
    assert time.monotonic() - began < QUICKLY_S


def test_c41_a_cached_encoder_works_without_a_network(
    job, reviews, cache, tiny_encoder
):
    lay_out(cache, "someone/tiny", tiny_encoder)
    env = {"HF_HUB_OFFLINE": "", "HF_ENDPOINT": "http://127.0.0.1:9"}

    done = job.train(reviews, "someone/tiny", "--C", "1", env=env)

    assert done.status == 0, done.err


@pytest.mark.parametrize("offline", ["", "1"])
def test_c41_an_encoder_that_is_not_here_fails_quickly_with_one_message(
    job, reviews, cache, offline
):
    env = {
        "HF_HUB_OFFLINE": offline,
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "NO_PROXY": "*",
    }
    began = time.monotonic()

    done = job.train(reviews, "someone/tiny", env=env)

    assert done.status != 0
    assert done.err.count("Could not fetch encoder someone/tiny") == 1
    assert "Ways without it: a mirror" in done.err
    assert "Traceback" not in done.err
    assert time.monotonic() - began < QUICKLY_S


def test_c42_a_branch_that_moved_is_another_store_and_said_loudly(
    cache, reviews, tiny_encoder, messages, caplog
):
    lay_out(cache, "someone/tiny", tiny_encoder)
    first = extraction(reviews, "someone/tiny")
    first.run()
    assert not warnings_of(caplog)
    lay_out(cache, "someone/tiny", tiny_encoder, commit="d" * 40)

    second = extraction(reviews, "someone/tiny")
    second.run()

    assert second.store != first.store
    (warning,) = warnings_of(caplog)
    assert f"main is commit {'d' * 40} now" in warning
    assert f"pass --revision {COMMIT}" in warning


def test_c42_what_is_known_to_have_moved_is_said_once(
    cache, reviews, tiny_encoder, messages, caplog
):
    for commit in (COMMIT, "d" * 40):
        lay_out(cache, "someone/tiny", tiny_encoder, commit=commit)
        extraction(reviews, "someone/tiny").run()
    caplog.clear()
    write_tsv(reviews, review_rows()[::2])

    extraction(reviews, "someone/tiny").run()

    assert not warnings_of(caplog)


def test_c42_a_commit_moves_nothing(cache, reviews, tiny_encoder, messages, caplog):
    for commit in (COMMIT, "d" * 40):
        lay_out(cache, "someone/tiny", tiny_encoder, commit=commit)
        extraction(reviews, "someone/tiny", revision=commit).run()

    assert not warnings_of(caplog)
    assert key("someone/tiny", revision=COMMIT) != key(
        "someone/tiny", revision="d" * 40
    )


def test_c43_weights_as_bin_are_refused_with_the_conversion(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    with pytest.raises(EncoderError, match=r"only as \.bin.*Convert it: AutoModel"):
        find_encoder(EncoderSpec(encoder=str(folder)), sha256_file)


def test_c44_code_of_an_encoders_own_is_refused_and_not_run(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    with pytest.raises(EncoderError, match=r"code of its own.*Choose an encoder"):
        load_encoder(str(folder))
    assert not (tmp_path / "ran").exists()


def test_c44_code_of_a_tokenizers_own_is_not_run(folder, tmp_path):
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text())
    config["auto_map"] = {"AutoTokenizer": ["mine.Tokenizer", None]}
    path.write_text(json.dumps(config))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")

    assert load_encoder(str(folder)).encode(["good"]).shape == (1, 16)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["sha256", "git"])
@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_c45_a_damaged_file_of_the_hub_cache_is_named(
    cache, tiny_encoder, kind, damage
):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    link = snapshot / "model.safetensors"
    data = link.read_bytes()
    if kind == "git":
        name = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
        blob = link.resolve().rename(link.resolve().with_name(name))
        link.unlink()
        link.symlink_to(blob)
    assert load_encoder("someone/tiny").encode(["good"]).shape == (1, 16)
    broken = data[:-64] if damage == "cut" else data[:-1] + bytes([data[-1] ^ 1])
    link.resolve().write_bytes(broken)

    with pytest.raises(EncoderError) as caught:
        load_encoder("someone/tiny")

    assert str(link) in str(caught.value)
    assert "hf cache verify someone/tiny" in str(caught.value)


def test_c45_a_blob_with_a_name_of_its_own_is_not_judged(cache, tiny_encoder):
    snapshot = lay_out(cache, "someone/tiny", tiny_encoder)
    link = snapshot / "config.json"
    blob = link.resolve().rename(link.resolve().with_name("etag-of-a-mirror"))
    link.unlink()
    link.symlink_to(blob)

    assert load_encoder("someone/tiny").encode(["good"]).shape == (1, 16)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_c46_other_tokenizer_files_are_another_key(folder, name):
    before = key(folder)
    (folder / name).write_bytes((folder / name).read_bytes() + b"\n")

    assert key(folder) != before


def test_c47_a_folder_edited_in_place_is_another_key_and_encoded_anew(
    folder, reviews, messages
):
    before = extraction(reviews, folder)
    before.run()
    change_weights(
        folder, "embeddings.word_embeddings.weight", lambda weight: weight * 2
    )

    after = extraction(reviews, folder)
    after.run()

    assert after.key != before.key
    (a,), (b,) = shards(before), shards(after)
    assert not np.allclose(np.load(a / "features.npy"), np.load(b / "features.npy"))


def test_c47_a_folder_edited_while_the_run_starts_is_an_error(
    folder, reviews, messages
):
    stage = extraction(reviews, folder)
    change_weights(
        folder, "embeddings.word_embeddings.weight", lambda weight: weight * 2
    )

    with pytest.raises(
        EncoderError, match=r"changed while the run was starting.*again"
    ):
        stage.run()
    assert not shards(stage)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "a" / "features" / "words", tmp_path / "a")


def test_c48_features_of_another_length_are_not_stored(store):
    extract(store, ["a", "a b"], WordLengthEncoder(dim=3))

    with pytest.raises(CacheError, match=r"3 dimensions, but others have 1\. Move"):
        extract(store, ["c"], WordLengthEncoder(dim=1))
    assert len(list((store.folder / "shards").iterdir())) == 1


def test_c48_stored_features_of_two_lengths_are_an_error_not_broadcast(store, tmp_path):
    other = FeatureStore(tmp_path / "a" / "features" / "other", tmp_path / "a")
    first = extract(store, ["a", "a b"], WordLengthEncoder(dim=3))
    second = extract(other, ["c"], WordLengthEncoder(dim=1))
    for shard in (other.folder / "shards").iterdir():
        shutil.copytree(shard, store.folder / "shards" / shard.name)
    store.load()

    with pytest.raises(CacheError, match="dimensions, but others have"):
        store.features(np.concatenate([first.keys, second.keys]))


def test_c49_the_model_runs_in_eval_and_inference_mode_and_twice_the_same(
    tmp_path, monkeypatch
):
    folder = save_kind(tmp_path / "electra", "electra")  # run by transformers itself
    config = json.loads((folder / "config.json").read_text())
    assert config["hidden_dropout_prob"] > 0
    encoder = load_encoder(str(folder), max_length=N_POSITIONS)
    seen = []
    assert isinstance(encoder.engine, TransformersEngine)
    model = encoder.engine.model
    assert not any(p.requires_grad for p in model.parameters())
    forward = model.forward

    def watch(*args, **kwargs):
        seen.append((model.training, torch.is_inference_mode_enabled()))
        return forward(*args, **kwargs)

    monkeypatch.setattr(model, "forward", watch)

    first, second = encoder.encode(TEXTS[:9]), encoder.encode(TEXTS[:9])

    assert np.array_equal(first, second)
    assert set(seen) == {(False, True)}


def test_c49_an_encoder_put_into_training_mode_is_refused(tmp_path):
    folder = save_kind(tmp_path / "electra", "electra")
    encoder = load_encoder(str(folder), max_length=N_POSITIONS)
    assert isinstance(encoder.engine, TransformersEngine)
    encoder.engine.model.train()

    with pytest.raises(EncoderError, match=r"Call encoder\.engine\.model\.eval\(\)"):
        encoder.encode(["good"])


def break_a_word(folder, word, value):
    """Let every text with a word have features that are not finite."""
    from tokenizers import Tokenizer

    row = Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id(word)

    def change(weight):
        weight[row] = value
        return weight

    change_weights(folder, "embeddings.word_embeddings.weight", change)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_c50_features_that_are_not_finite_name_the_rows_of_the_data_set(
    folder, reviews, messages, value
):
    extraction(reviews, folder).run()
    break_a_word(folder, "cold", value)
    write_tsv(
        reviews,
        [
            ("the film is good", "a"),
            ("the plot is cold", "b"),
            ("fine", "a"),
            ("cold", "b"),
        ],
    )
    stage = extraction(reviews, folder)

    with pytest.raises(EncoderError) as caught:
        stage.run()

    said = str(caught.value)
    assert said.startswith("2 of 4 vectors of a batch hold NaN or infinity (texts: ")
    assert sorted(said.split("texts: ")[1].split(")", maxsplit=1)[0].split(", ")) == [
        "train line 3",
        "train line 5",
    ]
    assert not shards(stage)
    assert not stage.complete()


def test_c50_many_rows_are_counted_and_five_named(folder, reviews, messages):
    break_a_word(folder, "the", torch.nan)

    with pytest.raises(
        EncoderError,
        match=r"^\d+ of \d+ .*(train line \d+, ){4}train line \d+ and \d+ more\)",
    ):
        extraction(reviews, folder).run()


def test_c51_the_embedding_of_the_first_token_is_refused_and_not_stored(
    tiny_encoder, reviews, messages
):
    stage = extraction(reviews, tiny_encoder, layer=0, pooling="cls")

    with pytest.raises(
        EncoderError, match=r"All 120 texts got the same features.*--layer -1"
    ):
        stage.run()
    assert not shards(stage)


def test_c51_features_that_are_all_zero_are_refused(store):
    with pytest.raises(
        EncoderError, match="All 3 texts got the same features, all zero"
    ):
        extract(store, ["", " ", "  "], WordLengthEncoder())
    assert not (store.folder / "shards").exists()


def test_c51_nothing_is_stored_while_all_is_the_same(store, monkeypatch):
    monkeypatch.setattr("pipeline.features.part.PART_S", 0.0)

    with pytest.raises(EncoderError, match="All 5 texts"):
        extract(store, list("abcde"), WordLengthEncoder(batch_size=1))
    assert not (store.folder / "shards").exists()


def test_c51_one_text_or_a_few_alike_beside_others_are_fine(store):
    extract(store, ["a"], WordLengthEncoder())
    extract(store, ["b", "c", "d"], WordLengthEncoder())
    done = extract(store, ["", "e"], WordLengthEncoder())

    assert store.features(done.keys).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_c52_an_encoder_without_cls_or_pad_token_asks_for_another_pooling(tmp_path):
    folder = save_kind(tmp_path / "gpt2", "gpt2")

    with pytest.raises(EncoderError, match=r"no \[CLS\] token. Pass --pooling mean"):
        load_encoder(str(folder), max_length=N_POSITIONS)
    encoder = load_encoder(str(folder), max_length=N_POSITIONS, pooling="mean")
    assert "pad_token" not in encoder.checkpoint.special
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS[:5]])
    np.testing.assert_allclose(encoder.encode(TEXTS[:5]), alone, atol=1e-5)


def test_c53_more_tokens_than_positions_are_refused_before_anything_is_read(distilbert):
    spec = EncoderSpec(encoder=str(distilbert), max_length=513)

    with pytest.raises(ConfigError, match="--max-length 512 or less"):
        find_encoder(spec, sha256_file)
    assert load_encoder(str(distilbert), max_length=512).encode(
        ["good " * 600]
    ).shape == (1, 384)


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert", "deberta-v2"])
def test_c54_batches_and_threads_change_rounding_alone(tmp_path, kind):
    folder = save_kind(tmp_path / kind, kind)
    n_threads = torch.get_num_threads()
    found = []
    try:
        for batch_tokens, threads in ((1, 1), (64, 2), ("auto", 2)):
            torch.set_num_threads(threads)
            encoder = load_encoder(
                str(folder), max_length=N_POSITIONS, batch_tokens=batch_tokens
            )
            found.append(encoder.encode(TEXTS))
    finally:
        torch.set_num_threads(n_threads)

    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-5)


def test_c54_how_it_is_run_is_part_of_no_key(tiny_encoder, reviews):
    keys = {
        extraction(reviews, tiny_encoder, **options).key
        for options in (
            {},
            {"batch_tokens": 7},
            {"device": "cpu"},
            {"backend": "torch"},
        )
    }

    assert len(keys) == 1


def fail_above(monkeypatch, n_texts):
    """Let a GPU's memory hold so many texts."""
    features = TorchEngine._features

    def limited(self, input_ids, *columns):
        if len(input_ids) > n_texts:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(self, input_ids, *columns)

    monkeypatch.setattr(TorchEngine, "_features", limited)


def test_c55_a_batch_that_does_not_fit_is_halved_and_recorded(
    tiny_encoder, reviews, messages, monkeypatch
):
    expected = load_encoder(str(tiny_encoder)).encode(TEXTS)
    fail_above(monkeypatch, 10)
    stage = extraction(reviews, tiny_encoder, backend="torch")

    stage.run()

    (warning,) = [m["warning"] for m in messages if "warning" in m]
    n_halved = read_manifest(stage.directory)["facts"]["batches_halved"]
    assert n_halved > 0
    assert warning.startswith(f"{n_halved} batches did not fit the GPU's memory")
    store = FeatureStore(stage.store, stage.root)
    store.load()
    features = store.features(np.load(stage.directory / "keys.npy"))
    np.testing.assert_allclose(features, expected, atol=1e-5)


def test_c55_the_next_texts_come_in_smaller_batches(tiny_encoder, monkeypatch):
    encoder = load_encoder(str(tiny_encoder), backend="torch", batch_tokens=160)
    texts = ["the film is good"] * 60
    fail_above(monkeypatch, 20)

    encoder.encode(texts)
    n_halved, batch_tokens = encoder.n_halved, encoder.batch_tokens
    encoder.encode(texts)

    assert (n_halved > 0, batch_tokens) == (True, 80)
    assert encoder.n_halved == n_halved
    assert encoder.batch_tokens == 80


def test_c55_nothing_is_said_when_all_fits(tiny_encoder, reviews, messages):
    stage = extraction(reviews, tiny_encoder)

    stage.run()

    assert not [m for m in messages if "warning" in m]
    assert read_manifest(stage.directory)["facts"]["batches_halved"] == 0


def test_c55_one_text_that_does_not_fit_is_a_clear_error(tiny_encoder, monkeypatch):
    encoder = load_encoder(str(tiny_encoder), backend="torch")
    fail_above(monkeypatch, 0)

    with pytest.raises(
        EncoderError, match=r"one text of \d+ tokens. Lower --max-length"
    ):
        encoder.encode(["good", "the film"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_c56_a_gpu_that_is_not_here_is_refused_unless_auto(tiny_encoder):
    with pytest.raises(
        ConfigError, match=r"--device cuda cannot be used.*--device auto"
    ):
        load_encoder(str(tiny_encoder), device="cuda")
    assert str(load_encoder(str(tiny_encoder), device="auto").device) == "cpu"


@pytest.fixture
def die_first(monkeypatch, tmp_path):
    """Let the first workers end by a signal as soon as they stored a part, and the others live; counts the deaths."""

    def prepare(name, n_times):
        deaths = tmp_path / "deaths"
        deaths.write_text("")
        (tmp_path / "hook").mkdir()
        (tmp_path / "hook" / "sitecustomize.py").write_text(f"""
import os, signal
from pathlib import Path
from pipeline.features import part, store
append = store.FeatureStore.append
def append_and_die(self, *args):
    append(self, *args)
    with open({str(deaths)!r}, "a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.{name})
if len(Path({str(deaths)!r}).read_text()) < {n_times}:
    part.PART_S = 0.0
    store.FeatureStore.append = append_and_die
""")
        monkeypatch.syspath_prepend(tmp_path / "hook")
        return deaths

    return prepare


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_c57_an_encoding_process_that_dies_is_started_once_more_and_keeps_what_it_had(
    tiny_encoder, reviews, die_first, caplog, name
):
    die_first(name, 1)
    stage = extraction(reviews, tiny_encoder, batch_tokens=64)

    _, facts = stage.produce(time.monotonic())

    (warning,) = warnings_of(caplog)
    assert f"ended by {name}" in warning
    assert ("Lower --batch-tokens" in warning) == (name == "SIGKILL")
    assert 0 < facts["rows_encoded"] < 120
    assert facts["rows_encoded"] + facts["rows_reused"] == 120
    assert stage.complete()


def test_c57_an_encoding_process_that_dies_twice_is_an_error_with_the_signals_name(
    tiny_encoder, reviews, die_first
):
    deaths = die_first("SIGKILL", 9)
    stage = extraction(reviews, tiny_encoder, batch_tokens=64)

    with pytest.raises(
        EncoderError, match=r"SIGKILL; what.*kept.*Lower --batch-tokens.*again"
    ):
        stage.produce(time.monotonic())
    assert deaths.read_text() == "xx"


def count_runs(monkeypatch, run):
    runs: list[int] = []

    def counted(*args):
        runs.append(1)
        return run(*args)

    monkeypatch.setattr(spawn, "_run", counted)
    return runs


def test_c57_an_error_of_the_workers_own_is_not_tried_again(
    folder, reviews, monkeypatch, tmp_path
):
    stage = extraction(reviews, folder)
    change_weights(folder, "embeddings.LayerNorm.weight", lambda weight: weight * 2)
    runs = count_runs(monkeypatch, spawn._run)

    with pytest.raises(EncoderError, match="changed while the run was starting"):
        stage.produce(time.monotonic())
    assert len(runs) == 1


def test_c57_a_process_that_ends_by_itself_is_not_tried_again(monkeypatch):
    runs = count_runs(monkeypatch, lambda *_: (None, 3))

    with pytest.raises(EncoderError, match=r"status 3; its own message.*Run the same"):
        spawn.extract({}, print)
    assert len(runs) == 1


def test_every_row_of_the_section_has_a_test():
    names = " ".join(globals())

    assert [row for row in range(40, 58) if f"test_c{row}_" not in names] == []

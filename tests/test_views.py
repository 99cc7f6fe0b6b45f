"""Several layers and poolings of one encoder, from one pass over the texts."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

import tasks
from pipeline import load_encoder
from pipeline.config import ComputeSpec, EncoderSpec, fingerprint
from pipeline.datasets.table import StoredTexts
from pipeline.encoder import frozen
from pipeline.encoder.engine import View, ends_in_first_token, layers_to_run
from pipeline.encoder.frozen import load_source, reference_encoder
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.pairs import composed
from pipeline.encoder.shared import load_shared
from pipeline.errors import ConfigError, EncoderError
from pipeline.features import spawn, worker
from pipeline.features.cache import CachedEncoder
from pipeline.features.extract import Stopped, extract_missing
from pipeline.features.keys import row_keys
from pipeline.features.store import FeatureStore
from pipeline.features.stored import StoredFeatures
from pipeline.features.texts import TextList
from pipeline.storage import check_contents, key_locks, read_manifest, sha256_file
from pipeline.testing import WordLengthEncoder
from tests.checkpoints import N_POSITIONS, save_kind
from tests.conftest import BIN, ROOT, review_rows, write_tsv
from tests.test_tasks_stages import flip_last_bit

TEXTS = ["a film", "the plot is good but the story was not", "café", ""]
PAIRS = [("the film is bad", "a plot"), ("fine", "the story was never dull and cold")]
ENGINES = ["openvino", "onnxruntime", "torch", "transformers"]
MANY = [
    *((pooling, layer) for pooling in ("cls", "mean", "max") for layer in (-2, -1, 0)),
    ("pooler", -1),
]


# --- options


def test_a_spec_of_several_layers_has_a_view_of_each():
    spec = EncoderSpec(layer=(-1, -3), pooling="mean")

    assert spec.views == (replace(spec, layer=-1), replace(spec, layer=-3))
    assert replace(spec, layer=2).views == (replace(spec, layer=2),)


def test_layers_come_back_from_json():
    spec = EncoderSpec(layer=(-2, -1))

    again = EncoderSpec(**json.loads(json.dumps(vars(spec))))

    assert again == spec
    assert hash(again) == hash(spec)


def test_one_layer_is_the_same_as_that_layer():
    assert EncoderSpec(layer=(-2,)) == EncoderSpec(layer=-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": ()}, "one or several different layers"),
        ({"layer": (-1, -2, -1)}, "one or several different layers"),
        ({"layer": (-2, -1), "pooling": "pooler"}, "pooler reads the last layer"),
        (
            {"layer": (-2, -1), "pooling": "cls", "precision": "int8"},
            "weights of its own for each layer",
        ),
    ],
)
def test_layers_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        EncoderSpec(**options)


def test_a_layer_that_the_encoder_lacks_is_refused(tiny_encoder):
    with pytest.raises(ConfigError, match="--layer is -4, but"):
        load_encoder(str(tiny_encoder), layer=(-1, -4))


# --- one pass


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_kind(tmp_path_factory.mktemp("views") / "bert", "bert")


def load_views(folder, engine, views):
    """Return an encoder of several (pooling, layer) on an engine."""
    spec, *beside = (
        EncoderSpec(
            encoder=str(folder), pooling=pooling, layer=layer, max_length=N_POSITIONS
        )
        for pooling, layer in views
    )
    source = find_encoder(spec, sha256_file)
    if engine == "transformers":
        return reference_encoder(source, spec, beside)
    return load_source(source, spec, ComputeSpec(backend=engine), beside=beside)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("views", [MANY, MANY[:2], MANY[-1:] + MANY[1:2]])
def test_views_of_one_pass_are_those_of_passes_of_their_own(bert, engine, views):
    """The second and third have a deepest layer that only first tokens are read of."""
    for rows in (TEXTS, PAIRS):
        found = load_views(bert, engine, views).encode(rows)

        alone = [load_views(bert, engine, [view]).encode(rows) for view in views]
        np.testing.assert_allclose(found, np.concatenate(alone, 1), atol=1e-5)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime", "torch"])
@pytest.mark.parametrize("pooling", ["cls", "mean", "max"])
def test_features_of_several_layers_stand_side_by_side(bert, backend, pooling):
    load = partial(
        load_encoder,
        str(bert),
        pooling=pooling,
        backend=backend,
        max_length=N_POSITIONS,
    )
    found = load(layer=(-1, 0, -2))

    alone = [load(layer=i) for i in (-1, 0, -2)]

    assert found.dim == 48
    np.testing.assert_allclose(
        found.encode(TEXTS),
        np.concatenate([one.encode(TEXTS) for one in alone], 1),
        atol=1e-5,
    )


def test_int8_weights_of_several_layers_are_those_of_each_alone(bert):
    load = partial(
        load_encoder,
        str(bert),
        pooling="mean",
        precision="int8",
        max_length=N_POSITIONS,
    )
    found = load(layer=(1, 2)).encode(TEXTS)

    alone = [load(layer=i).encode(TEXTS) for i in (1, 2)]

    np.testing.assert_array_equal(found, np.concatenate(alone, 1))


@pytest.mark.parametrize(
    ("views", "n_layers", "is_short"),
    [
        ([View(6, "cls")], 6, True),
        ([View(6, "cls"), View(6, "pooler"), View(5, "mean")], 6, True),
        ([View(6, "cls"), View(6, "mean")], 6, False),
        ([View(3, "mean"), View(2, "cls")], 3, False),
        ([View(0, "cls")], 0, False),
    ],
)
def test_a_pass_ends_where_its_deepest_view_does(views, n_layers, is_short):
    assert layers_to_run(views) == n_layers
    assert ends_in_first_token(views) == is_short


# --- stores


class Widths(WordLengthEncoder):
    """Gives the lengths of words, and for each further view the same plus 100, 200, …."""

    def __init__(self, n_views, **options):
        super().__init__(**options)
        self.n_views = n_views

    def _row(self, ids):
        return np.concatenate(
            [super(Widths, self)._row(ids) + 100 * i for i in range(self.n_views)]
        )


@pytest.fixture
def stores(tmp_path):
    root = tmp_path / "artifacts"
    return [FeatureStore(root / "features" / name, root) for name in "abc"]


def fill(stores, texts, make=Widths, **options):
    """Extract; return what was done, the encoders that were loaded and which stores they were for."""
    made, asked = [], []

    def load(which):
        asked.append(which)
        made.append(make(len(which)))
        return made[-1]

    for store in stores:
        store.folder.mkdir(parents=True, exist_ok=True)
    done = extract_missing(
        TextList(texts, block=2),
        stores,
        load,
        keys_paths=[store.folder / "keys.npy" for store in stores],
        feature_dtype=options.pop("feature_dtype", "float32"),
        **options,
    )
    return SimpleNamespace(done=done, made=made, asked=asked)


def test_each_store_gets_its_view_and_each_text_is_encoded_once(stores):
    found = fill(stores, ["a bbb", "a", "cc d", "a"])

    assert found.asked == [[0, 1, 2]]
    assert sorted(found.made[0].seen) == ["a", "a bbb", "cc d"]
    assert found.done.rows_encoded == 3
    for i, store in enumerate(stores):
        keys = np.load(store.folder / "keys.npy")
        assert store.features(keys)[:, :2].tolist() == [
            [1 + 100 * i, 3 + 100 * i],
            [1 + 100 * i, 100 * i],
            [2 + 100 * i, 1 + 100 * i],
            [1 + 100 * i, 100 * i],
        ]


def test_views_that_lack_nothing_are_not_computed(stores):
    fill(stores[1:2], ["a", "b c"])

    found = fill(stores, ["b c", "a"])

    assert found.asked == [[0, 2]]
    assert fill(stores, ["a", "b c"]).asked == []


def test_what_any_store_lacks_is_encoded_once_and_stored_where_it_lacks(stores):
    fill(stores[:1], ["one", "two two"])
    fill(stores[1:2], ["two two", "three"])

    found = fill(stores, ["one", "two two", "three", "four", "one"])

    assert sorted(found.made[0].seen) == ["four", "one", "three", "two two"]
    assert found.done.rows_encoded == 4
    assert [len(store) for store in stores] == [4, 4, 4]


def test_a_damaged_shard_of_one_view_is_mended_alone(stores):
    fill(stores, ["a", "b c", "ddd"])
    (shard,) = (stores[1].folder / "shards").iterdir()
    flip_last_bit(shard / "features.npy")

    found = fill(stores, ["a", "b c", "ddd"])

    assert found.done.damaged == [shard.name]
    assert found.asked == [[1]]


def test_nan_in_one_view_names_the_row_and_stores_nothing_of_the_part(stores):
    class Broken(Widths):
        def _row(self, ids):
            row = super()._row(ids)
            row[4] = np.nan if ids[0] == 3 else row[4]
            return row

    with pytest.raises(EncoderError, match=r"NaN or infinity \(texts: text 2\)"):
        fill(stores, ["a", "bb", "ccc", "d"], Broken)

    assert all(store.is_empty for store in stores)


def test_features_are_stored_as_float16_where_that_is_asked(stores):
    fill(stores, ["a" * 2049, "b"], feature_dtype="float16")

    for i, store in enumerate(stores):
        (stored,) = store.folder.glob("shards/*/features.npy")
        assert np.load(stored).dtype == np.float16
        assert store.features(row_keys(["b"]))[0, 0] == 1 + 100 * i


def test_a_stopped_extraction_keeps_what_it_has_of_every_view(stores):
    def stop(progress):
        if progress.done == 4:
            raise Stopped

    with pytest.raises(Stopped):
        fill(stores, ["a", "bb", "c c", "d d", "e", "f"], on_progress=stop)

    assert [len(store) for store in stores] == [4, 4, 4]


def test_a_view_that_is_the_same_for_all_texts_is_refused_and_the_others_kept(stores):
    class Flat(Widths):
        def _row(self, ids):
            row = super()._row(ids)
            row[:3] = 7
            return row

    with pytest.raises(EncoderError, match="got the same features"):
        fill(stores, ["a", "bb", "ccc"], Flat)

    assert [len(store) for store in stores] == [0, 3, 3]


KILLED = """
import os, signal
from pathlib import Path
import numpy as np
from pipeline.features import part
from pipeline.features.extract import extract_missing
from pipeline.features.store import FeatureStore
from pipeline.features.texts import TextList
from pipeline.testing import WordLengthEncoder

class Thrice(WordLengthEncoder):
    def _row(self, ids):
        return np.tile(super()._row(ids), 3)

part.PART_S = 0.0
root = Path({root!r})
stores = [FeatureStore(root / "features" / name, root) for name in "abc"]

def kill(progress):
    if progress.done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

extract_missing(
    TextList({texts!r}, block=2),
    stores,
    lambda _: Thrice(),
    keys_paths=[root / "keys.npy"],
    feature_dtype="float32",
    on_progress=kill,
)
"""


def test_a_killed_extraction_goes_on_where_it_was_in_every_store(
    stores, tmp_path, python
):
    texts, root = ["a", "bb", "c c", "d d", "eee", "f"], tmp_path / "artifacts"
    root.mkdir()
    done = python(KILLED.format(root=str(root), texts=texts), cwd=ROOT)
    assert done.returncode == -signal.SIGKILL, done.stderr

    found = fill(stores, texts)

    assert found.done.rows_encoded == 4
    assert [len(store) for store in stores] == [6, 6, 6]


def test_an_estimators_cache_takes_several_layers(bert, tmp_path):
    spec = EncoderSpec(
        encoder=str(bert), layer=(-2, -1), pooling="mean", max_length=N_POSITIONS
    )
    cached = CachedEncoder(spec, ComputeSpec(), tmp_path / "artifacts", load_shared)

    found = cached.encode(TEXTS)

    alone = load_encoder(str(bert), layer=(-2, -1), pooling="mean", max_length=40)
    np.testing.assert_allclose(found, alone.encode(TEXTS), atol=1e-5)
    assert cached.dim == 32


# --- locks


def test_who_wants_the_same_locks_in_another_order_does_not_wait_for_ever(tmp_path):
    def lock_often(names):
        for _ in range(50):
            with key_locks(tmp_path, names):
                time.sleep(0.001)

    threads = [
        threading.Thread(target=lock_often, args=(names,), daemon=True)
        for names in (["a", "b", "c"], ["c", "b", "a"])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not any(thread.is_alive() for thread in threads)


# --- the stage


@pytest.fixture
def here(reviews, tiny_bert, monkeypatch):
    """Let extractions run in this process; make stages of `reviews`, and note what was asked and computed."""
    requests, computed, measured = [], [], []

    class Here(worker.Lines):
        def __init__(self):
            super().__init__(sys.stderr, os.getppid())

        def send(self, **message):
            pass

    def extract(request, _):
        requests.append(request)
        return worker.work(json.loads(json.dumps(request)), Here())

    def load(source, spec, compute, prepared=None, beside=()):
        computed.append([(each.layer, each.pooling) for each in (spec, *beside)])
        return load_source(source, spec, compute, prepared, beside)

    def stage(kind, **options):
        made = kind(
            dataset=str(reviews),
            encoder=str(tiny_bert),
            artifacts=str(reviews.parent / "artifacts"),
            **options,
        )
        made.upstream["dataset"].mend()
        return made

    def reference(source, spec, beside=()):
        measured.append(1 + len(beside))
        return reference_encoder(source, spec, beside)

    monkeypatch.setattr(spawn, "extract", extract)
    monkeypatch.setattr(worker, "_load", load)
    monkeypatch.setattr(frozen, "reference_encoder", reference)
    return SimpleNamespace(
        stage=stage, computed=computed, requests=requests, measured=measured
    )


SIX = {"layers": 2, "poolings": "cls,mean,max"}


def test_a_sweep_is_one_pass_and_its_stores_are_those_of_plain_runs(here, caplog):
    caplog.set_level("INFO")
    stage = here.stage(tasks.ExtractViews, **SIX)

    stage.run()

    assert stage.complete()
    assert len(here.requests) == len(here.computed) == 1
    assert "ExtractViews: 120 texts encoded for 6 views, 0 rows from" in caplog.text
    for view in stage.views:
        plain = here.stage(
            tasks.ExtractFeatures, layer=view.layer, pooling=view.pooling
        )
        assert plain.complete()
        assert plain.directory == view.directory
        found = StoredFeatures.of([view.directory], stage.root)
        encoder = load_encoder(
            str(plain.encoder), layer=view.layer, pooling=view.pooling
        )
        texts = [text for text, _ in review_rows()]
        np.testing.assert_allclose(
            found.take(np.arange(120)), encoder.encode(texts), atol=1e-5
        )
        for path in view.directories:
            check_contents(path)


def test_every_store_has_its_own_encoder_directory_and_certificate(here):
    stage = here.stage(tasks.ExtractViews, **SIX)

    stage.run()

    assert here.measured == [6]  # the reference runs once for all
    for view in stage.views:
        prepared = read_manifest(view.store / "encoder")
        assert prepared["key"] == fingerprint(view.encoder_fields)
        assert EncoderSpec(**prepared["facts"]["spec"]) == view.spec
        assert prepared["facts"]["dim"] == 16
        ((path, certificate),) = view.certificates.whole()
        assert certificate["facts"]["n"] == 120
        assert np.load(path / "features.npy").shape == (120, 16)


def test_only_views_that_are_not_complete_are_encoded(here):
    here.stage(tasks.ExtractFeatures, layer=-1, pooling="mean").run()
    stage = here.stage(tasks.ExtractViews, **SIX)

    stage.run()

    assert stage.complete()
    assert len(here.computed[1]) == 5
    assert (-1, "mean") not in here.computed[1]
    stage.run()
    assert len(here.requests) == 2


def test_what_is_damaged_of_some_views_is_mended_in_one_pass(here):
    stage = here.stage(tasks.ExtractViews, **SIX)
    stage.run()
    for view in stage.views[1:3]:
        (shard,) = (view.store / "shards").iterdir()
        flip_last_bit(shard / "features.npy")

    stage.mend()

    assert stage.complete()
    assert here.computed[1:] == [[(v.layer, v.pooling) for v in stage.views[1:3]]]


def test_of_new_rows_only_those_are_encoded(here, reviews):
    here.stage(tasks.ExtractViews, **SIX).run()
    write_tsv(reviews, [*review_rows(), ("a new film", "pos")])

    said, facts = here.stage(tasks.ExtractViews, **SIX).produce(0.0)

    assert facts == {"rows_encoded": 1, "rows_reused": 120}
    assert said.startswith("1 texts encoded for 6 views")


@pytest.mark.parametrize("pair_encoding", ["separate", "joint"])
def test_views_of_pairs_are_those_of_plain_runs(here, reviews, pair_encoding):
    reviews.write_text(
        "one\ttwo\tlabel\n"
        + "".join(
            f"{a}\t{b} film\t{y}\n"
            for (a, y), (b, _) in zip(review_rows(), review_rows()[::-1], strict=True)
        )
    )
    options = {"pair_encoding": pair_encoding, "text_column": "one,two"}
    stage = here.stage(tasks.ExtractViews, **SIX, **options)

    stage.run()

    for view in stage.views[::3]:
        found = StoredFeatures.of([view.directory], stage.root)
        alone = load_encoder(view.encoder, layer=view.layer, pooling=view.pooling)
        pairs = pairs_of(stage)
        if pair_encoding == "joint":
            expected = alone.encode(pairs)
        else:
            u, v = (alone.encode(list(side)) for side in zip(*pairs, strict=True))
            expected = composed(u, v, 1)
        np.testing.assert_allclose(
            found.take(np.arange(len(pairs))), expected, atol=1e-5
        )


def pairs_of(stage):
    table = StoredTexts(stage.upstream["dataset"].directory)
    return [row.text for row in table.at(list(range(len(table))))]


def test_an_int8_view_is_a_pass_of_its_own(here):
    stage = here.stage(tasks.ExtractViews, layers=2, poolings="mean", precision="int8")

    _, facts = stage.produce(0.0)

    assert stage.complete()
    assert here.computed == [[(-2, "mean")], [(-1, "mean")]]
    assert facts == {"rows_encoded": 240, "rows_reused": 0}


def test_a_view_that_another_run_builds_is_waited_for(job, reviews, tiny_bert):
    """Real processes: a plain run beside one of all views, from an empty folder."""
    options = ["--dataset", str(reviews), "--encoder", str(tiny_bert)]
    commands = [
        ["ExtractViews", "--layers", "2", "--poolings", "cls,mean,max", *options],
        ["ExtractFeatures", "--pooling", "mean", *options],
        ["ExtractFeatures", "--pooling", "max", "--layer", "-2", *options],
    ]
    running = [
        subprocess.Popen(
            [BIN / "luigi", "--module", "tasks", *command],
            cwd=job.cwd,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]

    said = [process.communicate(timeout=240)[1] for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], said
    lists = list(job.artifacts.glob("features/*/datasets/*"))
    assert len(lists) == 6
    for path in lists:
        check_contents(path)
        assert len(StoredFeatures.of([path], job.artifacts).take(np.arange(120))) == 120

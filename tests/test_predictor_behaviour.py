"""A predictor among threads, forked processes, odd texts, and more texts than fit into memory."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.config import ComputeSpec
from pipeline.errors import DataError
from pipeline.predictor.file import save_predictor
from tests.conftest import review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))
ENGINES = ("openvino", "onnxruntime", "torch")


@pytest.fixture(scope="module")
def path(tiny_encoder, tmp_path_factory):
    """A predictor file that cuts at eight tokens, of which the longest text of `TEXTS` has seven."""
    fitted = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0, max_length=8)
    path = tmp_path_factory.mktemp("predictors") / "predictor.joblib"
    save_predictor(fitted.fit(TEXTS, LABELS).predictor_, path)
    return path


@pytest.fixture
def predictor(path):
    return load_predictor(path)


@pytest.fixture(params=ENGINES)
def on_engine(request, monkeypatch, path):
    """A predictor whose encoder runs on one engine."""
    monkeypatch.setattr(
        "pipeline.predictor.trained.ComputeSpec",
        partial(ComputeSpec, backend=request.param),
    )
    predictor = load_predictor(path)
    assert predictor.encoder.engine_identity["engine"] == request.param
    return predictor


METHODS = ("predict", "predict_proba", "decision_function", "transform", "count_tokens")
KINDS = {
    "predict": (object, ()),
    "predict_proba": (np.float64, (2,)),
    "decision_function": (np.float64, ()),
    "transform": (np.float32, (16,)),
    "count_tokens": (np.int32, ()),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_single_str_is_one_text(predictor, method):
    found = getattr(predictor, method)("good film")

    assert len(found) == 1
    np.testing.assert_array_equal(found, getattr(predictor, method)(["good film"]))


@pytest.mark.parametrize("method", METHODS)
def test_no_texts_give_empty_arrays_of_the_right_kind(predictor, method):
    dtype, shape = KINDS[method]

    kinds: list[Any] = [[], (), iter([]), pd.Series([], dtype=str), np.array([], str)]
    for nothing in kinds:
        found = getattr(predictor, method)(nothing)

        assert (found.dtype, found.shape) == (dtype, (0, *shape))


class Column:
    """As polars' Series is: of a length, to be indexed and gone through, but no Sequence."""

    def __init__(self, texts):
        self._texts = texts

    def __len__(self):
        return len(self._texts)

    def __getitem__(self, i):
        return self._texts[i]


PAIR = ["the film is good", "dull"]


@pytest.mark.parametrize(
    "texts",
    [
        PAIR,
        tuple(PAIR),
        (text for text in PAIR),
        map(str, PAIR),
        dict.fromkeys(PAIR).keys(),
        Column(PAIR),
        [np.str_(text) for text in PAIR],
        np.array(PAIR),
        np.array(PAIR, dtype=object),
        np.array(PAIR, dtype=np.dtypes.StringDType()),
        pd.Series(PAIR, index=["x", "y"]),
        pd.Series(PAIR, index=[7, 3], dtype="string[python]"),
        pd.Series(PAIR, dtype="string[pyarrow]"),
        pd.Series(PAIR, dtype="category"),
        pd.Index(PAIR),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_texts_may_come_in_anything_that_has_an_order(predictor, texts):
    expected = predictor.predict_proba(PAIR)

    assert np.array_equal(predictor.predict_proba(texts), expected)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (b"good", r"got bytes b'good'\. Decode it"),
        (bytearray(b"good"), r"Decode it"),
        (None, r"got NoneType None\. Pass a str or a list of str"),
        (3, r"got int 3\. Pass a str"),
        (np.array(3.0), r"got ndarray .*Pass a str"),
        ({"good", "bad"}, r"got a set, which has no order\. Pass a list"),
        ({"text": ["good"]}, r"got a dict\. Pass one column of it"),
        (pd.DataFrame({"text": PAIR}), r"got a DataFrame\. Pass one column of it"),
        (["good", None], r"Text 1 is NoneType None"),
        (["good", b"bad"], r"Text 1 is bytes b'bad', expected str\. Convert or remove it"),
        (("good", float("nan")), r"Text 1 is float nan"),
        (iter(["good", 3]), r"Text 1 is int 3"),
        ([["good"]], r"Text 0 is list"),
        (np.array([PAIR]), r"Text 0 is ndarray"),
        (pd.Series(["good", pd.NA], index=["x", "y"], dtype=object), r"Text 1 \(index 'y'\) is NAType <NA>"),
        (pd.Series(["good", None], index=[7, 3], dtype="string"), r"Text 1 \(index .*3.*\) is NAType"),
        (pd.Series(["good", np.nan], dtype=object), r"Text 1 \(index 1\) is float nan"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_what_is_no_text_is_named_with_its_place(predictor, method, texts, message):
    if not isinstance(texts, (list, tuple)) and hasattr(texts, "__next__"):
        texts = iter(["good", 3])  # one for each method

    with pytest.raises(DataError, match=message):
        getattr(predictor, method)(texts)


@pytest.mark.parametrize(
    "text", ["", " ", "\0", "good\0bad", "\ud800 film", "\n", "é😀"]
)
def test_odd_texts_get_an_answer_that_does_not_depend_on_company(on_engine, text):
    alone = on_engine.predict_proba([text])

    assert np.isfinite(alone).all()
    np.testing.assert_allclose(
        on_engine.predict_proba([*TEXTS, text])[-1:], alone, atol=1e-6
    )


def test_a_lone_surrogate_counts_as_in_training(predictor):
    np.testing.assert_array_equal(
        predictor.transform("film \ud800"), predictor.transform("film \ufffd")
    )


def test_the_parts_give_what_the_whole_gives(on_engine):
    features = on_engine.transform(TEXTS)

    whole = on_engine.predict_proba(TEXTS)
    by_parts = on_engine.classifier.predict_proba(features)

    np.testing.assert_allclose(by_parts, whole, atol=1e-6)  # float32 there
    np.testing.assert_array_equal(
        on_engine.encoder.encode(TEXTS), on_engine.transform(TEXTS)
    )
    np.testing.assert_array_equal(
        on_engine.classes_[whole.argmax(axis=1)], on_engine.predict(TEXTS)
    )
    n = [len(ids) for ids in on_engine.tokenizer(TEXTS)["input_ids"]]
    assert on_engine.count_tokens(TEXTS).tolist() == n


def test_texts_are_cut_as_in_training_and_it_can_be_seen(predictor, caplog):
    whole, longer = "the film is very good", "the film is very good and never dull"

    n_tokens = predictor.count_tokens([whole, longer])
    proba = predictor.predict_proba([longer, "the film is very good and never bad"])

    assert n_tokens.tolist() == [7, 10]  # [CLS] and [SEP] count
    assert (n_tokens > predictor.max_length).tolist() == [False, True]
    np.testing.assert_allclose(proba[0], proba[1], atol=1e-6)
    assert caplog.messages == [
        "2 of 2 texts have more than 8 tokens; what follows is not read, as in training. "
        "predictor.count_tokens(texts) tells which. Said once."
    ]
    predictor.predict([longer])
    assert len(caplog.messages) == 1


def test_sixteen_threads_get_the_answers_of_one(on_engine):
    portions = [[f"{text} {i % 7}" for text in TEXTS[i : i + 100]] for i in range(16)]
    expected = [on_engine.predict_proba(portion) for portion in portions]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(on_engine.predict_proba, portions))

    assert all(map(np.array_equal, found, expected))


def test_the_first_threads_share_one_encoder(path):
    predictor = load_predictor(path)

    with ThreadPoolExecutor(16) as pool:
        encoders = list(pool.map(lambda _: predictor.encoder, range(16)))

    assert len(set(map(id, encoders))) == 1


FORKING = """
import gc, json, os, signal, sys, threading, time
from functools import partial
import numpy as np
import pipeline.predictor.trained as home
from pipeline import FeatureExtractor, TextClassifier, load_predictor
from pipeline.config import ComputeSpec
from pipeline.encoder import shared
kind, path, encoder, engine, when, texts, labels = json.loads(sys.argv[1])
if kind == "Predictor":
    home.ComputeSpec = partial(ComputeSpec, backend=engine)
    asked = load_predictor(path)
else:
    options = {"pooling": "mean", "backend": engine}
    if kind == "FeatureExtractor":
        asked = FeatureExtractor(encoder, **options)
    else:
        asked = TextClassifier(encoder, C=1.0, **options).fit(texts, labels)
answer = "transform" if kind == "FeatureExtractor" else "predict_proba"
if when != "loaded":
    getattr(asked, answer)(texts)
if when == "predicting":
    threading.Thread(target=lambda: [getattr(asked, answer)(texts * 20) for _ in range(30)]).start()
if when == "loading":
    load, is_loading = shared.load_source, threading.Event()
    def load_slowly(*options):
        is_loading.set()
        time.sleep(5)
        return load(*options)
    shared.load_source = load_slowly
    other = FeatureExtractor(encoder, layer=0)
    threading.Thread(target=other.transform, args=(texts,)).start()
    is_loading.wait()
    shared.load_source = load
children = []
for leave in (os._exit, sys.exit, "drop"):
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(30)  # a child that waits for threads it lacks is ended, and its status says so
        if leave == "drop":
            del asked
            gc.collect()
            sys.exit(0)
        np.save(f"{sys.argv[2]}/{os.getpid()}.npy", getattr(asked, answer)(texts))
        leave(0)
    children.append(pid)
expected = getattr(asked, answer)(texts)
for pid in children:
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
for pid in children[:2]:
    np.testing.assert_allclose(np.load(f"{sys.argv[2]}/{pid}.npy"), expected, atol=1e-6)
print("as the parent")
"""


@pytest.fixture
def fork(path, tiny_encoder, python, tmp_path):
    """Run the code above with one kind of classifier or transformer on an engine."""

    def fork(kind, engine, when):
        given = [kind, str(path), str(tiny_encoder), engine, when, TEXTS, LABELS]
        code = f"import sys; sys.argv[1:] = {[json.dumps(given), str(tmp_path)]!r}"
        # from Python 3.12 on a fork beside threads is warned of, with reason
        return python(
            code + FORKING, env={"PYTHONWARNINGS": "ignore::DeprecationWarning"}
        )

    return fork


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("kind", "when"),
    [
        *(("Predictor", when) for when in ("loaded", "predicted", "predicting")),
        *(("FeatureExtractor", when) for when in ("predicted", "loading")),
        *(("TextClassifier", when) for when in ("predicted", "predicting")),
    ],
)
def test_forked_children_answer_and_end(fork, kind, engine, when):
    done = fork(kind, engine, when)

    assert done.stdout == "as the parent\n", done.stderr
    assert done.stderr == ""


MEMORY = """
import sys
from pathlib import Path
from pipeline import load_predictor
predictor = load_predictor(sys.argv[1])
def texts(n):
    for i in range(n):
        yield f"the film is {i} " + "x" * 2800
def peak_mb():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
peaks = []
for n in map(int, sys.argv[2:]):
    assert len(predictor.predict(texts(n))) == n
    peaks.append(peak_mb())
print(*peaks)
"""


def test_memory_does_not_grow_with_the_number_of_texts(path, python):
    """Twenty thousand texts of 2,800 characters are 56 MB, and 16 MB of them are more than one window and the next."""
    code = f"import sys; sys.argv[1:] = {[str(path), '7000', '27000']!r}"

    done = python(code + MEMORY)

    few, many = map(float, done.stdout.split())
    assert many - few < 20, done

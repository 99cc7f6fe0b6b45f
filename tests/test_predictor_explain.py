import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.frozen import load_source
from pipeline.encoder.identity import find_encoder
from pipeline.errors import ConfigError, DataError
from pipeline.heads.head import Head
from pipeline.predictor.explain import explain
from pipeline.predictor.predictor import Predictor
from pipeline.storage import sha256_file
from tests.checkpoints import KINDS, MANY_SCRIPTS, N_POSITIONS, save_kind
from tests.conftest import review_rows
from tests.pages import Page

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))
REAL = [
    "A brilliant, unforgettable film, but the ending isn't for everyone.",
    "Dull.",
    "",
    "这部电影很好看 and 👩‍👩‍👧 too",
    "half a \ud800 character",
    "the story drags on and on " * 60,
]
HOSTILE = "<script>alert(1)</script> & <b onclick='x'>good</b> \x1b[31m film"


def random_head(dim, k=2, *, seed=0):
    """Return a head of random numbers: what is additive is so for any."""
    random = np.random.default_rng(seed)
    rows = 1 if k == 2 else k
    return Head(
        classes=[f"class {i}" for i in range(k)],
        mean=random.normal(size=dim),
        scale=random.uniform(0.1, 2.0, size=dim),
        coef=random.normal(size=(rows, dim)),
        intercept=random.normal(size=rows),
        C=1.0,
        class_weight="none",
        n_iter=1,
        converged=True,
        solver="none",
        sklearn_version="0",
    )


def load(folder, pooling, *, backend="auto", max_length=N_POSITIONS, **options):
    spec = EncoderSpec(
        encoder=str(folder), pooling=pooling, max_length=max_length, **options
    )
    source = find_encoder(spec, sha256_file)
    return load_source(source, spec, ComputeSpec(backend=backend))


def explained(encoder, head, text, **options):
    columns = encoder.encode([text])
    return explain(encoder, head, text, columns, columns_of=encoder.encode, **options)


def total(explanation):
    """Return what base and contributions sum to."""
    parts = [word.contribution for word in explanation.words + explanation.special]
    return explanation.base + sum(parts)


@pytest.fixture(scope="module")
def mean_predictor(tiny_encoder):
    return (
        TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
        .fit(TEXTS, LABELS)
        .predictor_
    )


@pytest.fixture(scope="module")
def cls_predictor(tiny_encoder):
    return (
        TextClassifier(str(tiny_encoder), pooling="cls", C=1.0)
        .fit(TEXTS, LABELS)
        .predictor_
    )


def test_contributions_sum_to_the_score_on_real_weights(minilm):
    encoder = load(minilm, "mean", max_length=128)
    head = random_head(encoder.dim)
    head = replace(head, coef=head.coef / 10)  # scores as real heads give them

    for text in REAL:
        explanation = explained(encoder, head, text)

        (score,) = head.decision(encoder.encode([text]))
        assert explanation.method == "exact"
        assert explanation.score == pytest.approx(score, abs=1e-12)
        assert total(explanation) == pytest.approx(score, abs=1e-5)
        assert explanation.remainder == pytest.approx(score - total(explanation))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", [-1, 1])
def test_contributions_sum_to_the_score_in_every_architecture(tmp_path, kind, layer):
    encoder = load(save_kind(tmp_path / kind, kind), "mean", layer=layer)
    head = random_head(encoder.dim)

    for text in [*MANY_SCRIPTS, ""]:
        explanation = explained(encoder, head, text)

        (score,) = head.decision(encoder.encode([text]))
        assert total(explanation) == pytest.approx(score, abs=1e-4)


def test_contributions_sum_to_the_score_of_int8(tiny_encoder):
    encoder, head = load(tiny_encoder, "mean", precision="int8"), random_head(16)

    explanation = explained(encoder, head, "the film is good")

    (score,) = head.decision(encoder.encode(["the film is good"]))
    assert total(explanation) == pytest.approx(score, abs=1e-5)


def test_what_float16_features_round_off_is_told_as_rounding(tiny_encoder):
    classifier = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
    parts = classifier.fit(TEXTS, LABELS).predictor_._parts
    spec = replace(parts.spec, feature_dtype="float16")
    predictor = Predictor(replace(parts, spec=spec))

    explanation = predictor.explain("the film is good")

    (score,) = predictor.decision_function(["the film is good"])
    assert explanation.score == pytest.approx(score, abs=1e-12)
    assert explanation.remainder is not None
    assert abs(explanation.remainder) > 1e-5
    assert total(explanation) + explanation.remainder == pytest.approx(score)


@pytest.mark.parametrize("backend", ["torch", "openvino", "onnxruntime"])
def test_every_engine_explains_the_same(tiny_encoder, backend):
    head = random_head(16)

    found, expected = (
        explained(load(tiny_encoder, "mean", backend=name), head, "the film is good")
        for name in (backend, "torch")
    )

    assert [word.contribution for word in found.words] == pytest.approx(
        [word.contribution for word in expected.words], abs=1e-4
    )


def test_a_predictor_explains_what_it_decides(mean_predictor):
    for text in TEXTS[::17]:
        explanation = mean_predictor.explain(text)

        (score,) = mean_predictor.decision_function([text])
        proba = mean_predictor.predict_proba([text])[0]
        assert explanation.label == "pos"
        assert explanation.predicted == mean_predictor.predict([text])[0]
        assert total(explanation) == pytest.approx(score, abs=1e-5)
        assert explanation.probability == pytest.approx(proba[1])
        assert [word.text for word in explanation.words] == text.split()


def test_the_first_of_two_classes_has_the_opposite_contributions(mean_predictor):
    one, other = (
        mean_predictor.explain("the film is good", label=label)
        for label in ("neg", "pos")
    )

    assert one.score == -other.score
    assert [w.contribution for w in one.words] == [-w.contribution for w in other.words]
    assert one.probability == pytest.approx(1 - other.probability)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_of_several_classes_the_predicted_one_is_explained(tiny_encoder, pooling):
    encoder, head = load(tiny_encoder, pooling), random_head(16, k=4)
    features = encoder.encode(["the film is good"])
    scores = head.decision(features)[0]

    chosen = explained(encoder, head, "the film is good")
    asked = explained(encoder, head, "the film is good", label="class 2")

    assert chosen.label == chosen.predicted == head.classes[int(scores.argmax())]
    assert chosen.score == pytest.approx(scores.max())
    assert (asked.label, asked.score) == ("class 2", pytest.approx(scores[2]))


def test_a_label_that_is_no_class_is_refused(mean_predictor):
    with pytest.raises(ConfigError, match=r"classes \(neg, pos\)\. Pass one of"):
        mean_predictor.explain("the film", label="positive")


@pytest.mark.parametrize("text", [None, 3, b"film", ["the film"]])
def test_what_is_no_text_is_refused(mean_predictor, text):
    with pytest.raises(DataError, match="expected str"):
        mean_predictor.explain(text)


@pytest.mark.parametrize("pooling", ["cls", "max"])
def test_occlusion_is_what_the_score_loses_when_a_word_is_masked(tiny_encoder, pooling):
    encoder, head = load(tiny_encoder, pooling), random_head(16)

    explanation = explained(encoder, head, "the film is good")

    texts = ["the film is good", "the [MASK] is good"]
    whole, masked = head.decision(encoder.encode(texts))
    assert explanation.method == "occlusion"
    assert explanation.words[1].contribution == pytest.approx(whole - masked, abs=1e-5)
    assert explanation.base is None
    assert explanation.remainder is None
    assert {word.contribution for word in explanation.special} == {None}


@pytest.mark.parametrize("text", ["the film is good", "film", ""])
def test_without_a_mask_token_words_are_left_out(tmp_path, text):
    encoder = load(save_kind(tmp_path / "gpt2", "gpt2"), "max")
    head = random_head(encoder.dim)

    explanation = explained(encoder, head, text)

    words = text.split(" ") if text else []
    assert [word.text for word in explanation.words] == words
    if len(words) > 1:  # the first has no space before it, so what is left reads alike
        whole, short = head.decision(encoder.encode([text, text.rpartition(" ")[0]]))
        last = explanation.words[-1].contribution
        assert last == pytest.approx(whole - short, abs=1e-5)


def test_words_are_whole_and_added_tokens_stand_apart(minilm):
    encoder = load(minilm, "mean", max_length=128)

    explanation = explained(encoder, random_head(encoder.dim), REAL[0])

    assert "unforgettable" in [word.text for word in explanation.words]
    assert "isn't" in [word.text for word in explanation.words]
    assert [word.text for word in explanation.special] == ["[CLS]", "[SEP]"]
    for word in explanation.words:
        assert explanation.text[word.begin : word.end] == word.text
    assert "".join(part for part, _ in explanation.segments()) == explanation.text


@pytest.mark.parametrize("text", [*MANY_SCRIPTS, *REAL, HOSTILE, " a  film\n"])
def test_segments_are_the_text_as_far_as_it_is_read(minilm, text):
    encoder = load(minilm, "mean", max_length=16)

    explanation = explained(encoder, random_head(encoder.dim), text)

    shown = "".join(part for part, _ in explanation.segments())
    assert explanation.text.startswith(shown)
    assert explanation.n_cut or shown == explanation.text


def test_what_is_cut_is_said(minilm):
    encoder = load(minilm, "mean", max_length=8)

    explanation = explained(encoder, random_head(encoder.dim), REAL[0])

    assert [word.text for word in explanation.words] == [
        *("A", "brilliant", ",", "unforget")
    ]
    assert [word.text for word in explanation.cut][:3] == ["table", "film", ","]
    assert {word.contribution for word in explanation.cut} == {None}
    assert explanation.n_cut == explanation.n_tokens - 8 > 0
    assert f"{explanation.n_cut} of {explanation.n_tokens} tokens" in str(explanation)
    assert "<del>table film, but the ending" in explanation.to_html()


def test_the_dict_is_json_and_whole(mean_predictor):
    explanation = mean_predictor.explain("the film is good \ud800")

    found = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))

    assert found["label"] == "pos"
    assert found["method"] == "exact"
    assert [word["text"] for word in found["words"]][:2] == ["the", "film"]
    assert found["remainder"] == pytest.approx(0, abs=1e-5)


def test_the_text_form_names_the_label_the_words_and_the_sum(mean_predictor):
    explanation = mean_predictor.explain("the film is good")

    said = str(explanation)

    assert said.startswith(f"{explanation.predicted} is predicted")
    for word in (*explanation.words, *explanation.special):
        assert f"{word.contribution:+8.3f}" in said
    assert "base" in said


@pytest.mark.parametrize("name", ["mean_predictor", "cls_predictor"])
def test_hostile_text_stays_text(request, name):
    explanation = request.getfixturevalue(name).explain(HOSTILE)

    html, said = explanation.to_html(), str(explanation)

    assert "\x1b" not in said
    page = Page(html)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "b", "img", "link", "iframe"})
    assert not any(a.startswith("on") for _, found in page.elements for a in found)
    assert html.isascii()
    assert explanation._repr_html_() == html


def test_nearest_training_texts_come_from_the_runs_folder(trained):
    predictor = load_predictor(trained.artifacts / "latest" / "predictor.joblib")
    text, _ = review_rows()[7]

    explanation = predictor.explain(text, artifacts=trained.artifacts)

    assert len(explanation.nearest) == 3
    cosines = [row.cosine for row in explanation.nearest]
    assert cosines == sorted(cosines, reverse=True)
    known = dict(review_rows())
    assert all(known[row.text] == row.label for row in explanation.nearest)
    assert explanation.nearest_note is None
    assert explanation.nearest[0].text in str(explanation)
    assert explanation.nearest[0].text in explanation.to_html()
    lines = (trained.cwd / "reviews.tsv").read_text().splitlines()
    for row in explanation.nearest:
        assert lines[row.line - 1] == f"{row.text}\t{row.label}"


@pytest.mark.parametrize("missing", ["models", "datasets", "splits", "features", "."])
def test_a_missing_store_is_said_and_nothing_fails(trained, missing):
    predictor = load_predictor(trained.artifacts / "latest" / "predictor.joblib")
    shutil.rmtree(trained.artifacts / missing)

    explanation = predictor.explain("the film", artifacts=trained.artifacts)

    note = explanation.nearest_note or ""
    assert explanation.nearest == ()
    assert note.startswith("No nearest training texts: ")
    assert note in str(explanation)


def test_a_damaged_store_is_said(trained):
    predictor = load_predictor(trained.artifacts / "latest" / "predictor.joblib")
    (path,) = trained.artifacts.glob("datasets/*/rows.parquet")
    path.chmod(0o600)
    path.write_bytes(b"x")

    explanation = predictor.explain("the film", artifacts=trained.artifacts)

    assert "damaged" in (explanation.nearest_note or "")


def test_another_predictors_store_is_not_used(mean_predictor, trained):
    explanation = mean_predictor.explain("the film", artifacts=trained.artifacts)

    assert "is this predictor's" in (explanation.nearest_note or "")


def test_explaining_imports_no_torch_where_another_engine_runs(trained, python):
    path = trained.artifacts / "latest" / "predictor.joblib"

    done = python(
        f"import sys; from pipeline import load_predictor; p = load_predictor({str(path)!r})\n"
        "print(p.explain('the film is good').method, 'torch' in sys.modules)"
    )

    assert done.stdout == "occlusion False\n", done.stderr

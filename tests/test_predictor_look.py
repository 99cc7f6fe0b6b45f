import io
import re

import numpy as np
import pytest

from pipeline import TextClassifier
from pipeline.predictor.explain import explain
from pipeline.predictor.look import COMPANIONS, _batch, _mask_effect, _places, look
from tasks import cli
from tests.checkpoints import KINDS, MANY_SCRIPTS, save_kind
from tests.conftest import review_rows
from tests.pages import Page
from tests.test_predictor_explain import load, random_head

TEXTS = [text for text, _ in review_rows()]
QUESTIONS = [
    "What is a token?",
    "What is the mask for?",
    "What does the encoder do?",
    "Which vector is used?",
    "Why this label?",
    "Which words count?",
    "What was it made of?",
]
HOSTILE = "<script>alert(1)</script> \x1b[31m \x00 & <b onclick='x'>film</b> \ud800"


def page_of(encoder, head, text):
    features = encoder.encode([text])
    explanation = explain(encoder, head, text, features, columns_of=encoder.encode)
    return look(encoder, head, explanation, features[0], {})


def rows_of(html, table):
    """Return the cells of a table's rows, as text."""
    (found,) = re.findall(rf'<table class="{table}">.*?</table>', html, flags=re.S)
    rows = re.findall(r"<tr.*?</tr>", found, flags=re.S)
    return [
        [
            " ".join(re.sub(r"<[^>]*>", " ", cell).split())
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, flags=re.S)
        ]
        for row in rows
    ]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
@pytest.mark.parametrize("k", [2, 3, 30])
def test_the_page_answers_the_questions_and_stands_alone(tiny_bert, pooling, k):
    encoder = load(tiny_bert, pooling)

    for text in ("the film is good", "", HOSTILE, "a film " * 90, "这部电影很好看"):
        html = page_of(encoder, random_head(16, k), text)

        page = Page(html)
        assert page.open == []
        assert re.findall(r"<h2>(.*?)</h2>", html) == QUESTIONS
        assert len(page.ids) == len(set(page.ids))
        targets = {a["href"] for _, a in page.elements if "href" in a}
        assert targets <= {f"#{name}" for name in page.ids}
        assert page.tags.isdisjoint({"script", "link", "img", "iframe", "b"})
        assert not any(a.startswith("on") for _, found in page.elements for a in found)
        assert "default-src 'none'" in html
        assert not re.search(r"url\((?!#)|@import|script-src", html)


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_can_be_looked_into(tmp_path, kind):
    encoder = load(save_kind(tmp_path / kind, kind), "mean")

    for text in (" ".join(MANY_SCRIPTS), ""):
        page = Page(page_of(encoder, random_head(encoder.dim), text))

        assert page.open == []


def test_pieces_are_shown_with_ids_and_kinds(minilm):
    encoder = load(minilm, "mean", max_length=64)

    html = page_of(encoder, random_head(384), "unforgettable 👩‍👩‍👧 film")

    (shown,) = re.findall(r'<ol class="tokens".*?</ol>', html, flags=re.S)
    found = re.findall(
        r'<li class="(\w+)"><bdi>(.*?)</bdi> <small>(\d+)</small>', shown
    )
    assert found == [
        ("special", "[CLS]", "101"),
        ("word", "un", "4895"),
        ("continued", "##for", "29278"),
        ("continued", "##get", "18150"),
        ("continued", "##table", "10880"),
        ("unknown", "[UNK]", "100"),
        ("word", "film", "2143"),
        ("special", "[SEP]", "102"),
    ]


def test_of_a_long_text_the_first_pieces_and_what_is_cut_are_told(tiny_encoder):
    encoder = load(tiny_encoder, "mean", max_length=100)

    html = page_of(encoder, random_head(16), "the film " * 80)

    assert "and 40 more" in html
    assert "the text has 162 tokens" in html
    assert "The other 62 have no say" in html


@pytest.mark.parametrize("text", ["", "film", "the film is good", "a " * 40])
def test_the_second_text_has_another_length_so_that_padding_shows(tiny_encoder, text):
    encoder = load(tiny_encoder, "mean")

    batch = _batch(encoder, text)

    lengths = batch.states.mask.sum(axis=1)
    assert lengths[0] != lengths[1]
    assert batch.names[1].strip("“”") in COMPANIONS
    rows = rows_of(page_of(encoder, random_head(16), text), "batch")
    assert any("[PAD] 0" in row and "0" in row for row in rows)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_the_mask_keeps_padding_from_moving_a_vector(minilm, pooling):
    encoder = load(minilm, pooling, max_length=64)

    effect = _mask_effect(encoder, _batch(encoder, "a long film, and a very good one"))

    assert effect["with_mask"] < 1e-5
    assert effect["without"] > 0.1


def test_shapes_are_those_of_every_layer(minilm):
    encoder = load(minilm, "mean", max_length=64)

    html = page_of(encoder, random_head(384, 5), "the film is very very good")

    shapes = re.findall(r'<td class="shape">(.*?)</td>', html)
    assert shapes == ["2", "2 × 8", *["2 × 8 × 384"] * 7, "2 × 384", "2 × 5"]


@pytest.mark.parametrize(
    ("pooling", "n_used"), [("cls", 1), ("pooler", 1), ("mean", 6)]
)
def test_the_rows_that_are_used_are_marked(tiny_bert, pooling, n_used):
    encoder = load(tiny_bert, pooling)

    html = page_of(encoder, random_head(16), "the film is good")

    assert html.count('<tr class="used">') == n_used
    assert html.count("(not used)") == 6 - n_used


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "pooler"])
def test_the_vector_is_the_one_that_the_classifier_gets(tiny_bert, pooling):
    encoder = load(tiny_bert, pooling)
    (x,) = encoder.encode(["the film is good"])

    rows = rows_of(page_of(encoder, random_head(16), "the film is good"), "matrix")

    *tokens, vector = [row for row in rows if len(row) == 6]
    expected = [f"{x[j]:+.3f}" for j in (0, 1, 2, 15)]
    assert [*vector[1:4], vector[5]] == expected
    columns = np.array([[float(v) for v in (*row[1:4], row[5])] for row in tokens[1:]])
    made = {"mean": columns.mean(0), "cls": columns[0], "max": columns.max(0)}
    if pooling in made:
        np.testing.assert_allclose(
            made[pooling], [float(v) for v in expected], atol=2e-3
        )


@pytest.mark.parametrize("k", [2, 3])
def test_the_terms_add_up_to_the_score(tiny_bert, k):
    encoder, head = load(tiny_bert, "cls"), random_head(16, k)
    score = head.decision(encoder.encode(["the film is good"])).max()

    rows = rows_of(page_of(encoder, head, "the film is good"), "terms")

    *terms, total = [float(row[-1]) for row in rows[1:]]
    assert len(terms) == 10
    assert total == pytest.approx(float(np.sum(terms)), abs=6e-3)
    if k > 2:
        assert total == pytest.approx(score, abs=1e-3)
    for _, x, mean, scale, z, w, term in rows[1:9]:
        assert float(z) == pytest.approx(
            (float(x) - float(mean)) / float(scale), rel=0.02, abs=0.02
        )
        assert float(term) == pytest.approx(float(z) * float(w), rel=0.01, abs=0.01)


def test_many_classes_are_a_softmax_whose_rows_sum_to_one(tiny_bert):
    encoder = load(tiny_bert, "mean")

    rows = rows_of(page_of(encoder, random_head(16, 30), "the film"), "classes")

    assert len(rows) == 1 + 8 + 1
    assert sum(float(row[2]) for row in rows[1:]) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("t", "end", "expected"),
    [
        (5, 3, [0, 1, 2, 3, 4]),
        (20, 4, [0, 1, 2, 3, 4, 5, 6, None, 17, 18, 19]),
        (40, 20, [0, 1, 2, 3, None, 18, 19, 20, 21, 22, None, 37, 38, 39]),
    ],
)
def test_of_a_long_batch_the_places_around_its_ends_are_shown(t, end, expected):
    assert _places(end, t) == expected


def test_a_predictor_shows_its_own_label_and_figures(tiny_encoder):
    labels = [label for _, label in review_rows()]
    classifier = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
    predictor = classifier.fit(TEXTS, labels).predictor_

    html = predictor.look("the film is good")

    (proba,) = predictor.predict_proba(["the film is good"])
    (score,) = predictor.decision_function(["the film is good"])
    assert "Explained is the score of <strong" in html
    assert f"probability {proba.max():.3f}" in html
    assert f"{score:+.3f}" in html


def test_the_command_writes_the_page_and_prints_the_words(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.cwd)

    status = cli.main(["look", "the film is good"])

    out = capsys.readouterr().out
    page = (trained.cwd / "look.html").read_text(encoding="utf-8")
    assert status == 0
    assert out.endswith("page  look.html\n")
    assert " is predicted; the score of pos is " in out
    assert "Like it: the " in out
    assert "reviews" in page
    assert "rows that it was not fitted on" in page
    assert Page(page).open == []


def test_the_command_reads_the_text_and_takes_paths(trained, monkeypatch, tmp_path):
    predictor = trained.artifacts / "latest" / "predictor.joblib"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO("<i>the plot</i>\n"))

    out = tmp_path / "page.html"
    status = cli.main(["look", "-", "--predictor", str(predictor), "--out", str(out)])

    assert status == 0
    assert "&lt;i&gt;the plot&lt;/i&gt;" in out.read_text(encoding="utf-8")


def test_the_command_says_what_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    assert cli.main(["look", "a film"]) == 1
    assert "No predictor at artifacts/latest/predictor.joblib. Train one" in (
        capsys.readouterr().err
    )


def test_a_page_that_cannot_be_written_names_the_option(trained, monkeypatch, capsys):
    monkeypatch.chdir(trained.cwd)

    assert cli.main(["look", "a film", "--out", "no/where.html"]) == 1
    assert "no/where.html cannot be written" in capsys.readouterr().err

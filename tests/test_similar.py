"""Search for similar texts, and similarity matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics.pairwise import cosine_similarity

from pipeline import load_encoder, load_predictor, similarity_matrix
from pipeline.errors import CacheError, ConfigError, DataError
from pipeline.evaluation.nearest import N_QUERIES, cosine_matrix, most_similar
from pipeline.pages.heat import LEVELS
from pipeline.predictor.matrix import N_DRAWN, N_NAMED, OPACITIES, _cells
from tests.conftest import Job, review_rows, write_tsv
from tests.pages import Page
from tests.test_evaluation_neighbours import features, in_blocks

GUIDE = (  # two texts on each of three subjects
    "Will it snow tomorrow?",
    "Is it going to rain today?",
    "Eating strawberries is healthy",
    "An apple a day keeps the doctor away",
    "How old are you?",
    "What is your age?",
)
HOSTILE = "<script>alert(1)</script> \x1b[31m \x00 & <b> 日本 \ud800"


def expected(queries, values):
    """Return rows and cosines by float64, most alike first, of equals the lowest row."""
    cosines = cosine_similarity(queries.astype(np.float64), values.astype(np.float64))
    order = np.argsort(-cosines, axis=1, kind="stable")
    return order, np.take_along_axis(cosines, order, axis=1)


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("n_queries", [1, N_QUERIES + 3])
def test_most_similar_rows_are_those_of_scikit_learn(size, n_queries):
    queries, values = features(n_queries, d=48), features(90, d=48, seed=2)

    rows, cosines = most_similar(queries, in_blocks(values, size), 4)

    order, exact = expected(queries, values)
    assert rows.tolist() == order[:, :4].tolist()
    assert cosines == pytest.approx(exact[:, :4], abs=1e-12)


def test_rounding_of_float32_does_not_decide_which_row_comes_first():
    """Cosines here differ by less than products of float32 can tell."""
    generator = np.random.default_rng(0)
    query = generator.normal(0, 1, (1, 384)).astype(np.float32)
    noise = generator.normal(0, 2e-4, (500, 384))
    values = (query + noise).astype(np.float32)

    rows, _ = most_similar(query, in_blocks(values, 64), 5)

    order, exact = expected(query, values)
    assert np.diff(exact[0][:5]).max() > -1e-7
    assert rows.tolist() == order[:, :5].tolist()


@given(
    n=st.integers(1, 60),
    size=st.integers(1, 70),
    m=st.integers(1, 70),
    kinds=st.integers(1, 3),
)
def test_of_equal_rows_the_first_come_first_wherever_they_lie(n, size, m, kinds):
    values = features(kinds, d=37)[np.arange(n) % kinds]

    rows, cosines = most_similar(values[:1], in_blocks(values, size), m)

    first = np.flatnonzero(np.arange(n) % kinds == 0)[:m]
    assert rows[0][: len(first)].tolist() == first.tolist()
    assert cosines[0][: len(first)] == pytest.approx(np.ones(len(first)))
    assert rows.shape == (1, min(m, n))


def test_zeros_are_like_nothing():
    values = features(3)
    values[1] = 0

    rows, cosines = most_similar(values[1:2], in_blocks(values, 2), 5)

    assert rows.tolist() == [[0, 1, 2]]
    assert cosines.tolist() == [[0, 0, 0]]
    assert cosine_matrix(values)[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_an_error(value):
    values = features(5)
    values[3, 2] = value

    with pytest.raises(DataError, match="features of row 3 are not finite"):
        most_similar(values[:1], in_blocks(values, 2), 2)


def test_no_query_finds_nothing():
    rows, cosines = most_similar(features(3)[:0], in_blocks(features(3), 2), 2)

    assert len(rows) == len(cosines) == 0


@pytest.fixture(scope="module")
def repeated(tmp_path_factory, tiny_encoder):
    """A run on data in which one text stands on three lines, and its predictor."""
    job = Job(tmp_path_factory.mktemp("repeated"))
    rows = review_rows()
    rows[50:50] = [rows[7]] * 2
    write_tsv(job.cwd / "reviews.tsv", rows)
    done = job.train("reviews.tsv", tiny_encoder, "--C", "1", "--pooling", "mean")
    assert done.status == 0, done.err
    return job, load_predictor(job.artifacts / "latest" / "predictor.joblib")


def test_similar_texts_are_those_of_scikit_learn_over_the_predictors_features(repeated):
    job, predictor = repeated
    texts = list(dict.fromkeys(text for text, _ in review_rows()))
    queries = ["the film was cold", "a plot"]

    found = predictor.similar(queries, artifacts=job.artifacts, top=6)

    order, exact = expected(predictor.transform(queries), predictor.transform(texts))
    for one, rows, cosines in zip(found, order, exact, strict=True):
        assert [row.cosine for row in one] == pytest.approx(cosines[:6], abs=1e-5)
        assert {row.text for row in one[:3]} <= {texts[i] for i in rows[:6]}


def test_similar_texts_have_their_label_and_line(repeated):
    job, predictor = repeated

    (found,) = predictor.similar("the story is dull", artifacts=job.artifacts)

    lines = (job.cwd / "reviews.tsv").read_text(encoding="utf-8").splitlines()
    assert len(found) == 5
    assert found[0].text == "the story is dull"
    assert found[0].cosine == pytest.approx(1.0)
    assert all(lines[row.line - 1] == f"{row.text}\t{row.label}" for row in found)
    assert {row.split for row in found} == {"train"}


def test_a_text_of_several_rows_is_found_once_with_their_number(repeated):
    job, predictor = repeated
    text, _ = review_rows()[7]

    (found,) = predictor.similar([text], artifacts=job.artifacts, top=200)

    assert (found[0].text, found[0].line, found[0].n_rows) == (text, 9, 3)
    assert len(found) == len({row.text for row in found}) == len(review_rows())
    assert sum(row.n_rows for row in found) == len(review_rows()) + 2


def test_no_text_asks_for_nothing(repeated):
    job, predictor = repeated

    assert predictor.similar([], artifacts=job.artifacts) == ()


@pytest.mark.parametrize("text", ["", " \t\n"])
def test_a_blank_text_is_refused(repeated, text):
    job, predictor = repeated

    with pytest.raises(DataError, match="Text 1 is blank"):
        predictor.similar(["good", text], artifacts=job.artifacts)


def test_fewer_than_one_text_cannot_be_asked_for(repeated):
    job, predictor = repeated

    with pytest.raises(ConfigError, match="top is 0, expected 1 or more"):
        predictor.similar("good", artifacts=job.artifacts, top=0)


def test_another_artifacts_folder_is_refused(repeated, tmp_path):
    _, predictor = repeated

    with pytest.raises(CacheError, match="is this predictor's"):
        predictor.similar("good", artifacts=tmp_path)


def test_matrix_holds_the_cosines_of_each_with_each(minilm):
    encoded = load_encoder(str(minilm), pooling="mean").encode(GUIDE)

    found = similarity_matrix(GUIDE, encoded)

    assert found.texts == GUIDE
    assert found.cosines == pytest.approx(cosine_similarity(encoded), abs=1e-6)
    assert (found.cosines == found.cosines.T).all()
    assert [found.nearest(i) for i in range(6)] == [1, 0, 3, 2, 5, 4]
    assert found.pairs()[0] == (4, 5)
    assert len(found.pairs()) == 15


def test_matrix_prints_a_numbered_row_for_each_text():
    found = similarity_matrix(["one", HOSTILE], np.eye(2, dtype=np.float32))

    said = str(found)

    assert "\x1b" not in said
    assert said.splitlines()[1] == "   1  1.000  0.000  one"
    assert len(said.splitlines()) == 3


@pytest.mark.parametrize(
    ("texts", "shape", "said"),
    [
        ([], (0, 3), "0 texts cannot be compared"),
        (["one"], (1, 3), "1 text cannot be compared"),
        (["one", "two"], (3, 3), r"expected \(2, d\)"),
        (["one", "two"], (2,), r"expected \(2, d\)"),
    ],
)
def test_what_is_no_matrix_is_refused(texts, shape, said):
    with pytest.raises(DataError, match=said):
        similarity_matrix(texts, np.ones(shape, dtype=np.float32))


def test_features_that_are_not_finite_are_refused():
    values = features(2)
    values[0, 0] = np.nan

    with pytest.raises(DataError, match="NaN"):
        similarity_matrix(["one", "two"], values)


@pytest.mark.parametrize("n", [2, 3, 9, N_NAMED, N_NAMED + 1, N_DRAWN])
def test_page_shows_every_text_and_number_and_stands_alone(n):
    texts = [f"{HOSTILE} {i}" for i in range(n)]
    found = similarity_matrix(texts, features(n), encoder="<i>encoder</i>")

    html = found.to_html()

    page = Page(html)
    assert page.open == []
    assert page.tags.isdisjoint({"script", "img", "link", "iframe", "b", "i>"})
    assert "<i>encoder" not in html
    assert html.encode()
    assert "\x1b" not in html
    assert "\x00" not in html
    numbers = page.text_of("numbers")
    assert all(f"{cosine:.3f}" in numbers for cosine in found.cosines.ravel())
    assert sum(text.startswith("<script>") for text in page.texts) >= n
    assert len(set(page.ids)) == len(page.ids)


def test_page_names_the_pairs_most_and_least_alike():
    found = similarity_matrix(["a", "b", "c"], features(3))

    text = Page(found.to_html()).text_of("matrix")

    (a, b), *_, (c, d) = found.pairs()
    most, least = f"{found.cosines[a, b]:.3f}", f"{found.cosines[c, d]:.3f}"
    assert f"Most alike are texts {a + 1} and {b + 1} ({most})" in text
    assert f"least alike {c + 1} and {d + 1} ({least})" in text


def test_cosines_that_are_nearly_one_are_told_apart():
    """Vectors of an encoder that was not trained to compare texts point nearly the same way."""
    values = 20 + features(4, seed=3) / 20

    found = similarity_matrix(list("abcd"), values)

    said = [found.said(*pair) for pair in found.pairs()]
    assert found.decimals == 6
    assert len(set(said)) > 1
    assert all(number in found.to_html() and number in str(found) for number in said)


def test_shades_go_from_the_least_alike_pair_to_one():
    found = similarity_matrix(["a", "b", "c"], features(3))

    cells = _cells(found)

    i, j = found.pairs()[-1]
    assert (i, j) in cells["blue", OPACITIES[0]]
    assert {(0, 0), (1, 1), (2, 2)} <= set(cells["blue", OPACITIES[-1]])
    assert sum(map(len, cells.values())) == 9
    assert len(OPACITIES) == LEVELS


def test_equal_texts_have_the_strongest_shade():
    found = similarity_matrix(["a", "a"], np.ones((2, 3), dtype=np.float32))

    assert set(_cells(found)) == {("blue", OPACITIES[-1])}
    assert "1.000" in found.to_html()


def test_a_page_of_too_many_texts_is_refused():
    n = N_DRAWN + 1
    found = similarity_matrix(list("x" * n), features(n))

    with pytest.raises(DataError, match=f"expected at most {N_DRAWN}"):
        found.to_html()

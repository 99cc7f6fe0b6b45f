"""Linear models on words and on pieces of words."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from pipeline.terms.matrix import TOKEN_PATTERN
from pipeline.terms.model import (
    fit_term_model,
    load_term_model,
    out_of_fold_scores,
    outputs_of,
    save_term_model,
)

WORDS = ["good", "bad", "film", "plot", "dull", "joy", "cold", "warm"]


def texts_and_classes(n=120, k=2):
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, 4)) for _ in range(n)]
    return texts, np.array(
        [(("good" in t) + 2 * ("joy" in t)) % k for t in texts], dtype=np.int64
    )


@pytest.mark.parametrize("k", [2, 3])
def test_a_model_on_words_is_that_of_scikit_learn(k):
    texts, y = texts_and_classes(k=k)
    expected = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2), sublinear_tf=True, token_pattern=TOKEN_PATTERN
        ),
        LogisticRegression(C=10, solver="newton-cg", max_iter=1000),
    ).fit(texts, y)

    scores = fit_term_model("words", texts, y, k).scores(
        ["a good film", "joy", "", "–"]
    )

    proba = expected.predict_proba(["a good film", "joy", "", "–"])
    assert_allclose(outputs_of(scores, y), proba, atol=1e-5)


@pytest.mark.parametrize("kind", ["words", "characters"])
def test_a_saved_model_says_the_same_exactly(tmp_path, kind):
    texts, y = texts_and_classes(k=3)
    pairs = list(zip(texts, texts[::-1], strict=True))
    for rows in (texts, pairs):
        model = fit_term_model(kind, rows, y, 3)

        save_term_model(model, tmp_path)

        found = load_term_model(tmp_path, kind)
        assert (found.scores(rows) == model.scores(rows)).all()


@pytest.mark.parametrize("k", [2, 3])
def test_a_class_that_no_row_has_is_unlikely_not_impossible(k):
    texts, _ = texts_and_classes()
    y = np.zeros(len(texts), dtype=np.int64)
    y[: 0 if k == 2 else 60] = 1

    proba = outputs_of(fit_term_model("words", texts, y, k).scores(texts), y)

    assert proba.shape == (len(texts), k)
    assert (proba[:, -1] > 0).all()
    assert (proba[:, -1] < 0.02).all()


def test_texts_without_words_get_the_shares():
    y = np.array([0, 0, 0, 1])

    model = fit_term_model("words", ["!", "?", "...", "-"], y, 2)

    assert_allclose(outputs_of(model.scores(["!", "good"]), y)[:, 1], 0.3, atol=1e-12)


def test_numbers_and_labels_have_scores_of_their_own():
    texts, y = texts_and_classes()
    labels = np.stack([y == 1, np.ones(len(y), bool)], axis=1)

    numbers = fit_term_model("words", texts, y.astype(np.float64), 0).scores(texts)
    flags = fit_term_model("words", texts, labels, 2).scores(texts)

    assert numbers.shape == (len(y), 1)
    assert np.corrcoef(numbers[:, 0], y)[0, 1] > 0.9
    assert ((flags[:, 0] > 0) == labels[:, 0]).mean() > 0.9
    assert outputs_of(flags, labels)[:, 1] == pytest.approx(120.5 / 121)


def test_rows_out_of_fold_do_not_know_their_own_label():
    rng = np.random.default_rng(0)
    texts = [f"word{i}" for i in range(60)]  # nothing in common
    y = rng.integers(0, 2, 60)
    folds = (np.arange(60) % 3).astype(np.int8)

    own = fit_term_model("words", texts, y, 2).scores(texts)
    held_out = out_of_fold_scores("words", texts, y, folds, 2)

    assert (((own[:, 0] > 0) == y).mean()) > 0.95
    for fold in range(3):
        assert len(np.unique(held_out[folds == fold])) == 1

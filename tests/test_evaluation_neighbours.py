"""What is made from features: nearest training rows, a map, and labels that contradict them."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from pipeline.evaluation.feature_map import feature_map
from pipeline.evaluation.label_issues import label_issues
from pipeline.evaluation.nearest import nearest


def features(n, d=6, seed=0):
    return np.random.default_rng(seed).normal(1, 2, (n, d)).astype(np.float32)


def in_blocks(values, size):
    order = np.random.default_rng(1).permutation(len(values))
    for begin in range(0, len(values), size):
        rows = order[begin : begin + size]
        yield rows, values[rows]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_nearest_rows_are_those_of_scikit_learn(size):
    queries, values = features(5), features(60, seed=2)
    mean, scale = values.mean(axis=0), values.std(axis=0)

    rows, cosines = nearest(queries, in_blocks(values, size), mean, scale, 3)

    expected = cosine_similarity((queries - mean) / scale, (values - mean) / scale)
    assert rows.tolist() == np.argsort(-expected, axis=1)[:, :3].tolist()
    assert cosines == pytest.approx(np.sort(expected, axis=1)[:, :-4:-1], abs=1e-5)


def test_nearest_of_equal_rows_is_the_first():
    values = np.tile(features(1), (5, 1))

    rows, cosines = nearest(
        values[:1], in_blocks(values, 2), np.zeros(6), np.ones(6), 2
    )

    assert rows.tolist() == [[0, 1]]
    assert cosines == pytest.approx(np.ones((1, 2)))


def test_nearest_of_fewer_rows_than_wanted_are_all():
    values = features(2)

    rows, _ = nearest(values, in_blocks(values, 9), np.zeros(6), np.ones(6), 3)

    assert rows.tolist() == [[0, 1], [1, 0]]


def test_a_row_like_the_mean_is_like_none():
    rows, cosines = nearest(
        np.zeros((1, 6), dtype=np.float32),
        in_blocks(features(4), 4),
        np.zeros(6),
        np.ones(6),
        2,
    )

    assert rows.tolist() == [[0, 1]]
    assert cosines.tolist() == [[0.0, 0.0]]


def mapped(fitted, y, shown):
    return feature_map(fitted, y, shown)


def clouds(n, k, d=8, seed=0, apart=4.0):
    generator = np.random.default_rng(seed)
    y = np.arange(n) % k
    centres = np.random.default_rng(9).normal(0, apart, (k, d))
    return generator.normal(0, 1, (n, d)) + centres[y], y


@pytest.mark.parametrize("k", [2, 3, 7])
def test_map_parts_classes(k):
    fitted, y = clouds(140, k)
    shown, truth = clouds(70, k, seed=1)

    found = mapped(fitted, y, shown)

    centres = np.stack([found["xy"][truth == c].mean(axis=0) for c in range(k)])
    spread = found["xy"] - centres[truth]
    between = np.linalg.norm(centres[:, None] - centres, axis=2) + 99 * np.eye(k)
    assert between.min() > 0.5 * spread.std()
    assert found["xy"].shape == (70, 2)


def test_map_is_the_same_twice():
    fitted, y = clouds(100, 3)

    one, two = (mapped(fitted, y, fitted[:10])["xy"] for _ in range(2))

    assert (one == two).all()


def test_map_explains_shares_of_the_variance():
    fitted, y = clouds(100, 2, d=2)

    first, second = mapped(fitted, y, fitted)["explained"]

    assert first + second == pytest.approx(1.0)  # two dimensions hold all of it


def test_map_of_few_rows_is_none():
    fitted, y = clouds(40, 2)

    assert mapped(fitted, y, fitted[:3]) is None
    assert mapped(fitted, y, fitted[:4]) is not None


@pytest.mark.parametrize(
    "y", [[0, 1, 1, 1, 1, 1], [0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]]
)
def test_map_takes_classes_of_a_single_row_and_features_that_do_not_vary(y):
    fitted = features(6).astype(np.float64)
    fitted[:, 3] = 1.0

    found = mapped(fitted, np.array(y), fitted)

    assert np.isfinite(found["xy"]).all()


def test_map_takes_classes_whose_rows_are_all_alike():
    y = np.array([0, 1] * 10)
    fitted = np.stack([y, -y, y], axis=1).astype(np.float64)

    found = mapped(fitted, y, fitted)

    assert np.isfinite(found["xy"]).all()


def issues(y, proba):
    return label_issues(y, proba)


def answers(y, k, sure=0.9):
    proba = np.full((len(y), k), (1 - sure) / (k - 1))
    proba[np.arange(len(y)), y] = sure
    return proba


def test_labels_that_contradict_sure_answers_are_found_likeliest_first():
    truth = np.arange(60) % 3
    proba = answers(truth, 3)
    proba[7] = [0.01, 0.01, 0.98]
    given = truth.copy()
    given[[7, 20]] = [0, 1]

    assert issues(given, proba).tolist() == [7, 20]


def test_labels_that_agree_with_the_answers_are_no_issues():
    y = np.arange(60) % 2

    assert issues(y, answers(y, 2)).tolist() == []


def test_nothing_is_said_where_a_class_has_no_row():
    y = np.zeros(10, dtype=np.int64)

    assert issues(y, answers(y, 2)) is None

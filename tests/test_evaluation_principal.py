"""Principal components, beside scikit-learn's."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from pipeline.evaluation.principal import principal_components


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 90), (20, 20)])
def test_components_are_those_of_scikit_learn(n, d):
    generator = np.random.default_rng(n)
    rows = generator.normal(size=(n, d)) * generator.exponential(size=d) + 30
    expected = PCA(7, svd_solver="full").fit(rows)

    found = principal_components(rows, 7)

    assert_allclose(found.mean, expected.mean_)
    assert_allclose(found.variances, expected.explained_variance_)
    assert_allclose(np.abs(found.axes.T @ expected.components_.T), np.eye(7), atol=1e-8)
    assert_allclose(found.total, rows.var(axis=0, ddof=1).sum())
    assert (
        np.take_along_axis(found.axes, abs(found.axes).argmax(0)[None], 0) > 0
    ).all()


def test_directions_in_which_nothing_varies_are_zero():
    rows = np.repeat(np.random.default_rng(0).normal(size=(3, 40)), 5, axis=0)

    found = principal_components(rows, 6)

    assert_allclose(found.variances[2:], 0, atol=1e-12)
    assert (found.axes[:, 2:] == 0).all()
    assert_allclose(found.axes[:, :2].T @ found.axes[:, :2], np.eye(2), atol=1e-9)

"""The figures on float16 against what rounding really does."""

from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.config import HeadSpec
from pipeline.heads.head import Head
from pipeline.heads.logreg import fit_head
from pipeline.report import words
from pipeline.report.rounding import float16_effect


@dataclass(frozen=True)
class Rows:
    """Features in memory."""

    values: np.ndarray

    @property
    def dim(self):
        return self.values.shape[1]

    def __len__(self):
        return len(self.values)

    def blocks(self):
        for begin in range(0, len(self), 1_000):
            values = self.values[begin : begin + 1_000]
            yield np.arange(begin, begin + len(values)), values

    def take(self, rows):
        return self.values[rows]

    def sample(self, m):
        return np.arange(min(m, len(self)))


@pytest.fixture(params=[2, 3])
def problem(request):
    """A head, exact features and the same as float16; many rows are close to a border."""
    rng = np.random.default_rng(0)
    exact = rng.normal(scale=3, size=(20_000, 24)).astype(np.float32)
    centres = rng.normal(size=(24, request.param))
    y = (exact @ centres + rng.normal(size=(20_000, request.param))).argmax(axis=1)
    exact[:10_000] -= np.outer(
        exact[:10_000] @ centres[:, 0] - exact[:10_000] @ centres[:, 1],
        (centres[:, 0] - centres[:, 1]) / ((centres[:, 0] - centres[:, 1]) ** 2).sum(),
    ) * rng.uniform(0.95, 1, size=(10_000, 1))
    spec = HeadSpec(C=1.0)
    head = fit_head(exact, y, spec, np.zeros(len(y), dtype=np.int8))
    return head, exact, exact.astype(np.float16).astype(np.float32)


def labels(head, features):
    return head.probabilities(features).argmax(axis=1)


def leads(head, features, first, second):
    scores = head.decision(features)
    if scores.ndim == 1:
        return np.where(first == 1, scores, -scores)
    rows = np.arange(len(scores))
    return scores[rows, first] - scores[rows, second]


def test_the_rounding_of_float16_moves_scores_as_the_report_says(problem):
    head, exact, stored = problem
    order = np.argsort(head.probabilities(stored), axis=1)
    first, second = order[:, -1], order[:, -2]
    moved = leads(head, exact, first, second) - leads(head, stored, first, second)

    effect = float16_effect(head, Rows(stored))

    assert effect["margin_rms"] == pytest.approx(np.sqrt((moved**2).mean()), rel=0.05)


def test_as_many_labels_change_by_float16_as_the_report_expects(problem):
    head, exact, stored = problem
    changed = int((labels(head, exact) != labels(head, stored)).sum())

    effect = float16_effect(head, Rows(stored))

    assert changed > 5  # or the figure is not tried out
    assert abs(effect["labels_expected"] - changed) < 4 * np.sqrt(changed)
    assert changed <= effect["labels_possible"] < len(exact) / 2


def test_exact_features_cannot_change_what_is_far_from_a_border(problem):
    head, _, stored = problem
    far = stored[np.sort(head.probabilities(stored), axis=1)[:, -1] > 0.99]

    effect = float16_effect(head, Rows(far))

    assert effect["labels_possible"] == 0
    assert effect["labels_expected"] < 1e-9


def test_a_class_that_is_third_can_overtake():
    head = Head(
        classes=[0, 1, 2],
        mean=np.zeros(2),
        scale=np.ones(2),
        coef=np.array([[0.0, 0.0], [0.0, 0.0], [0.0, 1000.0]]),
        intercept=np.array([1.0, 0.9, 0.8 - 1000]),
        C=1.0,
        class_weight="none",
        n_iter=1,
        converged=True,
        solver="",
        sklearn_version="",
    )

    effect = float16_effect(head, Rows(np.array([[1.0, 1.0]], dtype=np.float32)))

    assert effect["labels_possible"] == 1
    assert effect["labels_expected"] > 0.1


def test_the_effect_reads_as_a_sentence():
    effect = {
        "rows": 1821,
        "margin_rms": 0.00123,
        "labels_expected": 0.0456,
        "labels_possible": 3,
    }

    assert words.float16(effect) == (
        "features are rounded: with this head it moves a score by 0.0012 (root mean square); of 1,821 labels 0.046 are "
        "expected to change, 3 at the very most"
    )


def test_a_report_on_float16_features_says_what_that_did(trained, tiny_encoder):
    from tests.test_tasks_stages import run_again

    run_again(trained, tiny_encoder, "--feature-dtype", "float16")
    sixteen = trained.report()["head"]["float16"]
    html = (trained.artifacts / "latest" / "report.html").read_text(encoding="utf-8")
    run_again(trained, tiny_encoder)

    assert sixteen["rows"] == 30
    assert words.float16(sixteen) in html
    assert trained.report()["head"]["float16"] is None


def test_each_of_several_labels_can_change_by_itself():
    generator = np.random.default_rng(0)
    exact = generator.normal(size=(400_000, 8))
    stored = exact.astype(np.float16).astype(np.float32)
    head = Head(
        task="multilabel",
        classes=["a", "b", "c"],
        mean=np.zeros(8),
        scale=np.ones(8),
        coef=generator.normal(size=(3, 8)),
        intercept=np.array([0.0, 0.5, -1.0]),
        C=1.0,
        class_weight="none",
        n_iter=1,
        converged=True,
        solver="",
        sklearn_version="",
    )
    scores = ((x @ head.coef.T + head.intercept) for x in (exact, stored))
    given, kept = (score > 0 for score in scores)
    changed = int((given != kept).any(axis=1).sum())

    effect = float16_effect(head, Rows(stored))

    assert changed > 5
    assert abs(effect["labels_expected"] - changed) < 4 * np.sqrt(changed)
    assert changed <= effect["labels_possible"] < 4_000

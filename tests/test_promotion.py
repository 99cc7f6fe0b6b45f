"""Whether a new system may take the place of an old one: the test behind `frostbert promote`."""

import numpy as np
import pytest
from scipy.stats import beta

from benchmarks.promotion import CASES, Case, ImpossibleError, passed, rows_of_table
from pipeline.config import PromotionSpec
from pipeline.errors import ConfigError
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.noninferiority import NonInferiority, non_inferiority
from pipeline.evaluation.resampling import Clusters


def pair(n, lost=0, won=0, both_wrong=0):
    """Return a new and an old system on `n` rows, of which either alone has some right."""
    y = np.arange(n) % 2
    new, old = y.copy(), y.copy()
    new[:lost] ^= 1
    old[lost : lost + won] ^= 1
    end = lost + won + both_wrong
    new[lost + won : end] ^= 1
    old[lost + won : end] ^= 1
    return tuple(Scored(y, np.eye(2)[answers]) for answers in (new, old))


def judged(systems, **options):
    new, old = systems
    return non_inferiority(new, old, **{"margin": 0.01, **options})


def test_a_comparison_has_the_figures_of_the_rows_themselves():
    found = judged(pair(200, lost=4, won=10, both_wrong=20))

    assert (found.old, found.new) == pytest.approx((1 - 30 / 200, 1 - 24 / 200))
    assert found.difference == pytest.approx(6 / 200)
    assert (found.n, found.n_clusters) == (200, 200)


@pytest.mark.parametrize("lost", [0, 1, 4, 20, 100])
def test_the_bound_of_losses_alone_is_clopper_and_pearsons(lost):
    n = 2_000

    found = judged(pair(n, lost=lost))

    exact = -beta.ppf(0.95, lost + 1, n - lost)
    assert found.lower == pytest.approx(exact, rel=0.06, abs=1.01 / n)


def test_the_same_answers_to_few_rows_show_nothing():
    assert not judged(pair(100)).is_shown
    assert judged(pair(1_000)).is_shown


def test_a_bound_that_equals_the_margin_does_not_show_it():
    found = judged(pair(300))

    assert found.lower == pytest.approx(-3 / 300)
    assert not found.is_shown


def test_without_a_margin_the_new_system_has_to_be_better():
    assert not judged(pair(1_000), margin=0).is_shown
    assert not judged(pair(1_000, lost=3, won=5), margin=0).is_shown
    assert judged(pair(1_000, lost=3, won=15), margin=0).is_shown


def test_rows_that_belong_together_show_less():
    new, old = pair(300, lost=6, won=6)
    tripled = [Scored(np.repeat(s.y, 3), np.repeat(s.proba, 3, 0)) for s in (new, old)]
    clusters = Clusters(np.repeat(np.arange(300), 3), 300)

    found = judged(tripled, clusters=clusters)

    assert found.n_clusters == 300
    assert found.lower == pytest.approx(judged((new, old)).lower)
    assert judged(tripled).lower > found.lower


def test_macro_f1_loses_most_with_the_rarest_class():
    y = np.array([0] * 190 + [1] * 10)
    same = Scored(y, np.eye(2)[y])

    accuracy = non_inferiority(same, same, margin=0.01)
    f1 = non_inferiority(same, same, margin=0.01, metric="f1_macro")

    assert f1.new == f1.old == 1.0
    assert f1.lower < 3 * accuracy.lower < 0


def test_rows_without_a_known_class_are_wrong_for_both():
    new, old = pair(400)
    unknown = [
        Scored(np.where(np.arange(400) < 40, -1, s.y), s.proba) for s in (new, old)
    ]

    found = judged(unknown)

    assert found.new == found.old == 0.9


def test_rows_that_are_all_unknown_can_be_judged():
    new, old = pair(50)

    found = judged([Scored(np.full(50, -1), s.proba) for s in (new, old)])

    assert (found.new, found.is_shown) == (0.0, False)


def test_rows_that_are_needed_would_show_it_four_times_out_of_five():
    few = judged(pair(400, lost=20, won=20), margin=0.02)

    assert not few.is_shown
    case = Case("as many lost as won", few.n_needed, 0.02, instead=0.05 / 0.15)
    assert passed(case, 0.0, 60) == pytest.approx(0.8, abs=0.14)


def test_no_number_of_rows_is_needed_where_it_looks_worse_by_the_margin():
    assert judged(pair(400, lost=4)).n_needed is None
    assert (judged(pair(400, lost=3)).n_needed or 0) > 400


def test_what_is_shown_easily_needed_fewer_rows():
    found = NonInferiority("accuracy", 0.01, 0.9, 0.95, 0.03, 500, 500)

    assert found.is_shown
    assert found.n_needed is not None
    assert found.n_needed < 500


# Each of 400 data sets; at a true rate of 5 % more than 31 have a probability of 0.5 %.
@pytest.mark.parametrize(
    "case",
    [
        Case("never right instead", 300, 0.03, instead=0.0),
        Case("few differ", 200, 0.04),
        Case("many differ", 200, 0.05, instead=0.4),
        Case("clusters", 300, 0.05, has_clusters=True),
        Case("macro F1", 150, 0.05, "f1_macro"),
    ],
    ids=lambda case: case.name,
)
def test_a_system_that_is_worse_by_the_margin_rarely_passes(case):
    assert passed(case, -case.margin, 400) <= 31 / 400


def test_an_equal_system_passes_where_rows_suffice():
    assert passed(Case("few differ", 500, 0.05), 0.0, 50) > 0.9


def test_simulated_systems_differ_by_what_is_asked_for():
    case = Case("many differ", 200_000, 0.03, instead=0.4)

    rows, _ = case.draw(case.world(-0.03), np.random.default_rng(0))

    y, old, new = rows.T
    assert (new == y).mean() - (old == y).mean() == pytest.approx(-0.03, abs=0.003)


def test_systems_that_cannot_be_are_not_simulated():
    with pytest.raises(ImpossibleError, match=r"no difference of 0\.01"):
        Case("never right instead", 300, 0.01, instead=0.0).world(0.01)


@pytest.mark.parametrize("margin", [-0.1, 100, float("nan"), float("inf")])
def test_a_margin_that_cannot_be_meant_is_refused(margin):
    with pytest.raises(ConfigError, match="expected points from 0 to less than 100"):
        PromotionSpec(margin=margin)


def test_a_metric_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match="--metric is 'roc_auc', expected one of"):
        PromotionSpec(metric="roc_auc")


def test_the_table_of_simulations_has_a_line_for_each_case():
    found = list(rows_of_table(4))

    assert [row[0] for row in found] == [case.name for case in CASES]
    assert {len(row) for row in found} == {6}
    assert found[0][5] == "–"  # never right instead: cannot be better

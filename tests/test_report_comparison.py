import pytest

from pipeline.report.render import render_comparison
from tests.pages import Page
from tests.reports import comparison, undefined, with_evil


def test_comparison_says_what_differs():
    page = Page(render_comparison(comparison()))

    text = page.text_of("difference")
    assert "The second run is better by 4.0 points" in " ".join(page.texts)
    assert "Only A is right on 61 rows, only B on 132" in text
    assert "McNemar p = 3.2e-07: unlikely by chance alone" in text
    assert "+0.040 (+0.025 to +0.055)" in page.texts
    assert "sst2-0123456789a0" in page.text_of("runs")


def test_comparison_shows_the_texts_that_changed():
    found = comparison(3)

    page = Page(render_comparison(found))

    assert {row["text"] for row in found["changed"]} <= set(page.texts)
    assert "3 of 193 texts whose predicted label changed:" in page.texts


def test_comparison_of_equal_runs_has_no_table_of_texts():
    page = Page(render_comparison({**comparison(0), "n_changed": 0}))

    assert "No text changed its predicted label." in page.texts
    assert "texts" not in page.ids


def test_comparison_takes_what_is_not_known():
    found = comparison(1)
    found["changed"][0].update(text=None, split=None, line=None, label=None)
    found["mcnemar"] = {"b": 0, "c": 0, "p": None}
    found["metrics"]["roc_auc"] = dict.fromkeys(("a", "b", "difference"), undefined())
    found["runs"][0]["when"] = None

    page = Page(render_comparison(found))

    assert "(its data set is gone)" in page.texts
    assert "– (too few rows)" in page.texts
    assert page.open == []


@pytest.mark.parametrize("make", [comparison, lambda: with_evil(comparison())])
def test_comparison_is_well_formed_whatever_the_data_hold(make):
    page = Page(render_comparison(make()))

    assert page.open == []
    assert page.n_scripts == 1
    assert page.tags.isdisjoint({"img", "link"})
    assert len(page.ids) == len(set(page.ids))


def test_the_same_comparison_gives_the_same_bytes():
    assert render_comparison(comparison()) == render_comparison(comparison())

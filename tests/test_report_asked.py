"""A report speaks of what its options asked for: the mean cost of an answer, the rows that are answered, thresholds."""

import re

import pytest

from pipeline.report import conclusions
from pipeline.report.advice import advise
from pipeline.report.card import model_card
from pipeline.report.render import render_html, render_markdown
from tests.reports import make_report, of_value


def with_rule(**changes):
    """Return a report whose decision rule is nothing but what is given."""
    report = make_report(2)
    nothing = dict.fromkeys(report["decision"])
    return {**report, "decision": {**nothing, "n": 6_920, "asked": {}, **changes}}


@pytest.fixture
def costly():
    """Less accurate than TF-IDF, and cheaper."""
    n = 1_821
    other = {"difference": of_value(-0.4, n, 0.1), "answer": None}
    test = {
        "value": of_value(0.476, n),
        "plain": of_value(1.319, n),
        "difference": of_value(-0.843, n, 0.3),
        "baselines": {
            "majority": {
                "value": of_value(0.479, n),
                "difference": of_value(-0.003, n, 0.05),
                "answer": "*neg*",
            },
            "tfidf_logreg": {**other, "value": of_value(0.876, n)},
        },
    }
    shares = {"plain": 1.2, "nested": 0.47, "optimistic": 0.47}
    return with_rule(
        costs=[[0, 10], [1, 0]], gain={"metric": "cost", **shares, "test": test}
    )


@pytest.fixture
def unsure():
    made = make_report(2)["decision"]
    names = ("min_confidence", "abstention", "n_unknown", "n_clusters")
    section = {name: made[name] for name in names}
    return with_rule(asked={"max_error": 0.05}, **section)


@pytest.fixture
def with_thresholds():
    made = make_report(2)["decision"]
    section = {name: made[name] for name in ("thresholds", "gain")}
    return with_rule(asked={"thresholds": "f1_macro"}, **section)


def test_costs_are_what_the_conclusion_compares(costly):
    said = conclusions.conclusion(costly)

    assert said.startswith("The mean cost of an answer is 0.476 (0.456 to 0.496).")
    assert "0.843 less (95 % 0.543 to 1.143, paired) than this head" in said
    assert "0.400 less (95 % 0.300 to 0.500, paired) than TF-IDF" in said
    assert "Not shown to cost less than always answering “*neg*”" in said
    assert "points" not in said
    assert conclusions.verdicts(costly) == conclusions.cost_verdicts(costly)


def test_where_answers_have_costs_no_advice_is_about_accuracy(costly):
    advice = advise(costly)

    assert "Worse" not in conclusions.summary(costly)
    assert not [one for one in advice if "TF-IDF" in one or "accuracy" in one]
    said = "By these costs always answering “*neg*” may cost no more: "
    assert [one for one in advice if one.startswith(said)]
    assert [one for one in advise(make_report(2)) if "use TF-IDF" in one]


def test_summary_headline_and_page_begin_with_the_mean_cost(costly):
    assert (
        conclusions.summary(costly).splitlines()[1]
        == "mean cost  0.476 (0.456 to 0.496)"
    )
    assert conclusions.headline(costly).startswith("mean cost 0.476 (0.456 to 0.496), ")
    assert '<p class="figure">0.476 <small>mean cost' in render_html(costly)
    assert r"always answering “\*neg\*”" in render_markdown(costly)


def test_abstention_is_said_in_summary_headline_page_and_card(unsure):
    lines = conclusions.summary(unsure).splitlines()

    assert lines[1:3] == [
        "answered    0.610 (0.590 to 0.630)",
        "error rate  0.040 (0.030 to 0.050)",
    ]
    assert lines[-2].startswith("It answers 0.610 (0.590 to 0.630) of the rows;")
    assert lines[-1].startswith("Were every row answered: worse than TF-IDF")
    assert conclusions.headline(unsure).startswith("answered 0.610")
    page = render_html(unsure)
    assert '<p class="figure">0.040 <small>error rate among answered rows' in page
    card = model_card(unsure)
    assert "It answers 0.610" in card
    assert "or none where it is not sure enough" in card
    assert "every text gets one of them" not in card


def test_thresholds_are_said_beside_the_same_head_without_them(with_thresholds):
    lines = conclusions.summary(with_thresholds).splitlines()

    assert lines[-2] == (
        "By its thresholds macro F1 is 0.790 (0.770 to 0.810), without them 0.780 (0.760 to 0.800): difference +0.010 "
        "(-0.002 to +0.022), paired."
    )
    assert lines[-1].startswith(
        "Worse than TF-IDF + logistic regression (without thresholds of its own) by"
    )


def test_a_report_without_options_says_nothing_of_them():
    report = {**make_report(2), "decision": None}

    assert conclusions.asked(report) == []
    assert conclusions.leading(report) == (
        "accuracy",
        report["metrics"]["test"]["accuracy"],
    )
    assert not re.search("cost|answered|thresholds", conclusions.summary(report))


def test_a_card_says_how_it_decides(costly):
    card = model_card(costly)

    assert "## How it decides" in card
    assert "| negative | 0 | 10 |" in card
    assert "## How it decides" not in model_card({**costly, "decision": None})


def test_a_card_of_pairs_passes_a_pair():
    report = make_report(2)
    report["encoder"]["pair_encoding"] = "separate"

    card = model_card(report)

    assert 'predictor.predict([("a text", "another")])' in card
    assert "A classifier of pairs of texts into 2 classes" in card
    assert 'predictor.predict(["a text"])' in model_card(make_report(2))


def test_a_cosine_that_is_better_is_said_to_serve_better():
    report = make_report(2)

    assert "serves here, and needs no training" in conclusions.instead(report, "cosine")
    assert conclusions.instead(report, "tfidf_logreg") == conclusions.advice(report)

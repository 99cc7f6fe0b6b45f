from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from pipeline.errors import DataError
from pipeline.evaluation.mcnemar import mcnemar
from pipeline.evaluation.metrics import Scored, differences, measure
from pipeline.evaluation.resampling import Clusters
from pipeline.features.keys import row_keys
from pipeline.report.compare import (
    N_CHANGED,
    RunReport,
    compare_reports,
    paired_rows,
    previous,
    verdict,
)
from pipeline.report.render import comparison_markdown
from pipeline.report.scored import ScoredRows
from tests.test_report import figure, tables

TEXTS = [f"text {i}" for i in range(200)]


def rows_of(texts, labels, said, classes=("neg", "pos")):
    """Return scored rows whose answer is `said`, with probability 0.8."""
    numbers = {label: i for i, label in enumerate(classes)}
    proba = np.full((len(texts), len(classes)), 0.2 / (len(classes) - 1))
    proba[np.arange(len(texts)), [numbers[label] for label in said]] = 0.8
    y = np.array([numbers.get(label, -1) for label in labels])
    n = len(texts)
    return ScoredRows(
        list(classes),
        Scored(y, proba),
        row_keys(texts),
        np.arange(n),
        Clusters.of_rows(n),
    )


def run(rows, name="films-1", table=None):
    report = {
        "dataset": {"name": "films"},
        "encoder": {"name": "minilm", "pooling": "mean", "layer": -1, "recipe": "f32"},
        "head": {"C": 0.1},
        "split": {"n_fit": 50, "n_test": len(rows.keys)},
        "metrics": {"test": {"accuracy": figure(0.7, 0.6, 0.8)}},
    }
    return RunReport(name, "2026-01-02T03:04:05+00:00", report, rows, table)


def two_runs():
    """The first errs on 60 rows, the second on 20 of those and on 10 others, of 200."""
    labels = ["neg", "pos"] * 100
    other = {"neg": "pos", "pos": "neg"}
    first = [other[x] if i < 60 else x for i, x in enumerate(labels)]
    second = [other[x] if 40 <= i < 70 else x for i, x in enumerate(labels)]
    return rows_of(TEXTS, labels, first), rows_of(TEXTS, labels, second)


@pytest.mark.parametrize(("b", "c"), [(40, 10), (3, 9), (1, 0), (7, 7)])
def test_mcnemar_is_the_binomial_test(b, c):
    first = np.array([True] * b + [False] * c + [True, False])
    second = np.array([False] * b + [True] * c + [True, False])

    found = mcnemar(first, second)

    assert (found["b"], found["c"]) == (b, c)
    assert found["p"] == pytest.approx(binomtest(b, b + c).pvalue)


def test_mcnemar_of_equal_answers_tells_nothing():
    same = np.array([True, False])

    assert mcnemar(same, same) == {"b": 0, "c": 0, "p": 1.0}


def test_rows_are_paired_by_text_and_label_whatever_their_order():
    a = rows_of(["x", "y", "z", "x"], ["neg", "pos", "neg", "neg"], ["neg"] * 4)
    b = rows_of(["z", "x", "y", "x"], ["neg", "neg", "neg", "neg"], ["neg"] * 4)

    in_a, in_b = paired_rows(a, b)

    assert in_a.tolist() == [0, 2, 3]  # y has another label
    assert in_b.tolist() == [1, 0, 3]


def test_rows_are_paired_by_label_not_by_its_number():
    a = rows_of(["x"], ["pos"], ["pos"])
    b = rows_of(["x"], ["pos"], ["pos"], classes=("neg", "other", "pos"))

    assert [len(places) for places in paired_rows(a, b)] == [1, 1]


def test_comparison_counts_what_changed_and_tests_it():
    found = compare_reports(*map(run, two_runs()))

    assert found["n"] == 200
    assert (found["mcnemar"]["b"], found["mcnemar"]["c"]) == (10, 40)
    assert found["mcnemar"]["p"] == pytest.approx(binomtest(10, 50).pvalue)
    assert found["n_changed"] == 50
    assert len(found["changed"]) == 50
    assert found["metrics"]["accuracy"]["a"]["value"] == pytest.approx(0.7)
    assert found["metrics"]["accuracy"]["b"]["value"] == pytest.approx(0.85)
    assert found["metrics"]["accuracy"]["difference"]["value"] == pytest.approx(0.15)


def test_comparison_has_the_paired_interval():
    a, b = two_runs()

    found = compare_reports(run(a), run(b))

    expected = differences(measure(b.scored), measure(a.scored))
    for name, row in found["metrics"].items():
        assert row["difference"] == expected[name]


def test_comparison_the_other_way_round_is_its_mirror():
    a, b = map(run, two_runs())

    there, back = compare_reports(a, b), compare_reports(b, a)

    low, high = there["metrics"]["accuracy"]["difference"]["ci95"]
    assert back["metrics"]["accuracy"]["difference"]["ci95"] == pytest.approx(
        [-high, -low]
    )
    assert back["mcnemar"]["b"] == there["mcnemar"]["c"]


def test_comparison_of_runs_on_other_rows_is_over_what_both_scored():
    a, _ = two_runs()
    b = rows_of([*TEXTS[150:], "new"], ["neg", "pos"] * 25 + ["neg"], ["neg"] * 51)

    found = compare_reports(run(a), run(b))

    assert found["n"] == 50
    assert found["metrics"]["accuracy"]["a"]["value"] == 1.0
    assert found["metrics"]["accuracy"]["b"]["value"] == 0.5


def test_comparison_of_runs_without_common_rows_is_refused():
    a, _ = two_runs()
    b = rows_of(["new"], ["neg"], ["neg"])

    with pytest.raises(DataError, match="Compare runs on the same data and split"):
        compare_reports(run(a), run(b))


def test_texts_that_became_right_or_wrong_come_first():
    texts, labels = [f"t{i}" for i in range(300)], ["a"] * 300
    classes = ("a", "b", "c")
    first = rows_of(texts, labels, ["b"] * 290 + ["a"] * 10, classes)
    second = rows_of(texts, labels, ["c"] * 290 + ["b"] * 10, classes)

    found = compare_reports(run(first), run(second))

    assert found["n_changed"] == 300
    assert len(found["changed"]) == N_CHANGED
    assert {(row["a"], row["b"]) for row in found["changed"][:10]} == {("a", "b")}
    assert {(row["a"], row["b"]) for row in found["changed"][10:]} == {("b", "c")}


@pytest.mark.parametrize(
    ("value", "low", "high", "begins"),
    [
        (0.15, 0.09, 0.21, "The second run is better by 15.0 points of accuracy (95 %"),
        (-0.15, -0.21, -0.09, "The second run is worse by 15.0 points of accuracy"),
        (0.01, -0.02, 0.04, "The runs cannot be told apart: difference +1.0 points"),
        (0.0, 0.0, 0.0, "The runs cannot be told apart: difference +0.0 points"),
    ],
)
def test_verdict_says_whether_the_difference_is_real(value, low, high, begins):
    found = verdict(figure(value, low, high), {"b": 10, "c": 40, "p": 2.4e-05})

    assert found.startswith(begins)
    assert "only the first is right on 10 rows, only the second on 40" in found
    assert "McNemar p = 2.4e-05" in found


def test_previous_is_the_paired_difference_on_the_same_rows():
    before, now = two_runs()

    found = previous(now, before)

    assert found is not None
    assert found["difference"]["value"] == pytest.approx(0.15)
    assert found["mcnemar"]["c"] == 40
    assert found["n_changed"] == 50


def test_previous_on_other_rows_says_nothing():
    before, now = two_runs()
    fewer = rows_of(TEXTS[:199], (["neg", "pos"] * 100)[:199], ["neg"] * 199)

    assert previous(now, fewer) is None
    assert previous(fewer, before) is None


def test_markdown_of_a_comparison_holds_figures_and_texts():
    markdown = comparison_markdown(compare_reports(*map(run, two_runs())))

    about, metrics, changed = tables(markdown)
    assert about[2] == ["name", "films-1", "films-1"]
    assert metrics[2][0] == "accuracy"
    assert metrics[2][3].startswith("+0.150 (+0.0")
    assert len(changed) == 2 + 50
    assert "50 texts got another answer:" in markdown


def test_markdown_says_where_texts_are_gone():
    markdown = comparison_markdown(compare_reports(*map(run, two_runs())))

    assert tables(markdown)[2][2][0] == "(its data set is gone)"
    assert "None" not in markdown


def test_rows_that_only_one_run_answers_are_counted():
    rows, _ = two_runs()
    unsure = replace(rows, answered=np.arange(200) < 150)

    found = compare_reports(run(rows), run(unsure, "films-2"))

    assert found["coverage"] == {"a": 1.0, "b": 0.75, "only_a": 50, "only_b": 0}
    assert found["n_changed"] == 50
    assert {row["b"] for row in found["changed"]} == {"(no answer)"}
    text = comparison_markdown(found)
    assert "0.750 by the second; 50 rows only by the first" in text
    assert "50 texts got another answer, or none:" in text
    assert "Every text got the same answer" not in text
    assert compare_reports(run(rows), run(rows))["coverage"] is None


def test_rows_that_no_run_answers_are_no_change():
    rows, _ = two_runs()
    unsure = replace(rows, answered=np.arange(200) < 150)

    found = compare_reports(run(unsure), run(unsure, "films-2"))

    assert (found["n_changed"], found["coverage"]["b"]) == (0, 0.75)


def deciding(report_run, **asked):
    """Return a run with the costs of a rule."""
    costs = [[0.0, 10.0], [1.0, 0.0]]
    decision = {"asked": asked, "costs": costs if "costs" in asked else None}
    return replace(report_run, report={**report_run.report, "decision": decision})


def test_options_are_told_where_they_differ_and_the_same_costs_are_compared():
    paid = {"neg": {"neg": 0.0, "pos": 10.0}, "pos": {"neg": 1.0, "pos": 0.0}}
    first, second = map(run, two_runs())

    other = compare_reports(first, deciding(second, costs=paid, max_error=0.1))
    same = compare_reports(deciding(first, costs=paid), deciding(second, costs=paid))

    assert other["runs"][0]["costs"] is None
    assert other["runs"][1]["costs"] == "neg as pos 10, pos as neg 1"
    assert other["runs"][1]["max_error"] == 0.1
    assert "cost" not in other["metrics"]
    assert "| max\\_error | – | 0.1 |" in comparison_markdown(other)
    assert "costs" not in same["runs"][0]
    cost = same["metrics"]["cost"]  # of 60 errors 30 are dear, of 30 15
    assert (cost["a"]["value"], cost["b"]["value"]) == (330 / 200, 165 / 200)
    assert same["verdict"].startswith("By mean cost, answers of the second run cost l")
    assert "| mean cost | 1.650" in comparison_markdown(same)


def test_markdown_of_equal_runs_says_so():
    a, _ = two_runs()

    markdown = comparison_markdown(compare_reports(run(a), run(a)))

    assert "Every text got the same answer." in markdown

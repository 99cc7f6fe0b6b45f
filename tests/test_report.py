import json
import re
from copy import deepcopy

import numpy as np
import pytest

from pipeline.datasets.targets import class_numbers
from pipeline.evaluation.metrics import Scored, differences, figures, measure
from pipeline.report.conclusions import advice, conclusion, headline, summary, verdict
from pipeline.report.kinds import CLASSES
from pipeline.report.render import write_report
from pipeline.report.words import number
from tests.pages import Page

FORMS = ("report.json", "report.md", "report.html")


def figure(value, low, high):
    return {"value": value, "ci95": [low, high], "n": 40}


UNDEFINED = {"value": None, "ci95": None, "n": 40, "reason": "one class"}


def all_figures(accuracy):
    return {
        "accuracy": accuracy,
        "f1_macro": figure(0.7, 0.6, 0.8),
        "roc_auc": figure(0.85, 0.75, 0.95),
        "log_loss": figure(0.5, 0.4, 0.6),
    }


@pytest.fixture
def report():
    """A whole report, written by hand: 40 scored rows of two classes, 10 errors, two shown."""
    ours = all_figures(figure(0.75, 0.6, 0.86))
    tfidf = all_figures(figure(0.65, 0.495, 0.779))
    majority = all_figures(figure(0.5, 0.352, 0.648))
    return {
        "schema_version": 1,
        "dataset": {
            "name": "films",
            "source": {"files": {"train": "ab" * 32}},
        },
        "data": [["rows", "1,160 read"], ["labels", "neg 60, pos 1,060"]],
        "encoder": {
            "name": "some/encoder",
            "parameters": 66_362_880,
            "dim": 768,
            "pooling": "cls",
            "layer": -1,
            "max_length": 128,
            "recipe": "float32-v1",
            "mean_tokens": 12.5,
            "longest_tokens": 150,
            "rows_cut": 2,
            "tokens_cut": 30,
            "certificates": [
                {
                    "engine": "torch",
                    "version": "2.13.0",
                    "device": "cpu",
                    "capabilities": [],
                    "n": 1_024,
                    "scale": 3.5,
                    "largest": 0.01359,
                    "mean": 0.0017,
                    "cosine": 0.99995,
                    "smallest_cosine": 0.99988,
                    "batch_of_one": 1e-06,
                    "batch_orders": 2.34e-06,
                    "flips": 3,
                }
            ],
        },
        "split": {
            "mode": "official",
            "scored": "test",
            "n_fit": 1_120,
            "n_test": 40,
            "overlap": {
                "identical": 1,
                "contained": 2,
                "containing": 3,
                "n": 40,
                "share": 0.15,
            },
        },
        "head": {
            "C": 0.01,
            "search": [{"C": 0.01, "log_loss": 0.5, "accuracy": 0.75}],
            "converged": True,
            "n_iter": 12,
            "solver": "lbfgs",
            "float16": None,
        },
        "classes": ["neg", "pos"],
        "metrics": {"test": ours},
        "baselines": {"majority": majority, "tfidf_logreg": tfidf},
        "comparison": {
            "majority": all_figures(figure(0.25, 0.1, 0.4)),
            "tfidf_logreg": all_figures(figure(0.1, -0.05, 0.25)),
        },
        "per_class": [
            {
                "label": "neg",
                "n": 20,
                "predicted": 0,
                "precision": None,
                "recall": 0.0,
                "f1": 0.0,
            },
            {
                "label": "pos",
                "n": 20,
                "predicted": 40,
                "precision": 0.5,
                "recall": 1.0,
                "f1": 0.667,
            },
        ],
        "confusion": [[0, 20], [0, 20]],
        "unknown_labels": 0,
        "errors": [
            {
                "text": "not bad",
                "label": "pos",
                "predicted": "neg",
                "probability": 0.987,
                "split": "test",
                "line": 17,
            },
            {
                "text": "quite a film",
                "label": "neg",
                "predicted": "pos",
                "probability": 0.654,
                "split": "test",
                "line": 4,
            },
        ],
        "n_errors": 10,
        "published": [],
        "methods": CLASSES.methods,
        "run": {"previous": None},
    }


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


@pytest.fixture
def render(report, tmp_path):
    """Write the report after `changes` to it; return its Markdown and its HTML."""

    def write(**changes):
        write_report({**report, **changes}, tmp_path)
        return [(tmp_path / name).read_text(encoding="utf-8") for name in FORMS[1:]]

    return write


def tables(markdown):
    """Return the tables of a Markdown text as lists of rows of cells."""
    found: list[list[list[str]]] = [[]]
    for line in markdown.splitlines():
        if line.startswith("|"):
            found[-1].append([c.strip() for c in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif found[-1]:
            found.append([])
    return [table for table in found if table]


def test_number_shows_the_value_and_its_interval():
    assert number(figure(0.7684, 0.748, 0.78749)) == "0.768 (0.748 to 0.787)"


def test_number_shows_why_there_is_none():
    assert number(UNDEFINED) == "– (one class)"


def against_tfidf(report, value, low, high, **encoder):
    changed = deepcopy(report)
    changed["comparison"]["tfidf_logreg"]["accuracy"] = figure(value, low, high)
    changed["encoder"].update(encoder)
    return changed


def test_verdict_of_a_better_model(report):
    found = verdict(against_tfidf(report, 0.1, 0.02, 0.18), "tfidf_logreg")

    assert found == (
        "Better than TF-IDF + logistic regression by 10.0 points (95 % 2.0 to 18.0, paired)."
    )


def test_verdict_of_a_worse_model_says_what_to_try(report):
    found = verdict(against_tfidf(report, -0.1, -0.18, -0.02), "tfidf_logreg")

    assert found == (
        "Worse than TF-IDF + logistic regression by 10.0 points (95 % 2.0 to 18.0, paired): try --pooling mean."
    )


@pytest.mark.parametrize(
    ("value", "low", "high", "shown"),
    [
        (0.1, -0.05, 0.14, "+10.0 points (95 % -5.0 to +14.0, paired)"),
        (-0.1, -0.2, 0.0, "-10.0 points (95 % -20.0 to +0.0, paired)"),
        (0.1, 0.0, 0.2, "+10.0 points (95 % +0.0 to +20.0, paired)"),
    ],
)
def test_verdict_of_an_interval_with_zero_is_that_nothing_was_shown(
    report, value, low, high, shown
):
    found = verdict(against_tfidf(report, value, low, high), "tfidf_logreg")

    assert found == (
        f"Not distinguishable from TF-IDF + logistic regression: difference {shown}; try --pooling mean."
    )


def test_verdict_of_a_wide_interval_with_zero_asks_for_more_rows(report):
    found = verdict(against_tfidf(report, 0.1, -0.05, 0.25), "tfidf_logreg")

    assert found.endswith("; 40 scored rows cannot tell: score more.")


def against_majority(report, low, auc=None):
    """Return a report whose accuracy is 5 points above the majority class, with this lower bound."""
    figures = report["comparison"]["majority"]
    majority = {**figures, "accuracy": figure(0.05, low, 0.1)}
    changed = {**report, "comparison": {**report["comparison"], "majority": majority}}
    if auc is not None:
        test = {**report["metrics"]["test"], "roc_auc": auc}
        changed["metrics"] = {**report["metrics"], "test": test}
    return changed


def test_conclusion_is_first_whether_the_model_is_of_any_use(report):
    useless, useful = (
        conclusion(against_majority(report, low)) for low in (-0.01, 0.01)
    )

    assert useless.startswith(
        "Not shown to be better than always answering the most frequent label: difference +5.0 points (95 % -1.0 to"
    )
    assert useful == verdict(report, "tfidf_logreg")


def test_conclusion_says_where_the_scores_rank_backwards(report):
    backwards, chance = (
        conclusion(against_majority(report, -0.01, figure(0.3, 0.2, high)))
        for high in (0.4, 0.6)
    )

    assert backwards.endswith(
        "labels of the scored rows look swapped, or those of training."
    )
    assert "ROC AUC" not in chance


def test_verdict_names_the_baseline(report):
    found = verdict(report, "majority")

    assert found.startswith("Better than majority class by 25.0 points")


@pytest.mark.parametrize(
    ("pooling", "head", "expected"),
    [
        ("cls", {}, "try --pooling mean"),
        ("cls", {"blend": {}}, "try --pooling mean"),
        ("mean", {}, "try TrainHybrid, or another --encoder"),
        ("mean", {"blend": {}}, "try another --encoder, or more labelled rows"),
    ],
)
def test_advice_is_what_was_not_tried_yet(pooling, head, expected):
    assert advice({"encoder": {"pooling": pooling}, "head": head}) == expected


def test_headline_is_the_accuracy_beside_the_baselines(report):
    assert headline(report) == (
        "accuracy 0.750 (0.600 to 0.860) on 40 rows; majority class 0.500, TF-IDF + logistic regression 0.650"
    )


def test_summary_lists_every_metric_and_the_verdict(report):
    assert summary(report).splitlines() == [
        "40 test rows scored, 1,120 fitted on; value (95 % interval)",
        "accuracy  0.750 (0.600 to 0.860)",
        "macro F1  0.700 (0.600 to 0.800)",
        "ROC AUC   0.850 (0.750 to 0.950)",
        "log loss  0.500 (0.400 to 0.600)",
        verdict(report, "tfidf_logreg"),
    ]


def test_summary_of_a_random_split_says_that_train_rows_were_held_out(report):
    report["split"].update(mode="random", scored="train")

    first = summary(report).splitlines()[0]

    assert first.startswith("40 held-out rows scored")


def test_class_numbers_are_positions_and_minus_one_for_unknown_labels():
    assert class_numbers(["b", "a", "c"], ["a", "b"]).tolist() == [1, 0, -1]
    assert class_numbers([7, 3], [3, 7]).tolist() == [1, 0]


def test_report_json_is_strict_json_and_holds_the_whole_report(report, tmp_path):
    write_report(report, tmp_path)

    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=refuse) == report


def test_report_json_is_strict_json_for_a_test_set_of_one_class(report, tmp_path):
    write_report({**report, **of_one_class()}, tmp_path)

    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    loaded = json.loads(text, parse_constant=refuse)
    assert loaded["metrics"]["test"]["roc_auc"]["value"] is None


def test_report_with_nan_is_not_written(report, tmp_path):
    report["metrics"]["test"]["f1_macro"]["value"] = float("nan")

    with pytest.raises(ValueError, match="JSON"):
        write_report(report, tmp_path)

    assert list(tmp_path.iterdir()) == []


def test_report_json_does_not_depend_on_the_order_of_the_keys(report, tmp_path):
    write_report(report, tmp_path)
    first = (tmp_path / "report.json").read_bytes()

    write_report(dict(reversed(report.items())), tmp_path)

    assert (tmp_path / "report.json").read_bytes() == first


def test_report_takes_texts_with_lone_surrogates(report, tmp_path):
    report["errors"][0]["text"] = "a \ud800 b"

    write_report(report, tmp_path)

    json_text, markdown, html = (
        (tmp_path / name).read_text(encoding="utf-8") for name in FORMS
    )
    assert json.loads(json_text)["errors"][0]["text"] == "a \ud800 b"
    assert r"a \ud800 b" in markdown
    assert r"a \ud800 b" in html


def test_markdown_holds_every_metric_of_every_system(render):
    markdown, _ = render()

    assert tables(markdown)[0] == [
        ["metric", "this model", "TF-IDF + logistic regression", "majority class"],
        ["---"] * 4,
        [
            "accuracy",
            "0.750 (0.600 to 0.860)",
            "0.650 (0.495 to 0.779)",
            "0.500 (0.352 to 0.648)",
        ],
        ["macro F1", *["0.700 (0.600 to 0.800)"] * 3],
        ["ROC AUC", *["0.850 (0.750 to 0.950)"] * 3],
        ["log loss", *["0.500 (0.400 to 0.600)"] * 3],
    ]


def test_markdown_holds_confusion_classes_and_errors(render):
    markdown, _ = render()

    _, _, matrix, classes, errors, _ = tables(markdown)
    assert matrix == [
        [r"true \ predicted", "neg", "pos"],
        ["---"] * 3,
        ["**neg**", "0", "20"],
        ["**pos**", "0", "20"],
    ]
    assert classes[2:] == [
        ["neg", "20", "–", "0.000", "0.000"],
        ["pos", "20", "0.500", "1.000", "0.667"],
    ]
    assert errors[2:] == [
        ["not bad", "pos", "neg", "0.987", "test:17"],
        ["quite a film", "neg", "pos", "0.654", "test:4"],
    ]


NASTY = "a | b\nc\r\n`d` *e* _f_ [g](h) <script>i</script> \\"


def with_nasty_text(report):
    changed = deepcopy(report)
    changed["classes"] = ["neg", NASTY]
    changed["per_class"][1]["label"] = NASTY
    changed["data"][1] = ["labels", f"neg 60, {NASTY} 1,060"]
    changed["errors"][0].update(text=NASTY, label=NASTY, predicted="neg")
    return changed


def test_markdown_cells_cannot_break_a_table(report, render):
    markdown, _ = render(**with_nasty_text(report))

    for table in tables(markdown):
        assert {len(row) for row in table} == {len(table[0])}
    escaped = r"a \| b c \`d\` \*e\* \_f\_ \[g\](h) &lt;script&gt;i&lt;/script&gt; \\"
    assert tables(markdown)[4][2] == [escaped, escaped, "neg", "0.987", "test:17"]
    assert tables(markdown)[2][0][2] == escaped
    assert "<script" not in markdown


def test_html_shows_texts_and_labels_as_they_are(report, render):
    _, html = render(**with_nasty_text(report))

    page = Page(html)
    assert page.n_scripts == 1  # ours
    nasty = NASTY.replace("\r\n", "\n")
    assert page.texts.count(nasty) == 5  # matrix twice, class, text, label
    assert f"neg 60, {nasty} 1,060" in page.texts


def test_html_escapes_names_in_the_title(report, render):
    evil = '"><script>x</script>'
    report["dataset"]["name"] = report["encoder"]["name"] = evil

    _, html = render()

    page = Page(html)
    assert page.n_scripts == 1  # ours
    assert f"{evil}: {evil} + logistic regression" in page.texts


def test_html_takes_whole_number_labels(report, render):
    report["classes"] = [0, 1]
    for row, label in zip(report["per_class"], (0, 1), strict=True):
        row["label"] = label

    _, html = render()

    cells = [text for text in Page(html).texts if text in ("0", "1")]
    assert cells[:2] == ["0", "1"]


def test_html_elements_are_closed_in_order(report, render):
    _, html = render(**with_nasty_text(report))

    assert Page(html).open == []


def test_html_fetches_nothing(report, render):
    report["errors"][0]["text"] = "see http://example.com and https://example.com"

    _, html = render()

    page = Page(html)
    assert page.tags.isdisjoint({"link", "img", "iframe", "object", "base"})
    attributes = {name for _, attributes in page.elements for name in attributes}
    assert attributes.isdisjoint({"src", "srcset", "xlink:href", "data"})
    targets = [a["href"] for _, a in page.elements if "href" in a]
    assert all(target.startswith("#") for target in targets)
    assert not re.search(r"url\((?!#)|@import", html)


def test_html_draws_the_accuracy_of_each_system_to_scale(render):
    _, html = render()

    svg = html[html.index("<svg") : html.index("</svg>")]
    points = [
        float(x) for x in re.findall(r'<use href="#accuracy-m[^"]*" x="([\d.]+)"', svg)
    ]
    ours, tfidf, majority = points[:3]
    assert (ours - tfidf) / (tfidf - majority) == pytest.approx(0.1 / 0.15, abs=0.01)


def of_one_class():
    """Return the parts of a report that change where all scored rows have one label."""
    y = np.zeros(40, dtype=np.int64)
    ours = measure(Scored(y, np.tile([0.7, 0.3], (40, 1))))
    other = measure(Scored(y, np.tile([0.3, 0.7], (40, 1))))
    names = ("majority", "tfidf_logreg")
    return {
        "metrics": {"test": figures(ours)},
        "baselines": dict.fromkeys(names, figures(other)),
        "comparison": dict.fromkeys(names, differences(ours, other)),
        "confusion": [[40, 0], [0, 0]],
    }


def test_a_test_set_of_one_class_is_reported_with_the_reason(render):
    markdown, html = render(**of_one_class())

    reason = "– (the scored rows have fewer than two known classes)"
    assert tables(markdown)[0][4] == ["ROC AUC", *[reason] * 3]
    assert tables(markdown)[0][2][1] == "1.000 (0.912 to 1.000)"
    assert Page(html).texts.count(reason) == 3 + 2  # of each system, each difference


def test_summary_of_a_test_set_of_one_class_gives_the_reason(report):
    lines = summary({**report, **of_one_class()}).splitlines()

    assert lines[3] == "ROC AUC   – (the scored rows have fewer than two known classes)"


def test_published_figures_are_shown_only_where_there_are_some(render):
    row = {
        "system": "theirs",
        "metric": "accuracy",
        "value": 0.824,
        "rows": "500 | random",
        "source": "a paper",
    }
    without, with_one = render(), render(published=[row])

    assert not any("Published elsewhere" in form for form in without)
    assert tables(with_one[0])[1][2] == [
        "theirs",
        "accuracy",
        "0.824",
        r"500 \| random",
        "a paper",
    ]
    assert {"theirs", "0.824", "500 | random", "a paper"} <= set(
        Page(with_one[1]).texts
    )


def test_the_previous_run_is_shown_only_where_there_is_one(render):
    previous = {
        "when": "2026-01-02T03:04:05Z",
        "report": "reports/any-0123456789ab",
        "changed": ["C: 1.0 -> 0.1"],
        "accuracy": figure(0.7, 0.55, 0.82),
    }
    without, with_one = render(), render(run={"previous": previous})

    line = (
        "Previous run on this data: 2026-01-02T03:04:05Z (reports/any-0123456789ab), accuracy 0.700 (0.550 to 0.820). "
        "Changed since: C: 1.0"
    )
    assert not any("Previous run" in form for form in without)
    assert all(line in form for form in with_one)
    assert 'href="../../reports/any-0123456789ab/report.html"' in with_one[1]
    assert not any("any-0123456789ab" in form for form in without)


def test_unknown_labels_are_told_only_where_there_are_some(render):
    without, with_three = render(), render(unknown_labels=3)

    line = "3 scored rows have a label that no training row has; they count as wrong"
    assert not any("unknown labels" in form for form in without)
    assert all(line in form for form in with_three)


def test_a_head_that_did_not_converge_is_told(report, render):
    converged = render()

    not_converged = render(head={**report["head"], "converged": False, "search": []})

    line = "C = 0.01, found by cross-validation; converged after 12 iterations (lbfgs)"
    assert all(line in form for form in converged)
    line = "C = 0.01; NOT CONVERGED after 12 iterations (lbfgs)"
    assert all(line in form for form in not_converged)


def test_every_form_says_what_it_was_made_of(render):
    forms = render()

    for fact in (
        "1,160 read",
        "neg 60, pos 1,060",
        "official: 1,120 rows fitted on, 40 scored (test)",
        "some/encoder, 66,362,880 parameters, 768 features, layer -1, float32-v1",
        "The 2 most confident of 10 errors",
        "torch 2.13.0 on cpu beside float32 torch, 1,024 texts: features differ by 0.014 at most, 0.0017 on average; "
        "cosine at least 0.999880; a text alone 1e-06, in another order 2.3e-06; 3 of 1,024 labels flip",
    ):
        assert all(fact in form for form in forms)


def test_control_characters_of_the_data_do_not_reach_a_terminal(report, render):
    evil = "\x1b]0;owned\x07\x1b[31m \u202e"
    errors = [{**report["errors"][0], "text": evil}]

    markdown, _ = render(errors=errors)

    assert not set(markdown) & set("\x1b\x07\u202e")
    assert "owned" in markdown


def test_a_report_without_errors_is_rendered(render):
    markdown, html = render(errors=[], n_errors=0)

    assert "No errors." in markdown
    assert "No errors." in html
    assert Page(html).open == []


def test_verdict_of_two_perfect_systems_asks_for_a_harder_test():
    perfect = {"value": 1.0, "ci95": [0.8, 1.0], "n": 16}
    none = {"value": 0.0, "ci95": [0.0, 0.0], "n": 16}
    report = {
        "metrics": {"test": {"accuracy": perfect}},
        "comparison": {"tfidf_logreg": {"accuracy": none}},
    }

    assert "A larger or harder test" in verdict(report, "tfidf_logreg")

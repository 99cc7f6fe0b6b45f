"""Whole reports of several labels a row and of numbers: what the schema says, in every form, compared and carded."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from pipeline.config import HEADLINES
from pipeline.datasets.table import load_labels
from pipeline.errors import DataError
from pipeline.evaluation.kinds import scored_of
from pipeline.report import conclusions, findings, page, words
from pipeline.report.card import model_card
from pipeline.report.compare import RunReport, compare_reports, previous
from pipeline.report.kinds import KINDS, kind_of
from pipeline.report.render import (
    comparison_markdown,
    render_comparison,
    write_report,
)
from pipeline.report.scored import load_scored, save_scored
from tasks import promote
from tests.kinds import relabelled, report_of
from tests.pages import Page
from tests.test_report import refuse
from tests.test_report_sections import problems

NAMES = ["joy", "<i>calm</i>"]
OTHER_KINDS = ("multilabel", "regression")


def labels_of(task, artifacts):
    """Return labels that have something to do with the classes of the run."""
    (dataset,) = (artifacts / "datasets").iterdir()
    is_positive = load_labels(dataset) == "pos"
    chance = np.random.default_rng(0).random((2, len(is_positive)))
    if task == "regression":
        return np.round(2.0 * is_positive + chance[0], 2), []
    sets = np.empty(len(is_positive), dtype=object)
    joy, calm = is_positive ^ (chance[0] < 0.1), ~is_positive & (chance[1] < 0.5)
    for i in range(len(sets)):
        given = zip(NAMES, (joy[i], calm[i]), strict=True)
        sets[i] = tuple(name for name, has in given if has)
    return sets, NAMES


@pytest.fixture(scope="module")
def materials(trained_once, tmp_path_factory):
    """Return inputs and material of each kind, from one run."""
    artifacts = trained_once / "artifacts"
    return {
        task: relabelled(
            artifacts, tmp_path_factory.mktemp(task), *labels_of(task, artifacts)
        )
        for task in OTHER_KINDS
    }


@pytest.fixture(scope="module")
def reports(materials):
    return {task: report_of(*material) for task, material in materials.items()}


@pytest.fixture(scope="module")
def forms(reports, tmp_path_factory):
    """Write both reports; return the texts of every form."""
    found = {}
    for task, report in reports.items():
        folder = tmp_path_factory.mktemp(f"{task}-report")
        write_report(report, folder)
        found[task] = {
            ending: (folder / f"report.{ending}").read_text(encoding="utf-8")
            for ending in ("json", "md", "html")
        }
    return found


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_a_report_of_another_kind_is_what_the_schema_says(reports, forms, task):
    assert problems(reports[task]) == []
    json.loads(forms[task]["json"], parse_constant=refuse)


def test_metrics_are_those_of_the_kind(reports):
    for task in OTHER_KINDS:
        found = reports[task]
        assert set(found["metrics"]["test"]) == set(KINDS[task].names)
        for section in ("baselines", "comparison"):
            for figures in found[section].values():
                assert set(figures) == set(KINDS[task].names)


def test_sections_that_do_not_apply_are_null(reports):
    labels, values = reports["multilabel"], reports["regression"]

    assert [labels[key] for key in ("confusion", "thresholds", "values")] == [None] * 3
    nulls = ("per_class", "confusion", "calibration", "thresholds", "scores")
    assert [values[key] for key in nulls] == [None] * 5
    assert values["label_issues"] is values["n_errors"] is None
    assert labels["per_class"][0]["label"] == "joy"
    assert labels["learning_curve"]["points"][-1]["jaccard"]["value"] > 0
    assert values["learning_curve"]["points"][-1]["mae"]["value"] > 0


def test_errors_hold_given_and_answered_labels(reports):
    first = reports["multilabel"]["errors"][0]

    assert isinstance(first["label"], list)
    assert first["label"] != first["predicted"]
    assert 0.5 <= first["probability"] <= 1
    assert isinstance(first["nearest"][0]["label"], list)


def test_errors_of_numbers_are_the_largest(reports):
    errors = reports["regression"]["errors"]

    sizes = [abs(one["error"]) for one in errors]
    assert sizes == sorted(sizes, reverse=True)
    for one in errors:
        assert one["error"] == pytest.approx(one["predicted"] - one["label"])


def test_a_mistake_names_the_label_that_its_probability_is_of(reports, forms):
    for row in reports["multilabel"]["errors"]:
        name, is_answered = row["mistake"]["label"], row["mistake"]["is_answered"]
        assert (name in row["predicted"], name in row["label"]) == (
            is_answered,
            not is_answered,
        )
    said = findings.probability(reports["multilabel"]["errors"][0])
    assert said.endswith(f", {reports['multilabel']['errors'][0]['probability']:.3f}")
    assert "| surest mistake |" in forms["multilabel"]["md"]
    assert "mistake" not in reports["regression"]["errors"][0]


def test_a_constant_answer_is_compared_by_what_is_defined(reports):
    said = conclusions.verdict(reports["regression"], "mean")

    assert said.startswith("Not compared with training mean by Pearson r (")
    assert "; the differences of the others: R² +" in said
    assert "mean absolute error -" in said


def test_label_issues_of_sets_suggest_sets(reports):
    issues = reports["multilabel"]["label_issues"]

    assert issues["n"] == 0 or isinstance(issues["rows"][0]["suggested"], list)
    assert 0 < issues["error_rate"] < 1


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_every_form_names_metrics_baselines_and_model(reports, forms, task):
    kind = KINDS[task]
    for form in ("md", "html"):
        text = forms[task][form]
        for name in kind.names.values():
            assert name in text
        assert f"+ {kind.title}" in text
        assert words.baseline(kind.baseline) in text
    assert kind.headline_name in reports[task]["headline"]


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_pages_of_other_kinds_are_well_formed_and_escape_labels(forms, task):
    text = forms[task]["html"]

    Page(text)
    assert "<i>calm</i>" not in text


def test_a_further_baseline_stands_in_every_table_and_figure(reports, forms):
    report = page.whole(reports["regression"])

    assert words.baselines(report) == ["tfidf_ridge", "cosine_of_pairs", "mean"]
    assert "cosine of pairs" in page.drawings(report)["accuracy"].svg
    for form in ("md", "html"):
        assert forms["regression"][form].count("cosine of pairs") >= 3


def test_drawings_are_those_of_the_kind(reports):
    labels = set(page.drawings(page.whole(reports["multilabel"])))
    values = set(page.drawings(page.whole(reports["regression"])))

    shared = {"accuracy", "slices", "learning_curve", "map"}
    assert shared <= labels & values
    assert labels - values == {"calibration", "scores"}
    assert values - labels == {"values"}


def test_the_map_tells_sets_and_values(reports):
    labels, values = (
        json.loads(page.map_data(page.whole(reports[task]))) for task in OTHER_KINDS
    )

    assert {"joy", "(none)"} <= {one[2] for one in labels}
    assert all(one[2] == f"{float(one[2]):.3f}" for one in values)


def test_data_lines_tell_sets_and_quartiles(reports):
    labels, values = (dict(reports[task]["data"])["labels"] for task in OTHER_KINDS)

    assert "a row on average, none in" in labels
    assert "joy: " in labels
    assert "quartiles" in values


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_a_model_card_of_another_kind_is_one_that_the_hub_reads(reports, task):
    from huggingface_hub import ModelCard

    card: Any = ModelCard(model_card(reports[task]))

    (result,) = {one.task_type for one in card.data.eval_results}
    is_number = task == "regression"
    assert result == ("text-regression" if is_number else "text-classification")
    assert card.data.to_dict().get("pipeline_tag") == (None if is_number else result)
    names = [one.metric_name for one in card.data.eval_results]
    assert names[0].startswith(KINDS[task].headline_name)


def run_of(task, report, rows, name="films-1"):
    return RunReport(name=name, when=None, report=report, rows=rows)


@pytest.fixture
def rows(materials, reports, tmp_path):
    """Save and load the scored rows of each kind."""
    found = {}
    for task, (_, material) in materials.items():
        (tmp_path / task).mkdir()
        save_scored(material, tmp_path / task)
        found[task] = load_scored(tmp_path / task, reports[task]["classes"])
    return found


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_scored_rows_come_back(materials, rows, task):
    scored = materials[task][1].scored

    assert type(rows[task].scored) is type(scored)
    np.testing.assert_array_equal(rows[task].scored.y, scored.y)
    np.testing.assert_array_equal(rows[task].scored.outputs, scored.outputs)


def worse(rows):
    """Return the same rows with answers that have less to do with the truth."""
    outputs = rows.scored.outputs.copy()
    outputs[::2] = outputs[::2].mean(axis=0)
    return replace(rows, scored=scored_of(rows.scored.y, outputs))


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_runs_of_a_kind_are_compared_by_its_metrics(reports, rows, task):
    report, kind = reports[task], kind_of(reports[task])
    a, b = run_of(task, report, worse(rows[task])), run_of(task, report, rows[task])

    found = compare_reports(a, b)

    assert set(found["metrics"]) == set(kind.names)
    assert found["n"] == report["split"]["n_test"]
    assert kind.unit in found["verdict"]
    assert (found["mcnemar"] is None) == (task == "regression")
    for text in (comparison_markdown(found), render_comparison(found)):
        assert kind.headline_name in text
    Page(render_comparison(found))


@pytest.mark.parametrize("task", OTHER_KINDS)
def test_the_run_before_is_told_by_the_metric_of_its_kind(reports, rows, task):
    kind, report = kind_of(reports[task]), reports[task]
    found = previous(rows[task], worse(rows[task]))
    assert found is not None
    before = {
        "when": "2026-11-20",
        "key": "ab" * 32,
        "report": "reports/films-1",
        "changed": [],
        kind.headline: report["metrics"]["test"][kind.headline],
        **found,
    }
    run = {**report["run"], "previous": before}

    said = findings.previous({**report, "run": run})

    assert problems({**report, "run": run}) == []
    assert kind.headline_name in said
    assert kind.unit in said
    assert ("McNemar" in said) == (task == "multilabel")


def test_runs_of_different_kinds_are_not_compared(reports, rows):
    a, b = (run_of(task, reports[task], rows[task], task) for task in OTHER_KINDS)

    with pytest.raises(DataError, match="same data and --task"):
        compare_reports(a, b)


def test_answers_that_are_no_classes_are_not_promoted(reports, rows):
    run = run_of("regression", reports["regression"], rows["regression"])

    with pytest.raises(DataError, match="one class a row can be judged"):
        promote._classes_scored(run)


def test_unknown_labels_of_a_set_are_counted(materials):
    _, material = materials["multilabel"]
    labels = material.labels.copy()
    labels[material.test[0]] = ("unheard of",)

    assert replace(material, labels=labels).unknown.sum() == 1


def test_the_same_inputs_give_the_same_report(materials, reports):
    assert report_of(*materials["regression"]) == reports["regression"]


def test_every_kind_is_headed_by_the_metric_that_predictors_tell():
    assert {task: kind.headline for task, kind in KINDS.items()} == HEADLINES

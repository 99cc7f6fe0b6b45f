import json
import re

import pytest
from huggingface_hub import ModelCard, ModelCardData

from pipeline.report.card import model_card
from pipeline.storage import disk
from tests.reports import REPORTS, make_report, with_evil


def named(report, name):
    return {**report, "dataset": {**report["dataset"], "name": name}}


def results(report):
    """Return what the hub reads of a card's results."""
    data = ModelCard(model_card(report)).data
    assert isinstance(data, ModelCardData)
    return data.eval_results or []


@pytest.mark.parametrize("name", REPORTS)
def test_model_card_is_one_that_the_hub_reads(name):
    report = REPORTS[name]()

    card = ModelCard(model_card(report))

    known = [
        one for one in report["metrics"]["test"].values() if one["value"] is not None
    ]
    assert [one.metric_value for one in results(report)] == [
        round(one["value"], 4) for one in known
    ]
    assert card.data.to_dict()["pipeline_tag"] == "text-classification"


def test_model_card_says_where_the_results_are_from():
    (result, *_) = results(make_report())

    assert result.dataset_name == "sst2"
    assert result.dataset_split == "test"
    assert result.metric_name.startswith("accuracy, 0.677 (0.655 to")


def test_model_card_names_repositories_of_the_hub():
    report = make_report()
    report["dataset"]["source"] = {"hub": "stanfordnlp/sst2", "commit": "12" * 20}
    report["encoder"]["identity"] = {"hub": "some/encoder", "commit": "34" * 20}

    data = ModelCard(model_card(report)).data.to_dict()

    assert data["base_model"] == "some/encoder"
    assert data["datasets"] == ["stanfordnlp/sst2"]
    assert results(report)[0].dataset_revision == "12" * 20


def test_model_card_of_a_random_split_says_so():
    report = make_report()
    report["split"].update(mode="random", scored="train")

    (result, *_) = results(report)

    assert result.dataset_split == "held out at random"


@pytest.mark.parametrize("name", ["a: b\n---\nc", "'\"{[#&*!|>%@`", "\ud800", "内容"])
def test_model_card_takes_any_name(name):
    text = model_card(named(make_report(), name))

    card = ModelCard(text.encode("utf-8", "backslashreplace").decode())
    found = card.data.to_dict()["model-index"][0]["name"]
    assert found == f"{name}: minilm [mean] + logistic regression"
    assert "## Evaluation" in card.text


def test_model_card_holds_no_text_of_the_data():
    report = make_report()

    text = model_card(report)

    assert not any(row["text"] in text for row in report["errors"])


def test_markup_in_the_data_stays_text_in_the_card():
    text = ModelCard(model_card(with_evil(make_report(14, 100)))).text

    outside = re.sub(r"```.*?```", "", text, flags=re.S)
    assert "<script" not in outside
    assert "<img" not in outside


def test_model_card_does_not_depend_on_the_run():
    report = make_report()
    again = {**report, "run": {"previous": None, "seconds": {"model": 99.0}}}

    assert model_card(report) == model_card(again)


def test_model_card_names_twenty_labels_at_most():
    text = model_card(REPORTS["seventy-seven"]())

    assert "intent\\_number\\_19 and 57 more." in text


def test_a_run_leaves_a_card_beside_the_predictor(trained):
    latest = trained.artifacts / "latest"
    report = json.loads(disk.read(latest / "report.json"))

    assert (latest / "model_card.md").read_text(encoding="utf-8") == model_card(report)

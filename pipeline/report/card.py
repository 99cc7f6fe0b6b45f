"""The model card beside a predictor, in the form of the Hugging Face hub."""

from typing import Any

import yaml

from pipeline.report import page, tables, words
from pipeline.report.kinds import VALUES, kind_of
from pipeline.report.render import render

Json = dict[str, Any]  # Any: JSON values
# What the hub calls the metrics, https://huggingface.co/docs/hub/model-cards
HUB_METRICS: dict[str, Json] = {
    "accuracy": {"type": "accuracy"},
    "f1_macro": {"type": "f1", "args": {"average": "macro"}},
    "roc_auc": {"type": "roc_auc"},
    "log_loss": {"type": "log_loss"},
    "matthews": {"type": "matthews_correlation"},
    "f1_micro": {"type": "f1", "args": {"average": "micro"}},
    "jaccard": {"type": "jaccard"},
    "subset_accuracy": {"type": "subset_accuracy"},
    "roc_auc_micro": {"type": "roc_auc", "args": {"average": "micro"}},
    "roc_auc_micro_thresholded": {"type": "roc_auc_of_answers"},
    "pearson": {"type": "pearsonr"},
    "spearman": {"type": "spearmanr"},
    "r2": {"type": "r_squared"},
    "mae": {"type": "mae"},
}
CLASSIFICATION = {"type": "text-classification", "name": "Text classification"}
REGRESSION = {"type": "text-regression", "name": "Text regression"}
MOST_LABELS = 20  # of them all are named


def model_card(report: Json) -> str:
    """Return the card: a YAML head with the results (``model-index``), then text.

    Parameters
    ----------
    report : dict
        ``report.json``. Nothing is taken from its ``run``, so the same inputs give the same card.
    """
    whole = page.whole(report)
    # what was measured of engines is no part of what made it, and may come to differ
    encoder = {**whole["encoder"], "certificates": []}
    whole = {**whole, "encoder": encoder, "run": page.NO_RUN}
    head = yaml.safe_dump(
        _metadata(whole), allow_unicode=True, sort_keys=False, width=1_000
    )
    labels = [str(label) for label in whole["classes"]]
    return render(
        "model_card.md.j2",
        head=head,
        report=whole,
        kind=kind_of(whole),
        made=tables.made(whole),
        tables=tables.tables(whole),
        labels=labels[: tables.first(len(labels), MOST_LABELS)],
        n_more=len(labels) - tables.first(len(labels), MOST_LABELS),
        noun=words.noun(whole),
    )


def _metadata(report: Json) -> Json:
    """Return what the hub reads of a card."""
    encoder, dataset = report["encoder"], report["dataset"]
    task = _task(report)
    # the hub has no task of its own for numbers
    tag = {} if task == REGRESSION else {"pipeline_tag": task["type"]}
    title = kind_of(report).title.split(" for ")[0]
    names = words.metrics(report)
    data_repo = dataset["source"].get("hub")
    base = encoder["identity"].get("hub")
    return {
        **({"base_model": base} if base else {}),
        **({"datasets": [data_repo]} if data_repo else {}),
        "library_name": "frostbert",
        **tag,
        "tags": [task["type"], title.replace(" ", "-"), "frozen-features"],
        "metrics": list(dict.fromkeys(HUB_METRICS[key]["type"] for key in names)),
        "model-index": [{"name": _name(report), "results": [_result(report)]}],
    }


def _task(report: Json) -> Json:
    return REGRESSION if kind_of(report) is VALUES else CLASSIFICATION


def _name(report: Json) -> str:
    encoder = report["encoder"]
    return f"{report['dataset']['name']}: {encoder['name']} [{encoder['pooling']}] + {words.model(report)}"


def _result(report: Json) -> Json:
    dataset, split = report["dataset"], report["split"]
    source = dataset["source"]
    revision = {"revision": source["commit"]} if source.get("commit") else {}
    measured = report["metrics"]["test"]
    return {
        "task": _task(report),
        "dataset": {
            "name": dataset["name"],
            "type": source.get("hub") or dataset["name"],
            "split": split["scored"]
            if split["mode"] == "official"
            else "held out at random",
            **revision,
        },
        "metrics": [
            {
                **HUB_METRICS[key],
                "value": round(measured[key]["value"], 4),
                "name": f"{name}, {words.number(measured[key])}",
            }
            for key, name in words.metrics(report).items()
            if measured[key]["value"] is not None
        ],
    }

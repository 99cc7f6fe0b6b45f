"""Gathers what the stages left into one JSON object, ``report.json``.

Schema 1. Everything but ``run`` is a function of the inputs: the same inputs give the same JSON.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import EncoderSpec
from pipeline.datasets.table import StoredTexts, load_labels
from pipeline.evaluation.metrics import (
    Scored,
    confusion,
    differences,
    figures,
    measure,
    most_confident_errors,
)
from pipeline.evaluation.published import published_figures
from pipeline.features.stored import StoredFeatures
from pipeline.heads.head import Head, load_head
from pipeline.heads.streaming import score_stored
from pipeline.report.data import data_lines
from pipeline.report.rounding import float16_effect
from pipeline.report.words import headline, summary
from pipeline.storage import disk, read_manifest

SCHEMA_VERSION = 1
N_ERRORS = 20
TEXT_LIMIT = 600  # characters of an error's text
BASELINES = ("majority", "tfidf_logreg")
METHODS = {
    "accuracy": "95 % Wilson interval",
    "f1_macro": "95 % percentile bootstrap over rows, 1,000 resamples, fixed seed; mean over the classes that occur",
    "roc_auc": "as f1_macro; more than two classes: mean of one against the rest",
    "log_loss": "as f1_macro; natural logarithm",
    "comparison": "ours minus the baseline on the same rows, paired percentile bootstrap",
}

Json = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True)
class ReportInputs:
    """Where the stages' results lie, and what they are called.

    Attributes
    ----------
    dataset, split, features, model, baselines : Path
        Published directories.
    root : Path
        The artifacts folder.
    name : str
        The data set's short name.
    spec : EncoderSpec
    identity : dict
        Of the encoder, as in its key.
    """

    dataset: Path
    split: Path
    features: Path
    model: Path
    baselines: Path
    root: Path
    name: str
    spec: EncoderSpec
    identity: Json


def build_report(inputs: ReportInputs) -> Json:
    """Return the report without its ``run`` object.

    Raises
    ------
    CacheError
        If a stage's files are damaged.
    """
    head = load_head(inputs.model)
    test = disk.load_array(inputs.split / "test.npy")
    labels = load_labels(inputs.dataset)[test].tolist()
    y = class_numbers(labels, head.classes)
    features = StoredFeatures.of(inputs.features, inputs.root).subset(test)
    ours = Scored(y, score_stored(head, features))
    measured = measure(ours)
    others = {
        name: measure(Scored(y, disk.load_array(inputs.baselines / f"{name}.npy")))
        for name in BASELINES
    }
    facts = read_manifest(inputs.dataset)["facts"]
    report: Json = {
        "schema_version": SCHEMA_VERSION,
        "dataset": {"name": inputs.name, "source": facts["source"], **facts["ledger"]},
        "encoder": _encoder(inputs),
        "split": _split(inputs),
        "head": {
            **head.params(),
            "n_features": len(head.mean),
            "float16": float16_effect(head, features)
            if inputs.spec.feature_dtype == "float16"
            else None,
        },
        "classes": head.classes,
        "metrics": {"test": figures(measured)},
        "baselines": {name: figures(other) for name, other in others.items()},
        "comparison": {
            name: differences(measured, other) for name, other in others.items()
        },
        "baseline_details": read_manifest(inputs.baselines)["facts"]["tfidf_logreg"],
        "per_class": _per_class(ours, head),
        "confusion": confusion(ours),
        "unknown_labels": int((y < 0).sum()),
        "errors": _errors(ours, head, labels, test, StoredTexts(inputs.dataset)),
        "n_errors": int((ours.predicted != ours.y).sum()),
        "published": [asdict(figure) for figure in published_figures(facts["source"])],
        "methods": METHODS,
    }
    return {
        **report,
        "data": data_lines(report),
        "headline": headline(report),
        "summary": summary(report),
    }


def class_numbers(
    labels: list[Any], classes: list[str] | list[int]
) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the position of each label in `classes`; -1 where it is none of them."""
    positions = {label: i for i, label in enumerate(classes)}
    return np.array([positions.get(label, -1) for label in labels], dtype=np.int64)


def _encoder(inputs: ReportInputs) -> Json:
    facts = read_manifest(inputs.features)["facts"]
    encoder = read_manifest(inputs.features.parent.parent / "encoder")["facts"]
    model = read_manifest(inputs.model)["facts"]
    return {
        "name": inputs.spec.encoder,
        "identity": inputs.identity,
        "files": encoder["files"],
        "parameters": encoder["parameters"],
        "dim": facts["dim"],
        "pooling": inputs.spec.pooling,
        "layer": inputs.spec.layer,
        "max_length": inputs.spec.max_length,
        "recipe": inputs.spec.recipe,
        "feature_dtype": inputs.spec.feature_dtype,
        "certificates": model["certificates"],
        "rows": facts["rows"],
        **facts["tokens"],
    }


def _split(inputs: ReportInputs) -> Json:
    facts = read_manifest(inputs.split)["facts"]
    return {
        name: facts[name] for name in ("mode", "scored", "n_fit", "n_test", "overlap")
    }


def _per_class(scored: Scored, head: Head) -> list[Json]:
    rows = []
    for i, label in enumerate(head.classes):
        truth, guess = scored.y == i, scored.predicted == i
        hits = int((truth & guess).sum())
        n, said = int(truth.sum()), int(guess.sum())
        rows.append(
            {
                "label": label,
                "n": n,
                "predicted": said,
                "precision": hits / said if said else None,
                "recall": hits / n if n else None,
                "f1": 2 * hits / (n + said) if n + said else None,
            }
        )
    return rows


def _errors(
    scored: Scored,
    head: Head,
    labels: list[Any],  # Any: str or int
    test: "np.ndarray[Any, np.dtype[np.int64]]",
    texts: StoredTexts,
) -> list[Json]:
    """Return the wrong answers that the model was surest of."""
    wrong = most_confident_errors(scored, N_ERRORS)
    return [
        {
            "text": row.text
            if len(row.text) <= TEXT_LIMIT
            else row.text[: TEXT_LIMIT - 1] + "…",
            "label": labels[i],
            "predicted": head.classes[int(scored.predicted[i])],
            "probability": float(scored.proba[i, int(scored.predicted[i])]),
            "split": row.split,
            "line": row.line,
        }
        for i, row in zip(wrong.tolist(), texts.at(test[wrong].tolist()), strict=True)
    ]

"""Gathers what the stages left into one JSON object, ``report.json``, which ``report.schema.json`` describes.

Everything but ``run`` is a function of the inputs: the same inputs give the same JSON.
"""

from dataclasses import asdict

from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.histograms import score_histograms
from pipeline.evaluation.metrics import (
    Scored,
    confusion,
    differences,
    figures,
    measure,
)
from pipeline.evaluation.published import published_figures
from pipeline.evaluation.resampling import Clusters
from pipeline.evaluation.thresholds import thresholds
from pipeline.heads.head import Head
from pipeline.heads.objective import one_blas_thread
from pipeline.report.advice import advise
from pipeline.report.curve import curve
from pipeline.report.data import data_lines
from pipeline.report.decision import decision
from pipeline.report.failures import errors, slices, suspects, text_map
from pipeline.report.material import Json, Material, ReportInputs
from pipeline.report.reproduce import reproduce
from pipeline.report.rounding import float16_effect
from pipeline.report.words import headline, summary
from pipeline.storage import disk, read_manifest

SCHEMA_VERSION = 2
BASELINES = ("majority", "tfidf_logreg")
METHODS = {
    "accuracy": "95 % Wilson interval",
    "f1_macro": "95 % percentile bootstrap over rows, 1,000 resamples, fixed seed; mean over the classes that occur",
    "roc_auc": "as f1_macro; more than two classes: mean of one against the rest",
    "log_loss": "as f1_macro; natural logarithm",
    "comparison": (
        "ours minus the baseline on the same rows, paired percentile bootstrap; for accuracy, where fewer than 10 rows "
        "differ, Newcombe's paired interval"
    ),
}
CLUSTERED = {
    "accuracy": "95 % percentile bootstrap over clusters of rows whose texts are contained in each other",
    "f1_macro": METHODS["f1_macro"].replace("over rows", "over the same clusters"),
}


def build_report(inputs: ReportInputs, material: Material) -> Json:
    """Return the report without its ``run`` object.

    Parameters
    ----------
    inputs : ReportInputs
    material : Material
        What `Material.load` made of the inputs.

    Raises
    ------
    CacheError
        If a stage's files are damaged.
    """
    # One thread: the fits are small, sums have one order whatever the machine, and busy cores do no harm.
    with one_blas_thread():
        return _build(inputs, material)


def _build(inputs: ReportInputs, material: Material) -> Json:
    ours, clusters, head = material.scored, material.clusters, material.head
    measured = measure(ours, clusters)
    others = {
        name: measure(
            Scored(ours.y, disk.load_array(inputs.baselines / f"{name}.npy")), clusters
        )
        for name in BASELINES
    }
    manifest = read_manifest(inputs.dataset)
    facts, limit = manifest["facts"], manifest["key_fields"]["limit"]
    report: Json = {
        "schema_version": SCHEMA_VERSION,
        "dataset": {
            "name": inputs.name,
            "source": facts["source"],
            **({"limit": limit} if limit else {}),
            **facts["ledger"],
        },
        "encoder": _encoder(inputs),
        "split": _split(inputs),
        "head": {
            **head.params(),
            "n_features": len(head.mean),
            "float16": float16_effect(head, material.features.subset(material.test))
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
        "clusters": _clusters(clusters),
        "per_class": _per_class(ours, head),
        "confusion": confusion(ours),
        "calibration": calibration(ours, clusters),
        "decision": decision(inputs, material),
        "thresholds": thresholds(ours, head.classes),
        "scores": score_histograms(ours, head.classes),
        "slices": slices(
            material, inputs.spec.max_length, facts["ledger"].get("slice_column")
        ),
        "learning_curve": curve(material),
        "label_issues": suspects(material),
        "map": text_map(material),
        "unknown_labels": int((ours.y < 0).sum()),
        "errors": errors(material),
        "n_errors": int((ours.predicted != ours.y).sum()),
        "published": [asdict(figure) for figure in published_figures(facts["source"])],
        "methods": METHODS
        if clusters.n == len(clusters.of)
        else {**METHODS, **CLUSTERED},
        "reproduce": reproduce(inputs.command),
    }
    return {
        **report,
        "data": data_lines(report),
        "headline": headline(report),
        "summary": summary(report),
        "advice": advise(report),
    }


def _clusters(clusters: Clusters) -> Json:
    return {
        "n": clusters.n,
        "method": (
            "texts that are equal but for case and spaces, or of at least three words and contained in another, form "
            "one cluster; where there are fewer clusters than rows, intervals resample clusters"
        ),
    }


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

"""Gathers what the stages left into one JSON object, ``report.json``, which ``report.schema.json`` describes.

Everything but ``run`` is a function of the inputs: the same inputs give the same JSON.
"""

from dataclasses import asdict

from pipeline.encoder.pairs import SEPARATE
from pipeline.evaluation.calibration import calibration
from pipeline.evaluation.histograms import score_histograms
from pipeline.evaluation.kinds import AnyScored, scored_of
from pipeline.evaluation.metrics import (
    Scored,
    confusion,
    differences,
    figures,
    measure,
)
from pipeline.evaluation.per_class import per_class
from pipeline.evaluation.published import published_figures
from pipeline.evaluation.resampling import Clusters
from pipeline.evaluation.residuals import residuals
from pipeline.evaluation.thresholds import thresholds
from pipeline.evaluation.values import ScoredValues
from pipeline.features.stored import pair_encoding_of
from pipeline.heads.objective import one_blas_thread
from pipeline.report.advice import advise
from pipeline.report.conclusions import headline, summary
from pipeline.report.cosine import cosine_outputs
from pipeline.report.curve import curve
from pipeline.report.data import data_lines
from pipeline.report.decision import decision
from pipeline.report.failures import errors, slices, suspects, text_map
from pipeline.report.kinds import KINDS
from pipeline.report.material import Json, Material, ReportInputs
from pipeline.report.models import cascade, with_words
from pipeline.report.reproduce import reproduce
from pipeline.report.rounding import float16_effect
from pipeline.storage import disk, read_manifest

SCHEMA_VERSION = 2
SECTIONS = (
    *("per_class", "confusion", "calibration", "thresholds", "scores", "values"),
)


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
    outputs = {
        path.stem: disk.load_array(path)
        for path in sorted(inputs.baselines.glob("*.npy"))
    }
    rule = decision(inputs, material, outputs)
    words = with_words(material, measured, outputs)
    cosine = cosine_outputs(material)
    if cosine is not None:
        outputs["cosine"] = cosine
    others = {
        name: measure(scored_of(ours.y, found), clusters)
        for name, found in outputs.items()
    }
    kind = KINDS[head.task]
    pair_encoding = pair_encoding_of(inputs.features[-1])
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
            "n_features": len(head.mean) - head.n_terms,
            "float16": float16_effect(head, material.features.subset(material.test))
            # what is rounded is not |u - v| itself, nor compared with a threshold: then nobody can say
            if inputs.spec.feature_dtype == "float16"
            and head.classes
            and head.rule is None
            and head.blend is None
            and pair_encoding != SEPARATE
            else None,
        },
        "classes": head.classes,
        "metrics": {"test": figures(measured)},
        "baselines": {name: figures(other) for name, other in others.items()},
        "comparison": {
            name: differences(measured, other) for name, other in others.items()
        },
        "baseline_details": read_manifest(inputs.baselines)["facts"].get(
            kind.baseline, {}
        ),
        "clusters": _clusters(clusters, has_pairs=pair_encoding is not None),
        **_answers(ours, clusters, head.classes),
        "decision": rule,
        "with_words": words,
        "cascade": cascade(inputs, material, measured),
        "slices": slices(
            material, inputs.spec.max_length, facts["ledger"].get("slice_column")
        ),
        "learning_curve": curve(material),
        "label_issues": suspects(material),
        "map": text_map(material),
        "unknown_labels": int(material.unknown.sum()),
        "errors": errors(material),
        "n_errors": None if ours.right is None else int((~ours.right).sum()),
        "published": [asdict(figure) for figure in published_figures(facts["source"])],
        "methods": kind.methods if clusters.n == len(clusters.of) else kind.clustered(),
        "reproduce": reproduce(inputs.command),
    }
    return {
        **report,
        "data": data_lines(report),
        "headline": headline(report),
        "summary": summary(report),
        "advice": advise(report),
    }


def _clusters(clusters: Clusters, *, has_pairs: bool) -> Json:
    shared = ", as do pairs that share one of at least three words" if has_pairs else ""
    return {
        "n": clusters.n,
        "method": (
            "texts that are equal but for case and spaces, or of at least three words and contained in another, form "
            f"one cluster{shared}; where there are fewer clusters than rows, intervals resample clusters"
        ),
    }


def _encoder(inputs: ReportInputs) -> Json:
    last, layers = inputs.features[-1], list(inputs.spec.layers)
    facts = read_manifest(last)["facts"]
    encoder = read_manifest(last.parent.parent / "encoder")["facts"]
    model = read_manifest(inputs.model)["facts"]
    return {
        "name": inputs.spec.encoder,
        "identity": inputs.identity,
        "files": encoder["files"],
        "parameters": encoder["parameters"],
        "dim": encoder["dim"],
        "pooling": inputs.spec.pooling,
        **({"pair_encoding": pairs} if (pairs := facts.get("pair_encoding")) else {}),
        "layer": layers[0] if len(layers) == 1 else layers,
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


def _answers(
    scored: AnyScored, clusters: Clusters, classes: list[str] | list[int]
) -> Json:
    """Return the sections on answers of a kind; None for those of other kinds."""
    found: Json = dict.fromkeys(SECTIONS)
    if isinstance(scored, ScoredValues):
        return {**found, "values": residuals(scored, clusters)}
    found |= {
        "per_class": per_class(scored, classes),
        "calibration": calibration(scored, clusters),
        "scores": score_histograms(scored, classes),
    }
    if isinstance(scored, Scored):
        found |= {
            "confusion": confusion(scored),
            "thresholds": thresholds(scored, classes),
        }
    return found

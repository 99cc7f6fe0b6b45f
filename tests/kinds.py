"""Reports of other kinds of label, made from the stages of a finished run on classes: the same texts, other labels."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import EncoderSpec, HeadSpec
from pipeline.datasets.targets import targets_of
from pipeline.evaluation.kinds import scored_of
from pipeline.heads.head import Head
from pipeline.heads.objective import usable_scale
from pipeline.heads.quick import quick_outputs
from pipeline.report.build import build_report
from pipeline.report.material import Material, ReportInputs
from pipeline.storage import read_manifest
from pipeline.storage.manifest import digest_of

Json = dict[str, Any]
RUN: Json = {"pooling_source": None, "encoding": None, "previous": None, "seconds": {}}
SPEC = HeadSpec(C=0.1)


def inputs_of(artifacts: Path) -> ReportInputs:
    """Return the stages of the only run in a folder of artifacts."""
    (dataset,), (split,), (model,), (baselines,) = (
        list((artifacts / name).iterdir())
        for name in ("datasets", "splits", "models", "baselines")
    )
    (features,) = (artifacts / "features").glob("*/datasets/*")
    return ReportInputs(
        dataset=dataset,
        split=split,
        features=(features,),
        terms=None,
        model=model,
        baselines=baselines,
        root=artifacts,
        name="films",
        spec=EncoderSpec(pooling="mean"),
        identity={"files": {}},
        command="luigi --module tasks TrainLogReg --dataset films.tsv",
    )


def fit_linear(material: Material, targets: np.ndarray, names: list[str]) -> Head:
    """Return a head of several labels or of numbers: least squares on what `quick_outputs` answers, exactly linear."""
    features = material.features.take(material.fit).astype(np.float64)
    mean, scale = (
        features.mean(axis=0),
        usable_scale(features.mean(axis=0), features.std(axis=0), len(features)),
    )
    outputs = quick_outputs(
        material.features.take(material.fit),
        targets,
        material.features.take(material.fit),
        SPEC,
        len(names),
    )
    is_labels = targets.dtype == np.bool_
    scores = (
        np.log(outputs.clip(1e-6) / (1 - outputs).clip(1e-6)) if is_labels else outputs
    )
    x = np.column_stack([(features - mean) / scale, np.ones(len(features))])
    solved = np.linalg.lstsq(x, scores, rcond=None)[0]  # (d + 1, k)
    return replace(
        material.head,
        task="multilabel" if is_labels else "regression",
        classes=list(names),
        mean=mean,
        scale=scale,
        coef=solved[:-1].T,
        intercept=solved[-1],
        C=float(SPEC.C),
        search=[],
    )


def ledger_of(material: Material, labels: np.ndarray, names: list[str]) -> Json:
    """Return what the ledger says of labels of such a kind."""
    given = labels[material.fit]
    if labels.dtype == np.float64:
        return {
            "train_values": {
                "n": len(given),
                "min": float(given.min()),
                "quartiles": np.quantile(given, [0.25, 0.5, 0.75]).tolist(),
                "mean": float(given.mean()),
                "max": float(given.max()),
            }
        }
    matrix = targets_of(given, "multilabel", names)
    counts = zip(names, matrix.sum(axis=0).tolist(), strict=True)
    return {
        "train_labels": dict(counts),
        "train_sets": {
            "mean_labels": float(matrix.sum(axis=1).mean()),
            "without": int((~matrix.any(axis=1)).sum()),
        },
    }


def relabelled(
    artifacts: Path, folder: Path, labels: np.ndarray, names: list[str]
) -> tuple[ReportInputs, Material]:
    """Return a run's stages with other labels: tuples of `names`, or numbers.

    Parameters
    ----------
    artifacts : Path
        Of one finished run on classes.
    folder : Path
        For the stages that differ.
    labels : ndarray, shape (n,)
        Of all rows of the data set.
    names : list of str
        Empty for numbers.
    """
    inputs = inputs_of(artifacts)
    material = Material.load(inputs)
    task = "multilabel" if names else "regression"
    targets = targets_of(labels, task, names)
    fitted, scored = targets[material.fit], targets[material.test]
    head = fit_linear(material, fitted, names)
    outputs = head.outputs(material.features.take(material.test))

    manifest = read_manifest(inputs.dataset)
    texts = manifest["facts"]["ledger"]["texts"]
    for gone in ("train_labels", "labels"):
        texts.pop(gone, None)
    texts |= ledger_of(material, labels, names)
    dataset, baselines = folder / "dataset", folder / "baselines"
    shutil.copytree(inputs.dataset, dataset)
    write_manifest(dataset, manifest)
    baselines.mkdir()
    floor = fitted.mean(axis=0) * np.ones_like(outputs)
    kinds = (
        ("majority", "tfidf_logreg")
        if names
        else ("mean", "tfidf_ridge", "cosine_of_pairs")
    )
    for name, found in zip(
        kinds, (floor, (floor + outputs) / 2, -outputs), strict=False
    ):
        np.save(baselines / f"{name}.npy", found)
    about = {
        "format": manifest["format"],
        "files": {},
        "facts": {kinds[1]: {"terms": 5}},
    }
    write_manifest(baselines, about)
    return (
        replace(inputs, dataset=dataset, baselines=baselines),
        replace(material, head=head, labels=labels, scored=scored_of(scored, outputs)),
    )


def write_manifest(directory: Path, manifest: Json) -> None:
    sealed = {**manifest, "digest": digest_of(manifest)}
    (directory / "manifest.json").write_text(json.dumps(sealed), encoding="utf-8")


def report_of(inputs: ReportInputs, material: Material) -> Json:
    """Return the whole report, as it is written."""
    report = {**build_report(inputs, material), "run": RUN}
    text = json.dumps(report, allow_nan=False, sort_keys=True)
    found: Json = json.loads(text)
    return found

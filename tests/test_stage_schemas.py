"""A stage's source may change only together with a decision about its schema.

When this fails: decide whether the stage now means something else for the same key. If so, raise its schema.
Then record the decision: ``python -m tests.test_stage_schemas``.
"""

import hashlib
import json
from pathlib import Path

import tasks
from pipeline.config import RECIPES
from pipeline.encoder import identity
from pipeline.features import keys
from tasks.base import Stage

ROOT = Path(__file__).resolve().parents[1]
RECORD = Path(__file__).with_name("stage_schemas.json")
SOURCES = {
    "PrepareDataset": [
        "tasks/dataset.py",
        *(
            f"pipeline/datasets/{name}.py"
            for name in (
                "checks",
                "columns",
                "files",
                "hubsets",
                "ledger",
                "prepare",
                "quoted",
                "raw",
                "sources",
                "table",
                "text",
                "text_cells",
                "typed",
            )
        ),
    ],
    "SplitDataset": ["tasks/split.py", "pipeline/splitting.py", "pipeline/pairs.py"],
    "ExtractFeatures": [
        "tasks/features.py",
        "pipeline/features/keys.py",
        "pipeline/features/index.py",
        "pipeline/features/shards.py",
        "pipeline/features/store.py",
        "pipeline/features/stored.py",
        "pipeline/features/part.py",
        "pipeline/features/extract.py",
        "pipeline/features/loading.py",
        "pipeline/features/texts.py",
        "pipeline/features/worker.py",
        "pipeline/encoder/frozen.py",
        "pipeline/encoder/batching.py",
        "pipeline/encoder/checkpoint.py",
        "pipeline/encoder/bert.py",
        "pipeline/encoder/device.py",
        "pipeline/encoder/engine.py",
        "pipeline/encoder/engine_onnx.py",
        "pipeline/encoder/engine_openvino.py",
        "pipeline/encoder/engine_torch.py",
        "pipeline/encoder/engine_transformers.py",
        "pipeline/encoder/graph.py",
        "pipeline/encoder/ops.py",
        "pipeline/encoder/ops_onnx.py",
        "pipeline/encoder/ops_openvino.py",
        "pipeline/encoder/quantize.py",
        "pipeline/encoder/quantized.py",
        "pipeline/encoder/calibration.txt",
        "pipeline/encoder/pairs.py",
        "pipeline/encoder/pooling.py",
        "pipeline/encoder/tokens.py",
    ],
    "FitLogReg": [
        "tasks/logreg.py",
        "pipeline/encoder/pairs.py",
        "pipeline/features/stored.py",
        "pipeline/datasets/targets.py",
        "tasks/layers.py",
        "tasks/hybrid.py",
        "tasks/cascade.py",
        "pipeline/heads/blend.py",
        "pipeline/heads/gate.py",
        "pipeline/heads/quick.py",
        "pipeline/heads/fit.py",
        "pipeline/heads/head.py",
        *(
            f"pipeline/heads/decision/{name}.py"
            for name in (
                "abstention",
                "calibration",
                "choose",
                "costs",
                "fit",
                "rows",
                "rule",
                "thresholds",
            )
        ),
        "pipeline/heads/logreg.py",
        "pipeline/heads/label_search.py",
        "pipeline/heads/multilabel.py",
        "pipeline/heads/objective.py",
        "pipeline/heads/ridge.py",
        "pipeline/heads/search.py",
        "pipeline/heads/solvers.py",
        "pipeline/heads/streaming.py",
    ],
    "FitTerms": [
        "tasks/terms.py",
        "tasks/texts.py",
        "pipeline/datasets/targets.py",
        "pipeline/terms/matrix.py",
        "pipeline/terms/model.py",
    ],
    "FewLabels": [
        "tasks/few_labels.py",
        "pipeline/encoder/pairs.py",
        "pipeline/features/stored.py",
        "pipeline/labelling/protocol.py",
        "pipeline/datasets/targets.py",
        "pipeline/evaluation/baselines.py",
        "pipeline/terms/matrix.py",
        "pipeline/terms/model.py",
        "pipeline/evaluation/metrics.py",
        "pipeline/heads/few.py",
        "pipeline/heads/logreg.py",
        "pipeline/heads/streaming.py",
    ],
    "FitBaselines": [
        "tasks/baselines.py",
        "tasks/texts.py",
        "pipeline/datasets/targets.py",
        "pipeline/evaluation/baselines.py",
        "pipeline/terms/matrix.py",
        "pipeline/terms/model.py",
    ],
    "EvaluateModel": [
        "tasks/evaluation.py",
        "tasks/changes.py",
        "tasks/previous.py",
        "pipeline/heads/quick.py",
        "pipeline/heads/search.py",
        *(
            f"pipeline/evaluation/{name}.py"
            for name in (
                "calibration",
                "decisions",
                "feature_map",
                "histograms",
                "kinds",
                "label_issues",
                "labels",
                "learning_curve",
                "mcnemar",
                "metrics",
                "nearest",
                "per_class",
                "principal",
                "published",
                "resampling",
                "residuals",
                "slices",
                "thresholds",
                "values",
                "weighted",
            )
        ),
        *(
            f"pipeline/report/{name}.py"
            for name in (
                "advice",
                "build",
                "compare",
                "conclusions",
                "cosine",
                "curve",
                "data",
                "decision",
                "failures",
                "figures",
                "findings",
                "kinds",
                "map",
                "material",
                "models",
                "page",
                "render",
                "reproduce",
                "rounding",
                "scored",
                "tables",
                "words",
            )
        ),
        *(
            f"pipeline/pages/{name}.py"
            for name in ("canvas", "colours", "frame", "heat")
        ),
        "pipeline/pages/templates/macros.html.j2",
        "pipeline/pages/templates/style.css.j2",
        "pipeline/report/report.schema.json",
        *(
            f"pipeline/report/templates/{name}"
            for name in ("metrics.md.j2", "page.js", "report.html.j2", "report.md.j2")
        ),
    ],
    "ScoreViews": [
        "tasks/score_views.py",
        "pipeline/encoder/pairs.py",
        "pipeline/features/stored.py",
        "pipeline/evaluation/metrics.py",
        "pipeline/evaluation/resampling.py",
        "pipeline/features/timing.py",
        "pipeline/heads/fit.py",
        "pipeline/heads/flips.py",
        "pipeline/heads/quick.py",
        "pipeline/report/views.py",
        "pipeline/report/views_page.py",
        "pipeline/report/templates/views.html.j2",
        "pipeline/report/templates/views.md.j2",
    ],
    "ExportPredictor": [
        "tasks/predictor.py",
        "pipeline/predictor/export.py",
        "pipeline/predictor/file.py",
        "pipeline/predictor/reference.py",
        "pipeline/evaluation/drift.py",
        "pipeline/evaluation/principal.py",
        "pipeline/report/card.py",
        "pipeline/report/templates/model_card.md.j2",
        "pipeline/features/probes.py",
    ],
}


def current() -> dict[str, dict[str, object]]:
    """Return each stage's schema and the digest of its sources."""
    found: dict[str, dict[str, object]] = {}
    for name, paths in SOURCES.items():
        content = b"\0".join((ROOT / path).read_bytes() for path in paths)
        schema: list[int | str] = [getattr(tasks, name).schema]
        if name == "ExtractFeatures":
            schema += [identity.SCHEMA, keys.SCHEMA, *RECIPES.values()]
        found[name] = {
            "schema": schema,
            "sources": hashlib.sha256(content).hexdigest()[:16],
        }
    return found


def test_a_changed_stage_has_a_recorded_decision():
    assert current() == json.loads(RECORD.read_text(encoding="utf-8")), __doc__


def test_every_stage_is_recorded():
    stages = {name for name in tasks.__all__ if issubclass(getattr(tasks, name), Stage)}

    # which have no content of their own
    folders = {name for name in stages if name.startswith("Train")}
    assert set(SOURCES) == stages - folders - {"CompareEncoders", "ExtractViews"}


if __name__ == "__main__":
    RECORD.write_text(json.dumps(current(), indent=1) + "\n", encoding="utf-8")

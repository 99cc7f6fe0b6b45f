"""Puts a predictor together from what the stages left, without importing torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config import HEADLINES, EncoderSpec, PredictorSpec
from pipeline.encoder.folder import QUANTIZED, weight_names
from pipeline.encoder.identity import EncoderSource
from pipeline.errors import ArtifactError
from pipeline.evaluation.drift import MAX_ROWS
from pipeline.features.stored import StoredFeatures
from pipeline.heads.flips import for_head
from pipeline.heads.head import ARRAYS, load_head
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.predictor.parts import Parts
from pipeline.predictor.predictor import Predictor
from pipeline.predictor.reference import reference_of
from pipeline.storage import check_contents, disk
from pipeline.terms.matrix import SETTINGS
from pipeline.terms.model import load_term_model


def assemble(
    *,
    spec: EncoderSpec,
    source: EncoderSource,
    encoder_dirs: Sequence[Path],
    model_dir: Path,
    report: Path,
    training: StoredFeatures,
    terms_dir: Path | None = None,
    pair_encoding: str | None = None,
    weights: str = PredictorSpec.encoder_in_predictor,
) -> Predictor:
    """Return the predictor of a finished run.

    Parameters
    ----------
    spec : EncoderSpec
    source : EncoderSource
        Where the weights are.
    encoder_dirs : sequence of Path
        The ``encoder`` directory of each view's row store.
    model_dir : Path
        The fitted head.
    report : Path
        ``report.json``, for the card.
    training : StoredFeatures
        The rows that were fitted on; at most `MAX_ROWS` are read.
    terms_dir : Path, optional
        The models on words, for a head that goes by them, too.
    pair_encoding : {"separate", "joint"}, optional
        See `Parts`.
    weights : {"bundle", "reference"}
        See `pipeline.config.PredictorSpec`.

    Raises
    ------
    ArtifactError
        If the weights are not those that made the features.
    """
    *_, manifest = map(check_contents, encoder_dirs)
    facts, encoder_dir = manifest["facts"], encoder_dirs[-1]
    head = load_head(model_dir)
    probes = [disk.load_array(path / "probes.npy") for path in encoder_dirs]
    return Predictor(
        Parts(
            spec=replace(spec, encoder=source.name),
            config=disk.read(encoder_dir / "config.json"),
            tokenizer=disk.read(encoder_dir / "tokenizer.json"),
            special=facts["special"],
            weights=_weights(encoder_dir, source, facts["files"])
            if weights == "bundle"
            else Elsewhere.of(source, facts["files"]),
            head=head.params(),
            head_arrays={name: getattr(head, name) for name in ARRAYS},
            probe_features=np.hstack(probes),
            probe_proba=head.outputs(for_head(head, probes, pair_encoding)),
            made_by=facts.get("engine"),
            card={
                **make_card(json.loads(disk.read(report))),
                "versions": {**manifest["versions"], "sklearn": head.sklearn_version},
            },
            pair_encoding=pair_encoding,
            terms=()
            if terms_dir is None
            else tuple(load_term_model(terms_dir, kind) for kind in SETTINGS),
            reference=reference_of(training.take(training.sample(MAX_ROWS))),
        )
    )


def _weights(
    encoder_dir: Path, source: EncoderSource, digests: dict[str, str]
) -> dict[str, bytes]:
    """Return the safetensors files: of the recipe, else the encoder's own, compared with `digests`."""
    if (encoder_dir / QUANTIZED).exists():
        return {QUANTIZED: disk.read(encoder_dir / QUANTIZED)}
    folder = source.fetch()
    weights = {name: (folder / name).read_bytes() for name in weight_names(folder)}
    for name, data in weights.items():
        if hashlib.sha256(data).hexdigest() != digests.get(name):
            raise ArtifactError(
                f"{folder / name} changed since the features were made. Run the same command again."
            )
    return weights


def make_card(report: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    """Return what made a predictor, from its report: data, encoder, split, head and figures."""
    # what was measured of engines is no part of what made it, and may come to differ
    skip = {"files", "certificates"}
    encoder = {
        name: value for name, value in report["encoder"].items() if name not in skip
    }
    dataset = ["name", "source", "texts"]
    if report["encoder"].get("pair_encoding"):
        dataset.append("text_column")  # both names: predicting takes them again
    headline = HEADLINES[report["head"]["task"]]
    return {
        "dataset": {name: report["dataset"][name] for name in dataset},
        "encoder": encoder,
        "split": report["split"],
        "head": {
            name: report["head"][name]
            for name in ("C", "class_weight", "sklearn_version")
        },
        "metrics": report["metrics"]["test"],
        "baselines": {
            name: figures[headline] for name, figures in report["baselines"].items()
        },
    }

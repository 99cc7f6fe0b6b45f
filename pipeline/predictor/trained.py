"""The encoder of a predictor, on an engine that gives the features of training."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.tolerance import allowed_difference
from pipeline.errors import ArtifactError, EncoderError
from pipeline.features.probes import PROBES
from pipeline.predictor.changes import changes
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.predictor.parts import Parts

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder

logger = logging.getLogger(__name__)
N_FIRST = 4  # probes encoded before the first text of a user


def trained_encoder(parts: Parts, folder: Path | None = None) -> "Encoder":
    """Return the encoder on the fastest engine here; on torch if that one does not give the features of training.

    A few probes tell: processors differ, and so may an engine's arithmetic. What differs beyond rounding is told.

    Parameters
    ----------
    parts : Parts
    folder : Path, optional
        Where the weights are, if the parts only name them.

    Raises
    ------
    ArtifactError
        If weights that are only named are not at hand.
    """
    from pipeline.encoder.checkpoint import checkpoint_of_bytes
    from pipeline.encoder.frozen import Encoder

    weights = parts.weights
    if isinstance(weights, Elsewhere):
        weights = weights.read(folder)
    checkpoint = checkpoint_of_bytes(
        json.loads(parts.config),
        parts.tokenizer.decode(),
        parts.special,
        list(weights.values()),
    )
    encoder = Encoder(checkpoint, parts.spec, ComputeSpec())
    if _is_as_trained(parts, encoder) or not encoder.has_fallback:
        return encoder
    logger.warning("torch is used instead.")
    encoder = Encoder(checkpoint, parts.spec, ComputeSpec(backend="torch"))
    _is_as_trained(parts, encoder)
    return encoder


def check_encoder(parts: Parts, encoder: "Encoder") -> float:
    """Return the largest difference of all probes' features from those of training.

    Raises
    ------
    ArtifactError
        If it is beyond what rounding explains: another library, engine or damaged weights.
    """
    difference = _difference(parts, encoder, PROBES)
    allowed = allowed_difference(parts.spec, parts.probe_features)
    if not difference <= allowed:
        raise ArtifactError(
            f"The encoder gives other features here than in training: largest difference {difference:.2g}, expected at "
            f"most {allowed:g}. {_changes(parts, encoder)}"
        )
    return difference


def as_stored(features: NDArray[np.float32], spec: EncoderSpec) -> NDArray[np.float32]:
    """Return features rounded as they were in the store."""
    return np.asarray(features.astype(spec.feature_dtype), dtype=np.float32)


def _is_as_trained(parts: Parts, encoder: "Encoder") -> bool:
    """Tell whether the first probes get the features of training; warns if not."""
    try:
        difference = _difference(parts, encoder, PROBES[:N_FIRST])
    except EncoderError:  # NaN
        difference = float("inf")
    if difference <= allowed_difference(parts.spec, parts.probe_features):
        return True
    logger.warning(
        "%s gives features that differ by up to %.2g from those of training. %s",
        encoder.engine_identity["engine"],
        difference,
        _changes(parts, encoder),
    )
    return False


def _difference(parts: Parts, encoder: "Encoder", probes: Sequence[str]) -> float:
    """Return the largest difference of the first probes' features from those of training."""
    found = as_stored(encoder.encode(probes), parts.spec)
    return float(np.abs(found - parts.probe_features[: len(probes)]).max())


def _changes(parts: Parts, encoder: "Encoder") -> str:
    """Return in a sentence what is not as it was in training."""
    versions = parts.card.get("versions", {})
    return changes(parts.made_by, versions, encoder.engine_identity)

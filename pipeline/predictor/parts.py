"""What a predictor is made of, as bytes and plain values: what its file holds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.pairs import Text
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.terms.model import TermModel


@dataclass(frozen=True)
class Parts:
    """Everything a predictor is made of, as bytes and plain values.

    Attributes
    ----------
    spec : EncoderSpec
    config, tokenizer : bytes
        ``config.json`` and ``tokenizer.json``.
    special : dict of str to str
        Special tokens by role.
    weights : dict of str to bytes, or Elsewhere
        The safetensors files by name, or where they are.
    head : dict
        `Head.params`.
    head_arrays : dict of str to ndarray of float64
    probe_features : ndarray of float32, shape (p, d)
        What the encoder gave for `pipeline.features.probes.PROBES` when it was trained.
    probe_proba : ndarray of float64, shape (p, k)
        Probabilities; of a regression the numbers, shape (p, 1).
    card : dict
        What made the predictor: data, encoder, split, head, figures, versions.
    made_by : dict, optional
        Identity of the engine that gave the probes' features.
    reference : dict of str to ndarray
        `pipeline.evaluation.drift.Reference` of the training features; empty if there is none.
    pair_encoding : {"separate", "joint"}, optional
        How its pairs are encoded; None where it is of single texts. See `pipeline.config.PairSpec`.
    terms : tuple of TermModel
        The models on words whose scores stand behind the features; empty if the head goes by features alone.
    """

    spec: EncoderSpec
    config: bytes
    tokenizer: bytes
    special: dict[str, str]
    weights: dict[str, bytes] | Elsewhere
    head: dict[str, Any]  # Any: JSON values
    head_arrays: dict[str, NDArray[np.float64]]
    probe_features: NDArray[np.float32]
    probe_proba: NDArray[np.float64]
    card: dict[str, Any]  # Any: JSON values
    made_by: dict[str, Any] | None = None  # Any: JSON values
    reference: dict[str, NDArray[Any]] = field(default_factory=dict)  # Any: numbers
    pair_encoding: str | None = None
    terms: tuple[TermModel, ...] = ()

    def term_scores(self, rows: Sequence[Text]) -> NDArray[np.float32]:
        """Return what the models on words say of rows, side by side: (n, m w)."""
        scores = [model.scores(rows) for model in self.terms]
        return np.hstack(scores).astype(np.float32)

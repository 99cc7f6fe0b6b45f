"""A trained predictor: texts in, labels out."""

import json
import logging
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.tolerance import allowed_difference
from pipeline.errors import ArtifactError, DataError, EncoderError, shown
from pipeline.features.probes import PROBES

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline
    from transformers import PreTrainedTokenizerFast

    from pipeline.encoder.frozen import Encoder
    from pipeline.evaluation.drift import Drift
    from pipeline.heads.head import Head


logger = logging.getLogger(__name__)
COMPARE = "Compare the versions in .card['versions'] with this environment."
N_FIRST = 4  # probes encoded before the first text of a user


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
    weights : dict of str to bytes
        The safetensors files by name.
    head : dict
        `Head.params`.
    head_arrays : dict of str to ndarray of float64
    probe_features : ndarray of float32, shape (p, d)
        What the encoder gave for `pipeline.features.probes.PROBES` when it was trained.
    probe_proba : ndarray of float64, shape (p, k)
    card : dict
        What made the predictor: data, encoder, split, head, figures, versions.
    reference : dict of str to ndarray
        `pipeline.evaluation.drift.Reference` of the training features; empty if there is none.
    """

    spec: EncoderSpec
    config: bytes
    tokenizer: bytes
    special: dict[str, str]
    weights: dict[str, bytes]
    head: dict[str, Any]  # Any: JSON values
    head_arrays: dict[str, NDArray[np.float64]]
    probe_features: NDArray[np.float32]
    probe_proba: NDArray[np.float64]
    card: dict[str, Any]  # Any: JSON values
    reference: dict[str, NDArray[Any]] = field(default_factory=dict)  # Any: numbers


class Predictor:
    """Tokenizer, frozen encoder and classifier in one object, over texts.

    Loaded by `pipeline.load_predictor` or `joblib.load`; the encoder is built when it is first needed.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Labels in column order of probabilities: str, or int64 where the data had integers.
    card : dict
        What made it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._head: Head | None = None
        classes = parts.head["classes"]
        self.classes_ = np.array(
            classes, dtype=np.int64 if isinstance(classes[0], int) else object
        )
        self.card: Mapping[str, Any] = parts.card

    def predict(self, texts: Iterable[str]) -> NDArray[Any]:  # Any: str or int labels
        """Return the label of each text, shape (n,).

        Raises
        ------
        DataError
            If `texts` is a single string or holds something that is not a str; names the position.
        """
        return np.asarray(self.classes_[self.predict_proba(texts).argmax(axis=1)])

    def predict_proba(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the class probabilities of each text, shape (n, k); columns as in `classes_`."""
        features = self.transform(texts)
        return self._loaded_head().probabilities(features)

    def decision_function(self, texts: Iterable[str]) -> NDArray[np.float64]:
        """Return the scores of each text: shape (n,) for two classes (for the second), else (n, k)."""
        features = self.transform(texts)
        return self._loaded_head().decision(features)

    def transform(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the features of each text, float32 of shape (n, d), as they were in training."""
        checked = checked_texts(texts)
        if not checked:
            return np.empty((0, len(self._parts.head_arrays["mean"])), dtype=np.float32)
        return self._stored(self.encoder.encode(checked))

    @property
    def encoder(self) -> "Encoder":
        """The frozen encoder, built from the file's own bytes on first use."""
        with self._lock:
            if self._encoder is None:
                self._encoder = self._build_encoder()
            return self._encoder

    def _build_encoder(self) -> "Encoder":
        """Return the encoder on the fastest engine here; on torch if that one does not give the features of training.

        A few probes tell: processors differ, and so may an engine's arithmetic.
        """
        from pipeline.encoder.checkpoint import checkpoint_of_bytes
        from pipeline.encoder.frozen import Encoder

        parts = self._parts
        checkpoint = checkpoint_of_bytes(
            json.loads(parts.config),
            parts.tokenizer.decode(),
            parts.special,
            list(parts.weights.values()),
        )
        encoder = Encoder(checkpoint, parts.spec, ComputeSpec())
        if self._is_as_trained(encoder) or not encoder.has_fallback:
            return encoder
        logger.warning("torch is used instead.")
        return Encoder(checkpoint, parts.spec, ComputeSpec(backend="torch"))

    def _is_as_trained(self, encoder: "Encoder") -> bool:
        """Tell whether the first probes get the features of training; warns if not."""
        try:
            difference = self._difference(encoder, PROBES[:N_FIRST])
        except EncoderError:  # NaN
            difference = float("inf")
        if difference <= self._allowed():
            return True
        logger.warning(
            "%s gives features that differ by up to %.2g from those of training. %s",
            encoder.engine_identity["engine"],
            difference,
            COMPARE,
        )
        return False

    def _difference(self, encoder: "Encoder", probes: Sequence[str]) -> float:
        """Return the largest difference of the first probes' features from those of training."""
        found = self._stored(encoder.encode(probes))
        return float(np.abs(found - self._parts.probe_features[: len(probes)]).max())

    def _allowed(self) -> float:
        return allowed_difference(self._parts.spec, self._parts.probe_features)

    def _stored(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features rounded as they were in the store."""
        rounded = features.astype(self._parts.spec.feature_dtype)
        return np.asarray(rounded, dtype=np.float32)

    @property
    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The tokenizer, as transformers' own class."""
        from tokenizers import Tokenizer
        from transformers import PreTrainedTokenizerFast

        parts = self._parts
        return PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer.from_str(parts.tokenizer.decode()),
            model_max_length=parts.spec.max_length,
            **parts.special,
        )

    @property
    def classifier(self) -> "Pipeline":
        """The scikit-learn pipeline (scaler, logistic regression) over features, rebuilt from the stored arrays."""
        from pipeline.heads.logreg import to_sklearn

        return to_sklearn(self._loaded_head())

    def self_check(self) -> float:
        """Encode the fixed probe texts and return the largest difference from the features of training.

        Raises
        ------
        ArtifactError
            If it is beyond what rounding explains: another library, engine or damaged weights.
        """
        difference = self._difference(self.encoder, PROBES)
        if not difference <= self._allowed():
            raise ArtifactError(
                f"The encoder gives other features here than in training: largest difference {difference:.2g}, "
                f"expected at most {self._allowed():g}. {COMPARE}"
            )
        return difference

    def drift(self, texts: Iterable[str], *, level: float = 0.05) -> "Drift":
        """Tell whether texts are no longer like those of training, by their features; labels are not needed.

        Parameters
        ----------
        texts : iterable of str
            A window of some hundred texts as they come in; fewer than 50 cannot be judged.
        level : float
            False alarms, as a share of windows: of 20 windows a day, 0.05 lets one alarm by chance.

        Returns
        -------
        Drift
            ``is_found``, ``p_value`` and ``distance``; its str is a sentence.

        Raises
        ------
        ArtifactError
            If the file carries no reference.
        """
        from pipeline.predictor.reference import compare

        return compare(self.transform(texts), self._parts.reference, level)

    def _loaded_head(self) -> "Head":
        if self._head is None:
            from pipeline.heads.head import head_of

            self._head = head_of(self._parts.head, self._parts.head_arrays)
        return self._head

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        """Pickle as the one call that a predictor file is."""
        from pipeline.predictor import _restore_v1
        from pipeline.predictor.file import pack

        return _restore_v1, pack(self._parts)

    def __repr__(self) -> str:
        """Name encoder, classes and test accuracy."""
        figure = self.card.get("metrics", {}).get("accuracy", {}).get("value")
        accuracy = "" if figure is None else f", test accuracy {figure:.3f}"
        classes = ", ".join(map(str, self.classes_[:5])) + (
            ", …" if len(self.classes_) > 5 else ""
        )
        return f"<Predictor: {self._parts.spec.encoder} [{self._parts.spec.pooling}] → {classes}{accuracy}>"


def checked_texts(texts: Iterable[str]) -> list[str]:
    """Return `texts` as a list of str.

    Raises
    ------
    DataError
        If it is a single string, or holds something else than str.
    """
    if isinstance(texts, (str, bytes)):
        raise DataError(
            f"Expected a list of texts, got a single {type(texts).__name__}: {shown(texts)}. Pass [text]."
        )
    if isinstance(texts, Mapping) or hasattr(texts, "columns"):
        raise DataError(
            f"Expected a list of texts, got a {type(texts).__name__}. Pass one column of it."
        )
    out = list(texts)
    for i, text in enumerate(out):
        if not isinstance(text, str):
            raise DataError(
                f"Text {i} is {type(text).__name__} {shown(text)}, expected str. Convert or remove it."
            )
    return out

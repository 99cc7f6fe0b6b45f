"""Scikit-learn citizens over texts: a transformer and a classifier.

Constructors only store; `fit`, `transform` and `predict` do the work.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from pipeline.config import ComputeSpec, EncoderSpec, HeadSpec, SplitSpec
from pipeline.encoder.folder import QUANTIZED, WEIGHTS
from pipeline.errors import DataError
from pipeline.features.probes import PROBES
from pipeline.heads.head import ARRAYS
from pipeline.heads.logreg import fit_head
from pipeline.predictor.predictor import Parts, Predictor
from pipeline.predictor.texts import checked_texts
from pipeline.splitting import N_FOLDS, make_folds

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder


class FeatureExtractor(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Turn texts into frozen-encoder features.

    Needs no fitting; the encoder is loaded when it is first used and not pickled along.

    Parameters
    ----------
    encoder, revision, pooling, layer, max_length, precision
        See `pipeline.config.EncoderSpec`.
    backend, device, batch_tokens
        See `pipeline.config.ComputeSpec`.
    """

    def __init__(
        self,
        encoder: str = EncoderSpec.encoder,
        *,
        revision: str = EncoderSpec.revision,
        pooling: str = EncoderSpec.pooling,
        layer: int = EncoderSpec.layer,
        max_length: int = EncoderSpec.max_length,
        precision: str = EncoderSpec.precision,
        backend: str = ComputeSpec.backend,
        device: str = ComputeSpec.device,
        batch_tokens: int | str = ComputeSpec.batch_tokens,
    ) -> None:
        self.encoder = encoder
        self.revision = revision
        self.pooling = pooling
        self.layer = layer
        self.max_length = max_length
        self.precision = precision
        self.backend = backend
        self.device = device
        self.batch_tokens = batch_tokens

    def fit(self, texts: str | Iterable[str], y: object = None) -> Self:
        """Do nothing: the encoder is frozen."""
        return self

    def transform(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return one feature row a text, float32 of shape (n, d), in input order.

        Raises
        ------
        DataError
            If `texts` holds something that is not a str, or is no ordered iterable of texts.
        EncoderError, HubError, ConfigError
            If the encoder cannot be loaded.
        """
        checked = checked_texts(texts)
        return self._loaded().encode(checked)

    def _loaded(self) -> "Encoder":
        params = self.get_params()
        if getattr(self, "_loaded_with", None) != params:
            from pipeline.encoder.frozen import load_encoder

            self._encoder = load_encoder(**params)
            self._loaded_with = params
        return self._encoder

    def __getstate__(self) -> dict[str, Any]:  # Any: an estimator's attributes
        """Leave the loaded encoder out of pickles."""
        state = dict(super().__getstate__())
        for name in ("_encoder", "_loaded_with"):
            state.pop(name, None)
        return state

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn that no fitting is needed."""
        return True


class TextClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """Classify texts by logistic regression on frozen-encoder features.

    Parameters
    ----------
    encoder, revision, pooling, layer, max_length, precision
        See `pipeline.config.EncoderSpec`.
    C, class_weight
        See `pipeline.config.HeadSpec`.
    backend, device, batch_tokens
        See `pipeline.config.ComputeSpec`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
    predictor_ : Predictor
        The same object that the pipeline exports; what pickles of this estimator hold.
    """

    def __init__(
        self,
        encoder: str = EncoderSpec.encoder,
        *,
        revision: str = EncoderSpec.revision,
        pooling: str = EncoderSpec.pooling,
        layer: int = EncoderSpec.layer,
        max_length: int = EncoderSpec.max_length,
        precision: str = EncoderSpec.precision,
        C: float | str = HeadSpec.C,
        class_weight: str = HeadSpec.class_weight,
        backend: str = ComputeSpec.backend,
        device: str = ComputeSpec.device,
        batch_tokens: int | str = ComputeSpec.batch_tokens,
    ) -> None:
        self.encoder = encoder
        self.revision = revision
        self.pooling = pooling
        self.layer = layer
        self.max_length = max_length
        self.precision = precision
        self.C = C
        self.class_weight = class_weight
        self.backend = backend
        self.device = device
        self.batch_tokens = batch_tokens

    def fit(
        self, texts: Iterable[str], y: Sequence[Any] | NDArray[Any]
    ) -> Self:  # Any: str or int labels
        """Encode the texts and fit the classifier.

        Parameters
        ----------
        texts : iterable of str, length n
        y : sequence of str or int, length n

        Raises
        ------
        DataError
            If lengths differ, or there are fewer than two classes.
        """
        from pipeline.encoder.frozen import load_encoder

        checked = checked_texts(texts)
        labels = np.asarray(y)
        labels = labels.astype(object if labels.dtype.kind not in "iub" else np.int64)
        if len(labels) != len(checked):
            raise DataError(
                f"{len(checked)} texts but {len(labels)} labels. Pass one label a text."
            )
        if len(set(labels.tolist())) < 2:
            raise DataError(
                "All texts have the same label; a classifier needs at least two classes."
            )
        params = self.get_params()
        spec = HeadSpec(
            C=params.pop("C") if self.C == "auto" else float(params.pop("C")),
            class_weight=params.pop("class_weight"),
        )
        encoder = load_encoder(**params)
        folds = make_folds(
            checked, labels.tolist(), n_folds=N_FOLDS, seed=SplitSpec.seed
        )
        head = fit_head(encoder.encode(checked), labels, spec, folds)
        self.predictor_ = Predictor(
            parts_of(
                encoder,
                head_params=head.params(),
                arrays={name: getattr(head, name) for name in ARRAYS},
            )
        )
        self.classes_ = self.predictor_.classes_
        return self

    def predict(
        self, texts: str | Iterable[str]
    ) -> NDArray[Any]:  # Any: str or int labels
        """Return the label of each text, shape (n,)."""
        check_is_fitted(self)
        return self.predictor_.predict(texts)

    def predict_proba(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the class probabilities of each text, shape (n, k)."""
        check_is_fitted(self)
        return self.predictor_.predict_proba(texts)

    def decision_function(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the scores of each text: shape (n,) for two classes, else (n, k)."""
        check_is_fitted(self)
        return self.predictor_.decision_function(texts)

    def transform(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the features of each text, shape (n, d)."""
        check_is_fitted(self)
        return self.predictor_.transform(texts)


def parts_of(
    encoder: "Encoder",
    *,
    head_params: dict[str, Any],
    arrays: dict[str, NDArray[np.float64]],
) -> Parts:
    """Return the parts of a predictor made of a loaded encoder and a fitted head."""
    from pipeline.encoder.checkpoint import to_bytes
    from pipeline.heads.head import head_of

    features = encoder.encode(PROBES)
    name = QUANTIZED if encoder.spec.precision == "int8" else WEIGHTS
    return Parts(
        spec=encoder.spec,
        config=json.dumps(encoder.checkpoint.config).encode(),
        tokenizer=encoder.tokenizer.to_str().encode(),
        special=encoder.checkpoint.special,
        weights={name: to_bytes(encoder.checkpoint.weights)},
        head=head_params,
        head_arrays=arrays,
        probe_features=features,
        probe_proba=head_of(head_params, arrays).probabilities(features),
        made_by=encoder.engine_identity,
        card={},
    )

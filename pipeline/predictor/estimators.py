"""Scikit-learn citizens over texts: a transformer and a classifier.

Constructors only store; `fit`, `transform` and `predict` do the work.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray
from pandas import isna
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from pipeline.config import ComputeSpec, EncoderSpec, HeadSpec, SplitSpec
from pipeline.encoder.folder import QUANTIZED, WEIGHTS
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.per_process import PerProcess
from pipeline.errors import DataError, listed, shown
from pipeline.features.cache import CachedEncoder
from pipeline.features.probes import PROBES
from pipeline.heads.head import ARRAYS, Head
from pipeline.heads.logreg import fit_head
from pipeline.predictor.parts import Parts
from pipeline.predictor.predictor import Predictor
from pipeline.predictor.reference import reference_of
from pipeline.predictor.texts import checked_texts
from pipeline.splitting import N_FOLDS, make_folds
from pipeline.storage import sha256_file

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder


class _OverTexts(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # untyped
    """Gives features of texts; tells scikit-learn that a text stands where others have a row of numbers."""

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags


class FeatureExtractor(_OverTexts):
    """Turn texts into frozen-encoder features.

    There is nothing to fit. The encoder is loaded when it is first needed, shared by the estimators of a process that
    use the same one, loaded anew by a forked child, and not pickled along.

    Parameters
    ----------
    encoder, revision, pooling, layer, max_length, precision
        See `pipeline.config.EncoderSpec`.
    backend, device, batch_tokens
        See `pipeline.config.ComputeSpec`.
    cache : str or Path, optional
        An artifacts folder: each text is encoded once, in whichever fit, fold or process, and kept in the row store
        there, which runs of the pipeline with the same options share. The encoder is not even loaded while nothing is
        missing. None: every text is encoded every time.

    Notes
    -----
    With `cache` the engine is measured beside float32 torch before it encodes anything into the store, as in a run of
    the pipeline, and torch takes over where it computes something else; `TextClassifier.predictor_` is made with the
    engine that passed. Without `cache` nothing is measured: what the chosen engine gives is taken as it is.
    """

    def __init__(
        self,
        encoder: str = EncoderSpec.encoder,
        *,
        revision: str = EncoderSpec.revision,
        pooling: str = EncoderSpec.pooling,
        layer: int | tuple[int, ...] = EncoderSpec.layer,
        max_length: int = EncoderSpec.max_length,
        precision: str = EncoderSpec.precision,
        backend: str = ComputeSpec.backend,
        device: str = ComputeSpec.device,
        batch_tokens: int | str = ComputeSpec.batch_tokens,
        cache: str | Path | None = None,
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
        self.cache = cache

    def fit(self, texts: str | Iterable[str], y: object = None) -> Self:
        """Find the encoder; nothing is learned from the texts.

        Raises
        ------
        ConfigError, EncoderError, HubError
            If there is no such encoder.
        """
        self._found()
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
        return self._found().encode(checked_texts(texts))

    def loaded(self) -> "Encoder":
        """Return the encoder itself."""
        found = self._found()
        return found.loaded() if isinstance(found, CachedEncoder) else found

    def _found(self) -> "Encoder | CachedEncoder":
        params = self.get_params()
        if getattr(self, "_found_with", None) != params:
            self._encoder: PerProcess[Encoder | CachedEncoder] = PerProcess()
            self._found_with = params
        return self._encoder.get(lambda: _find(**params))

    @property
    def _n_features_out(self) -> int:
        """Return the number of columns, for `get_feature_names_out`."""
        return self._found().dim

    def __getstate__(self) -> dict[str, Any]:  # Any: an estimator's attributes
        """Leave the encoder out of pickles."""
        state = dict(super().__getstate__())
        for name in ("_encoder", "_found_with"):
            state.pop(name, None)
        return state

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        """Tell scikit-learn that no fitting is needed."""
        return True


def _find(
    cache: str | Path | None, **params: Any
) -> "Encoder | CachedEncoder":  # Any: options of both kinds
    """Return what encodes: the encoder, or the row store with the encoder behind it."""
    from pipeline.encoder.shared import load_shared

    spec = EncoderSpec(
        **{name: params[name] for name in params.keys() & EncoderSpec.names()}
    )
    compute = ComputeSpec(
        **{name: params[name] for name in params.keys() & ComputeSpec.names()}
    )
    if cache is not None:
        return CachedEncoder(spec, compute, Path(cache), load_shared)
    return load_shared(find_encoder(spec, sha256_file), spec, compute)


class TextClassifier(ClassifierMixin, _OverTexts):  # type: ignore[misc]  # untyped
    """Classify texts by logistic regression on frozen-encoder features.

    Parameters
    ----------
    encoder, revision, pooling, layer, max_length, precision
        See `pipeline.config.EncoderSpec`.
    C, class_weight
        See `pipeline.config.HeadSpec`.
    backend, device, batch_tokens
        See `pipeline.config.ComputeSpec`.
    cache
        See `FeatureExtractor`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Sorted, as they were given.
    head_ : Head
        The fitted logistic regression.
    predictor_ : Predictor
        The same object that the pipeline exports; what pickles of this estimator hold. Made when it is first asked for.
    """

    def __init__(
        self,
        encoder: str = EncoderSpec.encoder,
        *,
        revision: str = EncoderSpec.revision,
        pooling: str = EncoderSpec.pooling,
        layer: int | tuple[int, ...] = EncoderSpec.layer,
        max_length: int = EncoderSpec.max_length,
        precision: str = EncoderSpec.precision,
        C: float | str = HeadSpec.C,
        class_weight: str = HeadSpec.class_weight,
        backend: str = ComputeSpec.backend,
        device: str = ComputeSpec.device,
        batch_tokens: int | str = ComputeSpec.batch_tokens,
        cache: str | Path | None = None,
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
        self.cache = cache

    def fit(
        self, texts: Iterable[str], y: Sequence[Any] | NDArray[Any]
    ) -> Self:  # Any: str, int or bool labels
        """Encode the texts and fit the classifier.

        Parameters
        ----------
        texts : iterable of str, length n
        y : sequence of str, int or bool, length n

        Raises
        ------
        DataError
            If lengths differ, a label is missing, or there are fewer than two classes.
        """
        checked = checked_texts(texts)
        given = checked_labels(y, len(checked))
        params = self.get_params()
        extractor = FeatureExtractor(
            **{name: params[name] for name in FeatureExtractor._get_param_names()}
        )
        spec = HeadSpec(
            C=self.C if self.C == "auto" else float(self.C),
            class_weight=self.class_weight,
        )
        features = extractor.transform(checked)
        labels = given.astype(object if given.dtype.kind in "OU" else np.int64)
        folds = make_folds(
            checked, labels.tolist(), n_folds=N_FOLDS, seed=SplitSpec.seed
        )
        self.head_ = fit_head(features, labels, spec, folds)
        self.classes_ = np.unique(given)
        self._reference = reference_of(features)
        self._extractor: FeatureExtractor | None = extractor
        self._predictor: Predictor | None = None
        return self

    @property
    def predictor_(self) -> Predictor:
        """Return the predictor; raises AttributeError before `fit`."""
        if self._predictor is None:
            assert self._extractor is not None  # an unpickled one has its predictor
            self._predictor = Predictor(
                parts_of(self._extractor.loaded(), self.head_, self._reference)
            )
        return self._predictor

    def predict(
        self, texts: str | Iterable[str]
    ) -> NDArray[Any]:  # Any: as the labels were
        """Return the label of each text, shape (n,)."""
        chosen = self.predict_proba(texts).argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def predict_proba(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the class probabilities of each text, shape (n, k)."""
        features = self._features(texts)
        return self.head_.probabilities(features)

    def decision_function(self, texts: str | Iterable[str]) -> NDArray[np.float64]:
        """Return the scores of each text: shape (n,) for two classes, else (n, k)."""
        features = self._features(texts)
        return self.head_.decision(features)

    def transform(self, texts: str | Iterable[str]) -> NDArray[np.float32]:
        """Return the features of each text, shape (n, d)."""
        return self._features(texts)

    def _features(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return what `transform` returns before `set_output` makes a table of it."""
        check_is_fitted(self)
        return (self._extractor or self.predictor_).transform(texts)

    @property
    def _n_features_out(self) -> int:
        """Return the number of columns of `transform`, for `get_feature_names_out`."""
        return len(self.head_.mean)

    def __getstate__(self) -> dict[str, Any]:  # Any: an estimator's attributes
        """Put the predictor in the place of the encoder, so that a pickle needs no other file."""
        state = dict(super().__getstate__())
        if "head_" in state:
            state |= {"_predictor": self.predictor_, "_extractor": None}
        return state


def checked_labels(
    y: Sequence[Any] | NDArray[Any], n_texts: int
) -> NDArray[Any]:  # Any: str, int or bool
    """Return the labels as an array, shape (n,), of the type that they were given in.

    Raises
    ------
    DataError
        If there is not one for each text, one is missing, kinds are mixed, or all are the same.
    """
    if y is None:
        raise DataError(
            "TextClassifier requires y to be passed, but the target y is None. Pass one label a text."
        )
    if not isinstance(getattr(y, "dtype", np.dtype(object)), np.dtype):  # pandas' own
        y = np.asarray(y, dtype=object)
    labels = column_or_1d(y, warn=True)
    if len(labels) != n_texts:
        raise DataError(
            f"{n_texts} texts but {len(labels)} labels. Pass one label a text."
        )
    is_missing = ~np.isfinite(labels) if labels.dtype.kind == "f" else isna(labels)
    if is_missing.any():
        raise DataError(
            f"Labels of texts {listed(np.flatnonzero(is_missing).tolist())} are missing or not finite, "
            "expected str, int or bool. Remove those texts or label them."
        )
    labels = _of_one_kind(labels)
    if len(np.unique(labels)) < 2:
        raise DataError(
            f"The {n_texts} texts have labels of one class at most; a classifier needs at least two classes. "
            "Add texts of another."
        )
    return labels


def _of_one_kind(labels: NDArray[Any]) -> NDArray[Any]:  # Any: str, int or bool
    """Return labels of which none is missing; objects that are numbers as an array of numbers."""
    if labels.dtype.kind not in "OUbiuf":
        raise DataError(
            f"Labels are {labels.dtype}, expected str, int or bool. Convert them."
        )
    kinds = {str if isinstance(label, str) else int for label in labels.tolist()}
    if len(kinds) > 1:
        other = next(label for label in labels.tolist() if not isinstance(label, str))
        raise DataError(
            f"Labels are of several kinds: some are str, but {shown(other)} is {type(other).__name__}. Convert them."
        )
    if labels.dtype.kind == "O" and kinds == {int}:
        labels = np.array(labels.tolist())
    if labels.dtype.kind == "u" and labels.max(initial=0) > np.iinfo(np.int64).max:
        raise DataError(
            f"The label {labels.max()} does not fit 64 bits with a sign. Write such labels as texts."
        )
    try:
        check_classification_targets(labels)
    except (ValueError, TypeError) as error:
        raise DataError(f"{error} Pass labels that are str, int or bool.") from error
    return labels


def parts_of(
    encoder: "Encoder", head: Head, reference: dict[str, NDArray[Any]]
) -> Parts:  # Any: numbers
    """Return the parts of a predictor made of a loaded encoder, a fitted head and what describes its features."""
    from pipeline.encoder.checkpoint import to_bytes

    features = encoder.encode(PROBES)
    name = QUANTIZED if encoder.spec.precision == "int8" else WEIGHTS
    return Parts(
        spec=encoder.spec,
        config=json.dumps(encoder.checkpoint.config).encode(),
        tokenizer=encoder.tokenizer.to_str().encode(),
        special=encoder.checkpoint.special,
        weights={name: to_bytes(encoder.checkpoint.weights)},
        head=head.params(),
        head_arrays={name: getattr(head, name) for name in ARRAYS},
        probe_features=features,
        probe_proba=head.probabilities(features),
        made_by=encoder.engine_identity,
        card={},
        reference=reference,
    )

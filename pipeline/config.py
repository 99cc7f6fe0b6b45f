"""What a run is made of: frozen, validated values, and the fingerprint of such values.

The defaults of every option live here and nowhere else.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from pipeline.errors import ConfigError, shown

RECIPES = {
    "float32": "float32-v1",
    "bfloat16": "bfloat16-v1",
    "int8": "int8-static-v2",  # pipeline.encoder.quantize
}
# Kinds of label, and the metric by which each is named first.
HEADLINES = {
    "classification": "accuracy",
    "multilabel": "f1_micro",
    "regression": "pearson",
}
TASKS = tuple(HEADLINES)
LAST_LAYER = -1
N_SIMILAR = 5  # texts most like one, where no number is asked for


def fingerprint(fields_: Mapping[str, object]) -> str:
    """Return the SHA-256, as 64 hex digits, of the canonical JSON of `fields_`.

    Canonical: keys sorted, no spaces, UTF-8, no NaN. Equal values give equal
    fingerprints on every platform and Python version.
    """
    text = json.dumps(
        fields_,
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _check_choice(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(
            f"--{option} is {shown(value)}, expected one of: {', '.join(allowed)}."
        )


class _Spec:
    """Base of the option groups: checks the options that are a choice of words."""

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for name, allowed in self.choices.items():
            _check_choice(name.replace("_", "-"), getattr(self, name), allowed)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the option names of the group."""
        return tuple(f.name for f in fields(cls))  # type: ignore[arg-type]  # each child is a dataclass


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(_Spec):
    """Where the rows come from and how they are read.

    Attributes
    ----------
    task : {"auto", "classification", "multilabel", "regression"}
        One label of several a row, any number of labels, or a number; ``auto`` goes by what the label column holds.
    dataset : str
        ``sst2``, ``sst2-tutorial``, ``sample``, ``hf:<repo>[:<config>][@<revision>]``, a file or a folder.
    text_column, label_column : str
        A column's name or 1-based number; ``auto`` looks for a known name.
    slice_column : str
        A further column whose values the report compares accuracy by, by name or 1-based number; empty for none.
    separator : str
        What stands between two fields; ``auto`` goes by the file's ending.
    header : {"auto", "yes", "no"}
        Whether the first line names the columns.
    empty_text : {"error", "drop", "keep"}
        What to do with rows whose text is empty or blank.
    limit : int
        Only the first so many training rows; 0 takes all.
    max_gb : float
        Refuse a text file of more than so many gigabytes (1e9 bytes), unpacked. Changes no result.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "task": ("auto", *TASKS),
        "header": ("auto", "yes", "no"),
        "empty_text": ("error", "drop", "keep"),
    }

    dataset: str = "sst2"
    task: str = "auto"
    text_column: str = "auto"
    label_column: str = "auto"
    slice_column: str = ""
    separator: str = "auto"
    header: str = "auto"
    empty_text: str = "error"
    limit: int = 0
    max_gb: float = 64.0

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if self.separator == r"\t":  # as typed in a shell
            object.__setattr__(self, "separator", "\t")
        if not self.separator:
            raise ConfigError(
                "--separator is empty, expected 'auto' or what stands between two fields."
            )
        if self.limit < 0:
            raise ConfigError(
                f"--limit is {self.limit}, expected 0 (all rows) or a number of training rows."
            )
        if not self.max_gb > 0:  # also refuses NaN
            raise ConfigError(
                f"--max-gb is {self.max_gb}, expected a number of gigabytes above 0, such as 64."
            )
        if not self.dataset:
            raise ConfigError(
                "--dataset is empty, expected a data set name, a file or a folder."
            )


@dataclass(frozen=True, kw_only=True)
class EncoderSpec(_Spec):
    """The frozen transformer and how one vector is taken from it.

    Attributes
    ----------
    encoder : str
        Hub id, local folder, or ``minilm``.
    revision : str
        Hub commit, tag or branch; ``auto`` is the pinned commit of a default encoder, else ``main``.
    pooling : {"auto", "cls", "mean", "max", "pooler"}
        First token, masked mean, masked maximum, or the model's own trained pooler. ``auto`` is the pooling that a
        sentence-transformers folder was trained with, else ``cls``; keys hold what it means, not the word.
    layer : int or tuple of int
        Index into ``hidden_states``: 0 the embeddings, -1 the last layer. The features of several stand side by side,
        in that order.
    max_length : int
        Tokens kept of each text, special ones included, >= 2.
    precision : {"float32", "bfloat16", "int8"}
        Each names one recipe, see `recipe`.
    feature_dtype : {"float32", "float16"}
        How features are stored.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pooling": ("auto", "cls", "mean", "max", "pooler"),
        "precision": tuple(RECIPES),
        "feature_dtype": ("float32", "float16"),
    }

    encoder: str = "distilbert-base-uncased"
    revision: str = "auto"
    pooling: str = "auto"
    layer: int | tuple[int, ...] = LAST_LAYER
    max_length: int = 128
    precision: str = "float32"
    feature_dtype: str = "float32"

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if not self.encoder:
            raise ConfigError(
                "--encoder is empty, expected a hub id, a local folder or 'minilm'."
            )
        if self.max_length < 2:
            raise ConfigError(
                f"--max-length is {self.max_length}, expected at least 2 tokens."
            )
        self._check_layers()
        if self.pooling == "pooler" and self.layer != -1:
            raise ConfigError(
                f"--pooling pooler reads the last layer, got --layer {self.layer}. Drop --layer."
            )

    def _check_layers(self) -> None:
        if isinstance(self.layer, int):
            return
        layers = tuple(self.layer)  # JSON has lists
        object.__setattr__(self, "layer", layers[0] if len(layers) == 1 else layers)
        if not layers or len(set(layers)) < len(layers):
            raise ConfigError(
                f"layer is {layers}, expected one or several different layers, such as (-2, -1)."
            )
        if len(layers) > 1 and self.precision == "int8" and self.pooling == "cls":
            raise ConfigError(
                f"layer is {layers}, but --precision int8 with --pooling cls has weights of its own for each layer. "
                "Pass one layer, --pooling mean, or another precision."
            )

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, as given."""
        return (self.layer,) if isinstance(self.layer, int) else self.layer

    @property
    def views(self) -> "tuple[EncoderSpec, ...]":
        """The same for each layer alone: their features, side by side, are those of this one."""
        return tuple(replace(self, layer=layer) for layer in self.layers)

    @property
    def recipe(self) -> str:
        """Name of the arithmetic, part of every key."""
        return RECIPES[self.precision]


@dataclass(frozen=True, kw_only=True)
class PairSpec(_Spec):
    """How the two texts of a row become one vector; means nothing for single texts.

    Attributes
    ----------
    pair_encoding : {"separate", "joint"}
        ``separate``: each text by itself, as everywhere, and of both vectors u, v, |u - v| and their products.
        ``joint``: both in one sequence, ``[CLS] a [SEP] b [SEP]``.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "pair_encoding": ("separate", "joint")
    }

    pair_encoding: str = "separate"

    def check_precision(self, precision: str) -> None:
        """Make sure that the precision is for pairs, too; raises as `check_joint`."""
        if self.pair_encoding == "joint":
            check_joint(precision)


def check_joint(precision: str) -> None:
    """Make sure that an encoder of a precision takes pairs.

    Raises
    ------
    ConfigError
        If its weights are made from single texts.
    """
    if precision == "int8":
        raise ConfigError(
            "--pair-encoding joint does not go with --precision int8, whose integers are made from single texts. "
            "Pass --pair-encoding separate, or another precision."
        )


@dataclass(frozen=True, kw_only=True)
class SplitSpec(_Spec):
    """Which rows are fitted on and which are scored.

    Attributes
    ----------
    split : {"auto", "official", "random"}
        ``official`` uses the data set's own test (else dev) rows; ``random`` splits the train rows;
        ``auto`` is ``official`` where labelled test or dev rows exist.
    test_fraction : float
        Share of rows to score for ``random``, strictly between 0 and 1.
    seed : int
        For ``random`` and for cross-validation folds.
    fail_on_leak : bool
        Refuse a split of which a scored text also is a training text.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "split": ("auto", "official", "random")
    }

    split: str = "auto"
    test_fraction: float = 0.25
    seed: int = 42
    fail_on_leak: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if not 0.0 < self.test_fraction < 1.0:  # also refuses NaN
            raise ConfigError(
                f"--test-fraction is {self.test_fraction}, expected a share strictly between 0 and 1, such as 0.25."
            )


@dataclass(frozen=True, kw_only=True)
class FewLabelsSpec(_Spec):
    """How much may be learnt from few labels: the head is fitted on so many rows a class, drawn several times.

    Attributes
    ----------
    per_class : int
        Labelled rows of each class, >= 1.
    draws : int
        How often they are drawn, >= 2.
    """

    per_class: int = 8
    draws: int = 10

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        for name, least in (("per_class", 1), ("draws", 2)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}, expected at least {least}."
                )


@dataclass(frozen=True, kw_only=True)
class HeadSpec(_Spec):
    """How the classifier on top is fitted.

    Attributes
    ----------
    C : float or "auto"
        Inverse regularisation strength, > 0; ``auto`` searches by cross-validation on the training rows.
    class_weight : {"none", "balanced"}
        ``balanced`` weighs each class by the inverse of its share.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "class_weight": ("none", "balanced")
    }

    C: float | str = "auto"
    class_weight: str = "none"

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if self.C != "auto" and not (
            isinstance(self.C, float) and 0.0 < self.C < float("inf")
        ):
            raise ConfigError(
                f"--C is {shown(self.C)}, expected 'auto' or a number above 0, such as 0.1."
            )


@dataclass(frozen=True, kw_only=True)
class DecisionSpec(_Spec):
    """How answers are made of the classifier's probabilities; whatever is fitted is so on the rows fitted on alone.

    Attributes
    ----------
    calibration : {"none", "auto", "sigmoid", "isotonic", "temperature"}
        ``auto`` is the one of least cross-fitted log loss, if that gains more than its standard error, else ``none``.
    thresholds : {"none", "accuracy", "f1_macro", "f1_micro", "jaccard"}
        The metric that thresholds, one for each class or label, are chosen for; the last two of several labels a row.
    costs : str
        A CSV file of what it costs to answer one class with another; empty for none. Excludes `thresholds`.
    max_error : float
        No answer where fewer would not keep the error rate among the answered rows below, from 0 (always answer) to
        less than 1.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "calibration": ("none", "auto", "sigmoid", "isotonic", "temperature"),
        "thresholds": ("none", "accuracy", "f1_macro", "f1_micro", "jaccard"),
    }

    calibration: str = "none"
    thresholds: str = "none"
    costs: str = ""
    max_error: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if self.costs and self.thresholds != "none":
            raise ConfigError(
                f"--costs excludes --thresholds {self.thresholds}: each says which answers are best. Drop one."
            )
        if not 0.0 <= self.max_error < 1.0:  # also refuses NaN
            raise ConfigError(
                f"--max-error is {self.max_error}, expected 0 (always answer) or an error rate below 1, such as 0.05."
            )

    @property
    def given(self) -> list[str]:
        """Names of the options that differ from their defaults, as they are typed."""
        return [
            name.replace("_", "-")
            for name in self.names()
            if getattr(self, name) != getattr(DecisionSpec, name)
        ]

    @property
    def metric(self) -> str | None:
        """What the rule is chosen for, but for abstention: a metric of the answers, ``cost`` or ``log_loss``."""
        if self.costs:
            return "cost"
        if self.thresholds != "none":
            return self.thresholds
        return None if self.calibration == "none" else "log_loss"


@dataclass(frozen=True, kw_only=True)
class CascadeSpec(_Spec):
    """When words alone answer.

    Attributes
    ----------
    max_loss : float
        Points (0.01) of accuracy that this may cost, above 0 and less than 100.
    """

    max_loss: float = 0.25

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if not 0 < self.max_loss < 100:  # also refuses NaN
            raise ConfigError(
                f"--max-loss is {self.max_loss}, expected points above 0 and less than 100, such as 0.25."
            )


@dataclass(frozen=True, kw_only=True)
class PredictorSpec(_Spec):
    """What the exported file holds.

    Attributes
    ----------
    encoder_in_predictor : {"bundle", "reference"}
        The encoder's weights inside the file, or only where they are and their digests.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "encoder_in_predictor": ("bundle", "reference")
    }

    encoder_in_predictor: str = "bundle"

    def check_precision(self, precision: str) -> None:
        """Make sure that there are weights elsewhere that can be named.

        Raises
        ------
        ConfigError
            If the precision has weights of its own, made here.
        """
        if self.encoder_in_predictor == "reference" and precision == "int8":
            raise ConfigError(
                "--encoder-in-predictor reference does not go with --precision int8, whose weights are made here and "
                "stand nowhere else. Pass bundle."
            )


@dataclass(frozen=True, kw_only=True)
class PromotionSpec(_Spec):
    """When a new predictor may take the place of the one in service.

    Attributes
    ----------
    metric : {"accuracy", "f1_macro"}
        What they are compared by.
    margin : float
        Points (0.01) of the metric by which the new one may be worse, from 0 to less than 100; 0: it must be better.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "metric": ("accuracy", "f1_macro")
    }

    metric: str = "accuracy"
    margin: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if not 0 <= self.margin < 100:  # also refuses NaN
            raise ConfigError(
                f"--margin is {self.margin}, expected points from 0 to less than 100, such as 1."
            )


@dataclass(frozen=True, kw_only=True)
class ComputeSpec(_Spec):
    """How the encoder is run; never changes a result beyond rounding, so never part of a key.

    Attributes
    ----------
    backend : {"auto", "openvino", "onnxruntime", "torch"}
        The engine; ``auto`` is the fastest that runs the encoder here.
    device : str
        ``auto`` (a GPU when there is one), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
    batch_tokens : int or "auto"
        Tokens in one batch, padding included, >= 1.
    allow_lossy : bool
        Accept a precision that flips more labels than `pipeline.encoder.tolerance` allows.
    """

    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "backend": ("auto", "openvino", "onnxruntime", "torch")
    }

    backend: str = "auto"
    device: str = "auto"
    batch_tokens: int | str = "auto"
    allow_lossy: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        super().__post_init__()
        if self.batch_tokens != "auto" and not (
            type(self.batch_tokens) is int and self.batch_tokens > 0
        ):
            raise ConfigError(
                f"--batch-tokens is {shown(self.batch_tokens)}, expected 'auto' or a whole number above 0."
            )

"""The options of the command line, in groups that tasks inherit.

Each option quotes its default from the dataclass in `pipeline.config` that also checks its value.
"""

from dataclasses import fields
from typing import Any, TypeVar

import luigi

from pipeline.config import (
    LAST_LAYER,
    CascadeSpec,
    ComputeSpec,
    DatasetSpec,
    DecisionSpec,
    EncoderSpec,
    FewLabelsSpec,
    HeadSpec,
    PairSpec,
    PredictorSpec,
    SplitSpec,
)
from pipeline.errors import ConfigError, shown

Spec = TypeVar(
    "Spec",
    DatasetSpec,
    EncoderSpec,
    PairSpec,
    SplitSpec,
    HeadSpec,
    DecisionSpec,
    CascadeSpec,
    FewLabelsSpec,
    PredictorSpec,
    ComputeSpec,
)


class WholeNumber(luigi.IntParameter):
    """An int; a text that is none is a `ConfigError` that names the option."""

    def parse(self, text: str) -> int:
        """Return the number in `text`."""
        return int(_number(self, text, int, "a whole number"))


class Number(luigi.FloatParameter):
    """A float; 1 and 1.0 are the same task."""

    def parse(self, text: str) -> float:
        """Return the number in `text`."""
        return float(_number(self, text, float, "a number"))

    def normalize(self, value: float) -> float:
        """Return `value` as float."""
        return float(value)


class AutoOr(luigi.Parameter):
    """The word ``auto`` or a number."""

    def __init__(
        self, kind: type[int] | type[float], **kwargs: Any
    ) -> None:  # Any: luigi's own
        super().__init__(**kwargs)
        self._kind = kind

    def normalize(self, value: Any) -> Any:  # Any: str, int or float
        """Return ``auto`` or the number."""
        return (
            value
            if value == "auto"
            else _number(self, value, self._kind, "'auto' or a number")
        )

    def _warn_on_wrong_param_type(self, param_name: str, param_value: object) -> None:
        """Say nothing: both types are meant."""


def _number(
    parameter: Any, value: object, kind: Any, expected: str
) -> Any:  # Any: luigi keeps the name private
    try:
        return kind(value)
    except (TypeError, ValueError, OverflowError) as error:
        flag = str(parameter._attribute_name).replace("_", "-")
        raise ConfigError(
            f"--{flag} is {shown(value)}, expected {expected}."
        ) from error


def spec_of(task: luigi.Task, kind: type[Spec]) -> Spec:
    """Return the option group `kind` filled from a task's parameters, checked."""
    return kind(**{field.name: getattr(task, field.name) for field in fields(kind)})


class DatasetOptions:
    """Where the rows come from."""

    dataset = luigi.Parameter(
        default=DatasetSpec.dataset,
        description="sst2, sst2-tutorial, sample, hf:<repo>[:<config>][@<revision>], a file, or a folder with train.*",
    )
    task = luigi.Parameter(
        default=DatasetSpec.task,
        description="auto, classification, multilabel, regression",
    )
    text_column = luigi.Parameter(
        default=DatasetSpec.text_column,
        description="name or 1-based number; two as A,B: a pair of texts a row; auto",
    )
    label_column = luigi.Parameter(
        default=DatasetSpec.label_column, description="name or 1-based number; auto"
    )
    slice_column = luigi.Parameter(
        default=DatasetSpec.slice_column,
        description="a further column, name or 1-based number: accuracy is reported for each of its values",
    )
    separator = luigi.Parameter(
        default=DatasetSpec.separator,
        description="what stands between two fields; auto",
    )
    header = luigi.Parameter(default=DatasetSpec.header, description="auto, yes, no")
    empty_text = luigi.Parameter(
        default=DatasetSpec.empty_text, description="error, drop, keep"
    )
    limit = WholeNumber(
        default=DatasetSpec.limit, description="only the first N training rows; 0: all"
    )
    max_gb = Number(
        default=DatasetSpec.max_gb,
        significant=False,
        description="refuse a text file of more gigabytes, unpacked",
    )


class EncoderOptions:
    """Which vectors are taken from which transformer."""

    encoder = luigi.Parameter(
        default=EncoderSpec.encoder,
        description="hub id, local folder, or minilm (offline)",
    )
    revision = luigi.Parameter(
        default=EncoderSpec.revision, description="hub commit, tag or branch; auto"
    )
    pooling = luigi.Parameter(
        default=EncoderSpec.pooling, description="auto, cls, mean, max, pooler"
    )
    layer = WholeNumber(
        default=LAST_LAYER, description="index into hidden_states; -1: last"
    )
    max_length = WholeNumber(
        default=EncoderSpec.max_length, description="tokens kept of each text"
    )
    precision = luigi.Parameter(
        default=EncoderSpec.precision, description="float32, bfloat16, int8"
    )
    feature_dtype = luigi.Parameter(
        default=EncoderSpec.feature_dtype, description="float32, float16 in the store"
    )


class LayerOptions:
    """How many layers of the encoder are taken beside each other."""

    layers = WholeNumber(
        default=6, description="how many layers, up to and with --layer"
    )


class ViewOptions(LayerOptions):
    """Which views of one encoder are taken beside each other."""

    poolings = luigi.Parameter(
        default="", description="cls, mean, max, separated by commas; empty: --pooling"
    )


class SweepOptions(ViewOptions):
    """Which encoders and precisions are compared, each with all of the views."""

    encoders = luigi.Parameter(
        default="",
        description="as --encoder, separated by commas, which no name may hold; empty: --encoder",
    )
    precisions = luigi.Parameter(
        default="",
        description="float32, bfloat16, int8, separated by commas; empty: --precision",
    )


class PairOptions:
    """How the two texts of a row become one vector."""

    pair_encoding = luigi.Parameter(
        default=PairSpec.pair_encoding,
        description="separate: each text by itself, features (u, v, |u - v|, u v); joint: both as one sequence",
    )


class SplitOptions:
    """Which rows are fitted on, and which are scored."""

    split = luigi.Parameter(
        default=SplitSpec.split, description="auto, official, random"
    )
    test_fraction = Number(
        default=SplitSpec.test_fraction,
        description="share of rows to score, for random",
    )
    seed = WholeNumber(
        default=SplitSpec.seed, description="for random, and for cross-validation folds"
    )
    fail_on_leak = luigi.BoolParameter(
        default=SplitSpec.fail_on_leak,
        description="refuse scored texts that are training texts, too",
    )


class DecisionOptions:
    """How answers are made of probabilities."""

    calibration = luigi.Parameter(
        default=DecisionSpec.calibration,
        description="none, auto, sigmoid, isotonic, temperature",
    )
    thresholds = luigi.Parameter(
        default=DecisionSpec.thresholds,
        description="none, or the metric they are chosen for: accuracy, f1_macro; of several labels f1_micro, jaccard",
    )
    costs = luigi.Parameter(
        default=DecisionSpec.costs,
        description="a CSV file: cost of each answer (columns) to each class (rows)",
    )
    max_error = Number(
        default=DecisionSpec.max_error,
        description="error rate among answered rows that is promised; 0: answer every row",
    )


class HeadOptions(DecisionOptions):
    """How the classifier is fitted, and what is made of its probabilities."""

    C = AutoOr(
        float,
        default=HeadSpec.C,
        description="inverse regularisation; auto: cross-validated on train rows",
    )
    class_weight = luigi.Parameter(
        default=HeadSpec.class_weight, description="none, balanced"
    )


class CascadeOptions:
    """When words alone answer."""

    max_loss = Number(
        default=CascadeSpec.max_loss,
        description="points of accuracy that texts which are not encoded may cost",
    )


class FewLabelsOptions:
    """How many labels there are, and how often they are drawn."""

    per_class = WholeNumber(
        default=FewLabelsSpec.per_class, description="labelled rows of each class"
    )
    draws = WholeNumber(
        default=FewLabelsSpec.draws, description="how often these rows are drawn"
    )


class PredictorOptions:
    """What the exported file holds."""

    encoder_in_predictor = luigi.Parameter(
        default=PredictorSpec.encoder_in_predictor,
        description="bundle: the weights inside; reference: where they are and their digests",
    )


class ComputeOptions:
    """How the encoder is run; part of no key."""

    backend = luigi.Parameter(
        default=ComputeSpec.backend,
        significant=False,
        description="auto, openvino, onnxruntime, torch",
    )
    device = luigi.Parameter(
        default=ComputeSpec.device,
        significant=False,
        description="auto, cpu, cuda, cuda:1, mps",
    )
    batch_tokens = AutoOr(
        int,
        default=ComputeSpec.batch_tokens,
        significant=False,
        description="tokens in a batch, padding included",
    )
    allow_lossy = luigi.BoolParameter(
        default=ComputeSpec.allow_lossy,
        significant=False,
        description="accept a precision that flips more labels than is allowed",
    )

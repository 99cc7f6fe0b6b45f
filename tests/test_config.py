import dataclasses
import math

import pytest

from pipeline.config import (
    ComputeSpec,
    DatasetSpec,
    EncoderSpec,
    HeadSpec,
    PredictorSpec,
    SplitSpec,
    fingerprint,
)
from pipeline.errors import ConfigError

SPECS = (DatasetSpec, EncoderSpec, SplitSpec, HeadSpec, PredictorSpec, ComputeSpec)
CHOICES = [
    (
        DatasetSpec,
        "task",
        "--task",
        "auto, classification, multilabel, regression",
    ),
    (DatasetSpec, "header", "--header", "auto, yes, no"),
    (DatasetSpec, "empty_text", "--empty-text", "error, drop, keep"),
    (EncoderSpec, "pooling", "--pooling", "auto, cls, mean, max, pooler"),
    (EncoderSpec, "precision", "--precision", "float32, bfloat16, int8"),
    (EncoderSpec, "feature_dtype", "--feature-dtype", "float32, float16"),
    (SplitSpec, "split", "--split", "auto, official, random"),
    (HeadSpec, "class_weight", "--class-weight", "none, balanced"),
    (
        PredictorSpec,
        "encoder_in_predictor",
        "--encoder-in-predictor",
        "bundle, reference",
    ),
    (ComputeSpec, "backend", "--backend", "auto, openvino, onnxruntime, torch"),
]


def test_fingerprint_never_changes():
    """Every key of every cache ever written rests on this value: it is SHA-256 of the canonical JSON."""
    fields = {"a": 1, "b": ["é", None, True], "c": 0.25}

    assert (
        fingerprint(fields)
        == "5b2c9b242c43caa01d7d6e242f0fe483db8a96b4877e6d932ee9810cbe2aaf93"
    )


def test_fingerprint_ignores_the_order_of_keys():
    one = {"a": 1, "b": {"c": 2, "d": 3}}
    other = {"b": {"d": 3, "c": 2}, "a": 1}

    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"layer": -2, "name": "x"},
        {"layer": "-1", "name": "x"},
        {"layer": -1, "name": "X"},
        {"layer": -1, "name": "x "},
        {"layer": -1, "nome": "x"},
        {"layer": -1},
    ],
)
def test_fingerprint_changes_with_any_key_or_value(changed):
    assert fingerprint(changed) != fingerprint({"layer": -1, "name": "x"})


def test_fingerprint_tells_unicode_forms_apart():
    assert fingerprint({"text": "\u00e9"}) != fingerprint({"text": "e\u0301"})


def test_fingerprint_accepts_a_lone_surrogate():
    assert fingerprint({"text": "\ud800"}) != fingerprint({"text": "\ud801"})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_fingerprint_refuses_numbers_that_json_has_not(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        fingerprint({"a": [value]})


def test_choices_below_are_all_there_are():
    declared = {(spec, name) for spec in SPECS for name in spec.choices}

    assert declared == {(spec, name) for spec, name, _, _ in CHOICES}


@pytest.mark.parametrize(("spec", "option", "flag", "allowed"), CHOICES)
def test_choice_refuses_another_word_and_lists_the_allowed_ones(
    spec, option, flag, allowed
):
    with pytest.raises(
        ConfigError, match=f"^{flag} is 'wrong', expected one of: {allowed}\\.$"
    ):
        spec(**{option: "wrong"})


@pytest.mark.parametrize(("spec", "option", "flag", "allowed"), CHOICES)
def test_choice_accepts_each_allowed_word(spec, option, flag, allowed):
    words = allowed.split(", ")

    assert [getattr(spec(**{option: word}), option) for word in words] == words


def test_choice_message_cuts_a_long_value():
    with pytest.raises(ConfigError, match=r"^--pooling is 'x{78}…, expected one of:"):
        EncoderSpec(pooling="x" * 1000)


def test_dataset_defaults_are_the_contract():
    assert dataclasses.asdict(DatasetSpec()) == {
        "dataset": "sst2",
        "task": "auto",
        "text_column": "auto",
        "label_column": "auto",
        "slice_column": "",
        "separator": "auto",
        "header": "auto",
        "empty_text": "error",
        "limit": 0,
        "max_gb": 64.0,
    }


def test_encoder_defaults_are_the_contract():
    assert dataclasses.asdict(EncoderSpec()) == {
        "encoder": "distilbert-base-uncased",
        "revision": "auto",
        "pooling": "auto",
        "layer": -1,
        "max_length": 128,
        "precision": "float32",
        "feature_dtype": "float32",
    }


def test_split_defaults_are_the_contract():
    assert dataclasses.asdict(SplitSpec()) == {
        "split": "auto",
        "test_fraction": 0.25,
        "seed": 42,
        "fail_on_leak": False,
    }


def test_head_defaults_are_the_contract():
    assert dataclasses.asdict(HeadSpec()) == {"C": "auto", "class_weight": "none"}


def test_compute_defaults_are_the_contract():
    assert dataclasses.asdict(ComputeSpec()) == {
        "backend": "auto",
        "device": "auto",
        "batch_tokens": "auto",
        "allow_lossy": False,
    }


def test_dataset_refuses_a_negative_limit():
    with pytest.raises(
        ConfigError, match=r"--limit is -1, expected 0 \(all rows\) or a number"
    ):
        DatasetSpec(limit=-1)


@pytest.mark.parametrize("max_gb", [0.0, -1.0, float("nan")])
def test_dataset_refuses_a_size_limit_that_nothing_fits(max_gb):
    with pytest.raises(ConfigError, match=r"--max-gb is .*above 0, such as 64"):
        DatasetSpec(max_gb=max_gb)


def test_dataset_refuses_an_empty_name():
    with pytest.raises(
        ConfigError, match="--dataset is empty, expected a data set name, a file"
    ):
        DatasetSpec(dataset="")


def test_encoder_refuses_an_empty_name():
    with pytest.raises(
        ConfigError, match="--encoder is empty, expected a hub id, a local folder"
    ):
        EncoderSpec(encoder="")


@pytest.mark.parametrize("length", [1, 0, -1])
def test_encoder_refuses_less_than_two_tokens(length):
    with pytest.raises(
        ConfigError, match=f"--max-length is {length}, expected at least 2 tokens"
    ):
        EncoderSpec(max_length=length)


def test_encoder_accepts_two_tokens():
    assert EncoderSpec(max_length=2).max_length == 2


@pytest.mark.parametrize("layer", [0, 1, -2])
def test_encoder_refuses_the_pooler_of_another_layer(layer):
    with pytest.raises(ConfigError, match=rf"got --layer {layer}\. Drop --layer"):
        EncoderSpec(pooling="pooler", layer=layer)


@pytest.mark.parametrize(
    ("precision", "recipe"),
    [
        ("float32", "float32-v1"),
        ("bfloat16", "bfloat16-v1"),
        ("int8", "int8-static-v2"),
    ],
)
def test_recipe_names_the_arithmetic_and_its_version(precision, recipe):
    assert EncoderSpec(precision=precision).recipe == recipe


@pytest.mark.parametrize("share", [0.0, 1.0, 1.5, -0.25, math.nan, math.inf])
def test_split_refuses_a_fraction_that_is_no_share(share):
    with pytest.raises(
        ConfigError,
        match=rf"--test-fraction is {share}, expected a share strictly between 0 and 1",
    ):
        SplitSpec(test_fraction=share)


@pytest.mark.parametrize("share", [1e-9, 0.5, 0.999])
def test_split_accepts_a_fraction_between(share):
    assert SplitSpec(test_fraction=share).test_fraction == share


@pytest.mark.parametrize("C", [0.0, -1.0, math.inf, -math.inf, math.nan, "x", ""])
def test_head_refuses_a_C_that_is_no_number_above_zero(C):
    with pytest.raises(
        ConfigError, match=r"--C is .*, expected 'auto' or a number above 0"
    ):
        HeadSpec(C=C)


def test_head_accepts_a_C_above_zero():
    assert HeadSpec(C=0.1).C == 0.1


@pytest.mark.parametrize("tokens", [0, -1, "x", 1.5])
def test_compute_refuses_batch_tokens_that_are_no_count(tokens):
    with pytest.raises(
        ConfigError,
        match=r"--batch-tokens is .*, expected 'auto' or a whole number above 0",
    ):
        ComputeSpec(batch_tokens=tokens)


def test_compute_accepts_one_batch_token():
    assert ComputeSpec(batch_tokens=1).batch_tokens == 1


def test_a_changed_copy_is_checked_again():
    with pytest.raises(ConfigError, match="expected at least 2 tokens"):
        dataclasses.replace(EncoderSpec(), max_length=1)


@pytest.mark.parametrize("spec", SPECS)
def test_an_option_group_cannot_be_changed(spec):
    name = spec.names()[0]

    with pytest.raises(dataclasses.FrozenInstanceError, match=name):
        setattr(spec(), name, "other")


def test_names_lists_the_options_of_a_group():
    assert SplitSpec.names() == (
        "split",
        "test_fraction",
        "seed",
        "fail_on_leak",
    )


def test_no_option_belongs_to_two_groups():
    names = [name for spec in SPECS for name in spec.names()]

    assert len(names) == len(set(names))

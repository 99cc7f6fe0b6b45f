"""A quantized encoder as named arrays, the content of ``int8.safetensors``."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.bert import (
    AnyLinear,
    Bert,
    Layer,
    Linear,
    Norm,
    QuantizedLinear,
    arrays_of,
    settings_of,
)

PREFIX = "int8."
Arrays = Mapping[str, NDArray[Any]]  # Any: float32 and int8
LINEARS = ("query", "key", "value", "out", "up", "down")


def is_quantized(weights: Arrays) -> bool:
    """Tell whether weights are those that `to_arrays` gave."""
    return any(name.startswith(PREFIX) for name in weights)


def to_arrays(bert: Bert) -> dict[str, NDArray[Any]]:
    """Return the weights of a quantized encoder."""
    return {
        PREFIX + name: np.ascontiguousarray(array)
        for name, array in arrays_of(bert).items()
    }


def from_arrays(weights: Arrays, config: Mapping[str, Any]) -> Bert:
    """Return the encoder that `to_arrays` took apart.

    Parameters
    ----------
    weights : mapping of str to ndarray
    config : mapping
        The JSON of ``config.json``.
    """
    named = {name.removeprefix(PREFIX): array for name, array in weights.items()}
    n_layers = 1 + max(
        (int(name.split(".")[1]) for name in named if name.startswith("layers.")),
        default=-1,
    )
    return Bert(
        words=named["words"],
        positions=named["positions"],
        norm=_norm(named, "norm"),
        layers=tuple(_layer(named, f"layers.{i}") for i in range(n_layers)),
        pooler=_linear(named, "pooler") if "pooler.weight" in named else None,  # type: ignore[arg-type]  # kept exact
        **settings_of(config),
    )


def _layer(named: Arrays, name: str) -> Layer:
    exact = None
    if f"{name}.exact.1" in named:
        first = _linear(named, f"{name}.exact.0")
        assert isinstance(first, Linear)  # exact
        exact = (first, named[f"{name}.exact.1"])
    query, key, value, out, up, down = (
        _linear(named, f"{name}.{part}") for part in LINEARS
    )
    return Layer(
        query=query,
        key=key,
        value=value,
        out=out,
        attention_norm=_norm(named, f"{name}.attention_norm"),
        up=up,
        down=down,
        output_norm=_norm(named, f"{name}.output_norm"),
        exact=exact,
    )


def _linear(named: Arrays, name: str) -> AnyLinear:
    kind = QuantizedLinear if f"{name}.scale" in named else Linear
    return kind(**{field.name: named[f"{name}.{field.name}"] for field in fields(kind)})


def _norm(named: Arrays, name: str) -> Norm:
    return Norm(named[f"{name}.scale"], named[f"{name}.shift"])

"""The weights of a BERT, DistilBERT or RoBERTa under one set of names; numpy alone.

These architectures do the same arithmetic (Devlin et al. 2019; the post-norm Transformer encoder of Vaswani et al.
2017) and differ in the names of their weights and in how tokens are numbered, so one graph serves them all.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
ACTIVATIONS = {"gelu": "erf", "gelu_new": "tanh", "gelu_pytorch_tanh": "tanh"}
DISTILBERT = {  # its names for BERT's, inside one layer
    "attention.self.query": "attention.q_lin",
    "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin",
    "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm",
    "intermediate.dense": "ffn.lin1",
    "output.dense": "ffn.lin2",
    "output.LayerNorm": "output_layer_norm",
}
ROBERTA = ("roberta", "xlm-roberta", "camembert")
PREFIXES = ("", "bert.", "distilbert.", "roberta.")  # of checkpoints with heads


@dataclass(frozen=True)
class Linear:
    """``x @ weight.T + bias``: weight float32 (out, in), bias float32 (out,)."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class QuantizedLinear:
    """A `Linear` on integers, see `pipeline.encoder.quantize`: ``(q @ weight.T) * scale + bias``.

    ``q`` is ``x * factor + shift``, rounded to the nearest integer (half to even) and cut to -128 to 127.

    Attributes
    ----------
    weight : ndarray of int8, shape (out, in)
        -63 to 63: two products with 8-bit integers then fit the 16 bits that processors without VNNI add them in, so
        every processor adds them exactly.
    scale, bias : ndarray of float32, shape (out,)
    factor, shift : ndarray of float32, shape (in,)
    """

    weight: NDArray[np.int8]
    scale: Array
    bias: Array
    factor: Array
    shift: Array


AnyLinear = Linear | QuantizedLinear


@dataclass(frozen=True)
class Norm:
    """Layer normalisation over the last axis: scale and shift, float32 (d,)."""

    scale: Array
    shift: Array


@dataclass(frozen=True)
class Layer:
    """One layer: self-attention and feed-forward, each followed by adding its input and normalising.

    Of a quantized layer `exact` are the few hidden units of the feed-forward with the largest values, which stay
    float32: up (m, d), then down (d, m) without bias; `up` and `down` are then without them.
    """

    query: AnyLinear
    key: AnyLinear
    value: AnyLinear
    out: AnyLinear
    attention_norm: Norm
    up: AnyLinear
    down: AnyLinear
    output_norm: Norm
    exact: tuple[Linear, Array] | None = None


@dataclass(frozen=True)
class Bert:
    """An encoder's weights.

    Attributes
    ----------
    words : ndarray of float32, shape (v, d)
    positions : ndarray of float32, shape (p, d)
        Row 0 of the token types is added, as all tokens of a single text are of type 0.
    second : ndarray of float32, shape (d,), or None
        What a token of a pair's second text has beside: row 1 of the token types less row 0. None where the encoder
        makes no difference (DistilBERT, RoBERTa).
    norm : Norm
        Of the embeddings.
    layers : tuple of Layer
    pooler : Linear or None
        Where it was trained: behind [CLS] of the last layer, followed by tanh.
    n_heads : int
    epsilon : float
        Of every layer normalisation, inside the square root.
    gelu : {"erf", "tanh"}
    pad_id : int or None
        RoBERTa numbers tokens from ``pad_id + 1`` and skips those that are the padding token; None counts from 0.
    """

    words: Array
    positions: Array
    norm: Norm
    layers: tuple[Layer, ...]
    pooler: Linear | None
    n_heads: int
    epsilon: float
    gelu: str
    pad_id: int | None
    second: Array | None = None

    @property
    def places(self) -> Array:
        """Return a row for each place in a text, then in a pair's second text where that differs: (p or 2p, d)."""
        if self.second is None:
            return self.positions
        return np.concatenate([self.positions, self.positions + self.second])

    @property
    def dim(self) -> int:
        """Return the length of a hidden state."""
        return int(self.words.shape[1])

    @property
    def n_parameters(self) -> int:
        """Return how many numbers the weights are."""
        return sum(array.size for array in arrays_of(self).values())


def place_ids(
    bert: Bert,
    input_ids: NDArray[np.integer[Any]],
    segments: NDArray[np.integer[Any]] | None = None,
) -> NDArray[np.int32]:
    """Return each token's row in `Bert.places`: (n, t) -> (n, t).

    Parameters
    ----------
    bert : Bert
    input_ids : ndarray of int, shape (n, t)
    segments : ndarray of int, shape (n, t), optional
        0 or 1; None: all 0.
    """
    places = position_ids(input_ids, bert.pad_id)
    if segments is None or bert.second is None:
        return places
    return np.asarray(places + segments * len(bert.positions), dtype=np.int32)


def position_ids(
    input_ids: NDArray[np.integer[Any]], pad_id: int | None
) -> NDArray[np.int32]:
    """Return each token's row in `Bert.positions`: (n, t) -> (n, t).

    Parameters
    ----------
    input_ids : ndarray of int, shape (n, t)
    pad_id : int or None
        `Bert.pad_id`.
    """
    if pad_id is None:
        places = np.arange(input_ids.shape[1], dtype=np.int32)
        return np.ascontiguousarray(np.broadcast_to(places, input_ids.shape))
    real = input_ids != pad_id
    places = (np.cumsum(real, axis=1) * real + pad_id).astype(np.int32)
    return np.asarray(places)


def bert_of(
    config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]
) -> Bert | None:  # Any: JSON values, and weights of any stored dtype
    """Return the encoder of a checkpoint, or None if it is of another architecture or stored in an unknown way.

    Parameters
    ----------
    config : mapping
        The JSON of ``config.json``.
    weights : mapping of str to ndarray
        As stored: names may carry a prefix (``bert.``) or belong to other heads.
    """
    kind = config["model_type"]
    if kind not in ("bert", "distilbert", *ROBERTA) or not _is_plain(config):
        return None
    try:
        bert = _read(config, _without_prefix(weights))
        return bert if _fits(bert, config) else None
    except (
        KeyError,
        TypeError,
        ValueError,
        IndexError,
        StopIteration,
    ):  # named or set as in no release known
        return None


def arrays_of(part: Any, name: str = "") -> dict[str, NDArray[Any]]:
    """Return every array of a `Bert`, or of a part of one, by its path: ``layers.0.query.weight``."""
    if isinstance(part, np.ndarray):
        return {name: part}
    if isinstance(part, tuple):
        inner = {str(i): value for i, value in enumerate(part)}
    elif is_dataclass(part):
        inner = {field.name: getattr(part, field.name) for field in fields(part)}
    else:
        return {}
    found: dict[str, NDArray[Any]] = {}
    for key, value in inner.items():
        found |= arrays_of(value, f"{name}.{key}" if name else key)
    return found


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a `Bert` that are no arrays."""
    distil, roberta = (
        config["model_type"] in kinds for kinds in (["distilbert"], ROBERTA)
    )
    return {
        "n_heads": config["n_heads" if distil else "num_attention_heads"],
        "epsilon": 1e-12 if distil else float(config.get("layer_norm_eps", 1e-12)),
        "gelu": ACTIVATIONS[_activation(config)],
        "pad_id": int(config.get("pad_token_id", 1)) if roberta else None,
    }


def _fits(bert: Bert, config: Mapping[str, Any]) -> bool:
    """Tell whether the shapes fit each other and the configuration."""
    dim = bert.dim
    found = (dim, len(bert.words), len(bert.positions))
    width = config["dim" if config["model_type"] == "distilbert" else "hidden_size"]
    if found != (width, config["vocab_size"], config["max_position_embeddings"]):
        return False
    if bert.pooler is not None and bert.pooler.weight.shape != (dim, dim):
        return False
    if not 0 <= (config.get("pad_token_id") or 0) < len(bert.words):
        return False
    for layer in bert.layers:
        hidden = len(layer.up.bias)
        wanted = [(dim, dim)] * 4 + [(hidden, dim), (dim, hidden)]
        linears = (layer.query, layer.key, layer.value, layer.out, layer.up, layer.down)
        if [linear.weight.shape for linear in linears] != wanted:
            return False
        biases = [len(linear.bias) for linear in linears]
        if biases != [dim] * 4 + [hidden, dim]:
            return False
    norms = [
        bert.norm,
        *(
            norm
            for layer in bert.layers
            for norm in (layer.attention_norm, layer.output_norm)
        ),
    ]
    return (
        bert.n_heads > 0
        and dim % bert.n_heads == 0
        and all(norm.scale.shape == norm.shift.shape == (dim,) for norm in norms)
    )


def _activation(config: Mapping[str, Any]) -> Any:
    name = "activation" if config["model_type"] == "distilbert" else "hidden_act"
    return config.get(name, "gelu")


def _is_plain(config: Mapping[str, Any]) -> bool:
    """Tell whether the settings that change the arithmetic are at their usual values."""
    return (
        _activation(config) in ACTIVATIONS
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("is_decoder")
        and not config.get("add_cross_attention")
    )


def _without_prefix(weights: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return the weights with names as of the bare encoder; TensorFlow's gamma and beta are weight and bias."""
    first = "embeddings.word_embeddings.weight"
    prefix = next(prefix for prefix in PREFIXES if prefix + first in weights)
    renamed = {}
    for name, value in weights.items():
        if name.startswith(prefix):
            short = name.removeprefix(prefix)
            short = short.replace("LayerNorm.gamma", "LayerNorm.weight")
            renamed[short.replace("LayerNorm.beta", "LayerNorm.bias")] = value
    return renamed


def _read(config: Mapping[str, Any], weights: Mapping[str, NDArray[Any]]) -> Bert:
    distil = config["model_type"] == "distilbert"

    def array(name: str) -> Array:
        return np.ascontiguousarray(weights[name], dtype=np.float32)

    def linear(name: str) -> Linear:
        return Linear(array(f"{name}.weight"), array(f"{name}.bias"))

    def norm(name: str) -> Norm:
        return Norm(array(f"{name}.weight"), array(f"{name}.bias"))

    def layer(i: int) -> Layer:
        def part(name: str) -> str:
            if distil:
                return f"transformer.layer.{i}.{DISTILBERT[name]}"
            return f"encoder.layer.{i}.{name}"

        return _layer(part, linear, norm)

    positions = array("embeddings.position_embeddings.weight")
    second = None
    if not distil:
        types = array("embeddings.token_type_embeddings.weight")
        if types.shape[1] != positions.shape[1]:
            raise ValueError("token types of another length")
        positions = positions + types[0]
        second = types[1] - types[0] if len(types) > 1 else None
    n_layers = config["n_layers" if distil else "num_hidden_layers"]
    has_pooler = "pooler.dense.weight" in weights
    return Bert(
        words=array("embeddings.word_embeddings.weight"),
        positions=positions,
        norm=norm("embeddings.LayerNorm"),
        layers=tuple(layer(i) for i in range(n_layers)),
        pooler=linear("pooler.dense") if has_pooler else None,
        second=second,
        **settings_of(config),
    )


def _layer(
    part: Callable[[str], str],
    linear: Callable[[str], Linear],
    norm: Callable[[str], Norm],
) -> Layer:
    return Layer(
        query=linear(part("attention.self.query")),
        key=linear(part("attention.self.key")),
        value=linear(part("attention.self.value")),
        out=linear(part("attention.output.dense")),
        attention_norm=norm(part("attention.output.LayerNorm")),
        up=linear(part("intermediate.dense")),
        down=linear(part("output.dense")),
        output_norm=norm(part("output.LayerNorm")),
    )

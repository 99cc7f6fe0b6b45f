"""The recipe ``int8-static-v2``: 7-bit integers for weights and 8-bit ones for activations, made from fixed texts.

Every linear map but those of the last layer's one row a text is quantized:

- Weights: one scale an output, symmetric, -63 to 63, chosen one input after another so that later ones take back
  the rounding of earlier ones (GPTQ; Frantar et al. 2023, arXiv:2210.17323).
- Inputs: 256 levels with fixed ends, so that a text's features do not depend on its batch. What is hard to represent
  in the inputs is moved to the weights, column by column (SmoothQuant; Xiao et al. 2023, arXiv:2211.10438), by the
  strength that costs the least error; columns may be centred first.
- The hidden units of each feed-forward with the largest values stay float32: a few carry most of the error.
- The mean error that remains is taken off the bias (Nagel et al. 2019, arXiv:1906.04721).

Ends and strengths come from the hidden states of the texts in ``calibration.txt`` and of random tokens, never from a
user's rows: the same encoder gives the same integers for every data set.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, lapack
from tokenizers import Tokenizer

from pipeline.config import EncoderSpec
from pipeline.encoder.batching import batches_by_length, padded
from pipeline.encoder.bert import AnyLinear, Array, Bert, Layer, Linear, QuantizedLinear
from pipeline.encoder.engine import (
    View,
    ends_in_first_token,
    layers_to_run,
    views_of,
)
from pipeline.encoder.engine_onnx import Compiled
from pipeline.encoder.graph import write_graph
from pipeline.encoder.tokens import TokenCutter
from pipeline.errors import EncoderError

N_RANDOM = 100  # texts of random tokens
RANDOM_TOKENS = (4, 60)
BATCH_TOKENS = 4_096
STRENGTHS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
N_TRIED = 512  # rows that strengths are tried on
N_EXACT = 16  # hidden units that stay float32
TOP = 127  # of inputs
WEIGHT_TOP = 63  # see `pipeline.encoder.bert.QuantizedLinear`
DAMPING = 0.01  # of the mean diagonal, as in GPTQ's own code
BLOCK = 128


def quantize(bert: Bert, tokenizer: Tokenizer, spec: EncoderSpec) -> Bert:
    """Return the encoder with the layers quantized that `spec` asks for; the others stay as they are.

    It is for single texts, as those that the integers are made from.

    Parameters
    ----------
    bert : Bert
        Not quantized.
    tokenizer : tokenizers.Tokenizer
        Without truncation and padding.
    spec : EncoderSpec
        Its layers and pooling say which layers are run, and which of them for one row a text. A layer's integers
        depend on nothing else, so those of several layers are those of each alone, but for ``cls``.
    """
    views = views_of(bert, [spec])
    n_full = layers_to_run(views) - ends_in_first_token(views)
    tokens = list(_calibration_tokens(tokenizer, spec.max_length))
    layers = list(bert.layers)
    for i in range(n_full):
        layers[i] = _quantize_layer(layers[i], _inputs(bert, tokens, i))
    return replace(bert, layers=tuple(layers), second=None)


def _calibration_tokens(
    tokenizer: Tokenizer, max_length: int
) -> Iterator[NDArray[np.int32]]:
    """Yield the ids of the calibration texts, then of random ones."""
    texts = files("pipeline.encoder").joinpath("calibration.txt").read_text("utf-8")
    cut = TokenCutter(tokenizer, max_length, filler=0)
    yield from cut(texts.splitlines()).ids
    special = tokenizer.encode("").ids
    known = set(tokenizer.get_added_tokens_decoder()) | set(special)
    plain = [i for i in range(tokenizer.get_vocab_size()) if i not in known] or [0]
    drawn = np.random.RandomState(0)  # the one generator whose stream never changes
    for _ in range(N_RANDOM):
        size = min(drawn.randint(*RANDOM_TOKENS), max(1, max_length - len(special)))
        middle = [plain[i] for i in drawn.randint(0, len(plain), size)]
        yield np.array(special[:1] + middle + special[1:], dtype=np.int32)


@dataclass(frozen=True)
class _Inputs:
    """What a layer's linear maps got, one row a token: query, key and value (m, d); out; up; down (m, f)."""

    attention: Array
    out: Array
    up: Array
    down: Array


def _inputs(bert: Bert, tokens: list[NDArray[np.int32]], layer: int) -> _Inputs:
    """Run the encoder up to a layer and return what its linear maps get of the tokens that are no padding."""
    views = [View(layer + 1, "mean")]
    run = Compiled(bert, partial(write_graph, views=views, probed=layer))
    found: list[list[Array]] = []
    for rows in batches_by_length([len(ids) for ids in tokens], BATCH_TOKENS):
        ids, mask = padded([tokens[i] for i in rows], 0)
        kept = mask.ravel().astype(bool)
        _, *seen = run(ids, mask)
        found.append([part[kept] for part in seen])
    if not all(np.isfinite(array).all() for batch in found for array in batch):
        raise EncoderError(
            f"The encoder's hidden states before layer {layer + 1} hold NaN or infinity: no 8-bit weights can be made. "
            "Pass --precision float32, or another encoder."
        )
    return _Inputs(*(np.concatenate(part) for part in zip(*found, strict=True)))


def _quantize_layer(layer: Layer, inputs: _Inputs) -> Layer:
    query, key, value, up, down = (
        _float(part)
        for part in (layer.query, layer.key, layer.value, layer.up, layer.down)
    )
    joined = Linear(
        np.concatenate([query.weight, key.weight, value.weight]),
        np.concatenate([query.bias, key.bias, value.bias]),
    )
    parts = _split(_quantize(joined, inputs.attention))
    order = np.argsort(-np.abs(inputs.down).max(0), kind="stable")
    n_exact = min(N_EXACT, len(order) // 8)
    exact, rest = np.sort(order[:n_exact]), np.sort(order[n_exact:])
    return replace(
        layer,
        query=parts[0],
        key=parts[1],
        value=parts[2],
        out=_quantize(_float(layer.out), inputs.out),
        up=_quantize(Linear(up.weight[rest], up.bias[rest]), inputs.up),
        down=_quantize(Linear(down.weight[:, rest], down.bias), inputs.down[:, rest]),
        exact=(Linear(up.weight[exact], up.bias[exact]), down.weight[:, exact]),
    )


def _float(linear: AnyLinear) -> Linear:
    assert isinstance(linear, Linear)  # it is quantized once
    return linear


def _split(joined: QuantizedLinear) -> list[QuantizedLinear]:
    """Take query, key and value apart again; they share their input's levels."""
    columns = (joined.weight, joined.scale, joined.bias)
    return [
        replace(joined, weight=weight, scale=scale, bias=bias)
        for weight, scale, bias in zip(*(np.split(a, 3) for a in columns), strict=True)
    ]


@dataclass(frozen=True)
class _Levels:
    """Where an input's columns are rounded to: ``centre + factor * step * {-128 … 127}``; all float32.

    ``centre`` and ``factor`` have shape (in,).
    """

    centre: Array
    factor: Array
    step: np.float32

    def rounded(self, x: Array) -> Array:
        """Return the inputs as the integers stand for them, without centre and factor."""
        whole = np.round((x - self.centre) / (self.factor * self.step))
        return (np.clip(whole, -TOP - 1, TOP) * self.step).astype(np.float32)


def _quantize(linear: Linear, x: Array) -> QuantizedLinear:
    """Return a linear map on integers that gives for the inputs `x`, shape (m, in), nearly what `linear` gives."""
    levels = _best_levels(linear, x)
    rounded = levels.rounded(x)
    weight, scale = _gptq(linear.weight * levels.factor, rounded)
    error = (x @ linear.weight.T).mean(0) - (rounded @ (weight * scale).T).mean(0)
    reach = levels.factor * levels.step
    return QuantizedLinear(
        weight=weight,
        scale=scale[:, 0] * levels.step,
        bias=(linear.bias + error).astype(np.float32),
        factor=np.float32(1) / reach,
        shift=-levels.centre / reach,
    )


def _best_levels(linear: Linear, x: Array) -> _Levels:
    """Return the levels with the least squared error of the output among those tried."""
    tried = x[:: max(1, len(x) // N_TRIED)]
    wanted = tried @ linear.weight.T

    def error(levels: _Levels) -> float:
        weight, scale = _to_nearest(linear.weight * levels.factor)
        found = (
            levels.rounded(tried) @ (weight * scale).T + linear.weight @ levels.centre
        )
        return float(np.square(found - wanted).sum())

    return min(_candidates(linear.weight, x), key=error)


def _candidates(weight: Array, x: Array) -> Iterator[_Levels]:
    low, high = x.min(0), x.max(0)
    least = 1e-5 * max(1.0, float(np.abs(x).max()))
    largest = np.maximum(np.abs(weight).max(0), 1e-8)
    for centre in (np.zeros_like(low), (low + high) / 2):
        reach = np.maximum(np.maximum(high - centre, centre - low), least)
        for strength in STRENGTHS:
            factor = reach**strength / largest ** (1 - strength)
            factor = (factor / np.exp(np.log(factor).mean())).astype(np.float32)
            yield _Levels(centre, factor, np.float32((reach / factor).max() / TOP))


def _to_nearest(weight: Array) -> tuple[NDArray[np.int8], Array]:
    scale = _scale(weight)
    whole = np.clip(np.round(weight / scale), -WEIGHT_TOP, WEIGHT_TOP)
    return whole.astype(np.int8), scale


def _scale(weight: Array) -> Array:
    largest = np.maximum(np.abs(weight).max(1, keepdims=True), 1e-8)
    return np.asarray(largest / WEIGHT_TOP, dtype=np.float32)


def _gptq(weight: Array, x: Array) -> tuple[NDArray[np.int8], Array]:
    """Return integers (out, in) and scales (out, 1) whose product with the inputs `x` (m, in) is nearly `weight`'s.

    Input by input: what rounding its column cost is made up for by the columns that are still to be rounded, weighed
    by the inverse of the inputs' second moments.
    """
    scale = _scale(weight)
    steps = scale[:, 0].astype(np.float64)
    upper = _inverse_root(x)
    left = weight.astype(np.float64)
    whole = np.empty_like(left)
    for begin in range(0, left.shape[1], BLOCK):
        block = slice(begin, min(begin + BLOCK, left.shape[1]))
        errors = np.empty_like(left[:, block])
        for j in range(block.start, block.stop):
            nearest = np.round(left[:, j] / steps)
            whole[:, j] = np.clip(nearest, -WEIGHT_TOP, WEIGHT_TOP)
            error = (left[:, j] - whole[:, j] * steps) / upper[j, j]
            left[:, j : block.stop] -= np.outer(error, upper[j, j : block.stop])
            errors[:, j - begin] = error
        left[:, block.stop :] -= errors @ upper[block, block.stop :]
    return whole.astype(np.int8), scale


def _inverse_root(x: Array) -> NDArray[np.float64]:
    """Return the upper triangular U with UᵀU the inverse of the damped second moments of `x`; shape (in, in)."""
    moments = (x.T @ x).astype(np.float64)
    diagonal = np.einsum("ii->i", moments)
    diagonal += DAMPING * diagonal.mean() + np.finfo(np.float32).tiny
    backwards = cholesky(moments[::-1, ::-1], lower=True)
    root = backwards[::-1, ::-1]  # upper triangular, and root @ root.T are the moments
    return np.asarray(lapack.dtrtri(root, lower=0)[0])

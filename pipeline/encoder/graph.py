"""The OpenVINO graph of a `pipeline.encoder.bert.Bert`: token ids in, one feature vector a text out.

The graph does what the features need and no more. Of a text's last hidden state ``cls`` pooling takes the first
token alone, so the last layer computes nothing else; and with that single query, the projections of keys and values
are applied to it instead of to every token: ``q·(W_k h) = (W_kᵀ q)·h``, ``Σ p (W_v h + b) = W_v (Σ p h) + b``. What
``b_k`` adds to a query's scores is the same for all tokens and cancels in the softmax.

Shapes: n texts of t tokens, padding included; hidden states are kept as rows, (n·t, d).
"""

import math

import numpy as np
import openvino as ov
from numpy.typing import ArrayLike
from openvino import opset13 as op

from pipeline.encoder.bert import AnyLinear, Bert, Layer, Linear, Norm
from pipeline.encoder.engine import ends_in_first_token

MASKED = np.float32(-1e9)  # added to a score: its share of attention is then exactly 0
LOWEST = np.float32(-3e38)
LEVELS = 256


def build_graph(
    bert: Bert, *, pooling: str, n_layers: int, probed: int | None = None
) -> ov.Model:
    """Return the graph: inputs ``ids``, ``positions``, ``mask``; output float32 (n, d).

    Parameters
    ----------
    bert : Bert
    pooling : {"cls", "mean", "max", "pooler"}
    n_layers : int
        How many layers are run, 0 to all.
    probed : int, optional
        A layer of which all tokens are computed: the graph also gives what its linear maps get, float32 (n·t, in):
        query, key and value the same; out; up; down.
    """
    return _Graph(bert, pooling, n_layers, probed).model()


class _Graph:
    def __init__(
        self, bert: Bert, pooling: str, n_layers: int, probed: int | None
    ) -> None:
        self.bert, self.pooling, self.n_layers = bert, pooling, n_layers
        self.probed = None if probed is None else bert.layers[probed]
        self.seen: list[ov.Node] = []  # what the probed layer's linear maps get
        pair = ov.PartialShape([-1, -1])
        self.ids, self.positions = (op.parameter(pair, ov.Type.i32) for _ in range(2))
        self.mask = op.parameter(pair, ov.Type.f32)  # 1 for tokens, 0 for padding
        self.batch_shape = op.shape_of(self.ids, "i32")  # n, t
        padding = op.subtract(_floats(1), self.mask)
        added = op.multiply(padding, _floats(MASKED))
        self.bias3 = op.unsqueeze(added, _ints(1))  # (n, 1, t)
        self.bias4 = op.unsqueeze(self.bias3, _ints(1))  # (n, 1, 1, t)

    def model(self) -> ov.Model:
        x = self.embeddings()
        only_first = ends_in_first_token(self.pooling, self.n_layers)
        for layer in self.bert.layers[: self.n_layers - only_first]:
            x = self.layer(layer, x, self.attention(layer, x))
        if only_first:
            last = self.bert.layers[self.n_layers - 1]
            x = self.layer(last, *self.first_token(last, x))
        outputs = [self.pooled(x, only_first), *self.seen]
        results = [op.result(node) for node in outputs]
        parameters = [self.ids, self.positions, self.mask]
        return ov.Model(results, parameters, "encoder")

    def embeddings(self) -> ov.Node:
        words = op.gather(_floats(self.bert.words), self.ids, _ints(0))
        places = op.gather(_floats(self.bert.positions), self.positions, _ints(0))
        rows = op.reshape(op.add(words, places), _ints([-1, self.bert.dim]), False)
        return self.norm(rows, self.bert.norm)

    def attention(self, layer: Layer, x: ov.Node) -> ov.Node:
        """Return what each token gathers from its text: (n·t, d) -> (n·t, d)."""
        if layer is self.probed:
            self.seen.append(x)
        parts = (self.linear(x, part) for part in (layer.query, layer.key, layer.value))
        query, key, value = (self.heads(part) for part in parts)
        found = op.scaled_dot_product_attention(query, key, value, self.bias4)
        rows = op.transpose(found, _ints([0, 2, 1, 3]))  # (n, t, heads, d / heads)
        return op.reshape(rows, _ints([-1, self.bert.dim]), False)

    def heads(self, rows: ov.Node) -> ov.Node:
        """(n·t, d) -> (n, heads, t, d / heads)."""
        n_heads = self.bert.n_heads
        split = self.by_text(rows, n_heads, self.bert.dim // n_heads)
        return op.transpose(split, _ints([0, 2, 1, 3]))

    def by_text(self, rows: ov.Node, *inner: int) -> ov.Node:
        """(n·t, d) -> (n, t, inner …)."""
        shape = op.concat([self.batch_shape, _ints(inner)], 0)
        return op.reshape(rows, shape, False)

    def first_token(self, layer: Layer, x: ov.Node) -> tuple[ov.Node, ov.Node]:
        """Return the first tokens, and what they gather: (n·t, d) -> (n, d), (n, d)."""
        dim, n_heads = self.bert.dim, self.bert.n_heads
        per_head = (n_heads, dim // n_heads, dim)
        states = self.by_text(x, dim)  # (n, t, d)
        first = op.gather(states, _ints(0), _ints(1))  # (n, d)
        assert isinstance(layer.query, Linear)  # a layer of one row a text
        assert isinstance(layer.key, Linear)
        assert isinstance(layer.value, Linear)
        query = self.linear(first, layer.query)
        query = op.reshape(query, _ints([-1, *per_head[:2]]), False)
        query = op.transpose(query, _ints([1, 0, 2]))  # (heads, n, d / heads)
        key = layer.key.weight.reshape(per_head) / math.sqrt(per_head[1])
        absorbed = op.matmul(query, _floats(key), False, False)  # (heads, n, d)
        absorbed = op.transpose(absorbed, _ints([1, 0, 2]))  # (n, heads, d)
        scores = op.add(op.matmul(absorbed, states, False, True), self.bias3)
        found = op.matmul(op.softmax(scores, -1), states, False, False)  # (n, heads, d)
        found = op.transpose(found, _ints([1, 0, 2]))
        value = _floats(layer.value.weight.reshape(per_head))
        found = op.matmul(found, value, False, True)  # (heads, n, d / heads)
        found = op.reshape(
            op.transpose(found, _ints([1, 0, 2])), _ints([-1, dim]), False
        )
        return first, op.add(found, _row(layer.value.bias))

    def layer(self, layer: Layer, x: ov.Node, gathered: ov.Node) -> ov.Node:
        """Finish a layer from its input and what attention gathered: (m, d), (m, d) -> (m, d)."""
        x = self.norm(op.add(self.linear(gathered, layer.out), x), layer.attention_norm)
        hidden = self.gelu(self.linear(x, layer.up))
        found = self.linear(hidden, layer.down)
        if layer is self.probed:
            self.seen += [gathered, x, hidden]
        if layer.exact is not None:
            up, down = layer.exact
            exact = self.gelu(self.linear(x, up))
            found = op.add(found, op.matmul(exact, _floats(down), False, True))
        return self.norm(op.add(found, x), layer.output_norm)

    def linear(self, x: ov.Node, linear: AnyLinear) -> ov.Node:
        if isinstance(linear, Linear):
            weight = _floats(linear.weight)
        else:
            ends = _row(linear.low), _row(linear.high)
            stand_for = _floats(-linear.top * 128 / 127), _floats(linear.top)
            x = op.fake_quantize(x, *ends, *stand_for, LEVELS)
            whole = op.convert(op.constant(linear.weight), "f32")
            weight = op.multiply(whole, _floats(linear.scale))
        return op.add(op.matmul(x, weight, False, True), _row(linear.bias))

    def norm(self, x: ov.Node, norm: Norm) -> ov.Node:
        axes = op.constant(np.array([-1], dtype=np.int64))
        found = op.mvn(x, axes, True, self.bert.epsilon, "INSIDE_SQRT")
        return op.add(op.multiply(found, _row(norm.scale)), _row(norm.shift))

    def gelu(self, x: ov.Node) -> ov.Node:
        return op.gelu(x, self.bert.gelu.upper())

    def pooled(self, x: ov.Node, only_first: bool) -> ov.Node:
        """Return one vector a text, (n, d), of the last hidden states, or of their first tokens."""
        if only_first and self.pooling == "pooler":
            assert self.bert.pooler is not None  # as the engine saw
            return op.tanh(self.linear(x, self.bert.pooler))
        if only_first:
            return x
        states = self.by_text(x, self.bert.dim)
        if self.pooling == "cls":  # of the embeddings
            return op.gather(states, _ints(0), _ints(1))
        kept = op.unsqueeze(self.mask, _ints(2))  # (n, t, 1)
        if self.pooling == "mean":
            total = op.reduce_sum(op.multiply(states, kept), _ints(1))
            return op.divide(total, op.reduce_sum(kept, _ints(1)))
        hidden = op.multiply(op.subtract(_floats(1), kept), _floats(LOWEST))
        return op.reduce_max(op.add(states, hidden), _ints(1))


def _floats(values: ArrayLike) -> ov.Node:
    return op.constant(np.asarray(values, dtype=np.float32))


def _ints(values: ArrayLike) -> ov.Node:
    return op.constant(np.asarray(values, dtype=np.int32))


def _row(values: ArrayLike) -> ov.Node:
    return _floats(np.reshape(values, (1, -1)))

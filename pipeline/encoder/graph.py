"""The graph of a `pipeline.encoder.bert.Bert`: token ids in, one feature vector a text out, on any `Ops`.

Any number of views, pairs of a layer and a pooling, share one pass. The graph does what the features need and no more.
Of a text's last hidden state ``cls`` pooling takes the first token alone, so where no other view needs the rest, the
last layer computes nothing else; and with that single query, the projections of keys and values
are applied to it instead of to every token: ``q·(W_k h) = (W_kᵀ q)·h``, ``Σ p (W_v h + b) = W_v (Σ p h) + b``. What
``b_k`` adds to a query's scores is the same for all tokens and cancels in the softmax.

Shapes: n texts of t tokens, padding included; hidden states are kept as rows, (n·t, d).
"""

import math
from collections.abc import Iterator, Sequence

from pipeline.encoder.bert import (
    AnyLinear,
    Bert,
    Layer,
    Linear,
    QuantizedLinear,
)
from pipeline.encoder.engine import View, ends_in_first_token, layers_to_run
from pipeline.encoder.ops import IntegerOps, Node, Ops

MASKED = -1e9  # added to a score: its share of attention is then exactly 0
LOWEST = -3e38


def write_graph(
    ops: Ops,
    bert: Bert,
    *,
    views: Sequence[View],
    probed: int | None = None,
) -> list[Node]:
    """Write the graph and return its outputs, of which the first are the features of all views, float32 (n, sum of d).

    Parameters
    ----------
    ops : Ops
        Of the engine that will run it.
    bert : Bert
    views : sequence of View
        At least one.
    probed : int, optional
        A layer of which all tokens are computed: the graph also gives what its linear maps get, float32 (n·t, in):
        query, key and value the same; out; up; down.
    """
    graph = _Graph(ops, bert, probed)
    return [graph.features(views), *graph.seen]


def write_hidden_states(ops: Ops, bert: Bert, *, n_layers: int) -> list[Node]:
    """Write a graph and return its outputs: what the embeddings and then each layer give of every token, (n, t, d)."""
    states = _Graph(ops, bert).whole_states(n_layers)
    return [ops.by_text(x, bert.dim) for x in states]


class _Graph:
    def __init__(self, ops: Ops, bert: Bert, probed: int | None = None) -> None:
        self.ops, self.bert = ops, bert
        self.probed = None if probed is None else bert.layers[probed]
        self.seen: list[Node] = []  # what the probed layer's linear maps get

    def features(self, views: Sequence[View]) -> Node:
        """Return the features of all views side by side, (n, sum of d)."""
        n_layers = layers_to_run(views)
        only_first = ends_in_first_token(views)
        states = list(self.whole_states(n_layers - only_first))
        if only_first:  # of the last layer
            last = self.bert.layers[n_layers - 1]
            first = self.layer(last, *self.first_token(last, states[-1]))
        found = [
            self.read(view, first)
            if only_first and view.n_layers == n_layers
            else self.pooled(view, states[view.n_layers])
            for view in views
        ]
        return found[0] if len(found) == 1 else self.ops.side_by_side(found)

    def whole_states(self, n_layers: int) -> Iterator[Node]:
        """Yield what the embeddings and then each layer give of every token, (n·t, d)."""
        x = self.embeddings()
        yield x
        for layer in self.bert.layers[:n_layers]:
            x = self.layer(layer, x, self.attention(layer, x))
            yield x

    def embeddings(self) -> Node:
        ops, bert = self.ops, self.bert
        words = ops.look_up(bert.words, ops.ids)
        places = ops.look_up(bert.places, ops.positions)
        rows = ops.reshape(ops.add(words, places), [-1, bert.dim])
        return ops.norm(rows, bert.norm, bert.epsilon)

    def attention(self, layer: Layer, x: Node) -> Node:
        """Return what each token gathers from its text: (n·t, d) -> (n·t, d)."""
        if layer is self.probed:
            self.seen.append(x)
        query, key, value = self.linears(x, layer.query, layer.key, layer.value)
        return self.ops.attention(query, key, value, self.bert.n_heads)

    def first_token(self, layer: Layer, x: Node) -> tuple[Node, Node]:
        """Return the first tokens, and what they gather: (n·t, d) -> (n, d), (n, d)."""
        ops, dim, n_heads = self.ops, self.bert.dim, self.bert.n_heads
        per_head = (n_heads, dim // n_heads, dim)
        assert isinstance(layer.query, Linear)  # a layer of one row a text
        assert isinstance(layer.key, Linear)
        assert isinstance(layer.value, Linear)
        states = ops.by_text(x, dim)  # (n, t, d)
        first = ops.first(states)  # (n, d)
        query = ops.reshape(ops.linear(first, layer.query), [-1, *per_head[:2]])
        query = ops.transpose(query, [1, 0, 2])  # (heads, n, d / heads)
        key = layer.key.weight.reshape(per_head) / math.sqrt(per_head[1])
        absorbed = ops.matmul(query, ops.floats(key))  # (heads, n, d)
        absorbed = ops.transpose(absorbed, [1, 0, 2])  # (n, heads, d)
        scores = ops.matmul(absorbed, ops.transpose(states, [0, 2, 1]))
        padding = ops.subtract(ops.floats(1), ops.mask)
        masked = ops.add_axis(ops.multiply(padding, ops.floats(MASKED)), 1)
        share = ops.softmax(ops.add(scores, masked))  # (n, heads, t)
        found = ops.transpose(ops.matmul(share, states), [1, 0, 2])  # (heads, n, d)
        value = layer.value.weight.reshape(per_head).transpose(0, 2, 1)
        found = ops.matmul(found, ops.floats(value))  # (heads, n, d / heads)
        found = ops.reshape(ops.transpose(found, [1, 0, 2]), [-1, dim])
        return first, ops.add(found, ops.floats(layer.value.bias.reshape(1, -1)))

    def layer(self, layer: Layer, x: Node, gathered: Node) -> Node:
        """Finish a layer from its input and what attention gathered: (m, d), (m, d) -> (m, d)."""
        ops, epsilon = self.ops, self.bert.epsilon
        (found,) = self.linears(gathered, layer.out)
        x = ops.norm(ops.add(found, x), layer.attention_norm, epsilon)
        (hidden,) = self.linears(x, layer.up)
        hidden = ops.gelu(hidden, self.bert.gelu)
        if layer is self.probed:
            self.seen += [gathered, x, hidden]
        (found,) = self.linears(hidden, layer.down)
        if layer.exact is not None:
            up, down = layer.exact
            exact = ops.gelu(ops.linear(x, up), self.bert.gelu)
            found = ops.add(found, ops.matmul(exact, ops.floats(down.T)))
        return ops.norm(ops.add(found, x), layer.output_norm, epsilon)

    def linears(self, x: Node, *parts: AnyLinear) -> list[Node]:
        """Return what each of some linear maps makes of the same input; quantized ones share its integers."""
        ops = self.ops
        exact = [part for part in parts if isinstance(part, Linear)]
        if exact:
            assert len(exact) == len(parts)  # a layer's maps of one input are alike
            return [ops.linear(x, part) for part in exact]
        assert isinstance(ops, IntegerOps)  # as the choice of engine saw to
        quantized = [part for part in parts if isinstance(part, QuantizedLinear)]
        whole = ops.quantize(x, quantized[0])
        return [ops.quantized_linear(whole, part) for part in quantized]

    def read(self, view: View, first: Node) -> Node:
        """Return one vector a text of a view that reads first tokens: (n, d) -> (n, d)."""
        if view.pooling == "cls":
            return first
        assert self.bert.pooler is not None  # as the engine saw
        return self.ops.tanh(self.ops.linear(first, self.bert.pooler))

    def pooled(self, view: View, x: Node) -> Node:
        """Return one vector a text of all tokens: (n·t, d) -> (n, d)."""
        ops = self.ops
        states = ops.by_text(x, self.bert.dim)
        if view.pooling in ("cls", "pooler"):
            return self.read(view, ops.first(states))
        kept = ops.add_axis(ops.mask, 2)  # (n, t, 1)
        if view.pooling == "mean":
            return ops.divide(ops.total(ops.multiply(states, kept)), ops.total(kept))
        hidden = ops.multiply(ops.subtract(ops.floats(1), kept), ops.floats(LOWEST))
        return ops.largest(ops.add(states, hidden))

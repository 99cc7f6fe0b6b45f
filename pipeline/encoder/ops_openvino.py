"""`pipeline.encoder.ops.Ops` in OpenVINO's operations."""

from collections.abc import Sequence

import numpy as np
import openvino as ov
from numpy.typing import ArrayLike
from openvino import opset13 as op

from pipeline.encoder.bert import Array, Linear, Norm
from pipeline.encoder.graph import MASKED


class OpenVinoOps:
    """Writes one graph."""

    def __init__(self) -> None:
        pair = ov.PartialShape([-1, -1])
        self.ids, self.positions = (op.parameter(pair, ov.Type.i32) for _ in range(2))
        self.mask = op.parameter(pair, ov.Type.f32)
        self._batch_shape = op.shape_of(self.ids, "i32")  # n, t
        padding = op.subtract(self.floats(1), self.mask)
        added = op.multiply(padding, self.floats(MASKED))
        self._masked = op.unsqueeze(added, _ints([1, 2]))  # (n, 1, 1, t)

    def model(self, outputs: Sequence[ov.Node]) -> ov.Model:
        """Return the graph of these outputs."""
        inputs = [self.ids, self.positions, self.mask]
        return ov.Model([op.result(node) for node in outputs], inputs, "encoder")

    def floats(self, values: ArrayLike) -> ov.Node:
        # OpenVINO makes its own copy when it compiles the graph
        array = np.array(values, dtype=np.float32, order="C", copy=None, ndmin=0)
        return op.constant(array, shared_memory=True)

    def add(self, a: ov.Node, b: ov.Node) -> ov.Node:
        return op.add(a, b)

    def subtract(self, a: ov.Node, b: ov.Node) -> ov.Node:
        return op.subtract(a, b)

    def multiply(self, a: ov.Node, b: ov.Node) -> ov.Node:
        return op.multiply(a, b)

    def divide(self, a: ov.Node, b: ov.Node) -> ov.Node:
        return op.divide(a, b)

    def matmul(self, a: ov.Node, b: ov.Node) -> ov.Node:
        return op.matmul(a, b, False, False)

    def look_up(self, table: Array, rows: ov.Node) -> ov.Node:
        return op.gather(self.floats(table), rows, _ints(0))

    def first(self, x: ov.Node) -> ov.Node:
        return op.gather(x, _ints(0), _ints(1))

    def add_axis(self, x: ov.Node, axis: int) -> ov.Node:
        return op.unsqueeze(x, _ints(axis))

    def side_by_side(self, parts: Sequence[ov.Node]) -> ov.Node:
        return op.concat(list(parts), 1)

    def transpose(self, x: ov.Node, order: Sequence[int]) -> ov.Node:
        return op.transpose(x, _ints(order))

    def reshape(self, x: ov.Node, shape: Sequence[int]) -> ov.Node:
        return op.reshape(x, _ints(shape), False)

    def by_text(self, x: ov.Node, *inner: int) -> ov.Node:
        shape = op.concat([self._batch_shape, _ints(inner)], 0)
        return op.reshape(x, shape, False)

    def softmax(self, x: ov.Node) -> ov.Node:
        return op.softmax(x, -1)

    def tanh(self, x: ov.Node) -> ov.Node:
        return op.tanh(x)

    def gelu(self, x: ov.Node, kind: str) -> ov.Node:
        return op.gelu(x, kind.upper())

    def norm(self, x: ov.Node, norm: Norm, epsilon: float) -> ov.Node:
        axes = op.constant(np.array([-1], dtype=np.int64))
        found = op.mvn(x, axes, True, epsilon, "INSIDE_SQRT")
        return op.add(op.multiply(found, self._row(norm.scale)), self._row(norm.shift))

    def total(self, x: ov.Node) -> ov.Node:
        return op.reduce_sum(x, _ints(1))

    def largest(self, x: ov.Node) -> ov.Node:
        return op.reduce_max(x, _ints(1))

    def linear(self, x: ov.Node, linear: Linear) -> ov.Node:
        product = op.matmul(x, self.floats(linear.weight), False, True)
        return op.add(product, self._row(linear.bias))

    def attention(
        self, query: ov.Node, key: ov.Node, value: ov.Node, n_heads: int
    ) -> ov.Node:
        parts = (self._heads(part, n_heads) for part in (query, key, value))
        found = op.scaled_dot_product_attention(*parts, self._masked)
        rows = op.transpose(found, _ints([0, 2, 1, 3]))  # (n, t, heads, d / heads)
        shape = [-1, query.get_output_partial_shape(0)[1].get_length()]
        return op.reshape(rows, _ints(shape), False)

    def _heads(self, rows: ov.Node, n_heads: int) -> ov.Node:
        """(n·t, d) -> (n, heads, t, d / heads)."""
        dim = rows.get_output_partial_shape(0)[1].get_length()
        split = self.by_text(rows, n_heads, dim // n_heads)
        return op.transpose(split, _ints([0, 2, 1, 3]))

    def _row(self, values: ArrayLike) -> ov.Node:
        return self.floats(np.reshape(values, (1, -1)))


def _ints(values: ArrayLike) -> ov.Node:
    return op.constant(np.asarray(values, dtype=np.int32))

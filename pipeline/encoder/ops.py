"""What a graph is written with: the operations that an engine has to offer."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from numpy.typing import ArrayLike

from pipeline.encoder.bert import Array, Linear, Norm, QuantizedLinear

Node = Any  # Any: what stands for a tensor is each engine's own


class Ops(Protocol):
    """The operations of one engine; every method adds one to the graph, broadcasting as numpy does.

    Attributes
    ----------
    ids, positions : node of int32, shape (n, t)
    mask : node of float32, shape (n, t)
        1 for tokens, 0 for padding.
    """

    ids: Node
    positions: Node
    mask: Node

    def floats(self, values: ArrayLike) -> Node:
        """Return a constant of float32."""
        ...

    def add(self, a: Node, b: Node) -> Node:
        """Return ``a + b``."""
        ...

    def subtract(self, a: Node, b: Node) -> Node:
        """Return ``a - b``."""
        ...

    def multiply(self, a: Node, b: Node) -> Node:
        """Return ``a * b``."""
        ...

    def divide(self, a: Node, b: Node) -> Node:
        """Return ``a / b``."""
        ...

    def matmul(self, a: Node, b: Node) -> Node:
        """Return ``a @ b``."""
        ...

    def look_up(self, table: Array, rows: Node) -> Node:
        """Return those rows of a table: (v, d), int (n, t) -> (n, t, d)."""
        ...

    def first(self, x: Node) -> Node:
        """(n, t, d) -> (n, d)."""
        ...

    def add_axis(self, x: Node, axis: int) -> Node:
        """Return `x` with an axis of length 1."""
        ...

    def side_by_side(self, parts: Sequence[Node]) -> Node:
        """(n, d) each -> (n, sum of d)."""
        ...

    def transpose(self, x: Node, order: Sequence[int]) -> Node:
        """Return `x` with its axes in another order."""
        ...

    def reshape(self, x: Node, shape: Sequence[int]) -> Node:
        """Return `x` in another shape, in which one length may be -1."""
        ...

    def by_text(self, x: Node, *inner: int) -> Node:
        """(n·t, …) -> (n, t, inner …)."""
        ...

    def softmax(self, x: Node) -> Node:
        """Return the softmax over the last axis."""
        ...

    def tanh(self, x: Node) -> Node:
        """Return the hyperbolic tangent."""
        ...

    def gelu(self, x: Node, kind: str) -> Node:
        """Return the Gaussian error linear unit, by ``erf`` or the approximation by ``tanh``."""
        ...

    def norm(self, x: Node, norm: Norm, epsilon: float) -> Node:
        """Return `x` normalised over its last axis."""
        ...

    def total(self, x: Node) -> Node:
        """(n, t, d) -> (n, d), the sum over tokens."""
        ...

    def largest(self, x: Node) -> Node:
        """(n, t, d) -> (n, d), the largest over tokens."""
        ...

    def linear(self, x: Node, linear: Linear) -> Node:
        """(m, in) -> (m, out)."""
        ...

    def attention(self, query: Node, key: Node, value: Node, n_heads: int) -> Node:
        """Return what each token gathers from the tokens of its text: three times (n·t, d) -> (n·t, d)."""
        ...


@runtime_checkable
class IntegerOps(Ops, Protocol):
    """The operations of an engine that also runs quantized linear maps."""

    def quantize(self, x: Node, linear: QuantizedLinear) -> Node:
        """Return the integers that a quantized linear map takes for `x`."""
        ...

    def quantized_linear(self, whole: Node, linear: QuantizedLinear) -> Node:
        """(m, in) of `quantize` -> (m, out)."""
        ...

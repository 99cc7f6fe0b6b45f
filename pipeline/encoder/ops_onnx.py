"""`pipeline.encoder.ops.Ops` as ONNX, with the operations that ONNX Runtime adds to it.

Those (domain ``com.microsoft``) are described in its ``docs/ContribOperators.md``.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from pipeline.encoder.bert import Array, Linear, Norm, QuantizedLinear
from pipeline.encoder.graph import MASKED

OPSET, IR_VERSION = (
    17,
    9,
)  # of 2022 and 2023: every ONNX Runtime that is asked for reads them
CONTRIB = "com.microsoft"
MIDDLE = np.uint8(
    128
)  # stands for 0: products of unsigned with signed integers are the fast ones
NONE = ""  # an input that is left out


class OnnxOps:
    """Writes one graph; a node is the name of a tensor.

    Attributes
    ----------
    tables : dict of str to ndarray of float32
        What the graph looks rows up in, to be given beside it.
    """

    ids, positions, mask = "ids", "positions", "mask"

    def __init__(self) -> None:
        self._nodes: list[Any] = []  # Any: protocol buffers
        self._constants: list[Any] = []
        self.tables: dict[str, Array] = {}
        self._n = 0
        self._batch_shape = self._node("Shape", self.ids)  # n, t
        self._seen = self._node("Cast", self.mask, to=TensorProto.INT32)

    def model(self, outputs: Sequence[str]) -> ModelProto:
        """Return the graph of these outputs."""
        inputs = [
            helper.make_tensor_value_info(name, kind, ["n", "t"])
            for name, kind in (
                (self.ids, TensorProto.INT32),
                (self.positions, TensorProto.INT32),
                (self.mask, TensorProto.FLOAT),
            )
        ]
        results = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for name in outputs
        ]
        graph = helper.make_graph(
            self._nodes, "encoder", inputs, results, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)

    def floats(self, values: ArrayLike) -> str:
        return self._constant(np.array(values, dtype=np.float32, order="C"))

    def add(self, a: str, b: str) -> str:
        return self._node("Add", a, b)

    def subtract(self, a: str, b: str) -> str:
        return self._node("Sub", a, b)

    def multiply(self, a: str, b: str) -> str:
        return self._node("Mul", a, b)

    def divide(self, a: str, b: str) -> str:
        return self._node("Div", a, b)

    def matmul(self, a: str, b: str) -> str:
        return self._node("MatMul", a, b)

    def look_up(self, table: Array, rows: str) -> str:
        """Return those rows of a table, which stays outside the graph: it may be larger than the 2 GB of a graph."""
        name = f"table_{len(self.tables)}"
        self.tables[name] = np.ascontiguousarray(table, dtype=np.float32)
        outside = TensorProto(
            name=name,
            data_type=TensorProto.FLOAT,
            dims=table.shape,
            data_location=TensorProto.EXTERNAL,
        )
        outside.external_data.add(key="location", value=name)
        self._constants.append(outside)
        return self._node("Gather", name, rows, axis=0)

    def first(self, x: str) -> str:
        return self._node("Gather", x, self._ints(0), axis=1)

    def add_axis(self, x: str, axis: int) -> str:
        return self._node("Unsqueeze", x, self._ints([axis]))

    def side_by_side(self, parts: Sequence[str]) -> str:
        return self._node("Concat", *parts, axis=1)

    def transpose(self, x: str, order: Sequence[int]) -> str:
        return self._node("Transpose", x, perm=list(order))

    def reshape(self, x: str, shape: Sequence[int]) -> str:
        return self._node("Reshape", x, self._ints(shape))

    def by_text(self, x: str, *inner: int) -> str:
        shape = self._node("Concat", self._batch_shape, self._ints(inner), axis=0)
        return self._node("Reshape", x, shape)

    def softmax(self, x: str) -> str:
        return self._node("Softmax", x, axis=-1)

    def tanh(self, x: str) -> str:
        return self._node("Tanh", x)

    def gelu(self, x: str, kind: str) -> str:
        return self._contrib("Gelu" if kind == "erf" else "FastGelu", x)

    def norm(self, x: str, norm: Norm, epsilon: float) -> str:
        ends = self.floats(norm.scale), self.floats(norm.shift)
        return self._node("LayerNormalization", x, *ends, epsilon=epsilon)

    def total(self, x: str) -> str:
        return self._node("ReduceSum", x, self._ints([1]), keepdims=0)

    def largest(self, x: str) -> str:
        return self._node("ReduceMax", x, axes=[1], keepdims=0)

    def linear(self, x: str, linear: Linear) -> str:
        return self._node(
            "Gemm", x, self.floats(linear.weight.T), self.floats(linear.bias)
        )

    def attention(self, query: str, key: str, value: str, n_heads: int) -> str:
        rows = self._node("Shape", query)
        split = self._node(
            "Concat",
            self._batch_shape,
            self._node("Slice", rows, *map(self._ints, ([1], [2]))),
            axis=0,
        )
        parts = (self._node("Reshape", part, split) for part in (query, key, value))
        found = self._contrib(
            "MultiHeadAttention",
            *parts,
            NONE,
            self._seen,
            num_heads=n_heads,
            mask_filter_value=MASKED,
        )
        return self._node("Reshape", found, rows)

    def quantize(self, x: str, linear: QuantizedLinear) -> str:
        x = self.multiply(x, self.floats(linear.factor))
        if linear.shift.any():
            x = self.add(x, self.floats(linear.shift))
        return self._node(
            "QuantizeLinear", x, self.floats(1), self._constant(np.array(MIDDLE))
        )

    def quantized_linear(self, whole: str, linear: QuantizedLinear) -> str:
        return self._contrib(
            "MatMulIntegerToFloat",
            whole,
            self._constant(np.ascontiguousarray(linear.weight.T)),
            self.floats(1),
            self.floats(linear.scale),
            self._constant(np.array(MIDDLE)),
            NONE,
            self.floats(linear.bias),
        )

    def _contrib(self, kind: str, *inputs: str, **settings: object) -> str:
        return self._node(kind, *inputs, domain=CONTRIB, **settings)

    def _node(self, kind: str, *inputs: str, **settings: Any) -> str:
        self._n += 1
        name = f"{kind}_{self._n}"
        self._nodes.append(helper.make_node(kind, inputs, [name], name, **settings))
        return name

    def _ints(self, values: ArrayLike) -> str:
        return self._constant(np.array(values, dtype=np.int64))

    def _constant(self, array: NDArray[Any]) -> str:
        self._n += 1
        name = f"constant_{self._n}"
        self._constants.append(numpy_helper.from_array(array, name))
        return name

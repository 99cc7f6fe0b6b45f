"""The matrix products of an encoder, as fast as each engine does nothing else: ``python products.py --threads 2``.

Prints JSON: a list of engine, precision, shape, rows and rate in GFLOP/s. A chain of products runs as layers do, so
that int8 passes from one to the next as int8. What is not installed, or has no instructions here, is left out.
"""

import argparse
import copy
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it fails

Weights = list[NDArray[np.float32]]  # shape (k, m) each
Run = Callable[[], object]
ROWS = (512, 1024, 2048, 4096)
CHAINS = {
    "768x768": [(768, 768)] * 4,
    "768x3072, 3072x768": [(768, 3072), (3072, 768)] * 2,
}
ENDS = tuple(np.float32(end) for end in (-1, 1, -1, 1))  # of int8's range, in and out
REPETITIONS, MIN_S = 3, 0.1  # best of; for so long, where products are small


def with_numpy(
    x: NDArray[np.float32], weights: Weights, _threads: int
) -> Iterator[tuple[str, Run]]:
    """Yield numpy's products."""

    def run() -> object:
        out = x
        for weight in weights:
            out = out @ weight
        return out

    yield "float32", run


def with_torch(
    x: NDArray[np.float32], weights: Weights, threads: int
) -> Iterator[tuple[str, Run]]:
    """Yield torch's products; int8 is its dynamic quantization."""
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    layers = torch.nn.Sequential(*(torch.nn.Linear(*w.shape) for w in weights))
    inputs = torch.from_numpy(x)
    yield "float32", lambda: layers(inputs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is to move to a package of its own
        quantize = torch.ao.quantization.quantize_dynamic
        quantized = quantize(layers, dtype=torch.qint8)  # type: ignore[no-untyped-call]
    yield "int8", lambda: quantized(inputs)
    if torch.cpu._is_avx512_bf16_supported():
        halved, half = copy.deepcopy(layers).bfloat16(), inputs.bfloat16()
        yield "bfloat16", lambda: halved(half)


def with_openvino(
    x: NDArray[np.float32], weights: Weights, threads: int
) -> Iterator[tuple[str, Run]]:
    """Yield OpenVINO's products; int8 is static."""
    import openvino
    from openvino import opset13 as ops

    def graph(int8: bool) -> openvino.Model:
        node = inputs = ops.parameter(list(x.shape), np.float32)
        for weight in weights:
            if int8:
                node = ops.fake_quantize(node, *ENDS, levels=256)
                whole = ops.constant((weight * 127).astype(np.int8).T.copy())
                scale = ops.constant(np.full((weight.shape[1], 1), 1 / 127, np.float32))
                factor = ops.multiply(ops.convert(whole, np.float32), scale)
            else:
                factor = ops.constant(weight.T.copy())
            node = ops.matmul(node, factor, False, True)
        return openvino.Model([node], [inputs])

    core = openvino.Core()
    can = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    hints = {"float32": "f32", "int8": "f32"} | (
        {"bfloat16": "bf16"} if "BF16" in can else {}
    )
    for precision, hint in hints.items():
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
        compiled = core.compile_model(graph(precision == "int8"), "CPU", config)
        request = compiled.create_infer_request()
        request.set_input_tensor(openvino.Tensor(x))
        yield precision, request.infer


def with_onnxruntime(
    x: NDArray[np.float32], weights: Weights, threads: int
) -> Iterator[tuple[str, Run]]:
    """Yield ONNX Runtime's products; int8 is static, of unsigned with signed integers."""
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    def graph(int8: bool) -> bytes:
        nodes: list[Any] = []  # Any: protocol buffers
        constants: list[Any] = []
        name = "x"

        def constant(values: NDArray[np.generic]) -> str:
            constants.append(numpy_helper.from_array(values, f"c{len(constants)}"))
            return str(constants[-1].name)

        def node(kind: str, *inputs: str, domain: str = "") -> str:
            out = f"v{len(nodes)}"
            nodes.append(helper.make_node(kind, inputs, [out], domain=domain))
            return out

        step, middle = np.array(1 / 127, np.float32), np.array(128, np.uint8)
        for weight in weights:
            if not int8:
                name = node("MatMul", name, constant(weight))
                continue
            whole = constant((weight * 63).astype(np.int8))
            ends = [constant(step), constant(middle)]
            scale = constant(np.full(weight.shape[1], 1 / 63, np.float32))
            name = node("QuantizeLinear", name, *ends)
            inputs = (name, whole, ends[0], scale, ends[1])
            name = node("MatMulIntegerToFloat", *inputs, domain="com.microsoft")
        given, made = (
            helper.make_tensor_value_info(end, TensorProto.FLOAT, None)
            for end in ("x", name)
        )
        whole_graph = helper.make_graph(nodes, "products", [given], [made], constants)
        opsets = [
            helper.make_opsetid("", 17),
            helper.make_opsetid("com.microsoft", 1),
        ]
        model = helper.make_model(whole_graph, opset_imports=opsets, ir_version=9)
        return bytes(model.SerializeToString())

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for precision in ("float32", "int8"):
        session = onnxruntime.InferenceSession(
            graph(precision == "int8"), options, providers=["CPUExecutionProvider"]
        )
        yield precision, lambda s=session: s.run(None, {"x": x})  # type: ignore[misc]  # the session of now


ENGINES = {
    "numpy": with_numpy,
    "torch": with_torch,
    "openvino": with_openvino,
    "onnxruntime": with_onnxruntime,
}


def best_s(run: Run) -> float:
    """Return the seconds of the fastest call after a first one."""
    run()
    seconds: list[float] = []
    while len(seconds) < REPETITIONS or sum(seconds) < MIN_S:
        began = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(engines: Iterable[str], threads: int) -> Iterator[dict[str, object]]:
    """Yield the rate of each engine, precision, shape and number of rows."""
    random = np.random.default_rng(0)
    for shape, sizes in CHAINS.items():
        # small enough for chains to stay finite, and in the range that int8 holds
        weights = [
            random.uniform(-0.05, 0.05, size).astype(np.float32) for size in sizes
        ]
        for rows in ROWS:
            x = random.uniform(-1, 1, (rows, sizes[0][0])).astype(np.float32)
            work = 2 * rows * sum(k * m for k, m in sizes)
            for engine in engines:
                for precision, run in ENGINES[engine](x, weights, threads):
                    yield {
                        "engine": engine,
                        "precision": precision,
                        "shape": shape,
                        "rows": rows,
                        "gflops": work / best_s(run) / 1e9,
                    }


def main() -> None:
    """Print the rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    engines = [name for name in ENGINES if importlib.util.find_spec(name)]
    print(json.dumps(list(measure(engines, options.threads))))


if __name__ == "__main__":
    main()

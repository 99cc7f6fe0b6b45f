"""OpenVINO on the processor: the engine for float32 and bfloat16."""

from threading import Lock
from typing import Any

import numpy as np
import openvino as ov
from joblib import cpu_count
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.bert import Bert
from pipeline.encoder.engine import check_pooler, graph_inputs, layers_to_run
from pipeline.encoder.graph import write_graph
from pipeline.encoder.ops_openvino import OpenVinoOps
from pipeline.errors import EngineError, shown

HINT = {"float32": "f32", "bfloat16": "bf16"}


def capabilities() -> list[str]:
    """Return what OpenVINO says this processor can do: ``FP32``, ``BF16``, ``INT8``, …."""
    found = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return sorted(str(name) for name in found)


class OpenVinoEngine:
    """A `pipeline.encoder.engine.Engine`; the graph takes batches of any shape, from one thread at a time.

    Parameters
    ----------
    bert : Bert
        Not quantized.
    spec : EncoderSpec
    """

    device = "cpu"
    n_halved = 0

    def __init__(self, bert: Bert, spec: EncoderSpec) -> None:
        check_pooler(bert, spec)
        ops = OpenVinoOps()
        outputs = write_graph(
            ops, bert, pooling=spec.pooling, n_layers=layers_to_run(bert, spec)
        )
        self._request = compile_graph(ops.model(outputs), HINT[spec.precision])
        self._lock = Lock()
        self._pad_id = bert.pad_id
        self.n_parameters = bert.n_parameters
        self.identity: dict[str, Any] = {  # Any: JSON values
            "engine": "openvino",
            "version": ov.__version__.split("-")[0],
            "device": self.device,
            "capabilities": capabilities(),
        }

    def __call__(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the features of a batch: (n, t), (n, t) -> (n, d).

        Raises
        ------
        EngineError
            If OpenVINO cannot run the graph on this batch.
        """
        inputs = graph_inputs(input_ids, mask, self._pad_id)
        try:
            with self._lock:
                return np.array(self._request.infer(inputs, share_inputs=True)[0])
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on a batch of shape {input_ids.shape}: {shown(str(error), 200)}. "
                "Pass --backend torch."
            ) from error


def compile_graph(graph: ov.Model, precision: str) -> ov.InferRequest:
    """Return a graph made ready for this processor; all cores work on one batch at a time.

    Raises
    ------
    EngineError
        If OpenVINO does not take it.
    """
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": cpu_count(),
        "ENABLE_CPU_PINNING": False,  # two runs at once would be pinned to the same cores
    }
    try:
        return ov.Core().compile_model(graph, "CPU", settings).create_infer_request()
    except RuntimeError as error:
        raise EngineError(
            f"OpenVINO does not take the encoder: {shown(str(error), 200)}. Pass --backend torch."
        ) from error

"""OpenVINO on the processor: the engine of the extra ``fast``."""

from threading import Lock
from typing import Any

import numpy as np
import openvino as ov
from joblib import cpu_count
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.bert import Bert, position_ids
from pipeline.encoder.engine import check_pooler, layers_to_run
from pipeline.encoder.graph import build_graph
from pipeline.errors import EncoderError, shown

HINT = {"float32": "f32", "bfloat16": "bf16", "int8": "f32"}


def capabilities() -> list[str]:
    """Return what OpenVINO says this processor can do: ``FP32``, ``BF16``, ``INT8``, …."""
    found = ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return sorted(str(name) for name in found)


class OpenVinoEngine:
    """A `pipeline.encoder.engine.Engine`; the graph takes batches of any shape, from one thread at a time.

    Parameters
    ----------
    bert : Bert
        Quantized where the precision is int8.
    spec : EncoderSpec
    """

    device = "cpu"
    n_halved = 0

    def __init__(self, bert: Bert, spec: EncoderSpec) -> None:
        check_pooler(bert, spec)
        graph = build_graph(
            bert, pooling=spec.pooling, n_layers=layers_to_run(bert, spec)
        )
        self._request = compile_graph(graph, HINT[spec.precision])
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
        EncoderError
            If OpenVINO cannot run the graph on this batch.
        """
        inputs = graph_inputs(input_ids, mask, self._pad_id)
        try:
            with self._lock:
                return np.array(self._request.infer(inputs, share_inputs=True)[0])
        except RuntimeError as error:
            raise EncoderError(
                f"OpenVINO failed on a batch of shape {input_ids.shape}: {shown(str(error), 200)}. "
                "Pass --backend torch."
            ) from error


def graph_inputs(
    input_ids: NDArray[np.int64], mask: NDArray[np.int64], pad_id: int | None
) -> list[NDArray[Any]]:  # Any: int32 and float32
    """Return the inputs of `pipeline.encoder.graph.build_graph` for a batch: (n, t) each."""
    return [
        input_ids.astype(np.int32),
        position_ids(input_ids, pad_id),
        mask.astype(np.float32),
    ]


def compile_graph(graph: ov.Model, precision: str) -> ov.InferRequest:
    """Return a graph made ready for this processor; all cores work on one batch at a time."""
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": cpu_count(),
        "ENABLE_CPU_PINNING": False,  # two runs at once would be pinned to the same cores
    }
    return ov.Core().compile_model(graph, "CPU", settings).create_infer_request()

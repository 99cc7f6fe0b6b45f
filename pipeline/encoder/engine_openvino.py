"""OpenVINO on the processor: the engine for float32 and bfloat16."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov
from joblib import cpu_count
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.bert import Bert
from pipeline.encoder.engine import (
    check_pooler,
    graph_inputs,
    layers_to_run,
    views_of,
)
from pipeline.encoder.graph import write_graph, write_hidden_states
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
    views : sequence of EncoderSpec
        At least one.
    """

    device = "cpu"
    n_halved = 0

    def __init__(self, bert: Bert, views: Sequence[EncoderSpec]) -> None:
        check_pooler(bert, views)
        self._bert, self._precision = bert, views[0].precision
        self._views = views_of(bert, views)
        self._request = self._compile(partial(write_graph, views=self._views))
        self._request_layers: ov.InferRequest | None = None
        self._lock = Lock()
        self.n_parameters = bert.n_parameters
        self.identity: dict[str, Any] = {  # Any: JSON values
            "engine": "openvino",
            "version": ov.__version__.split("-")[0],
            "device": self.device,
            "capabilities": capabilities(),
        }

    def __call__(
        self,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the features of a batch, of all views side by side: (n, t) each -> (n, d).

        Raises
        ------
        EngineError
            If OpenVINO cannot run the graph on this batch.
        """
        with self._lock:
            return self._infer(self._request, input_ids, mask, segments)[0]

    def hidden_states(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return the hidden states of a batch: (n, t), (n, t) -> of each layer (n, t, d).

        Raises
        ------
        EngineError
            If OpenVINO cannot run the graph on this batch.
        """
        with self._lock:
            if self._request_layers is None:  # made when it is first asked for
                n_layers = layers_to_run(self._views)
                self._request_layers = self._compile(
                    partial(write_hidden_states, n_layers=n_layers)
                )
            return self._infer(self._request_layers, input_ids, mask)

    def _compile(self, write: Callable[..., list[ov.Node]]) -> ov.InferRequest:
        ops = OpenVinoOps()
        outputs = write(ops, self._bert)
        return compile_graph(ops.model(outputs), HINT[self._precision])

    def _infer(
        self,
        request: ov.InferRequest,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the outputs, as arrays of their own; while the lock is held."""
        inputs = graph_inputs(self._bert, input_ids, mask, segments)
        try:
            found = request.infer(inputs, share_inputs=True)
            return [np.array(found[i]) for i in range(len(found))]
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

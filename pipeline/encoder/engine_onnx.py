"""ONNX Runtime on the processor: the engine of int8, and another one for float32."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import onnxruntime as ort
from joblib import cpu_count
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.bert import Array, Bert
from pipeline.encoder.engine import (
    check_pooler,
    graph_inputs,
    layers_to_run,
    views_of,
)
from pipeline.encoder.graph import write_graph, write_hidden_states
from pipeline.encoder.ops_onnx import OnnxOps
from pipeline.errors import EngineError, shown

ERRORS_ALONE = 3  # of ONNX Runtime's log levels
FIX = "Pass --precision float32 --backend torch."  # which has no int8
PROVIDERS = ["CPUExecutionProvider"]
INPUTS = (OnnxOps.ids, OnnxOps.positions, OnnxOps.mask)


class OnnxEngine:
    """A `pipeline.encoder.engine.Engine`; the graph takes batches of any shape, from any number of threads.

    Parameters
    ----------
    bert : Bert
        Quantized where the precision is int8.
    views : sequence of EncoderSpec
        At least one; of int8 with ``cls``, one.
    """

    device = "cpu"
    n_halved = 0

    def __init__(self, bert: Bert, views: Sequence[EncoderSpec]) -> None:
        check_pooler(bert, views)
        self._bert, self._views = bert, views_of(bert, views)
        self._run = Compiled(bert, partial(write_graph, views=self._views))
        self.n_parameters = bert.n_parameters
        self.identity: dict[str, Any] = {  # Any: JSON values
            "engine": "onnxruntime",
            "version": ort.__version__,
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
            If ONNX Runtime cannot run the graph on this batch.
        """
        return self._run(input_ids, mask, segments)[0]

    def hidden_states(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return the hidden states of a batch: (n, t), (n, t) -> of each layer (n, t, d).

        Raises
        ------
        EngineError
            If ONNX Runtime cannot run the graph on this batch.
        """
        return self._run_layers(input_ids, mask)

    @cached_property
    def _run_layers(self) -> "Compiled":
        """The graph that keeps every token, made when it is first asked for."""
        n_layers = layers_to_run(self._views)
        return Compiled(self._bert, partial(write_hidden_states, n_layers=n_layers))


def capabilities() -> list[str]:
    """Return the instructions beyond the common ones that numpy finds in this processor: ``AVX512_ICL``, …."""
    found = np.show_config(mode="dicts")["SIMD Extensions"]
    return sorted(found.get("found", []))


class Compiled:
    """A graph made ready for this processor, and the tables that it looks rows up in: ONNX Runtime does not own them.

    Parameters
    ----------
    bert : Bert
    write : callable (OnnxOps, Bert) -> list of str
        Writes the graph and returns its outputs, as `pipeline.encoder.graph.write_graph` does.

    Raises
    ------
    EngineError
        If ONNX Runtime does not take it.
    """

    def __init__(self, bert: Bert, write: Callable[..., list[str]]) -> None:
        self._bert = bert
        options = ort.SessionOptions()
        options.intra_op_num_threads = cpu_count()
        options.log_severity_level = ERRORS_ALONE
        options.enable_mem_pattern = False  # it would keep one for each shape
        try:
            graph, tables = _written(bert, write)
            self._tables = [
                ort.OrtValue.ortvalue_from_numpy(t) for t in tables.values()
            ]
            options.add_external_initializers(list(tables), self._tables)
            self._session = ort.InferenceSession(graph, options, providers=PROVIDERS)
        except Exception as error:  # of families of its own
            raise EngineError(
                f"ONNX Runtime does not take the encoder: {shown(str(error), 200)}. {FIX}"
            ) from error

    def __call__(
        self,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch: ids, mask and segments (n, t).

        Raises
        ------
        EngineError
            If ONNX Runtime cannot run the graph on this batch.
        """
        inputs = graph_inputs(self._bert, input_ids, mask, segments)
        named = dict(zip(INPUTS, inputs, strict=True))
        try:
            return list(self._session.run(None, named))
        except Exception as error:  # of families of its own
            raise EngineError(
                f"ONNX Runtime failed on a batch of shape {input_ids.shape}: {shown(str(error), 200)}. {FIX}"
            ) from error


def _written(
    bert: Bert, write: Callable[..., list[str]]
) -> tuple[bytes, dict[str, Array]]:
    """Return a graph as bytes, and its tables; what it was written with is gone before memory is needed again."""
    ops = OnnxOps()
    return ops.model(write(ops, bert)).SerializeToString(), ops.tables

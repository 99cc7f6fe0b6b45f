"""How large the weights are that one view of an encoder needs."""

from dataclasses import replace

import numpy as np

from pipeline.encoder.bert import arrays_of
from pipeline.encoder.frozen import Encoder

FLOAT_BYTES = {"float32": 4, "bfloat16": 2, "int8": 4}  # int8 leaves some exact


def weights_bytes(encoder: Encoder) -> int:
    """Return the bytes of the embeddings and the layers that are run, at the encoder's precision.

    Of an architecture that transformers runs, all weights count: it runs them whole.
    """
    size, bert = FLOAT_BYTES[encoder.spec.precision], encoder.checkpoint.bert()
    if bert is None or encoder.engine_identity["engine"] == "transformers":
        return encoder.engine.n_parameters * size
    n_layers = len(bert.layers)
    n_run = max(layer % (n_layers + 1) for layer in encoder.spec.layers)
    run = replace(
        bert,
        layers=bert.layers[:n_run],
        pooler=bert.pooler if encoder.spec.pooling == "pooler" else None,
    )
    return sum(
        array.size * (1 if array.dtype == np.int8 else size)
        for array in arrays_of(run).values()
    )

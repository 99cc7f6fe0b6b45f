"""Which engine runs an encoder, and what every engine offers.

An engine turns token ids into features. There are three: OpenVINO on a processor, where it is installed (extra
``fast``) and knows the architecture; torch for the same architectures anywhere; and transformers' own model for all
others.
"""

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.bert import Bert
from pipeline.encoder.checkpoint import Checkpoint
from pipeline.encoder.quantized import to_arrays
from pipeline.errors import ConfigError, EncoderError

INSTALL = "Run: pip install 'frostbert[fast]'."
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


class Engine(Protocol):
    """Runs one encoder with one pooling at one precision.

    Attributes
    ----------
    identity : dict
        What decides rounding: engine, version, device, and what the processor can do. JSON values.
    device : str
        ``cpu``, ``cuda:0``, ….
    n_parameters : int
        Numbers in the weights that are used.
    n_halved : int
        How often a batch was halved because a GPU's memory was full.
    """

    identity: dict[str, Any]  # Any: JSON values
    device: str
    n_parameters: int
    n_halved: int

    def __call__(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Return the features of a batch: ids (n, t) and mask (n, t), 1 for tokens and 0 for padding -> (n, d)."""
        ...


def make_engine(
    checkpoint: Checkpoint, spec: EncoderSpec, compute: ComputeSpec
) -> Engine:
    """Return the engine that `compute` asks for, or the fastest that runs here.

    Raises
    ------
    ConfigError
        If the backend or the device that was asked for cannot be used here, or no engine runs the precision.
    EncoderError
        If no engine can run the checkpoint.
    """
    bert = checkpoint.bert()
    obstacle = _no_openvino(bert, spec, compute)
    if obstacle is None:
        from pipeline.encoder.engine_openvino import OpenVinoEngine

        assert bert is not None  # else there is an obstacle
        return OpenVinoEngine(bert, spec)
    if compute.backend == "openvino":
        raise ConfigError(f"--backend openvino: {obstacle} Or pass --backend auto.")
    if spec.precision == "int8":
        raise _no_int8(obstacle)
    if bert is None:
        return transformers_engine(checkpoint, spec, compute.device)
    from pipeline.encoder.engine_torch import TorchEngine

    return TorchEngine(bert, spec, compute.device)


def with_recipe(
    checkpoint: Checkpoint, spec: EncoderSpec, compute: ComputeSpec
) -> Checkpoint:
    """Return the checkpoint with the weights that the recipe of the precision makes of it: int8 takes about a minute.

    Raises
    ------
    ConfigError
        If no engine here could run them.
    """
    if spec.precision != "int8":
        return checkpoint
    bert = checkpoint.bert()
    obstacle = _no_openvino(bert, spec, compute)
    if obstacle is not None:
        raise _no_int8(obstacle)
    from pipeline.encoder.quantize import quantize

    assert bert is not None  # else there is an obstacle
    arrays = to_arrays(quantize(bert, checkpoint.tokenizer, spec))
    return replace(checkpoint, weights=arrays)


def _no_int8(obstacle: str) -> ConfigError:
    return ConfigError(
        f"--precision int8 is run by OpenVINO alone. {obstacle} Or pass --precision float32."
    )


def transformers_engine(
    checkpoint: Checkpoint, spec: EncoderSpec, device: str = "cpu"
) -> Engine:
    """Return transformers' own model, whole, as it comes: for every architecture, and to compare others with."""
    from pipeline.encoder.engine_transformers import TransformersEngine

    return TransformersEngine(checkpoint, spec, device)


def layers_to_run(bert: Bert, spec: EncoderSpec) -> int:
    """Return how many layers give the hidden state that `spec` asks for."""
    n_layers = len(bert.layers)
    return spec.layer if spec.layer >= 0 else n_layers + 1 + spec.layer


def ends_in_first_token(pooling: str, n_layers: int) -> bool:
    """Tell whether of the last layer that is run nothing but each text's first token is needed."""
    return pooling in ("cls", "pooler") and n_layers > 0


def check_pooler(bert: Bert, spec: EncoderSpec) -> None:
    """Make sure that there is a trained pooler if one is asked for.

    Raises
    ------
    EncoderError
        If the checkpoint has none.
    """
    if spec.pooling == "pooler" and bert.pooler is None:
        raise no_pooler(spec)


def no_pooler(spec: EncoderSpec) -> EncoderError:
    """Return the error for an encoder without a trained pooler."""
    return EncoderError(
        f"{spec.encoder} has no trained pooler. Pass --pooling cls or mean."
    )


def _no_openvino(
    bert: Bert | None, spec: EncoderSpec, compute: ComputeSpec
) -> str | None:
    """Return why OpenVINO does not run this, in a sentence or two, or None if it does."""
    if compute.backend == "torch":
        return "--backend torch was asked for."
    if bert is None:
        return f"OpenVINO runs BERT, DistilBERT and RoBERTa here, not {spec.encoder}."
    if compute.device != "cpu" and not _may_choose_cpu(spec, compute):
        return "OpenVINO runs on the processor here. Pass --device cpu."
    return _openvino_lacks(spec)


def _openvino_lacks(spec: EncoderSpec) -> str | None:
    """Return what is missing of OpenVINO on this machine, or None."""
    if find_spec("openvino") is None:
        return f"OpenVINO is not installed. {INSTALL}"
    try:
        from pipeline.encoder.engine_openvino import capabilities
    except ImportError as error:
        return f"The OpenVINO here cannot be used ({error}). {INSTALL}"
    if spec.precision == "bfloat16" and "BF16" not in capabilities():
        return "This processor has no bfloat16."
    return None


def _may_choose_cpu(spec: EncoderSpec, compute: ComputeSpec) -> bool:
    """Tell whether ``--device auto`` means the processor; for int8 it always does."""
    return compute.device == "auto" and (spec.precision == "int8" or not _has_gpu())


def _has_gpu() -> bool:
    """Tell whether torch can use a GPU; asks it only where the machine shows one, as its import takes seconds."""
    if not any(Path(device).exists() for device in GPU_DEVICES):
        return False
    import torch

    return bool(torch.cuda.is_available())

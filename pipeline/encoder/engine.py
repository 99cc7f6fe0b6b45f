"""Which engine runs an encoder, and what every engine offers.

An engine turns token ids into features. On a processor, where the extra ``fast`` is installed and the architecture is
known, OpenVINO runs float32 and bfloat16, and ONNX Runtime int8, for which it has the faster kernels on processors
without VNNI. torch runs the same architectures anywhere, and transformers' own model all
others.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.bert import Bert, place_ids
from pipeline.encoder.checkpoint import Checkpoint
from pipeline.encoder.quantized import to_arrays
from pipeline.errors import ConfigError, EncoderError, EngineError

logger = logging.getLogger(__name__)
ACCELERATED = {  # packages they need, where they live, what people call them
    "openvino": (
        ("openvino",),
        ("pipeline.encoder.engine_openvino", "OpenVinoEngine"),
        "OpenVINO",
    ),
    "onnxruntime": (
        ("onnxruntime", "onnx"),
        ("pipeline.encoder.engine_onnx", "OnnxEngine"),
        "ONNX Runtime",
    ),
}
INSTALL = "Run: pip install 'frostbert[fast]'."
TRIAL = np.zeros((2, 2), dtype=np.int64), np.array([[1, 1], [1, 0]])  # ids and mask
GPU_DEVICES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


class View(NamedTuple):
    """What features are made of.

    Attributes
    ----------
    n_layers : int
        How many layers are run, 0 to all.
    pooling : {"cls", "mean", "max", "pooler"}
    """

    n_layers: int
    pooling: str


class Engine(Protocol):
    """Runs one encoder at one precision; gives the features of one or several views of it in one pass.

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
        self,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the features of a batch, of all views side by side: (n, d), d the sum of theirs.

        Parameters
        ----------
        input_ids, mask : ndarray of int64, shape (n, t)
            The mask is 1 for tokens, 0 for padding.
        segments : ndarray of int64, shape (n, t), optional
            1 for tokens of a pair's second text, else 0; None: all 0. Encoders that make no difference ignore it.
        """
        ...

    def hidden_states(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return what features are pooled from: (n, t), (n, t) -> the embeddings, then each layer's output, (n, t, d).

        The last is that of the deepest view. Rows of padding hold numbers without a meaning.
        """
        ...


def make_engine(
    checkpoint: Checkpoint, views: Sequence[EncoderSpec], compute: ComputeSpec
) -> Engine:
    """Return the engine that `compute` asks for, or the fastest that runs here.

    Parameters
    ----------
    checkpoint : Checkpoint
    views : sequence of EncoderSpec
        At least one; they differ in nothing but layer and pooling.
    compute : ComputeSpec

    Raises
    ------
    ConfigError
        If the backend or the device that was asked for cannot be used here, or no engine runs the precision.
    EncoderError
        If no engine can run the checkpoint.
    """
    bert, spec = checkpoint.bert(), views[0]
    name = _accelerator(spec, compute)
    obstacle = _obstacle(name, bert, spec, compute)
    if obstacle is None:
        assert bert is not None  # else there is an obstacle
        try:
            engine = _engine_class(name)(bert, views)
            engine(*TRIAL)
            return engine
        except EngineError as error:
            if not has_fallback(name, spec, compute):
                raise
            logger.warning("%s torch does the work now.", error)
    elif compute.backend == name:
        raise ConfigError(f"--backend {name}: {obstacle} Or pass --backend auto.")
    elif spec.precision == "int8":
        raise _no_int8(obstacle)
    if bert is None:
        return transformers_engine(checkpoint, views, compute.device)
    from pipeline.encoder.engine_torch import TorchEngine

    return TorchEngine(bert, views, compute.device)


def has_fallback(engine: str, spec: EncoderSpec, compute: ComputeSpec) -> bool:
    """Tell whether torch may take over from an engine."""
    is_chosen = compute.backend == "auto" and engine in ACCELERATED
    return is_chosen and spec.precision != "int8"


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
    obstacle = _obstacle(_accelerator(spec, compute), bert, spec, compute)
    if obstacle is not None:
        raise _no_int8(obstacle)
    from pipeline.encoder.quantize import quantize

    assert bert is not None  # else there is an obstacle
    arrays = to_arrays(quantize(bert, checkpoint.tokenizer, spec))
    return replace(checkpoint, weights=arrays)


def _no_int8(obstacle: str) -> ConfigError:
    return ConfigError(
        f"--precision int8 is run by ONNX Runtime alone. {obstacle} For another engine pass --precision float32."
    )


def transformers_engine(
    checkpoint: Checkpoint, views: Sequence[EncoderSpec], device: str = "cpu"
) -> Engine:
    """Return transformers' own model, whole, as it comes: for every architecture, and to compare others with."""
    from pipeline.encoder.engine_transformers import TransformersEngine

    return TransformersEngine(checkpoint, views, device)


def views_of(bert: Bert, specs: Sequence[EncoderSpec]) -> list[View]:
    """Return what `specs` ask for, layer by layer."""
    n_states = len(bert.layers) + 1
    return [
        View(layer if layer >= 0 else n_states + layer, spec.pooling)
        for spec in specs
        for layer in spec.layers
    ]


def layers_to_run(views: Sequence[View]) -> int:
    """Return how many layers give the hidden states of all views."""
    return max(view.n_layers for view in views)


def ends_in_first_token(views: Sequence[View]) -> bool:
    """Tell whether of the last layer that is run nothing but each text's first token is needed."""
    n_layers = layers_to_run(views)
    last = {view.pooling for view in views if view.n_layers == n_layers}
    return n_layers > 0 and last <= {"cls", "pooler"}


def graph_inputs(
    bert: Bert,
    input_ids: NDArray[np.int64],
    mask: NDArray[np.int64],
    segments: NDArray[np.int64] | None = None,
) -> list[NDArray[Any]]:  # Any: int32 and float32
    """Return the inputs of a graph for a batch, (n, t) each: ids, positions, mask; see `pipeline.encoder.ops.Ops`."""
    return [
        input_ids.astype(np.int32),
        place_ids(bert, input_ids, segments),
        mask.astype(np.float32),
    ]


def check_pooler(bert: Bert, views: Sequence[EncoderSpec]) -> None:
    """Make sure that there is a trained pooler if one is asked for.

    Raises
    ------
    EncoderError
        If the checkpoint has none.
    """
    if bert.pooler is None and any(view.pooling == "pooler" for view in views):
        raise no_pooler(views[0])


def no_pooler(spec: EncoderSpec) -> EncoderError:
    """Return the error for an encoder without a trained pooler."""
    return EncoderError(
        f"{spec.encoder} has no trained pooler. Pass --pooling cls or mean."
    )


def _accelerator(spec: EncoderSpec, compute: ComputeSpec) -> str:
    """Return the accelerated engine that is meant."""
    if compute.backend in ACCELERATED:
        return compute.backend
    return "onnxruntime" if spec.precision == "int8" else "openvino"


def _obstacle(
    name: str, bert: Bert | None, spec: EncoderSpec, compute: ComputeSpec
) -> str | None:
    """Return why an accelerated engine does not run this, in a sentence or two, or None if it does."""
    *_, said = ACCELERATED[name]
    if compute.backend == "torch":
        return "--backend torch was asked for."
    if bert is None:
        return f"{said} runs BERT, DistilBERT and RoBERTa here, not {spec.encoder}."
    if compute.device != "cpu" and not _may_choose_cpu(spec, compute):
        return f"{said} runs on the processor here. Pass --device cpu."
    return _missing(name) or _unable(name, spec)


def _missing(name: str) -> str | None:
    """Return what is missing of an accelerated engine on this machine, or None."""
    packages, _, said = ACCELERATED[name]
    if any(find_spec(package) is None for package in packages):
        return f"{said} is not installed. {INSTALL}"
    try:
        _engine_class(name)
    except ImportError as error:
        return f"The {said} here cannot be used ({error}). {INSTALL}"
    return None


def _unable(name: str, spec: EncoderSpec) -> str | None:
    """Return why an accelerated engine that is installed does not run a precision, or None if it does."""
    if name == "onnxruntime":
        if spec.precision == "bfloat16":
            return "ONNX Runtime has no bfloat16 on processors. Pass --backend openvino or torch."
        return None
    if spec.precision == "int8":
        return "Pass --backend onnxruntime."
    from pipeline.encoder.engine_openvino import capabilities

    if spec.precision == "bfloat16" and "BF16" not in capabilities():
        return "This processor has no bfloat16."
    return None


def _engine_class(name: str) -> Callable[[Bert, Sequence[EncoderSpec]], Engine]:
    _, (module, engine), _ = ACCELERATED[name]
    found: Callable[[Bert, Sequence[EncoderSpec]], Engine] = getattr(
        import_module(module), engine
    )
    return found


def _may_choose_cpu(spec: EncoderSpec, compute: ComputeSpec) -> bool:
    """Tell whether ``--device auto`` means the processor; for int8 it always does."""
    return compute.device == "auto" and (spec.precision == "int8" or not _has_gpu())


def _has_gpu() -> bool:
    """Tell whether torch can use a GPU; asks it only where the machine shows one, as its import takes seconds."""
    if not any(Path(device).exists() for device in GPU_DEVICES):
        return False
    import torch

    return bool(torch.cuda.is_available())

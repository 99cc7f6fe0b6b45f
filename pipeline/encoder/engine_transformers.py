"""transformers' own model, whole: for every architecture, and what the other engines are compared with."""

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging as transformers_logging

from pipeline.config import EncoderSpec
from pipeline.encoder.checkpoint import REFUSED, Checkpoint
from pipeline.encoder.device import (
    DTYPES,
    TORCH,
    choose_device,
    halving,
    identity_of,
)
from pipeline.encoder.engine import no_pooler
from pipeline.encoder.pooling import POOLINGS
from pipeline.errors import EncoderError

transformers_logging.set_verbosity_error()  # unused weights of other heads are no news here
transformers_logging.disable_progress_bar()

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IGNORED = {  # settings that choose kernels, possibly from a hub
    "_attn_implementation",
    "attn_implementation",
    "_attn_implementation_internal",
}


class TransformersEngine:
    """A `pipeline.encoder.engine.Engine`.

    Parameters
    ----------
    checkpoint : Checkpoint
    views : sequence of EncoderSpec
        At least one.
    device : str
        As for ``--device``.

    Attributes
    ----------
    model : transformers.PreTrainedModel
        In eval mode, without gradients.
    """

    def __init__(
        self, checkpoint: Checkpoint, views: Sequence[EncoderSpec], device: str
    ) -> None:
        self._views = [(layer, v.pooling) for v in views for layer in v.layers]
        self._device = choose_device(device)
        model = build_model(checkpoint)
        if getattr(model, "pooler", None) is None:
            for view in views:
                if view.pooling == "pooler":
                    raise no_pooler(view)
        self.model = model.to(self._device, DTYPES[views[0].precision])
        self._takes = set(inspect.signature(model.forward).parameters)
        self.device = str(self._device)
        self.n_parameters = sum(p.numel() for p in model.parameters())
        self.n_halved = 0
        version = f"{transformers.__version__} (torch {TORCH})"
        self.identity = identity_of("transformers", version, self._device)

    def __call__(
        self,
        input_ids: NDArray[np.int64],
        mask: NDArray[np.int64],
        segments: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float32]:
        """Return the features of a batch, of all views side by side: (n, t) each -> (n, d).

        Raises
        ------
        EncoderError
            If the model was set to training mode.
        """
        self._check_mode()
        columns = [input_ids, mask]
        if segments is not None and self._has_segments:
            columns.append(segments)
        found, n_halved = halving(self._features, *columns)
        self.n_halved += n_halved
        return found

    @torch.inference_mode()
    def hidden_states(
        self, input_ids: NDArray[np.int64], mask: NDArray[np.int64]
    ) -> list[NDArray[np.float32]]:
        """Return the hidden states of a batch: (n, t), (n, t) -> of each layer (n, t, d).

        Raises
        ------
        EncoderError
            If the model was set to training mode.
        """
        self._check_mode()
        inputs = self._inputs(input_ids, mask)
        out = self.model(**inputs, output_hidden_states=True)
        states, layers = list(out.hidden_states), [layer for layer, _ in self._views]
        if -1 in layers:  # where an architecture normalises once more, it differs
            states[-1] = out.last_hidden_state
        kept = states[: max(layer % len(states) for layer in layers) + 1]
        return [np.asarray(x.float().cpu().numpy()) for x in kept]

    def _check_mode(self) -> None:
        if self.model.training:
            raise EncoderError(
                "The encoder was set to training mode, where dropout makes features random. "
                "Call encoder.engine.model.eval()."
            )

    @property
    def _has_segments(self) -> bool:
        """Tell whether the model tells a pair's second text from the first."""
        n_kinds = getattr(self.model.config, "type_vocab_size", 2)
        return "token_type_ids" in self._takes and n_kinds > 1

    def _inputs(self, *columns: NDArray[np.int64]) -> dict[str, torch.Tensor]:
        """Return ids, mask and, if given, segments as what the model calls them."""
        return {
            name: torch.from_numpy(array).to(self._device)
            for name, array in zip(INPUTS, columns, strict=False)
            if name in self._takes
        }

    @torch.inference_mode()
    def _features(self, *columns: NDArray[np.int64]) -> NDArray[np.float32]:
        mask = torch.from_numpy(columns[1]).to(self._device)
        last = all(layer == -1 for layer, _ in self._views)
        more = {} if last else {"output_hidden_states": True}
        out = self.model(**self._inputs(*columns), **more)

        def features(layer: int, pooling: str) -> torch.Tensor:  # (n, d)
            if pooling == "pooler":
                found: torch.Tensor = out.pooler_output.float()
                return found
            hidden = out.last_hidden_state if layer == -1 else out.hidden_states[layer]
            return POOLINGS[pooling](hidden.float(), mask)

        parts = [features(layer, pooling) for layer, pooling in self._views]
        return np.asarray(torch.stack(parts, dim=1).flatten(1).cpu().numpy())


def build_model(checkpoint: Checkpoint) -> Any:  # Any: transformers' models are untyped
    """Return the model in eval mode, float32, on the CPU.

    Raises
    ------
    EncoderError
        If transformers does not know the architecture, or weights are missing.
    """
    try:
        model, info = _instantiate(checkpoint)
    except EncoderError:
        raise
    except Exception as error:  # a configuration can be wrong in as many ways as there are architectures
        raise EncoderError(
            f"No encoder can be built from this configuration: {error!r}. Fetch it again."
        ) from error
    missing = sorted(
        name for name in info["missing_keys"] if not name.startswith("pooler.")
    )
    if missing or info["mismatched_keys"]:
        raise EncoderError(
            f"The weights do not fit the configuration: {len(missing)} missing, such as {missing[:3]}; "
            f"{len(info['mismatched_keys'])} of another shape. Fetch the encoder again."
        )
    if any(name.startswith("pooler.") for name in info["missing_keys"]):
        model.pooler = None  # untrained: transformers filled it with random numbers
    return model.eval().requires_grad_(False)


def _instantiate(
    checkpoint: Checkpoint,
) -> tuple[Any, dict[str, Any]]:  # Any: transformers' models are untyped
    if REFUSED.intersection(checkpoint.config):
        raise EncoderError(
            f"The configuration asks for {', '.join(sorted(REFUSED.intersection(checkpoint.config)))}, which is never "
            "used here. Choose another encoder."
        )
    kind = checkpoint.config["model_type"]
    if kind not in CONFIG_MAPPING:
        raise EncoderError(
            f"transformers has no architecture {kind!r}. Update it, or choose another encoder."
        )
    settings = {
        name: value for name, value in checkpoint.config.items() if name not in IGNORED
    }
    config = CONFIG_MAPPING[kind].from_dict(settings)
    if type(config) not in MODEL_MAPPING:
        raise EncoderError(
            f"Architecture {kind!r} is not a text encoder. Choose another encoder."
        )
    if getattr(config, "is_encoder_decoder", False):
        raise EncoderError(
            f"Architecture {kind!r} is an encoder-decoder, not an encoder. Choose another encoder."
        )
    known = checkpoint.tokenizer.get_vocab_size()
    if known > getattr(config, "vocab_size", known):
        raise EncoderError(
            f"The tokenizer knows {known:,} tokens, the encoder {config.vocab_size:,}: "
            "they do not belong together. Fetch the encoder again."
        )
    architecture: Any = MODEL_MAPPING[type(config)]  # Any: a model class
    if "input_ids" not in inspect.signature(architecture.forward).parameters:
        raise EncoderError(
            f"Architecture {kind!r} takes no tokens: it is for images or sound. Choose a text encoder."
        )
    model, info = architecture.from_pretrained(
        None,
        config=config,
        state_dict={
            name: torch.from_numpy(array) for name, array in checkpoint.weights.items()
        },
        dtype=torch.float32,
        output_loading_info=True,
    )
    return model, info

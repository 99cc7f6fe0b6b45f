"""A checkpoint in memory: configuration, tokenizer and weights, from a folder or from bytes.

safetensors only, never code of the checkpoint's own.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, load_file
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers
from transformers import AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_MAPPING
from transformers.utils import logging as transformers_logging

from pipeline.encoder.folder import check_folder, read_config, weight_names
from pipeline.errors import EncoderError

transformers_logging.set_verbosity_error()  # unused weights of other heads are no news here
transformers_logging.disable_progress_bar()

# Settings that would fetch or run code, and those that choose kernels, possibly from a hub.
REFUSED = {"auto_map", "quantization_config", "trust_remote_code"}
IGNORED = {
    "_attn_implementation",
    "attn_implementation",
    "_attn_implementation_internal",
}


@dataclass(frozen=True)
class Checkpoint:
    """Everything an encoder is built from.

    Attributes
    ----------
    config : dict
        The JSON of ``config.json``.
    tokenizer : tokenizers.Tokenizer
        Without truncation and padding.
    special : dict of str to str
        Special tokens by role: ``cls_token``, ``pad_token``, ….
    weights : dict of str to Tensor
        As stored; names may carry a prefix or belong to other heads.
    """

    config: dict[str, Any]  # Any: JSON values
    tokenizer: Tokenizer
    special: dict[str, str]
    weights: dict[str, torch.Tensor]

    @property
    def pad_id(self) -> int:
        """Return the id that fills a batch; masked, so any id would do where there is no pad token."""
        token = self.special.get("pad_token")
        found = self.tokenizer.token_to_id(token) if token else None
        return 0 if found is None else int(found)

    @property
    def filler_id(self) -> int:
        """Return the id for a text without any token: of the token that begins or ends texts, else `pad_id`."""
        for role in ("cls_token", "bos_token", "eos_token"):
            found = self.tokenizer.token_to_id(self.special.get(role, ""))
            if found is not None:
                return int(found)
        return self.pad_id

    def build(self) -> Any:  # Any: transformers' models are untyped
        """Return the model in eval mode, float32, on the CPU.

        Raises
        ------
        EncoderError
            If transformers does not know the architecture, or weights are missing.
        """
        try:
            model, info = self._instantiate()
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
        self,
    ) -> tuple[Any, dict[str, Any]]:  # Any: transformers' models are untyped
        if REFUSED.intersection(self.config):
            raise EncoderError(
                f"The configuration asks for {', '.join(sorted(REFUSED.intersection(self.config)))}, which is never "
                "used here. Choose another encoder."
            )
        kind = self.config["model_type"]
        if kind not in CONFIG_MAPPING:
            raise EncoderError(
                f"transformers has no architecture {kind!r}. Update it, or choose another encoder."
            )
        settings = {
            name: value for name, value in self.config.items() if name not in IGNORED
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
        known = self.tokenizer.get_vocab_size()
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
            state_dict=self.weights,
            dtype=torch.float32,
            output_loading_info=True,
        )
        return model, info


def read_checkpoint(folder: Path, *, lowercase: bool = False) -> Checkpoint:
    """Return the checkpoint in a folder.

    Parameters
    ----------
    folder : Path
    lowercase : bool
        Whether the tokenizer shall first lower-case every text, which then is part of it.

    Raises
    ------
    EncoderError
        If a file is missing, damaged or of a kind that is refused.
    """
    check_folder(folder)
    try:
        wrapped = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        weights = {}
        for name in weight_names(folder):
            weights.update(load_file(folder / name))
    except Exception as error:  # tokenizers and safetensors raise families of their own
        raise EncoderError(
            f"{folder} cannot be loaded: {error}. Fetch the encoder again."
        ) from error
    if not hasattr(wrapped, "backend_tokenizer"):
        raise EncoderError(
            f"{folder} has only a slow tokenizer. Save it again with transformers' fast tokenizer."
        )
    special = {
        role: str(token)
        for role, token in wrapped.special_tokens_map.items()
        if isinstance(token, str)
    }
    tokenizer = _plain(wrapped.backend_tokenizer.to_str())
    if lowercase:
        own = [] if tokenizer.normalizer is None else [tokenizer.normalizer]
        tokenizer.normalizer = Normalizers([Lowercase(), *own])
    return Checkpoint(read_config(folder), tokenizer, special, weights)


def checkpoint_of_bytes(
    config: Mapping[str, Any],
    tokenizer: str,
    special: Mapping[str, str],
    weights: Sequence[bytes],
) -> Checkpoint:
    """Return the checkpoint made of a configuration, ``tokenizer.json`` and safetensors files in memory."""
    tensors: dict[str, torch.Tensor] = {}
    for part in weights:
        tensors.update(load(part))
    return Checkpoint(dict(config), _plain(tokenizer), dict(special), tensors)


def _plain(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer

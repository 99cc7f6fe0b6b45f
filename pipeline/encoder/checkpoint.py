"""A checkpoint in memory: configuration, tokenizer and weights, from a folder or from bytes.

safetensors only, never code of the checkpoint's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.normalizers import Lowercase
from tokenizers.normalizers import Sequence as Normalizers

from pipeline.encoder import quantized
from pipeline.encoder.bert import Bert, bert_of
from pipeline.encoder.folder import (
    QUANTIZED,
    check_folder,
    read_config,
    weight_names,
)
from pipeline.errors import EncoderError
from pipeline.storage import check_contents, disk

Weights = dict[str, NDArray[Any]]  # Any: of the dtype that they are stored in
REFUSED = {  # settings that would fetch or run code
    "auto_map",
    "quantization_config",
    "trust_remote_code",
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
    weights : dict of str to ndarray
        As stored; names may carry a prefix or belong to other heads. bfloat16, which numpy lacks, is float32 here.
        Engines may use the same memory: it is never changed.
    """

    config: dict[str, Any]  # Any: JSON values
    tokenizer: Tokenizer
    special: dict[str, str]
    weights: Weights

    def bert(self) -> Bert | None:
        """Return the weights by our own names, or None where only transformers can say what they are."""
        if quantized.is_quantized(self.weights):
            return quantized.from_arrays(self.weights, self.config)
        if REFUSED.intersection(self.config):
            return None
        bert = bert_of(self.config, self.weights)
        largest = max(self.tokenizer.get_vocab().values(), default=0)
        return bert if bert is not None and largest < len(bert.words) else None

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
    from transformers import AutoTokenizer

    try:
        wrapped = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        weights = {}
        for name in weight_names(folder):
            weights.update(_read_weights(folder / name))
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


def read_prepared(prepared: Path, folder: Path) -> Checkpoint:
    """Return the checkpoint that a row store's ``encoder`` directory was made of, without transformers.

    Parameters
    ----------
    prepared : Path
        With the tokenizer, and quantized weights where the precision asks for them.
    folder : Path
        With the weights otherwise.

    Raises
    ------
    CacheError
        If a file of `prepared` is missing or damaged.
    """
    special = check_contents(prepared)["facts"]["special"]
    quantized_weights = prepared / QUANTIZED
    found = (
        [quantized_weights]
        if quantized_weights.exists()
        else [folder / name for name in weight_names(folder)]
    )
    weights: Weights = {}
    for path in found:
        weights.update(_read_weights(path))
    tokenizer = _plain(disk.read(prepared / "tokenizer.json").decode())
    return Checkpoint(read_config(prepared), tokenizer, special, weights)


def checkpoint_of_bytes(
    config: Mapping[str, Any],
    tokenizer: str,
    special: Mapping[str, str],
    weights: Sequence[bytes],
) -> Checkpoint:
    """Return the checkpoint made of a configuration, ``tokenizer.json`` and safetensors files in memory."""
    arrays: Weights = {}
    for part in weights:
        arrays.update(_load_weights(part))
    return Checkpoint(dict(config), _plain(tokenizer), dict(special), arrays)


def to_bytes(weights: Weights) -> bytes:
    """Return weights as a safetensors file."""
    return bytes(safetensors.numpy.save(weights))


def _read_weights(path: Path) -> Weights:
    try:
        with safetensors.safe_open(path, framework="np") as file:  # not all at once
            return _as_float32({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # no mapping
    except (KeyError, TypeError):  # bfloat16
        from safetensors.torch import load_file

        return {
            name: tensor.float().numpy() for name, tensor in load_file(path).items()
        }


def _load_weights(data: bytes) -> Weights:
    try:
        return _as_float32(safetensors.numpy.load(data))
    except (KeyError, TypeError):  # bfloat16
        from safetensors.torch import load

        return {name: tensor.float().numpy() for name, tensor in load(data).items()}


def _as_float32(weights: Weights) -> Weights:
    """Return bfloat16 as float32: numpy has it once a library has brought ``ml_dtypes`` along."""
    return {
        name: array.astype("float32") if array.dtype.name == "bfloat16" else array
        for name, array in weights.items()
    }


def _plain(text: str) -> Tokenizer:
    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer

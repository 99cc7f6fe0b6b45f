"""What an encoder's folder holds: which files decide its features, and which folders are refused."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError, EncoderError

CONFIG, WEIGHTS, INDEX = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
)
QUANTIZED = "int8.safetensors"  # in a row store: weights made by the int8 recipe
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", *TOKENIZER_FILES[7:])
NEEDED = "Pass a folder with config.json, model.safetensors and the tokenizer's files."
OTHER_COPY = "Choose a copy or a revision of the encoder that has model.safetensors."
OTHER_WEIGHTS = (  # what may stand where model.safetensors is missing: files, what they are, what to do
    (
        "adapter_config.json",
        "only an adapter, not the encoder it adapts",
        "Merge the two (peft's merge_and_unload) and pass the folder saved then.",
    ),
    (
        "*.bin",
        "its weights only as .bin, a format that can run code when loaded",
        "Convert it: AutoModel.from_pretrained(FOLDER).save_pretrained(NEW), in an environment you can lose.",
    ),
    ("tf_model.h5", "its weights only as tf_model.h5, for TensorFlow", OTHER_COPY),
    (
        "flax_model.msgpack",
        "its weights only as flax_model.msgpack, for Flax",
        OTHER_COPY,
    ),
    ("*.gguf", "its weights only as .gguf, quantized for another program", OTHER_COPY),
    ("*.onnx", "its weights only as .onnx, a finished graph", OTHER_COPY),
    ("onnx/*.onnx", "its weights only as .onnx, a finished graph", OTHER_COPY),
)


def open_folder(folder: Path, revision: str) -> Path:
    """Return the folder with an encoder's files: itself, or a snapshot of a hub-cache repository.

    Parameters
    ----------
    folder : Path
        ``models--<org>--<name>`` with ``refs`` and ``snapshots`` is such a repository.
    revision : str
        Which snapshot of it: a commit or a ref; ``auto`` is ``main``, else the only one.

    Raises
    ------
    ConfigError
        If it has several snapshots, and nothing says which is meant.
    """
    snapshots = folder / "snapshots"
    if (folder / CONFIG).is_file() or not snapshots.is_dir():
        return folder
    there = sorted(path for path in snapshots.iterdir() if path.is_dir())
    reference = folder / "refs" / ("main" if revision == "auto" else revision)
    named = (
        reference.read_text("utf-8", "replace").strip()
        if reference.is_file()
        else revision
    )
    chosen = [path for path in there if path.name == named]
    if not chosen and revision == "auto" and len(there) == 1:
        chosen = there
    if not chosen:
        listing = ", ".join(path.name for path in there) or "none"
        raise ConfigError(
            f"{folder} is a hub cache's repository with no snapshot for --revision {revision}, but: {listing}. "
            f"Pass --revision with one of them, or --encoder {snapshots}/COMMIT."
        )
    return chosen[0]


def folder_name(folder: Path) -> str:
    """Return what a folder is called in reports: its own name, or its repository's if it is in a hub cache."""
    folder = folder.absolute()
    repository = re.fullmatch(r"models--(.+?)(?:--(.+))?", folder.parent.parent.name)
    if folder.parent.name == "snapshots" and repository:
        return "/".join(part for part in repository.groups() if part)
    return folder.resolve().name


def encoder_files(folder: Path) -> list[Path]:
    """Return the files of an encoder folder that decide its features, sorted by name."""
    versioned = {
        path.name for path in folder.glob("tokenizer*.json")
    }  # transformers may choose one of these
    names = {CONFIG, *TOKENIZER_FILES, *versioned, *weight_names(folder)}
    if (folder / INDEX).is_file():
        names.add(INDEX)
    return sorted(path for name in names if (path := folder / name).is_file())


def weight_names(folder: Path) -> list[str]:
    """Return the names of the safetensors files: one, or the parts that the index lists."""
    if (folder / WEIGHTS).is_file() or not (folder / INDEX).is_file():
        return [WEIGHTS]
    try:
        parts = json.loads((folder / INDEX).read_bytes())["weight_map"].values()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(
            f"{folder / INDEX} is not an index of weights: {error}. Fetch the encoder again."
        ) from error
    return sorted({str(part) for part in parts if "/" not in str(part)})


def missing_files(folder: Path) -> list[str]:
    """Return what an encoder folder lacks to be usable."""
    lacking = [
        name
        for name in (CONFIG, *weight_names(folder))
        if not (folder / name).is_file()
    ]
    if not any((folder / name).is_file() for name in VOCABULARIES):
        lacking.append("tokenizer.json")
    return lacking


def check_folder(folder: Path) -> None:
    """Make sure a folder is an encoder we load: safetensors weights, a tokenizer, no code of its own.

    Raises
    ------
    EncoderError
        Says what is missing or refused, and how to mend it.
    """
    lacking = missing_files(folder)
    if set(lacking).intersection(weight_names(folder)):
        _refuse_other_weights(folder)
    if CONFIG in lacking and (near := list(_encoders_below(folder))):
        raise EncoderError(
            f"{folder} holds no {CONFIG}. Did you mean {' or '.join(map(str, near[:3]))}?"
        )
    if lacking:
        raise EncoderError(
            f"{folder} is not a complete encoder: {', '.join(lacking)} missing. {NEEDED}"
        )
    config = read_config(folder)
    if "auto_map" in config:
        raise EncoderError(
            f"{folder / CONFIG} asks for code of its own (auto_map), which is never run here. "
            "Choose an encoder whose architecture is part of transformers."
        )
    if config.get("is_encoder_decoder") is True:
        raise EncoderError(
            f"{folder} is a {config['model_type']} encoder-decoder, not an encoder. "
            "Choose an encoder, such as a BERT, RoBERTa or MPNet."
        )


def _refuse_other_weights(folder: Path) -> None:
    for pattern, what, remedy in OTHER_WEIGHTS:
        if any(folder.glob(pattern)):
            raise EncoderError(f"{folder} has {what}. {remedy}")


def _encoders_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("*/" + CONFIG)):
        if not missing_files(path.parent):
            yield path.parent


def read_config(folder: Path) -> dict[str, Any]:  # Any: JSON values
    """Return the JSON of ``config.json``.

    Raises
    ------
    EncoderError
        If it is not the configuration of a model.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise EncoderError(
            f"{folder / CONFIG} is not JSON: {error}. Fetch the encoder again."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise EncoderError(
            f"{folder / CONFIG} names no model_type. Fetch the encoder again."
        )
    return config

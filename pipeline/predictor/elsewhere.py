"""Weights that a predictor file only names: which encoder has them, and what their bytes must be."""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import EncoderSpec
from pipeline.encoder.folder import weight_names
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import ArtifactError, PipelineError
from pipeline.storage import disk, sha256_file

WEIGHT_FILE = re.compile(r"model(-\d+-of-\d+)?\.safetensors")
HEX = "[0-9a-f]"


@dataclass(frozen=True)
class Elsewhere:
    """Where the weights of a predictor are.

    Attributes
    ----------
    encoder : str
        Hub id, ``minilm``, or the name of a local folder: not its path, which is this machine's.
    revision : str
        Hub commit of 40 hex digits; ``auto`` for what is no hub id.
    files : dict of str to str
        SHA-256 of each safetensors file, by name.

    Raises
    ------
    ArtifactError
        If a file says anything else: no other file is ever read, and no branch of a hub repository.
    """

    encoder: str
    revision: str
    files: dict[str, str]

    def __post_init__(self) -> None:
        """Check the values, which a file may have brought."""
        are_files = isinstance(self.files, dict) and all(
            WEIGHT_FILE.fullmatch(str(name)) and re.fullmatch(HEX + "{64}", str(digest))
            for name, digest in self.files.items()
        )
        is_revision = self.revision == "auto" or re.fullmatch(
            HEX + "{40}", str(self.revision)
        )
        if not (are_files and self.files and is_revision and str(self.encoder)):
            raise ArtifactError(
                "The predictor's file does not say properly where its weights are: expected a hub commit and the "
                "SHA-256 of model.safetensors. Do not use it."
            )

    @classmethod
    def of(cls, source: EncoderSource, digests: dict[str, str]) -> "Elsewhere":
        """Return how the weights of an encoder are found again; `digests` are those of all its files."""
        return cls(
            encoder=source.name,
            revision=source.identity.get("commit", EncoderSpec.revision),
            files={name: digests[name] for name in weight_names(source.fetch())},
        )

    def facts(self) -> dict[str, Any]:  # Any: JSON values
        """Return everything as JSON values."""
        return asdict(self)

    def read(self, folder: Path | None = None) -> dict[str, bytes]:
        """Return the safetensors files by name.

        Parameters
        ----------
        folder : Path, optional
            Where they are. None: a hub commit in the hub's cache, fetched if need be; or the offline encoder.

        Raises
        ------
        ArtifactError
            If they are not found, or are not those of training.
        """
        folder = self._find() if folder is None else folder
        found = {}
        for name, digest in self.files.items():
            try:
                data = disk.read(folder / name)
            except (PipelineError, OSError) as error:
                raise self._missing(str(error)) from error
            if hashlib.sha256(data).hexdigest() != digest:
                raise ArtifactError(
                    f"{folder / name} is not what the predictor was trained with: SHA-256 {digest[:12]}… is expected. "
                    "Pass load_predictor(path, encoder=FOLDER) with the right one."
                )
            found[name] = data
        return found

    def _find(self) -> Path:
        is_named = self.revision != "auto" or self.encoder == "minilm"
        if not is_named:
            raise self._missing("it was a folder of the machine that trained it.")
        spec = EncoderSpec(encoder=self.encoder, revision=self.revision)
        try:
            return find_encoder(spec, sha256_file).fetch()
        except PipelineError as error:
            raise self._missing(str(error)) from error

    def _missing(self, why: str) -> ArtifactError:
        return ArtifactError(
            f"The predictor's file only names its encoder's weights ({self.encoder}), and they are not at hand: {why} "
            "Pass load_predictor(path, encoder=FOLDER), or export with --encoder-in-predictor bundle."
        )

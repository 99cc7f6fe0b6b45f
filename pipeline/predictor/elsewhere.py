"""Weights that a predictor file only names: which encoder has them, and what their bytes must be."""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.config import EncoderSpec
from pipeline.encoder.folder import weight_names
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import ArtifactError, PipelineError
from pipeline.storage import disk, sha256_file


@dataclass(frozen=True)
class Elsewhere:
    """Where the weights of a predictor are.

    Attributes
    ----------
    encoder : str
        Hub id, ``minilm``, or the absolute path of a local folder.
    revision : str
        Hub commit of 40 hex digits; ``auto`` for what is no hub id.
    files : dict of str to str
        SHA-256 of each safetensors file, by name.
    """

    encoder: str
    revision: str
    files: dict[str, str]

    @classmethod
    def of(cls, source: EncoderSource, digests: dict[str, str]) -> "Elsewhere":
        """Return how the weights of an encoder are found again; `digests` are those of all its files."""
        folder = source.fetch()
        commit = source.identity.get("commit")
        is_named = commit is not None or source.name == "minilm"
        return cls(
            encoder=source.name if is_named else str(folder.absolute()),
            revision=commit or EncoderSpec.revision,
            files={name: digests[name] for name in weight_names(folder)},
        )

    def facts(self) -> dict[str, Any]:  # Any: JSON values
        """Return everything as JSON values."""
        return asdict(self)

    def read(self) -> dict[str, bytes]:
        """Return the safetensors files by name; a hub's are fetched if they are not in its cache.

        Raises
        ------
        ArtifactError
            If they are not found, or are not those of training.
        """
        spec = EncoderSpec(encoder=self.encoder, revision=self.revision)
        try:
            folder = find_encoder(spec, sha256_file).fetch()
            found = {name: disk.read(folder / name) for name in self.files}
        except (PipelineError, OSError) as error:
            raise ArtifactError(
                f"The predictor's file names its encoder's weights only ({self.encoder}), and they are not here: "
                f"{error} "
                "Pass load_predictor(path, encoder=FOLDER), or export with --encoder-in-predictor bundle."
            ) from error
        for name, data in found.items():
            digest = hashlib.sha256(data).hexdigest()
            if digest != self.files[name]:
                raise ArtifactError(
                    f"{Path(folder, name)} has SHA-256 {digest[:12]}…, the predictor was trained with "
                    f"{self.files[name][:12]}…. Pass load_predictor(path, encoder=FOLDER) with the right one."
                )
        return found

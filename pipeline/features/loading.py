"""The encoder of a row store: the one its key was made from, measured before it is used."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipeline.config import ComputeSpec, EncoderSpec, fingerprint
from pipeline.encoder.folder import QUANTIZED, encoder_files
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import CacheError, EncoderError, UnreadableError
from pipeline.features.certificates import Certificates
from pipeline.features.probes import PROBES
from pipeline.features.texts import Texts
from pipeline.storage import (
    disk,
    is_complete,
    keyed_directory,
    publish_directory,
    quarantine,
    sha256_file,
)

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder

Json = dict[str, Any]  # Any: JSON values
FOLDER = "features"  # of the row stores, below the artifacts folder
QUANTIZING = "making the encoder's 8-bit weights: about a minute, once"


@dataclass(frozen=True)
class Place:
    """A row store, and the encoder configuration that it is of.

    Attributes
    ----------
    root : Path
        The artifacts folder.
    store : Path
        The row store's folder.
    spec : EncoderSpec
        With what ``auto`` means.
    identity : dict
        Which encoder, as `EncoderSource.identity`.
    key : str
        The fingerprint of `key_fields`.
    key_fields : dict
        Everything that decides a feature's value.
    """

    root: Path
    store: Path
    spec: EncoderSpec
    identity: Json
    key: str
    key_fields: Json

    @classmethod
    def of(cls, source: EncoderSource, spec: EncoderSpec, root: Path) -> "Place":
        """Return the place of an encoder that was found."""
        fields = source.key_fields(spec)
        key = fingerprint(fields)
        store = keyed_directory(root / FOLDER, source.slug, key)
        return cls(root, store, source.resolve(spec), source.identity, key, fields)

    @property
    def prepared(self) -> Path:
        """Return where is what a predictor needs beside the weights, and what a later loading saves."""
        return self.store / "encoder"

    @property
    def lock(self) -> str:
        """Return the name of the lock under which the store is written."""
        return f"{self.store.name}.lock"

    @property
    def certificates(self) -> Certificates:
        """Return what the store knows of the engines that encoded."""
        return Certificates(self.store, self.key)


class Load(Protocol):
    """Loads an encoder, as `pipeline.encoder.frozen.load_source` does."""

    def __call__(
        self,
        source: EncoderSource,
        spec: EncoderSpec,
        compute: ComputeSpec,
        prepared: Path | None = None,
    ) -> "Encoder":
        """Return it."""
        ...


class Say(Protocol):
    """Tells people something."""

    def __call__(self, *, warning: str = ..., note: str = ...) -> None:
        """Take one of both."""
        ...


class Loader:
    """Loads the encoder at most once, and only the one that the key was made from; it is measured before it is used.

    What a first loading prepared is kept in the row store, so that later ones need neither transformers nor torch.

    Parameters
    ----------
    place : Place
    compute : ComputeSpec
    texts : Texts
        That are to be encoded, to measure the engine on; the probes if there are none.
    load : callable
    say : callable
    check : callable () -> None
        Called before anything is published; may raise.

    Attributes
    ----------
    compute : ComputeSpec
        As given; torch's once another engine was refused.
    """

    def __init__(
        self,
        place: Place,
        compute: ComputeSpec,
        texts: Texts,
        *,
        load: Load,
        say: Say,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._place, self.compute, self._texts = place, compute, texts
        self._load_source, self._say, self._check = load, say, check
        self._loaded: Encoder | None = None

    @property
    def n_halved(self) -> int:
        """Return how often a batch did not fit the GPU's memory."""
        return 0 if self._loaded is None else self._loaded.n_halved

    @property
    def device(self) -> str | None:
        """Return where it is computed; None if nothing was."""
        return None if self._loaded is None else self._loaded.device

    def source(self) -> EncoderSource:
        """Return where the encoder is.

        Raises
        ------
        EncoderError
            If it is another one than the key was made from.
        """
        spec = self._place.spec
        source = find_encoder(spec, sha256_file)
        if source.identity != self._place.identity:
            raise EncoderError(
                f"{spec.encoder} changed while the run was starting. Run the same command again."
            )
        return source

    def encoder(self) -> "Encoder":
        """Return the encoder, measured; on torch if an engine that was not asked for computes something else."""
        if self._loaded is None:
            source = self.source()
            loaded = self.load(source, self.compute)
            try:
                self._certify(source, loaded)
            except EncoderError as error:
                if not loaded.has_fallback:
                    raise
                self._say(warning=f"{error} torch does the work now.")
                self.compute = replace(self.compute, backend="torch")
                loaded = self.load(source, self.compute)
                self._certify(source, loaded)
            self._loaded = loaded
            if self._place.spec.precision == "int8":  # a minute's work
                self.publish()
        return self._loaded

    def load(self, source: EncoderSource, compute: ComputeSpec) -> "Encoder":
        """Return the encoder as it is, with what the store has prepared of it."""
        spec, prepared = self._place.spec, self._place.prepared
        if is_complete(prepared, self._place.key):
            try:
                return self._load_source(source, spec, compute, prepared)
            except UnreadableError:
                raise
            except CacheError:
                moved = quarantine(prepared, root=self._place.root)
                self._say(
                    warning=f"{prepared} was damaged and moved to {moved}; it is made again"
                )
        if spec.precision == "int8":
            self._say(note=QUANTIZING)
        return self._load_source(source, spec, compute)

    def _certify(self, source: EncoderSource, encoder: "Encoder") -> None:
        """Compare the encoder with float32 torch, if its engine never was in this store."""
        from pipeline.encoder.frozen import reference_encoder
        from pipeline.features.certify import certify

        moved = certify(
            encoder,
            lambda: reference_encoder(source, self._place.spec),
            self._texts,
            self._place.certificates,
            root=self._place.root,
            before_publishing=self._check,
        )
        if moved is not None:
            self._say(
                warning=f"a damaged certificate was moved to {moved}; it was measured again"
            )

    def publish(self) -> None:
        """Publish, unless it is there, what a predictor needs beside the weights and a later loading saves."""
        place = self._place
        if is_complete(place.prepared, place.key):
            return
        encoder = self.encoder()
        if is_complete(place.prepared, place.key):  # loading has published it
            return
        with publish_directory(
            place.prepared,
            root=place.root,
            stage="Encoder",
            key=place.key,
            key_fields=place.key_fields,
        ) as draft:
            _write_encoder(encoder, draft.path)
            draft.facts["spec"] = asdict(place.spec)
            draft.facts["special"] = encoder.checkpoint.special
            draft.facts["dim"] = encoder.dim
            draft.facts["engine"] = encoder.engine_identity
            draft.facts["files"] = {
                path.name: sha256_file(path)
                for path in encoder_files(self.source().fetch())
            }
            draft.facts["parameters"] = encoder.engine.n_parameters


def _write_encoder(encoder: "Encoder", folder: Path) -> None:
    """Write tokenizer, configuration, the probes' features, and the weights if the recipe made them."""
    disk.write(folder / "tokenizer.json", encoder.tokenizer.to_str().encode())
    disk.write(folder / "config.json", json.dumps(encoder.checkpoint.config).encode())
    disk.save_array(folder / "probes.npy", encoder.encode(PROBES))
    if encoder.spec.precision == "int8":
        from pipeline.encoder.checkpoint import to_bytes

        disk.write(folder / QUANTIZED, to_bytes(encoder.checkpoint.weights))

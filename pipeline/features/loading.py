"""The encoder of a row store, or of several: the one their keys were made from, measured before it is used."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
        beside: Sequence[EncoderSpec] = (),
    ) -> "Encoder":
        """Return it."""
        ...


class Say(Protocol):
    """Tells people something."""

    def __call__(self, *, warning: str = ..., note: str = ...) -> None:
        """Take one of both."""
        ...


class Loader:
    """Loads the encoder once, and only the one that the keys were made from; it is measured before it is used.

    What a first loading prepared is kept in each row store, so that later ones need neither transformers nor torch.

    Parameters
    ----------
    places : sequence of Place
        At least one; their encoders differ in nothing but layer and pooling. Of int8, whose weights are those of one
        view, only one.
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
        places: Sequence[Place],
        compute: ComputeSpec,
        texts: Texts,
        *,
        load: Load,
        say: Say,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._places, self.compute, self._texts = list(places), compute, texts
        self._load_source, self._say, self._check = load, say, check
        self._loaded: Encoder | None = None
        self._which: list[int] = []  # of the places is loaded

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
        place = self._places[0]
        source = find_encoder(place.spec, sha256_file)
        if source.identity != place.identity:
            raise EncoderError(
                f"{place.spec.encoder} changed while the run was starting. Run the same command again."
            )
        return source

    def encoder(self, which: Sequence[int]) -> "Encoder":
        """Return the encoder of some of the places, by number, their features side by side in that order.

        It is measured; on torch if an engine that was not asked for computes something else.
        """
        if self._loaded is None or self._which != list(which):
            source = self.source()
            loaded = self.load(source, self.compute, which)
            try:
                self._certify(source, loaded, which)
            except EncoderError as error:
                if not loaded.has_fallback:
                    raise
                self._say(warning=f"{error} torch does the work now.")
                self.compute = replace(self.compute, backend="torch")
                loaded = self.load(source, self.compute, which)
                self._certify(source, loaded, which)
            self._loaded, self._which = loaded, list(which)
            if loaded.spec.precision == "int8":  # a minute's work
                self.publish()
        return self._loaded

    def load(
        self, source: EncoderSource, compute: ComputeSpec, which: Sequence[int]
    ) -> "Encoder":
        """Return the encoder as it is, with what any of the stores has prepared of it."""
        spec, *beside = (self._places[i].spec for i in which)
        for place in self._places:
            if not is_complete(place.prepared, place.key):
                continue
            try:
                return self._load_source(source, spec, compute, place.prepared, beside)
            except UnreadableError:
                raise
            except CacheError:
                moved = quarantine(place.prepared, root=place.root)
                self._say(
                    warning=f"{place.prepared} was damaged and moved to {moved}; it is made again"
                )
        if spec.precision == "int8":
            self._say(note=QUANTIZING)
        return self._load_source(source, spec, compute, beside=beside)

    def _certify(
        self, source: EncoderSource, encoder: "Encoder", which: Sequence[int]
    ) -> None:
        """Compare the encoder with float32 torch, for each store in which its engine never was."""
        from pipeline.encoder.frozen import reference_encoder
        from pipeline.features.certify import certify

        spec, *beside = (self._places[i].spec for i in which)
        for moved in certify(
            encoder,
            lambda: reference_encoder(source, spec, beside),
            self._texts,
            [self._places[i].certificates for i in which],
            root=self._places[0].root,
            before_publishing=self._check,
        ):
            self._say(
                warning=f"a damaged certificate was moved to {moved}; it was measured again"
            )

    def certify(self) -> None:
        """Measure for the stores that hold features of which nothing was measured and that need it."""
        self._covering(
            i
            for i, place in enumerate(self._places)
            if place.certificates.lack(place.spec.precision)
        )

    def publish(self) -> None:
        """Publish, unless it is there, what a predictor needs beside the weights and a later loading saves."""
        lacking = [
            i
            for i, place in enumerate(self._places)
            if not is_complete(place.prepared, place.key)
        ]
        encoder = self._covering(lacking)
        if encoder is None:
            return
        probes = np.split(encoder.encode(PROBES), len(self._which), axis=1)
        files = encoder_files(self.source().fetch())
        digests = {path.name: sha256_file(path) for path in files}
        for i in lacking:
            place, own_probes = self._places[i], probes[self._which.index(i)]
            if is_complete(place.prepared, place.key):  # loading has published it
                continue
            with publish_directory(
                place.prepared,
                root=place.root,
                stage="Encoder",
                key=place.key,
                key_fields=place.key_fields,
            ) as draft:
                _write_encoder(encoder, own_probes, draft.path)
                draft.facts["spec"] = asdict(place.spec)
                draft.facts["special"] = encoder.checkpoint.special
                draft.facts["dim"] = own_probes.shape[1]
                draft.facts["engine"] = encoder.engine_identity
                draft.facts["files"] = digests
                draft.facts["parameters"] = encoder.engine.n_parameters

    def _covering(self, places: Iterable[int]) -> "Encoder | None":
        """Return an encoder of at least those places, the one that is loaded if it can be; None for no place."""
        wanted = list(places)
        if not wanted:
            return None
        return self.encoder(self._which if set(wanted) <= set(self._which) else wanted)


def _write_encoder(
    encoder: "Encoder", probes: NDArray[np.float32], folder: Path
) -> None:
    """Write tokenizer, configuration, the probes' features, and the weights if the recipe made them."""
    disk.write(folder / "tokenizer.json", encoder.tokenizer.to_str().encode())
    disk.write(folder / "config.json", json.dumps(encoder.checkpoint.config).encode())
    disk.save_array(folder / "probes.npy", probes)
    if encoder.spec.precision == "int8":
        from pipeline.encoder.checkpoint import to_bytes

        disk.write(folder / QUANTIZED, to_bytes(encoder.checkpoint.weights))

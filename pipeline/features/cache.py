"""An encoder in front of which stands a row store: what it encoded once, in whichever process, is read from there."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.identity import find_encoder
from pipeline.features.extract import fill_stores
from pipeline.features.keys import row_keys
from pipeline.features.loading import Load, Loader, Place
from pipeline.features.store import FeatureStore
from pipeline.features.texts import TextList
from pipeline.storage import DigestCache, is_complete, key_lock, read_manifest

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder

logger = logging.getLogger(__name__)


class CachedEncoder:
    """Features by the row store that the pipeline's runs with the same options fill, too.

    Parameters
    ----------
    spec : EncoderSpec
    compute : ComputeSpec
    root : Path
        The artifacts folder.
    load : callable
        Loads the encoder when a text is missing: `pipeline.encoder.shared.load_shared`.

    Raises
    ------
    ConfigError, EncoderError, HubError
        If there is no such encoder.
    """

    def __init__(
        self, spec: EncoderSpec, compute: ComputeSpec, root: Path, load: Load
    ) -> None:
        source = find_encoder(spec, DigestCache(root).sha256)
        self._place = Place.of(source, spec, root)
        self._compute, self._load = compute, load

    @property
    def dim(self) -> int:
        """Return the length of a feature vector; loads the encoder if nothing was stored yet."""
        prepared = self._place.prepared
        if is_complete(prepared, self._place.key):
            return int(read_manifest(prepared)["facts"]["dim"])
        loader = self._loader([])
        return loader.load(loader.source(), self._compute, [0]).dim  # of any engine

    def loaded(self) -> "Encoder":
        """Return the encoder itself, measured as for this store's texts, for other work than those.

        Raises
        ------
        EncoderError
            If it is not the one any more that the store is of, or an engine that was asked for computes something else.
        """
        loader = self._loader([])
        encoder = loader.encoder([0])
        self._compute = loader.compute
        return encoder

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return one feature row a text, in input order; texts that the store lacks are encoded, once each.

        Parameters
        ----------
        texts : sequence of str, length n

        Returns
        -------
        ndarray of float32, shape (n, d)

        Raises
        ------
        EncoderError
            If the encoder gives nonsense, or is not the one any more that the store is of.
        CacheError
            If the store cannot be read or written.
        """
        if not texts:
            return np.empty((0, self.dim), dtype=np.float32)
        place, keys = self._place, row_keys(texts)
        store = FeatureStore(place.store, place.root)
        loader = self._loader(texts)
        with key_lock(place.root, place.lock):
            done = fill_stores(
                TextList(texts),
                lambda: iter([(0, keys)]),
                [store],
                loader.encoder,
                feature_dtype=place.spec.feature_dtype,
            )
            self._compute = (
                loader.compute
            )  # an engine that was refused is not tried again
            if done.rows_encoded:
                loader.publish()
        for warning in done.warnings():
            logger.warning("%s", warning)
        return store.features(keys)

    def _loader(self, texts: Sequence[str]) -> Loader:
        return Loader(
            [self._place], self._compute, TextList(texts), load=self._load, say=_say
        )


def _say(*, warning: str = "", note: str = "") -> None:
    if warning:
        logger.warning("%s", warning)
    if note:
        logger.info("%s", note)

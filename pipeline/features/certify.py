"""Measures an engine on texts of the data set that it is to encode, and keeps the result in the row store."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.batching import EncodedRows, Tokens
from pipeline.encoder.certificate import Measured, check, measure, spread
from pipeline.errors import CacheError, UnreadableError
from pipeline.features.certificates import Certificates, Place
from pipeline.features.keys import row_keys
from pipeline.features.probes import PROBES
from pipeline.features.texts import Texts
from pipeline.pairs import Text
from pipeline.storage import (
    check_contents,
    disk,
    is_complete,
    publish_directory,
    quarantine,
)

N_TEXTS = 256
# Rows looked at for that many different texts; a data set of fewer rows is looked at whole.
N_ROWS = 4 * N_TEXTS


class Encoder(Protocol):
    """What is needed of the two encoders."""

    spec: EncoderSpec

    @property
    def engine_identity(self) -> dict[str, Any]:  # Any: JSON values
        """Return what computes."""
        ...

    def tokenize(self, texts: Sequence[Text]) -> Tokens:
        """Return the texts' ids."""
        ...

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
        """Yield each text's features exactly once, in any order."""
        ...


def certify(
    encoder: Encoder,
    make_reference: Callable[[], Encoder],
    texts: Texts,
    certificates: Certificates,
    *,
    root: Path,
    before_publishing: Callable[[], None] = lambda: None,
) -> Path | None:
    """Measure an encoder's engine against the reference, unless a certificate of it is there.

    Parameters
    ----------
    encoder : Encoder
        Not used for anything yet.
    make_reference : callable () -> Encoder
        Gives the same encoder on float32 torch; called only if there is something to measure.
    texts : Texts
        Of the data set that is to be encoded; at most `N_TEXTS` different ones are taken, evenly spread. Where there
        are none, the probes are measured and nothing is published: a certificate is of what is encoded.
    certificates : Certificates
        Where it is kept.
    root : Path
        The artifacts folder.
    before_publishing : callable () -> None
        May raise, so that nothing is published.

    Returns
    -------
    Path or None
        Where a damaged certificate was moved, if there was one.

    Raises
    ------
    EncoderError
        If the engine computes something else than it is asked to; nothing is published.
    """
    place = certificates.place(encoder.engine_identity)
    moved = None
    if is_complete(place.path, place.key):
        if _is_sound(place.path):
            return None
        moved = quarantine(place.path, root=root)
    measured = measure(
        spread_texts(texts) or PROBES,
        lambda some: _features_of(encoder, some),
        lambda some: _features_of(make_reference(), some),
        encoder.engine_identity,
    )
    if measured is not None:
        check(measured.certificate, encoder.spec)
        if len(texts):
            before_publishing()
            _publish(measured, place, root)
    return moved


def _is_sound(path: Path) -> bool:
    try:
        return bool(check_contents(path))
    except UnreadableError:
        raise
    except CacheError:
        return False


def _features_of(encoder: Encoder, texts: Sequence[Text]) -> NDArray[np.float32]:
    """Return the features, NaN and all, shape (n, d)."""
    batches = list(encoder.encode_tokens(encoder.tokenize(texts)))
    rows = np.concatenate([batch.rows for batch in batches])
    features = np.concatenate([batch.features for batch in batches])
    return np.asarray(features[np.argsort(rows)], dtype=np.float32)


def spread_texts(texts: Texts) -> list[Text]:
    """Return at most `N_TEXTS` different texts, evenly spread over a data set."""
    wanted = np.zeros(len(texts), dtype=bool)
    wanted[spread(len(texts), N_ROWS)] = True
    found: dict[Text, None] = {}
    for begin, block in texts.blocks(wanted):
        here = np.flatnonzero(wanted[begin : begin + len(block)])
        found.update(dict.fromkeys(block[i] for i in here.tolist()))
    distinct = list(found)
    return [distinct[i] for i in spread(len(distinct), N_TEXTS).tolist()]


def _publish(measured: Measured, place: Place, root: Path) -> None:
    with publish_directory(
        place.path,
        root=root,
        stage="Certificate",
        key=place.key,
        key_fields=place.fields,
    ) as draft:
        disk.save_array(draft.path / "keys.npy", row_keys(measured.texts))
        disk.save_array(draft.path / "reference.npy", measured.reference)
        disk.save_array(draft.path / "features.npy", measured.features)
        draft.facts.update(measured.certificate.facts())

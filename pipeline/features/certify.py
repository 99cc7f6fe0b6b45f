"""Measures an engine on texts of the data set that it is to encode, and keeps the result in the row store.

Of several views each is measured by itself, and kept in its own store; the two encoders run once for all.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.batching import EncodedRows, Tokens
from pipeline.encoder.certificate import Encode, Measured, check, measure, spread
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
    beside: tuple[EncoderSpec, ...]

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
    certificates: Sequence[Certificates],
    *,
    root: Path,
    before_publishing: Callable[[], None] = lambda: None,
) -> list[Path]:
    """Measure an encoder's engine against the reference, for each view of which no certificate of it is there.

    Parameters
    ----------
    encoder : Encoder
        Not used for anything yet.
    make_reference : callable () -> Encoder
        Gives the same encoder on float32 torch; called only if there is something to measure.
    texts : Texts
        Of the data set that is to be encoded; at most `N_TEXTS` different ones are taken, evenly spread. Where there
        are none, the probes are measured and nothing is published: a certificate is of what is encoded.
    certificates : sequence of Certificates
        Where it is kept, for each of the encoder's views in their order.
    root : Path
        The artifacts folder.
    before_publishing : callable () -> None
        May raise, so that nothing is published.

    Returns
    -------
    list of Path
        Where damaged certificates were moved, if there were any.

    Raises
    ------
    EncoderError
        If the engine computes something else than it is asked to; nothing is published.
    """
    specs = (encoder.spec, *encoder.beside)
    places = [one.place(encoder.engine_identity) for one in certificates]
    there = [place for place in places if is_complete(place.path, place.key)]
    sound = [place for place in there if _is_sound(place.path)]
    moved = [quarantine(p.path, root=root) for p in there if p not in sound]
    if sound == places:
        return moved
    chosen = spread_texts(texts) or PROBES
    features = _by_view(lambda: encoder, len(specs))
    reference = _by_view(make_reference, len(specs))
    found: list[tuple[Measured, Place]] = []
    for view in zip(places, specs, features, reference, strict=True):
        place, spec, encode, encode_reference = view
        if place in sound:
            continue
        identity = encoder.engine_identity
        measured = measure(chosen, encode, encode_reference, identity)
        if measured is not None:
            check(measured.certificate, spec)
            found.append((measured, place))
    if found and len(texts):
        before_publishing()
        for measured, place in found:
            _publish(measured, place, root)
    return moved


def _by_view(make: Callable[[], Encoder], n_views: int) -> list[Encode]:
    """Return for each of an encoder's views what gives its features; the same texts are encoded once for all."""

    @cache
    def views(texts: tuple[Text, ...]) -> list[NDArray[np.float32]]:
        return np.split(_features_of(make(), texts), n_views, axis=1)

    def features(view: int, texts: Sequence[Text]) -> NDArray[np.float32]:
        return views(tuple(texts))[view]

    return [partial(features, view) for view in range(n_views)]


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

"""By how much an engine's features differ from those of float32 torch, on some of the texts that it is to encode.

Pure numpy: the two encoders come as callables.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec
from pipeline.encoder.tolerance import LARGEST, SMALLEST_COSINE
from pipeline.errors import EncoderError
from pipeline.pairs import Text

N_SOME = 32  # texts for what is encoded more than once
Encode = Callable[[Sequence[Text]], NDArray[np.float32]]
Json = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True)
class Certificate:
    """What was measured; differences are absolute ones, of single features.

    Attributes
    ----------
    engine : dict
        Of the encoder: ``engine``, ``version``, ``device``, ``capabilities``.
    n : int
        Texts.
    scale : float
        Largest absolute value of a reference feature.
    largest, mean : float
        Difference from the reference.
    cosine, smallest_cosine : float
        Of a text's vector and its reference: mean and smallest.
    batch_of_one : float
        Largest difference of some texts, each encoded alone, from those in full batches.
    batch_orders : float
        The same of those texts encoded in reverse order and without the others: other batches, other neighbours.
    """

    engine: Mapping[str, Any]  # Any: JSON values
    n: int
    scale: float
    largest: float
    mean: float
    cosine: float
    smallest_cosine: float
    batch_of_one: float
    batch_orders: float

    def facts(self) -> Json:
        """Return everything as one flat JSON object."""
        figures = asdict(self)
        return {**figures.pop("engine"), **figures}


@dataclass(frozen=True)
class Measured:
    """A certificate with what it was computed from.

    Attributes
    ----------
    certificate : Certificate
    texts : list of str, length n
    reference, features : ndarray of float32, shape (n, d)
        Of float32 torch, and of the engine; all finite.
    """

    certificate: Certificate
    texts: list[Text]
    reference: NDArray[np.float32]
    features: NDArray[np.float32]


def measure(
    texts: Sequence[Text],
    encode: Encode,
    encode_reference: Encode,
    engine: Mapping[str, Any],  # Any: JSON values
) -> Measured | None:
    """Compare an engine with the reference.

    Parameters
    ----------
    texts : sequence of str
        At least one; those whose reference features are not finite are left out, which the extraction tells by row.
    encode, encode_reference : callable (sequence of str) -> ndarray of float32, shape (n, d)
        Of the engine and of the reference; may give NaN.
    engine : dict
        The engine's identity.

    Returns
    -------
    Measured or None
        None if the reference is finite for no text.

    Raises
    ------
    EncoderError
        If the engine gives NaN or infinity where the reference does not.
    """
    reference = encode_reference(texts)
    kept = np.asarray(np.isfinite(reference).all(axis=1))
    features = encode(texts)
    n_hidden = int(np.isfinite(features[~kept]).all(axis=1).sum())
    if n_hidden:
        raise EncoderError(
            f"{name_of(engine)} gives finite features for {n_hidden} texts of which float32 torch gives none. "
            "Pass --precision float32 --backend torch."
        )
    texts = [text for text, is_kept in zip(texts, kept, strict=True) if is_kept]
    if not texts:
        return None
    reference, features = reference[kept], features[kept]
    n_broken = int((~np.isfinite(features).all(axis=1)).sum())
    if n_broken:
        raise EncoderError(
            f"{name_of(engine)} gives NaN or infinity for {n_broken} of {len(texts)} texts, float32 torch for none of "
            "them. Pass --precision float32 --backend torch."
        )
    difference = np.abs(features.astype(np.float64) - reference)
    cosines = _cosines(features, reference)
    certificate = Certificate(
        engine,
        len(texts),
        scale=float(np.abs(reference).max()),
        largest=float(difference.max()),
        mean=float(difference.mean()),
        cosine=float(cosines.mean()),
        smallest_cosine=float(cosines.min()),
        **_in_other_batches(texts, features, encode),
    )
    return Measured(certificate, texts, reference, features)


def _cosines(
    features: NDArray[np.float32], reference: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the cosine of each row with its reference, shape (n,); of two zero vectors it is 1, of one it is 0."""
    a, b = features.astype(np.float64), reference.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    are_equal = (a == b).all(axis=1)
    cosines = (a * b).sum(axis=1) / np.where(lengths > 0, lengths, 1.0)
    return np.where(are_equal, 1.0, np.clip(cosines, -1.0, 1.0))


def _in_other_batches(
    texts: list[Text], features: NDArray[np.float32], encode: Encode
) -> dict[str, float]:
    """Return how far the features of some texts move with those that share their batch."""
    some = spread(len(texts), N_SOME)
    alone = np.concatenate([encode([texts[i]]) for i in some.tolist()])
    backwards = encode([texts[i] for i in some[::-1].tolist()])[::-1]
    return {
        "batch_of_one": float(np.abs(alone - features[some]).max()),
        "batch_orders": float(np.abs(backwards - features[some]).max()),
    }


def spread(n: int, m: int) -> NDArray[np.int64]:
    """Return at most `m` different numbers below `n`, evenly spread, ascending."""
    return np.unique(np.linspace(0, n - 1, min(n, m)).round().astype(np.int64))


def name_of(engine: Mapping[str, Any]) -> str:  # Any: JSON values
    """Return an engine as people call it."""
    return f"{engine['engine']} {engine['version']} on {engine['device']}"


def check(certificate: Certificate, spec: EncoderSpec) -> None:
    """Refuse an engine that computes something else than the recipe.

    Raises
    ------
    EncoderError
        Names engine, figure and bound, as `pipeline.encoder.tolerance` states them.
    """
    name = f"{name_of(certificate.engine)}, {spec.recipe}"
    fix = "Pass --precision float32 --backend torch, or another encoder."
    bound = LARGEST.get(spec.precision, np.inf) * max(1.0, certificate.scale)
    for figure, said in (
        ("largest", "differs from float32 torch"),
        ("batch_of_one", "of a text alone differs from the one in a full batch"),
        ("batch_orders", "of a text depends on the order of texts"),
    ):
        value = getattr(certificate, figure)
        if not value <= bound:
            raise EncoderError(
                f"{name}: a feature {said} by {value:.2g} (on {certificate.n} texts), expected at most {bound:.2g}. "
                f"{fix}"
            )
    least = SMALLEST_COSINE.get(spec.precision, -1.0)
    if not certificate.smallest_cosine >= least:
        raise EncoderError(
            f"{name}: a text's features have the cosine {certificate.smallest_cosine:.4f} with those of float32 torch "
            f"(on {certificate.n} texts), expected at least {least}. {fix}"
        )

"""Encodes some stored rows again: the end-to-end check of a row store."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.pairs import encode_rows
from pipeline.encoder.tolerance import allowed_difference
from pipeline.errors import CacheError, EncoderError
from pipeline.features.stored import StoredFeatures, pair_encoding_of
from pipeline.pairs import Text
from pipeline.storage import read_manifest, sha256_file


@dataclass(frozen=True)
class Rechecked:
    """What encoding again gave.

    Attributes
    ----------
    n : int
        Rows encoded.
    largest : float
        Largest difference of a feature from the stored one.
    allowed : float
        What rounding explains.
    """

    n: int
    largest: float
    allowed: float


def encode_again(
    features_dir: Path, dataset_dir: Path, root: Path, n: int, encoder: str | None
) -> Rechecked:
    """Encode random rows of a data set again and compare them with what is stored.

    Parameters
    ----------
    features_dir : Path
        The data set's feature list, ``features/<encoder>/datasets/<key>``.
    dataset_dir : Path
        Its rows.
    root : Path
        The artifacts folder.
    n : int
        At most so many rows.
    encoder : str or None
        Where the encoder is now, as for ``--encoder``; None: where it was.

    Raises
    ------
    EncoderError
        If the encoder is not here, or is another one.
    CacheError
        If the list does not belong to the rows.
    """
    prepared = features_dir.parent.parent / "encoder"
    manifest = read_manifest(prepared)
    options = manifest["facts"].get("spec")
    if options is None:
        raise EncoderError(
            f"{features_dir.parent.parent} was made by an earlier version, which did not note its options. "
            f"Remove {features_dir.parent.parent / 'encoder'} and run the pipeline again: nothing is encoded again."
        )
    spec = EncoderSpec(
        **(options if encoder is None else {**options, "encoder": encoder})
    )
    source = find_encoder(spec, sha256_file)
    if source.identity != manifest["key_fields"]["encoder"]:
        raise EncoderError(
            f"{spec.encoder} is not the encoder that made {features_dir.parent.parent}. Pass --encoder."
        )
    stored, texts = StoredFeatures.of([features_dir], root), StoredTexts(dataset_dir)
    if len(stored) != len(texts):
        raise CacheError(
            f"{features_dir} lists {len(stored):,} rows, {dataset_dir} has {len(texts):,}. Run the pipeline again."
        )
    rows = np.sort(np.random.default_rng().permutation(len(texts))[:n])
    chosen = [row.text for row in texts.at(rows.tolist())]
    from pipeline.encoder.frozen import load_source

    loaded = load_source(source, spec, ComputeSpec(), prepared)

    def encode(some: Sequence[Text]) -> NDArray[np.float32]:
        rounded = loaded.encode(some).astype(spec.feature_dtype)
        return np.asarray(rounded, dtype=np.float32)

    before = stored.take(rows)
    again = encode_rows(encode, chosen, pair_encoding_of(features_dir))
    difference = np.abs(again - before)
    return Rechecked(
        len(rows), float(difference.max()), allowed_difference(spec, before)
    )

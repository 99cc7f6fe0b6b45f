"""Extraction from a list of texts, for tests of the feature store."""

from dataclasses import dataclass

import numpy as np

from pipeline.features.extract import extract_missing
from pipeline.features.keys import Keys
from pipeline.features.texts import TextList


@dataclass(frozen=True)
class Done:
    """An extraction with the keys it wrote."""

    keys: Keys
    rows_encoded: int
    damaged: list[str]


def extract(store, texts, encoder, *, feature_dtype="float32", on_progress=None):
    """Extract the features of `texts`; their list of keys lies beside the shards."""
    store.folder.mkdir(parents=True, exist_ok=True)
    path = store.folder / "keys.npy"
    done = extract_missing(
        TextList(texts, block=2),
        [store],
        lambda _: encoder,
        keys_paths=[path],
        feature_dtype=feature_dtype,
        on_progress=on_progress,
    )
    return Done(np.load(path), done.rows_encoded, done.damaged)

"""The training texts most like a text, as the head sees them: for explanations."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.heads.head import Head
from pipeline.pairs import joined
from pipeline.predictor.origin import origin_of
from pipeline.storage import disk

N_NEAREST = 3


@dataclass(frozen=True)
class TrainingText:
    """A text that the head was fitted on.

    Attributes
    ----------
    text : str
    label : str, int, float or tuple of str
    cosine : float
        With the text that is explained, on standardised features, as the head sees them: -1 to 1.
    split : str
    line : int
        1-based, in the split's file.
    """

    text: str
    label: str | int | float | tuple[str, ...]
    cosine: float
    split: str
    line: int


def nearest_training_texts(
    features: NDArray[np.float32], head: Head, artifacts: Path
) -> tuple[TrainingText, ...]:
    """Return the training texts of greatest cosine, most alike first.

    Parameters
    ----------
    features : ndarray of float32, shape (1, d)
        Of the text.
    head : Head
    artifacts : Path
        The folder of the run that fitted `head`; all features of its training texts are read once.

    Raises
    ------
    CacheError
        If the model, or something that it was made from, is not there or damaged.
    """
    from pipeline.datasets.table import StoredTexts, load_labels
    from pipeline.evaluation.nearest import nearest
    from pipeline.features.stored import StoredFeatures

    origin = origin_of(head, artifacts)
    fit = disk.load_array(origin.split / "fit.npy")
    blocks = StoredFeatures.of(origin.features, artifacts).subset(fit).blocks()
    dim = features.shape[1]  # without scores of models on words
    near, cosines = nearest(
        features, blocks, head.mean[:dim], head.scale[:dim], N_NEAREST
    )
    rows = fit[near[0]]
    described = StoredTexts(origin.dataset).at(rows.tolist())
    labels = load_labels(origin.dataset, rows).tolist()
    return tuple(
        TrainingText(joined(row.text), label, cosine, row.split, row.line)
        for row, label, cosine in zip(
            described, labels, cosines[0].tolist(), strict=True
        )
    )

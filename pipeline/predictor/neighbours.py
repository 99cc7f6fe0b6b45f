"""The training texts most like a text, from the artifacts folder of the run that made a predictor.

A predictor holds no texts. The run is found by its head: the one model whose arrays are exactly the predictor's.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import CacheError
from pipeline.heads.head import ARRAYS, Head
from pipeline.storage import check_contents, disk

N_NEAREST = 3


@dataclass(frozen=True)
class TrainingText:
    """A text that the head was fitted on.

    Attributes
    ----------
    text : str
    label : str or int
    cosine : float
        With the text that is explained, on standardised features, as the head sees them: -1 to 1.
    split : str
    line : int
        1-based, in the split's file.
    """

    text: str
    label: str | int
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

    inputs = _inputs_of(head, artifacts)
    dataset = _published(artifacts.glob("datasets/*"), inputs["dataset"])
    split = _published(artifacts.glob("splits/*"), inputs["split"])
    stored = _published(artifacts.glob("features/*/datasets/*"), inputs["features"])
    fit = disk.load_array(split / "fit.npy")
    blocks = StoredFeatures.of(stored, artifacts).subset(fit).blocks()
    near, cosines = nearest(features, blocks, head.mean, head.scale, N_NEAREST)
    rows = fit[near[0]]
    described = StoredTexts(dataset).at(rows.tolist())
    labels = load_labels(dataset)[rows].tolist()
    return tuple(
        TrainingText(row.text, label, cosine, row.split, row.line)
        for row, label, cosine in zip(
            described, labels, cosines[0].tolist(), strict=True
        )
    )


def _inputs_of(head: Head, artifacts: Path) -> dict[str, Any]:  # Any: JSON values
    """Return the keys of what the head was fitted on."""
    for path in sorted(artifacts.glob("models/*")):
        with suppress(CacheError):
            manifest = check_contents(path)
            if _is_of(path, head):
                return dict(manifest["key_fields"]["inputs"])
    raise CacheError(
        f"No model below {artifacts} is this predictor's. Pass the artifacts folder of the run that made it."
    )


def _is_of(model: Path, head: Head) -> bool:
    return all(
        np.array_equal(disk.load_array(model / f"{name}.npy"), getattr(head, name))
        for name in ARRAYS
    )


def _published(places: Iterable[Path], key: str) -> Path:
    """Return the directory of a key, whose bytes are as they were written."""
    for path in sorted(places):
        if path.name.endswith(key[:12]) and check_contents(path)["key"] == key:
            return path
    raise CacheError(
        f"What this predictor was trained on ({key[:12]}) is no longer there. Run its command again."
    )

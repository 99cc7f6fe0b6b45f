"""The stages that a predictor was made from, in the artifacts folder of its run.

A predictor holds no texts. The run is found by its head: the one model whose arrays are exactly the predictor's.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import CacheError, UnreadableError
from pipeline.heads.head import ARRAYS, Head
from pipeline.storage import check_contents, disk


@dataclass(frozen=True)
class Origin:
    """Directories of stages whose bytes are as they were written; the shards of features are not looked at.

    Attributes
    ----------
    artifacts : Path
    dataset, split : Path
    features : tuple of Path
        The data set's list of rows in the row store of each view.
    """

    artifacts: Path
    dataset: Path
    split: Path
    features: tuple[Path, ...]


def origin_of(head: Head, artifacts: Path) -> Origin:
    """Return what a head was fitted on.

    Raises
    ------
    CacheError
        If the model, or something that it was made from, is not there or damaged.
    """
    inputs = _inputs_of(head, artifacts)
    return Origin(
        artifacts=artifacts,
        dataset=_published(artifacts.glob("datasets/*"), inputs["dataset"]),
        split=_published(artifacts.glob("splits/*"), inputs["split"]),
        features=tuple(
            _published(artifacts.glob("features/*/datasets/*"), inputs[name])
            for name in sorted(inputs)
            if name.startswith("features")
        ),
    )


def checked(directory: Path) -> dict[str, Any]:  # Any: JSON values
    """Return the manifest of a stage's directory or of a shard, every byte of which is as it was written.

    Raises
    ------
    CacheError
        If it is not: says how to mend it.
    UnreadableError
        If the system does not let it be read.
    """
    try:
        return check_contents(directory)
    except UnreadableError:
        raise
    except CacheError as error:
        raise CacheError(
            f"{error} Remove {directory}, then run the training command again."
        ) from error


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
        if path.name.endswith(key[:12]) and checked(path)["key"] == key:
            return path
    raise CacheError(
        f"What this predictor was trained on ({key[:12]}) is no longer there. Run its command again."
    )

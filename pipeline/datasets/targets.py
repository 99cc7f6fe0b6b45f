"""Labels as the numbers that models are fitted to."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def class_numbers(labels: Sequence[Any], classes: Sequence[Any]) -> NDArray[np.int64]:
    """Return the position of each label in `classes`, shape (n,); -1 where it is none of them.

    Parameters
    ----------
    labels, classes : sequences of str or int
    """
    positions = {label: i for i, label in enumerate(classes)}
    return np.array([positions.get(label, -1) for label in labels], dtype=np.int64)


def label_matrix(
    labels: Sequence[tuple[str, ...]] | NDArray[np.object_], names: Sequence[str]
) -> NDArray[np.bool_]:
    """Return which rows have which labels, shape (n, k); what is none of `names` is left out.

    Parameters
    ----------
    labels : sequence of tuples of str, length n
    names : sequence of str, length k
    """
    column = {name: i for i, name in enumerate(names)}
    found = np.zeros((len(labels), len(names)), dtype=bool)
    for row, given in enumerate(labels):
        for name in given:
            if name in column:
                found[row, column[name]] = True
    return found


def targets_of(
    labels: NDArray[Any],  # Any: see below
    task: str,
    classes: Sequence[Any],  # Any: str or int
) -> NDArray[Any]:  # Any: see below
    """Return labels as numbers.

    Parameters
    ----------
    labels : ndarray, shape (n,)
        As in `pipeline.datasets.table.Table`.
    task : {"classification", "multilabel", "regression"}
    classes : sequence of str or int, length k
        Those of the training rows, or the labels that a row may have several of; empty for a regression.

    Returns
    -------
    ndarray
        int64, shape (n,), as `class_numbers` gives; bool, shape (n, k), as `label_matrix`; or float64, shape (n,).
    """
    if task == "regression":
        return np.asarray(labels, dtype=np.float64)
    if task == "multilabel":
        return label_matrix(labels, classes)
    return class_numbers(labels.tolist(), classes)

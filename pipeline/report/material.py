"""What the sections of a report are made from: the scored rows, with texts, features and the head that scored them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import EncoderSpec, HeadSpec
from pipeline.datasets.table import StoredTexts, load_labels, load_slices
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.resampling import Clusters
from pipeline.features.stored import StoredFeatures
from pipeline.heads.head import Head, load_head
from pipeline.heads.streaming import score_stored
from pipeline.storage import disk

Json = dict[str, Any]  # Any: JSON values
Rows = NDArray[np.int64]
TEXT_LIMIT = 600  # characters of a text


@dataclass(frozen=True)
class ReportInputs:
    """Where the stages' results lie, and what they are called.

    Attributes
    ----------
    dataset, split, features, model, baselines : Path
        Published directories.
    root : Path
        The artifacts folder.
    name : str
        The data set's short name.
    spec : EncoderSpec
    identity : dict
        Of the encoder, as in its key.
    command : str
        Which makes the same report again.
    """

    dataset: Path
    split: Path
    features: Path
    model: Path
    baselines: Path
    root: Path
    name: str
    spec: EncoderSpec
    identity: Json
    command: str


@dataclass(frozen=True)
class Material:
    """The scored rows and all that is known of them.

    Attributes
    ----------
    head : Head
    labels : ndarray, shape (n,)
        Of all rows of the data set: str or int.
    fit, test : ndarray of int64
        Row numbers in the data set.
    folds : ndarray of int8
        Of the rows in `fit`.
    table : StoredTexts
        Of all rows.
    features : StoredFeatures
        Of all rows.
    scored : Scored
        The rows in `test`.
    texts : list of str
        Of the rows in `test`.
    slice_values : list of str or None, optional
        What stands in the column to slice by, of the rows in `test`.
    clusters : Clusters
        Of the rows in `test`: texts that are contained in each other.
    """

    head: Head
    labels: NDArray[Any]  # Any: int64 or object holding str
    fit: Rows
    test: Rows
    folds: NDArray[np.int8]
    table: StoredTexts
    features: StoredFeatures
    scored: Scored
    texts: list[str]
    slice_values: list[str | None] | None
    clusters: Clusters

    @classmethod
    def load(cls, inputs: ReportInputs) -> "Material":
        """Read what the stages left, and score the rows.

        Raises
        ------
        CacheError
            If a stage's files are damaged.
        """
        head = load_head(inputs.model)
        fit, test, folds = (
            disk.load_array(inputs.split / f"{name}.npy")
            for name in ("fit", "test", "folds")
        )
        labels = load_labels(inputs.dataset)
        features = StoredFeatures.of(inputs.features, inputs.root)
        table = StoredTexts(inputs.dataset)
        texts = list(texts_of(table, test))
        y = class_numbers(labels[test].tolist(), head.classes)
        return cls(
            head=head,
            labels=labels,
            fit=fit,
            test=test,
            folds=folds,
            table=table,
            features=features,
            scored=scored_by(head, features.subset(test), y),
            texts=texts,
            slice_values=load_slices(inputs.dataset, test),
            clusters=Clusters.of_texts(texts),
        )

    @cached_property
    def y_fit(self) -> Rows:
        """Return the class of each row in `fit`."""
        return class_numbers(self.labels[self.fit].tolist(), self.head.classes)

    @property
    def head_spec(self) -> HeadSpec:
        """Return the options of the head, with the C that was chosen."""
        return HeadSpec(C=self.head.C, class_weight=self.head.class_weight)

    def fit_texts(self) -> Iterator[str]:
        """Yield the texts of the rows in `fit`."""
        return texts_of(self.table, self.fit)

    def standardised(self, rows: Rows) -> NDArray[np.float64]:
        """Return features of rows of the data set as the head sees them, shape (m, d)."""
        values = self.features.take(rows)
        return np.asarray((values - self.head.mean) / self.head.scale)

    def described(self, rows: Rows) -> list[Json]:
        """Return text, label, split and line of rows of the data set, in their order."""
        numbers = rows.tolist()
        return [
            {
                "text": cut(row.text, TEXT_LIMIT),
                "label": label,
                "split": row.split,
                "line": row.line,
            }
            for row, label in zip(
                self.table.at(numbers), self.labels[rows].tolist(), strict=True
            )
        ]


def scored_by(head: Head, features: StoredFeatures, y: Rows) -> Scored:
    """Return what a head says of stored rows, and answers, however unsure it is."""
    outputs = score_stored(head, features)
    if head.rule is None:
        return Scored(y, outputs)
    return Scored(y, outputs, head.decide(outputs).astype(np.int64))


def texts_of(table: StoredTexts, rows: Rows) -> Iterator[str]:
    """Yield the texts of rows in the table's order.

    Parameters
    ----------
    table : StoredTexts
    rows : ndarray of int64
        Ascending.
    """
    wanted = np.zeros(len(table), dtype=bool)
    wanted[rows] = True
    for begin, block in table.blocks(wanted):
        for i in np.flatnonzero(wanted[begin : begin + len(block)]).tolist():
            yield block[i]


def class_numbers(
    labels: list[Any],
    classes: list[str] | list[int],  # Any: str or int
) -> Rows:
    """Return the position of each label in `classes`; -1 where it is none of them."""
    positions = {label: i for i, label in enumerate(classes)}
    return np.array([positions.get(label, -1) for label in labels], dtype=np.int64)


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, the last one an ellipsis where more are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

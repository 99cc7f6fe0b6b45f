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
from pipeline.datasets.targets import targets_of
from pipeline.evaluation.kinds import AnyScored, scored_of
from pipeline.evaluation.resampling import Clusters
from pipeline.features.stored import AnyFeatures, open_features
from pipeline.heads.head import Head, load_head
from pipeline.heads.streaming import score_stored
from pipeline.pairs import Text, joined
from pipeline.storage import disk

Json = dict[str, Any]  # Any: JSON values
Rows = NDArray[np.int64]
TEXT_LIMIT = 600  # characters of a text
N_SETS = 50  # of labels, told apart where rows are sampled


@dataclass(frozen=True)
class ReportInputs:
    """Where the stages' results lie, and what they are called.

    Attributes
    ----------
    dataset, split, model, baselines : Path
        Published directories.
    features : tuple of Path
        The data set's list of rows in the store of each view.
    terms : Path or None
        The models on words that the head goes by, too.
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
    features: tuple[Path, ...]
    terms: Path | None
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
        Of all rows of the data set, as `pipeline.datasets.table.Table` has them.
    fit, test : ndarray of int64
        Row numbers in the data set.
    folds : ndarray of int8
        Of the rows in `fit`.
    table : StoredTexts
        Of all rows.
    features : StoredFeatures or WithTerms
        Of all rows, as the head takes them.
    held_out : ndarray of float32, shape (n, k), optional
        Of a head that is made of several models: what the rows in `fit` get from fits without their fold; NaN where
        that was not computed.
    scored : Scored, ScoredLabels or ScoredValues
        The rows in `test`.
    texts : list of str or Pair
        Of the rows in `test`.
    slice_values : list of str or None, optional
        What stands in the column to slice by, of the rows in `test`.
    clusters : Clusters
        Of the rows in `test`: texts that are contained in each other.
    """

    head: Head
    labels: NDArray[Any]  # Any: int64, float64 or object holding str or tuples
    fit: Rows
    test: Rows
    folds: NDArray[np.int8]
    table: StoredTexts
    features: AnyFeatures
    scored: AnyScored
    texts: list[Text]
    slice_values: list[str | None] | None
    clusters: Clusters
    held_out: NDArray[np.float32] | None = None

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
        features = open_features(inputs.features, inputs.root, inputs.terms)
        table = StoredTexts(inputs.dataset)
        texts = list(table.of(test))
        y = targets_of(labels[test], head.task, head.classes)
        return cls(
            head=head,
            labels=labels,
            fit=fit,
            test=test,
            folds=folds,
            table=table,
            features=features,
            scored=answered_by(head, y, score_stored(head, features.subset(test))),
            texts=texts,
            slice_values=load_slices(inputs.dataset, test),
            clusters=Clusters.of_texts(texts),
            held_out=None
            if head.blend is None
            else disk.load_array(inputs.model / "held_out.npy"),
        )

    @cached_property
    def y_fit(self) -> NDArray[Any]:  # Any: int64, bool or float64
        """Return what each row in `fit` is to be answered, as `targets_of` does."""
        return targets_of(self.labels[self.fit], self.head.task, self.head.classes)

    @cached_property
    def strata(self) -> Rows:
        """Return the class of each row in `fit`, or its set of labels, or the quartile of its value."""
        y = self.y_fit
        if y.dtype == np.int64:
            return y
        if y.dtype == np.bool_:
            return _common_sets(y)
        cuts = np.quantile(y, [0.25, 0.5, 0.75], method="lower")
        return np.searchsorted(np.unique(cuts), y)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Return which rows in `test` have a label that no row in `fit` has."""
        if self.head.task == "regression":
            return np.zeros(len(self.test), dtype=bool)
        known = set(self.head.classes)
        labels = self.labels[self.test].tolist()
        sets = labels if self.head.task == "multilabel" else ((one,) for one in labels)
        return np.array([not known.issuperset(one) for one in sets], dtype=bool)

    @property
    def head_spec(self) -> HeadSpec:
        """Return the options of the head, with the C that was chosen."""
        return HeadSpec(C=self.head.C, class_weight=self.head.class_weight)

    def fit_texts(self) -> Iterator[Text]:
        """Yield the texts of the rows in `fit`."""
        return self.table.of(self.fit)

    def standardised(self, rows: Rows) -> NDArray[np.float64]:
        """Return features of rows of the data set as the head sees them, shape (m, d)."""
        values = self.features.take(rows)
        return np.asarray((values - self.head.mean) / self.head.scale)

    def described(self, rows: Rows) -> list[Json]:
        """Return text, label, split and line of rows of the data set, in their order."""
        numbers = rows.tolist()
        return [
            {
                "text": cut(joined(row.text), TEXT_LIMIT),
                "label": list(label) if isinstance(label, tuple) else label,
                "split": row.split,
                "line": row.line,
            }
            for row, label in zip(
                self.table.at(numbers), self.labels[rows].tolist(), strict=True
            )
        ]


def _common_sets(y: NDArray[np.bool_]) -> Rows:
    """Return the number of each row's set of labels, 0 the most frequent; rare ones share the last."""
    _, of, counts = np.unique(y, axis=0, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.minimum(rank[of.ravel()], N_SETS).astype(np.int64)


def answered_by(
    head: Head,
    y: NDArray[Any],  # Any: as in `scored_of`
    outputs: NDArray[np.float64],
) -> AnyScored:
    """Return what a head answers, however unsure it is, to rows of which it says `outputs`."""
    if head.rule is None:
        return scored_of(y, outputs)
    return scored_of(y, outputs, head.decide(outputs))


def cut(text: str, limit: int) -> str:
    """Return at most `limit` characters of a text, the last one an ellipsis where more are left out."""
    return text if len(text) <= limit else text[: limit - 1] + "…"

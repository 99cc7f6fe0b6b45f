"""Views of encoders side by side: each scored out of fold, by the head that a run would fit, on training rows alone."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import HEADLINES, HeadSpec
from pipeline.datasets.targets import targets_of
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.kinds import scored_of
from pipeline.evaluation.metrics import (
    Measured,
    differences,
    figures,
    measure,
    points,
)
from pipeline.evaluation.resampling import Clusters
from pipeline.features.stored import StoredFeatures
from pipeline.heads.fit import fit_task
from pipeline.heads.flips import check_flips, judge
from pipeline.heads.head import Head
from pipeline.heads.quick import Outputs, quick_out_of_fold
from pipeline.heads.streaming import rows_to_search

Json = dict[str, Any]  # Any: JSON values
SCHEMA = 1  # of comparison.json


@dataclass(frozen=True)
class View:
    """One vector that can be taken of a text.

    Attributes
    ----------
    encoder : str
        Its name, of a folder without the path.
    layer : int
    pooling : str
    precision : str
    """

    encoder: str
    layer: int
    pooling: str
    precision: str

    def __str__(self) -> str:
        """Return the view as people read it."""
        plain = f"{self.encoder}, layer {self.layer}, {self.pooling}"
        return plain if self.precision == "float32" else f"{plain}, {self.precision}"


@dataclass(frozen=True)
class Candidate:
    """A view whose features are stored.

    Attributes
    ----------
    features : StoredFeatures
        Of the rows to fit on.
    certificates : sequence of (Path, dict)
        Of the engines that encoded, with their facts; none is judged where any loss is allowed.
    recipe : str
        Of the features.
    pair_encoding : str or None
        As `pipeline.features.stored.pair_encoding_of` says.
    """

    features: StoredFeatures
    certificates: Sequence[tuple[Path, Json]]
    recipe: str
    pair_encoding: str | None


@dataclass(frozen=True)
class Question:
    """What every view is asked: the rows to fit on, with their labels.

    Attributes
    ----------
    labels : ndarray, shape (n,)
        As in `pipeline.datasets.table.Table`.
    folds : ndarray of int8, shape (n,)
    clusters : Clusters
        Which rows belong together.
    spec : HeadSpec
    task : {"classification", "multilabel", "regression"}
    names : sequence of str
        The labels that a row may have several of.
    """

    labels: NDArray[Any]  # Any: see above
    folds: NDArray[np.int8]
    clusters: Clusters
    spec: HeadSpec
    task: str
    names: Sequence[str] = ()

    @property
    def metric(self) -> str:
        """Return the metric that the kind of label is named by first."""
        return HEADLINES[self.task]

    def take(self, rows: NDArray[np.int64]) -> "Question":
        """Return the question of some of the rows."""
        clusters = self.clusters.subset(rows)
        return replace(
            self, labels=self.labels[rows], folds=self.folds[rows], clusters=clusters
        )

    def targets(self, head: Head) -> NDArray[Any]:  # Any: as `targets_of` gives them
        """Return the labels as numbers."""
        return targets_of(self.labels, self.task, head.classes)


@dataclass(frozen=True)
class Answer:
    """What a view answers: each row by a fit that did not see its fold.

    Attributes
    ----------
    head : Head
        Fitted on all rows; its C is that of the fits.
    targets : ndarray
        As `Question.targets` gives them.
    outputs : ndarray of float64, shape (n, k) or (n, 1)
    measured : Measured
        The metric that the views are compared by.
    """

    head: Head
    targets: NDArray[Any]  # Any: see above
    outputs: Outputs
    measured: Measured

    def score(self, metric: str, rows: NDArray[np.bool_]) -> float:
        """Return a metric on some of the rows; minus infinity where they leave it undefined."""
        scored = scored_of(self.targets[rows], self.outputs[rows])
        found = points(scored, (metric,))[metric]
        return -math.inf if math.isnan(found) else found


@dataclass(frozen=True)
class Compared:
    """What a comparison found.

    Attributes
    ----------
    comparison : dict
        See `compare_views`.
    rows : ndarray of int64, shape (m,)
        Which of the rows to fit on were scored, ascending.
    answers : ndarray, shape (v, m) or (v, m, k)
        Of each view without an error, in the order of the comparison, as `Head.decide` gives them.
    """

    comparison: Json
    rows: NDArray[np.int64]
    answers: NDArray[Any]  # Any: int64, bool or float64


def compare_views(
    candidates: Mapping[View, Candidate],
    question: Question,
    refused: Mapping[View, str],
    on_view: Callable[[View, Json], None] = lambda _view, _found: None,
) -> Compared:
    """Score every view, and say which is best and which cannot be told apart from it.

    C is searched as `fit_task` does, then each row is answered by fits at that C without its fold. Where features of
    all rows do not fit in memory, a sample of them is scored, the same of every view.

    Parameters
    ----------
    candidates : mapping of View to Candidate
        At least one; of the same rows.
    question : Question
    refused : mapping of View to str
        Views that cannot be had, and why.
    on_view : callable (View, dict) -> None
        Called after each candidate with its entry of ``views``.

    Returns
    -------
    Compared
        ``comparison`` has

        - ``schema``, ``task``, ``metric``; ``n``, ``n_clusters``, ``n_folds``: rows scored, clusters of them, folds;
        - ``views``, by score, the best one first, then those without: each ``encoder``, ``layer``, ``pooling``,
          ``precision``, and either ``dim``, ``C``, ``converged``, ``score`` (a figure), ``difference`` (to the best, a
          paired figure; None for the best itself), ``is_close`` (whether it cannot be told apart from the best), or
          ``error``;
        - ``choice``, the figure of the best view of the other folds on each fold, and ``optimism``, by how much the
          best view's score is above it.

    Raises
    ------
    DataError
        If no view can be scored.
    """
    rows = _rows_of_all(candidates)
    asked = question.take(rows)
    answers: dict[View, Answer] = {}
    entries: dict[View, Json] = {}
    errors = dict(refused)
    for view, candidate in candidates.items():
        try:
            answer = _answer(candidate, question, rows)
            entries[view] = _entry(view, answer, question.metric)
            answers[view] = answer
        except (ConfigError, DataError) as error:
            errors[view] = str(error)
        on_view(view, entries.get(view) or _failed(view, errors[view]))
    if not entries:
        raise DataError(f"No view can be scored. {next(iter(errors.values()))}")
    order = sorted(entries, key=lambda view: -entries[view]["score"]["value"])
    ordered = [answers[view] for view in order]
    found = _with_differences(
        [entries[view] for view in order], ordered, question.metric
    )
    return Compared(
        {
            "schema": SCHEMA,
            "task": question.task,
            "metric": question.metric,
            "n": len(rows),
            "n_clusters": asked.clusters.n,
            "n_folds": len(np.unique(asked.folds)),
            "views": [*found, *(_failed(*failed) for failed in errors.items())],
            **_choice(ordered, asked),
        },
        rows,
        np.stack([answer.head.decide(answer.outputs) for answer in ordered]),
    )


def _rows_of_all(candidates: Mapping[View, Candidate]) -> NDArray[np.int64]:
    """Return the rows that are scored: the largest view's, as a sample goes by the rows' keys."""
    found = (rows_to_search(candidate.features) for candidate in candidates.values())
    return min(found, key=len, default=np.arange(0))


def _answer(
    candidate: Candidate, question: Question, rows: NDArray[np.int64]
) -> Answer:
    """Fit on all rows, and answer those that are scored out of fold.

    Raises
    ------
    ConfigError
        If the precision flips too many labels.
    DataError
        If the view cannot be fitted, or not without some fold.
    """
    head = fit_task(
        candidate.features,
        question.labels,
        question.spec,
        question.folds,
        task=question.task,
        names=question.names,
    )
    for path, facts in candidate.certificates:
        flips = judge(head, [path], candidate.pair_encoding)
        check_flips({**facts, "flips": flips}, candidate.recipe)
    asked = question.take(rows)
    outputs = quick_out_of_fold(
        candidate.features.take(rows),
        asked.targets(head),
        asked.folds,
        replace(question.spec, C=head.C),
        len(head.classes),
    )
    if outputs is None:
        raise DataError(
            "Rows cannot be scored out of fold: without some fold a single class, or no row, is left. Add texts."
        )
    targets = asked.targets(head)
    return Answer(head, targets, outputs, _measured(targets, outputs, asked))


def _measured(targets: NDArray[Any], outputs: Outputs, asked: Question) -> Measured:
    scored = scored_of(targets, outputs)
    return measure(scored, asked.clusters, (asked.metric,))


def _entry(view: View, answer: Answer, metric: str) -> Json:
    """Return what a comparison tells of a view, but for how it compares.

    Raises
    ------
    DataError
        If the rows leave its score undefined.
    """
    figure = figures(answer.measured)[metric]
    if figure["value"] is None:
        raise DataError(f"Its {metric} is undefined: {figure['reason']}.")
    return {
        **asdict(view),
        "dim": len(answer.head.mean),
        "C": answer.head.C,
        "converged": answer.head.converged,
        "score": figure,
    }


def _failed(view: View, error: str) -> Json:
    return {**asdict(view), "error": error}


def _with_differences(
    entries: Sequence[Json], answers: Sequence[Answer], metric: str
) -> list[Json]:
    """Return the entries, the best one first, with how each compares with the best."""
    found = [{**entries[0], "difference": None, "is_close": True}]
    for entry, answer in zip(entries[1:], answers[1:], strict=True):
        figure = differences(answer.measured, answers[0].measured)[metric]
        ci95 = figure["ci95"]
        is_close = not isinstance(ci95, list) or ci95[1] >= 0
        found.append({**entry, "difference": figure, "is_close": is_close})
    return found


def _choice(answers: Sequence[Answer], asked: Question) -> Json:
    """Return how well the choice itself does: each fold is answered by the view that is best on the others."""
    outputs = np.empty_like(answers[0].outputs)
    for fold in np.unique(asked.folds):
        out = asked.folds == fold
        best = max(answers, key=lambda answer: answer.score(asked.metric, ~out))
        outputs[out] = best.outputs[out]
    measured = _measured(answers[0].targets, outputs, asked)
    value = measured.point[asked.metric]
    optimism = answers[0].measured.point[asked.metric] - value
    return {
        "choice": figures(measured)[asked.metric],
        "optimism": None if math.isnan(optimism) else optimism,
    }


def with_speeds(comparison: Json, speeds: Sequence[Json], seconds: Json) -> Json:
    """Return a comparison with how fast its views are here.

    Parameters
    ----------
    comparison : dict
        As `compare_views` returns it.
    speeds : sequence of dict
        Of each view without an error, as `pipeline.features.timing.work` returns them.
    seconds : dict
        What took how long.

    Returns
    -------
    dict
        With ``run``, which belongs to this machine: ``speeds``; ``alternative``, the number of the fastest view that
        cannot be told apart from the best, None where the best one is the fastest of these; ``seconds``.
    """
    close = [
        i
        for i, view in enumerate(comparison["views"])
        if view.get("is_close") and "rows_per_s" in speeds[i]
    ]
    fastest = max(close, key=lambda i: float(speeds[i]["rows_per_s"]), default=0)
    run = {
        "speeds": list(speeds),
        "alternative": fastest or None,
        "seconds": dict(seconds),
    }
    return {**comparison, "run": run}

"""Two runs side by side, on the rows that both scored."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pipeline.datasets.table import StoredTexts
from pipeline.errors import DataError, shown
from pipeline.evaluation.mcnemar import mcnemar
from pipeline.evaluation.metrics import Measured, differences, figures, measure
from pipeline.report.material import TEXT_LIMIT, Json, Rows, cut
from pipeline.report.scored import ScoredRows
from pipeline.report.words import NAMES, counted

N_CHANGED = 100


@dataclass(frozen=True)
class RunReport:
    """A finished run, as it is compared.

    Attributes
    ----------
    name : str
        Of its folder.
    when : str or None
        When it ended; None if no ledger says it.
    report : dict
        Its ``report.json``.
    rows : ScoredRows
        The scored rows.
    table : StoredTexts, optional
        Texts of its data set; None if they are gone.
    """

    name: str
    when: str | None
    report: Json
    rows: ScoredRows
    table: StoredTexts | None = None


def compare_reports(a: RunReport, b: RunReport) -> Json:
    """Return how two runs differ on the rows that both scored.

    Rows are the same if text and label are, whatever data set and line they come from. Differences are `b` minus `a`,
    paired, over resamples of the clusters of `a`.

    Returns
    -------
    dict
        ``runs``, two of ``name``, ``when``, ``dataset``, ``encoder``, ``pooling``, ``layer``, ``recipe``, ``C``,
        ``n_fit``, ``n_test`` and ``accuracy`` (a figure, on all rows of the run); ``n``, the rows that both scored;
        ``metrics``, of each ``a``, ``b`` and ``difference``; ``mcnemar``, where ``b`` counts the rows that only the
        first run has right, ``c`` only the second; ``verdict``; ``changed``, at most `N_CHANGED` rows whose answer
        changed, those that became right or wrong first; ``n_changed``.

    Raises
    ------
    DataError
        If no row was scored by both.
    """
    in_a, in_b = paired_rows(a.rows, b.rows)
    if not len(in_a):
        raise DataError(
            f"{shown(a.name)} and {shown(b.name)} scored no row in common. Compare runs on the same data and split."
        )
    measured_a, measured_b = _measured(a.rows, b.rows, in_a, in_b)
    right_a, right_b = _right(a.rows)[in_a], _right(b.rows)[in_b]
    test = mcnemar(right_a, right_b)
    difference = differences(measured_b, measured_a)
    of_a, of_b = figures(measured_a), figures(measured_b)
    answers_a, answers_b = a.rows.answers[in_a], b.rows.answers[in_b]
    changed = np.flatnonzero(answers_a != answers_b)
    order = np.argsort((right_a == right_b)[changed], kind="stable")
    first = changed[order][:N_CHANGED]
    return {
        "runs": [_about(run) for run in (a, b)],
        "n": len(in_a),
        "metrics": {
            name: {"a": of_a[name], "b": of_b[name], "difference": difference[name]}
            for name in NAMES
        },
        "mcnemar": test,
        "verdict": verdict(difference["accuracy"], test),
        "changed": [
            {**row, "a": answers_a[i], "b": answers_b[i]}
            for i, row in zip(
                first.tolist(), _described(a, b, in_a[first], in_b[first]), strict=True
            )
        ],
        "n_changed": len(changed),
    }


def paired_rows(a: ScoredRows, b: ScoredRows) -> tuple[Rows, Rows]:
    """Return where the rows that both have stand in `a` and in `b`, in the order of `a`.

    Of rows with equal text and label the first belongs to the first, and so on.
    """
    places = {identity: i for i, identity in enumerate(_identities(b))}
    pairs = [
        (i, places[identity])
        for i, identity in enumerate(_identities(a))
        if identity in places
    ]
    found = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def previous(now: ScoredRows, before: ScoredRows) -> Json | None:
    """Return by how much a run differs from an earlier one; None where they did not score the same rows.

    Returns
    -------
    dict or None
        ``difference`` of accuracy, now minus before; ``mcnemar``, the earlier run first; ``n_changed``.
    """
    in_before, in_now = paired_rows(before, now)
    if not len(in_before) == len(before.keys) == len(now.keys):
        return None
    one, two = _measured(before, now, in_before, in_now, ("accuracy",))
    answers_differ = before.answers[in_before] != now.answers[in_now]
    return {
        "difference": differences(two, one)["accuracy"],
        "mcnemar": mcnemar(_right(before)[in_before], _right(now)[in_now]),
        "n_changed": int(answers_differ.sum()),
    }


def verdict(difference: Json, test: Json) -> str:
    """Return in a sentence whether the second run is more often right than the first."""
    points = 100 * difference["value"]
    low, high = (100 * bound for bound in difference["ci95"])
    counts = (
        f"only the first is right on {counted(test['b'], 'row')}, only the second on {test['c']:,}; "
        f"McNemar p = {_p(test['p'])}"
    )
    if low > 0:
        how, interval = f"better by {points:.1f} points", f"{low:.1f} to {high:.1f}"
    elif high < 0:
        how, interval = f"worse by {-points:.1f} points", f"{-high:.1f} to {-low:.1f}"
    else:
        return (
            f"The runs cannot be told apart: difference {points:+z.1f} points of accuracy (95 % {low:+z.1f} to "
            f"{high:+z.1f}, paired; {counts})."
        )
    return f"The second run is {how} of accuracy (95 % {interval}, paired; {counts})."


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _measured(
    a: ScoredRows,
    b: ScoredRows,
    in_a: Rows,
    in_b: Rows,
    metrics: Iterable[str] = tuple(NAMES),
) -> tuple[Measured, Measured]:
    clusters = a.clusters.subset(in_a)
    one, two = (
        measure(
            rows.scored.take(places),
            clusters,
            tuple(metrics),
        )
        for rows, places in ((a, in_a), (b, in_b))
    )
    return one, two


def _right(rows: ScoredRows) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    return np.asarray(rows.scored.predicted == rows.scored.y)


def _identities(rows: ScoredRows) -> list[tuple[bytes, Any, int]]:
    """Return text key, label and occurrence of each row; rows with an unknown label share the label None."""
    seen: Counter[tuple[bytes, Any]] = Counter()
    found = []
    for key, y in zip(rows.keys.tolist(), rows.scored.y.tolist(), strict=True):
        one = (key, rows.classes[y] if y >= 0 else None)
        found.append((*one, seen[one]))
        seen[one] += 1
    return found


def _about(run: RunReport) -> Json:
    report = run.report
    return {
        "name": run.name,
        "when": run.when,
        "dataset": report["dataset"]["name"],
        "encoder": report["encoder"]["name"],
        **{name: report["encoder"][name] for name in ("pooling", "layer", "recipe")},
        "C": report["head"]["C"],
        "n_fit": report["split"]["n_fit"],
        "n_test": report["split"]["n_test"],
        "accuracy": report["metrics"]["test"]["accuracy"],
    }


def _described(a: RunReport, b: RunReport, in_a: Rows, in_b: Rows) -> list[Json]:
    """Return text, label, split and line of rows, from whichever data set is still there."""
    run, places = (a, in_a) if a.table is not None else (b, in_b)
    labels = [
        run.rows.classes[y] if y >= 0 else None
        for y in run.rows.scored.y[places].tolist()
    ]
    if run.table is None:
        return [
            {"text": None, "label": label, "split": None, "line": None}
            for label in labels
        ]
    found = run.table.at(cast("list[int]", run.rows.rows[places].tolist()))
    return [
        {
            "text": cut(row.text, TEXT_LIMIT),
            "label": label,
            "split": row.split,
            "line": row.line,
        }
        for row, label in zip(found, labels, strict=True)
    ]

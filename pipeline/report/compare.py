"""Two runs side by side, on the rows that both scored."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.table import StoredTexts
from pipeline.errors import DataError, shown
from pipeline.evaluation.decisions import mean_costs
from pipeline.evaluation.mcnemar import mcnemar
from pipeline.evaluation.metrics import Measured, Scored, differences, figures, measure
from pipeline.pairs import joined
from pipeline.report import words
from pipeline.report.kinds import CLASSES, KINDS, Kind, kind_of
from pipeline.report.material import TEXT_LIMIT, Json, Rows, cut
from pipeline.report.scored import ScoredRows
from pipeline.report.words import counted
from pipeline.report.words import difference as difference_said

N_CHANGED = 100
N_COSTS = 4  # that a table names
RULE_OPTIONS = ("thresholds", "costs", "max_error", "calibration")


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
        ``n_fit``, ``n_test`` and ``accuracy`` or whatever is the first metric of the kind (a figure, on all rows of the
        run); ``n``, the rows that both scored; ``metrics``, of each ``a``, ``b`` and ``difference``; ``mcnemar``, where
        ``b`` counts the rows that only the first run has right, ``c`` only the second, None for a regression;
        ``cost`` among ``metrics`` where both runs decided by the same costs;
        ``coverage``, None unless a run leaves rows without an answer: the share that is answered by ``a`` and by ``b``,
        and the rows ``only_a`` and ``only_b`` answers; ``verdict``;
        ``changed``, at most `N_CHANGED` rows whose answer changed, those that became right or wrong, or
        much better or worse, first; ``n_changed``.

    Raises
    ------
    DataError
        If no row was scored by both, or their labels are of different kinds.
    """
    kind = _kind_of_both(a, b)
    in_a, in_b = paired_rows(a.rows, b.rows)
    if not len(in_a):
        raise DataError(
            f"{shown(a.name)} and {shown(b.name)} scored no row in common. Compare runs on the same data and split."
        )
    measured_a, measured_b = _measured(a.rows, b.rows, in_a, in_b)
    test = _mcnemar(a.rows, b.rows, in_a, in_b)
    difference = differences(measured_b, measured_a)
    of_a, of_b = figures(measured_a), figures(measured_b)
    answers_a, answers_b = a.rows.answers[in_a], b.rows.answers[in_b]
    changed = np.flatnonzero(answers_a != answers_b)
    moved = np.abs(_scores(a.rows, in_a) - _scores(b.rows, in_b))
    order = np.argsort(-moved[changed], kind="stable")
    first = changed[order][:N_CHANGED]
    costs = _costs(a, b, in_a, in_b)
    said = verdict(difference[kind.headline], test, kind)
    return {
        "runs": [
            {**_about(run), **asked}
            for run, asked in zip((a, b), _options(a, b), strict=True)
        ],
        "n": len(in_a),
        "metrics": {
            **costs,
            **{
                name: {"a": of_a[name], "b": of_b[name], "difference": difference[name]}
                for name in of_a
            },
        },
        "mcnemar": test,
        "coverage": _coverage(a.rows, b.rows, in_a, in_b),
        "verdict": f"{cost_verdict(costs['cost'])} {said}" if costs else said,
        "changed": [
            {**row, "a": answers_a[i], "b": answers_b[i]}
            for i, row in zip(
                first.tolist(), _described(a, b, in_a[first], in_b[first]), strict=True
            )
        ],
        "n_changed": len(changed),
    }


def _coverage(a: ScoredRows, b: ScoredRows, in_a: Rows, in_b: Rows) -> Json | None:
    """Return how many rows either answers, and only one; None where both answer all."""
    if a.answered is None and b.answered is None:
        return None
    one, two = a.is_answered[in_a], b.is_answered[in_b]
    return {
        "a": float(one.mean()),
        "b": float(two.mean()),
        "only_a": int((one & ~two).sum()),
        "only_b": int((two & ~one).sum()),
    }


def _costs(a: RunReport, b: RunReport, in_a: Rows, in_b: Rows) -> Json:
    """Return the mean costs of both runs and their difference as a metric; none where their costs are not the same."""
    one, two = (_asked(run).get("costs") for run in (a, b))
    table = (b.report.get("decision") or {}).get("costs")
    if not table or one != two or a.rows.classes != b.rows.classes:
        return {}
    first, second = a.rows.scored.take(in_a), b.rows.scored.take(in_b)
    assert isinstance(first, Scored)  # costs are of classes
    assert isinstance(second, Scored)
    found = mean_costs(second, first, table, a.rows.clusters.subset(in_a))
    return {
        "cost": {
            "a": found["plain"],
            "b": found["value"],
            "difference": found["difference"],
        }
    }


def cost_verdict(cost: Json) -> str:
    """Return in a sentence whether the answers of the second run cost less."""
    figure = cost["difference"]
    if figure["value"] is None:
        return "The runs cannot be compared by mean cost."
    low, high = figure["ci95"]
    how = "cannot be told to cost less or more than those"
    if high < 0 or low > 0:
        how = f"cost {'less' if high < 0 else 'more'} than those"
    return f"By mean cost, answers of the second run {how} of the first: difference {difference_said(figure)}, paired."


def _asked(run: RunReport) -> Json:
    """Return the options of a run's decision rule."""
    found: Json = (run.report.get("decision") or {}).get("asked", {})
    return found


def _options(a: RunReport, b: RunReport) -> tuple[Json, Json]:
    """Return what stands in one table row each only where the runs differ in it: options of the rule, and of pairs."""
    one, two = (
        {
            "task": run.report["head"].get("task", "classification"),
            "pair_encoding": run.report["encoder"].get("pair_encoding"),
            "model": words.model(run.report),
            "max_loss": _max_loss(run.report),
            **{name: _option(_asked(run).get(name)) for name in RULE_OPTIONS},
        }
        for run in (a, b)
    )
    differ = [name for name in one if one[name] != two[name]]
    first, second = ({name: each[name] for name in differ} for each in (one, two))
    return first, second


def _max_loss(report: Json) -> float | None:
    """Return what a cascade may lose, in points; None of other models."""
    cascade = report.get("cascade")
    return None if cascade is None else round(100 * cascade["fit"]["max_loss"], 6)


def _option(value: Any) -> Any:  # Any: JSON values
    """Return the value of an option in a few words: None where it was not given."""
    if isinstance(value, dict):  # costs, by true class and answer
        paid = [
            f"{true} as {said} {cost:g}"
            for true, row in value.items()
            for said, cost in row.items()
            if cost
        ]
        more = f" and {len(paid) - N_COSTS} more" if len(paid) > N_COSTS + 1 else ""
        return ", ".join(paid[: N_COSTS if more else N_COSTS + 1]) + more
    return None if value in ("none", 0) else value


def _kind_of_both(a: RunReport, b: RunReport) -> Kind:
    kinds = [run.report["head"].get("task", "classification") for run in (a, b)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"{shown(a.name)} is a {kinds[0]} and {shown(b.name)} a {kinds[1]}, which have no metric in common. "
            "Compare runs on the same data and --task."
        )
    return KINDS[kinds[0]]


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
        ``difference`` of the first metric of the kind, now minus before; ``mcnemar``, the earlier run first, None for a
        regression; ``n_changed``.
    """
    in_before, in_now = paired_rows(before, now)
    if not len(in_before) == len(before.keys) == len(now.keys):
        return None
    metric = next(iter(now.scored.metrics))
    one, two = _measured(before, now, in_before, in_now, (metric,))
    answers_differ = before.answers[in_before] != now.answers[in_now]
    return {
        "difference": differences(two, one)[metric],
        "mcnemar": _mcnemar(before, now, in_before, in_now),
        "n_changed": int(answers_differ.sum()),
    }


def verdict(difference: Json, test: Json | None, kind: Kind = CLASSES) -> str:
    """Return in a sentence whether the second run is better than the first, by the first metric of their kind."""
    if difference["value"] is None or not difference["ci95"]:
        return f"The runs cannot be compared by {kind.headline_name}: {difference.get('reason', 'too few rows')}."
    value, (low, high) = difference["value"], difference["ci95"]
    unit = " points of accuracy" if kind is CLASSES else kind.unit
    counts = (
        ""
        if test is None
        else (
            f"; only the first is {kind.right} on {counted(test['b'], 'row')}, only the second on {test['c']:,}; "
            f"McNemar p = {_p(test['p'])}"
        )
    )
    if low > 0:
        how, interval = f"better by {kind.number(value)}", kind.bounds(difference, "")
    elif high < 0:
        how = f"worse by {kind.number(-value)}"
        interval = f"{kind.number(-high)} to {kind.number(-low)}"
    else:
        return (
            f"The runs cannot be told apart: difference {kind.number(value, '+')}{unit} (95 % "
            f"{kind.bounds(difference)}, paired{counts})."
        )
    return f"The second run is {how}{unit} (95 % {interval}, paired{counts})."


def _p(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}"


def _measured(
    a: ScoredRows,
    b: ScoredRows,
    in_a: Rows,
    in_b: Rows,
    metrics: Iterable[str] | None = None,
) -> tuple[Measured, Measured]:
    clusters = a.clusters.subset(in_a)
    one, two = (
        measure(
            rows.scored.take(places),
            clusters,
            None if metrics is None else tuple(metrics),
        )
        for rows, places in ((a, in_a), (b, in_b))
    )
    return one, two


def _mcnemar(a: ScoredRows, b: ScoredRows, in_a: Rows, in_b: Rows) -> Json | None:
    """Return McNemar's test of the answers without any mistake; None of numbers."""
    right_a, right_b = a.scored.right, b.scored.right
    if right_a is None or right_b is None:
        return None
    return dict(mcnemar(right_a[in_a], right_b[in_b]))


def _scores(rows: ScoredRows, places: Rows) -> NDArray[np.float64]:
    """Return how well some rows are answered."""
    return rows.scored.row_scores.values[places].astype(np.float64)


def _identities(rows: ScoredRows) -> list[tuple[bytes, Any, int]]:
    """Return text key, label and occurrence of each row; rows with an unknown label share the label None."""
    seen: Counter[tuple[bytes, Any]] = Counter()
    found = []
    for key, label in zip(rows.keys.tolist(), rows.labels.tolist(), strict=True):
        one = (key, tuple(label) if isinstance(label, list) else label)
        found.append((*one, seen[one]))
        seen[one] += 1
    return found


def _about(run: RunReport) -> Json:
    report = run.report
    headline = kind_of(report).headline
    return {
        "name": run.name,
        "when": run.when,
        "dataset": report["dataset"]["name"],
        "encoder": report["encoder"]["name"],
        **{name: report["encoder"][name] for name in ("pooling", "layer", "recipe")},
        "C": report["head"]["C"],
        "n_fit": report["split"]["n_fit"],
        "n_test": report["split"]["n_test"],
        headline: report["metrics"]["test"][headline],
    }


def _described(a: RunReport, b: RunReport, in_a: Rows, in_b: Rows) -> list[Json]:
    """Return text, label, split and line of rows, from whichever data set is still there."""
    run, places = (a, in_a) if a.table is not None else (b, in_b)
    labels = run.rows.labels[places].tolist()
    if run.table is None:
        return [
            {"text": None, "label": label, "split": None, "line": None}
            for label in labels
        ]
    found = run.table.at(cast("list[int]", run.rows.rows[places].tolist()))
    return [
        {
            "text": cut(joined(row.text), TEXT_LIMIT),
            "label": label,
            "split": row.split,
            "line": row.line,
        }
        for row, label in zip(found, labels, strict=True)
    ]

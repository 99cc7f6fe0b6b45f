"""The rows of the report's tables, as people read them."""

from itertools import pairwise
from typing import Any

from pipeline.pages.canvas import shown
from pipeline.report import findings, words
from pipeline.report.kinds import kind_of

Json = dict[str, Any]  # Any: JSON values
Rows = list[list[Any]]  # Any: a label may be a number
N_WEAKEST = 10
SEARCH_NAMES = {**findings.SEARCHED_BY, "r2": "R²"}
POOLING_SOURCES = {
    "option": "as asked for",
    "sentence-transformers": "as the encoder was trained, by its sentence-transformers folder",
    "default": "the default",
}


def tables(report: Json) -> dict[str, Any]:  # Any: rows, or names of columns
    """Return the rows of every table of a `whole` report, by name; empty where the section is missing."""
    return {
        "pair": pairs(report),
        "weakest": weakest(report),
        "class_columns": class_columns(report),
        "residual": residuals(report),
        "slice": slices(report),
        "learning": learning(report),
        "calibration": calibration(report),
        "threshold": thresholds(report),
        "class_threshold": class_thresholds(report),
        "cost": costs(report),
        "abstention": abstention(report),
        "score": scores(report),
        "score_columns": score_columns(report),
        "search": search(report),
        "search_columns": [
            SEARCH_NAMES.get(name, name) for name in search_columns(report)
        ],
        "made": made(report),
    }


def first(n: int, most: int) -> int:
    """Return how many of `n` are named where `most` are enough: one more, if it were the only one left out."""
    return n if n <= most + 1 else most


def pairs(report: Json) -> Rows:
    """Return the most frequent confusions."""
    return [
        [
            f"{shown(pair['label'], 40)} → {shown(pair['predicted'], 40)}",
            f"{pair['n']:,}",
        ]
        for pair in findings.pairs(report)
    ]


def weakest(report: Json) -> Rows:
    """Return the classes that occur, by their F1, the smallest first."""
    known = [
        row for row in report["per_class"] or [] if row["n"] and row["f1"] is not None
    ]
    keys = list(class_columns(report))
    return [
        [row["label"], f"{row['n']:,}", *_shares(row, *keys)]
        for row in sorted(known, key=lambda row: row["f1"])[:N_WEAKEST]
    ]


def class_columns(report: Json) -> dict[str, str]:
    """Return the shares that are told of each class, and their names."""
    names = {"precision": "precision", "recall": "recall", "f1": "F1"}
    rows = report["per_class"] or [{}]
    return {**names, "roc_auc": "ROC AUC"} if "roc_auc" in rows[0] else names


def residuals(report: Json) -> Rows:
    """Return the errors of answers that are numbers, by tenths of the answers."""
    return [
        [
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['n']:,}",
            f"{row['value']:.3f}",
            findings.difference(row["error"]),
        ]
        for row in (report["values"] or {}).get("residuals", [])
    ]


def slices(report: Json) -> Rows:
    """Return every slice; a weak one is called so."""
    kind = kind_of(report)
    return [
        [
            f"{row['group']}: {row['name']}{' (weak)' if row['is_weak'] else ''}",
            f"{row['n']:,}",
            words.number(row[kind.score]),
            findings.points(row["difference"], kind),
        ]
        for row in report["slices"]
    ]


def learning(report: Json) -> Rows:
    """Return the mean score by training rows."""
    score = kind_of(report).score
    points = (report["learning_curve"] or {}).get("points", [])
    return [[f"{one['n']:,}", words.number(one[score])] for one in points]


def calibration(report: Json) -> Rows:
    """Return the bins of the calibration."""
    return [
        [
            f"{one['low']:.2f} to {one['high']:.2f}",
            f"{one['n']:,}",
            *_shares(one, "confidence", "accuracy"),
        ]
        for one in (report["calibration"] or {}).get("bins", [])
    ]


def thresholds(report: Json) -> Rows:
    """Return what each threshold brings."""
    keys = ("precision", "recall", "f1", "accuracy", "share_positive")
    return [
        [f"{one['threshold']:.2f}", *_shares(one, *keys)]
        for one in (report["thresholds"] or {}).get("points", [])
    ]


def class_thresholds(report: Json) -> Rows:
    """Return the threshold of each class, or label, where the decision rule has some."""
    found = (report["decision"] or {}).get("thresholds") or []
    pairs = zip(report["classes"], found, strict=bool(found))
    return [[label, f"{value:.4f}"] for label, value in pairs]


def costs(report: Json) -> Rows:
    """Return what each answer to each class costs, a row a true class, where the decision rule minimises that."""
    found = (report["decision"] or {}).get("costs") or []
    pairs = zip(report["classes"], found, strict=bool(found))
    return [[label, *(f"{value:g}" for value in row)] for label, row in pairs]


def abstention(report: Json) -> Rows:
    """Return the error rate by how many rows are answered."""
    section = (report["decision"] or {}).get("abstention")
    keys = ("coverage", "error", "confidence")
    return [
        _shares(one, *keys)
        for one in (section or {"test": {"points": []}})["test"]["points"]
    ]


def scores(report: Json) -> Rows:
    """Return the rows of each group by the probability they got."""
    section = report["scores"]
    if not section:
        return []
    edges, groups = section["edges"], section["groups"]
    return [
        [f"{low:.2f} to {high:.2f}", *(f"{group['counts'][i]:,}" for group in groups)]
        for i, (low, high) in enumerate(pairwise(edges))
    ]


def score_columns(report: Json) -> list[str]:
    """Return the heads of the table of `scores`."""
    groups = report["scores"]["groups"] if report["scores"] else []
    return ["probability", *(shown(group["name"]) for group in groups)]


def search(report: Json) -> Rows:
    """Return every C that was tried."""
    return [
        [f"{one['C']:g}", *_shares(one, *search_columns(report)[1:])]
        for one in report["head"]["search"]
    ]


def search_columns(report: Json) -> list[str]:
    """Return the fields of what was tried: C first, then what was to be small."""
    points = report["head"]["search"]
    if not points:
        return ["C"]
    first = findings.search_metric(points)
    return ["C", first, *(key for key in points[0] if key not in {"C", first})]


def made(report: Json) -> list[tuple[str, str]]:
    """Return what the model was made of, as names and sentences."""
    encoder, head, split = report["encoder"], report["head"], report["split"]
    scored = "held out" if split["mode"] == "random" else split["scored"]
    rows = [
        *((name, said) for name, said in report["data"]),
        (
            "split",
            f"{split['mode']}: {split['n_fit']:,} rows fitted on, {split['n_test']:,} scored ({scored})",
        ),
        (
            "encoder",
            f"{encoder['name']}, {encoder['parameters']:,} parameters, {encoder['dim']} features, "
            f"{_layers(encoder['layer'])}, {encoder['recipe']}",
        ),
        *(("numerics", words.numerics(one)) for one in encoder["certificates"]),
        (
            "head",
            f"C = {head['C']:g}{', found by cross-validation' if head['search'] else ''}; "
            f"{_fitted(head)} ({head['solver']})",
        ),
    ]
    if blend := head.get("blend"):
        rows.append(
            (
                "weights",
                ", ".join(f"{name} {w:.2f}" for name, w in blend["weights"].items())
                + "; of scores, from rows that none of them was fitted on",
            )
        )
    if head["float16"]:
        rows.append(("float16", words.float16(head["float16"])))
    if report["unknown_labels"]:
        so = (
            "no figure counts these labels"
            if head.get("task") == "multilabel"
            else "they count as wrong"
        )
        rows.append(
            (
                "unknown labels",
                f"{report['unknown_labels']} scored rows have a label that no training row has; {so}",
            )
        )
    return [*rows, *_of_run(report["run"])]


def _layers(layer: int | list[int]) -> str:
    if isinstance(layer, int):
        return f"layer {layer}"
    return f"layers {', '.join(map(str, layer))} side by side"


def _fitted(head: Json) -> str:
    """Return how the fit ended; one without iterations is a solution at once."""
    if head["converged"] and not head["n_iter"]:
        return "solved directly"
    how = "converged" if head["converged"] else "NOT CONVERGED"
    return f"{how} after {head['n_iter']} iterations"


def _of_run(run: Json) -> list[tuple[str, str]]:
    """Return what belongs to the run: where the pooling is from, how fast texts were encoded, how long it all took."""
    rows = []
    if run["pooling_source"]:
        source = run["pooling_source"]
        rows.append(("pooling", POOLING_SOURCES.get(source, str(source))))
    seconds = [
        f"{name} {value:,.1f} s"
        for name, value in (run["seconds"] or {}).items()
        if value is not None
    ]
    if run["encoding"]:
        rows.append(("encoding", words.encoding(run["encoding"])))
    if seconds:
        rows.append(("time", ", ".join(seconds)))
    return rows


def _shares(row: Json, *keys: str) -> list[str]:
    return [findings.share(row[key]) for key in keys]

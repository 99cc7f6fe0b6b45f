"""Figures as people read them: numbers with intervals, verdicts in a sentence."""

from typing import Any

from pipeline.encoder.certificate import name_of

Json = dict[str, Any]  # Any: JSON values

NAMES = {
    "accuracy": "accuracy",
    "f1_macro": "macro F1",
    "roc_auc": "ROC AUC",
    "log_loss": "log loss",
}
METRICS = {
    **NAMES,
    "f1_micro": "micro F1",
    "jaccard": "the Jaccard index",
    "cost": "the mean cost of an answer",
}
BASELINE_NAMES = {
    "majority": "majority class",
    "tfidf_logreg": "TF-IDF + logistic regression",
}


UNDECIDED = 0.2  # an interval of a paired difference that is wider: too few rows were scored to tell


def metric(name: str) -> str:
    """Return what a metric is called."""
    return METRICS.get(name, name)


def counted(n: int, noun: str) -> str:
    """Return ``1 row``, ``2 rows``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def number(figure: Json) -> str:
    """Return ``0.768 (0.748 to 0.787)``, or a dash with the reason."""
    if figure["value"] is None:
        return f"– ({figure.get('reason', 'undefined')})"
    if figure.get("ci95") is None:
        return f"{figure['value']:.3f}"
    low, high = figure["ci95"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"


def float16(effect: Json) -> str:
    """Return in a sentence what storing features as float16 can have changed."""
    return (
        f"features are rounded: with this head it moves a score by {effect['margin_rms']:.2g} (root mean square); of "
        f"{effect['rows']:,} labels {effect['labels_expected']:.2g} are expected to change, "
        f"{effect['labels_possible']:,} at the very most"
    )


def encoding(figures: Json) -> str:
    """Return in a sentence how fast the texts of a feature list went through the encoder."""
    said = f"{figures['rows_encoded']:,} rows encoded"
    if figures["rows_encoded"]:
        said += (
            f" at {figures['rows_per_s']:,.1f} rows/s ({figures['tokens_per_s']:,.1f} tokens/s; of all tokens computed "
            f"{figures['padding_share']:.3f} are padding)"
        )
    else:
        said += ", all were in the store"
    if figures["peak_mb"] is not None:
        said += f"; the encoding process held {figures['peak_mb']:,.1f} MB at most"
    return said


def numerics(figures: Json) -> str:
    """Return in a sentence by how much an engine's features differ from float32 torch, and what it does to labels."""
    return (
        f"{name_of(figures)} beside float32 torch, {figures['n']:,} texts: "
        f"features differ by {figures['largest']:.2g} at most, {figures['mean']:.2g} on average; cosine at least "
        f"{figures['smallest_cosine']:.6f}; a text alone {figures['batch_of_one']:.2g}, in another order "
        f"{figures['batch_orders']:.2g}; {figures['flips']:,} of {figures['n']:,} labels flip"
    )


def conclusion(report: Json) -> str:
    """Return in a sentence or two what the model is good for: beside always giving one answer, then beside TF-IDF."""
    figure = report["comparison"]["majority"]["accuracy"]
    if figure["value"] is None or not figure["ci95"] or figure["ci95"][0] > 0:
        return verdict(report, "tfidf_logreg")
    low, high = (100 * bound for bound in figure["ci95"])
    said = (
        "Not shown to be better than always answering the most frequent label: difference "
        f"{100 * figure['value']:+z.1f} points (95 % {low:+z.1f} to {high:+z.1f}, paired); "
        f"{undecided(report, 'majority')}."
    )
    return " ".join([said, *ranks_backwards(report)])


def ranks_backwards(report: Json) -> list[str]:
    """Return a sentence where the scores order the classes clearly the wrong way round."""
    auc = report["metrics"]["test"]["roc_auc"]
    if auc["value"] is None or not auc["ci95"] or auc["ci95"][1] >= 0.5:
        return []
    return [
        f"ROC AUC {number(auc)} is clearly below 0.5: the labels of the scored rows look swapped, or those of training."
    ]


def verdict(report: Json, baseline: str) -> str:
    """Return one sentence on accuracy against a baseline, with the paired interval and what to try."""
    figure, name = report["comparison"][baseline]["accuracy"], BASELINE_NAMES[baseline]
    if figure["value"] is None:
        return f"Not compared with {name}: {figure.get('reason', 'undefined')}."
    points, (low, high) = (
        100 * figure["value"],
        (100 * bound for bound in figure["ci95"]),
    )
    if low > 0:
        return f"Better than {name} by {points:.1f} points (95 % {low:.1f} to {high:.1f}, paired)."
    if high < 0:
        worse = f"Worse than {name} by {-points:.1f} points (95 % {-high:.1f} to {-low:.1f}, paired)"
        return f"{worse}: {advice(report)}."
    if report["metrics"]["test"]["accuracy"]["value"] == 1.0 and points == 0.0:
        return f"Level with {name}: both answer every row right. A larger or harder test would tell them apart."
    return (
        f"Not distinguishable from {name}: difference {points:+z.1f} points (95 % {low:+z.1f} to {high:+z.1f}, "
        f"paired); {undecided(report, baseline)}."
    )


def undecided(report: Json, baseline: str) -> str:
    """Return what to do where the model may be better than a baseline, or worse: score more rows, or try another."""
    figure = report["comparison"][baseline]["accuracy"]
    low, high = figure["ci95"]
    if high - low > UNDECIDED:
        return f"{counted(figure['n'], 'scored row')} cannot tell: score more"
    return advice(report)


def advice(report: Json) -> str:
    """Return what to try when the model is not better than a baseline."""
    encoder = report["encoder"]
    if encoder["pooling"] == "cls":
        return "try --pooling mean"
    if encoder["layer"] == -1:
        return "try --layer -2, or another --encoder"
    return "try another --encoder, or more labels"


def headline(report: Json) -> str:
    """Return the accuracy with its interval and the two baselines', on one line."""
    test = report["metrics"]["test"]["accuracy"]
    others = ", ".join(
        f"{BASELINE_NAMES[name]} {figures['accuracy']['value']:.3f}"
        for name, figures in report["baselines"].items()
    )
    return f"accuracy {number(test)} on {counted(test['n'], 'row')}; {others}"


def summary(report: Json) -> str:
    """Return the headline figures with their intervals, and the verdict, as a few lines of text."""
    figures = report["metrics"]["test"]
    width = max(map(len, NAMES.values()))
    lines = [f"{name:<{width}}  {number(figures[key])}" for key, name in NAMES.items()]
    split = report["split"]
    which = split["scored"] if split["mode"] == "official" else "held-out"
    where = counted(split["n_test"], f"{which} row")
    first = f"{where} scored, {split['n_fit']:,} fitted on; value (95 % interval)"
    return "\n".join([first, *lines, conclusion(report)])

"""Figures as people read them: numbers with intervals, verdicts in a sentence."""

from typing import Any

from pipeline.encoder.certificate import name_of
from pipeline.report.kinds import CLASSES, Kind, kind_of

Json = dict[str, Any]  # Any: JSON values

NAMES = CLASSES.names
BASELINE_NAMES = {
    "majority": "majority class",
    "tfidf_logreg": "TF-IDF + logistic regression",
    "mean": "training mean",
    "tfidf_ridge": "TF-IDF + ridge regression",
    "cosine": "cosine of the two vectors",
}


def baseline(name: str) -> str:
    """Return what a baseline is called."""
    return BASELINE_NAMES.get(name, name.replace("_", " "))


def model(report: Json) -> str:
    """Return what was fitted, in a few words."""
    head, layers = report["head"], report["encoder"]["layer"]
    found = kind_of(report).title
    if isinstance(layers, list):
        found += f" on {len(layers)} layers"
    if "blend" not in head:
        return found
    found += " and words" if isinstance(layers, list) else " on one layer and words"
    return f"words first, then {found}" if "gate" in head else found


def about(report: Json, nouns: str) -> str:
    """Return what a model card says that the model is."""
    said = kind_of(report).about.format(k=len(report["classes"]), nouns=nouns)
    if "blend" not in report["head"]:
        return said
    first, _ = said.split("\n")
    more = (
        " Words that are sure answer alone, and the text is not encoded."
        if "gate" in report["head"]
        else ""
    )
    return (
        f"{first} Models on the words of the text have a say, too.{more}\n"
        "These, and the weights by which they count, were fitted; the transformer was not."
    )


def baselines(report: Json) -> list[str]:
    """Return the names of a report's baselines in the order of tables."""
    return kind_of(report).order(report["baselines"])


def metrics(report: Json) -> dict[str, str]:
    """Return names of the metrics that a report has, in the order of tables."""
    found = report["metrics"]["test"]
    return {key: name for key, name in kind_of(report).names.items() if key in found}


def how(report: Json) -> str:
    """Return how the intervals of metrics were made."""
    kind, methods = kind_of(report), report["methods"]
    others = methods[kind.bootstrapped]
    if kind.share is None:
        return f"Intervals: {others}"
    name = kind.names[kind.share].capitalize()
    return f"{name}: {methods[kind.share]}; the others: {others}"


def less_is_better(report: Json) -> str:
    """Return of which metrics less is better."""
    names = metrics(report)
    return " and ".join(names[key] for key in ("log_loss", "mae") if key in names)


def compared(names: dict[str, str]) -> dict[str, str]:
    """Return the names of the metrics of two runs, by those of their kind."""
    return {"cost": "mean cost", **names}


def coverage(found: Json, first: str, second: str) -> str:
    """Return how many rows each of two runs answers."""
    return (
        f"Answered: {found['a']:.3f} of the rows by {first}, {found['b']:.3f} by {second}; "
        f"{counted(found['only_a'], 'row')} only by {first}, {found['only_b']:,} only by {second}. All other figures "
        "count rows without an answer, too, with the class that they would have been given."
    )


def metric(name: str, kind: Kind) -> str:
    """Return what a metric is called that answers of a kind of label are chosen for."""
    return {**kind.names, "cost": "the mean cost of an answer"}.get(name, name)


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


def difference(figure: Json) -> str:
    """Return a difference of any metric: ``+0.030 (+0.010 to +0.050)``."""
    if figure["value"] is None or not figure.get("ci95"):
        return number(figure)
    low, high = figure["ci95"]
    return f"{figure['value']:+z.3f} ({low:+z.3f} to {high:+z.3f})"


def noun(report: Json) -> str:
    """Return what a row is: a text, or a pair of them."""
    return "pair" if "pair_encoding" in report["encoder"] else "text"


def value(figure: Json) -> str:
    """Return a figure without its interval, or a dash."""
    return "–" if figure["value"] is None else f"{figure['value']:.3f}"

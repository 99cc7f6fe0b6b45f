"""What to do next, in at most five sentences, each from a figure of the report."""

from collections.abc import Iterator

from pipeline.pages.canvas import shown
from pipeline.report import conclusions, words
from pipeline.report.kinds import CLASSES, kind_of
from pipeline.report.material import Json

MOST = 5
LEAK = 0.05  # share of scored rows that stand in training texts
ISSUES = 0.01  # share of training labels that are likely wrong
WEAK_MODEL = 0.1  # share of errors out of fold
CUT = 0.02  # share of rows cut
WIDE = 0.06  # an interval of the first metric: three points up and down
N_NAMED = 5  # rare classes
RARE, WEAK_RECALL = (
    0.5,
    0.5,
)  # a class of half the average size, of which half is missed


def advise(report: Json) -> list[str]:
    """Return sentences on what to do next, the most useful first; never none.

    Parameters
    ----------
    report : dict
        All other sections.
    """
    is_of_costs = conclusions.costs(report) is not None
    found = [
        sentence
        for about in (
            _use,
            _trust,
            _convergence,
            _cascade,
            _baseline,
            _words,
            _costs,
            _limit,
            _more_labels,
            _published,
            _slices,
            _labels,
            _classes,
            _length,
            _probabilities,
            _size,
        )
        if not (is_of_costs and about in OF_ACCURACY)
        for sentence in about(report)
    ]
    return found[:MOST] or [
        "Nothing stands out: look at the most confident errors, then try it on texts of your own."
    ]


def _use(report: Json) -> Iterator[str]:
    """Say what makes a model useless, or its probabilities."""
    yield from conclusions.ranks_backwards(report)
    kind = kind_of(report)
    given = [row["label"] for row in report["per_class"] or [] if row["predicted"]]
    is_alike = len(given) == 1 and len(report["classes"]) > 1 and kind is CLASSES
    if is_alike and conclusions.costs(report):
        yield (
            f"Every scored row gets the label “{shown(given[0], 40)}”: by these costs no other answer pays."
        )
    elif is_alike:
        yield (
            f"Every scored row gets the label “{shown(given[0], 40)}”: pass a larger --C, or --class-weight balanced."
        )
    loss = report["comparison"][kind.floor].get("log_loss", {"value": None})
    if loss["value"] is not None and loss["ci95"] and loss["ci95"][0] > 0:
        yield (
            "Probabilities are worse than the shares of the classes alone (log loss "
            f"{words.number(loss)} above the majority baseline's): pass a smaller --C, which makes them less sure."
        )


def _trust(report: Json) -> Iterator[str]:
    overlap = report["split"]["overlap"]
    share = (overlap["identical"] + overlap["contained"]) / max(1, overlap["n"])
    if share >= LEAK:
        yield (
            f"{100 * share:.1f} % of the scored texts stand in training texts, so the figures flatter: remove them, or "
            "pass --split random, which keeps such texts together."
        )
    if unknown := report["unknown_labels"]:
        have = "row has a label" if unknown == 1 else "rows have labels"
        yield (
            f"{unknown:,} scored {have} that no training row has: add training rows with such labels, or mend them."
        )


def _convergence(report: Json) -> Iterator[str]:
    head = report["head"]
    if not head["converged"]:
        yield (
            f"The fit had not converged after {head['n_iter']:,} iterations: pass a smaller --C than {head['C']:g}."
        )


def _baseline(report: Json) -> Iterator[str]:
    kind, hardest = kind_of(report), conclusions.hardest(report)
    name = words.baseline(hardest)
    figure = report["comparison"][hardest][kind.headline]
    if figure["value"] is None or not figure["ci95"]:
        return
    if figure["ci95"][1] < 0:
        until = "; until then, use TF-IDF" if hardest == kind.baseline else ""
        yield (
            f"{name} is better by {kind.number(-figure['value'])}{kind.unit}: "
            f"{conclusions.instead(report, hardest)}{until}."
        )
    elif figure["ci95"][0] <= 0:
        yield (
            f"The difference to {name}, {kind.number(figure['value'], '+')}{kind.unit}, may be chance: "
            f"{conclusions.undecided(report, hardest)}."
        )


def _words(report: Json) -> Iterator[str]:
    """Say that words would help, if it is shown."""
    section = report.get("with_words")
    if (
        section
        and section["difference"]["ci95"]
        and section["difference"]["ci95"][0] > 0
    ):
        kind, figure = kind_of(report), section["difference"]
        yield (
            f"Let words count beside the encoder, with TrainHybrid: a plain mean of both "
            f"brings {kind.number(figure['value'], '+')}{kind.unit} of {kind.names[section['metric']]} (95 % "
            f"{kind.bounds(figure)}) here."
        )


def _cascade(report: Json) -> Iterator[str]:
    """Say that words answer too much alone, if it is shown, or nothing."""
    section = report.get("cascade")
    if section and section["share"] == 0:
        yield "Pass a larger --max-loss, or use TrainHybrid: words are sure of no scored row, so every one is encoded."
    if (
        section
        and section["difference"]["ci95"]
        and section["difference"]["ci95"][1] < 0
    ):
        yield (
            f"Pass a lower --max-loss than {100 * section['fit']['max_loss']:g}: what words answer alone costs "
            f"{-100 * section['difference']['value']:.1f} points of accuracy on the scored rows."
        )


def _costs(report: Json) -> Iterator[str]:
    """Say what to do where the answers of the cheapest baseline cost no more."""
    others = (conclusions.costs(report) or {}).get("baselines", {})
    known = [name for name in others if others[name]["value"]["value"] is not None]
    for name in sorted(known, key=lambda name: others[name]["value"]["value"])[:1]:
        low, high = others[name]["difference"]["ci95"]
        alike = f"always answering “{shown(others[name]['answer'], 40)}”"
        which = words.baseline(name) if others[name]["answer"] is None else alike
        if high >= 0:
            how = "costs less" if low > 0 else "may cost no more"
            yield f"By these costs {which} {how}: {conclusions.advice(report)}."


def _labels(report: Json) -> Iterator[str]:
    issues = report["label_issues"]
    if not issues or issues["error_rate"] > WEAK_MODEL:
        return  # most of what contradicts a weak model is only hard
    if issues["n"] >= ISSUES * issues["n_looked_at"]:
        yield (
            f"Read the likely label errors: {issues['n']:,} of {issues['n_looked_at']:,} training labels contradict "
            "what a model without them is sure of; some are wrong, some only hard."
        )


def _more_labels(report: Json) -> Iterator[str]:
    forecast = (report["learning_curve"] or {}).get("forecast", {})
    if (more := forecast.get("more_labels")) is not None:
        yield (
            f"Label more texts: about {more:,} more are forecast to bring {forecast['points']:.0f} point of "
            f"{kind_of(report).score_name}."
        )


def _slices(report: Json) -> Iterator[str]:
    weak = [row for row in report["slices"] if row["is_weak"]]
    few = [row for row in weak if row["n"] <= report["split"]["n_test"] / 2]
    kind = kind_of(report)
    for row in sorted(few, key=lambda row: -abs(row["difference"]["value"]))[:1]:
        yield (
            f"{row['group'].capitalize()}: {row['name']} – such texts are answered worse than the others by "
            f"{kind.number(abs(row['difference']['value']))}{kind.score_unit} ({words.counted(row['n'], 'row')}): read "
            "their errors, and label more of them."
        )


def _limit(report: Json) -> Iterator[str]:
    if limit := report["dataset"].get("limit"):
        yield (
            f"Train on all rows: --limit {limit} leaves out every training row behind the first {limit:,}."
        )


def _published(report: Json) -> Iterator[str]:
    if kind_of(report) is not CLASSES:
        return
    accuracy = report["metrics"]["test"]["accuracy"]
    better = [
        row["value"]
        for row in report["published"]
        if row["metric"] == "accuracy" and row["value"] > accuracy["ci95"][1]
    ]
    if better:
        yield (
            f"Published accuracies on this data are higher, up to {max(better):.3f}: try another --encoder."
        )


def _classes(report: Json) -> Iterator[str]:
    known = [row for row in report["per_class"] or [] if row["n"]]
    average = sum(row["n"] for row in known) / max(1, len(known))
    missed = [
        row
        for row in known
        if row["n"] < RARE * average and row["recall"] < WEAK_RECALL
    ]
    if missed and report["head"]["class_weight"] == "none":
        n = len(missed)
        names = ", ".join(f"“{shown(row['label'], 40)}”" for row in missed[:N_NAMED])
        if n > N_NAMED:
            names += f" and {n - N_NAMED} more"
        yield (
            f"{n} rare {_classes_or_labels(report, n)} {'are' if n > 1 else 'is'} missed more often than found, "
            f"{names}: {_for_rare(report)}."
        )


def _for_rare(report: Json) -> str:
    """Return what helps to find rare classes; with thresholds, weights would only move what these move."""
    if (report.get("decision") or {}).get("thresholds"):
        return "label more of them"
    return "try --class-weight balanced"


def _classes_or_labels(report: Json, n: int) -> str:
    one, more = (
        ("class", "classes") if kind_of(report) is CLASSES else ("label", "labels")
    )
    return one if n == 1 else more


def _length(report: Json) -> Iterator[str]:
    encoder = report["encoder"]
    if encoder["rows_cut"] >= CUT * encoder["rows"] > 0:
        yield (
            f"{encoder['rows_cut']:,} of {encoder['rows']:,} texts are cut at {encoder['max_length']} tokens: try "
            f"--max-length {2 * encoder['max_length']}."
        )


def _probabilities(report: Json) -> Iterator[str]:
    calibration = report["calibration"]
    if calibration and calibration["ece"]["ci95"][0] > LEAK:
        bins = calibration["bins"]
        excess = sum(row["n"] * (row["confidence"] - row["accuracy"]) for row in bins)
        yield (
            f"Do not take probabilities at their word: they are off by {100 * calibration['ece']['value']:.1f} points "
            f"on average, {'too sure' if excess > 0 else 'too unsure'}."
        )


def _size(report: Json) -> Iterator[str]:
    kind = kind_of(report)
    figure = report["metrics"]["test"][kind.headline]
    if not figure["ci95"]:
        return
    low, high = figure["ci95"]
    if high - low > WIDE:
        yield (
            f"Score more rows: of {words.counted(figure['n'], 'row')} {kind.headline_name} may be anything "
            f"from {low:.3f} to {high:.3f}."
        )


# What says how accuracy grows, or compares it: no use where answers are to cost little.
OF_ACCURACY = (_baseline, _words, _more_labels, _published, _slices, _classes, _size)

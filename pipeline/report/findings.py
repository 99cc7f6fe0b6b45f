"""What each section of a report shows, in a sentence: the caption of its figure, and its words for a screen reader.

Every number said is one of ``report.json``, rounded. What is missing is said, too.
"""

from typing import Any

from pipeline.pages.canvas import shown
from pipeline.report import words
from pipeline.report.kinds import CLASSES, LABELS, Kind, kind_of

Json = dict[str, Any]  # Any: JSON values
MANY_CLASSES = 6  # above it the confusion matrix is a figure, not a table
N_PAIRS = 10  # most confused pairs that are listed
CLEAR_ERROR = 0.0005  # an interval that begins below, so at 0.000 as it is shown, may hold no error
READ_MAP = {
    int: "Where crosses gather, the features do not tell the classes apart.",
    list: "Where crosses gather, the features do not tell which labels a text has.",
    float: "Where marks mix, the features do not tell the values apart.",
}
SEARCHED_BY = {
    "log_loss": "log loss",
    "mse": "mean squared error",
}
SENSITIVE = 0.05  # below it a p value is called clear


def points(figure: Json, kind: Kind = CLASSES, *, is_headline: bool = False) -> str:
    """Return a difference of the mean over rows, or of the headline: ``+3.0 points (95 % +1.0 to +5.0)``."""
    if figure["value"] is None:
        return words.number(figure)
    unit = kind.unit if is_headline else kind.score_unit
    said = f"{kind.number(figure['value'], '+')}{unit}"
    if not figure.get("ci95"):
        return said
    return f"{said} (95 % {kind.bounds(figure)})"


difference = words.difference


def headline(report: Json) -> str:
    """Return the first metric beside the baselines'."""
    metric = kind_of(report).headline
    figures = [("This model", report["metrics"]["test"][metric])]
    figures += [
        (words.baseline(name), report["baselines"][name][metric])
        for name in words.baselines(report)
    ]
    return "; ".join(f"{name} {words.number(figure)}" for name, figure in figures) + "."


def clusters(report: Json) -> str | None:
    """Return how the intervals take care of texts that are pieces of each other; None where none is."""
    found = report.get("clusters")
    n = report["split"]["n_test"]
    if not found or found["n"] >= n:
        return None
    return f"The {n:,} scored rows form {found['n']:,} clusters: {found['method']}."


def previous(report: Json) -> str:
    """Return how the accuracy compares with that of the run before."""
    before = report["run"].get("previous")
    if not before:
        return "No earlier run on this data is at hand."
    kind = kind_of(report)
    said = (
        f"Previous run on this data: {before['when']} ({before['report']}), {kind.headline_name} "
        f"{words.number(before[kind.headline])}."
    )
    if before.get("changed"):
        said = f"{said} Changed since: {'; '.join(before['changed'])}."
    if not before.get("difference"):
        return said
    said = (
        f"{said} This run minus that one, on the same rows: "
        f"{points(before['difference'], kind, is_headline=True)}; "
        f"{words.counted(before['n_changed'], 'answer')} changed"
    )
    test = before["mcnemar"]
    if test is None:
        return f"{said}."
    return f"{said}, {test['b']:,} only then {kind.right}, {test['c']:,} only now ({mcnemar(test)})."


def mcnemar(test: Json) -> str:
    """Return McNemar's test of rows that only one of two runs has right."""
    if test["p"] is None:
        return "McNemar's test says nothing"
    is_clear = test["p"] < SENSITIVE
    return f"McNemar p = {test['p']:.2g}: {'unlikely by chance alone' if is_clear else 'may be chance'}"


def pairs(report: Json) -> list[Json]:
    """Return the most frequent confusions: ``label``, ``predicted``, ``n``."""
    classes = report["classes"]
    found = [
        {"label": classes[i], "predicted": classes[j], "n": count}
        for i, row in enumerate(report["confusion"] or [])
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(found, key=lambda pair: -pair["n"])[:N_PAIRS]


def errors(report: Json) -> str:
    """Return which errors are listed."""
    n, listed = report["n_errors"], len(report["errors"])
    if n is None:
        return f"The {words.counted(listed, 'row')} with the largest errors:"
    if listed == n:
        return (
            "The only error:"
            if n == 1
            else f"All {n:,} errors, the most confident first:"
        )
    return f"The {listed} most confident of {n:,} errors:"


def probability(row: Json, answered: str = "added", left_out: str = "missing") -> str:
    """Return the probability of an answer; of several labels, of which wrong decision it is: ``joy added, 0.970``."""
    said = f"{row['probability']:.3f}"
    if "mistake" not in row:
        return said
    mistake = row["mistake"]
    how = answered if mistake["is_answered"] else left_out
    return f"{shown(mistake['label'])} {how}, {said}"


def of_probability(report: Json) -> str:
    """Return what the column of `probability` is called."""
    is_labels = report["head"].get("task") == "multilabel"
    return "surest mistake" if is_labels else "probability"


def confusion(report: Json) -> str:
    """Return which classes are taken for each other most often; nothing where answers are no classes."""
    if report["confusion"] is None:
        return ""
    found = pairs(report)
    if not found:
        return "No scored row of a known class is taken for another class."
    first = found[0]
    n = words.counted(first["n"], "row")
    return f"Most often “{shown(first['label'])}” is taken for “{shown(first['predicted'])}” ({n})."


def slices(report: Json) -> str:
    """Return which slice is clearly worse than the rest."""
    weak = [one for one in report["slices"] if one["is_weak"]]
    known = [one for one in weak if one["difference"]["value"] is not None]
    if not known:
        return "No slice is clearly worse than the other rows."
    worst = max(known, key=lambda one: abs(one["difference"]["value"]))
    kind = kind_of(report)
    return (
        f"Weakest: {worst['group']}: {shown(worst['name'], 60)}, {kind.score_name} "
        f"{words.number(worst[kind.score])} on {words.counted(worst['n'], 'row')}; against all other rows "
        f"{points(worst['difference'], kind)}."
    )


def label_issues(section: Json) -> str:
    """Return how many labels may be wrong, and how much that says of a model that errs as often as this one."""
    return (
        f"{section['n']:,} of {section['n_looked_at']:,} rows looked at have labels that contradict what a model that "
        "did not see them is sure of; some are wrong, some only hard. That model errs on "
        f"{100 * section['error_rate']:.1f} % of them: the more it errs, the more are only hard."
    )


def learning_curve(section: Json) -> str:
    """Return what more labels would bring."""
    return str(section["forecast"]["said"])


def calibration(section: Json) -> str:
    """Return how far stated probabilities are from the truth, and in which direction."""
    total = sum(one["n"] for one in section["bins"])
    gap = sum(
        one["n"] * (one["confidence"] - one["accuracy"]) for one in section["bins"]
    )
    side = "on average the model is as sure as it should be"
    low, _ = section["ece"].get("ci95") or (1.0, 1.0)
    if low < CLEAR_ERROR:
        side = "no more than chance can do"
    elif total and abs(gap) / total >= 0.01:
        how = "too sure of itself" if gap > 0 else "less sure than it could be"
        side = f"on average the model is {how}"
    return f"Expected calibration error {words.number(section['ece'])}: {side}."


def abstention(section: Json) -> str:
    """Return how many scored rows are answered, and whether the error rate among them is what was promised."""
    test, promised = section["test"], section["max_error"]
    said = f"Answered: {words.number(test['coverage'])} of the scored rows"
    if test["error"]["value"] is None:
        return f"{said}."
    low, high = test["error"]["ci95"]
    kept = "is within" if high <= promised else "is clearly above"
    if low <= promised < high:
        side = "below" if test["error"]["value"] <= promised else "above"
        kept = f"is {side}, but may by chance be on either side of,"
    return f"{said}; the error rate among them, {words.number(test['error'])}, {kept} the {promised:g} promised."


def decision(report: Json) -> list[str]:
    """Return what the decision rule is, what it gains out of fold, and what on the scored rows."""
    section = report["decision"]
    return [
        *_unknown(section),
        *_calibrator(section),
        *_answers(section, kind_of(report)),
        *_gain(section["gain"], kind_of(report)),
        *_promise(section),
    ]


def _unknown(section: Json) -> list[str]:
    if not section["n_unknown"]:
        return []
    return [
        f"{words.counted(section['n_unknown'], 'row')} of {section['n']:,} fitted on could not be judged out of fold, "
        "as all rows of their class belong to one fold: the rule was fitted without them, and a promise counts them as "
        "errors."
    ]


def _calibrator(section: Json) -> list[str]:
    losses = section["log_losses"]
    if losses is None:
        return []
    kind = section["calibrator"]["method"] if section["calibrator"] else "none"
    tried = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    is_auto = section["asked"]["calibration"] == "auto"
    why = ", as none gains more than its standard error" if kind == "none" else ""
    return [
        f"Calibration: {kind}{why if is_auto else ''}. Out-of-fold log loss of each: {tried}."
    ]


def _answers(section: Json, kind: Kind) -> list[str]:
    if section["costs"]:
        return [
            "Each answer is the one of least expected cost, by the costs in the table."
        ]
    if section["thresholds"]:
        name = words.metric(section["asked"]["thresholds"], kind)
        said = (
            "a row is given every label whose probability is at least its threshold in the table."
            if kind is LABELS
            else "each answer is the class with the largest p / t, its probability over its threshold in the table."
        )
        return [f"Thresholds were chosen for {name}: {said}"]
    return []


def _gain(gain: Json | None, kind: Kind) -> list[str]:
    if gain is None:
        return []
    name, test = words.metric(gain["metric"], kind), gain["test"]
    return [
        _out_of_fold(gain, name),
        f"On the scored rows {name} is {words.number(test['value'])}, without the rule {words.number(test['plain'])}: "
        f"difference {difference(test['difference'])}, paired.",
    ]


def _out_of_fold(gain: Json, name: str) -> str:
    if gain["metric"] == "cost" and gain["nested"] == gain["optimistic"]:
        # nothing was chosen from the rows
        return f"Out of fold, {name} is {gain['nested']:.4f} with the costs, and {gain['plain']:.4f} without them."
    return (
        f"Out of fold, {name} is {gain['nested']:.4f} with a rule that was chosen without the row's fold, and "
        f"{gain['plain']:.4f} without one; on the rows a rule was chosen on it looks like {gain['optimistic']:.4f}."
    )


def _promise(section: Json) -> list[str]:
    found = section["abstention"]
    if found is None:
        return []
    out_of_fold = found["out_of_fold"]
    return [
        f"No answer below the confidence {section['min_confidence']:.4f}, so that the error rate among answered rows "
        f"is at most {found['max_error']:g}, with 95 % confidence, on rows that come as those of training do; shown "
        "for heads fitted on four fifths of these, this one on all. Out of fold "
        f"{100 * out_of_fold['coverage']:.1f} % of {section['n']:,} rows, which form {section['n_clusters']:,} "
        f"clusters, are answered, with an error rate of {out_of_fold['error']:.4f}.",
        "All other figures of this report count the rows without an answer, too, with the class "
        "that they would have been given.",
    ]


def thresholds(section: Json) -> str:
    """Return at which threshold F1 is highest."""
    known = [one for one in section["points"] if one["f1"] is not None]
    if not known:
        return "No threshold has an F1."
    best = max(known, key=lambda one: one["f1"])
    return (
        f"F1 of “{shown(section['positive'])}” is highest, {best['f1']:.3f}, at threshold {best['threshold']:.2f} "
        f"(precision {share(best['precision'])}, recall {share(best['recall'])}); "
        "chosen on the scored rows, it flatters."
    )


def threshold(report: Json) -> float:
    """Return the probability of the second of two classes from which it is the answer."""
    rule = report["decision"] or {}
    if costs := rule.get("costs"):
        wrongly, missed = costs[0][1] - costs[0][0], costs[1][0] - costs[1][1]
        return float(wrongly / (wrongly + missed)) if wrongly + missed else 0.5
    if found := rule.get("thresholds"):
        return float(found[1] / sum(found))
    return 0.5


def scores(section: Json) -> str:
    """Return where most rows of each group lie."""
    parts = []
    for group in section["groups"]:
        most = max(group["counts"], default=0)
        if most:
            i = group["counts"].index(most)
            low, high = section["edges"][i : i + 2]
            parts.append(
                f"“{shown(group['name'])}” most often between {low:.2f} and {high:.2f} ({words.counted(most, 'row')})"
            )
    said = "; ".join(parts) or "no rows"
    return f"{section['of'][:1].upper()}{section['of'][1:]}: {said}."


def values(section: Json) -> str:
    """Return which tenth of the answers is clearly off most on average, if one is."""
    clear = [
        row
        for row in section["residuals"]
        if (bounds := row["error"].get("ci95")) and not bounds[0] <= 0 <= bounds[1]
    ]
    if not clear:
        return "No tenth of the answers is clearly off on average."
    worst = max(clear, key=lambda row: abs(row["error"]["value"]))
    low, high = sorted(map(abs, worst["error"]["ci95"]))
    return (
        f"Of the tenths of the answers, those from {worst['low']:.3f} to {worst['high']:.3f} are off most: "
        f"{_off(worst['error']['value'])} (95 % {low:.3f} to {high:.3f})."
    )


def _off(error: float) -> str:
    return f"{abs(error):.3f} too {'high' if error > 0 else 'low'} on average"


def feature_map(section: Json) -> str:
    """Return how the map was made and how to read it."""
    said = f"{words.counted(len(section['points']), 'scored row')}"
    if section.get("explained"):
        first, second = (f"{100 * part:.1f} %" for part in section["explained"])
        said += f"; the two axes hold {first} and {second} of the variance"
    label = section["points"][0]["label"] if section["points"] else 0
    return f"{said}. {READ_MAP[type(label)]}"


def search(report: Json) -> str:
    """Return how the regularisation was found."""
    head = report["head"]
    by = search_metric(head["search"])
    best: Json = min(head["search"], key=lambda one: float(one[by]))
    return (
        f"Smallest cross-validated {SEARCHED_BY[by]}, {best[by]:.3f}, at C = {best['C']:g}; "
        f"taken: C = {head['C']:g} (diamond)."
    )


def search_metric(points: list[Json]) -> str:
    """Return what a search made as small as it could."""
    return next(name for name in SEARCHED_BY if name in points[0])


def share(value: float | None) -> str:
    """Return a share with three decimals, or a dash."""
    return "–" if value is None else f"{value:.3f}"

"""What a report concludes, in sentences: verdicts beside baselines, what was asked for, advice, headline, summary."""

from typing import Any

from pipeline.pages.canvas import shown
from pipeline.report import words
from pipeline.report.kinds import LABELS, kind_of

Json = dict[str, Any]  # Any: JSON values
UNDECIDED = 0.2  # an interval of a paired difference that is wider: too few rows were scored to tell


def costs(report: Json) -> Json | None:
    """Return the mean cost of an answer, with its rule and without, and of baselines; None where nothing has a cost."""
    gain = _rule(report).get("gain")
    return gain["test"] if gain and gain["metric"] == "cost" else None


def abstention(report: Json) -> Json | None:
    """Return how many rows are answered, and how well; None where every row is."""
    return _rule(report).get("abstention")


def _rule(report: Json) -> Json:
    return report.get("decision") or {}


def asked(report: Json) -> list[str]:
    """Return a sentence on whatever the decision rule was asked for; none where there was no such option."""
    found = [*cost_verdicts(report)]
    if test := costs(report):
        found = [
            f"The mean cost of an answer is {words.number(test['value'])}.",
            *found,
        ]
    elif _rule(report).get("thresholds"):
        gain = _rule(report)["gain"]
        test, name = gain["test"], words.metric(gain["metric"], kind_of(report))
        found = [
            f"By its thresholds {name} is {words.number(test['value'])}, without them {words.number(test['plain'])}: "
            f"difference {words.difference(test['difference'])}, paired."
        ]
    if section := abstention(report):
        test, most = section["test"], f"at most {section['max_error']:g} was asked for"
        found.append(
            f"It answers {words.number(test['coverage'])} of the rows; the error rate among them is "
            f"{words.number(test['error'])}, where {most}."
        )
    return found


def cost_verdicts(report: Json) -> list[str]:
    """Return sentences on the mean cost beside the same head without the costs, and beside each baseline."""
    test = costs(report)
    if test is None:
        return []
    found = [
        _cheaper(test["difference"], "this head, were it to answer the likeliest class")
    ]
    others = test.get("baselines", {})
    for name in kind_of(report).order(others):
        other = others[name]
        said = f"{words.baseline(name)} by the same costs"
        if other["answer"] is not None:
            always = f"always answering “{shown(other['answer'], 40)}”"
            is_floor = name == kind_of(report).floor
            why = ", which costs least by the training shares" if is_floor else ""
            said = f"{always}{why}" if is_floor else f"{said} ({always})"
        found.append(
            _cheaper(other["difference"], f"{said}, {words.value(other['value'])}")
        )
    return found


def _cheaper(figure: Json, other: str) -> str:
    """Return in a sentence whether answers cost less than others, by the paired difference."""
    if figure["value"] is None:
        return f"Not compared with {other}: {figure.get('reason', 'undefined')}."
    low, high = figure["ci95"]
    if low <= 0 <= high:
        return f"Not shown to cost less than {other}: difference {words.difference(figure)}, paired."
    how = "less" if high < 0 else "more"
    small, large = sorted(map(abs, (low, high)))
    return (
        f"That is {abs(figure['value']):.3f} {how} (95 % {small:.3f} to {large:.3f}, paired) than "
        f"{other}."
    )


def verdicts(report: Json) -> list[str]:
    """Return a sentence on each comparison: by mean cost where answers have costs, else by the headline."""
    found = [verdict(report, other) for other in words.baselines(report)]
    return cost_verdicts(report) or found


def others(report: Json) -> list[str]:
    """Return a sentence on what another make of this model gives; none where there is nothing to tell."""
    found = []
    if (section := report.get("with_words")) and section["difference"]["ci95"]:
        kind, figure = kind_of(report), section["difference"]
        said = (
            f"With words beside the encoder, a plain mean of this model's scores and TF-IDF's, "
            f"{kind.names[section['metric']]} is {words.number(section['figure'])}: "
            f"{kind.number(figure['value'], '+')}{kind.unit} (95 % {kind.bounds(figure)}, paired)"
        )
        low, high = figure["ci95"]
        if low <= 0:
            said += ", which is worse" if high < 0 else "; not shown to be better"
        found.append(
            f"{said}. TrainHybrid, with the same options, weighs them out of fold and adds the encoder's other layers."
        )
    if section := report.get("cascade"):
        fit = section["fit"]
        found.append(
            f"{cascade(report)[0]} On the rows fitted on, by models of the other folds, which are less sure, it was "
            f"{100 * fit['share']:.1f} % for {100 * fit['loss']:.2f} points; --max-loss allowed "
            f"{100 * fit['max_loss']:g}."
        )
    return found


def cascade(report: Json) -> list[str]:
    """Return a sentence on what words alone answer; none where every row is encoded."""
    section = report.get("cascade")
    if not section:
        return []
    figure = section["difference"]
    return [
        f"Words alone answer {100 * section['share']:.1f} % of the scored rows, which need no encoder; beside encoding "
        f"every row accuracy changes by {100 * figure['value']:+.1f} points (95 % {kind_of(report).bounds(figure)}, "
        "paired)."
    ]


def limit(report: Json) -> str:
    """Return what a model does not know."""
    if not abstention(report):
        return kind_of(report).limit.format(noun=words.noun(report))
    return (
        f"It knows the labels above and no other: a {words.noun(report)} gets one of them, or none where it is not "
        "sure enough."
    )


def conclusion(report: Json) -> str:
    """Return in a few sentences what the model is good for: by what was asked for, and beside the baselines."""
    return " ".join(_conclusions(report))


def _conclusions(report: Json) -> list[str]:
    found = asked(report)
    if costs(report):
        return [*found, *ranks_backwards(report)]
    last = _beside_baselines(report)
    if abstention(report):
        last = f"Were every row answered: {last[:1].lower()}{last[1:]}"
    return [*found, last]


def _beside_baselines(report: Json) -> str:
    """Return what the model is good for: beside always answering alike, then beside TF-IDF."""
    kind = kind_of(report)
    figure = report["comparison"][kind.floor][kind.floor_metric]
    if figure["value"] is None or not figure["ci95"] or figure["ci95"][0] > 0:
        return verdict(report, hardest(report))
    of = (
        kind.unit
        if kind.floor_metric == kind.headline
        else f" of {kind.names[kind.floor_metric]}"
    )
    said = (
        f"Not shown to be better than {kind.floor_said}: difference {kind.number(figure['value'], '+')}{of} "
        f"(95 % {kind.bounds(figure)}, paired); {undecided(report, kind.floor, kind.floor_metric)}."
    )
    return " ".join([said, *ranks_backwards(report)])


def hardest(report: Json) -> str:
    """Return the baseline of the highest headline figure, of those that do not answer every row alike."""
    kind = kind_of(report)
    names = [name for name in words.baselines(report) if name != kind.floor]
    figures = {name: report["baselines"][name][kind.headline] for name in names}
    return max(names, key=lambda name: figures[name]["value"] or 0.0)


def ranks_backwards(report: Json) -> list[str]:
    """Return a sentence where the scores order the rows clearly the wrong way round."""
    figures = report["metrics"]["test"]
    for key, border in (("roc_auc", 0.5), ("pearson", 0.0)):
        figure = figures.get(key, {"value": None})
        if figure["value"] is None or not figure["ci95"] or figure["ci95"][1] >= border:
            continue
        name = kind_of(report).names[key]
        return [
            f"{name} {words.number(figure)} is clearly below {border:g}: the labels of the scored rows "
            "look swapped, or those of training."
        ]
    return []


def verdict(report: Json, against: str) -> str:
    """Return one sentence on the headline metric against a baseline, with the paired interval and what to try."""
    kind = kind_of(report)
    figure, name = (
        report["comparison"][against][kind.headline],
        _decided(report, against),
    )
    if figure["value"] is None:
        why = figure.get("reason", "undefined")
        known = [
            f"{said} {words.difference(other)}"
            for key, said in kind.names.items()
            if (other := report["comparison"][against].get(key, figure))["value"]
            is not None
        ]
        if not known:
            return f"Not compared with {name}: {why}."
        return (
            f"Not compared with {name} by {kind.headline_name} ({why}); the differences of the others: "
            f"{', '.join(known)}."
        )
    value, (low, high) = figure["value"], figure["ci95"]
    if low > 0:
        return f"Better than {name} by {kind.number(value)}{kind.unit} (95 % {kind.bounds(figure, '')}, paired)."
    if high < 0:
        fall = f"{kind.number(-high)} to {kind.number(-low)}"
        worse = f"Worse than {name} by {kind.number(-value)}{kind.unit} (95 % {fall}, paired)"
        return f"{worse}: {instead(report, against)}."
    if report["metrics"]["test"][kind.headline]["value"] == 1.0 and value == 0.0:
        return f"Level with {name}: both answer every row {kind.right}. A larger or harder test would tell them apart."
    return (
        f"Not distinguishable from {name}: difference {kind.number(value, '+')}{kind.unit} "
        f"(95 % {kind.bounds(figure)}, paired); {undecided(report, against)}."
    )


def _decided(report: Json, name: str) -> str:
    """Return what a baseline is called, and how it decides where the model has thresholds, of which it has none."""
    if name != kind_of(report).baseline or not _rule(report).get("thresholds"):
        return words.baseline(name)
    is_labels = kind_of(report) is LABELS
    return f"{words.baseline(name)} ({'which answers at 0.5' if is_labels else 'without thresholds of its own'})"


def undecided(report: Json, against: str, metric: str | None = None) -> str:
    """Return what to do where the model may be better than a baseline, or worse: score more rows, or try another.

    The difference is that of a metric; None: of the headline.
    """
    figure = report["comparison"][against][metric or kind_of(report).headline]
    low, high = figure["ci95"]
    if high - low > UNDECIDED:
        return f"{words.counted(figure['n'], 'scored row')} cannot tell: score more"
    return instead(report, against)


def instead(report: Json, against: str) -> str:
    """Return what to do where a baseline is as good as the model, or better."""
    if against == "cosine":
        layer = report["encoder"]["layer"]
        whose = f"layer {layer[-1]}" if isinstance(layer, list) else "predictor.encoder"
        return f"the cosine of {whose}'s vectors, on a straight line, serves here, and needs no training"
    return advice(report)


def advice(report: Json) -> str:
    """Return what to try when the model is not better than a baseline."""
    if report["encoder"]["pooling"] == "cls":
        return "try --pooling mean"
    if "blend" not in report["head"]:
        return "try TrainHybrid, or another --encoder"
    return "try another --encoder, or more labelled rows"


def headline(report: Json) -> str:
    """Return the first metric with its interval and the baselines', on one line, behind what was asked for."""
    return "; ".join([*_asked_figures(report), _first_metric(report)])


def _asked_figures(report: Json) -> list[str]:
    found = []
    if test := costs(report):
        found.append(
            f"mean cost {words.number(test['value'])}, without the costs {words.value(test['plain'])}"
        )
    if section := abstention(report):
        test = section["test"]
        found.append(
            f"answered {words.number(test['coverage'])}, error rate among them {words.number(test['error'])}"
        )
    return found


def _first_metric(report: Json) -> str:
    kind = kind_of(report)
    test = report["metrics"]["test"][kind.headline]
    others = ", ".join(
        f"{words.baseline(name)} {words.value(figures[kind.headline])}"
        for name, figures in sorted(report["baselines"].items())
    )
    return f"{kind.headline_name} {words.number(test)} on {words.counted(test['n'], 'row')}; {others}"


def summary(report: Json) -> str:
    """Return the first figures with their intervals, and the verdict, as a few lines of text."""
    kind, figures = kind_of(report), report["metrics"]["test"]
    brief = {
        name: figures[key] for key, name in list(kind.names.items())[: kind.n_brief]
    }
    brief = {**_first(report), **brief}
    width = max(map(len, brief))
    lines = [
        f"{name:<{width}}  {words.number(figure)}" for name, figure in brief.items()
    ]
    split = report["split"]
    which = split["scored"] if split["mode"] == "official" else "held-out"
    where = words.counted(split["n_test"], f"{which} row")
    first = f"{where} scored, {split['n_fit']:,} fitted on; value (95 % interval)"
    return "\n".join([first, *lines, *_conclusions(report), *cascade(report)])


def _first(report: Json) -> dict[str, Json]:
    """Return the figures that the decision rule was asked for, by name: they come before the metrics of the kind."""
    found = {}
    if test := costs(report):
        found["mean cost"] = test["value"]
    if section := abstention(report):
        test = section["test"]
        found |= {"answered": test["coverage"], "error rate": test["error"]}
    return found


def leading(report: Json) -> tuple[str, Json]:
    """Return the name of the figure that a report begins with, and the figure."""
    kind = kind_of(report)
    names = {"error rate": "error rate among answered rows"}
    first = _first(report)
    first.pop("answered", None)
    for name, figure in first.items():
        if figure["value"] is not None:
            return names.get(name, name), figure
    return kind.headline_name, report["metrics"]["test"][kind.headline]

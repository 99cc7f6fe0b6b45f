"""What the decision rule is, what it gains out of fold, and what on the scored rows beside the same head without it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.decisions import mean_costs, selective
from pipeline.evaluation.kinds import AnyScored
from pipeline.evaluation.metrics import Scored, differences, figures, measure
from pipeline.heads.decision.rule import DecisionRule
from pipeline.heads.streaming import score_stored
from pipeline.report.material import Json, Material, ReportInputs, answered_by
from pipeline.storage import read_manifest

OPTIONS = ("calibration", "thresholds", "costs", "max_error")


def decision(
    inputs: ReportInputs,
    material: Material,
    baselines: dict[str, NDArray[np.float64]],
) -> Json | None:
    """Return the section; None where the head has no decision rule.

    Parameters
    ----------
    inputs : ReportInputs
    material : Material
    baselines : dict of str to ndarray of float64, shape (n, k)
        What the baselines say of the scored rows; under costs they decide by the same costs.

    Raises
    ------
    CacheError
        If the model's files are damaged.
    """
    rule = material.head.rule
    if rule is None:
        return None
    manifest = read_manifest(inputs.model)
    evidence = manifest["facts"]["decision"]
    gain = evidence["gain"]
    params = rule.params()
    return {
        "asked": {
            name: manifest["key_fields"][name]
            for name in OPTIONS
            if name in manifest["key_fields"]
        },
        **{name: evidence[name] for name in ("n", "n_unknown", "n_clusters")},
        "log_losses": evidence["log_losses"],
        **{
            name: params.get(name)
            for name in ("calibrator", "thresholds", "costs", "min_confidence")
        },
        "gain": None
        if gain is None
        else {**gain, "test": _gain(material, gain, baselines)},
        "abstention": None
        if evidence["abstention"] is None
        else {
            "max_error": manifest["key_fields"]["max_error"],
            "out_of_fold": evidence["abstention"],
            "test": _selective(material),
        },
    }


def _gain(
    material: Material, gain: Json, baselines: dict[str, NDArray[np.float64]]
) -> Json:
    """Return the metric of this head, of the same one without its rule, and the paired difference, as figures."""
    ours, plain, metric = material.scored, _plain(material), gain["metric"]
    rule = material.head.rule
    if metric == "cost":
        assert rule is not None  # else there is no gain
        assert rule.costs is not None  # as the metric says
        assert isinstance(ours, Scored)  # costs are of classes
        assert isinstance(plain, Scored)
        return {
            **mean_costs(ours, plain, rule.costs, material.clusters),
            "baselines": {
                name: _cost_beside(material, ours, proba, rule.costs)
                for name, proba in baselines.items()
            },
        }
    one, two = (measure(each, material.clusters, (metric,)) for each in (ours, plain))
    return {
        "value": figures(one)[metric],
        "plain": figures(two)[metric],
        "difference": differences(one, two)[metric],
    }


def _cost_beside(
    material: Material,
    ours: Scored,
    proba: NDArray[np.float64],
    costs: list[list[float]],
) -> Json:
    """Return the mean cost of a baseline that minimises its expected cost, too, and ours minus it, paired.

    Where it answers every row alike, as by the training shares, ``answer`` is that class.
    """
    said = DecisionRule(costs=costs).classes(proba)
    theirs = Scored(ours.y, proba, said)
    found = mean_costs(ours, theirs, costs, material.clusters)
    is_one = len(np.unique(said)) == 1
    return {
        "value": found["plain"],
        "difference": found["difference"],
        "answer": material.head.classes[int(said[0])] if is_one else None,
    }


def _plain(material: Material) -> AnyScored:
    """Return what the head says of the scored rows without its rule."""
    head, rows = replace(material.head, rule=None), material.test
    outputs = score_stored(head, material.features.subset(rows))
    return answered_by(head, material.scored.y, outputs)


def _selective(material: Material) -> Json:
    ours = material.scored
    assert isinstance(ours, Scored)  # only classes are abstained from
    answered = ~material.head.abstains(ours.proba)
    return selective(ours, answered, material.clusters)

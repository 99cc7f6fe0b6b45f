"""The decision rule: calibration, thresholds, costs and abstention, from out-of-fold probabilities alone."""

import csv
import html
import json
import re
import shutil
import subprocess
from importlib.resources import files
from itertools import product
from unittest.mock import ANY

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from scipy.stats import binom
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, f1_score, jaccard_score, log_loss

from pipeline import load_predictor
from pipeline.config import DecisionSpec, HeadSpec
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored, points
from pipeline.heads.decision import calibration, fit
from pipeline.heads.decision.abstention import min_confidence
from pipeline.heads.decision.calibration import fit_calibrator, log_losses
from pipeline.heads.decision.choose import check_task, choose_rule
from pipeline.heads.decision.costs import read_costs
from pipeline.heads.decision.fit import Fitted
from pipeline.heads.decision.rows import HeldOut
from pipeline.heads.decision.rule import DecisionRule, Temperature, logit, rule_of
from pipeline.heads.decision.thresholds import METRICS, _Best, fit_thresholds, measured
from pipeline.heads.logreg import fit_head
from pipeline.predictor.explanation import UNSURE
from pipeline.report import findings, words
from pipeline.report.kinds import CLASSES, LABELS
from tasks.compare import compare
from tests.conftest import BIN, Job, review_rows, write_tsv
from tests.test_heads_tasks import InMemory

CLASS_METRICS = {
    "accuracy": accuracy_score,
    "f1_macro": lambda y, said: f1_score(y, said, average="macro"),
}
LABEL_METRICS = {
    "accuracy": lambda y, said: (y == said).mean(),
    "f1_macro": lambda y, said: f1_score(y, said, average="macro", zero_division=0),
    "f1_micro": lambda y, said: f1_score(y, said, average="micro", zero_division=0),
    "jaccard": lambda y, said: jaccard_score(
        y, said, average="samples", zero_division=1.0
    ),
}


def held_out(proba, truth, folds, *, is_exclusive, clusters=None, is_known=None):
    """Return rows that stand alone, and whose classes all fits knew, unless it is said."""
    n = len(proba)
    return HeldOut(
        proba,
        truth,
        folds,
        np.arange(n) if clusters is None else clusters,
        np.ones(n, dtype=bool) if is_known is None else is_known,
        is_exclusive,
    )


def classes(k=2, n=400, *, seed=0, sharpness=1.0, shares=None):
    """Return rows whose truth is drawn from their probabilities, which are then made too sure by `sharpness`."""
    random = np.random.default_rng(seed)
    logs = random.normal(size=(n, k)) * 1.5 + np.log(shares or np.full(k, 1 / k))
    proba = np.exp(logs) / np.exp(logs).sum(axis=1, keepdims=True)
    y = np.array([random.choice(k, p=row) for row in proba])
    y[:k] = np.arange(k)
    sharp = proba**sharpness / (proba**sharpness).sum(axis=1, keepdims=True)
    folds = random.integers(0, 5, n).astype(np.int8)
    return held_out(sharp, np.eye(k, dtype=bool)[y], folds, is_exclusive=True)


def labels(k=3, n=60, *, seed=0):
    random = np.random.default_rng(seed)
    proba = random.random((n, k)) ** 2
    truth = random.random((n, k)) < proba
    truth[0], truth[1] = True, False
    folds = random.integers(0, 5, n).astype(np.int8)
    return held_out(proba, truth, folds, is_exclusive=False)


def calibrator(method, rows):
    return fit_calibrator(method, rows)


def y_of(rows):
    return rows.truth.argmax(axis=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("metric", METRICS[True])
def test_no_threshold_of_two_classes_is_better_than_the_one_found(metric, seed):
    rows = classes(2, 40, seed=seed)
    of = CLASS_METRICS[metric]

    t = fit_thresholds(metric, rows)

    score, y = rows.proba[:, 1], y_of(rows)
    found = of(y, DecisionRule(thresholds=t).classes(rows.proba))
    best = max(of(y, (score > cut).astype(int)) for cut in [-1, *score])
    assert found == pytest.approx(best, abs=1e-12)
    assert sum(t) == pytest.approx(1)


@pytest.mark.parametrize("metric", METRICS[True])
@pytest.mark.parametrize("k", [3, 6])
def test_no_single_class_weight_is_better_than_those_found(metric, k):
    rows = classes(k, 80, seed=k, shares=[0.6, *[0.4 / (k - 1)] * (k - 1)])
    of, y = CLASS_METRICS[metric], y_of(rows)

    t = np.array(fit_thresholds(metric, rows))

    found = of(y, DecisionRule(thresholds=t.tolist()).classes(rows.proba))
    for j, factor in product(range(k), np.exp(np.linspace(-4, 4, 80))):
        other = t.copy()
        other[j] *= factor
        said = DecisionRule(thresholds=other.tolist()).classes(rows.proba)
        assert of(y, said) <= found + 1e-12
    assert found > of(y, rows.proba.argmax(axis=1))


@pytest.mark.parametrize("metric", METRICS[False])
def test_no_single_threshold_of_a_label_is_better_than_those_found(metric):
    rows = labels()
    of = LABEL_METRICS[metric]

    t = np.array(fit_thresholds(metric, rows))

    found = of(rows.truth, rows.proba >= t)
    for j in range(3):
        for cut in [0.0, *rows.proba[:, j], 1.1]:
            said = rows.proba >= np.where(np.arange(3) == j, cut, t)
            assert of(rows.truth, said) <= found + 1e-12
    assert found > of(rows.truth, rows.proba >= 0.5)


@pytest.mark.parametrize("metric", METRICS[False])
def test_metrics_of_labels_are_those_of_scikit_learn(metric):
    rows = labels()
    said = rows.proba >= 0.3

    assert measured(metric, said, rows) == pytest.approx(
        LABEL_METRICS[metric](rows.truth, said)
    )


@pytest.mark.parametrize("metric", METRICS[True])
def test_metrics_of_classes_are_those_of_scikit_learn(metric):
    rows = classes(4)
    answers = rows.proba.argmax(axis=1)

    found = measured(metric, np.eye(4, dtype=bool)[answers], rows)

    assert found == pytest.approx(CLASS_METRICS[metric](y_of(rows), answers))


@pytest.mark.parametrize("is_exclusive", [True, False])
def test_macro_f1_is_that_of_the_report_where_some_classes_occur_nowhere(is_exclusive):
    rows = classes(5, 50) if is_exclusive else labels(5, 50)
    truth = rows.truth & (np.arange(5) < 3)
    truth[:, 0] |= is_exclusive & ~truth.any(axis=1)
    said, y = np.roll(truth, 1, axis=0), truth.argmax(axis=1)
    rows = held_out(rows.proba, truth, rows.folds, is_exclusive=is_exclusive)

    found = measured("f1_macro", said, rows)

    scored = (
        Scored(y, rows.proba, said.argmax(axis=1))
        if is_exclusive
        else ScoredLabels(truth, rows.proba, said)
    )
    assert found == pytest.approx(points(scored, ["f1_macro"])["f1_macro"])


def test_the_two_best_classes_are_kept_while_scores_move():
    random = np.random.default_rng(0)
    scores = random.integers(0, 6, (200, 7)).astype(float)
    best = _Best(scores.copy())

    for j in [3, 0, 6, 3, 2]:
        scores[:, j] = random.integers(0, 6, 200)
        best.move(j, scores[:, j])
        for without in range(7):
            others = scores.copy()
            others[:, without] = -np.inf
            other, value = best.without(without)
            assert (other == others.argmax(axis=1)).all()
            assert (value == others.max(axis=1)).all()


def test_thresholds_that_gain_nothing_stay_where_they_are():
    proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7]])
    rows = held_out(proba, proba > 0.5, np.arange(4, dtype=np.int8), is_exclusive=True)

    assert fit_thresholds("f1_macro", rows) == [0.5, 0.5]


def test_platt_scaling_is_that_of_scikit_learn():
    random = np.random.default_rng(0)
    y = random.integers(0, 2, 300)
    x = (y + random.normal(size=300))[:, None]
    plain = LogisticRegression(C=100.0).fit(x[:150], y[:150])
    theirs = CalibratedClassifierCV(_frozen(plain), method="sigmoid")
    theirs.fit(x[150:], y[150:])
    rows = held_out(
        plain.predict_proba(x[150:]),
        np.eye(2, dtype=bool)[y[150:]],
        np.zeros(150, dtype=np.int8),
        is_exclusive=True,
    )

    ours = calibrator("sigmoid", rows)

    assert ours(rows.proba, is_exclusive=True) == pytest.approx(
        theirs.predict_proba(x[150:]), abs=1e-4
    )


def _frozen(estimator):
    from sklearn.frozen import FrozenEstimator

    return FrozenEstimator(estimator)


@pytest.mark.parametrize("k", [2, 5])
def test_the_temperature_of_probabilities_that_are_too_sure_is_found(k):
    rows = classes(k, 20_000, sharpness=2.0)

    found = calibrator("temperature", rows)

    assert found.temperature == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("method", ["temperature", "sigmoid", "isotonic"])
@pytest.mark.parametrize("rows", [classes(2), classes(4), labels(n=400)])
def test_calibrated_probabilities_are_probabilities_and_keep_no_certainty(method, rows):
    found = calibrator(method, rows)(rows.proba, is_exclusive=rows.is_exclusive)

    assert found.shape == rows.proba.shape
    assert ((found > 0) & (found < 1)).all()
    if rows.is_exclusive:
        assert found.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("method", calibration.METHODS[1:])
def test_calibration_makes_probabilities_that_are_too_sure_better_on_other_rows(method):
    rows, others = (classes(3, 3_000, seed=seed, sharpness=3.0) for seed in (1, 2))

    found = calibrator(method, rows)(others.proba, is_exclusive=True)

    assert log_loss(y_of(others), found) < 0.8 * log_loss(y_of(others), others.proba)


def test_what_is_crossed_never_saw_the_rows_it_is_applied_to():
    rows = classes(2, 50)

    def whose_folds(others, proba):
        assert len(others.proba) + len(proba) == 50
        seen = np.isin(proba[:, 0], others.proba[:, 0])
        return np.column_stack([proba[:, 0], seen])

    found = rows.crossed(whose_folds)

    assert (found[:, 0] == rows.proba[:, 0]).all()
    assert not found[:, 1].any()


def test_auto_takes_the_calibrator_of_least_cross_fitted_log_loss():
    rows = classes(3, 2_000, sharpness=3.0)

    rule, evidence = choose_rule(rows, DecisionSpec(calibration="auto"))

    losses = {name: each.mean() for name, each in log_losses(rows).items()}
    assert evidence["log_losses"] == losses
    assert rule.calibrator is not None
    assert losses[rule.calibrator.method] == min(losses.values()) < losses["none"]
    assert evidence["gain"]["nested"] < evidence["gain"]["plain"]


def test_auto_leaves_probabilities_that_are_right_as_they_are():
    chosen = [
        choose_rule(classes(2, 500, seed=seed), DecisionSpec(calibration="auto"))[0]
        for seed in range(20)
    ]

    assert sum(rule == DecisionRule() for rule in chosen) >= 16


def test_the_nested_gain_of_thresholds_on_noise_is_none_though_it_looks_like_one():
    random = np.random.default_rng(0)
    gains = []
    for seed in range(20):
        rows = classes(2, 100, seed=seed)
        noise = rows.with_proba(random.permutation(rows.proba))
        _, evidence = choose_rule(noise, DecisionSpec(thresholds="accuracy"))
        gain = evidence["gain"]
        gains.append((gain["nested"], gain["optimistic"]))
        assert gain["optimistic"] >= gain["plain"]

    nested, optimistic = np.mean(gains, axis=0)
    assert optimistic > 0.55
    assert nested < 0.52


def test_costs_give_the_answer_of_least_expected_cost():
    rule = DecisionRule(costs=[[0.0, 1.0, 1.0], [5.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    proba = np.array([[0.7, 0.25, 0.05], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]])

    assert rule.classes(proba).tolist() == [1, 0, 2]


def test_the_binary_threshold_of_costs_is_that_of_elkan():
    rule = DecisionRule(costs=[[0.0, 1.0], [4.0, 0.0]])

    said = rule.classes(np.array([[0.81, 0.19], [0.79, 0.21]]))

    assert said.tolist() == [0, 1]  # the second from 1 / (1 + 4) on


@pytest.fixture
def costs_file(tmp_path):
    def write(text):
        path = tmp_path / "costs.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_costs_are_read_in_any_order(costs_file):
    costs = read_costs(costs_file(",pos,neg\nneg, 1, 0\n\npos,0,5\n"))

    assert costs.matrix(["neg", "pos"]) == [[0.0, 1.0], [5.0, 0.0]]
    again = read_costs(costs_file("true,neg,pos\npos,5,0\nneg,0,1\n"))
    assert again.by_name() == costs.by_name()


def test_classes_that_are_numbers_have_costs_too(costs_file):
    costs = read_costs(costs_file(",0,1\n0,0,1\n1,9,0\n"))

    assert costs.matrix([0, 1]) == [[0.0, 1.0], [9.0, 0.0]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no square table"),
        (",a\na,0\n", "no square table"),
        (",a,b\na,0,1\n", "no square table"),
        (",a,b\na,0,1\nc,1,0\n", "names other classes .*: 'b', 'c'"),
        (",a,a\na,0,1\na,0,1\n", "no square table"),
        (",a,b\na,0,1\nb,1\n", "expected 2 numbers"),
        (",a,b\na,0,x\nb,1,0\n", "expected 2 numbers"),
        (",a,b\na,0,nan\nb,1,0\n", "expected 2 numbers"),
        (",a,b\na,2,1\nb,1,0\n", "more than a wrong answer"),
    ],
)
def test_a_file_that_is_no_table_of_costs_is_refused(costs_file, text, said):
    with pytest.raises(ConfigError, match=said):
        read_costs(costs_file(text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (",neg,pos\nneg,0,0\npos,0,0\n", "answering 'neg' never costs more"),
        (",neg,pos\nneg,1,1\npos,5,0\n", "answering 'pos' never costs more"),
        (",neg,pos\nneg,0,1e308\npos,1e308,0\n", "expected 2 numbers"),
        (f",neg,pos\nneg,0,{'1' * 140_000}\npos,1,0\n", "is no CSV|expected 2 numbers"),
    ],
)
def test_costs_that_cannot_be_meant_are_refused(costs_file, text, said):
    with pytest.raises(ConfigError, match=said):
        read_costs(costs_file(text))


def test_a_missing_file_of_costs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        read_costs(tmp_path / "none.csv")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b", "c"], "'c' is a class without costs"),
        (["a"], "'b' is none of the classes"),
    ],
)
def test_costs_of_other_classes_are_refused(costs_file, names, said):
    with pytest.raises(ConfigError, match=said):
        read_costs(costs_file(",a,b\na,0,1\nb,1,0\n")).matrix(names)


def draws(n, random):
    """Return confidences and whether they are right, of a model that is exactly as good as it says."""
    sure = random.uniform(0.5, 1.0, n)
    return sure, random.random(n) < sure


def lowest_confidence(sure, is_right, rate):
    """Return what rows that stand alone say."""
    return min_confidence(sure, is_right, np.arange(len(sure)), rate)


def lowest_of(n, random, rate):
    sure, is_right = draws(n, random)
    return lowest_confidence(sure, is_right, rate)


def test_the_promised_error_rate_is_kept_in_19_of_20_data_sets():
    random = np.random.default_rng(0)
    broken = 0
    for _ in range(300):
        lowest = lowest_of(1_000, random, 0.15)
        # the error rate above a confidence c of the evenly distributed ones is (1 - c) / 2
        broken += (1 - lowest) / 2 > 0.15

    assert broken <= binom.ppf(0.999, 300, 0.05)
    assert broken > 0  # a bound that never fails abstains more than it must


@pytest.mark.parametrize("size", [2, 5, 10])
def test_the_promise_is_kept_where_the_rows_of_a_cluster_err_together(size):
    random, n = np.random.default_rng(size), 1_000
    clusters = np.repeat(np.arange(n), size)
    broken = {"clusters": 0, "rows": 0}
    for _ in range(150):
        sure, is_right = (each[clusters] for each in draws(n, random))
        found = {
            "clusters": min_confidence(sure, is_right, clusters, 0.2),
            "rows": lowest_confidence(sure, is_right, 0.2),
        }
        for name, lowest in found.items():
            broken[name] += (1 - max(lowest, 0.5)) / 2 > 0.2

    most = binom.ppf(0.999, 150, 0.05)
    assert broken["clusters"] <= most
    if size > 2:
        assert broken["rows"] > most  # what counting rows would do


def test_clusters_of_equal_rows_say_as_much_as_one_row_of_each():
    sure, is_right = draws(500, np.random.default_rng(0))
    clusters = np.repeat(np.arange(500), 4)

    found = min_confidence(sure[clusters], is_right[clusters], clusters, 0.2)

    assert found == lowest_confidence(sure, is_right, 0.2)


def test_rows_of_a_class_that_a_fit_did_not_know_do_not_steer_calibration():
    rows = classes(3, 2_000)
    impossible = np.array([[0.6, 0.4, 0.0]] * 20)
    n, truth = 2_020, np.tile(np.arange(3) == 2, (20, 1))
    more = held_out(
        np.vstack([rows.proba, impossible]),
        np.vstack([rows.truth, truth]),
        np.concatenate([rows.folds, np.arange(20, dtype=np.int8) % 5]),
        is_known=np.arange(n) < 2_000,
        is_exclusive=True,
    )
    spec = DecisionSpec(calibration="temperature")

    rule, evidence = choose_rule(rows, spec)
    rule_of_more, evidence_of_more = choose_rule(more, spec)

    assert rule_of_more == rule
    assert evidence_of_more == evidence | {"n": n, "n_unknown": 20, "n_clusters": n}


def test_rows_of_a_class_that_stands_in_one_fold_are_known_to_no_fit():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3)).astype(np.float32)
    folds = (np.arange(60) % 5).astype(np.int8)
    y = np.array(["a", "b", "c"], dtype=object)[np.arange(60) % 2]
    y[[0, 5]] = "c"  # both in fold 0
    spec = HeadSpec(C=1.0)
    fitted = Fitted(
        fit_head(x, y, spec, folds), InMemory(x), y, folds, np.arange(60), spec
    )

    found = fit.held_out(fitted)

    assert np.flatnonzero(~found.is_known).tolist() == [0, 5]
    assert found.proba[[0, 5], 2].tolist() == [0, 0]


def test_the_more_rows_the_nearer_the_promise():
    random = np.random.default_rng(0)
    few, many = (
        np.mean([lowest_of(n, random, 0.1) for _ in range(20)]) for n in (2_000, 50_000)
    )

    assert few > many + 0.02
    assert many == pytest.approx(0.8, abs=0.015)


def test_a_model_that_is_always_right_answers_everything():
    sure, is_right = np.linspace(0.5, 1, 200), np.ones(200, dtype=bool)

    assert lowest_confidence(sure, is_right, 0.1) == 0


def test_a_rate_that_cannot_be_promised_is_refused_with_one_that_can():
    random = np.random.default_rng(0)
    sure, is_right = draws(500, random)

    with pytest.raises(DataError, match=r"0\.\d+ can be promised") as caught:
        lowest_confidence(sure, is_right, 0.001)

    reachable = float(str(caught.value).split(" can be promised")[0].split()[-1])
    assert lowest_confidence(sure, is_right, reachable) > 0
    with pytest.raises(DataError):
        lowest_confidence(sure, is_right, reachable - 0.001)


def test_equally_sure_rows_are_answered_together():
    sure = np.repeat([0.9, 0.6], 200)
    is_right = np.repeat([True, False], 200)

    assert lowest_confidence(sure, is_right, 0.05) == 0.9


def test_a_rule_abstains_where_its_own_answer_is_unlikely():
    rule = DecisionRule(thresholds=[0.9, 0.1], min_confidence=0.6)
    proba = np.array([[0.95, 0.05], [0.7, 0.3], [0.35, 0.65]])

    assert rule.classes(proba).tolist() == [0, 1, 1]
    assert rule.abstains(proba).tolist() == [False, True, False]


@pytest.mark.parametrize("method", ["none", "temperature", "sigmoid", "isotonic"])
def test_a_rule_comes_back_from_json_as_it_was(method):
    rows = classes(3)
    spec = DecisionSpec(calibration=method, thresholds="f1_macro", max_error=0.6)
    rule, _ = choose_rule(rows, spec)

    again = rule_of(json.loads(json.dumps(rule.params())))

    assert again == rule
    assert again.min_confidence is not None


def test_a_head_without_a_rule_has_the_parameters_it_always_had():
    random = np.random.default_rng(0)
    x = random.normal(size=(40, 3)).astype(np.float32)
    y = np.array(["a", "b"] * 20, dtype=object)

    head = fit_head(x, y, HeadSpec(C=1.0), np.zeros(40, dtype=np.int8))

    assert "rule" not in head.params()
    assert (head.outputs(x) == head.probabilities(x)).all()
    assert not head.abstains(head.outputs(x)).any()


def test_temperature_of_labels_divides_each_log_odds():
    proba = np.array([[0.9, 0.2]])

    found = Temperature(2.0)(proba, is_exclusive=False)

    assert logit(found) == pytest.approx(logit(proba) / 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"calibration": "platt"}, "expected one of"),
        ({"thresholds": "auc"}, "expected one of"),
        ({"max_error": 1.0}, "below 1"),
        ({"max_error": float("nan")}, "below 1"),
        ({"costs": "a.csv", "thresholds": "accuracy"}, "excludes"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        DecisionSpec(**options)


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("regression", {"calibration": "auto"}, "--calibration is for labels"),
        ("multilabel", {"costs": "a.csv"}, "--costs needs one label a row"),
        ("multilabel", {"max_error": 0.1}, "--max-error needs one label a row"),
        ("classification", {"thresholds": "jaccard"}, "accuracy, f1_macro"),
    ],
)
def test_options_for_another_kind_of_label_are_refused(task, options, said):
    with pytest.raises(ConfigError, match=said):
        check_task(DecisionSpec(**options), task)


RARE = [*review_rows()[60:], *review_rows()[:20]]  # 60 neg, 20 pos
OPTIONS = {
    "plain": (),
    "thresholds": ("--calibration", "sigmoid", "--thresholds", "f1_macro"),
    "costs": ("--costs", "costs.csv"),
    "unsure": ("--max-error", "0.2"),
}
COSTS = ",neg,pos\nneg,0,1\npos,1000,0\n"


@pytest.fixture(scope="module")
def job(tmp_path_factory, tiny_encoder):
    """Four runs on the same rows, a quarter of them positive."""
    folder = tmp_path_factory.mktemp("job")
    write_tsv(folder / "rare.tsv", RARE)
    (folder / "costs.csv").write_text(COSTS, encoding="utf-8")
    made = Job(folder)
    for name, options in OPTIONS.items():
        done = made.train("rare.tsv", tiny_encoder, "--C", "0.01", *options)
        assert done.status == 0, done.err
        shutil.copytree(made.artifacts / "latest", folder / name)
    return made


def report_of(job, name):
    return json.loads((job.cwd / name / "report.json").read_text(encoding="utf-8"))


def predictor_of(job, name):
    return load_predictor(job.cwd / name / "predictor.joblib")


@pytest.mark.parametrize("name", OPTIONS)
def test_reports_with_a_decision_rule_are_what_the_schema_says(job, name):
    schema = files("pipeline.report") / "report.schema.json"

    Draft202012Validator(json.loads(schema.read_text(encoding="utf-8"))).validate(
        report_of(job, name)
    )


def test_without_an_option_there_is_no_rule_and_no_section(job):
    report = report_of(job, "plain")

    assert report["decision"] is None
    assert "rule" not in report["head"]
    assert "rule" not in predictor_of(job, "plain")._parts.head
    assert "How it decides" not in (job.cwd / "plain" / "report.html").read_text()


def test_the_predictor_answers_by_its_thresholds(job):
    predictor, head = predictor_of(job, "thresholds"), report_of(job, "thresholds")
    texts = [text for text, _ in RARE]

    proba = predictor.predict_proba(texts)
    said = (proba / head["head"]["rule"]["thresholds"]).argmax(axis=1)

    assert (predictor.predict(texts) == predictor.classes_[said]).all()
    assert (predictor.predict(texts) != predictor.classes_[proba.argmax(axis=1)]).any()
    (scores,) = predictor.score([texts])
    assert (scores.labels == predictor.classes_[said]).all()
    plain = predictor.classifier.predict_proba(predictor.transform(texts))
    assert abs(plain - proba).max() > 0.001  # which is not calibrated
    assert predictor.self_check() < 1e-5


def test_the_report_and_the_explanation_say_the_predictor_s_answers(job):
    predictor, report = predictor_of(job, "costs"), report_of(job, "costs")

    assert {row["predicted"] for row in report["errors"]} == {"pos"}
    assert report["confusion"] == [[0, report["n_errors"]], [0, ANY]]
    text = report["errors"][0]["text"]
    why = predictor.explain(text)
    assert (why.predicted, *predictor.predict([text])) == ("pos", "pos")
    assert "least expected cost" in predictor.look(why)


def test_the_gain_on_scored_rows_is_that_of_both_runs_compared(job):
    test = report_of(job, "thresholds")["decision"]["gain"]["test"]
    plain, ours = (
        report_of(job, name)["metrics"]["test"]["f1_macro"]
        for name in ("plain", "thresholds")
    )

    assert test["plain"] == plain
    assert test["value"] == ours
    assert test["difference"]["value"] == pytest.approx(ours["value"] - plain["value"])
    low, high = test["difference"]["ci95"]
    assert low <= test["difference"]["value"] <= high


def test_compare_counts_the_answers_that_a_rule_changed(job):
    runs = sorted(
        (job.artifacts / "runs").iterdir(), key=lambda path: path.stat().st_ctime
    )
    reports = {
        path.name: json.loads((path / "report.json").read_text()) for path in runs
    }
    by_rule = {
        "thresholds": next(
            n for n, r in reports.items() if r["head"].get("rule", {}).get("thresholds")
        ),
        "plain": next(n for n, r in reports.items() if r["decision"] is None),
    }

    found = compare(job.artifacts, (by_rule["plain"], by_rule["thresholds"]))

    expected = report_of(job, "thresholds")["decision"]["gain"]["test"]["difference"]
    assert found["metrics"]["f1_macro"]["difference"] == expected
    assert found["n_changed"] > 0


def test_costs_are_paid_as_the_table_says(job):
    report = report_of(job, "costs")
    test, (neg, pos) = report["decision"]["gain"]["test"], report["confusion"]

    paid = (neg[1] * 1 + pos[0] * 1000) / (sum(neg) + sum(pos))

    assert test["value"]["value"] == pytest.approx(paid)
    assert test["difference"]["value"] == pytest.approx(paid - test["plain"]["value"])


def test_the_key_holds_what_costs_say_not_where_they_stand(job, tiny_encoder):
    (job.cwd / "moved.csv").write_text("x, pos,neg\npos,0,1000\nneg,1,0\n")

    again = job.train("rare.tsv", tiny_encoder, "--C", "0.01", "--costs", "moved.csv")

    assert again.status == 0, again.err
    assert "Nothing to do" in again.err
    command = report_of(job, "costs")["reproduce"]["command"]
    assert "--costs ./costs.csv --C 0.01" in command


def test_predict_leaves_labels_empty_where_it_is_not_sure(job):
    predictor = predictor_of(job, "unsure")
    texts = [text for text, _ in RARE]

    labels, proba = predictor.predict(texts), predictor.predict_proba(texts)

    lowest = report_of(job, "unsure")["decision"]["min_confidence"]
    is_unsure = proba.max(axis=1) < lowest
    assert 0 < is_unsure.sum() < len(texts)
    assert [label is None for label in labels] == is_unsure.tolist()
    (job.cwd / "texts.txt").write_text("\n".join(texts) + "\n")
    command = ["predict", "--predictor", "unsure/predictor.joblib", "texts.txt"]
    done = subprocess.run(
        [str(BIN / "frostbert"), *command],
        cwd=job.cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert [row["label"] for row in rows] == [label or "" for label in labels]
    assert f"{is_unsure.sum()} not answered" in done.stderr


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_reports_say_once_how_the_promise_is_kept(job, name):
    said = findings.abstention(report_of(job, "unsure")["decision"]["abstention"])

    text = html.unescape((job.cwd / "unsure" / name).read_text(encoding="utf-8"))
    caption = re.sub(r'(aria-label|alt)="[^"]*"', "", text)

    assert caption.count(said) == 1


def test_metrics_that_a_rule_was_chosen_for_are_called_as_those_of_its_kind():
    assert words.metric("accuracy", LABELS) == "label accuracy"
    assert words.metric("accuracy", CLASSES) == "accuracy"


def test_an_explanation_says_where_the_predictor_gives_no_answer(job):
    predictor = predictor_of(job, "unsure")
    texts = [text for text, _ in RARE]
    is_none = [label is None for label in predictor.predict(texts)]

    for wanted in (True, False):
        why = predictor.explain(texts[is_none.index(wanted)])
        assert why.abstains == wanted
        assert (UNSURE in str(why)) == wanted
        assert (UNSURE in why.to_html()) == wanted


def test_coverage_and_error_are_those_of_the_scored_rows(job):
    report = report_of(job, "unsure")
    test = report["decision"]["abstention"]["test"]

    points = test["points"]
    assert points[-1]["error"] == 1 - report["metrics"]["test"]["accuracy"]["value"]
    lowest = report["decision"]["min_confidence"]
    answered = [one for one in points if one["confidence"] >= lowest]
    assert test["coverage"]["value"] == pytest.approx(
        answered[-1]["coverage"], abs=0.05
    )
    assert test["error"]["n"] == round(
        test["coverage"]["value"] * test["coverage"]["n"]
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--costs", "none.csv"), "--costs none.csv cannot be read"),
        (("--max-error", "2"), "--max-error is 2.0"),
        (("--thresholds", "jaccard"), "Pass one of: accuracy, f1_macro"),
        (("--max-error", "0.0001"), "cannot be promised"),
    ],
)
def test_what_cannot_be_decided_ends_the_run_with_a_sentence(
    job, tiny_encoder, options, said
):
    done = job.train("rare.tsv", tiny_encoder, "--C", "0.01", *options)

    assert done.status in {30, 40}
    assert said in done.err
    assert "Traceback" not in done.err


def test_baselines_decide_by_the_same_costs(job):
    report = report_of(job, "costs")
    test, (neg, pos) = report["decision"]["gain"]["test"], report["confusion"]
    floor = test["baselines"]["majority"]

    assert floor["answer"] == "pos"  # one of 1000 is dearer than all of 1
    always = sum(neg) * 1 / (sum(neg) + sum(pos))
    assert floor["value"]["value"] == pytest.approx(always)
    assert floor["difference"]["value"] == pytest.approx(
        test["value"]["value"] - always
    )
    assert report["summary"].splitlines()[1].startswith("mean cost")

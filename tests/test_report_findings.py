import pytest

from pipeline.report import advice, conclusions, data, findings, page, tables, words
from tests.reports import make_report, of_value, undefined


def calibrated(ece, gap):
    return {
        "ece": ece,
        "bins": [{"n": 10, "confidence": 0.8 + gap, "accuracy": 0.8}],
    }


@pytest.mark.parametrize(
    ("gap", "low", "said"),
    [
        (0.1, 0.05, "on average the model is too sure of itself"),
        (-0.1, 0.05, "on average the model is less sure than it could be"),
        (0.005, 0.05, "on average the model is as sure as it should be"),
        (0.1, 0.0, "no more than chance can do"),
    ],
)
def test_calibration_says_in_which_direction_it_errs(gap, low, said):
    ece = {"value": 0.1, "ci95": [low, 0.2], "n": 10}

    sentence = findings.calibration(calibrated(ece, gap))

    assert sentence == (
        f"Expected calibration error 0.100 ({low:.3f} to 0.200): {said}."
    )


def test_slices_names_the_weakest():
    report = make_report(2, 400)

    assert findings.slices(report).startswith(
        "Weakest: words that no training text has: a third or more,"
    )
    for row in report["slices"]:
        row["is_weak"] = False
    assert findings.slices(report) == "No slice is clearly worse than the other rows."


def test_confusion_of_perfect_answers_has_no_pair():
    report = {"classes": ["a", "b"], "confusion": [[3, 0], [0, 4]]}

    assert findings.pairs(report) == []
    assert "No scored row" in findings.confusion(report)


def test_pairs_are_the_most_frequent_first():
    report = {
        "classes": ["a", "b", "c"],
        "confusion": [[9, 1, 5], [0, 9, 0], [7, 0, 9]],
    }

    found = [
        (one["label"], one["predicted"], one["n"]) for one in findings.pairs(report)
    ]

    assert found == [("c", "a", 7), ("a", "c", 5), ("a", "b", 1)]


def test_verdict_without_a_comparison_gives_the_reason():
    report = {"comparison": {"majority": {"accuracy": undefined(3)}}}

    said = conclusions.verdict(report, "majority")

    assert said == "Not compared with majority class: too few rows."


@pytest.mark.parametrize(
    ("figure", "in_points", "as_number"),
    [
        (
            of_value(-0.03, 9),
            "-3.0 points (95 % -5.0 to -1.0)",
            "-0.030 (-0.050 to -0.010)",
        ),
        (undefined(9), "– (too few rows)", "– (too few rows)"),
        ({"value": 0.5, "ci95": None, "n": 9}, "+50.0 points", "0.500"),
    ],
)
def test_differences_are_said_with_their_sign(figure, in_points, as_number):
    assert findings.points(figure) == in_points
    assert findings.difference(figure) == as_number


@pytest.mark.parametrize(
    ("p", "said"),
    [
        (0.0004, "McNemar p = 0.0004: unlikely by chance alone"),
        (0.3, "McNemar p = 0.3: may be chance"),
        (None, "McNemar's test says nothing"),
    ],
)
def test_mcnemar_in_words(p, said):
    assert findings.mcnemar({"b": 1, "c": 2, "p": p}) == said


def test_clusters_are_told_only_where_rows_are_pieces_of_each_other():
    split = {"n_test": 9}
    nine, seven = ({"n": n, "method": "of words"} for n in (9, 7))

    assert findings.clusters({"split": split, "clusters": None}) is None
    assert findings.clusters({"split": split, "clusters": nine}) is None
    assert (
        findings.clusters({"split": split, "clusters": seven})
        == "The 9 scored rows form 7 clusters: of words."
    )


def test_thresholds_names_the_one_with_the_best_f1():
    point = {"precision": None, "recall": 0.5, "accuracy": 0.5, "share_positive": 0.1}
    section = {
        "positive": "yes",
        "points": [
            {**point, "threshold": 0.2, "f1": 0.4},
            {**point, "threshold": 0.3, "f1": 0.6},
            {**point, "threshold": 0.9, "f1": None},
        ],
    }

    said = findings.thresholds(section)

    assert "F1 of “yes” is highest, 0.600, at threshold 0.30 (precision –" in said
    assert findings.thresholds({"positive": "yes", "points": []}).startswith("No ")


def test_encoding_is_told_with_its_memory_and_without_rows():
    none = {"rows_encoded": 0, "peak_mb": None}
    some = {
        "rows_encoded": 1200,
        "peak_mb": 512.25,
        "rows_per_s": 10.0,
        "tokens_per_s": 200.0,
        "padding_share": 0.25,
    }

    assert words.encoding(none) == "0 rows encoded, all were in the store"
    assert words.encoding(some) == (
        "1,200 rows encoded at 10.0 rows/s (200.0 tokens/s; of all tokens computed 0.250 are padding); "
        "the encoding process held 512.2 MB at most"
    )


def tenth(low, error, half):
    figure = {"value": error, "ci95": [error - half, error + half], "n": 20}
    return {"low": low, "high": low + 0.1, "answer": low + 0.05, "error": figure}


def test_values_name_the_tenth_that_is_clearly_off_most():
    tenths = [tenth(0.0, 0.3, 0.4), tenth(0.1, -0.2, 0.1), tenth(0.2, 0.1, 0.05)]

    said = findings.values({"residuals": tenths})

    assert said == (
        "Of the tenths of the answers, those from 0.100 to 0.200 are off most: 0.200 too low on average (95 % 0.100 to "
        "0.300)."
    )
    assert findings.values({"residuals": tenths[:1]}) == (
        "No tenth of the answers is clearly off on average."
    )


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (None, 0.5),
        ({"costs": [[0, 10], [1, 0]]}, 10 / 11),
        ({"costs": None, "thresholds": [0.6, 0.4]}, 0.4),
    ],
)
def test_the_threshold_in_use_is_that_of_the_rule(rule, expected):
    assert findings.threshold({"decision": rule}) == pytest.approx(expected)


def test_costs_alone_are_not_said_to_be_chosen():
    gain = {"metric": "cost", "plain": 1.2, "nested": 0.4, "optimistic": 0.4}

    said = findings._out_of_fold(gain, "the mean cost of an answer")

    assert said == (
        "Out of fold, the mean cost of an answer is 0.4000 with the costs, and 1.2000 without them."
    )


def test_slices_of_few_rows_stand_in_the_table_alone():
    report = page.whole(make_report(2))
    first, *others = report["slices"]
    first["n"] = 9

    svg = page.drawings(report)["slices"].svg

    assert len(tables.slices(report)) == 1 + len(others)
    assert first["name"] not in svg
    assert others[0]["name"] in svg


def test_a_fit_without_iterations_is_solved_directly():
    report = page.whole(make_report(2))
    report["head"]["n_iter"] = 0

    assert "; solved directly (lbfgs)" in dict(tables.made(report))["head"]


def test_rare_classes_are_named_and_thresholds_exclude_weights():
    report = make_report(2)
    report["per_class"][0].update(n=10, recall=0.1)
    plain = list(advice._classes({**report, "decision": None}))

    assert plain == [
        "1 rare class is missed more often than found, “negative”: try --class-weight balanced."
    ]
    assert next(iter(advice._classes(report))).endswith(
        "“negative”: label more of them."
    )


def test_of_labels_a_single_one_is_not_hidden():
    counts = {f"label{i:02d}": 1 for i in range(12)}
    one_more = dict(list(counts.items())[:11])

    assert "more labels" not in data._counts(one_more, 11)
    assert data._counts(counts, 12).endswith("and 2 more labels")

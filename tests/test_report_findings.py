import pytest

from pipeline.report import findings, words
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

    said = words.verdict(report, "majority")

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

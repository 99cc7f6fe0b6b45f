import pytest

from pipeline.report.advice import MOST, advise


def figure(value, low, high, n=1_000):
    return {"value": value, "ci95": [low, high], "n": n}


@pytest.fixture
def report():
    """A report of which nothing stands out; each test changes one thing."""
    return {
        "metrics": {"test": {"accuracy": figure(0.9, 0.88, 0.92)}},
        "comparison": {"tfidf_logreg": {"accuracy": figure(0.05, 0.02, 0.08)}},
        "split": {"overlap": {"identical": 1, "contained": 2, "n": 1_000}},
        "unknown_labels": 0,
        "head": {"converged": True, "n_iter": 9, "C": 0.1, "class_weight": "none"},
        "encoder": {
            "pooling": "cls",
            "layer": -1,
            "rows": 5_000,
            "rows_cut": 3,
            "max_length": 128,
        },
        "label_issues": {"n": 3, "n_looked_at": 4_000, "rows": [{}] * 3},
        "learning_curve": {"forecast": {"points": 1.0, "more_labels": None}},
        "slices": [
            {
                "group": "length",
                "name": "more than 30 tokens",
                "n": 200,
                "difference": figure(-0.031, -0.08, 0.02),
                "is_weak": False,
            }
        ],
        "per_class": [
            {"n": 500, "recall": 0.9},
            {"n": 400, "recall": 0.9},
            {"n": 100, "recall": 0.8},
        ],
        "calibration": {"ece": figure(0.02, 0.0, 0.03), "bins": []},
    }


def test_where_nothing_stands_out_advice_says_so(report):
    assert advise(report) == [
        "Nothing stands out: look at the most confident errors, then try it on texts of your own."
    ]


def changes(report):
    """Yield a part of the report to change, and how its advice begins."""
    yield (
        {"split": {"overlap": {"identical": 30, "contained": 40, "n": 1_000}}},
        "7.0 % of the scored texts stand in training texts, so the figures flatter",
    )
    yield {"unknown_labels": 1}, "1 scored row has a label that no training row has"
    yield {"unknown_labels": 4}, "4 scored rows have labels that no training row has"
    yield (
        {"head": {**report["head"], "converged": False, "n_iter": 3_000}},
        "The fit had not converged after 3,000 iterations: pass a smaller --C than 0.1.",
    )
    worse = {"tfidf_logreg": {"accuracy": figure(-0.051, -0.072, -0.03)}}
    yield (
        {"comparison": worse},
        "TF-IDF + logistic regression is better by 5.1 points: try --pooling mean; until then, use TF-IDF.",
    )
    unsure = {"tfidf_logreg": {"accuracy": figure(0.01, -0.01, 0.03)}}
    yield (
        {"comparison": unsure},
        "The difference to TF-IDF + logistic regression, +1.0 points, may be chance: try --pooling mean.",
    )
    yield (
        {"label_issues": {"n": 90, "n_looked_at": 4_000, "rows": [{}] * 20}},
        "Read the likely label errors: 90 of 4,000 training labels contradict",
    )
    yield (
        {"learning_curve": {"forecast": {"points": 1.0, "more_labels": 5_700}}},
        "Label more texts: about 5,700 more are forecast to bring 1 point of accuracy.",
    )
    yield (
        {"slices": [{**report["slices"][0], "is_weak": True}]},
        "Texts with length “more than 30 tokens” are answered worse than the others by 3.1 points (200 rows)",
    )
    yield (
        {"per_class": [{"n": 900, "recall": 0.9}, {"n": 100, "recall": 0.4}]},
        "1 rare class is missed more often than found: try --class-weight balanced.",
    )
    yield (
        {"encoder": {**report["encoder"], "rows_cut": 400}},
        "400 of 5,000 texts are cut at 128 tokens: try --max-length 256.",
    )
    bins = [{"n": 1_000, "confidence": 0.97, "accuracy": 0.9}]
    yield (
        {"calibration": {"ece": figure(0.07, 0.06, 0.09), "bins": bins}},
        "Do not take probabilities at their word: they are off by 7.0 points on average, too sure.",
    )
    yield (
        {"metrics": {"test": {"accuracy": figure(0.7, 0.6, 0.8, 40)}}},
        "Score more rows: 40 leave accuracy anywhere from 0.600 to 0.800.",
    )


@pytest.mark.parametrize("i", range(13))
def test_one_thing_that_stands_out_gives_its_sentence(report, i):
    change, begins = list(changes(report))[i]

    (said,) = advise({**report, **change})

    assert said.startswith(begins)


def test_advice_is_at_most_five_sentences_the_gravest_first(report):
    everything = dict(report)
    for change, _ in reversed(list(changes(report))):
        everything |= change

    found = advise(everything)

    assert len(found) == MOST
    assert "flatter" in found[0]


def test_a_model_that_contradicts_every_other_label_says_nothing_of_labels(report):
    issues = {"n": 2_000, "n_looked_at": 4_000, "rows": [{}] * 20}

    assert advise({**report, "label_issues": issues}) == advise(report)


@pytest.mark.parametrize("part", ["label_issues", "learning_curve"])
def test_parts_that_cannot_be_said_give_no_advice(report, part):
    assert len(advise({**report, part: None})) == 1

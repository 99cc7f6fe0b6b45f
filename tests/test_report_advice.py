import pytest

from pipeline.report.advice import MOST, advise


def figure(value, low, high, n=1_000):
    return {"value": value, "ci95": [low, high], "n": n}


@pytest.fixture
def report():
    """A report of which nothing stands out; each test changes one thing."""
    return {
        "classes": ["a", "b", "c"],
        "dataset": {},
        "published": [],
        "metrics": {
            "test": {
                "accuracy": figure(0.9, 0.88, 0.92),
                "roc_auc": figure(0.95, 0.93, 0.97),
            }
        },
        "baselines": {"tfidf_logreg": {"accuracy": figure(0.85, 0.83, 0.87)}},
        "comparison": {
            "tfidf_logreg": {"accuracy": figure(0.05, 0.02, 0.08)},
            "majority": {"log_loss": figure(-0.4, -0.5, -0.3)},
        },
        "split": {
            "overlap": {"identical": 1, "contained": 2, "n": 1_000},
            "n_test": 1_000,
        },
        "unknown_labels": 0,
        "head": {"converged": True, "n_iter": 9, "C": 0.1, "class_weight": "none"},
        "encoder": {
            "pooling": "cls",
            "layer": -1,
            "rows": 5_000,
            "rows_cut": 3,
            "max_length": 128,
        },
        "label_issues": {"n": 3, "n_looked_at": 4_000, "error_rate": 0.05},
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
            {"label": "a", "n": 500, "predicted": 500, "recall": 0.9},
            {"label": "b", "n": 400, "predicted": 400, "recall": 0.9},
            {"label": "c", "n": 100, "predicted": 100, "recall": 0.8},
        ],
        "calibration": {"ece": figure(0.02, 0.0, 0.03), "bins": []},
    }


def test_where_nothing_stands_out_advice_says_so(report):
    assert advise(report) == [
        "Nothing stands out: look at the most confident errors, then try it on texts of your own."
    ]


def changes(report):
    """Yield a part of the report to change, and how its advice begins; nothing where there is none."""
    rare = report["per_class"][2]
    yield (
        {
            "split": {
                **report["split"],
                "overlap": {"identical": 30, "contained": 40, "n": 1_000},
            }
        },
        "7.0 % of the scored texts stand in training texts, so the figures flatter",
    )
    yield {"unknown_labels": 1}, "1 scored row has a label that no training row has"
    yield {"unknown_labels": 4}, "4 scored rows have labels that no training row has"
    yield (
        {"head": {**report["head"], "converged": False, "n_iter": 3_000}},
        "The fit had not converged after 3,000 iterations: pass a smaller --C than 0.1.",
    )
    comparison, test = report["comparison"], report["metrics"]["test"]
    worse = {"tfidf_logreg": {"accuracy": figure(-0.051, -0.072, -0.03)}}
    yield (
        {"comparison": {**comparison, **worse}},
        "TF-IDF + logistic regression is better by 5.1 points: try --pooling mean; until then, use TF-IDF.",
    )
    unsure = {"tfidf_logreg": {"accuracy": figure(0.01, -0.01, 0.03)}}
    yield (
        {"comparison": {**comparison, **unsure}},
        "The difference to TF-IDF + logistic regression, +1.0 points, may be chance: try --pooling mean.",
    )
    yield (
        {"label_issues": {**report["label_issues"], "n": 90}},
        "Read the likely label errors: 90 of 4,000 training labels contradict",
    )
    yield (
        {"learning_curve": {"forecast": {"points": 1.0, "more_labels": 5_700}}},
        "Label more texts: about 5,700 more are forecast to bring 1 point of accuracy.",
    )
    yield (
        {"slices": [{**report["slices"][0], "is_weak": True}]},
        "Length: more than 30 tokens – such texts are answered worse than the others by 3.1 points (200 rows)",
    )
    yield (
        {"per_class": [*report["per_class"][:2], {**rare, "recall": 0.4}]},
        "1 rare class is missed more often than found, “c”: try --class-weight balanced.",
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
        {"metrics": {"test": {**test, "accuracy": figure(0.7, 0.6, 0.8, 40)}}},
        "Score more rows: of 40 rows accuracy may be anything from 0.600 to 0.800.",
    )
    yield (
        {"metrics": {"test": {**test, "roc_auc": figure(0.06, 0.0, 0.18)}}},
        "ROC AUC 0.060 (0.000 to 0.180) is clearly below 0.5",
    )
    one = [{**row, "predicted": 1_000 * (row is rare)} for row in report["per_class"]]
    yield (
        {"per_class": one},
        "Every scored row gets the label “c”: pass a larger --C",
    )
    majority = {"majority": {"log_loss": figure(0.1, 0.05, 0.2)}}
    yield (
        {"comparison": {**comparison, **majority}},
        "Probabilities are worse than the shares of the classes alone (log loss 0.100 (0.050 to 0.200) above",
    )
    yield (
        {"dataset": {"limit": 2_000}},
        "Train on all rows: --limit 2000 leaves out every training row behind the first 2,000.",
    )
    published = [
        {"metric": "accuracy", "value": 0.913},
        {"metric": "accuracy", "value": 0.91},
        {"metric": "accuracy", "value": 0.6},
    ]
    yield (
        {"published": [*published, {"metric": "macro F1", "value": 0.99}]},
        "",
    )
    yield (
        {"published": [{"metric": "accuracy", "value": 0.95}]},
        "Published accuracies on this data are higher, up to 0.950: try another --encoder.",
    )


@pytest.mark.parametrize("i", range(19))
def test_one_thing_that_stands_out_gives_its_sentence(report, i):
    change, begins = list(changes(report))[i]

    (said,) = advise({**report, **change})

    assert said.startswith(begins or "Nothing stands out")


def test_every_change_is_tested(report):
    assert len(list(changes(report))) == 19


def test_a_weak_slice_that_is_most_rows_is_no_advice(report):
    weak = {**report["slices"][0], "is_weak": True, "n": 760}

    assert advise({**report, "slices": [weak]}) == advise(report)


def test_advice_is_at_most_five_sentences_the_gravest_first(report):
    everything = dict(report)
    for change, _ in reversed(list(changes(report))):
        everything |= change

    found = advise(everything)

    assert len(found) == MOST
    assert "flatter" in found[0]


def test_a_weak_model_says_nothing_of_labels(report):
    issues = {"n": 900, "n_looked_at": 4_000, "error_rate": 0.2}

    assert advise({**report, "label_issues": issues}) == advise(report)


@pytest.mark.parametrize("part", ["label_issues", "learning_curve"])
def test_parts_that_cannot_be_said_give_no_advice(report, part):
    assert len(advise({**report, part: None})) == 1


@pytest.mark.parametrize(
    ("share", "difference", "expected"),
    [
        (0.0, figure(0.0, 0.0, 0.0), "Pass a larger --max-loss, or use TrainHybrid"),
        (0.5, figure(-0.01, -0.02, -0.005), "Pass a lower --max-loss than 0.25"),
        (0.5, figure(-0.001, -0.004, 0.002), None),
    ],
)
def test_a_cascade_that_words_answer_too_much_or_nothing_of(
    report, share, difference, expected
):
    report["cascade"] = {
        "share": share,
        "difference": difference,
        "fit": {"max_loss": 0.0025},
    }

    found = [sentence for sentence in advise(report) if "--max-loss" in sentence]

    assert [sentence.startswith(str(expected)) for sentence in found] == (
        [True] if expected else []
    )

"""Bad labels and splits as users meet them: one message, where to look, and nothing published.

Named after rows B30 to B39 of the list of faults; more tests of these rows stand in
``test_faults_b_labels_and_split.py``.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tasks
from pipeline.config import DatasetSpec, HeadSpec, SplitSpec
from pipeline.datasets.table import Table
from pipeline.errors import DataError
from pipeline.evaluation.metrics import Scored, differences, figures, measure
from pipeline.heads.logreg import fit_head
from pipeline.splitting import choose_split, make_folds, random_split
from tests.conftest import Done, Job, review_rows, write_tsv
from tests.tables import labelled, make, opened, typed

ROWS = review_rows()


def write_set(folder: Path, **splits: list[tuple[str, str]]) -> Path:
    folder.mkdir(parents=True)
    for split, rows in splits.items():
        write_tsv(folder / f"{split}.tsv", rows)
    return folder


def relabelled(rows: list[tuple[str, str]], label: str) -> list[tuple[str, str]]:
    return [(f"a {text}", label) for text, _ in rows]


def refusal(job: Job, done: Done, status: int = 30) -> str:
    """Assert that a command gave one message and published no split; return the message."""
    assert done.status == status, done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not job.stages().get("splits")
    errors = [line for line in done.err.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, done.err
    return errors[0]


def test_b30_every_label_that_train_lacks_is_listed_with_its_count(job):
    test = [("x", "maybe")] * 2 + [("y", "who knows")] + ROWS[:30]
    folder = write_set(job.cwd / "set", train=ROWS, test=test)

    message = refusal(job, job.run("SplitDataset", "--dataset", folder))

    assert "Labels of the test rows that no training row has: 'maybe' (2), " in message
    assert "'who knows' (1). Add training rows with them, or remove them." in message
    assert not job.stages().get("datasets")


@pytest.mark.parametrize(("n_known", "is_refused"), [(99, True), (100, False)])
def test_b30_one_percent_of_a_split_is_too_much(n_known, is_refused, caplog):
    raws = {
        "train": labelled(("x", 3), ("y", 3)),
        "dev": labelled(("x", n_known), ("z", 1)),
    }

    if is_refused:
        with pytest.raises(DataError, match=r"no training row has: 'z' \(1\)"):
            make(**raws)
    else:
        make(**raws)
        assert "'z' (1); these rows count as wrong" in caplog.text


def test_b30_unknown_labels_are_wrong_but_leave_log_loss_and_auc_alone():
    """Two classes; the fourth row has a label that no training row has."""
    proba = np.array([[0.75, 0.25], [0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    scored, known = (
        Scored(np.array([0, 1, 0, -1]), proba),
        Scored(np.array([0, 1, 0]), proba[:3]),
    )

    found: dict[str, Any] = figures(measure(scored))
    without: dict[str, Any] = figures(measure(known))

    assert found["accuracy"]["value"] == 3 / 4
    # class 0: 2 of 2 found, but said 3 times; class 1: perfect
    assert found["f1_macro"]["value"] == pytest.approx((2 * 2 / (2 + 3) + 1) / 2)
    for name in ("log_loss", "roc_auc"):
        assert found[name]["value"] == without[name]["value"]
        assert (found[name]["n"], found["accuracy"]["n"]) == (3, 4)


def test_b31_official_without_any_labelled_row_says_so(job):
    folder = write_set(
        job.cwd / "set",
        train=ROWS,
        dev=relabelled(ROWS[:9], "-1"),
        test=relabelled(ROWS[:9], "-1"),
    )

    command = ("SplitDataset", "--dataset", folder, "--split")
    message = refusal(job, job.run(*command, "official"))
    done = job.run(*command, "auto")

    assert "needs labelled test or dev rows; only train rows have labels" in message
    assert "Pass --split random" in message
    assert "SplitDataset: random, " in done.err


@pytest.mark.parametrize("label", [-1, -1.0, "-1"])
def test_b31_minus_one_marks_a_hidden_label_in_any_form(label):
    dev = typed(["c", "d"], [label, label])

    table, ledger = make(train=labelled(("x", 3), ("y", 3)), dev=dev)

    assert set(table.splits) == {"train"}
    assert ledger["splits"]["dev"]["unlabelled"] is True


def test_b31_some_hidden_labels_are_refused_with_their_lines(job):
    test = [*ROWS[:2], ("a story", "-1"), *ROWS[-2:], ("a plot", "-1")]
    folder = write_set(job.cwd / "set", train=ROWS, test=test)

    message = refusal(job, job.run("SplitDataset", "--dataset", folder))

    assert "2 rows of " in message
    assert "test.tsv have the label -1, which marks rows without a label" in message
    assert "lines 4, 7. Remove them, or name the class otherwise" in message


def test_b32_labels_of_two_types_are_refused_with_a_row_of_each():
    rows = [{"text": f"t {i}", "label": label} for i, label in enumerate([1, 0, "1"])]

    with pytest.raises(
        DataError, match=r"type int, str in my\.jsonl, .*: lines 1 \(int\), 3 \(str\)\."
    ):
        make(train=opened("\n".join(map(json.dumps, rows)), "jsonl"))


def test_b32_labels_of_two_types_in_two_files_are_refused_with_a_line():
    with pytest.raises(DataError, match=r"in my\.tsv, .*: lines 2 \(str\)\. Convert"):
        make(train=typed(["a", "b"], [0, 1]), dev=opened("text\tlabel\nc\t1\n"))


def test_b32_fractions_are_refused_where_a_missing_label_made_them(job):
    """pandas turns whole numbers into floats for one missing cell."""
    frame = pd.DataFrame({"text": ["a", "b", "c"], "label": [1, 0, None]})
    assert frame["label"].dtype == float
    path = job.cwd / "r.jsonl"

    frame.to_json(path, orient="records", lines=True)
    missing = refusal(job, job.run("PrepareDataset", "--dataset", path))
    frame.dropna().to_parquet(job.cwd / "r.parquet")
    floats = refusal(job, job.run("PrepareDataset", "--dataset", job.cwd / "r.parquet"))

    assert "1 rows of " in missing
    assert "have no label: lines 3. Label or remove them." in missing
    assert "Labels are of type float in " in floats
    assert (
        "lines 1 (float). Convert the label column, or pass --task regression" in floats
    )


@pytest.mark.parametrize(
    ("form", "content", "dtype", "labels"),
    [
        ("tsv", "text\tlabel\na\t1\nb\t0\n", object, ["1", "0"]),
        (
            "jsonl",
            '{"text":"a","label":1}\n{"text":"b","label":0}\n',
            np.int64,
            [1, 0],
        ),
        (
            "jsonl",
            '{"text":"a","label":true}\n{"text":"b","label":false}\n',
            np.int64,
            [1, 0],
        ),
    ],
)
def test_b32_labels_keep_the_type_they_are_declared_with(form, content, dtype, labels):
    table, _ = make(train=opened(content, form))

    assert table.labels.dtype == dtype
    assert table.labels.tolist() == labels


def test_b33_nan_as_a_number_is_missing_and_as_a_word_is_a_class():
    rows = '{"text":"a","label":1}\n{"text":"b","label":NaN}\n{"text":"c","label":0}\n'

    with pytest.raises(DataError, match=r"1 rows of .* have no label: lines 2\."):
        make(train=opened(rows, "jsonl"))
    table, _ = make(train=opened("text\tlabel\na\tnan\nb\tNone\n"))
    assert table.labels.tolist() == ["nan", "None"]


@pytest.mark.parametrize(
    ("options", "rows"),
    [
        ({"limit": 3}, [("a", "x")] * 3 + [("b", "y")] * 3),
        ({"empty_text": "drop"}, [("a", "x")] * 3 + [(" ", "y")] * 3),
    ],
)
def test_b34_one_class_that_is_left_is_refused(options, rows):
    content = "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows)

    with pytest.raises(DataError, match=r"All 3 training rows have the label 'x'"):
        make(DatasetSpec(**options), train=opened(content))


def test_b35_a_class_missing_from_the_scored_rows_is_undefined_in_strict_json():
    proba = np.array([[0.75, 0.25, 0.0], [0.5, 0.25, 0.25], [0.25, 0.5, 0.25]])
    one = measure(Scored(np.array([0, 0, 0]), proba))
    two = measure(Scored(np.array([0, 0, 1]), proba))

    for figure in (figures(one)["roc_auc"], differences(one, one)["roc_auc"]):
        assert (figure["value"], figure["ci95"], figure["n"]) == (None, None, 3)
        assert figure["reason"] == "the scored rows have fewer than two known classes"
    auc: dict[str, Any] = figures(two)
    assert auc["roc_auc"]["value"] == 1.0  # over the classes that occur
    json.dumps([figures(one), figures(two)], allow_nan=False)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_b36_one_row_in_a_thousand_is_fitted_without_a_warning(class_weight):
    """Warnings are errors in these tests."""
    texts = [f"text {i}" for i in range(2_000)]
    labels = np.array(["rare" if i % 1_000 == 7 else "usual" for i in range(2_000)])
    features = np.random.default_rng(0).normal(size=(2_000, 4)).astype(np.float32)
    features[labels == "rare"] += 3
    folds = make_folds(texts, labels.tolist(), n_folds=5, seed=42)

    head = fit_head(
        features, labels.astype(object), HeadSpec(class_weight=class_weight), folds
    )

    proba = head.probabilities(features)
    y = (labels == "usual").astype(np.int64)
    json.dumps(figures(measure(Scored(y, proba))), allow_nan=False)
    assert head.classes == ["rare", "usual"]
    assert proba[labels == "rare", 0].min() > proba[labels == "usual", 0].mean()


@pytest.mark.parametrize("split", ["auto", "official", "random"])
def test_b37_a_share_that_is_none_is_refused_for_every_split(job, tiny_encoder, split):
    write_tsv(job.cwd / "reviews.tsv", ROWS)

    done = job.train(
        "reviews.tsv", tiny_encoder, "--split", split, "--test-fraction", "nan"
    )

    message = refusal(job, done, 40)
    assert (
        "--test-fraction is nan, expected a share strictly between 0 and 1" in message
    )
    left = {p.name for p in job.artifacts.iterdir()}
    assert left - {"digests.json"} == {"runs.jsonl"}
    assert job.ledger()[-1]["status"] == "failed"


def test_b38_a_class_of_one_row_is_named_and_nothing_is_split(job):
    write_tsv(job.cwd / "r.tsv", [*ROWS, ("the film", "odd one")])

    message = refusal(job, job.run("SplitDataset", "--dataset", "r.tsv"))

    assert "Label 'odd one' has a single row, but a random split needs one" in message
    assert "Add rows, or remove it." in message


def test_b38_a_class_whose_rows_belong_together_is_named():
    texts = [f"text {i}" for i in range(8)] + ["the odd film is here", "the odd film"]
    labels = ["a"] * 4 + ["b"] * 4 + ["c"] * 2

    with pytest.raises(
        DataError, match=r"No row with label 'c' is left to .*Pass data with a test fi"
    ):
        choose_split(texts, labels, ["train"] * 10, SplitSpec())


def test_b38_two_rows_of_a_class_are_enough():
    texts, labels = [f"text {i}" for i in range(10)], [*"aaaabbbbcc"]

    fit, test = random_split(texts, labels, test_fraction=0.25, seed=42)

    for side in (fit, test):
        assert {labels[i] for i in side} == {"a", "b", "c"}


def test_b39_the_seed_is_in_the_key_and_the_place_of_the_file_is_not(
    tmp_path, monkeypatch
):
    keys = {}
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        monkeypatch.chdir(tmp_path / place)
        write_tsv(Path("reviews.tsv"), ROWS)
        for seed in (1, 2):
            task = tasks.SplitDataset(dataset="reviews.tsv", seed=seed)
            keys[place, seed] = task.key

    assert keys["here", 1] == keys["there", 1]
    assert keys["here", 2] == keys["there", 2]
    assert keys["here", 1] != keys["here", 2]


def test_b39_the_same_texts_are_scored_whatever_the_format_and_order(job):
    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    frame.to_csv(job.cwd / "r.csv", index=False)
    frame[::-1].to_json(job.cwd / "r.jsonl", orient="records", lines=True)
    frame.sample(frac=1, random_state=1).to_parquet(job.cwd / "r.parquet")
    scored = []

    for name in ("r.csv", "r.jsonl", "r.parquet"):
        task = ("SplitDataset", "--dataset", name, "--artifacts", f"of-{name}")
        done = job.run(*task)
        assert done.status == 0, done.err
        (split,) = (job.cwd / f"of-{name}" / "splits").iterdir()
        (data,) = (job.cwd / f"of-{name}" / "datasets").iterdir()
        texts = Table.load(data).texts
        scored.append({texts[i] for i in np.load(split / "test.npy")})

    assert len(scored[0]) == 30
    assert scored[0] == scored[1] == scored[2]

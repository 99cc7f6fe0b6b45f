"""Bad labels and splits, one test or more for each row B30 to B39 of the list of faults."""

import json
from typing import Any

import numpy as np
import pytest

from pipeline.config import DatasetSpec, SplitSpec
from pipeline.errors import ConfigError, DataError
from pipeline.evaluation.metrics import Scored, figures, measure
from pipeline.splitting import choose_split, random_split
from tests.conftest import NEGATIVE, POSITIVE, review_rows, write_tsv
from tests.tables import labelled, make, opened, typed


def test_b30_a_label_that_train_lacks_is_refused_with_its_count():
    with pytest.raises(
        DataError,
        match=r"Labels of the dev rows that no training row has: 'maybe' \(2\)\. Add tr",
    ):
        make(
            train=labelled(("yes", 5), ("no", 5)),
            dev=labelled(("yes", 9), ("maybe", 2)),
        )


def test_b30_rare_labels_that_train_lacks_count_as_wrong(job, tmp_path, tiny_encoder):
    rows = review_rows()
    folder = tmp_path / "set"
    folder.mkdir()
    write_tsv(folder / "train.tsv", rows)
    scored = [(f"a {text}", label) for text, label in rows]
    write_tsv(folder / "test.tsv", [*scored, ("a good film", "maybe")])

    done = job.train(folder, tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    assert "no training row has: 'maybe' (1); these rows count as wrong" in done.err
    report = job.report()
    metrics = report["metrics"]["test"]
    assert report["unknown_labels"] == 1
    assert metrics["accuracy"]["n"] == 121
    hits = sum(report["confusion"][i][i] for i in range(2))
    assert metrics["accuracy"]["value"] == pytest.approx(hits / 121)
    assert metrics["log_loss"]["n"] == metrics["roc_auc"]["n"] == 120


def test_b31_a_split_whose_labels_are_all_minus_one_is_unlabelled(
    job, tmp_path, tiny_encoder
):
    rows = review_rows()
    folder = tmp_path / "set"
    folder.mkdir()
    write_tsv(folder / "train.tsv", rows)
    write_tsv(folder / "dev.tsv", [(f"a {text}", label) for text, label in rows[::4]])
    write_tsv(folder / "test.tsv", [(f"the {text}", "-1") for text, _ in rows])

    done = job.train(folder, tiny_encoder, "--C", "1", "--split", "official")

    assert done.status == 0, done.err
    assert job.report()["split"]["scored"] == "dev"
    assert "30 dev rows scored" in done.out
    assert "test 120 (no labels, not used)" in done.out


@pytest.mark.parametrize("split", ["train", "dev"])
def test_b31_some_rows_with_minus_one_are_refused_with_their_lines(split):
    raws: dict[str, Any] = {"train": labelled(("x", 3), ("y", 3))}
    raws[split] = labelled(("x", 2), ("y", 2), ("-1", 2))

    with pytest.raises(
        DataError, match=r"2 rows of .* have the label -1, .*: lines 6, 7\. Remove"
    ):
        make(**raws)


def test_b31_training_rows_without_any_label_are_refused():
    with pytest.raises(DataError, match=r"Every label of .* is -1.* Pass a training"):
        make(train=labelled(("-1", 4)))


def test_b32_numbers_in_text_files_are_the_words_they_are():
    table, _ = make(train=opened("text\tlabel\na\t1\nb\t1.0\nc\t01\n"))

    assert table.labels.tolist() == ["1", "1.0", "01"]


@pytest.mark.parametrize("labels", [[0.0, 1.0], [0.5, 1.5]])
def test_b32_typed_labels_with_a_fraction_are_no_classes(labels):
    with pytest.raises(
        DataError, match=r"Labels are of type float .*Convert the label column"
    ):
        make(DatasetSpec(task="classification"), train=typed(["a", "b"], labels))


def test_b32_words_and_numbers_together_are_refused():
    with pytest.raises(DataError, match=r"Labels are of type int, str"):
        make(train=typed(["a", "b", "c"], [1, "1", 1]))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_b33_a_missing_label_is_refused_with_its_row(missing):
    with pytest.raises(
        DataError, match=r"2 rows of .* have no label: lines 2, 4\. Label or remove"
    ):
        make(train=typed(list("abcd"), ["x", missing, "y", missing]))


def test_b33_an_empty_label_in_a_text_file_is_refused_with_its_line():
    with pytest.raises(DataError, match=r"1 rows of .* have no label: lines 3\."):
        make(train=opened("text\tlabel\na\tx\nb\t \nc\ty\n"))


def test_b34_one_class_is_refused_before_anything_is_encoded(
    job, tmp_path, tiny_encoder
):
    path = write_tsv(tmp_path / "r.tsv", [(text, "pos") for text, _ in review_rows()])

    done = job.train(path, tiny_encoder)

    assert done.status == 30
    assert "All 120 training rows have the label 'pos'" in done.err
    assert "needs at least two classes" in done.err
    assert not (job.artifacts / "features").exists()


def test_b35_a_class_missing_from_the_scored_rows_has_no_figure_instead_of_zero(
    job, tmp_path, tiny_encoder
):
    folder = tmp_path / "set"
    folder.mkdir()
    write_tsv(folder / "train.tsv", review_rows())
    scored = [(f"a {text}", label) for text, label in review_rows() if label == "pos"]
    write_tsv(folder / "test.tsv", scored)

    done = job.train(folder, tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    report = job.report()
    negative = next(row for row in report["per_class"] if row["label"] == "neg")
    assert (negative["n"], negative["recall"]) == (0, None)
    auc = report["metrics"]["test"]["roc_auc"]
    assert auc["value"] is None
    assert auc["reason"]


def test_b36_extreme_imbalance_warns_of_nothing_and_shows_the_baseline():
    """Warnings are errors in these tests."""
    y = np.array([0] * 998 + [1] * 2)
    proba = np.tile([0.999, 0.001], (1000, 1))

    found: dict[str, Any] = figures(measure(Scored(y, proba)))

    assert found["accuracy"]["value"] == pytest.approx(0.998)
    assert found["f1_macro"]["value"] < 0.51
    assert 0 < found["log_loss"]["value"] < 0.1


def test_b36_an_imbalanced_set_trains_with_a_line_for_each_class(
    job, tmp_path, tiny_encoder
):
    rows = [(f"{text} {i}", "pos") for i in range(5) for text, _ in review_rows()]
    rows += [(f"bad {i} film", "neg") for i in range(8)]
    path = write_tsv(tmp_path / "r.tsv", rows)

    done = job.train(path, tiny_encoder, "--C", "1")

    assert done.status == 0, done.err
    assert "Warning" not in done.err
    report = job.report()
    assert [row["label"] for row in report["per_class"]] == ["neg", "pos"]
    assert report["baselines"]["majority"]["accuracy"]["value"] > 0.97


@pytest.mark.parametrize("fraction", ["0", "1", "1.5", "nan", "-0.1", "half"])
def test_b37_a_share_that_is_none_is_refused_when_it_is_read(job, reviews, fraction):
    done = job.run(
        "SplitDataset", "--dataset", reviews, f"--test-fraction={fraction}", timeout=30
    )

    assert done.status == 40
    assert "--test-fraction is" in done.err
    assert "Traceback" not in done.err
    assert not job.stages()


@pytest.mark.parametrize("fraction", [0.0, 1.0, 2.0, float("nan"), -1.0])
def test_b37_the_specification_refuses_it_as_well(fraction):
    with pytest.raises(ConfigError, match=r"strictly between 0 and 1, such as 0\.25"):
        SplitSpec(test_fraction=fraction)


def test_b38_a_class_of_one_row_cannot_be_split_at_random():
    texts, labels = [f"text {i}" for i in range(9)], ["a"] * 4 + ["b"] * 4 + ["c"]

    with pytest.raises(
        DataError, match=r"Label 'c' has a single row, .*one to fit on and one to score"
    ):
        choose_split(texts, labels, ["train"] * 9, SplitSpec())


def test_b39_another_seed_is_another_key_and_another_split(job, reviews):
    for seed in ("1", "2"):
        done = job.run("SplitDataset", "--dataset", reviews, "--seed", seed)
        assert done.status == 0, done.err

    one, two = (job.artifacts / "splits").iterdir()
    assert set(np.load(one / "test.npy")) != set(np.load(two / "test.npy"))


WORDS = (*POSITIVE, *NEGATIVE)


def test_b39_a_seed_gives_the_same_split_on_every_system():
    """These numbers were written down once; no library's random numbers are in them."""
    texts = [f"the {noun} is {word}" for noun in ("film", "plot") for word in WORDS]
    labels = ["pos" if word in POSITIVE else "neg" for word in WORDS] * 2

    _, test = random_split(texts, labels, test_fraction=0.25, seed=42)

    assert test.tolist() == [3, 4, 6, 8]


@pytest.mark.parametrize("variable", ["PYTHONHASHSEED", "LC_ALL", "TZ"])
def test_b39_the_split_does_not_depend_on_the_environment(python, variable):
    code = (
        "from pipeline.splitting import random_split\n"
        "texts = [f'text {i} of them' for i in range(40)]\n"
        "print(random_split(texts, ['a', 'b'] * 20, test_fraction=0.25, seed=7)[1].tolist())"
    )
    values = {
        "PYTHONHASHSEED": "01",
        "LC_ALL": ["C", "C.UTF-8"],
        "TZ": ["UTC", "Asia/Tokyo"],
    }

    answers = {python(code, env={variable: value}).stdout for value in values[variable]}

    assert len(answers) == 1
    assert len(json.loads(answers.pop())) == 10

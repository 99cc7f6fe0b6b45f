"""``frostbert label`` and the task `FewLabels`, on real features of a tiny encoder."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest

from tasks import cli
from tasks.clean import find_unused
from tasks.forget import forget
from tasks.label import readable
from tests.conftest import BIN, review_rows, write_tsv

LABEL_OF = dict(review_rows())
LABELS = ("--labels", "neg,pos")


@pytest.fixture
def label(tmp_path, tiny_encoder, monkeypatch, capfdbinary):
    """Run the command on a file of texts, with lines as its input; return status, output and errors."""
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(LABEL_OF) + "\n", encoding="utf-8")

    def run(typed, *options):
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        where = ("--artifacts", str(tmp_path / "artifacts"))
        status = cli.main(
            ["label", str(path), "--encoder", str(tiny_encoder), *where, *options]
        )
        out, err = (stream.decode() for stream in capfdbinary.readouterr())
        return status, out, err

    return run


def stored(tmp_path):
    path = tmp_path / "texts.txt.labels.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_numbers_and_names_label_the_texts_that_are_shown(label, tmp_path):
    status, out, _ = label("1\npos\nq\n", *LABELS)

    rows = stored(tmp_path)
    assert status == 0
    assert [row["label"] for row in rows] == ["neg", "pos"]
    assert all(row["text"] in out and row["chosen"] == "random" for row in rows)
    assert "[1] neg  [2] pos  [s] skip  [u] undo  [q] quit > " in out
    assert f"TrainLogReg --dataset {tmp_path}/texts.txt.labels.jsonl" in out


def test_starting_again_goes_on_and_encodes_nothing(label, tmp_path):
    label("1\n2\n", *LABELS)

    _, out, err = label("")  # the labels are known from the answers

    assert out.startswith("2 labels so far\n\n3 of 120 ")
    assert len(stored(tmp_path)) == 2
    assert "loading" not in err


def test_what_is_typed_wrongly_is_asked_again(label, tmp_path):
    _, out, _ = label("3\n1\n", *LABELS)

    assert "'3' is none of these." in out
    assert len(stored(tmp_path)) == 1


def test_undo_and_skip(label, tmp_path):
    _, out, _ = label("u\n1\nu\ns\n2\n", *LABELS)

    assert "Nothing to take back." in out
    assert "taken back: the" in out
    assert [row["label"] for row in stored(tmp_path)] == ["pos"]


def test_every_few_answers_it_says_how_good_the_model_is(label):
    _, out, _ = label("1\n2\n" * 20, *LABELS)

    said = [line for line in out.splitlines() if line.startswith("-- ")]
    assert len(said) == 8
    assert "ten random texts" in said[0]
    assert "mean probability of its answers 0." in said[0]
    assert "cross-validated accuracy 0." in said[-1]
    assert "on 40 random texts, always " in said[-1]


def test_labels_that_are_numbers_are_typed_as_they_are(label, tmp_path):
    _, out, _ = label("1\n0\n", "--labels", "0,1")

    assert "[0] 0  [1] 1  [s] skip" in out
    assert [row["label"] for row in stored(tmp_path)] == ["1", "0"]


def test_every_text_can_be_labelled(label, tmp_path):
    status, out, _ = label("1\n2\n" * 60, *LABELS)

    assert status == 0
    assert "Every text has a label, or was skipped." in out
    assert {row["text"] for row in stored(tmp_path)} == set(LABEL_OF)


def test_next_prints_json_lines_and_asks_nothing(label):
    label("1\n2\n" * 30, *LABELS)

    status, out, _ = label("", "--next", "6")

    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert len({row["text"] for row in rows}) == 6
    assert [row["chosen"] for row in rows] == [
        "random",
        *["uncertain"] * 3,
        "random",
        "uncertain",
    ]
    assert all(0.5 <= row["probable"][0] <= 1 for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "--labels is '', expected two or more"),
        (("--labels", "a,a"), "expected two or more different ones"),
        (("--labels", "a,q"), "which means quit here. Pass a longer name"),
        ((*LABELS, "--text-column", "1,2"), "expected one column"),
        ((*LABELS, "--max-length", "1"), "--max-length is 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(label, options, message):
    status, _, err = label("", *options)

    assert status == 1
    assert message in err


def test_where_every_text_is_labelled_next_says_so(label):
    label("1\n2\n" * 60, *LABELS)

    status, out, err = label("", "--next", "2")

    assert (status, out) == (0, "")
    assert "Every text has a label, or was skipped.\n" in err


def test_none_is_no_number_of_texts_to_label_next(label):
    with pytest.raises(SystemExit) as stopped:
        label("", *LABELS, "--next", "0")

    assert stopped.value.code == 2


def test_what_holds_no_texts_to_label_is_refused_with_a_fix(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    for path, message in (
        (".", ". is a folder, expected a regular file. Write the rows to a file"),
        ("empty.txt", "expected at least 2. Add some, or pass another file."),
    ):
        assert cli.main(["label", path, *LABELS, "--next", "1"]) == 1
        assert message in capsys.readouterr().err


def test_answers_of_another_kind_are_not_mixed_in(label):
    label("1\n2\n", *LABELS)

    status, _, err = label("1\n", "--labels", "good,bad")

    assert status == 1
    assert "has the label 'neg', which is none of --labels 'good,bad'" in err


def test_a_text_cannot_control_the_terminal():
    text = "red \x1b[31m\x07 and \u202e\n2"

    assert readable(text) == "red \\x1b[31m\\x07 and \\u202e\n2"


def test_a_killed_session_has_lost_no_answer(tmp_path, tiny_encoder):
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(LABEL_OF) + "\n", encoding="utf-8")
    command = [BIN / "frostbert", "label", path, *LABELS, "--encoder", tiny_encoder]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        process.stdin.write("1\n2\n1\n")
        process.stdin.flush()
        for line in process.stdout:
            if line.startswith("4 of "):  # the fourth text is shown
                break
        process.send_signal(signal.SIGKILL)

    assert [row["label"] for row in stored(tmp_path)] == ["neg", "pos", "neg"]


def test_few_labels_scores_each_draw_beside_tfidf(trained, tiny_encoder):
    options = ("FewLabels", "--dataset", "reviews.tsv", "--encoder", tiny_encoder)
    asked = ("--per-class", "5", "--draws", "4")

    done = trained.run(*options, *asked)

    assert done.status == 0, done.err
    assert "5 labels for each of 2 classes, drawn 4 times; 30 rows scored" in done.out
    (path,) = (trained.artifacts / "fewshot").glob("*/few_labels.json")
    found = json.loads(path.read_text(encoding="utf-8"))
    accuracies = [draw["head"]["accuracy"] for draw in found["draws"]]
    assert [len(set(draw["rows"])) for draw in found["draws"]] == [10] * 4
    assert found["head"]["accuracy"]["mean"] == pytest.approx(sum(accuracies) / 4)
    low, high = found["difference"]["accuracy"]["ci95"]
    assert low <= found["difference"]["accuracy"]["mean"] <= high
    again = trained.run(*options, *asked)
    assert again.out == done.out
    assert_others_know_it(trained)


def assert_others_know_it(trained):
    names = {removal.path.parts[-2] for removal in find_unused(trained.artifacts)}
    assert "fewshot" not in names
    found = forget(trained.artifacts, next(iter(LABEL_OF)))
    assert any(
        line.startswith("removed fewshot") or "fewshot/" in line
        for line in found.removed
    )
    assert found.traces == []


def test_few_labels_leaves_out_classes_with_fewer_rows(trained, tiny_encoder):
    rows = [*review_rows(), ("the film is odd", "rare"), ("the plot is odd", "rare")]
    write_tsv(trained.cwd / "rare.tsv", rows)

    done = trained.run("FewLabels", "--dataset", "rare.tsv", "--encoder", tiny_encoder)

    assert done.status == 0, done.err
    assert "fewer than 8 training rows: rare; " in done.out


def test_few_labels_refuses_what_it_cannot_draw(trained, tiny_encoder):
    options = ("FewLabels", "--dataset", "reviews.tsv", "--encoder", tiny_encoder)

    many = trained.run(*options, "--per-class", "100")
    write_tsv(
        trained.cwd / "numbers.tsv", [(t, f"{i}.5") for i, t in enumerate(LABEL_OF)]
    )
    numbers = trained.run(*options[:1], "--dataset", "numbers.tsv", *options[3:])

    assert many.status != 0
    assert numbers.status != 0
    assert "fewer than two classes have so many training rows (" in many.err
    assert "the labels of numbers are for regression" in numbers.err

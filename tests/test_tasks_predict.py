"""`frostbert predict`, as people use it."""

import gzip
import json
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from pipeline import TextClassifier, load_predictor
from pipeline.predictor.file import save_predictor
from pipeline.predictor.writers import ParquetWriter
from tasks import cli
from tests.conftest import BIN, review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))
ODD_CLASSES = {"neg": 'a,"b"\nc', "pos": "label"}  # a separator, a column's name
ODD_TEXTS = [
    "the film is good",
    'the "plot", is bad',
    "two\nlines",
    "a\rreturn",
    "ends with\r\n",
    " spaces ",
    '"',
    "NA",
    "null",
    "1",
    "-",
    "a\tb",
    "\u2028 and \ufeff",
    "nul \0 inside",
    "é😀",
]


def fitted(tiny_encoder, labels, path):
    model = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0, max_length=8)
    save_predictor(model.fit(TEXTS, labels).predictor_, path)
    return path


@pytest.fixture(scope="module")
def path(tiny_encoder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("predictors")
    return fitted(tiny_encoder, LABELS, folder / "predictor.joblib")


@pytest.fixture(scope="module")
def odd_path(tiny_encoder, tmp_path_factory):
    """A predictor whose class names are as inconvenient as can be."""
    labels = [ODD_CLASSES[label] for label in LABELS]
    return fitted(tiny_encoder, labels, tmp_path_factory.mktemp("odd") / "p.joblib")


@pytest.fixture
def run(path, tmp_path, monkeypatch):
    """Run the command in this process, in an empty folder, and return its status."""
    monkeypatch.chdir(tmp_path)

    def run(*options):
        return cli.main(["predict", "--predictor", str(path), *map(str, options)])

    return run


def started(path, cwd, *options, **kwargs):
    """Start the command in a process of its own."""
    command = [BIN / "frostbert", "predict", "--predictor", path, *options]
    return subprocess.Popen(
        command,
        cwd=cwd,
        # a shell's background job would hand on "ignore"
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        **kwargs,
    )


def read_csv(source):
    """Read as the README says."""
    return pd.read_csv(
        source,
        keep_default_na=False,
        dtype={"label": str, "text": str},
        lineterminator="\n",
    )


def check(frame, predictor, texts):
    """Compare a table that was read back with what the predictor says."""
    expected = predictor.predict_proba(texts)
    assert frame["row"].tolist() == list(range(1, len(texts) + 1))
    assert frame["label"].tolist() == predictor.predict(texts).tolist()
    assert frame["text"].tolist() == texts
    columns = [f"p_{label}" for label in predictor.classes_]
    assert list(frame) == ["row", "label", *columns, "truncated", "text"]
    np.testing.assert_allclose(frame[columns].to_numpy(), expected, atol=1e-7)
    cut = predictor.count_tokens(texts) > predictor.max_length
    assert frame["truncated"].tolist() == cut.tolist()


READERS: dict[str, Callable[..., Any]] = {
    "csv": read_csv,
    "jsonl": lambda path: pd.read_json(path, lines=True, dtype=False, precise_float=True),
    "parquet": pd.read_parquet,
}  # fmt: skip


@pytest.mark.parametrize("form", READERS)
def test_what_is_written_is_read_back_exactly_whatever_texts_and_classes_hold(
    odd_path, run, form, tmp_path
):
    pd.DataFrame({"text": ODD_TEXTS}).to_parquet(tmp_path / "in.parquet")

    status = run("in.parquet", "--predictor", odd_path, "--out", f"out.{form}")

    assert status == 0
    check(READERS[form](tmp_path / f"out.{form}"), load_predictor(odd_path), ODD_TEXTS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.parquet", f"out.{form}"]


def write_inputs(folder, texts):
    """Write the texts in every way that they can come, with and without other columns."""
    frame = pd.DataFrame({"id": range(len(texts)), "text": texts})
    frame.to_csv(folder / "a.csv", index=False)
    frame.to_csv(folder / "b.tsv", index=False, sep="\t")
    frame[["text"]].to_csv(folder / "c.tsv", index=False)
    frame.to_json(folder / "d.jsonl", orient="records", lines=True)
    frame.to_parquet(folder / "e.parquet")
    lines = "\n".join(texts) + "\n"
    (folder / "f.txt").write_text(lines, encoding="utf-8")
    (folder / "g.txt.gz").write_bytes(gzip.compress(lines.encode()))
    (folder / "h.data").write_text(lines.rstrip(), encoding="utf-8")
    frame[["text"]].rename(columns={"text": "x"}).to_parquet(folder / "i.parquet")
    frame.rename(columns={"text": "body"}).to_csv(folder / "j.csv", index=False)
    frame.assign(label="pos")[["label", "text"]].to_csv(folder / "k.csv", index=False)
    (folder / "l.txt").write_text(
        "".join(f"1_!_{text}\n" for text in texts), encoding="utf-8"
    )
    return folder


@pytest.mark.parametrize(
    "name",
    [
        *("a.csv", "b.tsv", "c.tsv", "d.jsonl", "e.parquet", "f.txt", "g.txt.gz"),
        *("h.data", "i.parquet", "j.csv", "k.csv", "l.txt"),
    ],
)
def test_texts_are_found_in_every_kind_of_input(run, path, tmp_path, capfd, name):
    write_inputs(tmp_path, TEXTS[:20])
    more = {
        "h.data": ["--input-format", "lines"],
        "j.csv": ["--text-column", "body"],
        "l.txt": ["--text-column", "2"],
    }

    status = run(name, *more.get(name, []))

    out, err = capfd.readouterr()
    assert status == 0, err
    (tmp_path / "out.csv").write_text(out, encoding="utf-8")
    check(read_csv(tmp_path / "out.csv"), load_predictor(path), TEXTS[:20])


@pytest.mark.parametrize(
    ("form", "data"),
    [
        ("auto", "the film is good\r\n,dull\r\n"),
        ("csv", 'text,id\nthe film is good,1\n",dull",2\n'),
        ("jsonl", '{"text": "the film is good"}\n\n{"text": ",dull", "id": 2}\n'),
    ],
)
def test_standard_input_is_plain_lines_or_what_it_is_said_to_be(
    path, tmp_path, form, data
):
    process = started(path, tmp_path, "--input-format", form, stdin=-1, stdout=-1)

    out, _ = process.communicate(data.encode(), timeout=100)

    assert process.returncode == 0
    (tmp_path / "out.csv").write_bytes(out)
    check(
        read_csv(tmp_path / "out.csv"),
        load_predictor(path),
        ["the film is good", ",dull"],
    )


def test_an_empty_standard_input_gives_the_header_alone(path, tmp_path):
    process = started(path, tmp_path, stdin=subprocess.DEVNULL, stdout=-1)

    out, _ = process.communicate(timeout=100)

    assert (out, process.returncode) == (b"row,label,p_neg,p_pos,truncated,text\n", 0)


def answered(process, n):
    """Return the next lines of output, of which each must come within a minute."""
    lines: list[str] = []
    for _ in range(n):
        is_ready, _, _ = select.select([process.stdout], [], [], 60)
        assert is_ready, f"nothing more behind {lines}"
        lines.append(process.stdout.readline().decode())
    return lines


@pytest.fixture
def dialogue(path, tmp_path):
    """The command with both of its ends in our hands, unbuffered."""
    with started(
        path, tmp_path, "--no-text", stdin=-1, stdout=-1, stderr=-1, bufsize=0
    ) as process:
        yield process
        process.kill()


def test_a_line_is_answered_while_standard_input_stays_open(dialogue):
    dialogue.stdin.write(b"the film is good\n")
    header, first = answered(dialogue, 2)
    dialogue.stdin.write(b"dull\nfi")
    (second,) = answered(dialogue, 1)
    dialogue.stdin.write(b"ne\ncold")
    (third,) = answered(dialogue, 1)
    dialogue.stdin.close()
    (fourth,) = answered(dialogue, 1)

    assert header == "row,label,p_neg,p_pos,truncated\n"
    rows = [line.split(",")[:2] for line in (first, second, third, fourth)]
    assert rows == [["1", "pos"], ["2", "neg"], ["3", "pos"], ["4", "neg"]]
    assert dialogue.wait(60) == 0


def test_lines_before_a_bad_one_are_answered(dialogue):
    dialogue.stdin.write(b"good\ndull\n\nfine\n")

    assert len(answered(dialogue, 3)) == 3
    assert dialogue.wait(60) == 1
    assert dialogue.stdout.read() == b""
    assert b"standard input:3 has no text. Mend it" in dialogue.stderr.read()


def test_rows_of_a_file_before_a_bad_one_are_on_standard_output(run, tmp_path, capfd):
    (tmp_path / "a.txt").write_text("good\n" * 3000 + "\n" + "good\n" * 3000)

    assert run("a.txt", "--no-text") == 1

    out, err = capfd.readouterr()
    assert out.count("\n") == 1 + 3000
    assert "a.txt:3001 has no text." in err


def test_rows_of_several_inputs_name_theirs(run, tmp_path, capfd):
    (tmp_path / "a.txt").write_text("good\nbad\n")
    (tmp_path / "b.jsonl").write_text('{"text": "good"}\n')

    assert run("a.txt", "b.jsonl", "--no-text", "--format", "jsonl") == 0

    rows = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(r["input"], r["row"]) for r in rows] == [
        ("a.txt", 1),
        ("a.txt", 2),
        ("b.jsonl", 1),
    ]
    assert "text" not in rows[0]
    assert rows[0]["p_pos"] == pytest.approx(rows[2]["p_pos"], abs=1e-7)


def test_integer_labels_stay_integers(tiny_encoder, run, tmp_path):
    labels = [int(label == "pos") for label in LABELS]
    whole = fitted(tiny_encoder, labels, tmp_path / "whole.joblib")
    (tmp_path / "a.txt").write_text("good\n")

    assert run("a.txt", "--predictor", whole, "--out", "a.parquet") == 0

    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert list(frame) == ["row", "label", "p_0", "p_1", "truncated", "text"]
    assert frame["label"].dtype == np.int64


def test_parquet_has_few_large_row_groups(tmp_path):
    with (tmp_path / "a.parquet").open("wb") as stream:
        writer = ParquetWriter(stream, ["row", "text"], "string")
        for i in range(150):
            writer.write({"row": [i] * 1000, "text": ["good"] * 1000})
        for _ in range(3):
            writer.write({"row": [150], "text": ["x" * 2**25]})
        writer.close()

    file = pq.ParquetFile(tmp_path / "a.parquet")
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert sizes == [132_000, 18_002, 1]
    rows = file.read(columns=["row"]).column("row").to_pylist()
    assert rows == [i for i in range(150) for _ in range(1000)] + [150] * 3


BAD = {
    "a.txt": ("good\n\nbad\n", 2, "has no text."),
    "one.tsv": ("text\ngood\n\nbad\n", 3, "has no text."),
    "blank.csv": ("text\ngood\n\nbad\n", 3, "has no text."),
    "a.tsv": ("id\ttext\tx\n1\tgood\t1\n2\tdull\n3\tbad\t1\n", 3, "has 2 of 3 fields."),
    "a.csv": ('id,text\n1,good\n2,"  "\n3,bad\n', 3, "has no text."),
    "wide.tsv": ("id\ttext\n1\tgood\n2\tdull\tx\n3\tbad\n", 3, "has 3 of 2 fields."),
    "wide.csv": (
        "id,text\n1,good\n2,dull, really\n3,bad\n",
        3,
        "has 3 of 2 fields: quote texts that hold ','.",
    ),
    "one.csv": (
        "text\ngood\nI liked it, really\nbad\n",
        3,
        "has 2 of 1 fields: quote texts that hold ',', or pass --input-format lines.",
    ),
    "null.jsonl": (
        '{"text": "good"}\n{"text": null}\n{"text": "bad"}\n',
        2,
        "has no text.",
    ),
    "none.jsonl": (
        '{"text": "good"}\n{"txt": "x"}\n{"text": "bad"}\n',
        2,
        "has no field 'text'.",
    ),
    "int.jsonl": (
        '{"text": "good"}\n{"text": 7}\n{"text": "bad"}\n',
        2,
        "holds int 7, expected a text.",
    ),
    "cut.jsonl": (
        '{"text": "good"}\n{"text": "go\n{"text": "bad"}\n',
        2,
        "is not JSON",
    ),
    "list.jsonl": (
        '{"text": "good"}\n[1]\n{"text": "bad"}\n',
        2,
        "is [1], expected a JSON object",
    ),
}


@pytest.fixture(params=BAD)
def bad(request, tmp_path):
    """An input with one bad row between two good ones: its name, the bad line, what is said of it."""
    data, line, reason = BAD[request.param]
    (tmp_path / request.param).write_text(data, encoding="utf-8")
    return request.param, line, reason


def test_a_bad_row_stops_the_run_and_leaves_no_file(run, bad, tmp_path, capfd):
    name, line, reason = bad

    status = run(name, "--out", "out.csv")

    assert status == 1
    err = capfd.readouterr().err
    assert f"{name}:{line} {reason}" in err
    assert "Mend it, or pass --on-error skip or report." in err
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_bad_row_may_be_left_out_and_is_counted(run, bad, tmp_path, capfd):
    name, line, _ = bad

    status = run(name, "--out", "out.csv", "--on-error", "skip")

    frame = read_csv(tmp_path / "out.csv")
    assert status == 0
    assert frame["text"].tolist() == ["good", "bad"]
    assert frame["row"].tolist() == [1, 3]
    assert f"1 row left out: lines {line}" in capfd.readouterr().err


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_bad_row_may_stand_in_the_output_and_shows_in_the_status(
    run, bad, tmp_path, form
):
    name, _, reason = bad

    status = run(name, "--out", f"out.{form}", "--on-error", "report")

    frame = READERS[form](tmp_path / f"out.{form}").replace("", None)
    assert status == 3
    assert frame["row"].tolist() == [1, 2, 3]
    assert frame["label"].isna().tolist() == [False, True, False]
    assert frame["p_pos"].isna().tolist() == [False, True, False]
    assert frame["truncated"].isna().tolist() == [False, True, False]
    assert frame["text"].isna().tolist() == [False, True, False]
    assert frame["error"].isna().tolist() == [True, False, True]
    assert reason in frame["error"][1]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tsv", "text\tlabel\ngood\tx\n\nbad\tz\n"),
        ("a.csv", "id,body\n1,good\n\n2,bad\n"),
        ("a.jsonl", '{"body": "good"}\n\n\n{"body": "bad"}\n'),
    ],
)
def test_blank_lines_that_are_no_rows_are_told(run, tmp_path, capfd, name, data):
    (tmp_path / name).write_text(data)

    assert run(name, "--out", "out.csv") == 0

    frame = read_csv(tmp_path / "out.csv")
    assert frame["text"].tolist() == ["good", "bad"]
    assert frame["row"].tolist() == [1, 2]
    lines = "2, 3" if name == "a.jsonl" else "3"
    assert f"{name}: blank lines are no rows: lines {lines}\n" in capfd.readouterr().err


def test_further_fields_that_are_empty_are_no_part_of_a_text(run, tmp_path):
    (tmp_path / "a.csv").write_text("id,text\n1,good,,\n2,bad\n")

    assert run("a.csv", "--out", "out.csv") == 0
    assert read_csv(tmp_path / "out.csv")["text"].tolist() == ["good", "bad"]


def test_a_line_of_plain_text_is_read_whole_whatever_it_holds(run, tmp_path, capfd):
    lines = ["good; fine", "dull | bad", "the\tfilm", "a::b"]
    for i, line in enumerate(lines):
        (tmp_path / f"{i}.txt").write_text(f"{line}\n")

        assert run(f"{i}.txt", "--out", "out.csv") == 0
        assert read_csv(tmp_path / "out.csv")["text"].tolist() == [line]


def test_plain_text_is_a_table_where_separator_or_column_is_named(run, tmp_path):
    (tmp_path / "a.txt").write_text("1;good\n2;bad\n")

    for option in (["--separator", ";"], ["--text-column", "2"]):
        assert run("a.txt", "--out", "out.csv", *option) == 0
        assert read_csv(tmp_path / "out.csv")["text"].tolist() == ["good", "bad"]


def test_reported_rows_without_an_error_are_status_0(run, tmp_path):
    (tmp_path / "a.txt").write_text("good\n")

    assert run("a.txt", "--out", "a.csv", "--on-error", "report") == 0
    assert read_csv(tmp_path / "a.csv")["error"].tolist() == [""]


def test_nothing_but_bad_rows(run, tmp_path):
    (tmp_path / "a.txt").write_text("\n\n")

    assert run("a.txt", "--out", "skipped.csv", "--on-error", "skip") == 0
    assert run("a.txt", "--out", "reported.csv", "--on-error", "report") == 3
    assert len(read_csv(tmp_path / "skipped.csv")) == 0
    assert len(read_csv(tmp_path / "reported.csv")) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["none.csv"], r"none.csv cannot be read: No such file"),
        (["a.pdf"], r"a.pdf ends in '.pdf', expected one of"),
        (["latin.csv", "--out", "o.csv"], r"latin.csv:2 is not UTF-8"),
        (["wide.csv"], r"Which column of wide.csv holds the text\? .*Pass --text-column"),
        (["wide.csv", "--text-column", "c"], r"Column 'c' not found in wide.csv"),
        (["a.txt", "--out", "o.xlsx"], r"ends in '.xlsx', expected one of"),
        (["a.txt", "--out", "none/o.csv"], r"none/o.csv cannot be written: No such file .*\. Pass another --out"),
        (["a.txt", "--out", "a.txt", "--format", "csv"], r"is an input, which it would replace"),
        (["a.txt", "--format", "parquet"], r"needs a file\. Pass --out FILE.parquet"),
        (["-", "--input-format", "parquet"], r"cannot be read from standard input"),
        (["a.txt", "--predictor", "none.joblib"], r"No predictor at none.joblib\. Train one"),
        (["a.txt", "--header", "perhaps"], r"--header is 'perhaps', expected one of"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_message_and_leaves_nothing(
    run, tmp_path, capfd, options, message
):
    (tmp_path / "a.txt").write_text("good\n")
    (tmp_path / "a.pdf").write_text("%PDF")
    (tmp_path / "latin.csv").write_bytes(b"text,id\nd\xe9j\xe0 vu,1\n")
    (tmp_path / "wide.csv").write_text("x,y,z\nu,v,w\n")
    before = sorted(p.name for p in tmp_path.iterdir())

    status = run(*options)

    out, err = capfd.readouterr()
    assert status == 1
    assert re.search(message, err), err
    assert "Traceback" not in err
    assert out == ""
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def endless(path, cwd, *options, **kwargs):
    """Start on a file that takes far longer than the test."""
    with (cwd / "long.txt").open("w") as file:
        file.writelines(f"the film is {i} {'very ' * 100}\n" for i in range(200_000))
    return started(path, cwd, "long.txt", *options, **kwargs)


def test_a_reader_that_goes_away_ends_it_quietly(path, tmp_path):
    process = endless(path, tmp_path, stdout=-1, stderr=-1)
    assert process.stdout.readline().startswith(b"row,label")

    process.stdout.close()

    assert process.wait(60) == 141
    err = process.stderr.read().decode()
    process.stderr.close()
    assert err == "long.txt: one text a line\n"


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_signal_leaves_what_was_there_before(path, tmp_path, number, status):
    (tmp_path / "out.csv").write_text("before\n")
    process = endless(path, tmp_path, "--out", "out.csv", stderr=-1)
    scratch = []
    for _ in range(600):
        scratch = [p for p in tmp_path.glob(".out.csv.*") if p.stat().st_size]
        if scratch:
            break
        time.sleep(0.1)
    assert scratch

    process.send_signal(number)

    assert process.wait(60) == status
    err = process.stderr.read().decode()
    process.stderr.close()
    assert err.endswith("Interrupted. out.csv is as it was before.\n")
    assert "Traceback" not in err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.txt", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "before\n"


def test_a_full_disk_is_one_sentence(path, tmp_path):
    (tmp_path / "a.txt").write_text("good\n")
    with Path("/dev/full").open("wb") as full:
        process = started(path, tmp_path, "a.txt", stdout=full, stderr=-1)
        _, err = process.communicate(timeout=100)

    assert process.returncode == 1
    assert err.decode().splitlines()[1:] == [
        "Standard output cannot be written: No space left on device. Free space, or pass another --out FILE."
    ]


def test_a_full_disk_leaves_no_file(run, tmp_path, capfd):
    import resource

    (tmp_path / "a.txt").write_text("the film is good\n" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        status = run("a.txt", "--out", "out.csv")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert status == 1
    assert (
        "out.csv cannot be written: File too large. Free space"
        in capfd.readouterr().err
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_truncation_shows_in_column_and_summary(run, tmp_path, capfd):
    (tmp_path / "a.txt").write_text("good\nthe film is very good and never dull\n")

    assert run("a.txt", "--out", "out.csv") == 0

    assert read_csv(tmp_path / "out.csv")["truncated"].tolist() == [False, True]
    assert "2 rows, " in (err := capfd.readouterr().err)
    assert "1 cut at 8 tokens -> out.csv" in err


def test_order_is_kept_over_many_blocks(run, path, tmp_path):
    texts = [f"{TEXTS[i % len(TEXTS)]} {'very ' * (i % 7)}{i}" for i in range(5000)]
    (tmp_path / "a.txt").write_text("\n".join(texts))

    assert run("a.txt", "--out", "out.parquet") == 0

    check(pd.read_parquet(tmp_path / "out.parquet"), load_predictor(path), texts)

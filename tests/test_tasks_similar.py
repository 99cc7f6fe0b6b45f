"""`frostbert similar` on a real run."""

import io
import os
import shutil
import subprocess
import sys

import pytest

from tasks import cli
from tests.conftest import BIN, review_rows

TEXT, LABEL = review_rows()[7]


@pytest.fixture
def similar(trained, capsys):
    """Run the command on the trained folder's artifacts; return status, output and errors."""

    def run(*arguments):
        status = cli.main(
            ["similar", *arguments, "--artifacts", str(trained.artifacts)]
        )
        return status, *capsys.readouterr()

    return run


def test_texts_are_printed_with_cosine_label_and_line(similar, trained):
    status, out, _ = similar("--query", TEXT, "--top", "3")

    lines = out.splitlines()
    assert status == 0
    assert lines[:2] == [TEXT, f"   1.000  {TEXT} ({LABEL}, train:9)"]
    assert len(lines) == 4


def test_each_query_has_its_texts(similar):
    one = similar("--query", "the film", "--query", "a plot", "--top", "2")
    two = similar("--query", "the film", "a plot", "--top", "2")

    lines = one[1].splitlines()
    assert one == two
    assert (lines[0], lines[3]) == ("the film", "a plot")
    assert len(lines) == 6


def test_queries_are_read_from_standard_input(similar, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("the film\na plot\n"))

    read = similar("--query", "-")

    assert read == similar("--query", "the film", "a plot")


def test_standard_input_that_is_no_utf8_is_a_clear_error(similar, monkeypatch):
    latin = io.TextIOWrapper(io.BytesIO("caf\xe9\n".encode("latin-1")), "utf-8")
    monkeypatch.setattr(sys, "stdin", latin)

    status, _, err = similar("--query", "-")

    assert status == 1
    assert "Standard input is not utf-8: byte 0xe9" in err


def test_a_number_beyond_the_data_gives_all(similar):
    _, out, _ = similar("--query", "the film", "--top", "1000")

    assert len(out.splitlines()) == 1 + len(review_rows())


def test_a_run_may_be_named(similar, trained):
    (run,) = (trained.artifacts / "runs").iterdir()

    assert similar("--query", TEXT, "--run", run.name) == similar("--query", TEXT)
    assert similar("--query", TEXT, "--run", str(run)) == similar("--query", TEXT)


def test_matrix_is_printed_and_written_as_a_page(similar, tmp_path):
    path = tmp_path / "page.html"

    status, out, _ = similar("--query", TEXT, "a plot", "--matrix", str(path))

    page = path.read_text(encoding="utf-8")
    assert status == 0
    assert "train:" not in out
    assert out.endswith(f"page  {path}\n")
    assert out.splitlines()[1].endswith(f"  {TEXT}")
    assert TEXT in page
    assert "pooling cls" in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--query", ""], "Text 0 is blank"),
        (["--query", "a", "--top", "0"], "expected 1 or more"),
        (["--query", "a", "--run", "nope"], "There is no run 'nope'"),
        (["--query", "a", "--matrix", "x.html"], "expected two or more"),
        (["--query", "a", " ", "--matrix", "x.html"], "Text 1 is blank"),
        (["--query", *"a" * 61, "--matrix", "x.html"], "expected at most 60"),
        (["--query", "a", "b", "--matrix", "/nowhere/x.html"], "Pass --matrix FILE"),
    ],
)
def test_what_cannot_be_done_is_a_clear_error(
    similar, monkeypatch, tmp_path, options, said
):
    monkeypatch.chdir(tmp_path)

    status, _, err = similar(*options)

    assert status == 1
    assert said in err
    assert not (tmp_path / "x.html").exists()


@pytest.mark.parametrize("missing", ["datasets", "features", "models", "predictors"])
def test_a_stage_that_is_gone_is_a_clear_error(similar, trained, missing):
    shutil.rmtree(trained.artifacts / missing)

    status, out, err = similar("--query", TEXT)

    assert (status, out) == (1, "")
    assert err.rstrip().endswith(".")
    assert "Traceback" not in err


def test_a_shard_that_is_gone_is_a_clear_error(similar, trained):
    (shard,) = trained.artifacts.glob("features/*/shards/*")
    shutil.rmtree(shard)

    status, _, err = similar("--query", TEXT)

    assert status == 1
    assert "is missing or incomplete. Run the training command again." in err


def test_no_run_at_all_says_to_train(similar, trained):
    shutil.rmtree(trained.artifacts / "runs")

    status, _, err = similar("--query", TEXT)

    assert status == 1
    assert "(runs: none). Train one" in err


@pytest.mark.parametrize(
    "pattern", ["features/*/shards/*/features.npy", "datasets/*/rows.parquet"]
)
def test_a_changed_bit_is_noticed_and_mended_as_it_is_said(
    similar, trained, tiny_encoder, pattern
):
    whole = similar("--query", TEXT)
    (path,) = trained.artifacts.glob(pattern)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)

    status, out, err = similar("--query", TEXT)

    assert (status, out) == (1, "")
    assert f"{path.name} is damaged" in err
    assert f"Remove {path.parent}, then run the training command again." in err
    shutil.rmtree(path.parent)
    assert trained.train("reviews.tsv", tiny_encoder, "--C", "1").status == 0
    assert similar("--query", TEXT) == whole


def test_searching_imports_no_torch_and_prints_on_an_ascii_terminal(trained, python):
    environment = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [BIN / "frostbert", "similar", "--query", "日本 film"],
        cwd=trained.cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    code = (
        "import sys; from tasks.cli import main; main(['similar', '--query', 'film']);"
        "print('torch' in sys.modules)"
    )
    found = python(code, cwd=trained.cwd)

    assert done.returncode == 0, done.stderr
    assert found.stdout.splitlines()[-1] == "False"

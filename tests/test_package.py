import csv
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from pipeline.splitting import containment_groups, normalise
from tests.conftest import BIN

ROOT = Path(__file__).resolve().parents[1]
CHECK_SAMPLE = "from pipeline.datasets.sources import sample_path; print(sample_path().read_text().count(chr(10)))"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: setuptools leaves its build folder beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pipeline", "tasks", "data"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    command = [
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"),
        *("--wheel-dir", folder, source),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_packages_their_templates_and_the_sample(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())

    templates = ("report.html.j2", "page.js")
    assert {f"pipeline/report/templates/{name}" for name in templates} <= names
    frame = ("macros.html.j2", "style.css.j2")
    assert {f"pipeline/pages/templates/{name}" for name in frame} <= names
    assert "pipeline/predictor/templates/look.html.j2" in names
    assert "pipeline/report/report.schema.json" in names
    assert "tasks/cli.py" in names
    assert {"pipeline/py.typed", "tasks/py.typed"} <= names
    assert any(name.endswith("/reviews.tsv") for name in names)
    assert not any(name.startswith(("tests/", "benchmarks/")) for name in names)


def test_an_installed_package_finds_its_sample(wheel, tmp_path):
    """Installed into an environment that sees our libraries, away from the checkout."""
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True
    )
    python = tmp_path / "env" / "bin" / "python"
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
    ]
    subprocess.run(install, check=True, capture_output=True)

    done = subprocess.run(
        [python, "-c", CHECK_SAMPLE],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.stdout == "881\n", done.stderr


def test_the_sample_is_balanced_varied_and_without_repeats():
    with (ROOT / "data" / "reviews.tsv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE))
    texts = [row["text"] for row in rows]
    words = [len(text.split()) for text in texts]

    assert Counter(row["label"] for row in rows) == {"positive": 440, "negative": 440}
    assert (
        len({normalise(text) for text in texts})
        == len(set(containment_groups(texts)))
        == len(texts)
    )
    assert min(words) <= 3
    assert max(words) >= 30
    openings = Counter(" ".join(text.split()[:2]).lower() for text in texts)
    assert openings.most_common(1)[0][1] < 0.02 * len(texts)


def test_the_command_is_installed_and_explains_itself():
    done = subprocess.run(
        [BIN / "frostbert", "--help"], capture_output=True, text=True, check=True
    )

    assert "doctor" in done.stdout


def test_every_constraint_is_one_version():
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]

    assert "torch==2.13.0" in lines
    assert all(line.count("==") == 1 and "+" not in line for line in lines)


def test_make_help_names_every_target():
    text = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    assert [line.split()[0] for line in text.splitlines()] == [
        *("help", "run", "test", "lint", "types", "check", "format", "bench", "clean"),
    ]

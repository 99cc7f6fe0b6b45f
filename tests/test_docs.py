"""What README and changelog say is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import pipeline
import tasks
from pipeline.config import (
    ComputeSpec,
    DatasetSpec,
    DecisionSpec,
    EncoderSpec,
    HeadSpec,
    PairSpec,
    PredictorSpec,
    SplitSpec,
)
from tests.conftest import BIN

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SPECS = (
    DatasetSpec,
    EncoderSpec,
    PairSpec,
    SplitSpec,
    HeadSpec,
    DecisionSpec,
    PredictorSpec,
    ComputeSpec,
)
OPTIONS = sorted(name.replace("_", "-") for spec in SPECS for name in spec.names())


@pytest.mark.parametrize("option", [*OPTIONS, "artifacts"])
def test_every_option_is_in_the_readmes_table(option):
    table = README.split("## Options")[1].split("## ")[0]

    assert f"`--{option}`" in table


def test_every_option_of_the_table_exists():
    table = README.split("## Options")[1].split("## ")[0]
    first_cells = [
        line.split("|")[1] for line in table.splitlines() if line.startswith("| `--")
    ]

    named = {
        name for cell in first_cells for name in re.findall(r"`--([A-Za-z-]+)`", cell)
    }

    assert named == {*OPTIONS, "artifacts"}


def test_every_task_is_in_the_readme():
    assert all(name in README for name in tasks.__all__)


def test_every_public_name_is_in_the_readme():
    assert all(name in README for name in pipeline.__all__)


def test_every_command_is_in_the_readme_and_has_a_help_line():
    text = subprocess.run(
        [BIN / "frostbert", "--help"], capture_output=True, text=True, check=True
    ).stdout
    commands = re.findall(r"^    ([a-z-]+)\b", text, flags=re.M)

    known = {"doctor", "explain-run", "forget", "gc", "predict", "status", "verify"}
    assert known <= set(commands)
    for command in commands:
        assert f"`frostbert {command}" in README, command
        assert re.search(rf"^    {command}\s+\S", text, flags=re.M), command


def test_every_option_has_a_description_in_help():
    text = subprocess.run(
        [BIN / "luigi", "--module", "tasks", "TrainLogReg", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout

    for option in [*OPTIONS, "artifacts"]:
        assert re.search(rf"--{option}( \S+)?\n?\s+\S", text), option


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_place_a_page_links_to_exists(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        name, _, anchor = target.partition("#")
        place = page.parent / name if name else page
        assert place.exists(), target
        headings = re.findall(r"^#+ (.+)$", place.read_text(encoding="utf-8"), re.M)
        known = {re.sub(r"[^a-z0-9 -]", "", one.lower()) for one in headings}
        assert not anchor or anchor.replace("-", " ") in known, target


def test_python_blocks_run(trained, minilm):
    """Those of the README, then those about the predictor, with the predictor of a real run."""
    texts = README + (ROOT / "docs" / "predictor.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", texts, flags=re.S))

    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code + "\nprint(X.shape, X.dtype, classifier.predict(['good'])[0])",
        ],
        cwd=trained.cwd,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "(2, 384) float32 yes\n", done.stderr


def test_the_changelogs_newest_version_is_the_packages():
    newest = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\]",
        (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        flags=re.M,
    )[0]

    assert newest == pipeline.__version__


def test_defaults_in_the_readme_are_the_programs():
    table = README.split("## Options")[1].split("## ")[0]
    for spec, names in (
        (EncoderSpec, ("encoder", "pooling", "layer", "max_length")),
        (DatasetSpec, ("dataset", "limit")),
    ):
        for name in names:
            (cell,) = re.findall(
                rf"^\| `--{name.replace('_', '-')}` \| (\S+) \|", table, flags=re.M
            )
            assert cell.strip("`") == str(getattr(spec(), name))


def test_no_machine_path_or_unfilled_place_in_the_texts():
    for path in [*ROOT.glob("*.md"), *ROOT.glob("d*/*.md")]:
        text = path.read_text(encoding="utf-8")
        assert "/root/" not in text, path
        assert "/work/" not in text, path
        assert "_OUTPUT" not in text, path

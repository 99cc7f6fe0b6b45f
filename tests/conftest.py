"""Fixtures: encoders, data sets, and the real command line in a process of its own."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything reads it: no test may need a hub

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from luigi.task_register import Register

from pipeline.encoder.identity import _minilm_folder
from tests.checkpoints import save_as_distilbert, save_tiny

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
BIN = Path(sys.executable).parent


def pytest_report_header() -> str:
    names = ("luigi", "numpy", "pandas", "scikit-learn", "torch", "transformers")
    return ", ".join(f"{name} {version(name)}" for name in names)


@pytest.fixture
def shared() -> Path:
    """The folder of public data sets beside the checkout."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no ../shared here")
    return SHARED


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer DistilBERT of 16 dimensions."""
    return save_tiny(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT of 16 dimensions, with a pooler."""
    return save_tiny(tmp_path_factory.mktemp("encoders") / "tiny-bert", "bert")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of the offline encoder: real learned weights."""
    return _minilm_folder()


@pytest.fixture(scope="session")
def distilbert(minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The offline encoder's weights as a DistilBERT."""
    return save_as_distilbert(
        minilm, tmp_path_factory.mktemp("encoders") / "distilbert"
    )


POSITIVE, NEGATIVE = (
    ("good", "fine", "bright", "warm"),
    ("bad", "dull", "cold", "never"),
)
NOUNS = ("film", "plot", "story")
LINKS = ("is", "was", "is very", "was not", "is always")


def review_rows() -> list[tuple[str, str]]:
    """Return 120 distinct short texts with labels, from the tiny tokenizer's words."""
    rows = []
    for label, words in (("pos", POSITIVE), ("neg", NEGATIVE)):
        for word in words:
            rows += [
                (f"the {noun} {link} {word}", label) for noun in NOUNS for link in LINKS
            ]
    return rows


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """A TSV of 120 rows with header, two classes."""
    path = tmp_path / "reviews.tsv"
    write_tsv(path, review_rows())
    return path


def write_tsv(
    path: Path, rows: list[tuple[str, str]], header: str | None = "text\tlabel"
) -> Path:
    lines = ([header] if header else []) + [f"{text}\t{label}" for text, label in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Job:
    """The real command line, in a folder of its own."""

    cwd: Path

    @property
    def artifacts(self) -> Path:
        return self.cwd / "artifacts"

    def run(
        self,
        *options: str | Path,
        env: dict[str, str] | None = None,
        timeout: float = 240,
    ) -> "Done":
        command = [str(BIN / "luigi"), "--module", "tasks", *map(str, options)]
        done = subprocess.run(
            command,
            cwd=self.cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def train(
        self,
        dataset: str | Path,
        encoder: str | Path,
        *options: str | Path,
        **kwargs: Any,
    ) -> "Done":
        return self.run(
            "TrainLogReg",
            "--dataset",
            dataset,
            "--encoder",
            encoder,
            *options,
            **kwargs,
        )

    def ledger(self) -> list[dict[str, Any]]:
        lines = (self.artifacts / "runs.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def report(self) -> Any:
        return json.loads(
            (self.artifacts / "latest" / "report.json").read_text(encoding="utf-8")
        )

    def stages(self) -> dict[str, list[str]]:
        """Return the published directories by folder."""
        folders = ("datasets", "splits", "models", "baselines", "reports", "predictors")
        return {
            name: sorted(path.name for path in (self.artifacts / name).iterdir())
            for name in folders
            if (self.artifacts / name).is_dir()
        }


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    status: int
    out: str
    err: str


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """An empty working folder for the command line."""
    folder = tmp_path / "work"
    folder.mkdir()
    return Job(folder)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """A working folder in which ``reviews.tsv`` was trained on with the tiny encoder; only to be copied."""
    folder = tmp_path_factory.mktemp("trained")
    write_tsv(folder / "reviews.tsv", review_rows())
    done = Job(folder).train("reviews.tsv", tiny_encoder, "--C", "1")
    assert done.status == 0, done.err
    return folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Job:
    """A copy of `trained_once` to break and run again."""
    folder = tmp_path / "trained"
    shutil.copytree(trained_once, folder, symlinks=True, copy_function=shutil.copy2)
    return Job(folder)


@pytest.fixture(scope="session")
def twice_once(
    trained_once: Path, tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path
) -> Path:
    """A working folder with two runs, of which the second has another C; only to be copied."""
    folder = tmp_path_factory.mktemp("twice") / "work"
    shutil.copytree(trained_once, folder, symlinks=True, copy_function=shutil.copy2)
    done = Job(folder).train("reviews.tsv", tiny_encoder, "--C", "0.001")
    assert done.status == 0, done.err
    return folder


@pytest.fixture
def twice(twice_once: Path, tmp_path: Path) -> Job:
    """A copy of `twice_once` to break and run again."""
    folder = tmp_path / "twice"
    shutil.copytree(twice_once, folder, symlinks=True, copy_function=shutil.copy2)
    return Job(folder)


def runs(job: Job) -> tuple[str, str]:
    """Return the names of the two runs, the first one first."""
    latest = (job.artifacts / "latest").resolve().name
    (other,) = {path.name for path in (job.artifacts / "runs").iterdir()} - {latest}
    return other, latest


@pytest.fixture(autouse=True)
def fresh_luigi() -> Iterator[None]:
    """Leave no task instance behind."""
    yield
    Register.clear_instance_cache()


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python code in a fresh interpreter."""

    def run(
        code: str, *, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code],
            cwd=cwd or Path("/"),
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return run

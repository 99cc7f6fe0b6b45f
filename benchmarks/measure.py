"""What the benchmarks share: timed commands, medians and spread, the machine in words, Markdown."""

import argparse
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from pipeline.datasets.text import TEXT_NAMES

N_THREADS = len(os.sched_getaffinity(0))
THREAD_VARIABLES = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "RAYON_NUM_THREADS",  # tokenizers
)
# what decides the speed of products, as Linux names it
FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
DEFAULT_OUT = Path("build/bench")  # git does not track it


@dataclass(frozen=True)
class Spread:
    """The median of some values, the smallest and the largest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Summarise at least one value."""
        found = list(values)
        return cls(median(found), min(found), max(found))

    def text(self, decimals: int = 1) -> str:
        """Return ``median (smallest to largest)``."""
        return f"{self.median:.{decimals}f} ({self.low:.{decimals}f} to {self.high:.{decimals}f})"


@dataclass(frozen=True)
class Ended:
    """A command that ended well: seconds by the clock and of all processors, its output."""

    wall_s: float
    cpu_s: float
    stdout: str


def timed(command: Sequence[str | Path], **options: Any) -> Ended:
    """Run a command to its end; `options` are those of `subprocess.run`.

    Raises
    ------
    subprocess.CalledProcessError
        If it ended with another status than 0.
    """
    before, began = os.times(), time.perf_counter()
    done = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        **options,
    )
    wall_s, after = time.perf_counter() - began, os.times()
    cpu_s = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    return Ended(wall_s, cpu_s, done.stdout)


def parser_of(described: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: threads, and where the tables go."""
    parser = argparse.ArgumentParser(
        description=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threads", type=int, default=N_THREADS)
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    return parser


def limit_threads(n: int) -> None:
    """Let this process and those it starts use `n` cores, whatever engine runs in them."""
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(n)))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:n])


def machine(threads: int) -> dict[str, object]:
    """Return what a reader has to know of this machine; ask before measuring, for the load."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in info.splitlines() if ":" in line)
    facts = {name.strip(): value.strip() for name, value in fields.items()}
    has = facts.get("flags", "").split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": facts.get("model name", platform.machine()),
        "instructions": [flag for flag in FLAGS if flag in has],
        "cores": os.cpu_count(),
        "threads": threads,
        "memory_gb": round(memory / 1e9, 1),
        "load": round(os.getloadavg()[0], 1),  # a busy machine measures its neighbours
        "python": platform.python_version(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def described(facts: Mapping[str, object]) -> str:
    """Return `machine`'s facts as one line."""
    return (
        f"{facts['date']}: {facts['processor']} ({', '.join(map(str, facts['instructions']))}), "  # type: ignore[call-overload]  # a list
        f"{facts['cores']} cores, {facts['threads']} threads for every engine, {facts['memory_gb']} GB, "
        f"load {facts['load']} before, "
        f"Python {facts['python']}"
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def read_rows(path: Path, n: int | None = None) -> list[tuple[str, str]]:
    """Return the first `n` distinct texts of a TSV, each with its label; a header is left out."""
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    pairs = [line.split("\t", 1) for line in lines]
    if pairs[0][0].lower() in TEXT_NAMES:
        del pairs[0]
    labels = {pair[0]: pair[-1] for pair in reversed(pairs)}  # the first of each
    texts = list(dict.fromkeys(pair[0] for pair in pairs))
    return [(text, labels[text]) for text in texts[:n]]


def read_texts(path: Path, n: int | None = None) -> list[str]:
    """Return the first `n` distinct texts of a TSV."""
    return [text for text, _ in read_rows(path, n)]


def save(out: Path, name: str, facts: Mapping[str, object], markdown: str) -> None:
    """Write ``<name>.json`` and ``<name>.md``, and print the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1, allow_nan=False)
    (out / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(markdown + "\n", encoding="utf-8")
    print(markdown)

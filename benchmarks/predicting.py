"""Rows a second and peak memory of predicting many texts, which should not grow with their number.

``python -m benchmarks.predicting --predictor FILE`` labels 10,000 and 100,000 short texts by ``frostbert predict``,
from a text file to CSV and to Parquet, and as a generator by ``predictor.predict``, each in a process of its own, and
prints a line for each.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reading import rows

COMMAND = "import sys; from tasks.cli import main; main(sys.argv[1:])"
CALL = """
import sys
from itertools import islice
from benchmarks.predicting import texts
from pipeline import load_predictor
n = int(sys.argv[2])
assert len(load_predictor(sys.argv[1]).predict(islice(texts(), n))) == n
"""


def texts() -> Iterator[str]:
    """Yield the first words of the sample's texts again and again, each with a number of its own."""
    for text, _ in rows():
        first, *_, number = text.split()
        yield f"{first} {number}"


def measured(code: str, *arguments: object) -> tuple[float, float]:
    """Return the seconds and the peak MiB of Python code in a process of its own."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stderr=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"ended with {process.returncode}")
    return time.monotonic() - began, used.ru_maxrss / 1024


def main() -> None:
    """Print a line for each number of texts and way to predict."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--predictor", type=Path, required=True)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5])
    options = parser.parse_args()
    print("    texts  way       seconds      rows/s   peak MiB")
    with tempfile.TemporaryDirectory() as name:
        for n in options.rows:
            path = Path(name) / f"{n}.txt"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(f"{text}\n" for _, text in zip(range(n), texts()))  # noqa: B905  # endless
            command = ("predict", path, "--predictor", options.predictor, "--out")
            for way, code, arguments in (
                ("csv", COMMAND, (*command, f"{path}.csv")),
                ("parquet", COMMAND, (*command, f"{path}.parquet")),
                ("call", CALL, (options.predictor, n)),
            ):
                seconds, peak = measured(code, *arguments)
                print(
                    f"{n:9,}  {way:<8} {seconds:8,.1f} {n / seconds:11,.0f} {peak:10,.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

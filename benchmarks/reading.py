"""Rows per second and peak memory of reading, checking and storing a large file, for each format.

    python -m benchmarks.reading --gb 0.2          # all formats
    python -m benchmarks.reading --gb 2 --kinds tsv

The file is the project's sample, repeated and numbered so that every text differs, and is removed again. Each format
is read in a process of its own, whose peak resident memory the operating system tells; pandas' own ``read_csv`` of
the TSV stands beside it.
"""

import argparse
import csv
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import TextIO

import pandas as pd

from pipeline.datasets.sources import sample_path

KINDS = ("tsv", "tsv.gz", "csv", "jsonl", "parquet", "pandas")
OURS = """
import pathlib, sys, tempfile, time
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.storage import sha256_file
began = time.monotonic()
source = find_source(DatasetSpec(dataset=sys.argv[1]), sha256_file)
with tempfile.TemporaryDirectory() as folder:
    rows = make_table(source.read(), DatasetSpec(), pathlib.Path(folder))["texts"]["rows"]
"""
PANDAS = """
import pathlib, sys, time
import pandas as pd
began = time.monotonic()
rows = len(pd.read_csv(sys.argv[1], sep="\\t", quoting=3, dtype=str))
"""
ENDING = """
status = pathlib.Path("/proc/self/status").read_text()
peak_mb = int(status.split("VmHWM:")[1].split()[0]) / 1024
print(rows, time.monotonic() - began, peak_mb)
"""


def rows() -> Iterator[tuple[str, str]]:
    """Yield the sample's rows again and again, each text with a number of its own."""
    lines = sample_path().read_text(encoding="utf-8").splitlines()[1:]
    pairs = [line.rsplit("\t", 1) for line in lines]
    for number in count():
        text, label = pairs[number % len(pairs)]
        yield f"{text} {number}", label


def write(path: Path, kind: str, size_bytes: float) -> None:
    """Write a file of `kind` with as many rows as a TSV of `size_bytes` has."""
    sample = list(islice(rows(), 10_000))
    mean = sum(len(f"{text}\t{label}\n".encode()) for text, label in sample) / 10_000
    n = int(size_bytes / mean)
    if kind == "parquet":
        frame = pd.DataFrame(islice(rows(), n), columns=["text", "label"])
        frame.to_parquet(path, index=False, row_group_size=100_000)
        return
    with open_text(path, kind) as file:
        if kind == "csv":
            csv.writer(file).writerows([("text", "label"), *islice(rows(), n)])
        elif kind == "jsonl":
            file.writelines(
                json.dumps({"text": text, "label": label}) + "\n"
                for text, label in islice(rows(), n)
            )
        else:
            file.write("text\tlabel\n")
            file.writelines(f"{text}\t{label}\n" for text, label in islice(rows(), n))


def open_text(path: Path, kind: str) -> TextIO:
    """Open a file for writing, packed if its kind says so."""
    if kind.endswith(".gz"):
        return gzip.open(path, "wt", encoding="utf-8", compresslevel=1)
    return path.open("w", encoding="utf-8", newline="")


def main() -> None:
    """Print one line a format."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gb", type=float, default=0.2, help="size of the TSV, in 1e9 bytes"
    )
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    options = parser.parse_args()
    print(f"{'format':<8} {'MB':>8} {'rows':>12} {'rows/s':>10} {'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder:
        for kind in options.kinds:
            path = Path(folder) / f"train.{'tsv' if kind == 'pandas' else kind}"
            write(path, "tsv" if kind == "pandas" else kind, options.gb * 1e9)
            code = (PANDAS if kind == "pandas" else OURS) + ENDING
            done = subprocess.run(
                [sys.executable, "-c", code, path],
                check=True,
                capture_output=True,
                text=True,
            )
            n, elapsed_s, peak_mb = map(float, done.stdout.split())
            print(
                f"{kind:<8} {path.stat().st_size / 1e6:8,.0f} {n:12,.0f} {n / elapsed_s:10,.0f} {peak_mb:9,.0f}",
                flush=True,
            )
            path.unlink()


if __name__ == "__main__":
    main()

"""How fast the feature store looks rows up, and that its memory does not grow with them.

``python -m benchmarks.store`` writes synthetic rows, extracts them with the weightless encoder of `pipeline.testing`
(all new), extracts them again (all known), each in a process of its own, and prints rows a second and peak memory.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import deque
from pathlib import Path

from pipeline.datasets.checks import Rows
from pipeline.datasets.table import StoredTexts, TableWriter
from pipeline.features.extract import extract_missing, list_facts
from pipeline.features.store import FeatureStore
from pipeline.testing import WordLengthEncoder

BLOCK = 40_000


def write_rows(folder: Path, n: int) -> None:
    """Write `n` distinct short texts, as a prepared data set has them."""
    folder.mkdir()
    with TableWriter(folder) as writer:
        for begin in range(0, n, BLOCK):
            lines = list(range(begin, min(begin + BLOCK, n)))
            texts = [f"{i:x} bottles {'of ' * (i % 5)}beer on the wall" for i in lines]
            writer.write("train", Rows(texts, ["a"] * len(texts), lines))


def extract(folder: Path, root: Path) -> None:
    """Bring a data set's texts into the store below `root`; print rows encoded, seconds and peak memory."""
    encoder = WordLengthEncoder(dim=8, batch_size=1_000)
    encoder.seen = deque(maxlen=0)  # type: ignore[assignment]  # remembers nothing
    store = FeatureStore(root / "features" / "words", root)
    keys = root / "keys.npy"
    texts = StoredTexts(folder)
    began = time.monotonic()
    done = extract_missing(
        texts,
        [store],
        lambda _: encoder,
        keys_paths=[keys],
        feature_dtype="float32",
    )
    facts = list_facts(keys, store, 128)
    seconds = time.monotonic() - began
    assert facts["rows"] == len(texts)
    (line,) = (
        line
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM")
    )
    print(done.rows_encoded, seconds, int(line.split()[1]) / 1024)


def main() -> None:
    """Measure for each number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--extract", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.extract:
        extract(*map(Path, options.extract))
        return
    print("     rows    what   encoded      rows/s   peak MiB")
    for n in options.rows:
        with tempfile.TemporaryDirectory() as name:
            root = Path(name) / "artifacts"
            root.mkdir()
            write_rows(Path(name) / "rows", n)
            for what in ("new", "known"):
                command = [sys.executable, "-m", "benchmarks.store", "--extract"]
                out = subprocess.run(
                    [*command, str(Path(name) / "rows"), str(root)],
                    check=True,
                    capture_output=True,
                    text=True,
                ).stdout
                encoded, seconds, peak = map(float, out.split())
                print(
                    f"{n:9,} {what:>7} {encoded:9,.0f} {n / seconds:11,.0f} {peak:10.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()

"""How often a predictor's drift sentinel alarms: on held-out texts of the same kind, and on others.

    python -m benchmarks.drift --train ../shared/data/sst2/train.tsv --same ../shared/data/sst2/test.tsv \
        --other ../shared/data/semeval2018-ec/dev.txt:Tweet ../shared/data/ag_news/test.csv

A file is read as ``FILE[:COLUMN[:SEPARATOR]]``: a column's name in the first line, or its number, 1 by default; fields
are separated by tabs, in ``.csv`` as in RFC 4180. The encoder's features of the training file make the reference.
Windows are drawn from each other file without repetition, and the share that alarms is printed for each size. Last
comes the method's own rate: training and held-out texts are mixed and divided anew, so that only chance is left.
"""

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import table
from pipeline import FeatureExtractor
from pipeline.evaluation.drift import LEVEL, MAX_ROWS, Reference
from pipeline.heads.objective import one_blas_thread

SIZES = (50, 100, 200, 500, 1_000)
MIXES = 40  # references of the last row
SEED = 7
N_SHOWN = 200
Features = NDArray[np.float32]


def read(source: str) -> list[str]:
    """Return the texts of ``FILE[:COLUMN[:SEPARATOR]]``."""
    parts = source.split(":")
    name, column, separator = parts + ["", "1", "\t"][len(parts) :]
    path = Path(name)
    content = path.read_text(encoding="utf-8")
    rows = (
        list(csv.reader(content.splitlines(keepends=True)))
        if path.suffix == ".csv"
        else [line.split(separator) for line in content.split("\n") if line]
    )
    if column.isdecimal():
        return [row[int(column) - 1] for row in rows]
    return [row[rows[0].index(column)] for row in rows[1:]]


def share(n_windows: int, alarms: Callable[[], bool | None]) -> str:
    """Return which share of windows alarms."""
    return f"{100 * sum(bool(alarms()) for _ in range(n_windows)) / n_windows:.1f} %"


def shares(
    features: Features,
    reference: Reference,
    n_windows: int,
    generator: np.random.Generator,
) -> list[str]:
    """Return the share of alarms for each size of window; a dash where the texts are too few."""

    def alarms(n: int) -> bool | None:
        chosen = generator.choice(len(features), n, replace=False)
        return reference.compare(features[chosen]).is_found

    return [
        share(n_windows, lambda n=n: alarms(n)) if n <= len(features) else "-"  # type: ignore[misc]  # bound now
        for n in SIZES
    ]


def mixed_shares(
    train: Features, same: Features, n_windows: int, generator: np.random.Generator
) -> list[str]:
    """Return the same for texts that are mixed and divided anew, with `MIXES` references."""
    pool, found = np.concatenate([train, same]), np.zeros(len(SIZES))
    each = max(1, n_windows // MIXES)
    for _ in range(MIXES):
        order = generator.permutation(len(pool))
        reference = Reference.of(pool[order[: len(train)]])
        assert reference is not None
        rest = order[len(train) :]
        for i, n in enumerate(SIZES):
            for _ in range(each if n <= len(rest) else 0):
                chosen = generator.choice(rest, n, replace=False)
                found[i] += bool(reference.compare(pool[chosen]).is_found)
    return [
        f"{100 * count / (each * MIXES):.1f} %" if n <= len(same) else "-"
        for n, count in zip(SIZES, found, strict=True)
    ]


def options_of() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--train", required=True)
    parser.add_argument("--same", required=True, help="held-out texts of its kind")
    parser.add_argument("--other", nargs="*", default=[])
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--pooling", default="mean")
    parser.add_argument("--windows", type=int, default=2_000)
    parser.add_argument("--cache", help="an artifacts folder, to encode only once")
    return parser.parse_args()


def main() -> None:
    """Encode, draw windows, print."""
    options = options_of()
    extractor = FeatureExtractor(
        options.encoder, pooling=options.pooling, cache=options.cache
    )
    train, same = (
        extractor.transform(read(name)) for name in (options.train, options.same)
    )
    generator = np.random.default_rng(SEED)
    with one_blas_thread():
        reference = Reference.of(train)
        if reference is None:
            raise SystemExit(f"{options.train} is too small to be described")
        draw = options.windows, generator
        rows = [[options.same, f"{len(same):,}", *shares(same, reference, *draw)]]
        for name in options.other:
            other = extractor.transform(read(name))
            print(f"{name}: the first {reference.compare(other[:N_SHOWN])}")
            rows.append([name, f"{len(other):,}", *shares(other, reference, *draw)])
        mixed = mixed_shares(train, same, *draw)
        rows.append(["both mixed anew", f"{len(train) + len(same):,}", *mixed])
    size_kb = sum(array.nbytes for array in reference.arrays().values()) / 1e3
    print(
        f"{options.encoder} [{options.pooling}], {len(train):,} training texts (at most {MAX_ROWS:,} are used), "
        f"reference of {size_kb:.0f} kB; {options.windows:,} windows each, level {LEVEL:.0%}\n"
    )
    print(table(["texts", "n", *(f"{n:,} a window" for n in SIZES)], rows))


if __name__ == "__main__":
    main()

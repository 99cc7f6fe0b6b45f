"""How fast a row store is searched for similar texts, in how much memory, and that the search is exact.

``python -m benchmarks.similar`` writes texts with random features, then searches all of them, for one query and for a
hundred, in a process of its own each time; the stored bytes are checked first, as they always are. scikit-learn's brute
force, with all features in memory, must find the same texts.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from benchmarks.fitting import peak_mb
from benchmarks.measure import N_THREADS, Spread, described, machine, table
from benchmarks.store import write_rows
from pipeline.datasets.table import StoredTexts
from pipeline.features.extract import list_facts
from pipeline.features.keys import row_keys
from pipeline.features.store import SHARD_BYTES, FeatureStore
from pipeline.features.stored import StoredFeatures
from pipeline.predictor.origin import Origin
from pipeline.predictor.similar import similar_texts
from pipeline.storage import disk, publish_directory

TOP = 10
REPETITIONS = 3
Lines = list[list[int]]


def origin_in(root: Path) -> Origin:
    """Return where `write_store` puts things; there is no split."""
    features = root / "features" / "any" / "datasets" / "any"
    return Origin(root, root / "datasets" / "any", root, (features,))


def write_store(root: Path, rows: int, dim: int) -> None:
    """Write distinct texts with random features, as a run leaves them."""
    origin = origin_in(root)
    origin.dataset.parent.mkdir()
    write_rows(origin.dataset, rows)
    texts = StoredTexts(origin.dataset)
    keys = np.concatenate([row_keys(block) for _, block in texts.blocks()])
    store = FeatureStore(root / "features" / "any", root)
    generator = np.random.default_rng(0)
    size = SHARD_BYTES // (4 * dim)
    for some in np.split(keys, range(size, rows, size)):
        values = generator.standard_normal((len(some), dim), dtype=np.float32)
        store.append(some, values, np.ones(len(some), dtype=np.int32))
    (features,) = origin.features
    with publish_directory(
        features, root=root, stage="any", key="any", key_fields={}
    ) as draft:
        disk.save_array(draft.path / "keys.npy", keys)
        draft.facts.update(list_facts(draft.path / "keys.npy", store, 128))


def ours(queries: NDArray[np.float32], origin: Origin) -> Lines:
    """Return the lines of the texts that are found."""
    found = similar_texts(queries, origin, TOP)
    return [[text.line for text in texts] for texts in found]


def theirs(queries: NDArray[np.float32], origin: Origin) -> Lines:
    """Return the same by scikit-learn, in memory; a row is its line here."""
    stored = StoredFeatures.of(origin.features, origin.artifacts)
    features = stored.take(np.arange(len(stored)))
    brute = NearestNeighbors(n_neighbors=TOP, metric="cosine", algorithm="brute")
    lines: Lines = (
        brute.fit(features).kneighbors(queries, return_distance=False).tolist()
    )
    return lines


SYSTEMS: dict[str, Callable[[NDArray[np.float32], Origin], Lines]] = {
    "frostbert": ours,
    "scikit-learn": theirs,
}


def search(system: str, root: Path, n_queries: int, dim: int) -> None:
    """Search the store once; print what was found, seconds, and how much memory came to what importing takes."""
    generator = np.random.default_rng(1)
    queries = generator.standard_normal((n_queries, dim), dtype=np.float32)
    before, began = peak_mb(), time.perf_counter()
    lines = SYSTEMS[system](queries, origin_in(root))
    seconds = time.perf_counter() - began
    print(json.dumps({"lines": lines, "s": seconds, "mb": peak_mb() - before}))


def main() -> None:
    """Measure, and compare with scikit-learn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10**6)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--search", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.search:
        system, root, n_queries = options.search
        search(system, Path(root), int(n_queries), options.dim)
        return
    print(described(machine(N_THREADS)), flush=True)
    with tempfile.TemporaryDirectory() as name:
        write_store(Path(name), options.rows, options.dim)
        lines = [_measure(name, n_queries, options) for n_queries in (1, 100)]
    head = ("queries", "system", "seconds", "rows/s", "MiB more at the peak", "texts")
    print(table(head, [line for some in lines for line in some]))


def _measure(
    root: str, n_queries: int, options: argparse.Namespace
) -> list[tuple[str, ...]]:
    """Return a line of the table for each system, whose repetitions alternate."""
    command = [sys.executable, "-m", "benchmarks.similar", "--dim", str(options.dim)]
    done: dict[str, list[dict[str, Any]]] = {
        system: [] for system in SYSTEMS
    }  # Any: JSON
    for _ in range(REPETITIONS):
        for system, found in done.items():
            out = subprocess.run(
                [*command, "--search", system, root, str(n_queries)],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
            found.append(json.loads(out))
    expected = done["scikit-learn"][0]["lines"]
    rows: list[tuple[str, ...]] = []
    for system, found in done.items():
        seconds = Spread.of(one["s"] for one in found)
        peak = Spread.of(one["mb"] for one in found)
        is_same = all(one["lines"] == expected for one in found)
        pace = f"{options.rows / seconds.median:,.0f}"
        agreement = "the same" if is_same else "others"
        rows.append(
            (str(n_queries), system, seconds.text(2), pace, peak.text(0), agreement)
        )
    return rows


if __name__ == "__main__":
    main()

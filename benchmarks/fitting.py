"""Time and peak memory of fitting the head on stored features, and how it agrees with scikit-learn's fit.

    python -m benchmarks.fitting --rows 1000000
    python -m benchmarks.fitting --rows 10000000 --dim 384 --dir /scratch
    python -m benchmarks.fitting --rows 67000 --dim 768 --C auto

The features are made up, the same in each run: correlated columns on scales and offsets of their own, in clouds, and
two classes drawn from a known logistic model, so that no fit is perfect. They lie in files of 128 MB, which are
removed again, and are read memory-mapped. The comparison is on a sample that both fit: scikit-learn's own
newton-cholesky holds it in memory, `fit_stream` reads it in blocks. With ``--C auto`` the fit is that of a run, the
search of C by cross-validation included; nothing is compared.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline.config import HeadSpec
from pipeline.heads.head import Features
from pipeline.heads.objective import Block
from pipeline.heads.streaming import fit_stored, fit_stream
from pipeline.splitting import N_FOLDS

FILE_BYTES, BLOCK = 128e6, 16_384
CLOUDS, FACTORS = 8, 32
C = 1.0


class Files:
    """Rows in ``.npy`` files, read memory-mapped; each pass over them is timed.

    Attributes
    ----------
    passes_s : list of float
        Seconds of each pass, the work on its blocks among them.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        arrays = [self.open(i) for i in range(len(paths))]
        self.begins = np.cumsum([0] + [len(array) for array in arrays])
        self.dim = int(arrays[0].shape[1])
        self.passes_s: list[float] = []

    def open(self, number: int) -> Features:
        """Map a file."""
        array: Features = np.load(self.paths[number], mmap_mode="r")
        return array

    def __len__(self) -> int:
        """Return the number of rows."""
        return int(self.begins[-1])

    def blocks(self) -> Iterator[Block]:
        """Yield the rows in order."""
        began = time.monotonic()
        for number, first in enumerate(self.begins[:-1]):
            array = self.open(number)
            for i in range(0, len(array), BLOCK):
                block = array[i : i + BLOCK]
                yield np.arange(first + i, first + i + len(block)), block
        self.passes_s.append(time.monotonic() - began)

    def take(self, rows: NDArray[np.int64]) -> Features:
        """Return the rows in memory."""
        taken = np.empty((len(rows), self.dim), dtype=np.float32)
        places = np.searchsorted(self.begins, rows, side="right") - 1
        for number in np.unique(places):
            here = places == number
            taken[here] = self.open(number)[rows[here] - self.begins[number]]
        return taken

    def sample(self, m: int) -> NDArray[np.int64]:
        """Return rows chosen at random, the same each time."""
        chosen = np.random.default_rng(0).choice(
            len(self), min(m, len(self)), replace=False
        )
        return np.sort(chosen)


def write(folder: Path, n: int, dim: int) -> tuple[list[Path], NDArray[np.int64]]:
    """Write `n` rows into files, and return their paths and the labels."""
    model = np.random.default_rng(1)
    clouds = model.normal(size=(CLOUDS, dim)).astype(np.float32)
    mixing = model.normal(size=(FACTORS, dim)).astype(np.float32) / FACTORS**0.5
    scale = np.exp(model.normal(size=dim)).astype(np.float32)
    offset = (3 * scale * model.normal(size=dim)).astype(np.float32)
    coef = (3 * model.normal(size=dim) / dim**0.5).astype(np.float32)
    labels = np.empty(n, dtype=np.int64)
    paths, size = [], int(FILE_BYTES / (4 * dim))
    for number, begin in enumerate(range(0, n, size)):
        rows = slice(begin, min(begin + size, n))
        random = np.random.default_rng([2, number])
        m = rows.stop - begin
        values = random.standard_normal((m, dim), dtype=np.float32)
        values += random.standard_normal((m, FACTORS), dtype=np.float32) @ mixing
        values += 0.5 * clouds[random.integers(0, CLOUDS, m)]
        labels[rows] = random.random(m) < 1 / (1 + np.exp(-(values @ coef) + 1))
        values *= scale
        values += offset
        paths.append(folder / f"{number:05d}.npy")
        np.save(paths[-1], values)
    return paths, labels


def peak_mb() -> float:
    """Return the process's peak resident memory, in 2**20 bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def fit_searched(files: Files, labels: NDArray[np.int64]) -> None:
    """Search C and fit as a run does, and print what it took."""
    folds = (np.random.default_rng(3).permutation(len(files)) % N_FOLDS).astype(np.int8)
    before_mb, began = peak_mb(), time.monotonic()
    head = fit_stored(files, labels, HeadSpec(C="auto"), folds)
    print(f"{len(files):,} rows of {files.dim}, {len(files.paths)} files")
    print(f"C             {head.C:g} of {len(head.search)} tried on {N_FOLDS} folds")
    print(f"time          {time.monotonic() - began:.1f} s")
    print(f"peak memory   {peak_mb():,.0f} MB (before the fit {before_mb:,.0f} MB)")


def fit_all(files: Files, labels: NDArray[np.int64]) -> None:
    """Fit on all rows, and print what it took."""
    before_mb, began = peak_mb(), time.monotonic()
    head = fit_stream(files, labels, HeadSpec(C=C))
    elapsed_s, passes_s = time.monotonic() - began, files.passes_s
    median_s, size_gb = float(np.median(passes_s)), len(files) * files.dim * 4 / 1e9
    print(f"{len(files):,} rows of {files.dim}, {len(files.paths)} files")
    print(f"solver        {head.solver}, C {head.C:g}, {head.n_iter} iterations")
    print(f"converged     {head.converged}")
    print(f"time          {elapsed_s:.1f} s")
    print(f"passes        {len(passes_s)}, {sum(passes_s):.1f} s")
    print(f"s a pass      {' '.join(f'{one:.1f}' for one in passes_s)}")
    print(f"median pass   {median_s:.1f} s, {size_gb / median_s:.1f} GB/s")
    print(f"peak memory   {peak_mb():,.0f} MB (before the fit {before_mb:,.0f} MB)")


def compare(files: Files, labels: NDArray[np.int64], n: int, folder: Path) -> None:
    """Fit a sample both ways, and print how they agree on it."""
    rows = files.sample(n)
    values = files.take(rows)
    np.save(folder / "sample.npy", values)
    sample = Files([folder / "sample.npy"])
    began = time.monotonic()
    head = fit_stream(sample, labels[rows], HeadSpec(C=C))
    ours_s = time.monotonic() - began
    began = time.monotonic()
    scaled = StandardScaler().fit_transform(values.astype(np.float64))
    reference = LogisticRegression(C=C, solver="newton-cholesky", tol=1e-6)
    reference.fit(scaled, labels[rows])
    theirs_s = time.monotonic() - began
    ours = head.probabilities(values).argmax(axis=1)
    same = ours == reference.predict(scaled)
    print(
        f"on {len(rows):,} rows fit_stream {ours_s:.1f} s, scikit-learn {theirs_s:.1f} s"
    )
    hessian_s = sample.passes_s[
        1
    ]  # the first was for mean and scale; this one is from zeros, and so has a Hessian
    work = (
        len(rows) * sample.dim**2 / 1e9
    )  # a symmetric product: a multiplication and an addition for half its cells
    print(f"Hessian pass  {hessian_s:.2f} s, {work / hessian_s:.0f} GFLOP/s")
    print(f"accuracy      {(ours == labels[rows]).mean():.4f}")
    print(f"same label    {same.mean():.6f} ({(~same).sum()} differ)")
    print(
        f"coefficients  differ by at most {np.abs(head.coef - reference.coef_).max():.1e}",
        end="",
    )
    print(f", the largest is {np.abs(reference.coef_).max():.2f}")


def main() -> None:
    """Make the features, fit on all, and compare on a sample."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384, help="features of a row")
    parser.add_argument(
        "--sample", type=int, default=200_000, help="rows to compare on"
    )
    parser.add_argument("--C", default=str(C), choices=("auto", str(C)))
    parser.add_argument("--dir", type=Path, help="where to write the features")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        began = time.monotonic()
        paths, labels = write(Path(name), options.rows, options.dim)
        print(f"wrote the features in {time.monotonic() - began:.0f} s", flush=True)
        files = Files(paths)
        if options.C == "auto":
            fit_searched(files, labels)
            return
        fit_all(files, labels)
        compare(files, labels, options.sample, Path(name))


if __name__ == "__main__":
    main()

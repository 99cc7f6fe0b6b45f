"""What a lower precision costs and what it gains: accuracy, changed labels and cosine beside rows/s.

    python -m benchmarks.accuracy --dataset FOLDER                         # train.tsv; test.tsv and dev.tsv are scored
    python -m benchmarks.accuracy --dataset FOLDER --scaling FILE.tsv --scaling-rows 50000

The offline encoder with [CLS] pooling encodes the data set in each precision; a head with C 0.1 is fitted on the
training texts' features and scores the others. Labels and cosines are compared with float32's. With ``--scaling`` come
the time of a token and the memory above the loaded model, of a thousand texts and of many.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import (
    described,
    limit_threads,
    machine,
    parser_of,
    read_rows,
    read_texts,
    save,
    table,
)
from benchmarks.ours import PRECISIONS
from benchmarks.peers import MAX_LENGTH
from benchmarks.systems import (
    OURS_COMMAND,
    System,
    SystemFailedError,
    count_tokens,
    encoder_folder,
)
from pipeline.config import HeadSpec
from pipeline.heads.logreg import fit_head

SPEC = HeadSpec(C=0.1)
WARM_UP = 64  # texts
FEW = 1_000


@dataclass(frozen=True)
class Data:
    """Texts and labels; the first `n_fit` are fitted on, the others are scored."""

    texts: list[str]
    labels: NDArray[np.object_]
    n_fit: int

    @classmethod
    def read(cls, folder: Path, n: int | None) -> "Data":
        """Read the first `n` rows of each file of a folder."""
        fit = read_rows(folder / "train.tsv", n)
        score = [
            row
            for name in ("test.tsv", "dev.tsv")
            if (folder / name).exists()
            for row in read_rows(folder / name, n)
        ]
        texts, labels = zip(*fit, *score, strict=True)
        return cls(list(texts), np.array(labels, dtype=object), len(fit))


@dataclass(frozen=True)
class Scaling:
    """What encoding some texts took."""

    texts: int
    tokens: int
    seconds: float
    extra_mb: float  # peak above the loaded model; the features and texts are in it


@dataclass(frozen=True)
class Precision:
    """What one precision gave; what is compared is compared with float32."""

    rows_per_s: float
    accuracy: float
    flipped: float
    min_cosine: float
    mean_cosine: float
    scaling: list[Scaling]


def predict(features: NDArray[np.float32], data: Data) -> NDArray[np.object_]:
    """Fit a head on the first features, and return the labels of the others."""
    n = data.n_fit
    head = fit_head(features[:n], data.labels[:n], SPEC, np.zeros(n, dtype=np.int8))
    chosen = head.probabilities(features[n:]).argmax(axis=1)
    return np.asarray(np.array(head.classes, dtype=object)[chosen])


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return the cosine of each pair of rows, shape (n,)."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / norms)


def scale(system: System, folder: Path, texts: list[str]) -> list[Scaling]:
    """Encode a thousand texts, then all."""
    found = []
    for part in (texts[:FEW], texts):
        done = system.encode(part)
        tokens = sum(count_tokens(folder, part, MAX_LENGTH))
        extra_mb = done.peak_mb - system.resident_mb
        found.append(Scaling(len(part), tokens, done.seconds[0], extra_mb))
    return found


class Comparison:
    """Measures one precision after the other; float32 comes first.

    Parameters
    ----------
    folder : Path
        The encoder.
    data : Data
    many : list of str
        Texts for the scaling; none: it is left out.
    threads : int
    """

    def __init__(self, folder: Path, data: Data, many: list[str], threads: int) -> None:
        self._folder, self._data, self._many = folder, data, many
        self._threads = threads
        self._first: NDArray[np.float32] | None = None

    def measure(self, precision: str) -> Precision:
        """Encode, fit, score.

        Raises
        ------
        SystemFailedError
            If no engine here has the precision.
        """
        data, name = self._data, f"frostbert {precision}"
        with System(name, OURS_COMMAND, self._folder, self._threads) as system:
            system.encode(data.texts[:WARM_UP])
            done = system.encode(data.texts)
            scaling = scale(system, self._folder, self._many) if self._many else []
        first = self._first = done.features if self._first is None else self._first
        predicted, cosine = predict(done.features, data), cosines(done.features, first)
        return Precision(
            rows_per_s=len(data.texts) / done.seconds[0],
            accuracy=float((predicted == data.labels[data.n_fit :]).mean()),
            flipped=float((predicted != predict(first, data)).mean()),
            min_cosine=float(cosine.min()),
            mean_cosine=float(cosine.mean()),
            scaling=scaling,
        )


def accuracy_table(found: dict[str, Precision | str]) -> str:
    """Return the table of precisions; one that failed is there with its error."""
    rows = [
        [name, "-", "-", "-", f"cannot run: {one[:160]}"]
        if isinstance(one, str)
        else [
            name,
            f"{one.rows_per_s:.1f}",
            f"{one.accuracy:.4f}",
            f"{one.flipped:.2%}",
            f"{one.min_cosine:.6f} ({one.mean_cosine:.6f})",
        ]
        for name, one in found.items()
    ]
    head = ("precision", "rows/s", "accuracy", "labels changed", "min (mean) cosine")
    return table(head, rows)


def scaling_table(found: dict[str, Precision | str]) -> str:
    """Return the table of time and memory for few and many texts."""
    rows = []
    for name, one in found.items():
        if isinstance(one, str):
            continue
        for size in one.scaling:
            few = one.scaling[0]
            us, base = (1e6 * s.seconds / s.tokens for s in (size, few))
            rows.append(
                [
                    name,
                    f"{size.texts:,}",
                    f"{us:.1f}",
                    f"{us / base:.2f} x",
                    f"{size.extra_mb:.0f}",
                ]
            )
    head = ("precision", "texts", "us a token", "of few texts'", "MB above the model")
    return table(head, rows) if rows else ""


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="a folder of TSV")
    parser.add_argument("--rows", type=int, help="only the first of each file")
    parser.add_argument("--encoder", default="minilm", help="minilm or a folder")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--scaling", type=Path, help="a TSV, texts first")
    parser.add_argument("--scaling-rows", type=int, help="only the first texts of it")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write ``accuracy.json`` and ``accuracy.md``, print the latter."""
    options = options_of(arguments)
    limit_threads(options.threads)
    facts = machine(options.threads)
    data = Data.read(options.dataset, options.rows)
    many = read_texts(options.scaling, options.scaling_rows) if options.scaling else []
    found: dict[str, Precision | str] = {}
    with encoder_folder(options.encoder) as folder:
        comparison = Comparison(folder, data, many, options.threads)
        for precision in options.precisions:
            try:
                found[precision] = comparison.measure(precision)
            except SystemFailedError as error:
                found[precision] = str(error)
    sizes = f"{data.n_fit:,} texts fitted on, {len(data.texts) - data.n_fit:,} scored"
    parts = [described(facts), sizes, accuracy_table(found), scaling_table(found)]
    precisions = {
        name: {"error": one} if isinstance(one, str) else asdict(one)
        for name, one in found.items()
    }
    everything = {"machine": facts, "precisions": precisions}
    save(options.out, "accuracy", everything, "\n\n".join(filter(None, parts)))


if __name__ == "__main__":
    main()

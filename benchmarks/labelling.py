"""Labels needed by ``frostbert label``'s choice and by random choice, on data whose labels are known.

    python -m benchmarks.labelling --data ../shared/data [--only sst2 ag_news] [--seeds 5] [--heads]

The training texts are labelled one by one with their known labels, as a person would (`pipeline.labelling.session`);
the head that the choice uses is scored on the official test rows as it goes. Random choice has the same head and the
same number of labels. Full data: the same head's features with all training labels and C by cross-validation, as
``TrainLogReg`` fits it. A seed reaches the target at the first multiple of `STEP` labels whose accuracy is not below.

``--heads`` compares ways to fit the head on few training rows of each class instead, scored on other training rows.
"""

import argparse
import csv
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from benchmarks.measure import table
from pipeline.config import ComputeSpec, EncoderSpec, HeadSpec
from pipeline.encoder.shared import load_shared
from pipeline.features.cache import CachedEncoder
from pipeline.heads.head import Head
from pipeline.heads.logreg import encode, fit_head
from pipeline.labelling.answers import Answers
from pipeline.labelling.choice import Pool
from pipeline.labelling.protocol import drawn
from pipeline.labelling.session import Session
from pipeline.splitting import N_FOLDS, make_folds

STEP = 20  # labels between two scores
SHARE = 0.95  # of the accuracy with all labels
SHOWN = (20, 40, 60, 100, 200, 300, 400, 500)
Rows = tuple[list[str], NDArray[np.object_]]
Curve = dict[int, float]
Choose = Callable[["Data", int, int], Curve]


def read_sst2(path: Path) -> Rows:
    """Read a sentence and its label a line."""
    lines = path.with_suffix(".tsv").read_text(encoding="utf-8").split("\n")
    return _unique([line.rsplit("\t", 1) for line in lines if line])


def read_ag_news(path: Path) -> Rows:
    """Read a quoted text and its label a line."""
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as stream:
        return _unique(list(csv.reader(stream)))


def _unique(rows: list[list[str]]) -> Rows:
    """Return each text once: a person labels it once."""
    found = {row[0]: row[1] for row in rows}
    return list(found), np.array(list(found.values()), dtype=object)


READERS = {"sst2": read_sst2, "ag_news": read_ag_news}
MOST = {"sst2": 500, "ag_news": 300}  # labels


class Data:
    """Training and test rows with features."""

    def __init__(self, train: Rows, test: Rows, encoder: CachedEncoder) -> None:
        (self.texts, self.labels), (test_texts, self.test_labels) = train, test
        self.features = encoder.encode(self.texts)
        self._test_features = encoder.encode(test_texts)

    def accuracy(self, head: Head) -> float:
        """Return the share of test rows that a head is right about."""
        decided = head.decide(head.outputs(self._test_features))
        answers = np.array(head.classes, dtype=object)[decided]
        return float((answers == self.test_labels).mean())

    def with_all_labels(self) -> float:
        """Return the accuracy of the head that ``TrainLogReg`` fits."""
        folds = make_folds(self.texts, self.labels.tolist(), n_folds=N_FOLDS, seed=42)
        return self.accuracy(fit_head(self.features, self.labels, HeadSpec(), folds))


def ours(data: Data, most: int, seed: int) -> Curve:
    """Label what the session asks for."""
    curve: Curve = {}
    with tempfile.TemporaryDirectory() as folder:
        answers = Answers(Path(folder) / "labels.jsonl")
        session = Session(data.texts, data.features, answers, seed=seed)
        pool = Pool(data.features)
        while len(answers) < most:
            (choice,) = session.next()
            session.answer(choice, str(data.labels[choice.row]))
            if len(answers) % STEP == 0:
                rows, _, _ = session.labelled()
                curve[len(rows)] = data.accuracy(pool.fit(rows, data.labels[rows]))
    return curve


def random(data: Data, most: int, seed: int) -> Curve:
    """Label random texts."""
    order = np.random.default_rng(seed).permutation(len(data.texts))
    pool = Pool(data.features)
    return {
        n: data.accuracy(pool.fit(order[:n], data.labels[order[:n]]))
        for n in range(STEP, most + 1, STEP)
    }


def head_rows(data: Data, n_draws: int) -> list[list[str]]:
    """Return rows of accuracy and log loss on other training rows, by rows a class, scaling and C."""
    _, y = encode(data.labels)
    X, rows = data.features.astype(np.float64), []
    for per_class in (2, 8, 32):
        draws = [drawn(y, per_class, (seed, per_class)) for seed in range(n_draws)]
        for name in ("all rows", "the few rows"):
            cells = []
            for C in (0.001, 0.01, 0.1, 1.0, 1 / len(draws[0])):
                found = []
                for few in draws:
                    of = X if name == "all rows" else X[few]
                    scaled = (X - of.mean(axis=0)) / of.std(axis=0)
                    model = LogisticRegression(C=C, max_iter=1_000)
                    model.fit(scaled[few], y[few])
                    rest = np.setdiff1d(np.arange(len(y)), few)
                    proba = model.predict_proba(scaled[rest])
                    right = proba.argmax(axis=1) == y[rest]
                    found.append((right.mean(), log_loss(y[rest], proba)))
                accuracy, loss = np.mean(found, axis=0)
                cells.append(f"{accuracy:.3f} / {loss:.3f}")
            rows.append([str(per_class), name, *cells])
    return rows


def needed(curve: Curve, target: float) -> int | None:
    """Return the fewest labels that reach the target; None where none do."""
    return next((n for n, score in sorted(curve.items()) if score >= target), None)


def rows_of(name: str, curves: list[Curve], target: float) -> list[str]:
    """Return a row of the table: mean and spread at some sizes, and the labels needed."""
    at = [[curve[n] for curve in curves] for n in SHOWN if n in curves[0]]
    cells = [f"{np.mean(v):.3f} ± {np.std(v, ddof=1):.3f}" for v in at]
    found = [needed(curve, target) for curve in curves]
    mean = {n: float(np.mean([curve[n] for curve in curves])) for n in curves[0]}
    each = ", ".join("never" if n is None else str(n) for n in found)
    return [name, *cells, str(needed(mean, target) or "never"), each]


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/labelling"))
    parser.add_argument("--only", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--heads", action="store_true", help="compare heads instead")
    options = parser.parse_args(arguments)
    spec = EncoderSpec(encoder="minilm", pooling="mean")
    encoder = CachedEncoder(spec, ComputeSpec(), options.out / "artifacts", load_shared)
    for name in options.only:
        read = READERS[name]
        train, test = (read(options.data / name / part) for part in ("train", "test"))
        data = Data(train, test, encoder)
        if options.heads:
            print(f"\n{name}: accuracy / log loss, means of {options.seeds} draws\n")
            columns = ("C = 0.001", "0.01", "0.1", "1", "1 / n")
            rows = head_rows(data, options.seeds)
            print(table(("rows a class", "scaled by", *columns), rows), flush=True)
            continue
        full = data.with_all_labels()
        rows = []
        for title, choose in (("ours", ours), ("random", random)):
            curves = [choose(data, MOST[name], seed) for seed in range(options.seeds)]
            rows.append(rows_of(title, curves, SHARE * full))
        sizes = [str(n) for n in SHOWN if n <= MOST[name]]
        print(
            f"\n{name}: accuracy on the official test by number of labels, mean ± standard deviation of "
            f"{options.seeds} seeds; all {len(data.texts):,} labels give {full:.3f}, {SHARE:.0%} of it is "
            f"{SHARE * full:.3f}\n"
        )
        head = ("choice", *sizes, "labels for 95 % (mean curve)", "each seed")
        print(table(head, rows), flush=True)


if __name__ == "__main__":
    main()

"""How often the 95 % intervals of a report hold the truth.

    python -m benchmarks.coverage
    python -m benchmarks.coverage --sets 200 --rows 500

Draws data sets from two systems whose answers have a known distribution, so that accuracy, macro F1 and difference are
known; measures each data set as a report does; and prints which share of the intervals hold the truth. Then the same
where rows belong together, in clusters of one to five of which most rows are answered alike: intervals over clusters
beside those that take every row for itself. Then micro F1 of three labels a row, which depend on each other, and
Pearson's correlation of normal answers with normal values. With 2,000 data sets a share is known to about 0.5 points
(one standard error); 93.5 to 96.5 % is what is expected of an interval of 95 %.
"""

import argparse
import time
from collections import Counter
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.labels import ScoredLabels
from pipeline.evaluation.metrics import Scored, differences, figures, measure
from pipeline.evaluation.resampling import Clusters
from pipeline.evaluation.values import ScoredValues

SHARE = 0.48  # of the first class
RECALL = (0.84, 0.78)  # of the first system on each class
# How often the second is right where the first is, and where it is not.
AGAIN, INSTEAD = 0.93, 0.34
MOST = 5  # rows of a cluster
ALIKE = 0.7  # of the rows of a cluster are as its first one
# Of each of three labels: how often it is there, found where it is there, and answered where it is not; how often
# a row takes all of these from one draw, so that its labels go together.
LABELS = ((0.35, 0.75, 0.1), (0.15, 0.6, 0.05), (0.05, 0.4, 0.02))
TOGETHER = 0.5
CORRELATION = 0.7
SEED = 7
METRICS = ("accuracy", "f1_macro")
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class World:
    """The distribution that rows come from.

    Attributes
    ----------
    shares : ndarray of float64, shape (2, 2, 2)
        Probability of a row's class, and of the answers of both systems.
    """

    shares: NDArray[np.float64]

    @classmethod
    def known(cls) -> "World":
        """Return the one that is simulated."""
        return cls.of(SHARE, RECALL, AGAIN, INSTEAD)

    @classmethod
    def of(
        cls, share: float, recall: tuple[float, float], again: float, instead: float
    ) -> "World":
        """Return that of a first class of some share, the first system's recalls, and when the second one is right."""
        shares = np.zeros((2, 2, 2))
        for y, (of_class, right) in enumerate(
            zip((share, 1 - share), recall, strict=True)
        ):
            shares[y, y] = of_class * right * (1 - again)
            shares[y, y, y] = of_class * right * again
            shares[y, 1 - y] = of_class * (1 - right) * (1 - instead)
            shares[y, 1 - y, y] = of_class * (1 - right) * instead
        return cls(shares)

    def truth(self) -> dict[str, float]:
        """Return the figures of endlessly many rows."""
        first, second = self.shares.sum(axis=2), self.shares.sum(axis=1)
        return {
            "accuracy": accuracy(first),
            "f1_macro": f1_macro(first),
            "difference": accuracy(second) - accuracy(first),
        }

    def draw(self, generator: np.random.Generator, n: int) -> Numbers:
        """Return the class and both answers of `n` rows, shape (n, 3)."""
        cells = generator.choice(8, size=n, p=self.shares.ravel())
        return np.stack(np.unravel_index(cells, (2, 2, 2)), axis=1)

    def draw_clusters(
        self, generator: np.random.Generator, n: int
    ) -> tuple[Numbers, Clusters]:
        """Return about `n` rows in clusters."""
        sizes = generator.integers(1, MOST + 1, size=round(2 * n / (MOST + 1)))
        of = np.repeat(np.arange(len(sizes)), sizes)
        leaders = self.draw(generator, len(sizes))[of]
        is_alike = generator.random(len(of)) < ALIKE
        rows = np.where(is_alike[:, None], leaders, self.draw(generator, len(of)))
        return rows, Clusters(of, len(sizes))


def accuracy(shares: NDArray[np.float64]) -> float:
    """Return the accuracy of a system from the shares of class and answer, (2, 2)."""
    return float(shares.trace())


def f1_macro(shares: NDArray[np.float64]) -> float:
    """Return the macro F1 of a system from the shares of class and answer, (2, 2)."""
    return float(
        (2 * shares.diagonal() / (shares.sum(axis=0) + shares.sum(axis=1))).mean()
    )


def held(rows: Numbers, clusters: Clusters, truth: dict[str, float]) -> Counter[str]:
    """Return which intervals of one data set hold the truth."""
    y, answers = rows[:, 0], rows[:, 1:]
    first, second = (
        measure(Scored(y, np.eye(2)[answer]), clusters, METRICS) for answer in answers.T
    )
    intervals = {
        **figures(first),
        "difference": differences(second, first)["accuracy"],
    }
    found: Counter[str] = Counter()
    for name, value in truth.items():
        low, high = cast("tuple[float, float]", intervals[name]["ci95"])
        found[name] = int(low <= value <= high)
    return found


def coverage(n_sets: int, n: int) -> dict[str, Counter[str]]:
    """Return, for single rows, clusters and clusters taken for rows, how many intervals hold the truth."""
    world = World.known()
    truth = world.truth()
    generator = np.random.default_rng(SEED)
    found: dict[str, Counter[str]] = {
        name: Counter() for name in ("rows", "clusters", "clusters as rows")
    }
    for _ in range(n_sets):
        found["rows"] += held(world.draw(generator, n), Clusters.of_rows(n), truth)
        rows, clusters = world.draw_clusters(generator, n)
        found["clusters"] += held(rows, clusters, truth)
        found["clusters as rows"] += held(rows, Clusters.of_rows(len(rows)), truth)
    return found


def draw_labels(generator: np.random.Generator, n: int) -> ScoredLabels:
    """Return labels of `n` rows and answers to them."""
    shares, recalls, alarms = np.array(LABELS).T
    alike = generator.random((n, 1)) < TOGETHER

    def drawn() -> NDArray[np.float64]:
        each, one = generator.random((n, len(LABELS))), generator.random((n, 1))
        return np.where(alike, one, each)

    y = drawn() < shares
    answers = drawn() < np.where(y, recalls, alarms)
    return ScoredLabels(y, answers.astype(np.float64))


def draw_values(generator: np.random.Generator, n: int) -> ScoredValues:
    """Return values of `n` rows and answers to them."""
    y, noise = generator.normal(size=(2, n))
    return ScoredValues(y, CORRELATION * y + (1 - CORRELATION**2) ** 0.5 * noise)


def truth_of_kinds() -> dict[str, float]:
    """Return the figures of endlessly many rows with several labels, and with values."""
    shares, recalls, alarms = np.array(LABELS).T
    hits, answers = shares * recalls, shares * recalls + (1 - shares) * alarms
    micro = 2 * hits.sum() / (shares.sum() + answers.sum())
    return {"f1_micro": float(micro), "pearson": CORRELATION}


def coverage_of_kinds(n_sets: int, n: int) -> Counter[str]:
    """Return how many intervals of micro F1 and of Pearson's correlation hold the truth."""
    generator = np.random.default_rng(SEED)
    found: Counter[str] = Counter()
    for _ in range(n_sets):
        for name, scored in (
            ("f1_micro", draw_labels(generator, n)),
            ("pearson", draw_values(generator, n)),
        ):
            figure = figures(measure(scored, metrics=(name,)))[name]
            low, high = cast("tuple[float, float]", figure["ci95"])
            found[name] += int(low <= truth_of_kinds()[name] <= high)
    return found


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2_000)
    parser.add_argument("--rows", type=int, default=1_821)
    options = parser.parse_args()
    began = time.perf_counter()
    truth = World.known().truth()
    found = coverage(options.sets, options.rows)
    print(
        f"{options.sets:,} data sets of {options.rows:,} rows, {time.perf_counter() - began:.0f} s; "
        + ", ".join(f"{name} {value:.4f}" for name, value in truth.items())
    )
    print(f"{'':<18}" + "".join(f"{name:>12}" for name in truth))
    for name, counts in found.items():
        shares = (f"{100 * counts[figure] / options.sets:.2f} %" for figure in truth)
        print(f"{name:<18}" + "".join(f"{share:>12}" for share in shares))
    of_kinds = coverage_of_kinds(options.sets, options.rows)
    for name, value in truth_of_kinds().items():
        share = 100 * of_kinds[name] / options.sets
        print(f"{name} {value:.4f}: {share:.2f} %")


if __name__ == "__main__":
    main()

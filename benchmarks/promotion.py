"""How often ``frostbert promote`` lets a worse model pass, and how often an equal or a better one.

    python -m benchmarks.promotion
    python -m benchmarks.promotion --sets 200

Draws data sets from two systems whose answers have a known distribution, such that the new one is truly worse by
exactly the margin, equal, or a point better, and judges each as the command does. Of systems that are worse by the
margin at most 5 % may pass. With 2,000 data sets a share of 5 % is known to about 0.5 points (one standard error);
the equal and the better ones are a quarter as many.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from benchmarks.coverage import Numbers, World, accuracy, f1_macro
from benchmarks.measure import table
from pipeline.evaluation.metrics import Scored
from pipeline.evaluation.noninferiority import non_inferiority
from pipeline.evaluation.resampling import Clusters

SEED = 11
FIGURES = {"accuracy": accuracy, "f1_macro": f1_macro}
LEAST = 0.5  # how often the new system is right at least where the old one is


class ImpossibleError(ValueError):
    """No system with these answers is so good."""


@dataclass(frozen=True)
class Case:
    """Two systems, and the rows they are compared on.

    Attributes
    ----------
    name : str
    n : int
        Rows.
    margin : float
    metric : str
    share : float
        Of the first class.
    recall : tuple of two float
        Of the old system on each class.
    instead : float
        How often the new one is right where the old one is not; where the old one is right it is wrong just as often
        as the true difference asks for.
    has_clusters : bool
        Rows come in clusters of one to five, most of them alike.
    """

    name: str
    n: int
    margin: float
    metric: str = "accuracy"
    share: float = 0.5
    recall: tuple[float, float] = (0.9, 0.8)
    instead: float = 0.1
    has_clusters: bool = False

    def world(self, difference: float) -> World:
        """Return where the new system truly differs by so much.

        Raises
        ------
        ImpossibleError
            If there is none.
        """

        def excess(again: float) -> float:
            shares = World.of(self.share, self.recall, again, self.instead).shares
            old, new = shares.sum(axis=2), shares.sum(axis=1)
            figure = FIGURES[self.metric]
            return figure(new) - figure(old) - difference

        if excess(1.0) < 0:
            raise ImpossibleError(f"{self.name}: no difference of {difference}")
        again = float(brentq(excess, LEAST, 1.0))
        return World.of(self.share, self.recall, again, self.instead)

    def draw(
        self, world: World, generator: np.random.Generator
    ) -> tuple[Numbers, Clusters]:
        """Return class and both answers of the rows, shape (n, 3), and their clusters."""
        if self.has_clusters:
            return world.draw_clusters(generator, self.n)
        return world.draw(generator, self.n), Clusters.of_rows(self.n)


CASES = [
    *(Case("never right instead", n, 0.01, instead=0.0) for n in (300, 1_000)),
    *(Case("few differ", n, 0.01) for n in (300, 1_000, 3_000)),
    *(Case("many differ", n, 0.03, instead=0.4) for n in (300, 1_000)),
    *(Case("clusters", n, 0.03, has_clusters=True) for n in (300, 1_000)),
    *(Case("macro F1", n, 0.02, "f1_macro") for n in (300, 1_000)),
    Case("macro F1, 10 % of a class", 1_000, 0.02, "f1_macro", 0.9, (0.97, 0.6)),
]


def passed(case: Case, difference: float, n_sets: int) -> float:
    """Return which share of data sets shows the new system not to be worse by more than the margin."""
    world = case.world(difference)
    generator = np.random.default_rng(SEED)
    n_passed = 0
    for _ in range(n_sets):
        rows, clusters = case.draw(world, generator)
        y, old, new = rows.T
        found = non_inferiority(
            Scored(y, np.eye(2)[new]),
            Scored(y, np.eye(2)[old]),
            margin=case.margin,
            metric=case.metric,
            clusters=clusters,
        )
        n_passed += found.is_shown
    return n_passed / n_sets


def rows_of_table(n_sets: int) -> Iterator[tuple[str, ...]]:
    """Yield a line for each case."""
    for case in CASES:
        shares = [f"{100 * passed(case, -case.margin, n_sets):.2f} %"]
        for difference in (0.0, 0.01):
            try:
                shares.append(f"{100 * passed(case, difference, n_sets // 4):.0f} %")
            except ImpossibleError:
                shares.append("–")
        yield (case.name, f"{case.n:,}", f"{100 * case.margin:g}", *shares)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=2_000)
    options = parser.parse_args()
    began = time.perf_counter()
    names = ("case", "rows", "margin", "worse by it", "equal", "better by 1")
    print(table(names, list(rows_of_table(options.sets))))
    print(f"{options.sets:,} data sets each, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()

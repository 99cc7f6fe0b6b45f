"""Rows per second of the frozen encoder beside the tools people use, in one run on one machine.

    make bench                                   # a DistilBERT of full size on the sample
    python -m benchmarks.encoding --peers PYTHON --encoder FOLDER --texts FILE.tsv --rows 1000

Every system encodes the same distinct texts into [CLS] features on the CPU, with the same number of threads, in a
process of its own. A repetition runs each system once, so that a slow moment of the machine hits all of them: ratios
are taken within a repetition. Features are compared with those of transformers in float32, run on each text alone.
Last comes what the processor could do at best: the products of the encoder's shapes as fast as any engine computes
them, and the share of that rate that our encoder reaches with the arithmetic that [CLS] features need.
"""

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import (
    Spread,
    described,
    limit_threads,
    machine,
    parser_of,
    read_texts,
    save,
    table,
    timed,
)
from benchmarks.ours import OURS, PRECISIONS
from benchmarks.peers import MAX_LENGTH, PEERS
from benchmarks.systems import (
    OURS_COMMAND,
    System,
    SystemFailedError,
    add_options,
    count_tokens,
    encoder_folder,
    peers_command,
)
from pipeline.encoder.folder import read_config

REFERENCE = "tutorial, one batch"  # it pads nothing where a text is alone
WARM_UP = 64  # texts


@dataclass(frozen=True)
class Target:
    """How much faster than a peer we want to be."""

    ours: str
    peer: str
    at_least: float


TARGETS = (
    Target("frostbert float32", "sentence-transformers torch", 3.0),
    Target("frostbert float32", "sentence-transformers ONNX", 1.3),
    Target("frostbert bfloat16", "sentence-transformers OpenVINO", 1.4),
    Target("frostbert int8", "sentence-transformers ONNX int8", 1.7),
    Target("frostbert float32", "tutorial, one batch", 9.0),
    Target("frostbert int8", "tutorial, one batch", 25.0),
)
TOLERANCE = 1e-4  # float32: largest difference from transformers
SHARE = 0.8  # of the best rate of matrix products


@dataclass
class Measured:
    """What was measured of a system: seconds of each repetition, and how near its features are."""

    seconds: list[float] = field(default_factory=list)
    min_cosine: float | None = None
    max_difference: float | None = None
    versions: dict[str, str] = field(default_factory=dict)
    error: str | None = None

    def compare(
        self, features: NDArray[np.float32], reference: NDArray[np.float32]
    ) -> None:
        """Take cosine and difference to the reference, shape (n, d) both."""
        a, b = features.astype(np.float64), reference.astype(np.float64)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        self.min_cosine = float(((a * b).sum(axis=1) / norms).min())
        self.max_difference = float(np.abs(a - b).max())


Results = dict[str, Measured]


def measure(
    commands: Mapping[str, Sequence[str]],
    folder: Path,
    texts: list[str],
    *,
    repetitions: int,
    threads: int,
) -> Results:
    """Run every system once a repetition; one that fails is left out from then on.

    Parameters
    ----------
    commands : mapping of str to sequence of str
        What starts the process of each system.
    folder : Path
        The encoder.
    texts : list of str
    repetitions, threads : int

    Raises
    ------
    SystemFailedError
        If transformers, which all are compared with, cannot run.
    """
    results = {name: Measured() for name in commands}
    running: dict[str, System] = {}
    with ExitStack() as stack:
        for name in commands:
            with noted(results[name]):
                system = System(name, commands[name], folder, threads)
                running[name] = stack.enter_context(system)
                results[name].versions = system.versions
        if REFERENCE not in running:
            raise SystemFailedError(f"{REFERENCE}: {results[REFERENCE].error}")
        reference = running[REFERENCE].encode(texts, each=True).features
        for name, system in running.items():
            with noted(results[name]):
                system.encode(texts[:WARM_UP])
        for _ in range(repetitions):
            for name, system in running.items():
                if results[name].error is None:
                    with noted(results[name]):
                        done = system.encode(texts)
                        results[name].seconds += done.seconds
                        results[name].compare(done.features, reference)
    return results


@contextmanager
def noted(result: Measured) -> Iterator[None]:
    """Keep the error of a system that fails; the others go on."""
    try:
        yield
    except SystemFailedError as error:
        result.error = str(error)


def ratio(results: Results, ours: str, peer: str) -> Spread | None:
    """Return how many times as fast as a peer we are, within each repetition; None where one of both failed."""
    a, b = results[ours], results[peer]
    if a.error or b.error:
        return None
    return Spread.of(
        theirs / mine for mine, theirs in zip(a.seconds, b.seconds, strict=True)
    )


def needed_flop(lengths: Iterable[int], dim: int, hidden: int, layers: int) -> float:
    """Return the arithmetic of [CLS] features: products of layers and of attention.

    The last layer needs keys and values of all tokens, everything else of [CLS] alone.

    Parameters
    ----------
    lengths : iterable of int
        Tokens of each text.
    dim, hidden, layers : int
        Of the encoder; `hidden` is the width of its feed-forward part.
    """
    square, wide = 2 * dim * dim, 2 * dim * hidden  # a token's products, flop
    total = 0
    for t in lengths:
        whole = t * (4 * square + 2 * wide + 4 * t * dim)
        last = t * 2 * square + 2 * square + 2 * wide + 4 * t * dim
        total += (layers - 1) * whole + last
    return float(total)


def flop_a_row(folder: Path, texts: list[str]) -> float:
    """Return the mean arithmetic of a text."""
    config = read_config(folder)
    dim = config.get("dim") or config["hidden_size"]
    hidden = config.get("hidden_dim") or config["intermediate_size"]
    layers = config.get("n_layers") or config["num_hidden_layers"]
    lengths = count_tokens(folder, texts, MAX_LENGTH)
    return needed_flop(lengths, dim, hidden, layers) / len(texts)


def best_products(python: str, threads: int) -> list[dict[str, Any]]:
    """Return what `benchmarks.products` measures, in the environment that has OpenVINO."""
    chosen = sys.executable if importlib.util.find_spec("openvino") else python
    script = str(Path(__file__).with_name("products.py"))
    found: list[dict[str, Any]] = json.loads(
        timed([chosen, "-P", script, "--threads", str(threads)]).stdout
    )
    return found


def speed_table(results: Results, n: int) -> str:
    """Return the table of all systems."""
    rows = [
        [name, "-", "-", "-", f"cannot run: {found.error[:160]}"]
        if found.error
        else [
            name,
            Spread.of(n / s for s in found.seconds).text(),
            f"{found.min_cosine:.6f}",
            f"{found.max_difference:.1e}",
            "",
        ]
        for name, found in results.items()
    ]
    head = ("system", "rows/s (min to max)", "min cosine", "max difference", "")
    return table(head, rows)


def target_rows(results: Results) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is wanted of speed and accuracy, what was measured, and whether it is reached."""
    for target in TARGETS:
        found = ratio(results, target.ours, target.peer)
        yield (
            f"{target.ours} / {target.peer}",
            f">= {target.at_least:g} x",
            f"{found.text(2)} x" if found else "-",
            verdict(found.median >= target.at_least if found else None),
        )
    difference = results["frostbert float32"].max_difference
    yield (
        "frostbert float32, max difference",
        f"<= {TOLERANCE:.0e}",
        "-" if difference is None else f"{difference:.1e}",
        verdict(None if difference is None else difference <= TOLERANCE),
    )


def share_rows(
    results: Results, products: list[dict[str, Any]], flop: float, n: int
) -> Iterator[tuple[str, str, str, str]]:
    """Yield the same of the share of the best rate of products, both at their fastest; `flop` is that of a text."""
    for precision in PRECISIONS:
        name = f"frostbert {precision}"
        rates = [one for one in products if one["precision"] == precision]
        what, want = f"{name}, share of products' rate", f">= {SHARE:.0%}"
        if results[name].error or not rates:
            yield what, want, "-", verdict(None)
            continue
        best = max(rates, key=lambda one: float(one["gflops"]))
        mine = n * flop / min(results[name].seconds) / 1e9
        yield (
            what,
            want,
            f"{mine / best['gflops']:.0%}: {mine:.0f} of {best['gflops']:.0f} GFLOP/s "
            f"({best['engine']}, {best['rows']} rows, {best['shape']})",
            verdict(mine / best["gflops"] >= SHARE),
        )


def verdict(reached: bool | None) -> str:
    """Return the word for it; None is for what could not be measured."""
    if reached is None:
        return "not measured"
    return "reached" if reached else "not reached"


def version_lines(results: Results) -> str:
    """Return the libraries' versions, ours and the peers'."""
    lines = []
    for who, names in (("ours", OURS), ("peers", PEERS)):
        found = next(
            (results[name].versions for name in names if results[name].versions), {}
        )
        lines.append(f"{who}: {', '.join(f'{k} {v}' for k, v in found.items())}")
    return "\n\n".join(lines)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    add_options(parser)
    parser.add_argument("--rows", type=int, help="only the first texts")
    parser.add_argument("--repetitions", type=int, default=3)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write ``bench.json`` and ``bench.md``, print the latter."""
    options = options_of(arguments)
    limit_threads(options.threads)
    facts = machine(options.threads)
    texts = read_texts(options.texts, options.rows)
    commands = dict.fromkeys(OURS, OURS_COMMAND) | dict.fromkeys(
        PEERS, peers_command(options.peers)
    )
    with encoder_folder(options.encoder) as folder:
        flop = flop_a_row(folder, texts)
        results = measure(
            commands,
            folder,
            texts,
            repetitions=options.repetitions,
            threads=options.threads,
        )
    products = best_products(options.peers, options.threads)
    targets = [
        *target_rows(results),
        *share_rows(results, products, flop, len(texts)),
    ]
    markdown = [
        described(facts),
        version_lines(results),
        f"{len(texts):,} texts, {flop / 1e9:.2f} GFLOP each; medians of {options.repetitions} alternating repetitions",
        speed_table(results, len(texts)),
        table(("target", "wanted", "measured (min to max)", ""), targets),
    ]
    everything = {
        "machine": facts,
        "texts": len(texts),
        "gflop_a_row": flop / 1e9,
        "systems": {name: asdict(found) for name, found in results.items()},
        "targets": targets,
        "products": products,
    }
    save(options.out, "bench", everything, "\n\n".join(markdown))


if __name__ == "__main__":
    main()

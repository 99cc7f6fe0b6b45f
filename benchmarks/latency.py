"""How long one waits: for a first prediction, for one text, for a thousand, for a run that has nothing to do.

    python -m benchmarks.latency --peers .venv-peers/bin/python --encoder FOLDER

A predictor is trained on the sample by the real command. Beside it stand, in the same run and alternating with it,
what people use: a SentenceTransformer with a joblib head in a fresh process, the transformers pipeline on one text
(features alone), and for a run with nothing to do a Luigi task that is complete.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from itertools import count
from pathlib import Path

import numpy as np

from benchmarks.measure import (
    Ended,
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
from benchmarks.ours import PREDICTOR
from benchmarks.peers import HEADED
from benchmarks.systems import (
    OURS_COMMAND,
    System,
    add_options,
    encoder_folder,
    peers_command,
)
from pipeline.datasets.sources import sample_path

PIPELINE = "transformers pipeline"
(OURS,), (THEIRS,) = PREDICTOR, HEADED
TEXT = "a joy from start to finish"
FIRST_OURS = """
import sys, joblib
print(joblib.load(sys.argv[1]).predict([sys.argv[2]])[0])
"""
FIRST_THEIRS = """
import sys, joblib
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
print(joblib.load(sys.argv[1] + "/head.joblib").predict(model.encode([sys.argv[2]]))[0])
"""
FIT_THEIRS = """
import sys, joblib
sys.path.insert(0, sys.argv[1])
from peers import with_cls
from sklearn.linear_model import LogisticRegression
lines = open(sys.argv[3], encoding="utf-8").read().splitlines()[1:]
texts, labels = zip(*(line.split("\\t") for line in lines))
model = with_cls(sys.argv[2], "torch")
model.save_pretrained(sys.argv[4])
head = LogisticRegression(C=0.1, max_iter=1000).fit(model.encode(texts), labels)
joblib.dump(head, sys.argv[4] + "/head.joblib")
"""
BARE = """
import luigi
class Bare(luigi.Task):
    def complete(self):
        return True
"""


class Runs:
    """Our command on the sample, with an artifacts folder of its own.

    Parameters
    ----------
    folder : Path
        Where to write.
    encoder : Path
    """

    def __init__(self, folder: Path, encoder: Path) -> None:
        self._folder, self._encoder = folder, encoder
        self._numbers = count(1)
        (folder / "bare.py").write_text(BARE, encoding="utf-8")
        self.predictor = folder / "artifacts" / "latest" / "predictor.joblib"

    def _luigi(self, module: str, task: str, *options: str | Path) -> Ended:
        command = (sys.executable, "-m", "luigi", "--module", module, task)
        return timed([*command, "--local-scheduler", *options], cwd=self._folder)

    def train(self, C: float = 0.1) -> Ended:
        """Run the stages that are missing for this C."""
        options = ("--dataset", "sample", "--pooling", "cls", "--C", str(C))
        folders = ("--encoder", self._encoder, "--artifacts", "artifacts")
        return self._luigi("tasks", "TrainLogReg", *options, *folders)

    def refit(self) -> Ended:
        """Run with a C of its own each time: features are there, the head and what follows it are not."""
        return self.train(C=0.1 + next(self._numbers) / 1000)

    def bare(self) -> Ended:
        """Run Luigi on one complete task."""
        return self._luigi("bare", "Bare")


def alternate(
    runs: dict[str, Callable[[], Ended]], repetitions: int
) -> dict[str, list[Ended]]:
    """Run each once a repetition, after a first time that fills the caches of the file system."""
    for run in runs.values():
        run()
    done: dict[str, list[Ended]] = {name: [] for name in runs}
    for _ in range(repetitions):
        for name, run in runs.items():
            done[name].append(run())
    return done


def fresh(
    predictor: Path, peers: str, theirs: Path, repetitions: int
) -> dict[str, list[Ended]]:
    """Time fresh processes from their start to the end of a first prediction."""
    ours = (sys.executable, "-c", FIRST_OURS, predictor, TEXT)
    other = (peers, "-c", FIRST_THEIRS, theirs, TEXT)
    return alternate(
        {OURS: lambda: timed(ours), THEIRS: lambda: timed(other)}, repetitions
    )


def one_by_one(
    systems: dict[str, System], texts: Sequence[str], repetitions: int
) -> dict[str, list[float]]:
    """Return the milliseconds of each text alone."""
    found: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repetitions):
        for name, system in systems.items():
            seconds = system.encode(texts, each=True).seconds
            found[name] += [1000 * s for s in seconds]
    return found


def together(
    systems: dict[str, System], texts: Sequence[str], repetitions: int
) -> dict[str, Spread]:
    """Return rows/s of all texts in one call."""
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repetitions):
        for name, system in systems.items():
            rates[name].append(len(texts) / system.encode(texts).seconds[0])
    return {name: Spread.of(found) for name, found in rates.items()}


def loaded(
    predictor: Path, encoder: Path, theirs: Path, options: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, Spread]]:
    """Measure the systems that are loaded already: texts one by one, and together."""
    texts = read_texts(options.texts, options.rows)
    peers = peers_command(options.peers)
    sources = {
        OURS: (OURS_COMMAND, predictor),
        THEIRS: (peers, theirs),
        PIPELINE: (peers, encoder),
    }
    with ExitStack() as stack:
        systems = {
            name: stack.enter_context(System(name, command, source, options.threads))
            for name, (command, source) in sources.items()
        }
        for system in systems.values():
            system.encode(texts[:10], each=True)
            system.encode(texts[:64])
        few = texts[: options.singles]
        alone = one_by_one(systems, few, options.repetitions)
        return alone, together(systems, texts, options.repetitions)


def rows_of(
    first: dict[str, list[Ended]],
    runs: dict[str, list[Ended]],
    alone: dict[str, list[float]],
    rates: dict[str, Spread],
) -> list[tuple[str, str, str]]:
    """Return the table: what, who, how long."""
    rows = [
        ("fresh process to first prediction, s", name, of_wall(done))
        for name, done in first.items()
    ]
    for name, ms in alone.items():
        p50, p99 = np.percentile(ms, [50, 99])
        rows.append(
            ("one text, ms", name, f"median {p50:.1f}, 99th percentile {p99:.1f}")
        )
    rows += [("rows/s", name, rate.text()) for name, rate in rates.items()]
    for name, done in runs.items():
        cpu = Spread.of(one.cpu_s for one in done).text(2)
        rows.append(("run, s", name, f"{of_wall(done)}; processors {cpu}"))
    return rows


def of_wall(done: Sequence[Ended]) -> str:
    """Return the spread of seconds by the clock."""
    return Spread.of(one.wall_s for one in done).text(2)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = parser_of(__doc__)
    add_options(parser)
    parser.add_argument("--rows", type=int, default=1000, help="texts in one call")
    parser.add_argument("--singles", type=int, default=200, help="texts one by one")
    parser.add_argument("--repetitions", type=int, default=5)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write ``latency.json`` and ``latency.md``, print the latter."""
    options = options_of(arguments)
    limit_threads(options.threads)
    facts = machine(options.threads)
    with (
        encoder_folder(options.encoder) as encoder,
        tempfile.TemporaryDirectory() as name,
    ):
        ours = Runs(Path(name), encoder)
        ours.train()
        theirs = Path(name) / "theirs"
        here = str(Path(__file__).parent)
        timed([options.peers, "-c", FIT_THEIRS, here, encoder, sample_path(), theirs])
        predictor = ours.predictor.resolve()
        first = fresh(predictor, options.peers, theirs, options.repetitions)
        runs = {"complete run": ours.train, "one bare complete Luigi task": ours.bare}
        done = alternate(
            {**runs, "re-fit with another C": ours.refit}, options.repetitions
        )
        alone, rates = loaded(predictor, encoder, theirs, options)
    rows = rows_of(first, done, alone, rates)
    everything = {
        "machine": facts,
        "first": {who: [asdict(one) for one in ended] for who, ended in first.items()},
        "runs": {who: [asdict(one) for one in ended] for who, ended in done.items()},
        "one_text_ms": alone,
        "rows_per_s": {who: asdict(rate) for who, rate in rates.items()},
    }
    head = ("what", "who", "median (min to max)")
    save(
        options.out, "latency", everything, f"{described(facts)}\n\n{table(head, rows)}"
    )


if __name__ == "__main__":
    main()

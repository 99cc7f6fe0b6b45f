"""What many views of an encoder cost beside one: ``python -m benchmarks.sweep --data FOLDER_OR_FILE``.

The wall time of ``ExtractViews`` of several layers and poolings against that of one ``ExtractFeatures`` (mean, last
layer), both as the real command from empty artifacts, in turn. Seconds are those of a machine that other work may
share: only ratios tell, of wall time, and of processor time, which neighbours disturb less.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import (
    Ended,
    Spread,
    described,
    limit_threads,
    machine,
    parser_of,
    save,
    table,
    timed,
)

LUIGI = str(Path(sys.executable).with_name("luigi"))


def run(stage: str, options: list[str]) -> Ended:
    """Run a stage from empty artifacts."""
    with tempfile.TemporaryDirectory() as folder:
        command = [LUIGI, "--module", "tasks", stage, *options, "--artifacts", folder]
        return timed(command)


def main() -> None:
    """Measure both in turn and print a table."""
    parser = parser_of(__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--poolings", default="cls,mean,max")
    parser.add_argument("--limit", type=int, default=0, help="of the training rows")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args()
    facts = machine(options.threads)
    limit_threads(options.threads)
    common = ["--dataset", options.data, "--encoder", options.encoder]
    common += ["--limit", str(options.limit)]
    n_views = options.layers * len(options.poolings.split(","))
    systems = {
        "one view (mean, last layer)": ("ExtractFeatures", ["--pooling", "mean"]),
        f"{n_views} views ({options.layers} layers × {options.poolings})": (
            "ExtractViews",
            ["--layers", str(options.layers), "--poolings", options.poolings],
        ),
    }
    found: dict[str, list[Ended]] = {name: [] for name in systems}
    for _ in range(options.repetitions):
        for name, (stage, more) in systems.items():
            found[name].append(run(stage, [*common, *more]))
    wall = {name: Spread.of(e.wall_s for e in ended) for name, ended in found.items()}
    cpu = {name: Spread.of(e.cpu_s for e in ended) for name, ended in found.items()}
    one, many = systems
    rows = [[name, wall[name].text(), cpu[name].text()] for name in systems]
    ratios = [
        f"{spread[many].median / spread[one].median:.2f}" for spread in (wall, cpu)
    ]
    rows.append(["ratio of medians", *ratios])
    head = ("", "wall time, s", "processor time, s")
    markdown = f"{described(facts)}; {options.data}\n\n{table(head, rows)}"
    runs = {name: [vars(e) for e in ended] for name, ended in found.items()}
    save(options.out, "sweep", {"machine": facts, "runs": runs}, markdown)


if __name__ == "__main__":
    main()

"""The parts of the benchmarks that compute, and how processes are talked to; no time is asserted."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from benchmarks.coverage import (
    World,
    coverage,
    coverage_of_kinds,
    draw_labels,
    draw_values,
    truth_of_kinds,
)
from benchmarks.encoding import (
    REFERENCE,
    TARGETS,
    Measured,
    measure,
    needed_flop,
    ratio,
    share_rows,
    speed_table,
    target_rows,
)
from benchmarks.measure import Spread, described, machine, read_rows, table, timed
from benchmarks.ours import OURS
from benchmarks.peers import PEERS
from benchmarks.similar import TOP, origin_in, ours, theirs, write_store
from benchmarks.systems import System, SystemFailedError

ROOT = Path(__file__).resolve().parents[1]
FAKE = """
import os, sys
sys.path.insert(0, {benchmarks!r})
from peers import serve

def lengths(folder, threads):
    print("printed while loading")
    os.write(1, b"and by a native library")
    return lambda texts: [[len(text), 1] for text in texts]

def weak(folder, threads):
    def encode(texts):
        raise ValueError("no\\nluck")
    return encode

def dead(folder, threads):
    sys.stderr.write("out of memory\\n")
    os._exit(9)

serve({{{reference!r}: lengths, "lengths": lengths, "weak": weak, "dead": dead}})
"""


@pytest.fixture
def fake(tmp_path) -> tuple[str, str]:
    path = tmp_path / "fake.py"
    code = FAKE.format(benchmarks=str(ROOT / "benchmarks"), reference=REFERENCE)
    path.write_text(code, encoding="utf-8")
    return sys.executable, str(path)


def results(**seconds: list[float]) -> dict[str, Measured]:
    names = {"ours": "frostbert float32", "torch": "sentence-transformers torch"}
    found = {name: Measured(error="not there") for name in [*OURS, *PEERS]}
    for short, values in seconds.items():
        found[names[short]] = Measured(values, 0.99, 1e-6)
    return found


def test_spread_is_median_smallest_and_largest():
    assert Spread.of([3.0, 1.0, 8.0]).text() == "3.0 (1.0 to 8.0)"


def test_table_is_markdown():
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_machine_is_described_on_one_line():
    line = described(machine(3))

    assert "3 threads" in line
    assert "\n" not in line


def test_read_rows_takes_distinct_texts_and_no_header(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\none\t1\ntwo\t0\none\t0\nthree\t1\n")

    assert read_rows(path, 3) == [("one", "1"), ("two", "0"), ("three", "1")]


def test_timed_raises_where_the_command_fails():
    with pytest.raises(subprocess.CalledProcessError):
        timed([sys.executable, "-c", "raise SystemExit(3)"])


def test_timed_returns_what_was_printed():
    done = timed([sys.executable, "-c", "print('yes')"])

    assert done.stdout == "yes\n"
    assert done.cpu_s > 0


def test_ratio_is_taken_within_each_repetition():
    found = ratio(
        results(ours=[1.0, 10.0, 2.0], torch=[3.0, 40.0, 4.0]),
        "frostbert float32",
        "sentence-transformers torch",
    )

    assert found == Spread(3.0, 2.0, 4.0)


def test_targets_of_systems_that_failed_are_not_measured():
    rows = list(target_rows(results(ours=[1.0], torch=[3.5])))

    assert [row[3] for row in rows] == [
        *("reached", *["not measured"] * (len(TARGETS) - 1)),
        "reached",
    ]
    assert rows[0][2] == "3.50 (3.50 to 3.50) x"


def test_targets_name_systems_that_are_measured():
    names = {target.ours for target in TARGETS} | {target.peer for target in TARGETS}

    assert names <= {*OURS, *PEERS}


def test_speed_table_has_a_line_for_each_system():
    text = speed_table(results(ours=[2.0], torch=[4.0]), 100)

    assert "| frostbert float32 | 50.0 (50.0 to 50.0) |" in text
    assert text.count("cannot run: not there") == len(OURS) + len(PEERS) - 2


def test_needed_flop_counts_products_of_whole_layers_and_of_the_last():
    dim, hidden, t = 2, 8, 3
    token = 2 * (4 * dim * dim + 2 * dim * hidden)  # all products of a token
    whole = t * token + 4 * t * t * dim
    keys_and_values = t * 2 * (2 * dim * dim)
    cls = 2 * (2 * dim * dim + 2 * dim * hidden) + 4 * t * dim

    assert needed_flop([t], dim, hidden, 3) == 2 * whole + keys_and_values + cls


def test_share_is_that_of_the_best_engine():
    products = [
        {"engine": name, "precision": "float32", "shape": "s", "rows": 1, "gflops": g}
        for name, g in (("slow", 10.0), ("fast", 40.0))
    ]

    rows = list(share_rows(results(ours=[4.0, 2.0]), products, flop=1e9, n=70))

    assert rows[0][2].startswith("88%: 35 of 40 GFLOP/s (fast")
    assert [row[3] for row in rows] == ["reached", "not measured", "not measured"]


def test_a_system_encodes_whatever_its_libraries_print(fake):
    with System("lengths", fake, "folder", 1) as system:
        together = system.encode(["a", "bbb"])
        each = system.encode(["a", "bbb"], each=True)

    assert together.features.tolist() == each.features.tolist() == [[1, 1], [3, 1]]
    assert (len(together.seconds), len(each.seconds)) == (1, 2)
    assert system.versions["numpy"] == np.__version__
    assert 0 < system.resident_mb <= together.peak_mb


@pytest.mark.parametrize(
    ("name", "message"),
    [("unknown", "KeyError: 'unknown'"), ("dead", "ended with 9: out of memory")],
)
def test_a_system_that_cannot_be_loaded_says_why(fake, name, message):
    with pytest.raises(SystemFailedError, match=message):
        System(name, fake, "folder", 1)


def test_a_system_without_a_program_says_so(tmp_path):
    with pytest.raises(SystemFailedError, match="No such file"):
        System("any", [str(tmp_path / "python")], "folder", 1)


def test_one_system_that_fails_leaves_the_others_measured(fake, tmp_path):
    commands = dict.fromkeys((REFERENCE, "lengths", "weak", "dead"), fake)

    found = measure(commands, tmp_path, ["a", "bb"], repetitions=2, threads=1)

    assert [len(one.seconds) for one in found.values()] == [2, 2, 0, 0]
    assert found["lengths"].max_difference == 0
    assert found["lengths"].min_cosine == pytest.approx(1)
    assert found["weak"].error == "ValueError: no luck"
    assert found["dead"].error == "ended with 9: out of memory"


def test_the_peers_process_needs_nothing_of_ours(tmp_path):
    peers = ROOT / "benchmarks" / "peers.py"

    done = subprocess.run(
        [sys.executable, "-I", peers],
        cwd=tmp_path,
        input='{"load": "nobody", "from": ".", "threads": 1}\n',
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )

    assert (done.returncode, done.stdout) == (
        0,
        '{"error": "KeyError: \'nobody\'"}\n',
    )


def test_the_simulated_world_has_the_figures_it_says():
    generator = np.random.default_rng(0)
    world = World.known()

    y, first, second = world.draw(generator, 200_000).T

    truth = world.truth()
    assert world.shares.sum() == pytest.approx(1.0)
    assert (first == y).mean() == pytest.approx(truth["accuracy"], abs=0.004)
    assert f1_score(y, first, average="macro") == pytest.approx(
        truth["f1_macro"], abs=0.004
    )
    gain = (second == y).mean() - (first == y).mean()
    assert gain == pytest.approx(truth["difference"], abs=0.004)


def test_simulated_clusters_answer_alike():
    generator = np.random.default_rng(0)

    rows, clusters = World.known().draw_clusters(generator, 3_000)

    first_of_each = np.unique(clusters.of, return_index=True)[1]
    leaders = rows[first_of_each][clusters.of]
    assert (rows == leaders).all(axis=1).mean() > 0.7
    assert clusters.n == 1_000


def test_coverage_counts_the_intervals_that_hold_the_truth():
    found = coverage(4, 100)

    assert set(found) == {"rows", "clusters", "clusters as rows"}
    assert set(found["rows"]) == {"accuracy", "f1_macro", "difference"}
    assert all(
        0 <= count <= 4 for counts in found.values() for count in counts.values()
    )


def test_coverage_knows_the_truth_of_labels_and_values():
    generator = np.random.default_rng(0)
    truth = truth_of_kinds()

    labels = draw_labels(generator, 200_000)
    values = draw_values(generator, 200_000)

    micro = f1_score(labels.y, labels.predicted, average="micro")
    assert micro == pytest.approx(truth["f1_micro"], abs=0.005)
    correlation = np.corrcoef(values.y, values.values)[0, 1]
    assert correlation == pytest.approx(truth["pearson"], abs=0.005)
    assert set(coverage_of_kinds(2, 100)) == set(truth)


def test_the_searched_store_is_read_by_both_systems(tmp_path):
    write_store(tmp_path, rows=300, dim=8)
    queries = np.random.default_rng(2).normal(0, 1, (3, 8)).astype(np.float32)

    found = ours(queries, origin_in(tmp_path))

    assert np.shape(found) == (3, TOP)
    assert found == theirs(queries, origin_in(tmp_path))

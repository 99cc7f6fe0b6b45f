"""What it saves to serve a predictor without torch: a fresh process from its start to its first label.

    python -m benchmarks.serving --predictor artifacts/latest/predictor.joblib

The accelerated engine, where the extra ``fast`` is installed, and torch alone, as without it, in turn.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from benchmarks.measure import (
    Spread,
    described,
    limit_threads,
    machine,
    parser_of,
    save,
    table,
    timed,
)

TEXT = "a joy from start to finish"
FIRST = """
import json, resource, sys
predictor, text, without = sys.argv[1:]
if without:  # as where they are not installed
    import importlib.util
    find = importlib.util.find_spec
    missing = ("openvino", "onnx", "onnxruntime")
    importlib.util.find_spec = lambda name, *rest: None if name in missing else find(name, *rest)
from pipeline import load_predictor
loaded = load_predictor(predictor)
loaded.predict([text])
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
libraries = [name for name in ("torch", "transformers", "sklearn") if name in sys.modules]
print(json.dumps([loaded.encoder.engine_identity["engine"], peak_mb, libraries]))
"""


def measure(
    predictor: Path, repetitions: int
) -> dict[str, tuple[Spread, Spread, list[str]]]:
    """Return, by engine, seconds, peak resident MiB, and which heavy libraries were imported."""
    seconds: dict[str, list[float]] = {}
    peaks: dict[str, list[float]] = {}
    libraries: dict[str, list[str]] = {}
    for i in range(repetitions + 1):
        for without in ("", "fast"):
            ended = timed([sys.executable, "-c", FIRST, predictor, TEXT, without])
            engine, peak_mb, found = json.loads(ended.stdout)
            libraries[engine] = found
            if i:  # the first time fills the caches of the file system
                seconds.setdefault(engine, []).append(ended.wall_s)
                peaks.setdefault(engine, []).append(peak_mb)
    return {
        engine: (Spread.of(s), Spread.of(peaks[engine]), libraries[engine])
        for engine, s in seconds.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write ``serving.json`` and ``serving.md``, print the latter."""
    parser = parser_of(__doc__)
    parser.add_argument("--predictor", type=Path, required=True)
    parser.add_argument("--repetitions", type=int, default=5)
    options = parser.parse_args(arguments)
    limit_threads(options.threads)
    facts = machine(options.threads)
    found = measure(options.predictor, options.repetitions)
    rows = [
        [engine, seconds.text(2), peaks.text(0), ", ".join(libraries) or "none"]
        for engine, (seconds, peaks, libraries) in found.items()
    ]
    head = ("engine", "seconds to the first label", "peak MiB", "imported")
    everything = {
        "machine": facts,
        "engines": {
            engine: {"seconds": asdict(s), "peak_mb": asdict(p), "imported": imported}
            for engine, (s, p, imported) in found.items()
        },
    }
    save(
        options.out, "serving", everything, f"{described(facts)}\n\n{table(head, rows)}"
    )


if __name__ == "__main__":
    main()

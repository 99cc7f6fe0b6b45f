"""Rows a second of the models that SST-2 is answered with: every text encoded, or only what words leave open.

    python -m benchmarks.cascade --data ../shared/data [--out FOLDER]

The real jobs are run with the offline encoder and mean pooling, as in `benchmarks.quality`, whose artifacts serve. Each
predictor is loaded in this process and answers the official test texts in turn, `REPETITIONS` times; the median counts.
"""

import argparse
import time
from pathlib import Path

from benchmarks.measure import Spread, read_rows, table
from benchmarks.quality import MODELS, report_of, train
from pipeline import load_predictor

REPETITIONS = 5


def main() -> None:
    """Print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/quality"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    texts = [text for text, _ in read_rows(options.data / "sst2" / "test.tsv")]
    reports, predictors = {}, {}
    for name, words in MODELS.items():
        reports[name] = report_of(train(options.out, options.data, "sst2", words))
        latest = options.out / "artifacts" / "latest" / "predictor.joblib"
        predictors[name] = load_predictor(latest)
        predictors[name].predict(texts[:200])  # makes the encoder ready
    seconds: dict[str, list[float]] = {name: [] for name in predictors}
    for _ in range(REPETITIONS):
        for name, predictor in predictors.items():
            began = time.perf_counter()
            predictor.predict(texts)
            seconds[name].append(time.perf_counter() - began)
    rows = []
    for name, report in reports.items():
        speed = Spread.of(len(texts) / s for s in seconds[name])
        cascade = report["cascade"]
        share = "0" if cascade is None else f"{100 * cascade['share']:.1f}"
        accuracy = report["metrics"]["test"]["accuracy"]["value"]
        rows.append([name, f"{accuracy:.3f}", share, speed.text(0)])
    print(table(["model", "accuracy", "not encoded, %", "rows/s"], rows))


if __name__ == "__main__":
    main()

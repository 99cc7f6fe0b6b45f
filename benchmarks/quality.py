"""How well every model answers, on every public data set at hand: the table of `benchmarks/quality.md`.

    python -m benchmarks.quality --data ../shared/data [--only sst2 rte] [--out FOLDER]

For each data set the real jobs are run with the offline encoder and mean pooling: ``TrainLogReg`` (one layer),
``TrainLayers`` (six), ``TrainHybrid`` (six, and words) and, of one class a row, ``TrainCascade``; on SST-2 also
``TrainLogReg --pooling cls``. Their reports are read. Models are compared in pairs on the same scored rows, clusters of
rows that are pieces of each other resampled together; a difference counts where its 95 % interval is without zero. Of
sst2-glue the first 10,000 training rows are taken.

Artifacts stay in ``--out``, so that a second run only reads them. The table goes to ``benchmarks/quality.json`` and
``benchmarks/quality.md``, and what was there of other data sets stays.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import table
from pipeline.report.compare import previous
from pipeline.report.kinds import KINDS, Kind
from pipeline.report.scored import load_scored

Json = dict[str, Any]  # Any: JSON values
HERE = Path(__file__).parent
SETS: dict[str, Sequence[str]] = {
    "sst2": (),
    "sst2-glue": ("--limit", "10000"),
    "ag_news": (),
    "tnews-seed": ("--text-column", "4", "--label-column", "3"),
    "semeval2018-ec": (),
    "stsb": ("--text-column", "6,7", "--label-column", "5"),
    "rte": ("--text-column", "sentence1,sentence2"),
}
MODELS: dict[str, Sequence[str]] = {  # in the order of columns
    "one layer": ("TrainLogReg",),
    "layers": ("TrainLayers",),
    "hybrid": ("TrainHybrid",),
    "cascade": ("TrainCascade",),
}
FIRST_TOKEN = "one layer, [CLS]"
NO_CASCADE = {"semeval2018-ec", "stsb"}  # no single class a row


def train(out: Path, data: Path, name: str, words: Sequence[str]) -> Path:
    """Run a job, or find it done, and return the folder of its report."""
    task, *options = words
    command = [
        *(str(Path(sys.executable).with_name("luigi")), "--module", "tasks", task),
        *("--dataset", str((data / name).resolve()), "--encoder", "minilm"),
        *(options or ("--pooling", "mean")),
        *SETS[name],
    ]
    done = subprocess.run(command, cwd=out, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return (out / "artifacts" / "latest" / "report.json").resolve().parent


def models_of(name: str) -> dict[str, Sequence[str]]:
    """Return the jobs of a data set, by the name of the model."""
    found = dict(MODELS)
    if name in NO_CASCADE:
        del found["cascade"]
    if name == "sst2":
        found = {FIRST_TOKEN: ("TrainLogReg", "--pooling", "cls"), **found}
    return found


def measured(out: Path, data: Path, name: str) -> Json:
    """Run every job of a data set and return its figures."""
    folders = {}
    for model, words in models_of(name).items():
        print(f"{name}: {model}", file=sys.stderr, flush=True)
        folders[model] = train(out, data, name, words)
    reports = {model: report_of(folder) for model, folder in folders.items()}
    first = reports["one layer"]
    kind = KINDS[first["head"]["task"]]
    found: Json = {
        "metric": kind.headline,
        "rows": {"fit": first["split"]["n_fit"], "scored": first["split"]["n_test"]},
        "scored": first["split"]["scored"],
        "figures": {
            **{
                other: first["baselines"][other][kind.headline]
                for other in (kind.floor, kind.baseline)
            },
            **{
                model: one["metrics"]["test"][kind.headline]
                for model, one in reports.items()
            },
        },
        "minus_tfidf": {
            model: one["comparison"][kind.baseline][kind.headline]
            for model, one in reports.items()
        },
        "minus_one_layer": {},
        "options": list(SETS[name]),
    }
    before = load_scored(folders["one layer"], first["classes"])
    for model, folder in folders.items():
        if model != "one layer":
            compared = previous(load_scored(folder, first["classes"]), before)
            assert compared is not None  # the same rows
            found["minus_one_layer"][model] = compared["difference"]
    if "cascade" in reports:
        cascade = reports["cascade"]["cascade"]
        found["cascade"] = {
            "words_alone": cascade["share"],
            "minus_hybrid": cascade["difference"],
        }
    return found


def report_of(folder: Path) -> Json:
    """Return what stands in a report."""
    found: Json = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return found


INTRODUCTION = """\
# How well every model answers

Printed by `python -m benchmarks.quality --data ../shared/data`: the offline encoder (`minilm`), mean pooling, six
layers where several are taken, every option at its default; of sst2-glue the first 10,000 training rows. Value (95 %
interval) on the scored rows, on which nothing was chosen."""
MINUS_TFIDF = """\
Points (0.01) more than TF-IDF + logistic regression (of numbers: ridge regression) on the same rows, with the interval
of the paired difference; **bold**: it is without zero."""
CASCADES = "A cascade, of which words alone answer a share of the scored rows:"
VERDICT = """\
The hybrid is better than TF-IDF on {better} of {n} data sets, worse on {worse}; on the others the difference may be
chance."""


def markdown(sets: Json) -> str:
    """Return the tables, and what they say."""
    parts = (
        INTRODUCTION,
        table(*_values(sets)),
        MINUS_TFIDF,
        table(*_differences(sets, "minus_tfidf")),
        "Points more than one layer:",
        table(*_differences(sets, "minus_one_layer")),
        CASCADES,
        table(*_cascades(sets)),
        _verdict(sets),
    )
    return "\n\n".join(parts) + "\n"


def _kind(one: Json) -> Kind:
    return next(kind for kind in KINDS.values() if kind.headline == one["metric"])


def _values(sets: Json) -> tuple[list[str], list[list[str]]]:
    columns = ["always alike", "TF-IDF", FIRST_TOKEN, *MODELS]
    rows = []
    for name, one in sets.items():
        figures = list(one["figures"].values())[:2]
        cells = [*figures, *(one["figures"].get(model) for model in columns[2:])]
        n = f"{one['rows']['fit']:,} / {one['rows']['scored']:,} ({one['scored']})"
        rows.append([name, _kind(one).names[one["metric"]], n, *map(_value, cells)])
    return ["data", "metric", "rows fitted on / scored", *columns], rows


def _value(figure: Json | None) -> str:
    if figure is None:
        return "–"
    if figure["value"] is None:
        return "undefined"
    low, high = figure["ci95"]
    return f"{figure['value']:.3f} ({low:.3f} to {high:.3f})"


def _differences(sets: Json, key: str) -> tuple[list[str], list[list[str]]]:
    columns = [FIRST_TOKEN, *MODELS]
    if key == "minus_one_layer":
        columns.remove("one layer")
    rows = [
        [name, *(_difference(one[key].get(model)) for model in columns)]
        for name, one in sets.items()
    ]
    return ["data", *columns], rows


def _difference(figure: Json | None) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    low, high = figure["ci95"]
    said = f"{100 * figure['value']:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
    return said if low <= 0 <= high else f"**{said}**"


def _cascades(sets: Json) -> tuple[list[str], list[list[str]]]:
    known = {name: one["cascade"] for name, one in sets.items() if "cascade" in one}
    rows = [
        [name, f"{100 * one['words_alone']:.1f} %", _difference(one["minus_hybrid"])]
        for name, one in known.items()
    ]
    return ["data", "not encoded", "points more than the hybrid"], rows


def _verdict(sets: Json) -> str:
    """Return on how many data sets the hybrid is better, or worse, than TF-IDF."""
    found = [one["minus_tfidf"]["hybrid"] for one in sets.values()]
    better = sum(figure["ci95"][0] > 0 for figure in found)
    worse = sum(figure["ci95"][1] < 0 for figure in found)
    return VERDICT.format(better=better, worse=worse, n=len(found))


def main() -> None:
    """Run what is asked for and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--out", type=Path, default=Path("build/quality"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = HERE / "quality.json"
    sets = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name in options.only:
        sets[name] = measured(options.out, options.data, name)
        ordered = {known: sets[known] for known in SETS if known in sets}
        path.write_text(json.dumps(ordered, indent=1) + "\n", encoding="utf-8")
        (HERE / "quality.md").write_text(markdown(ordered), encoding="utf-8")
    print(markdown(ordered))


if __name__ == "__main__":
    main()

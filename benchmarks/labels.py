"""Every kind of label on public data, beside a reference written with transformers and scikit-learn alone.

    python -m benchmarks.labels --data ../shared/data [--only stsb rte]

For each data set the real job is run (``luigi --module tasks TrainLogReg``, offline encoder, mean pooling), and its
report read. The reference reads the files by itself, encodes with ``transformers`` in padded batches, fits
scikit-learn's ``StandardScaler`` and ``LogisticRegression`` (one for each label of several), or ``Ridge``, at the C
that the job's search chose, and scores with ``sklearn.metrics`` and scipy. Its features are kept in ``--out``, so a
second run is quick.
"""

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score, jaccard_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, normalize

from benchmarks.measure import table
from benchmarks.systems import encoder_folder

Array = NDArray[Any]  # Any: float32, int64, float64 or objects
Row = tuple[tuple[str, ...], Any]  # texts, and a label, flags or a number
BATCH, MAX_LENGTH = 32, 128
RARE = 0.05  # share of positive rows that are left
FIGURES: dict[str, Callable[[Array, Array], float]] = {
    "accuracy": accuracy_score,
    "f1_macro": lambda y, p: f1_score(y, p, average="macro", zero_division=0.0),
    "f1_micro": lambda y, p: f1_score(y, p, average="micro"),
    "jaccard": lambda y, p: jaccard_score(y, p, average="samples", zero_division=1.0),
    "pearson": lambda y, p: pearsonr(y, p).statistic,
    "spearman": lambda y, p: spearmanr(y, p).statistic,
}


@dataclass(frozen=True)
class Case:
    """One data set: how the job is asked for, how the reference reads a line, and what is compared."""

    folder: str
    train: str
    scored: str
    read: Callable[[Path], list[Row]]
    figures: Sequence[str]
    options: Sequence[str] = ()
    is_number: bool = False
    weights: str | None = None


def lines(path: Path) -> list[str]:
    """Return the lines of a file."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line]


def tweets(path: Path) -> list[Row]:
    """Read a tweet and eleven flags."""
    rows = [line.split("\t") for line in lines(path)[1:]]
    return [((row[1],), [int(flag) for flag in row[2:]]) for row in rows]


def scored_pairs(path: Path) -> list[Row]:
    """Read two sentences and how similar people found them."""
    rows = [line.split("\t") for line in lines(path)]
    return [((row[5], row[6]), float(row[4])) for row in rows]


def entailments(path: Path) -> list[Row]:
    """Read two sentences and whether the second follows from the first."""
    rows = [line.split("\t") for line in lines(path)[1:]]
    return [((row[1], row[2]), row[3]) for row in rows]


def news(path: Path) -> list[Row]:
    """Read a text and one of four classes."""
    with path.open(encoding="utf-8", newline="") as stream:
        return [((text,), label) for text, label in csv.reader(stream)]


def titles(path: Path) -> list[Row]:
    """Read a Chinese title and one of fourteen classes."""
    rows = [line.split("_!_") for line in lines(path)]
    return [((row[3],), row[2]) for row in rows]


def reviews(path: Path) -> list[Row]:
    """Read a sentence and whether it is positive."""
    rows = [line.rsplit("\t", 1) for line in lines(path)]
    return [((text,), label) for text, label in rows]


PAIR = ("--text-column", "6,7", "--label-column", "5")
TITLE = ("--text-column", "4", "--label-column", "3")
CLASSES = ("accuracy", "f1_macro")
CASES = {
    "semeval2018-ec": Case(
        "semeval2018-ec",
        "train.txt",
        "dev.txt",
        tweets,
        ("f1_micro", "f1_macro", "jaccard"),
        ("--task", "multilabel"),
    ),
    "semeval2018-ec, thresholds": Case(
        "semeval2018-ec",
        "train.txt",
        "dev.txt",
        tweets,
        (),
        ("--task", "multilabel", "--thresholds", "f1_macro"),
    ),
    "stsb": Case(
        "stsb",
        "train.tsv",
        "dev.tsv",
        scored_pairs,
        ("pearson", "spearman"),
        PAIR,
        True,
    ),
    "rte": Case(
        "rte",
        "train.tsv",
        "dev.tsv",
        entailments,
        CLASSES,
        ("--text-column", "sentence1,sentence2"),
    ),
    "ag_news": Case("ag_news", "train.csv", "test.csv", news, CLASSES),
    "tnews-seed": Case("tnews-seed", "train.txt", "test.txt", titles, CLASSES, TITLE),
    "sst2 rare": Case("sst2-rare", "train.tsv", "test.tsv", reviews, CLASSES),
    "sst2 rare, balanced": Case(
        "sst2-rare",
        "train.tsv",
        "test.tsv",
        reviews,
        CLASSES,
        ("--class-weight", "balanced"),
        weights="balanced",
    ),
    "sst2 rare, thresholds": Case(
        "sst2-rare",
        "train.tsv",
        "test.tsv",
        reviews,
        (),
        ("--thresholds", "f1_macro"),
    ),
    "sst2 rare, both": Case(
        "sst2-rare",
        "train.tsv",
        "test.tsv",
        reviews,
        (),
        ("--class-weight", "balanced", "--thresholds", "f1_macro"),
    ),
}


def write_rare(data: Path, out: Path) -> Path:
    """Write SST-2 with positive rows dropped until `RARE` is left of all; return the folder."""
    folder = out / "sst2-rare"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train.tsv", "test.tsv"):
        rows = lines(data / "sst2" / name)
        negative = [row for row in rows if row.endswith("\t0")]
        n = round(len(negative) * RARE / (1 - RARE))
        kept = {*negative, *[row for row in rows if row.endswith("\t1")][:n]}
        text = "".join(f"{row}\n" for row in rows if row in kept)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@dataclass
class Reference:
    """Features by ``transformers``, each text once, kept in a file."""

    encoder: Path
    out: Path
    known: dict[str, Array] = field(default_factory=dict)

    def features(self, rows: list[Row]) -> Array:
        """Return the features of texts, or of pairs u, v, |u - v| and u v at length 1, float64."""
        self._encode(sorted({text for texts, _ in rows for text in texts}))
        first, *second = (
            np.stack([self.known[texts[i]] for texts, _ in rows])
            for i in range(len(rows[0][0]))
        )
        if not second:
            return first.astype(np.float64)
        (other,) = second
        cosines = normalize(first) * normalize(other)
        parts = [first, other, np.abs(first - other), cosines]
        return np.hstack(parts).astype(np.float64)

    def _encode(self, texts: list[str]) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        missing = sorted((t for t in texts if t not in self.known), key=len)
        if not missing:
            return
        tokenizer = AutoTokenizer.from_pretrained(self.encoder)
        model = AutoModel.from_pretrained(self.encoder).eval()
        for begin in range(0, len(missing), BATCH):
            part = missing[begin : begin + BATCH]
            batch = tokenizer(
                part,
                padding=True,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            )
            with torch.inference_mode():
                hidden = model(**batch).last_hidden_state
            mask = batch["attention_mask"].unsqueeze(-1).float()
            pooled = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
            self.known.update(zip(part, pooled, strict=True))

    def load(self) -> None:
        """Read what an earlier run encoded."""
        path = self.out / "reference.npz"
        if path.exists():
            with np.load(path, allow_pickle=False) as stored:
                texts = json.loads(str(stored["texts"]))
                self.known = dict(zip(texts, stored["features"], strict=True))

    def save(self) -> None:
        """Keep what was encoded."""
        np.savez(
            self.out / "reference.npz",
            texts=np.array(json.dumps(list(self.known))),
            features=np.stack(list(self.known.values())),
        )


def run(case: Case, folder: Path, artifacts: Path) -> dict[str, Any]:
    """Run the job; return its report."""
    command = [
        *(sys.executable, "-m", "luigi", "--module", "tasks", "TrainLogReg"),
        *("--dataset", folder, "--artifacts", artifacts),
        *("--encoder", "minilm", "--pooling", "mean", *case.options),
    ]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    report: dict[str, Any] = json.loads(
        (artifacts / "latest" / "report.json").read_text(encoding="utf-8")
    )
    return report


def reference_figures(
    case: Case, folder: Path, reference: Reference, C: float
) -> dict[str, float]:
    """Fit scikit-learn's model, and score it."""
    train, scored = case.read(folder / case.train), case.read(folder / case.scored)
    targets, truth = (
        np.array([label for _, label in rows]) for rows in (train, scored)
    )
    model: Any = Ridge(alpha=1 / C)
    if not case.is_number:
        model = LogisticRegression(C=C, max_iter=5_000, class_weight=case.weights)
    if targets.ndim == 2:
        model = OneVsRestClassifier(model)
    fitted = make_pipeline(StandardScaler(), model)
    fitted.fit(reference.features(train), targets)
    answers = fitted.predict(reference.features(scored))
    return {name: float(FIGURES[name](truth, answers)) for name in case.figures}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of data sets")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/labels"))
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    write_rare(options.data, options.out)
    rows, sections = [], []
    with encoder_folder("minilm") as encoder:
        reference = Reference(encoder, options.out)
        reference.load()
        for name in options.only:
            case = CASES[name]
            beside = options.out if case.folder == "sst2-rare" else options.data
            folder = beside / case.folder
            report = run(case, folder, options.out / "artifacts")
            theirs = reference_figures(case, folder, reference, report["head"]["C"])
            rows += [_row(name, key, report, theirs[key]) for key in case.figures]
            sections.append(f"{name}\n\n{report['summary']}")
            reference.save()
    print(table(("data", "figure", "ours (95 %)", "reference", "difference"), rows))
    print("\n\n".join(["", *sections]))


def _row(name: str, key: str, report: dict[str, Any], theirs: float) -> list[str]:
    ours = report["metrics"]["test"][key]
    low, high = ours["ci95"]
    return [
        name,
        key,
        f"{ours['value']:.4f} ({low:.3f} to {high:.3f})",
        f"{theirs:.4f}",
        f"{ours['value'] - theirs:+.4f}",
    ]


if __name__ == "__main__":
    main()

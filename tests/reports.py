"""Complete, realistic report dicts: what the stages would compute, made up from a seed."""

from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.config import EncoderSpec
from pipeline.evaluation.metrics import Scored, confusion
from pipeline.evaluation.slices import UNSEEN
from pipeline.report.conclusions import headline, summary
from pipeline.report.data import data_lines
from pipeline.report.kinds import CLASSES

Json = dict[str, Any]

TNEWS = (
    *("故事", "文化", "娱乐", "体育", "财经", "房产", "汽车"),
    *("教育", "科技", "军事", "旅游", "国际", "证券", "游戏"),
)
CHINESE = "这部电影非常好看，演员的表演也很出色，值得推荐给所有的朋友们观看"
ENGLISH = (
    *("a", "joy", "from", "start", "to", "finish", "never", "for", "moment", "dull"),
    *("although", "plot", "second", "half", "leans", "on", "coincidence", "more"),
)
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)> $x_1^{ & --> ]]>"
NULL_SECTIONS: Json = {
    "calibration": None,
    "decision": None,
    "thresholds": None,
    "scores": None,
    "slices": [],
    "learning_curve": None,
    "label_issues": None,
    "map": None,
    "errors": [],
    "n_errors": 0,
    "advice": [],
    "clusters": None,
    "reproduce": None,
    "published": [],
}


def undefined(n: int = 0, reason: str = "too few rows") -> Json:
    return {"value": None, "ci95": None, "n": n, "reason": reason}


def of_value(value: float, n: int, half: float = 0.02) -> Json:
    return {"value": value, "ci95": [value - half, value + half], "n": n}


def share(value: float, n: int) -> Json:
    """Return a share with its Wilson interval."""
    middle = (value + 1.92 / n) / (1 + 3.84 / n)
    half = 1.96 / (1 + 3.84 / n) * (value * (1 - value) / n + 0.96 / n**2) ** 0.5
    return {
        "value": value,
        "ci95": [max(0.0, middle - half), min(1.0, middle + half)],
        "n": n,
    }


def labels_of(k: int) -> list[str]:
    if k == 2:
        return ["negative", "positive"]
    if k == len(TNEWS):
        return list(TNEWS)
    return [f"intent_number_{i:02d}" for i in range(k)]


def make_report(k: int = 2, n: int = 1_821, seed: int = 7) -> Json:
    """Return a whole report of `k` classes and `n` scored rows.

    14 classes are Chinese, 2 English, all others made-up intents.
    """
    made = _Maker(k, n, seed)
    report = made.basics() | made.sections()
    report["data"] = data_lines(report)
    return {
        **report,
        "headline": headline(report),
        "summary": summary(report),
        "run": made.run(),
    }


def tiny_report() -> Json:
    """Return what is left of a report with three scored rows: hardly any section can be said."""
    report = make_report(2, 3)
    missing = ("learning_curve", "label_issues", "map", "thresholds", "scores")
    metrics = {**report["metrics"]["test"], "roc_auc": undefined(3)}
    return {
        **report,
        **dict.fromkeys(missing),
        "slices": [],
        "metrics": {"test": metrics},
        "run": {**report["run"], "previous": None},
    }


def null_report() -> Json:
    """Return a report in which every figure and every section that may be null is."""
    report = make_report(2, 40)
    names = report["metrics"]["test"]
    nothing = {name: undefined(40) for name in names}
    return {
        **report,
        **NULL_SECTIONS,
        "metrics": {"test": nothing},
        "baselines": dict.fromkeys(report["baselines"], nothing),
        "comparison": dict.fromkeys(report["baselines"], nothing),
        "per_class": [
            {**row, "precision": None, "recall": None, "f1": None}
            for row in report["per_class"]
        ],
        "run": {"previous": None},
    }


REPORTS = {
    "two": lambda: make_report(2),
    "fourteen": lambda: make_report(14, 10_000),
    "seventy-seven": lambda: make_report(77, 3_080),
    "tiny": tiny_report,
    "null": null_report,
}


def comparison(n_changed: int = 30) -> Json:
    """Return what `frostbert compare` knows of two runs."""
    made = _Maker(2, 1_821, 3)
    runs = [
        {
            "when": f"2026-11-2{i}T10:00:00+00:00",
            "name": f"sst2-0123456789a{i}",
            "accuracy": share(0.77 + 0.04 * i, 1_821),
            "encoder": "minilm",
            "pooling": ("cls", "mean")[i],
        }
        for i in range(2)
    ]
    differences = {
        name: {
            "a": of_value(0.77, 1_821),
            "b": of_value(0.81, 1_821),
            "difference": of_value(0.04, 1_821, 0.015),
        }
        for name in ("accuracy", "f1_macro", "roc_auc", "log_loss")
    }
    changed = [
        {
            "text": made.text(),
            "label": "positive",
            "a": ("negative", "positive")[i % 2],
            "b": ("positive", "negative")[i % 2],
            "split": "test",
            "line": 10 + i,
        }
        for i in range(n_changed)
    ]
    return {
        "runs": runs,
        "n": 1_821,
        "metrics": differences,
        "mcnemar": {"b": 61, "c": 132, "p": 3.2e-7},
        "verdict": "The second run is better by 4.0 points (95 % 2.5 to 5.5, paired).",
        "changed": changed,
        "n_changed": 193,
    }


def with_evil(value):
    """Put markup into every string of a report."""
    if isinstance(value, dict):
        return {key: with_evil(one) for key, one in value.items()}
    if isinstance(value, list):
        return [with_evil(one) for one in value]
    return EVIL + value if isinstance(value, str) else value


class _Maker:
    """Draws labels and probabilities, and makes the sections of them."""

    def __init__(self, k: int, n: int, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.k, self.n, self.labels = k, n, labels_of(k)
        y = self.random.integers(0, k, n)
        noise = self.random.normal(0, 1.0, (n, k))
        near = (y + self.random.choice([0, 1, -1], n, p=[0.7, 0.2, 0.1])) % k
        lift = np.zeros((n, k))
        lift[np.arange(n), near] = 1.6 + np.log(k)
        scores = np.exp(noise + lift)
        self.scored = Scored(y.astype(np.int64), scores / scores.sum(axis=1)[:, None])
        self.is_right = self.scored.predicted == self.scored.y
        self.accuracy = float(self.is_right.mean())

    def text(self, limit: int = 600) -> str:
        length = int(self.random.integers(3, 40))
        if self.k == len(TNEWS):
            signs = self.random.choice(list(CHINESE), 2 * length)
            return "".join(signs)[:limit]
        return " ".join(self.random.choice(ENGLISH, length))[:limit]

    def basics(self) -> Json:
        n, k = self.n, self.k
        ours = {
            "accuracy": share(self.accuracy, n),
            "f1_macro": of_value(self.accuracy - 0.004, n),
            "roc_auc": of_value(0.9, n),
            "log_loss": of_value(0.61, n),
        }
        tfidf = {
            "accuracy": share(min(1.0, self.accuracy + 0.03), n),
            "f1_macro": of_value(0.7, n),
            "roc_auc": of_value(0.88, n),
            "log_loss": of_value(0.65, n),
        }
        majority = {
            "accuracy": share(1 / k, n),
            "f1_macro": of_value(0.33, n),
            "roc_auc": of_value(0.5, n, 0.0),
            "log_loss": of_value(float(np.log(k)), n),
        }
        return {
            "schema_version": 2,
            "dataset": self.dataset(),
            "encoder": self.encoder(),
            "split": {
                "mode": "official",
                "scored": "test",
                "n_fit": 6_920,
                "n_test": n,
                "overlap": {
                    "identical": 1,
                    "contained": 2,
                    "containing": 3,
                    "n": n,
                    "share": 6 / n if n > 6 else 1.0,
                },
            },
            "head": {
                "C": 0.1,
                "class_weight": "none",
                "search": [
                    {"C": C, "log_loss": 0.48 + gap, "accuracy": 0.77 - gap}
                    for C, gap in (
                        *((1e-3, 0.05), (3e-3, 0.021), (0.01, 0.009)),
                        *((0.0316, 0.003), (0.1, 0.0), (0.316, 0.004), (1.0, 0.02)),
                    )
                ],
                "converged": True,
                "n_iter": 21,
                "solver": "lbfgs",
                "sklearn_version": "1.9.1",
                "n_features": 384,
                "float16": None,
            },
            "classes": self.labels,
            "metrics": {"test": ours},
            "baselines": {"majority": majority, "tfidf_logreg": tfidf},
            "comparison": {
                "majority": {name: of_value(0.3, n) for name in ours},
                "tfidf_logreg": {name: of_value(-0.03, n) for name in ours},
            },
            "baseline_details": {"C": 1.0, "n_features": 20_000},
            "per_class": self.per_class(),
            "confusion": confusion(self.scored),
            "unknown_labels": 0,
            "errors": self.errors(),
            "n_errors": int((~self.is_right).sum()),
            "published": [
                {
                    "system": "DistilBERT, fine-tuned",
                    "metric": "accuracy",
                    "value": 0.913,
                    "rows": "GLUE dev, 872 rows",
                    "source": "transformers, research_projects/distillation",
                }
            ]
            if k == 2
            else [],
            "methods": CLASSES.methods,
        }

    def dataset(self) -> Json:
        counts = dict.fromkeys(self.labels, 6_920 // self.k)
        return {
            "name": {2: "sst2", 14: "tnews"}.get(self.k, "intents"),
            "source": {"kind": "folder", "files": {"train": "ab" * 32}},
            "splits": {
                name: {"rows_read": rows, "rows_used": rows, "header": True}
                for name, rows in (("train", 6_920), ("test", self.n))
            },
            "text_column": "text",
            "label_column": "label",
            "texts": {
                "train_labels": counts,
                "duplicates": 3,
                "conflicting": 1,
                "conflicts": [
                    {
                        "rows": [
                            {"split": "train", "line": 3},
                            {"split": "train", "line": 77},
                        ]
                    }
                ],
                "control_characters": {"rows": 0, "first": []},
                "mean_characters": 103.2,
                "longest": [{"characters": 290, "split": "train", "line": 12}],
                "in_train": {"test": 1},
            },
        }

    def encoder(self) -> Json:
        spec = EncoderSpec()
        return {
            "name": "minilm",
            "identity": {"files": {"model.safetensors": "cd" * 32}},
            "files": {"model.safetensors": "cd" * 32},
            "parameters": 22_713_216,
            "dim": 384,
            "pooling": "mean",
            "layer": -1,
            "max_length": 128,
            "recipe": spec.recipe,
            "feature_dtype": "float32",
            "certificates": [
                {
                    "engine": "openvino",
                    "version": "2026.4.1",
                    "device": "cpu",
                    "capabilities": [],
                    "n": 256,
                    "scale": 3.5,
                    "largest": 1.36e-06,
                    "mean": 1.7e-07,
                    "cosine": 1.0,
                    "smallest_cosine": 0.999999,
                    "batch_of_one": 1e-06,
                    "batch_orders": 2.34e-06,
                    "flips": 0,
                }
            ],
            "rows": 6_920 + self.n,
            "tokens": 200_000,
            "mean_tokens": 24.31,
            "longest_tokens": 66,
            "rows_cut": 0,
            "tokens_cut": 0,
        }

    def per_class(self) -> list[Json]:
        rows = []
        for i, label in enumerate(self.labels):
            truth, said = self.scored.y == i, self.scored.predicted == i
            hits, n, m = int((truth & said).sum()), int(truth.sum()), int(said.sum())
            rows.append(
                {
                    "label": label,
                    "n": n,
                    "predicted": m,
                    "precision": hits / m if m else None,
                    "recall": hits / n if n else None,
                    "f1": 2 * hits / (n + m) if n + m else None,
                }
            )
        return rows

    def errors(self) -> list[Json]:
        wrong = np.flatnonzero(~self.is_right)
        sure = self.scored.proba[wrong].max(axis=1)
        found = []
        for i in wrong[np.argsort(-sure)][:20].tolist():
            near = [
                {
                    "text": self.text(),
                    "label": self.labels[int(self.random.integers(self.k))],
                    "cosine": 0.93 - 0.04 * j,
                    "split": "train",
                    "line": 100 + i + j,
                }
                for j in range(3)
            ]
            guess = int(self.scored.predicted[i])
            found.append(
                {
                    "text": self.text(),
                    "label": self.labels[int(self.scored.y[i])],
                    "predicted": self.labels[guess],
                    "probability": float(self.scored.proba[i, guess]),
                    "split": "test",
                    "line": i + 2,
                    "nearest": near,
                }
            )
        return found

    def sections(self) -> Json:
        return {
            "calibration": self.calibration(),
            "decision": self.decision() if self.k == 2 else None,
            "thresholds": self.thresholds(),
            "scores": self.scores(),
            "slices": self.slices(),
            "learning_curve": self.learning_curve(),
            "label_issues": self.label_issues(),
            "map": self.map(),
            "reproduce": {
                "command": "luigi --module tasks TrainLogReg --dataset sst2 --encoder minilm --pooling mean --C 0.1",
                "versions": {"frostbert": "0.1.0", "numpy": "2.4.6", "torch": "2.13.0"},
            },
            "advice": [
                "Try --pooling mean: TF-IDF + logistic regression is better by 3.0 points.",
                "Look at the 3 labels that are probably wrong.",
                "About 4,100 more labels would be worth another point.",
            ],
            "clusters": {
                "n": max(1, self.n - 9),
                "method": "texts contained in another form one cluster",
            },
        }

    def calibration(self) -> Json:
        sure = self.scored.proba.max(axis=1)
        edges = np.linspace(0, 1, 11)
        bins = []
        for low, high in pairwise(edges):
            inside = (sure > low) & (sure <= high)
            if inside.any():
                bins.append(
                    {
                        "low": float(low),
                        "high": float(high),
                        "n": int(inside.sum()),
                        "confidence": float(sure[inside].mean()),
                        "accuracy": float(self.is_right[inside].mean()),
                    }
                )
        return {
            "ece": of_value(0.0612, self.n, 0.011),
            "n_bins": 10,
            "bins": bins,
            "method": "ten bins of equal width of the most probable class's probability",
        }

    def decision(self) -> Json:
        points = [
            {"coverage": i / 50, "error": 0.12 * i / 50, "confidence": 1 - i / 100}
            for i in range(1, 51)
        ]
        return {
            "asked": {
                "calibration": "auto",
                "thresholds": "f1_macro",
                "max_error": 0.05,
            },
            "n": 6_920,
            "n_unknown": 3,
            "n_clusters": 5_100,
            "log_losses": {
                "none": 0.43,
                "temperature": 0.44,
                "sigmoid": 0.41,
                "isotonic": 0.42,
            },
            "calibrator": {"method": "sigmoid", "slopes": [0.9], "intercepts": [0.1]},
            "thresholds": [0.61, 0.39],
            "costs": None,
            "min_confidence": 0.83,
            "gain": {
                "metric": "f1_macro",
                **{"plain": 0.77, "nested": 0.78, "optimistic": 0.79},
                "test": {
                    "value": of_value(0.79, self.n),
                    "plain": of_value(0.78, self.n),
                    "difference": of_value(0.01, self.n, 0.012),
                },
            },
            "abstention": {
                "max_error": 0.05,
                "out_of_fold": {"coverage": 0.6, "error": 0.045},
                "test": {
                    "coverage": of_value(0.61, self.n),
                    "error": of_value(0.04, self.n, 0.01),
                    "points": points,
                },
            },
        }

    def thresholds(self) -> Json | None:
        if self.k != 2:
            return None
        truth, chance = self.scored.y == 1, self.scored.proba[:, 1]
        points = []
        for threshold in np.linspace(0, 1, 101):
            said = chance >= threshold
            hits = int((truth & said).sum())
            points.append(
                {
                    "threshold": round(float(threshold), 2),
                    "precision": hits / int(said.sum()) if said.any() else None,
                    "recall": hits / max(1, int(truth.sum())),
                    "f1": 2 * hits / max(1, int(truth.sum() + said.sum())),
                    "accuracy": float((truth == said).mean()),
                    "share_positive": float(said.mean()),
                }
            )
        return {"positive": self.labels[1], "points": points}

    def scores(self) -> Json:
        edges = np.linspace(0, 1, 21)
        if self.k == 2:
            values, groups = (
                self.scored.proba[:, 1],
                [(label, self.scored.y == i) for i, label in enumerate(self.labels)],
            )
        else:
            values, groups = (
                self.scored.proba.max(axis=1),
                [("right", self.is_right), ("wrong", ~self.is_right)],
            )
        return {
            "of": "probability of positive"
            if self.k == 2
            else "probability of the most probable class",
            "edges": edges.tolist(),
            "groups": [
                {
                    "name": name,
                    "counts": np.histogram(values[inside], edges)[0].tolist(),
                }
                for name, inside in groups
            ],
        }

    def slices(self) -> list[Json]:
        names = (
            ("length", "up to 12 tokens"),
            ("length", "13 to 21 tokens"),
            ("length", "22 to 30 tokens"),
            ("length", "more than 30 tokens"),
            ("cut", "not truncated"),
            ("overlap", "contained in a training text"),
            ("overlap", "not in a training text"),
            (UNSEEN, "none"),
            (UNSEEN, "some"),
            (UNSEEN, "a third or more"),
        )
        gaps = (0.03, 0.01, 0.0, -0.07, 0.0, 0.12, -0.01, 0.02, 0.0, -0.09)
        sizes = (4, 4, 4, 4, 1, 90, 1, 3, 2, 9)
        return [
            {
                "group": group,
                "name": name,
                "n": max(1, self.n // size),
                "accuracy": share(
                    min(1.0, self.accuracy + gap), max(1, self.n // size)
                ),
                "difference": undefined(self.n, "all rows are in this slice")
                if name == "not truncated"
                else of_value(gap, self.n, 0.05),
                "is_weak": gap <= -0.07,
            }
            for (group, name), gap, size in zip(names, gaps, sizes, strict=True)
        ]

    def learning_curve(self) -> Json:
        return {
            "points": [
                {
                    "n": n,
                    "accuracy": share(
                        self.accuracy + 0.02 - 1.4 * n**-0.5 * self.accuracy, self.n
                    ),
                }
                for n in (216, 432, 865, 1_730, 3_460, 6_920)
            ],
            "fit": {
                "a": self.accuracy + 0.02,
                "b": 1.4 * self.accuracy,
                "c": 0.5,
            },
            "forecast": {
                "points": 1.0,
                "more_labels": 4_100,
                "said": "About 4,100 more labels would be worth another point (+1.0).",
            },
            "method": "nested samples of the training rows, C as in the model",
        }

    def label_issues(self) -> Json:
        rows = [
            {
                "text": self.text(),
                "split": "train",
                "line": 40 + 13 * i,
                "label": self.labels[i % self.k],
                "suggested": self.labels[(i + 1) % self.k],
                "probability": 0.99 - 0.01 * i,
            }
            for i in range(12)
        ]
        return {
            "n": 41,
            "n_looked_at": 6_920,
            "error_rate": 0.043,
            "method": "confident learning on out-of-fold probabilities",
            "rows": rows,
        }

    def map(self) -> Json:
        chosen = self.random.choice(self.n, min(self.n, 1_500), replace=False)
        angle = 2 * np.pi * self.scored.y[chosen] / self.k
        spread = self.random.normal(0, 1, (len(chosen), 2))
        points = [
            {
                "x": round(3 * float(np.cos(angle[i])) + float(spread[i, 0]), 4),
                "y": round(3 * float(np.sin(angle[i])) + float(spread[i, 1]), 4),
                "label": int(self.scored.y[row]),
                "predicted": int(self.scored.predicted[row]),
                "text": self.text(120),
            }
            for i, row in enumerate(chosen.tolist())
        ]
        return {
            "method": "the first two principal components of the standardised features",
            "points": points,
            "explained": [0.071, 0.044],
        }

    def run(self) -> Json:
        n = self.n
        return {
            "pooling_source": "sentence-transformers",
            "encoding": {
                "rows_encoded": 9_613,
                "peak_mb": 1_204.5,
                "rows_per_s": 87.4,
                "tokens_per_s": 2_071.3,
                "padding_share": 0.0123,
            },
            "previous": {
                "when": "2026-11-20T10:00:00+00:00",
                "key": "ab" * 32,
                "report": "reports/any-abababababab",
                "changed": ["C: 0.01 -> 0.1"],
                "accuracy": share(max(0.0, self.accuracy - 0.02), n),
                "difference": of_value(0.02, n, 0.012),
                "mcnemar": {"b": 71, "c": 34, "p": 0.00039},
                "n_changed": 105,
            },
            "seconds": {
                "dataset": 0.4,
                "split": 1.2,
                "features": 74.3,
                "model": 3.9,
                "baselines": 2.2,
            },
        }

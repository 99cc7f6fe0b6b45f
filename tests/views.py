"""Views of made-up texts: features in memory, and a comparison of them."""

from typing import Any

import numpy as np

from pipeline.config import HeadSpec
from pipeline.evaluation.resampling import Clusters
from pipeline.report.views import Candidate, Question, View, compare_views, with_speeds
from tests.test_heads_streaming import Rows

N = 300
SPEC = HeadSpec(C=0.1)


def view(layer, pooling="mean", encoder="tiny", precision="float32"):
    return View(encoder, layer, pooling, precision)


def latent(seed=0):
    """What all labels are made of: float64, (N,)."""
    return np.random.default_rng(seed).normal(size=N)


def candidate(signal, noise, seed=1, certificates=()):
    """A view in which a signal is to be seen through noise."""
    features = np.random.default_rng(seed).normal(scale=noise, size=(N, 6))
    features[:, 0] += signal
    rows: Any = Rows(features.astype(np.float32))  # as StoredFeatures are read
    return Candidate(rows, certificates, "float32-v1", None)


def question(labels, task="classification", names=(), folds=5):
    return Question(
        labels=labels,
        folds=(np.arange(N) % folds).astype(np.int8),
        clusters=Clusters.of_rows(N),
        spec=SPEC,
        task=task,
        names=names,
    )


def classes(signal):
    return np.where(signal > 0, "pos", "neg").astype(object)


def speeds(*rows_per_s):
    return [
        {
            "rows_per_s": float(one),
            "size_mb": 10.0 + i,
            "engine": "torch",
            "device": "cpu",
        }
        for i, one in enumerate(rows_per_s)
    ]


def compared(noises, refused=None, **options):
    """Compare views of more or less noise, layer -1 first."""
    signal = latent()
    candidates = {
        view(-1 - i): candidate(signal, noise, seed=i + 1)
        for i, noise in enumerate(noises)
    }
    return compare_views(
        candidates, question(classes(signal)), refused or {}, **options
    )


def comparison(noises=(0.3, 0.3, 3.0), refused=None):
    """A whole ``comparison.json``; the later a view, the faster."""
    found = compared(noises, refused).comparison
    measured = speeds(*(100.0 * (i + 1) for i in range(len(noises))))
    return with_speeds(found, measured, {"fitting": 1.0})

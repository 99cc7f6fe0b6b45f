"""What is learnt from a few labels: the protocol by which encoders are compared on classification.

So many training rows of each class are drawn, the head is fitted on them and scored on all scored rows; again with
other rows, ten times. It is the protocol of MTEB's classification tasks (8 rows a class, 10 experiments, logistic
regression on frozen features) [1]_ and of SetFit's comparisons (8 rows a class, 10 splits) [2]_. MTEB's head has C = 1
on features as they are; ours is `pipeline.heads.few`.

.. [1] N. Muennighoff et al. (2023), MTEB: Massive Text Embedding Benchmark, EACL; samples_per_label = 8 and
   n_experiments = 10 of its ``AbsTaskClassification``.
.. [2] L. Tunstall et al. (2022), Efficient few-shot learning without prompts, arXiv:2209.11055.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from pipeline.config import FewLabelsSpec
from pipeline.datasets.targets import class_numbers
from pipeline.errors import DataError, label_text, word
from pipeline.evaluation.baselines import baselines
from pipeline.evaluation.metrics import Scored, points
from pipeline.features.stored import StoredFeatures
from pipeline.heads.few import fit_few
from pipeline.heads.streaming import moments, score_stored
from pipeline.pairs import Text

Json = dict[str, Any]  # Any: JSON values
METRICS = ("accuracy", "f1_macro")
SYSTEMS = ("head", "tfidf_logreg")


@dataclass(frozen=True)
class Rows:
    """Rows with features, texts and labels.

    Attributes
    ----------
    features : StoredFeatures
        Of n rows.
    texts : sequence of str or Pair, length n
    labels : ndarray, shape (n,)
        str or int.
    """

    features: StoredFeatures
    texts: Sequence[Text]
    labels: NDArray[Any]  # Any: objects or int64


def few_labels(train: Rows, scored: Rows, spec: FewLabelsSpec, seed: int) -> Json:
    """Fit on each draw, beside TF-IDF on the same rows, and score.

    Classes with fewer training rows than are asked for are not learnt, else the figure would be of fewer labels than it
    says; the scored rows that have them count as wrong.

    Parameters
    ----------
    train, scored : Rows
    spec : FewLabelsSpec
    seed : int
        Draw i is made with the seeds `seed` and i.

    Returns
    -------
    dict
        JSON values: ``draws``, a list with the row numbers in `train` and each system's scores; ``mean`` and ``std``
        over the draws, of each system and of the paired ``difference``, with its interval; what was left out.

    Raises
    ------
    DataError
        If fewer than two classes have enough training rows.
    """
    counts = Counter(train.labels.tolist())
    classes = sorted(name for name, n in counts.items() if n >= spec.per_class)
    if len(classes) < 2:
        found = ", ".join(
            f"{word(label_text(name))}: {n}" for name, n in counts.most_common(5)
        )
        raise DataError(
            f"--per-class is {spec.per_class}, but fewer than two classes have so many training rows ({found}). "
            "Pass a smaller one."
        )
    y, truth = (
        class_numbers(rows.labels.tolist(), classes) for rows in (train, scored)
    )
    mean, scale = moments(train.features)
    draws = []
    for i in range(spec.draws):
        rows = drawn(y, spec.per_class, (seed, i))
        head = fit_few(train.features.take(rows), y[rows], mean, scale)
        texts = [train.texts[row] for row in rows]
        outputs, _ = baselines(texts, y[rows], len(classes), scored.texts)
        outputs["head"] = score_stored(head, scored.features)
        scores = {
            name: points(Scored(truth, outputs[name]), METRICS) for name in SYSTEMS
        }
        draws.append({"seed": [seed, i], "rows": rows.tolist(), **scores})
    return {
        "per_class": spec.per_class,
        "classes": classes,
        "left_out": {
            label_text(name): n for name, n in counts.items() if name not in classes
        },
        "unknown_rows": int((truth < 0).sum()),
        "n_scored": len(truth),
        "C": head.C,
        "draws": draws,
        **_summary(draws),
    }


def drawn(
    y: NDArray[np.int64], per_class: int, seed: Sequence[int]
) -> NDArray[np.int64]:
    """Return the numbers of `per_class` random rows of each class, sorted.

    Parameters
    ----------
    y : ndarray of int64, shape (n,)
        Rows of class -1 are not drawn.
    per_class : int
        No class has fewer rows.
    seed : sequence of int
    """
    generator = np.random.Generator(np.random.PCG64(list(seed)))
    rows = [
        generator.choice(np.flatnonzero(y == number), per_class, replace=False)
        for number in range(int(y.max()) + 1)
    ]
    return np.sort(np.concatenate(rows))


def _summary(draws: list[Json]) -> Json:
    """Return means, standard deviations and the paired difference over the draws."""
    found: Json = {name: {} for name in (*SYSTEMS, "difference")}
    for metric in METRICS:
        ours, theirs = (
            np.array([draw[name][metric] for draw in draws]) for name in SYSTEMS
        )
        for name, values in zip(found, (ours, theirs, ours - theirs), strict=True):
            found[name][metric] = {
                "mean": float(values.mean()),
                "std": float(values.std(ddof=1)),
            }
        found["difference"][metric]["ci95"] = _interval(ours - theirs)
    return found


def _interval(values: NDArray[np.float64]) -> list[float]:
    """Return Student's 95 % interval of the mean: of other draws, on the same scored rows."""
    n = len(values)
    half = float(stdtrit(n - 1, 0.975)) * float(values.std(ddof=1)) / n**0.5
    return [float(values.mean()) - half, float(values.mean()) + half]


def said(found: Json) -> list[str]:
    """Return lines for people: each system, and the difference."""
    n_classes, n = len(found["classes"]), len(found["draws"])
    lines = [
        f"{found['per_class']} labels for each of {n_classes} classes, drawn {n} times; {found['n_scored']:,} rows "
        "scored; mean ± standard deviation over the draws"
    ]
    for name, title in zip(SYSTEMS, ("frozen encoder", "TF-IDF"), strict=True):
        accuracy, f1 = (_spread(found[name][metric]) for metric in METRICS)
        lines.append(f"{title:<15} accuracy {accuracy}, macro F1 {f1}")
    difference = found["difference"]["accuracy"]
    low, high = (100 * bound for bound in difference["ci95"])
    lines.append(
        f"{'difference':<15} {100 * difference['mean']:+.1f} points of accuracy (95 % {low:+.1f} to {high:+.1f}, "
        "paired, over the draws)"
    )
    if found["left_out"]:
        names = ", ".join(map(word, found["left_out"]))
        lines.append(
            f"not learnt, as they have fewer than {found['per_class']} training rows: {names}; "
            f"{found['unknown_rows']:,} scored rows count as wrong"
        )
    return lines


def _spread(figure: Json) -> str:
    return f"{figure['mean']:.3f} ± {figure['std']:.3f}"

"""Labelling text by text: the answers, the model that they give, the text that comes next, and how good it is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.evaluation.resampling import wilson
from pipeline.heads.head import Features, Head
from pipeline.labelling.answers import Answer, Answers
from pipeline.labelling.choice import RANDOM, Choice, Known, Pool, Rows, choose

N_FOLDS = 5
MIN_RANDOM = 10  # of fewer texts the interval of a share spans nearly everything


@dataclass(frozen=True)
class Estimate:
    """How many random texts are classified rightly by a model that was fitted without them.

    Attributes
    ----------
    n_right, n : int
        Of those texts that were asked for at random: where the model is unsure it errs more often, so the others tell
        too little.
    low, high : float
        Wilson's 95 % interval of the share.
    most_frequent : str
        The label that most of them have.
    n_most_frequent : int
    """

    n_right: int
    n: int
    low: float
    high: float
    most_frequent: str
    n_most_frequent: int


class Session:
    """Texts, their features and the answers so far.

    Parameters
    ----------
    texts : sequence of str, length n
        All different.
    features : ndarray of float32, shape (n, d)
    answers : Answers
        Those to other texts are left alone.
    seed : int
        The same seed and answers give the same texts to label.
    """

    def __init__(
        self,
        texts: Sequence[str],
        features: Features,
        answers: Answers,
        *,
        seed: int = 0,
    ) -> None:
        self.texts, self.answers = texts, answers
        self._pool = Pool(features, seed)
        self._row_of = {text: row for row, text in enumerate(texts)}
        self._skipped: list[int] = []
        self._done: list[str] = []  # what `undo` takes back: "skip" or "answer"
        self._probable: NDArray[np.float32] | None = None

    def labelled(self) -> tuple[Rows, NDArray[np.object_], list[str]]:
        """Return the rows that have an answer, the oldest first, their labels, and why each was asked for."""
        found = [
            (self._row_of[answer.text], answer)
            for answer in self.answers.all()
            if answer.text in self._row_of
        ]
        labels = np.array([answer.label for _, answer in found], dtype=object)
        rows = np.array([row for row, _ in found], dtype=np.int64)
        return rows, labels, [answer.chosen for _, answer in found]

    @property
    def n_open(self) -> int:
        """Return how many texts have no answer yet, those that were skipped included."""
        return len(self.texts) - len(self.labelled()[0])

    def next(self, n: int = 1) -> list[Choice]:
        """Return the `n` texts to label next; those that were skipped come no more."""
        rows, _, _ = self.labelled()
        is_open = np.ones(len(self.texts), dtype=bool)
        is_open[rows] = is_open[self._skipped] = False
        return choose(self._pool, Known(rows, is_open, self._probabilities()), n)

    def answer(self, choice: Choice, label: str) -> None:
        """Keep a text's label: it is on the disk when this returns."""
        self.answers.add(Answer(self.texts[choice.row], label, choice.reason))
        self._done.append("answer")
        self._probable = None

    def skip(self, choice: Choice) -> None:
        """Ask for this text no more until the session ends."""
        self._skipped.append(choice.row)
        self._done.append("skip")

    def undo(self) -> str:
        """Take back the last skip, or the newest answer, also of an earlier session; return its text, or nothing."""
        last = self._done.pop() if self._done else "answer"
        if last == "skip":
            return self.texts[self._skipped.pop()]
        self._probable = None
        answer = self.answers.take_back()
        return "" if answer is None else answer.text

    def counts(self) -> Counter[str]:
        """Return how many texts have each label."""
        return Counter(self.labelled()[1].tolist())

    def sureness(self) -> float | None:
        """Return the mean probability of the class that each text would be given; None before there is a model."""
        probable = self._probabilities()
        return None if probable is None else float(probable[:, 0].mean())

    def estimate(self) -> Estimate | None:
        """Return how good the model is, by cross-validation; None while there are too few random texts."""
        rows, labels, reasons = self.labelled()
        is_random = np.array([reason == RANDOM for reason in reasons], dtype=bool)
        if is_random.sum() < MIN_RANDOM:
            return None
        n_right = 0
        for fold in range(N_FOLDS):
            out = np.zeros(len(rows), dtype=bool)
            out[np.flatnonzero(is_random)[fold::N_FOLDS]] = True
            n_right += self._n_right(rows, labels, out)
        (most_frequent, n_most), *_ = Counter(labels[is_random].tolist()).most_common()
        n = int(is_random.sum())
        low, high = wilson(n_right / n, n)
        return Estimate(n_right, n, low, high, most_frequent, n_most)

    def _n_right(
        self, rows: Rows, labels: NDArray[np.object_], out: NDArray[np.bool_]
    ) -> int:
        """Return how many of some rows a head is right about that was fitted on the others."""
        if len(set(labels[~out])) < 2:
            return int((labels[out] == labels[~out][:1]).sum())
        head = self._pool.fit(rows[~out], labels[~out])
        decided = head.decide(head.outputs(self._pool.features[rows[out]]))
        answers = np.array(head.classes, dtype=object)[decided]
        return int((answers == labels[out]).sum())

    def _probabilities(self) -> NDArray[np.float32] | None:
        """Return the probabilities of each text's two most probable classes; None before two classes are known."""
        rows, labels, _ = self.labelled()
        if len(set(labels)) < 2:
            return None
        if self._probable is None:
            head: Head = self._pool.fit(rows, labels)
            self._probable = self._pool.most_probable(head)
        return self._probable

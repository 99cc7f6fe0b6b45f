"""The data ledger: what the texts and labels of a data set are like, counted while they pass.

What has to be compared across all rows waits on disk and is compared in parts, so memory does not grow with the
rows, as long as most texts differ.
"""

import heapq
import re
from array import array
from collections import Counter
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.checks import Rows
from pipeline.datasets.labels import Label
from pipeline.datasets.raw import FIRST_LINES
from pipeline.errors import DataError, shown
from pipeline.pairs import n_characters, texts_in

Json = dict[str, Any]  # Any: JSON values
SPLITS = ("train", "dev", "test")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # not tab, LF, CR
N_EXAMPLES = 5
MAX_LABELS = 100_000
PART_ROWS = 2_000_000  # compared at once: 42 MB, and as much again for sorting
SEEN = np.dtype([("text", "u8"), ("line", "i8"), ("label", "i4"), ("split", "i1")])


class Ledger:
    """Counts over the checked rows of all splits.

    Parameters
    ----------
    scratch : Path
        A folder for one unnamed file of 21 bytes a row.
    task : {"classification", "multilabel", "regression"}

    Attributes
    ----------
    labels : dict of str to Counter
        Rows of each split by label; none of a regression.
    without : dict of str to int
        Rows of each split that may have several labels and have none.
    values : dict of str to array of float
        Of a regression the numbers of each split.
    n_rows : dict of str to int
    """

    def __init__(self, scratch: Path, task: str = "classification") -> None:
        self.labels: dict[str, Counter[Label]] = {split: Counter() for split in SPLITS}
        self.values: dict[str, array[float]] = {split: array("d") for split in SPLITS}
        self.n_rows = dict.fromkeys(SPLITS, 0)
        self.without = dict.fromkeys(SPLITS, 0)
        self._task = task
        self.rows = 0
        self._characters = 0
        self._control: list[Json] = []
        self._n_control = 0
        self._longest: list[tuple[int, int, str, int]] = []
        self._label_numbers: dict[Label, int] = {}
        self._sets: dict[int, Label] = {}  # the first of them by number, to be named
        self._seen = TemporaryFile(dir=scratch)  # noqa: SIM115  # closed by `__exit__`

    def __enter__(self) -> "Ledger":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the scratch file."""
        self._seen.close()

    def add(self, split: str, rows: Rows) -> None:
        """Count some rows of a split."""
        self.n_rows[split] += len(rows.labels)
        seen = np.empty(len(rows.lines), dtype=SEEN)
        # 64 bits of Python's keyed hash, the same within a process: good for counting, stored nowhere
        seen["text"] = np.fromiter(map(hash, rows.texts), "i8", len(seen)).view("u8")
        seen["line"] = rows.lines
        seen["label"] = self._count_labels(split, rows.labels)
        seen["split"] = SPLITS.index(split)
        self._seen.write(seen.tobytes())
        self._look_at(split, rows)

    def _count_labels(self, split: str, labels: list[Label]) -> NDArray[np.int32]:
        """Count labels, and return a number for each; numbers are all alike, as two of a text contradict nothing."""
        if self._task == "regression":
            self.values[split].extend(labels)  # type: ignore[arg-type]  # they are floats
            return np.zeros(len(labels), dtype=np.int32)
        if self._task == "multilabel":
            return self._count_sets(split, labels)
        self.labels[split].update(labels)
        for label in set(labels).difference(self._label_numbers):
            self._label_numbers[label] = len(self._label_numbers)
        self._check_number(len(self._label_numbers), *labels[-1:])
        numbers = map(self._label_numbers.__getitem__, labels)
        return np.fromiter(numbers, "i4", len(labels))

    def _count_sets(self, split: str, sets: list[Label]) -> NDArray[np.int32]:
        """Count the labels of rows that may have several, and return 31 bits of hash for each set."""
        self.labels[split].update(chain.from_iterable(sets))  # type: ignore[arg-type]  # they are tuples
        self.without[split] += sets.count(())
        self._check_number(len(self.labels[split]), next(iter(self.labels[split]), ""))
        numbers = np.fromiter(map(hash, sets), "i8", len(sets)) & 0x7FFFFFFF
        if len(self._sets) < MAX_LABELS:
            self._sets.update(zip(numbers.tolist(), sets, strict=True))
        return numbers.astype(np.int32)

    def _check_number(self, n: int, label: Label = "") -> None:
        if n > MAX_LABELS:
            raise DataError(
                f"More than {MAX_LABELS:,} different labels, such as {shown(label)}: an id or a measure "
                "rather than a class? Pass --label-column."
            )

    def _look_at(self, split: str, rows: Rows) -> None:
        lengths = np.fromiter(map(n_characters, rows.texts), "i8", len(rows.texts))
        self._characters += int(lengths.sum())
        shortest = self._longest[0][0] if len(self._longest) == N_EXAMPLES else -1
        for i in np.flatnonzero(lengths > shortest).tolist():
            self._keep_long((int(lengths[i]), -self.rows - i, split, rows.lines[i]))
        for row, line in zip(rows.texts, rows.lines, strict=True):
            if any(map(has_control_character, texts_in(row))):
                self._n_control += 1
                if len(self._control) < FIRST_LINES:
                    self._control.append({"split": split, "line": line})
        self.rows += len(rows.texts)

    def _keep_long(self, text: tuple[int, int, str, int]) -> None:
        if len(self._longest) < N_EXAMPLES:
            heapq.heappush(self._longest, text)
        elif text > self._longest[0]:
            heapq.heapreplace(self._longest, text)

    def facts(self) -> Json:
        """Return everything counted, as it stands in manifest and report."""
        names = {number: label for label, number in self._label_numbers.items()}
        repeats = Repeats(names | self._sets)
        n_parts = 1 + self.rows // PART_ROWS
        for part in range(n_parts):
            repeats.add(self._part(part, n_parts))
        longest = [
            {"split": split, "line": line, "characters": n}
            for n, _, split, line in sorted(self._longest, reverse=True)
        ]
        return {
            "rows": self.rows,
            "distinct": repeats.distinct,
            "duplicates": self.rows - repeats.distinct,
            "conflicting": repeats.conflicting,
            "conflicts": repeats.conflicts,
            "in_train": {
                split: repeats.in_train[i]
                for i, split in enumerate(SPLITS)
                if i and self.n_rows[split]
            },
            "control_characters": {"rows": self._n_control, "first": self._control},
            "mean_characters": round(self._characters / max(1, self.rows), 1),
            "longest": longest,
            **self._label_facts(),
        }

    def _label_facts(self) -> Json:
        """Return what the labels of each split are like."""
        splits = [split for split in SPLITS if self.n_rows[split]]
        if self._task == "regression":
            values = {split: _spread(self.values[split]) for split in splits}
            return {"train_values": values.get("train"), "values": values}
        facts: Json = {
            "train_labels": _counts(self.labels["train"]),
            "labels": {split: _counts(self.labels[split]) for split in splits},
        }
        if self._task == "multilabel":
            n = max(1, self.n_rows["train"])
            facts["train_sets"] = {
                "mean_labels": round(self.labels["train"].total() / n, 2),
                "without": self.without["train"],
            }
        return facts

    def _part(self, part: int, n_parts: int) -> NDArray[np.void]:
        """Return the rows whose text falls into one of `n_parts` parts; equal texts fall into the same."""
        self._seen.seek(0)
        found = []
        while data := self._seen.read(SEEN.itemsize * 2**18):
            seen = np.frombuffer(data, dtype=SEEN)
            found.append(seen[seen["text"] % np.uint64(n_parts) == part])
        return np.concatenate(found) if found else np.empty(0, dtype=SEEN)


class Repeats:
    """Texts that occur more than once, counted over disjoint parts of a data set.

    Parameters
    ----------
    labels : mapping of int to label
        By number; not necessarily all.
    """

    def __init__(self, labels: Mapping[int, Label]) -> None:
        self._labels = labels
        self.distinct = self.conflicting = 0
        self.in_train = [0] * len(SPLITS)  # rows of each split whose text train holds
        self.conflicts: list[Json] = []  # the first, with their places

    def add(self, seen: NDArray[np.void]) -> None:
        """Count a part: all the rows of each text in it."""
        if not len(seen):
            return
        seen = seen[np.argsort(seen["text"], kind="stable")]
        is_new = np.diff(seen["text"], prepend=~seen["text"][:1]) != 0
        begins, group = np.flatnonzero(is_new), np.cumsum(is_new) - 1
        self.distinct += len(begins)
        in_train = np.zeros(len(begins), dtype=bool)
        in_train[group[seen["split"] == 0]] = True
        for i in range(1, len(SPLITS)):
            self.in_train[i] += int(in_train[group[seen["split"] == i]].sum())
        low = np.minimum.reduceat(seen["label"], begins)
        high = np.maximum.reduceat(seen["label"], begins)
        differing = np.flatnonzero(low != high)
        self.conflicting += len(differing)
        ends = np.append(begins[1:], len(seen))
        firsts = seen[begins[differing]]
        early = np.lexsort((firsts["line"], firsts["split"]))[:N_EXAMPLES]
        for i in differing[early]:
            self.conflicts.append(self._conflict(seen[begins[i] : ends[i]]))
        self.conflicts.sort(key=_place)
        del self.conflicts[N_EXAMPLES:]

    def _conflict(self, rows: NDArray[np.void]) -> Json:
        _, first = np.unique(rows["label"], return_index=True)
        return {
            "rows": [
                {
                    "split": SPLITS[int(rows["split"][i])],
                    "line": int(rows["line"][i]),
                    "label": self._labels.get(int(rows["label"][i]), "…"),
                }
                for i in np.sort(first)[:N_EXAMPLES]
            ]
        }


def has_control_character(text: str) -> bool:
    """Tell whether a text holds one; printable is nearly every text, and quick to tell."""
    return not text.isprintable() and CONTROL.search(text) is not None


def _place(conflict: Json) -> tuple[int, int]:
    first = conflict["rows"][0]
    return SPLITS.index(first["split"]), first["line"]


def _spread(values: "array[float]") -> Json:
    """Return number, range, quartiles and mean of values."""
    quartiles = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
    return {
        "n": len(values),
        "min": min(values),
        "quartiles": quartiles,
        "mean": float(np.mean(values)),
        "max": max(values),
    }


def _counts(labels: "Counter[Label]") -> dict[str, int]:
    return {str(label): n for label, n in sorted(labels.items())}

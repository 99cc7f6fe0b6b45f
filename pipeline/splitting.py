"""Splits and folds that do not leak, the same on every platform and library version.

Rows of one data set are often pieces of each other. Texts that are equal, or of at least three words and
contained in another text, form one group with the longest text that contains them; a group is never divided.
A pair is compared as one text, the second behind the first; and rows that share a text of at least three words are one
group, too. A shorter one, as "yes", is shared by chance.
Order comes from SHA-256 of the seed and the text, not from a random number generator, so a split depends on
which texts there are and not on their order.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.config import SplitSpec
from pipeline.errors import DataError, shown
from pipeline.pairs import Text, are_pairs, texts_in

MIN_WORDS = 3  # shorter texts are contained in others by chance
ROWS_A_BIN = 10  # so that each has rows for every side
N_BINS = 10  # of numbers, where every side is to have small ones and large ones
BETWEEN = "\x1f"  # the unit separator: white space, so in no normalised text
Label = int | str | float | tuple[str, ...]
Strata = Sequence[
    tuple[object, ...]
]  # of each row, what every side is to have its share of
Group = tuple[list[int], Counter[object]]  # its rows, and how many of each stratum


def normalise(row: Text) -> str:
    """Return a text in lower case with single spaces, as it is compared for containment; a pair as one text.

    What stands between the two is no space, so a pair is contained in another where its first text ends the other's
    first, and its second begins the other's second.
    """
    return BETWEEN.join(" ".join(text.casefold().split()) for text in texts_in(row))


class SpanIndex:
    """Finds which of a set of texts are literal word spans of a given text.

    Parameters
    ----------
    texts : iterable of str
        Normalised texts to find, of any number of words.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._found = set(texts)
        self._lengths: dict[
            str, set[int]
        ] = {}  # first words (up to three) -> word counts of texts that begin so
        for text in self._found:
            words = text.split(" ")
            self._lengths.setdefault(" ".join(words[:MIN_WORDS]), set()).add(len(words))

    def spans(self, text: str) -> Iterator[str]:
        """Yield every indexed text that is a word span of the normalised `text`, itself included."""
        words = text.split(" ")
        n = len(words)
        for begin in range(n):
            for head in range(1, min(MIN_WORDS, n - begin) + 1):
                for length in self._lengths.get(
                    " ".join(words[begin : begin + head]), ()
                ):
                    if head in {MIN_WORDS, length} and begin + length <= n:
                        span = " ".join(words[begin : begin + length])
                        if span in self._found:
                            yield span


def text_groups(rows: Sequence[Text]) -> list[str]:
    """Return for each row what names its group: rows of one name belong together.

    Parameters
    ----------
    rows : sequence of str or of Pair, length n

    Returns
    -------
    list of str, length n
        As `containment_groups`. Of pairs, groups that share a text of at least three words are one, with the longest
        of their names.
    """
    names = containment_groups(rows)
    return _sharing(names, rows) if are_pairs(rows) else names


def _sharing(names: list[str], pairs: Sequence[Text]) -> list[str]:
    """Return the names with those made equal whose pairs share a text, over any number of steps."""
    parents = {name: name for name in names}

    def root(name: str) -> str:
        while parents[name] != name:
            parents[name] = name = parents[parents[name]]
        return name

    first: dict[str, str] = {}  # a text: the name of the first pair with it
    for name, pair in zip(names, pairs, strict=True):
        for text in map(normalise, pair):
            if text.count(" ") >= MIN_WORDS - 1:
                shorter, longer = sorted(
                    (root(first.setdefault(text, name)), root(name)), key=_rank
                )
                parents[shorter] = longer
    return [root(name) for name in names]


def _rank(text: str) -> tuple[int, int, str]:
    """Order texts by length, in words and then in characters."""
    return text.count(" "), len(text), text


def containment_groups(texts: Sequence[Text]) -> list[str]:
    """Return for each text the normalised text that contains it.

    Parameters
    ----------
    texts : sequence of str or of Pair, length n

    Returns
    -------
    list of str, length n
        The longest text of the set that contains it (in words, then characters, then alphabetically);
        itself where nothing does, or where it has fewer than three words.
    """
    normal = [normalise(text) for text in texts]
    distinct = set(normal)
    index = SpanIndex([text for text in distinct if text.count(" ") >= MIN_WORDS - 1])
    group = {text: text for text in distinct}
    settled: set[str] = set()
    for text in sorted(distinct, key=lambda t: (-t.count(" "), -len(t), t)):
        for span in index.spans(text):
            if (
                span not in settled
            ):  # texts come longest first: the first that contains it is the longest
                group[span] = text
                settled.add(span)
    return [group[text] for text in normal]


def strata_of(labels: Sequence[Label]) -> list[tuple[object, ...]]:
    """Return what each row is to be stratified by, so that every side of a split has its share.

    Its class; or each of its labels, and that it is a row; or which tenth of all numbers its own is in. Rows of several
    labels are taken in the order of their rarest one (Sechidis et al., On the Stratification of Multi-label Data, ECML
    2011).

    Parameters
    ----------
    labels : sequence of length n
    """
    first = labels[0] if labels else ""
    if isinstance(first, float):
        values = np.array(labels, dtype=np.float64)
        n_bins = max(1, min(N_BINS, len(values) // ROWS_A_BIN))
        cuts = np.unique(np.quantile(values, np.arange(1, n_bins) / n_bins))
        return [(i,) for i in np.searchsorted(cuts, values, "right").tolist()]
    if isinstance(first, tuple):
        return [(*names, ()) for names in labels if isinstance(names, tuple)]
    return [(label,) for label in labels]


def _groups_in_order(texts: Sequence[Text], strata: Strata, seed: int) -> list[Group]:
    """Return the rows and counts of strata of each group, in the seed's order; of several a row, rare ones first."""
    rows: dict[str, list[int]] = {}
    for i, name in enumerate(text_groups(texts)):
        rows.setdefault(name, []).append(i)
    order = sorted(
        rows,
        key=lambda name: hashlib.sha256(
            f"{seed}|{name}".encode("utf-8", "surrogatepass")
        ).digest(),
    )
    groups = [
        (rows[name], Counter(one for i in rows[name] for one in strata[i]))
        for name in order
    ]
    if any(len(row) > 1 for row in strata):  # rare labels while there is a choice
        counts = Counter(one for row in strata for one in row)
        groups.sort(key=lambda group: min(counts[one] for one in group[1]))
    return groups


def _up_to(groups: list[Group], wanted: Mapping[object, int]) -> Iterator[list[int]]:
    """Yield the rows of each group that brings the scored rows of its strata nearer to those wanted."""
    lacking = dict(wanted)
    for rows, found in groups:
        gain = sum(
            abs(lacking[one]) - abs(lacking[one] - count)
            for one, count in found.items()
        )
        if gain > 0:
            yield rows
            for one, count in found.items():
                lacking[one] -= count


def _in_balance(
    groups: list[Group], counts: Mapping[object, int], wanted: Mapping[object, int]
) -> Iterator[list[int]]:
    """Yield the rows of each group to score, where a row counts for several labels.

    Were the first rows scored until a label has its number, each would bring other labels along, and those too many.
    So every label is to have its share at every step (minimisation: Pocock and Simon, Sequential Treatment Assignment
    with Balancing for Prognostic Factors, Biometrics 1975): a group goes where the squared distances from the shares of
    what is placed so far, each over its label's rows, add up to less; or to the one side that still has room for it.
    """
    share = {one: wanted[one] / count for one, count in counts.items()}
    placed: Counter[object] = Counter()
    scored: Counter[object] = Counter()
    n_test = wanted[()]  # that it is a row is a stratum of each
    room = {True: n_test, False: counts[()] - n_test}  # is it scored: rows to come
    for rows, found in groups:
        fitting = [side for side in room if len(rows) <= room[side]]
        excess = math.fsum(  # of the squares if it is scored; exact, so in any order
            (count + 2 * (scored[one] - (placed[one] + count) * share[one]))
            * count
            / counts[one]
            for one, count in found.items()
        )
        is_scored = fitting[0] if len(fitting) == 1 else excess < 0
        room[is_scored] -= len(rows)
        placed.update(found)
        if is_scored:
            scored.update(found)
            yield rows


def random_split(
    texts: Sequence[Text], labels: Sequence[Label], *, test_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the row numbers to fit on and to score: stratified, groups kept together.

    Parameters
    ----------
    texts, labels : sequences of length n
    test_fraction : float
        Share of each class or label to score, strictly between 0 and 1. With several labels a row it is that of the
        rows, too, but for fewer rows than one group has.
    seed : int

    Returns
    -------
    fit, test : ndarray of int64
        Sorted and disjoint; together all rows.

    Raises
    ------
    DataError
        If a class has a single row, or the groups leave one side without a class.
    """
    strata = strata_of(labels)
    counts = Counter(one for row in strata for one in row)
    are_classes = not isinstance(labels[0], (float, tuple))
    single = [label for label, count in counts.items() if count < 2]
    if single and are_classes:
        header = ", or pass --header yes if the first line names the columns"
        hint = header if labels[0] == single[0] else ""
        raise DataError(
            f"Label {shown(single[0])} has a single row, but a random split needs one to fit on and one to score. "
            f"Add rows, or remove it{hint}."
        )
    wanted = {
        label: min(count - 1, max(1, round(count * test_fraction)))
        for label, count in counts.items()
    }
    groups = _groups_in_order(texts, strata, seed)
    scored = (
        _in_balance(groups, counts, wanted)
        if isinstance(labels[0], tuple)
        else _up_to(groups, wanted)
    )
    test = [i for rows in scored for i in rows]
    fit = np.setdiff1d(np.arange(len(texts)), test)
    for side, part in (("score", test), ("fit on", fit.tolist())):
        lacking = set(counts) - {one for i in part for one in strata[i]}
        if (lacking and are_classes) or not part:
            which = f"with label {shown(min(lacking, key=str))} " if are_classes else ""
            raise DataError(
                f"No row {which}is left to {side}: its texts belong together with "
                "others. Pass data with a test file, another --seed or --test-fraction."
            )
    return fit, np.asarray(sorted(test), dtype=np.int64)


def make_folds(
    texts: Sequence[Text], labels: Sequence[Label], *, n_folds: int, seed: int
) -> NDArray[np.int8]:
    """Return a fold number, 0 to `n_folds` - 1, for each row: stratified, groups kept together.

    Each group goes to the fold that has least of the group's labels so far, then least rows.
    """
    folds = np.zeros(len(texts), dtype=np.int8)
    filled: list[Counter[object]] = [Counter() for _ in range(n_folds)]
    for rows, found in _groups_in_order(texts, strata_of(labels), seed):
        fold = min(
            range(n_folds),
            key=lambda f: (
                sum(filled[f][label] * c for label, c in found.items()),
                filled[f].total(),
                f,
            ),
        )
        folds[rows] = fold
        filled[fold].update(found)
    return folds


@dataclass(frozen=True)
class Overlap:
    """How many scored rows share text with the rows fitted on; a pair is compared as `normalise` joins it.

    Attributes
    ----------
    identical : int
        Rows whose text is also a training text.
    contained : int
        Further rows whose text is a literal span of a training text.
    containing : int
        Further rows that contain a training text of at least three words.
    n : int
        Scored rows.
    """

    identical: int
    contained: int
    containing: int
    n: int

    @property
    def share(self) -> float:
        """Share of scored rows that overlap in any of the three ways."""
        return (
            (self.identical + self.contained + self.containing) / self.n
            if self.n
            else 0.0
        )


def overlap_kinds(fit_texts: Iterable[Text], test_texts: Sequence[Text]) -> list[str]:
    """Return how each scored text overlaps with training texts, compared as in `normalise`.

    Returns
    -------
    list of str, length of `test_texts`
        ``identical``, ``contained`` or ``containing``, as in `Overlap`; else ``none``.
    """
    fit = {normalise(text) for text in fit_texts}
    test = [normalise(text) for text in test_texts]
    wanted = SpanIndex([text for text in set(test) if text not in fit])
    inside = {span for text in fit for span in wanted.spans(text)}
    parts = SpanIndex([text for text in fit if text.count(" ") >= MIN_WORDS - 1])

    def kind(text: str) -> str:
        if text in fit:
            return "identical"
        if text in inside:
            return "contained"
        is_containing = next(parts.spans(text), None) is not None
        return "containing" if is_containing else "none"

    return [kind(text) for text in test]


def count_overlap(fit_texts: Sequence[Text], test_texts: Sequence[Text]) -> Overlap:
    """Return the `Overlap` of scored texts with training texts."""
    found = Counter(overlap_kinds(fit_texts, test_texts))
    return Overlap(
        found["identical"], found["contained"], found["containing"], len(test_texts)
    )


@dataclass(frozen=True)
class Split:
    """Which rows are fitted on and which are scored.

    Attributes
    ----------
    mode : {"official", "random"}
    scored : {"train", "dev", "test"}
        Which of the data set's own parts the scored rows come from.
    fit, test : ndarray of int64
        Sorted row numbers, disjoint.
    folds : ndarray of int8
        Cross-validation fold of each row of `fit`.
    """

    mode: str
    scored: str
    fit: NDArray[np.int64]
    test: NDArray[np.int64]
    folds: NDArray[np.int8]


N_FOLDS = 5


def choose_split(
    texts: Sequence[Text],
    labels: Sequence[Label],
    parts: Sequence[str],
    spec: SplitSpec,
) -> Split:
    """Return the split that `spec` asks for.

    Parameters
    ----------
    texts, labels, parts : sequences of length n
        `parts` holds ``train``, ``dev`` or ``test``; unlabelled rows are not among them.
    spec : SplitSpec

    Raises
    ------
    DataError
        If ``official`` is asked for and there are neither test nor dev rows.
    """
    of = np.asarray(parts, dtype=object)
    train = np.flatnonzero(of == "train")
    scored = next((part for part in ("test", "dev") if (of == part).any()), None)
    if spec.split == "official" and scored is None:
        raise DataError(
            "--split official needs labelled test or dev rows; only train rows have labels. Pass --split random."
        )
    if spec.split == "random" or scored is None:
        own = train.tolist()
        fit, test = random_split(
            [texts[i] for i in own],
            [labels[i] for i in own],
            test_fraction=spec.test_fraction,
            seed=spec.seed,
        )
        mode, scored, fit, test = "random", "train", train[fit], train[test]
    else:
        mode, fit, test = "official", train, np.flatnonzero(of == scored)
    rows = fit.tolist()
    folds = make_folds(
        [texts[i] for i in rows],
        [labels[i] for i in rows],
        n_folds=N_FOLDS,
        seed=spec.seed,
    )
    return Split(mode, scored, fit, test, folds)

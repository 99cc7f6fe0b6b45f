"""``frostbert label``: a person labels texts of a file, random ones, then mostly those the model is unsure about."""

import json
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import ComputeSpec, DatasetSpec, EncoderSpec, fingerprint
from pipeline.errors import CacheError, ConfigError, DataError, shown, word
from pipeline.storage import key_lock
from tasks import console, stop
from tasks.progress import show

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.labelling.answers import Answers
    from pipeline.labelling.choice import Choice
    from pipeline.labelling.session import Session

logger = logging.getLogger(__name__)
COMMANDS = {"s": "skip", "u": "undo", "q": "quit"}
TELL_EVERY = 5  # answers
ENCODED_AT_ONCE = 4_096  # texts: what an interruption may lose
ALL_DONE = "Every text has a label, or was skipped."
WHY = {
    "uncertain": "the model is unsure",
    "random": "at random",
}


@dataclass(frozen=True)
class Order:
    """What is to be done; see ``frostbert label --help``.

    Attributes
    ----------
    path : Path
        The texts.
    out : Path or None
        The file of answers; None: beside the texts.
    labels : tuple of str
        Empty: those of the answers so far.
    n_next : int
        How many texts to print instead of asking; 0: ask.
    seed : int
    root : Path
        The artifacts folder.
    data : DatasetSpec
        Text column, separator, header.
    encoder : EncoderSpec
    compute : ComputeSpec
    """

    path: Path
    out: Path | None
    labels: tuple[str, ...]
    n_next: int
    seed: int
    root: Path
    data: DatasetSpec
    encoder: EncoderSpec
    compute: ComputeSpec


def label(order: Order) -> int:
    """Ask for labels until there are no more texts or answers, or print what to label next; return the status.

    Raises
    ------
    ConfigError
        If the labels cannot be used.
    DataError
        If the texts or the answers cannot be read or written.
    CacheError
        If another process asks for labels of the same file.
    """
    from pipeline.datasets.files import check_regular
    from pipeline.labelling.answers import ENDING, Answers

    console.install()
    check_regular(order.path)
    out = order.out or order.path.with_name(order.path.name + ENDING)
    with _alone(order.root, out):
        answers = Answers(out)
        names = _labels(order, answers)
        texts = _texts(order)
        try:
            session = _session(order, texts, answers)
            if order.n_next:
                _print_next(session, order.n_next)
                return 0
            _Dialogue(session, names).run()
        except KeyboardInterrupt as error:
            logger.info("Interrupted.")
            _tell_end(order, answers)
            return stop.status_of(type(error))
    _tell_end(order, answers)
    return 0


@contextmanager
def _alone(root: Path, out: Path) -> Iterator[None]:
    name = fingerprint({"label": str(out.absolute())})[:16]
    with key_lock(root, f"label-{name}.lock", wait=False) as is_ours:
        if not is_ours:
            raise CacheError(
                f"Another process asks for labels in {out}. End it first, or pass --out FILE."
            )
        yield


def _labels(order: Order, answers: "Answers") -> tuple[str, ...]:
    """Return the labels that may be given."""
    used = dict.fromkeys(answer.label for answer in answers.all())
    names = order.labels or tuple(used)
    if len(names) < 2 or len(set(names)) < len(names) or not all(names):
        raise ConfigError(
            f"--labels is {shown(','.join(names))}, expected two or more different ones. Pass them, such as "
            "--labels positive,negative."
        )
    taken = sorted(set(names) & set(COMMANDS))
    if taken:
        raise ConfigError(
            f"--labels has {shown(taken[0])}, which means {COMMANDS[taken[0]]} here. Pass a longer name."
        )
    others = [name for name in used if name not in names]
    if others:
        raise ConfigError(
            f"{answers.path} has the label {shown(others[0])}, which is none of --labels {shown(','.join(names))}. "
            "Add it, or pass --out FILE for answers of another kind."
        )
    return names


def _texts(order: Order) -> list[str]:
    """Return the different texts of a file, in their order."""
    from pipeline.datasets.unlabelled import open_texts

    if "," in order.data.text_column:
        raise ConfigError(
            f"--text-column is {shown(order.data.text_column)}, expected one column: single texts are labelled."
        )
    opened = open_texts(order.path, order.data)
    try:
        rows = [row for portion in opened.portions for row in portion]
    finally:
        opened.close()
    bad = [row for row in rows if row.error]
    if bad:
        logger.warning(
            "%s rows are left out; %s %s",
            f"{len(bad):,}",
            opened.place(bad[0]),
            bad[0].error,
        )
    texts = dict.fromkeys(row.text for row in rows if isinstance(row.text, str))
    texts.pop("", None)  # of bad rows
    if len(texts) < 2:
        raise DataError(
            f"{order.path} holds {len(texts)} different texts, expected at least 2. Add some, or pass another file."
        )
    return list(texts)


def _session(order: Order, texts: Sequence[str], answers: "Answers") -> "Session":
    from pipeline.labelling.session import Session

    return Session(texts, _features(order, texts), answers, seed=order.seed)


def _features(order: Order, texts: Sequence[str]) -> "NDArray[np.float32]":
    """Return the texts' features from the row store, which is filled first."""
    import time

    import numpy as np

    from pipeline.encoder.shared import load_shared
    from pipeline.features.cache import CachedEncoder

    encoder = CachedEncoder(order.encoder, order.compute, order.root, load_shared)
    found, began = [], time.monotonic()
    with show("encoding") as on_progress:
        for begin in range(0, len(texts), ENCODED_AT_ONCE):
            found.append(encoder.encode(texts[begin : begin + ENCODED_AT_ONCE]))
            done = min(begin + ENCODED_AT_ONCE, len(texts))
            elapsed_s = time.monotonic() - began
            on_progress(
                {"done": done, "share": done / len(texts), "elapsed_s": elapsed_s}
            )
    return np.concatenate(found)


def _print_next(session: "Session", n: int) -> None:
    choices = session.next(n)
    if not choices:
        logger.info("%s", ALL_DONE)
    for choice in choices:
        row = {
            "text": session.texts[choice.row],
            "chosen": choice.reason,
            "probable": choice.probable,
        }
        line = json.dumps(row, ensure_ascii=False)
        sys.stdout.buffer.write(f"{line}\n".encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def _tell_end(order: Order, answers: "Answers") -> None:
    """Say what there is, and the command that trains on it."""
    print(f"{len(answers)} labels in {answers.path}")
    if not answers:
        return
    words = ["luigi", "--module", "tasks", "TrainLogReg"]
    words += ["--dataset", str(answers.path)]
    for name in EncoderSpec.names():
        value = getattr(order.encoder, name)
        if value != getattr(EncoderSpec, name):
            words += [f"--{name.replace('_', '-')}", str(value)]
    if order.root != Path("artifacts"):
        words += ["--artifacts", str(order.root)]
    print(f"train  {shlex.join(words)}")


class _Dialogue:
    """Shows texts and takes answers: single keys in a terminal, else lines."""

    def __init__(self, session: "Session", names: Sequence[str]) -> None:
        self._session = session
        self._key_of = _keys(names)
        self._label_of = {key: name for name, key in self._key_of.items()}
        self._label_of.update((name, name) for name in names)

    def run(self) -> None:
        """Ask until somebody quits, the answers end, or every text has one."""
        n_before = len(self._session.answers)
        if n_before:
            print(f"{n_before} labels so far")
        while choices := self._session.next():
            self._show(choices[0])
            answer = self._read()
            if answer == "q":
                return
            self._obey(choices[0], answer)
        print(ALL_DONE)

    def _obey(self, choice: "Choice", answer: str) -> None:
        session = self._session
        if answer == "s":
            session.skip(choice)
        elif answer == "u":
            text = session.undo()
            print(f"taken back: {readable(text)}" if text else "Nothing to take back.")
        else:
            session.answer(choice, self._label_of[answer])
            print(f"labelled {word(self._label_of[answer])}")
            if len(session.answers) % TELL_EVERY == 0:
                print(standing(session))

    def _show(self, choice: "Choice") -> None:
        sure = ""
        if choice.probable is not None:
            sure = ": the likeliest label {:.2f}, the next {:.2f}".format(
                *choice.probable
            )
        n = len(self._session.answers) + 1
        print(f"\n{n} of {len(self._session.texts):,} ({WHY[choice.reason]}{sure})")
        print(readable(self._session.texts[choice.row]))

    def _read(self) -> str:
        """Return a label or its number, or one of `COMMANDS`; at the end of the input that is ``q``."""
        asked = [f"[{key}] {word(name)}" for name, key in self._key_of.items()]
        asked += [f"[{key}] {what}" for key, what in COMMANDS.items()]
        while True:
            print("  ".join(asked), end=" > ", flush=True)
            answer = _read_line()
            print(end="" if sys.stdin.isatty() else "\n")
            if answer in self._label_of or answer in COMMANDS:
                return answer
            print(f"{shown(answer)} is none of these.")


def _keys(names: Sequence[str]) -> dict[str, str]:
    """Return what is typed for each label: its number, or its name where names are numbers or single characters."""
    if all(len(name) == 1 for name in names) or any(name.isdigit() for name in names):
        return {name: name for name in names}
    return {name: str(number) for number, name in enumerate(names, 1)}


def _read_line() -> str:
    line = sys.stdin.readline()
    return line.strip() if line else "q"


def readable(text: str) -> str:
    """Return a text on its lines, with what would control a terminal as an escape that can be read."""
    return "\n".join(
        "".join(c if c.isprintable() else _escaped(c) for c in line)
        for line in text.split("\n")
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def standing(session: "Session") -> str:
    """Return a line: labels so far, how sure the model is, and how good."""
    counts = ", ".join(f"{word(name)} {n}" for name, n in session.counts().items())
    parts = [f"-- {counts}"]
    sureness = session.sureness()
    if sureness is None:
        return f"{parts[0]}; no model before two labels are used"
    parts.append(f"mean probability of its answers {sureness:.2f}")
    found = session.estimate()
    if found is None:
        parts.append("how good it is shows after ten random texts")
        return "; ".join(parts)
    share = found.n_right / found.n
    parts.append(
        f"cross-validated accuracy {share:.2f} (95 % {found.low:.2f} to {found.high:.2f}) on {found.n} random texts, "
        f"always {word(found.most_frequent)}: {found.n_most_frequent / found.n:.2f}"
    )
    return "; ".join(parts)

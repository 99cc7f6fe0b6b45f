"""The labels that a person gave, in a file that outlives whatever ends the program.

JSON lines, so that texts with tabs and line breaks survive, and ``TrainLogReg --dataset`` reads the file as it is:
``{"text": …, "label": …, "chosen": …}``. An answer is one durable write; only taking one back writes the file anew.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, shown
from pipeline.storage import disk, replace_file

ENDING = ".labels.jsonl"
FIELDS = ("text", "label", "chosen")


@dataclass(frozen=True)
class Answer:
    """A text with its label.

    Attributes
    ----------
    text, label : str
    chosen : str
        Why the text was asked for, one of `pipeline.labelling.choice.REASONS`.
    """

    text: str
    label: str
    chosen: str


class Answers:
    """The file of answers, one a text, in the order in which they were given.

    Parameters
    ----------
    path : Path
        Made by the first answer.

    Raises
    ------
    DataError
        If it cannot be read, or a line is no answer.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = _read(path)
        whole, _, torn = data.rpartition(b"\n")  # a write that was cut off ends so
        lines = [*whole.split(b"\n"), *([torn] if _is_answer(torn) else [])]
        found = [
            _answer(line, f"{path}:{number}")
            for number, line in enumerate(lines, 1)
            if line.strip()
        ]
        self._of = {answer.text: answer for answer in found}
        if torn and not _is_answer(torn):
            self._write()

    def __len__(self) -> int:
        """Return the number of texts that have a label."""
        return len(self._of)

    def all(self) -> list[Answer]:
        """Return the answers, the oldest first."""
        return list(self._of.values())

    def add(self, answer: Answer) -> None:
        """Write an answer; it is on the disk when this returns.

        Raises
        ------
        DataError
            If it cannot be written.
        """
        try:
            disk.append(self.path, _line(answer))
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        self._of[answer.text] = answer

    def take_back(self) -> Answer | None:
        """Remove the newest answer and return it; None where there is none.

        Raises
        ------
        DataError
            If the file cannot be written.
        """
        if not self._of:
            return None
        _, answer = self._of.popitem()
        self._write()
        return answer

    def _write(self) -> None:
        try:
            replace_file(self.path, b"".join(map(_line, self._of.values())))
        except OSError as error:
            raise _cannot_write(self.path, error) from error


def _read(path: Path) -> bytes:
    try:
        return disk.read(path)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}. Check its permissions, or move it away."
        ) from error


def _cannot_write(path: Path, error: OSError) -> DataError:
    return DataError(
        f"{path} cannot be written: {error.strerror}. Answers so far are in it; pass --out FILE elsewhere."
    )


def _line(answer: Answer) -> bytes:
    values = {name: getattr(answer, name) for name in FIELDS}
    text = json.dumps(values, ensure_ascii=False)
    return f"{text}\n".encode("utf-8", "backslashreplace")  # \ud800, as JSON escapes it


def _is_answer(line: bytes) -> bool:
    try:
        _answer(line, "")
    except DataError:
        return False
    return True


def _answer(line: bytes, place: str) -> Answer:
    try:
        values: Any = json.loads(line)  # Any: whatever stands there
        text, label = values["text"], values["label"]
        chosen = values.get("chosen", "")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise _no_answer(place, line) from error
    if not all(isinstance(value, str) for value in (text, label, chosen)):
        raise _no_answer(place, line)
    return Answer(text, label, chosen)


def _no_answer(place: str, line: bytes) -> DataError:
    found = shown(line.decode("utf-8", "replace"))
    return DataError(
        f'{place} is {found}, expected an answer: {{"text": …, "label": …}} with texts as values. Mend or remove the '
        "line."
    )

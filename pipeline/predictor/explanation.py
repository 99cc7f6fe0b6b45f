"""Why a text got its score: the contribution of every word, as values, text and HTML."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import label_text
from pipeline.errors import word as readable
from pipeline.predictor.neighbours import TrainingText

EXACT, OCCLUSION, LEFT_OUT = "exact", "occlusion", "left out"
N_WORDS = 12  # in the text form
BAR = 24  # signs of the longest bar there
CUT_CHARS = 300  # shown of what was cut off
UNSURE = "It is not sure enough: the predictor gives no answer to this text."
ROUNDING = 0.0005  # of the score: less is not shown


@dataclass(frozen=True)
class Word:
    """A word of the text, or a token that the tokenizer added.

    Attributes
    ----------
    text : str
        As it stands in the text; of an added token its name.
    begin, end : int
        Its characters in the text; equal for an added token.
    pieces : tuple of str
        What it is read as.
    contribution : float or None
        To the score, in its unit; None where it has none: beyond the length that is encoded, or an added token that
        is never occluded.
    """

    text: str
    begin: int
    end: int
    pieces: tuple[str, ...]
    contribution: float | None


@dataclass(frozen=True)
class Explanation:
    """Why a text got its score; ``print`` it, or see `to_html` and `to_dict`.

    Attributes
    ----------
    text : str
        As the tokenizer reads it: lone surrogates are U+FFFD.
    label : str, int or None
        The class that is explained; None for a regression.
    predicted : str, int, float or tuple of str
        The label; of several a text all that were given; of a regression the number.
    probability : float or None
        Of `label`.
    score : float
        Of `label`: of two classes, or one of several labels, its log odds, of more classes its logit. Of a regression
        the number.
    method : {"exact", "occlusion", "left out"}
        ``exact``: features are the mean over tokens, so the score is `base` plus the contributions, plus what rounding
        leaves. ``occlusion``: a contribution is what the score loses when the word is masked; they need not add up.
    base : float or None
        The score of a text whose features are the mean of the training texts; None for occlusion.
    words : tuple of Word
        In the text's order.
    special : tuple of Word
        The tokens that the tokenizer added.
    cut : tuple of Word
        What is not encoded because the text is longer than `max_length`; of an enormous text the beginning of it.
    n_tokens : int
        Of the whole text, special ones included.
    max_length : int
        So many of them are encoded at most.
    nearest : tuple of TrainingText
        The training texts most like it; empty where none were asked for or found.
    nearest_note : str or None
        Why none were found, where they were asked for.
    abstains : bool
        Whether `Predictor.predict` gives no answer to the text, as `predicted` is not sure enough.
    """

    text: str
    label: str | int | None
    predicted: str | int | float | tuple[str, ...]
    probability: float | None
    score: float
    method: str
    base: float | None
    words: tuple[Word, ...]
    special: tuple[Word, ...]
    cut: tuple[Word, ...]
    n_tokens: int
    max_length: int
    nearest: tuple[TrainingText, ...] = ()
    nearest_note: str | None = None
    abstains: bool = False

    @property
    def remainder(self) -> float | None:
        """Return what the sum of base and contributions lacks of the score: rounding; None for occlusion."""
        if self.base is None:
            return None
        parts = [word.contribution or 0.0 for word in (*self.words, *self.special)]
        return self.score - self.base - sum(parts)

    @property
    def shows_remainder(self) -> bool:
        """Tell whether the remainder can be seen in a score of three decimals."""
        return abs(self.remainder or 0.0) >= ROUNDING

    @property
    def n_cut(self) -> int:
        """Return how many tokens are not encoded."""
        return max(0, self.n_tokens - self.max_length)

    @property
    def answer(self) -> str:
        """Return what is predicted, in a word or a few."""
        return label_text(self.predicted)

    @property
    def explained(self) -> str:
        """Return what the contributions speak for."""
        return "a larger number" if self.label is None else str(self.label)

    @property
    def unsure_said(self) -> str:
        """Return in a sentence that the predictor gives no answer."""
        return UNSURE

    @property
    def method_said(self) -> str:
        """Return in a sentence how the contributions were found."""
        if self.method == EXACT:
            return (
                "Exact: the text's vector is the mean over its tokens and the classifier is linear, so the score is a "
                "sum of one number a token."
            )
        if self.method == LEFT_OUT:
            return (
                "Each word is left out of the text in its turn, for words count beside the encoder; what the score "
                "loses is the word's contribution. These need not add up to the score."
            )
        return (
            "Occlusion: the text is encoded again with each word masked; what the score loses is the word's "
            "contribution. These need not add up to the score."
        )

    def largest(self) -> list[Word]:
        """Return the words, largest contributions first, whatever their sign."""
        return sorted(self.words, key=lambda word: -abs(word.contribution or 0.0))

    def segments(self) -> Iterator[tuple[str, Word | None]]:
        """Yield the text up to where it was cut, in parts: each word, and what lies between as it stands."""
        at = 0
        for word in self.words:
            if word.end <= at:
                continue  # of a sign that is several words
            begin = max(at, word.begin)
            if begin > at:
                yield self.text[at:begin], None
            yield self.text[begin : word.end], word
            at = word.end
        if not self.n_cut and at < len(self.text):
            yield self.text[at:], None

    def cut_text(self) -> str:
        """Return the beginning of what was cut off; empty if nothing was."""
        if not self.n_cut:
            return ""
        at = max((word.end for word in self.words), default=0)
        rest = self.text[at : at + CUT_CHARS]
        return rest + ("…" if len(self.text) > at + CUT_CHARS else "")

    def to_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Return everything as JSON values."""
        return {**asdict(self), "remainder": self.remainder, "n_cut": self.n_cut}

    def to_html(self) -> str:
        """Return it as a piece of HTML with a style of its own: escaped, in ASCII, without script or address."""
        from pipeline.predictor.render import explanation_html

        return explanation_html(self)

    def _repr_html_(self) -> str:
        """Let notebooks show it."""
        return self.to_html()

    def __str__(self) -> str:
        """Return it for a terminal: the largest contributions as bars of plus and minus."""
        of_label = (
            f"; the score of {readable(str(self.label))} is {self.score:+.3f}, its probability {self.probability:.3f}"
            if self.probability is not None
            else ""
        )
        lines = [
            f"{readable(self.answer)} is predicted{of_label}.",
            *([UNSURE] if self.abstains else []),
            self.method_said,
            *self._bars(),
        ]
        if self.base is not None:
            lines.append(f"{self.base:+8.3f}  base: an average text")
            lines += [
                f"{word.contribution or 0.0:+8.3f}  {readable(word.text)}, added by the tokenizer"
                for word in self.special
            ]
            if self.shows_remainder:
                lines.append(f"{self.remainder or 0.0:+8.3f}  rounding")
        if self.n_cut:
            begin = readable(self.cut_text().strip()[:40])
            lines.append(
                f"{self.n_cut:,} of {self.n_tokens:,} tokens were not read, from here on: {begin}"
            )
        lines += [
            f"Like it: {readable(row.text, 160)} ({readable(label_text(row.label))}, cosine {row.cosine:.3f}, "
            f"{row.split}:{row.line})"
            for row in self.nearest
        ]
        return "\n".join([*lines, *([self.nearest_note] if self.nearest_note else [])])

    def _bars(self) -> Iterator[str]:
        shown = self.largest()[:N_WORDS]
        most = max((abs(word.contribution or 0.0) for word in shown), default=0.0)
        for word in shown:
            value = word.contribution or 0.0
            length = round(BAR * abs(value) / most) if most > 0 else 0
            bar = ("+" if value > 0 else "-") * length
            yield f"{value:+8.3f}  {bar:<{BAR}}  {readable(word.text)}"
        rest = self.largest()[N_WORDS:]
        if rest:
            total = sum(word.contribution or 0.0 for word in rest)
            words = "words together" if len(rest) > 1 else "word"
            yield f"{total:+8.3f}  {len(rest)} other {words}"

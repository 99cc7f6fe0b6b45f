"""From texts to token ids: cut at a number of tokens, counted before, in bounded memory."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from pipeline.encoder.batching import Tokens
from pipeline.encoder.pieces import Piece, Pieces, pieces_of
from pipeline.errors import EncoderError

SURROGATES = re.compile("[\ud800-\udfff]")
WHITE = " \n\t\r\u3000"
# one token in memory costs about 500 bytes, so a portion costs at most about half a gigabyte
PORTION_CHARS = 2**20
LONG_CHARS = 2**17  # longer texts are counted in pieces
PIECE_CHARS = 2**16
PIECES_AT_ONCE = 8


class TokenCutter:
    """Turns texts into ids, cut on the right.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
        Without truncation and padding.
    max_length : int
        Tokens kept of each text, special ones included.
    filler : int
        The one id of a text that has no tokens at all: an empty one, where the tokenizer adds no special tokens.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, filler: int) -> None:
        self._whole = tokenizer
        self._cutting = Tokenizer.from_str(tokenizer.to_str())
        self._cutting.enable_truncation(max_length)
        self.max_length = max_length
        self._filler = filler
        self._n_special: int = tokenizer.num_special_tokens_to_add(is_pair=False)

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Return the ids of each text, cut, and how many there were before.

        A lone surrogate, which no tokenizer takes, counts as U+FFFD. Texts over `LONG_CHARS` characters are counted
        in pieces split at white space, so their number may differ by a few; their ids are those of the whole text.
        """
        ids: list[NDArray[np.int32]] = []
        counts: list[int] = []
        for portion in _portions([SURROGATES.sub("\ufffd", text) for text in texts]):
            is_long = len(portion[0]) > LONG_CHARS
            found = [self._long(portion[0])] if is_long else self._short(portion)
            ids += [np.array(row or [self._filler], dtype=np.int32) for row, _ in found]
            counts += [n for _, n in found]
        return Tokens(ids, np.array(counts, dtype=np.int32))

    def pieces(self, text: str) -> Pieces:
        """Return the pieces of one text as it is encoded, and those that are cut off.

        Behind the first `LONG_CHARS` characters of a text, what is cut off is only counted.
        """
        (ids,), (n_tokens,) = self([text])
        text = SURROGATES.sub("\ufffd", text)
        encoding = self._cutting.encode(text[: _cut_at(text, LONG_CHARS)])
        if encoding.ids != ids.tolist():  # little but white space there, or no token
            encoding = self._cutting.encode(text)
        kept = pieces_of(encoding) or [self._filler_piece()]
        rest = [pieces_of(part) for part in encoding.overflowing]
        cut = [piece for part in rest for piece in part if not piece.is_special]
        return Pieces(text, kept, cut, int(n_tokens))

    def _filler_piece(self) -> Piece:
        token = self._whole.id_to_token(self._filler) or ""
        return Piece(self._filler, token, 0, 0, None, is_special=True)

    def _short(self, texts: list[str]) -> list[tuple[list[int], int]]:
        whole = [encoding.ids for encoding in self._whole.encode_batch_fast(texts)]
        long = [i for i, ids in enumerate(whole) if len(ids) > self.max_length]
        counts = [len(ids) for ids in whole]
        cut = self._cutting.encode_batch_fast([texts[i] for i in long])
        for i, encoding in zip(long, cut, strict=True):
            whole[i] = encoding.ids
        return list(zip(whole, counts, strict=True))

    def _long(self, text: str) -> tuple[list[int], int]:
        """Read as little of a long text as decides its first tokens: until twice as much changes nothing."""
        size = PIECE_CHARS
        ids, n = self._short([text[: _cut_at(text, size)]])[0]
        while True:
            size *= 2
            head = text[: _cut_at(text, size)]
            before = ids if n > self.max_length else None
            ids, n = self._short([head])[0]
            if len(head) == len(text):
                return ids, n
            if ids == before:
                return ids, self._count(text)

    def _count(self, text: str) -> int:
        n, pieces = self._n_special, list(_pieces(text))
        for i in range(0, len(pieces), PIECES_AT_ONCE):  # on as many cores as there are
            encodings = self._whole.encode_batch_fast(
                pieces[i : i + PIECES_AT_ONCE], add_special_tokens=False
            )
            n += sum(len(encoding.ids) for encoding in encodings)
        return n


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = _cut_at(text, begin + PIECE_CHARS, begin)
        yield text[begin:end]
        begin = end


def _portions(texts: list[str]) -> Iterator[list[str]]:
    """Yield the texts in order, at most `PORTION_CHARS` characters at a time; a long text alone."""
    portion: list[str] = []
    n_chars = 0
    for text in texts:
        is_long = len(text) > LONG_CHARS
        if portion and (is_long or n_chars + len(text) > PORTION_CHARS):
            yield portion
            portion, n_chars = [], 0
        if is_long:
            yield [text]
        else:
            portion.append(text)
            n_chars += len(text)
    if portion:
        yield portion


def _cut_at(text: str, size: int, begin: int = 0) -> int:
    """Return where to cut at `size` characters or somewhat before: at white space, if the last quarter has any."""
    if size >= len(text):
        return len(text)
    lowest = size - (size - begin) // 4
    at = max(text.rfind(white, lowest, size) for white in WHITE)
    return size if at < 0 else at


def check_first_token(tokenizer: Tokenizer, token: str | None, encoder: str) -> None:
    """Make sure that ``cls`` pooling finds the [CLS] token in the first place.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    token : str or None
        The [CLS] token, if the encoder has one.
    encoder : str
        What the encoder is called, for the message.

    Raises
    ------
    EncoderError
        If there is none (GPT-2), or it stands elsewhere (XLNet: last).
    """
    if token is None:
        raise EncoderError(
            f"--pooling cls: the tokenizer of {encoder} has no [CLS] token. Pass --pooling mean or max."
        )
    if tokenizer.encode("a").tokens[:1] != [token]:
        raise EncoderError(
            f"--pooling cls: the tokenizer of {encoder} does not put its {token} first. Pass --pooling mean or max."
        )

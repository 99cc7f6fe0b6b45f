"""From texts and pairs to token ids: cut at a number of tokens, counted before, in bounded memory."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer

from pipeline.encoder.batching import Tokens
from pipeline.encoder.pieces import Piece, Pieces, pieces_of
from pipeline.errors import ConfigError, EncoderError
from pipeline.pairs import Text, are_pairs, n_characters

SURROGATES = re.compile("[\ud800-\udfff]")
WHITE = " \n\t\r\u3000"
# one token in memory costs about 500 bytes, so a portion costs at most about half a gigabyte
PORTION_CHARS = 2**20
LONG_CHARS = 2**17  # longer texts are counted in pieces
PIECE_CHARS = 2**16
PIECES_AT_ONCE = 8


class TokenCutter:
    """Turns texts into ids, cut on the right; a pair is one text to the encoder, cut where it is longer.

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
        self._n_special_of_pair: int = tokenizer.num_special_tokens_to_add(is_pair=True)

    def __call__(self, rows: Sequence[Text]) -> Tokens:
        """Return the ids of each text or pair, cut, and how many there were before.

        A lone surrogate, which no tokenizer takes, counts as U+FFFD. Texts over `LONG_CHARS` characters are counted
        in pieces split at white space, so their number may differ by a few; their ids are those of the whole text.
        Of a pair that is too long, the longer text is cut until both are as long, then both [1]_.

        .. [1] ``longest_first`` of transformers.

        Raises
        ------
        ConfigError
            If no token of a pair would be left beside the special ones, or the tokenizer does not mark its texts.
        """
        if are_pairs(rows):
            self._check_pairs()
        found: list[_Read] = []
        for portion in _portions(list(map(_encodable, rows))):
            is_long = n_characters(portion[0]) > LONG_CHARS
            found += [self._long(portion[0])] if is_long else self._short(portion)
        filler = [self._filler]
        ids = [np.array(row.ids or filler, dtype=np.int32) for row in found]
        n_tokens = np.array([row.n_tokens for row in found], dtype=np.int32)
        if not are_pairs(rows):
            return Tokens(ids, n_tokens)
        segments = [np.array(row.segments or [0], dtype=np.int32) for row in found]
        return Tokens(ids, n_tokens, segments)

    def _check_pairs(self) -> None:
        if self._n_special and not self._n_special_of_pair:
            raise ConfigError(
                "The encoder's tokenizer has special tokens for a text and none for a pair. "
                "Pass --pair-encoding separate, or another encoder."
            )
        least = self._n_special_of_pair + 2
        if self.max_length < least:
            raise ConfigError(
                f"--max-length is {self.max_length}, but a pair has {self._n_special_of_pair} special tokens: expected "
                f"at least {least}. Raise it."
            )

    def pieces(self, text: str) -> Pieces:
        """Return the pieces of one text as it is encoded, and those that are cut off.

        Behind the first `LONG_CHARS` characters of a text, what is cut off is only counted.
        """
        tokens = self([text])
        (ids,), (n_tokens,) = tokens.ids, tokens.n_tokens
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

    def _short(self, rows: Sequence[Text]) -> "list[_Read]":
        whole = self._whole.encode_batch_fast(rows)
        counts = [len(encoding.ids) for encoding in whole]
        long = [i for i, n in enumerate(counts) if n > self.max_length]
        cut = self._cutting.encode_batch_fast([rows[i] for i in long])
        for i, encoding in zip(long, cut, strict=True):
            whole[i] = encoding
        return [
            _Read(encoding.ids, encoding.type_ids, n)
            for encoding, n in zip(whole, counts, strict=True)
        ]

    def _long(self, row: Text) -> "_Read":
        """Read as little of long texts as decides the first tokens."""
        if isinstance(row, str):
            return self._head(row)[1]
        (first, one), (second, two) = map(self._head, row)
        plain = one.n_tokens + two.n_tokens - 2 * self._n_special
        read = self._short([(first, second)])[0]
        return replace(read, n_tokens=plain + self._n_special_of_pair)

    def _head(self, text: str) -> "tuple[str, _Read]":
        """Return a beginning that decides a text's first tokens, as twice as much changes nothing, and its ids."""
        size = PIECE_CHARS
        read = self._short([text[: _cut_at(text, size)]])[0]
        while True:
            size *= 2
            head = text[: _cut_at(text, size)]
            before = read.ids if read.n_tokens > self.max_length else None
            read = self._short([head])[0]
            if len(head) == len(text):
                return text, read
            if read.ids == before:
                return head, replace(read, n_tokens=self._count(text))

    def _count(self, text: str) -> int:
        n, pieces = self._n_special, list(_pieces(text))
        for i in range(0, len(pieces), PIECES_AT_ONCE):  # on as many cores as there are
            encodings = self._whole.encode_batch_fast(
                pieces[i : i + PIECES_AT_ONCE], add_special_tokens=False
            )
            n += sum(len(encoding.ids) for encoding in encodings)
        return n


@dataclass(frozen=True)
class _Read:
    """A text or pair as it was tokenized: ids and segments of what is kept, and how many tokens there were."""

    ids: list[int]
    segments: list[int]
    n_tokens: int


def _encodable(row: Text) -> Text:
    if isinstance(row, str):
        return SURROGATES.sub("\ufffd", row)
    first, second = row
    return SURROGATES.sub("\ufffd", first), SURROGATES.sub("\ufffd", second)


def _pieces(text: str) -> Iterator[str]:
    begin = 0
    while begin < len(text):
        end = _cut_at(text, begin + PIECE_CHARS, begin)
        yield text[begin:end]
        begin = end


def _portions(rows: Sequence[Text]) -> Iterator[list[Text]]:
    """Yield the texts in order, at most `PORTION_CHARS` characters at a time; a long text alone."""
    portion: list[Text] = []
    n_chars = 0
    for row in rows:
        n = n_characters(row)
        is_long = n > LONG_CHARS
        if portion and (is_long or n_chars + n > PORTION_CHARS):
            yield portion
            portion, n_chars = [], 0
        if is_long:
            yield [row]
        else:
            portion.append(row)
            n_chars += n
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

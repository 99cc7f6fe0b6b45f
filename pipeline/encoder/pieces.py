"""The pieces that a text is read as, with the places in it that they come from, and the words that they make up."""

from collections.abc import Sequence
from typing import NamedTuple

from tokenizers import Encoding

APOSTROPHES = "'’"
IDEOGRAPHS = "\u2e80"  # from here on scripts that set no spaces: there a tokenizer's pieces stay apart


class Piece(NamedTuple):
    """One token of a text.

    Attributes
    ----------
    id : int
        Its row in the encoder's table of embeddings.
    token : str
        As the vocabulary writes it: ``##ly``, ``▁film``, ``[CLS]``.
    begin, end : int
        Its characters in the text; equal where it comes from none.
    word : int or None
        Pieces of the same number are of one word of the tokenizer's; None where it does not say.
    is_special : bool
        Whether the tokenizer added it: ``[CLS]``, ``[SEP]``.
    """

    id: int
    token: str
    begin: int
    end: int
    word: int | None
    is_special: bool


class Pieces(NamedTuple):
    """A text as it is read.

    Attributes
    ----------
    text : str
        A lone surrogate, which no tokenizer takes, is U+FFFD.
    kept : list of Piece
        What is encoded, special tokens included.
    cut : list of Piece
        What follows in the text and is not encoded; of a very long text not all of it.
    n_tokens : int
        Tokens of the whole text, special ones included.
    """

    text: str
    kept: list[Piece]
    cut: list[Piece]
    n_tokens: int

    def words(self, pieces: Sequence[Piece]) -> list[list[int]]:
        """Return the positions of the pieces of each word; special tokens are of none.

        Pieces make up a word if the tokenizer says so and no white space lies between them, or if they part a run of
        letters, or nothing but an apostrophe parts them.

        Parameters
        ----------
        pieces : sequence of Piece
            `kept` or `cut`.
        """
        words: list[list[int]] = []
        for i, piece in enumerate(pieces):
            if piece.is_special:
                continue
            if words and self._is_one_word(pieces[words[-1][-1]], piece):
                words[-1].append(i)
            else:
                words.append([i])
        return words

    def _is_one_word(self, last: Piece, piece: Piece) -> bool:
        if last.end == piece.begin and (
            self._is_inside_letters(piece.begin)
            or self._is_inner_apostrophe(piece.begin)
            or self._is_inner_apostrophe(last.end - 1)
        ):
            return True
        between = self.text[last.end : piece.begin + 1]
        is_same = piece.word is not None and piece.word == last.word
        return is_same and not any(sign.isspace() for sign in between)

    def _is_inside_letters(self, at: int) -> bool:
        """Tell whether letters stand on both sides: some tokenizers take ``'t`` for a word's end, as in ``'the``."""
        around = self.text[max(0, at - 1) : at + 1]
        return len(around) == 2 and around.isalpha() and max(around) < IDEOGRAPHS

    def _is_inner_apostrophe(self, at: int) -> bool:
        """Tell whether there is an apostrophe between letters, as in ``isn't``."""
        around = self.text[max(0, at - 1) : at + 2]
        return (
            len(around) == 3
            and around[1] in APOSTROPHES
            and around[0].isalpha()
            and around[2].isalpha()
        )


def pieces_of(encoding: Encoding) -> list[Piece]:
    """Return the pieces of an encoding, without what it was cut off from."""
    rows = zip(
        encoding.ids,
        encoding.tokens,
        encoding.offsets,
        encoding.word_ids,
        encoding.special_tokens_mask,
        strict=True,
    )
    return [
        Piece(number, token, begin, end, word, bool(is_special))
        for number, token, (begin, end), word, is_special in rows
    ]

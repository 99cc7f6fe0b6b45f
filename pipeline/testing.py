"""A weightless encoder whose features can be written down by hand; for tests of everything around an encoder."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.encoder.batching import EncodedRows, Tokens
from pipeline.pairs import Text, texts_in


class WordLengthEncoder:
    """Gives the lengths of a text's first words as its features: ``"a bbb"`` -> ``[1, 3, 0, …]``.

    Parameters
    ----------
    dim : int
        Length of a feature vector.
    batch_size : int
        Texts a batch; batches come last text first, so that an order mixed up shows.

    Attributes
    ----------
    seen : list of str or Pair
        Every text that was tokenized, in that order.
    """

    def __init__(self, dim: int = 3, batch_size: int = 2) -> None:
        self.dim = dim
        self.batch_size = batch_size
        self.seen: list[Text] = []

    def tokenize(self, texts: Sequence[Text]) -> Tokens:
        """Return the lengths of each text's words as its ids; of no words, a 0. Of a pair, of both texts' words."""
        self.seen += texts
        words = [" ".join(texts_in(row)).split() for row in texts]
        ids = [np.array([len(word) for word in row] or [0], np.int32) for row in words]
        return Tokens(ids, np.array([len(row) for row in words], dtype=np.int32))

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
        """Yield the texts' features."""
        order = np.arange(len(tokens.ids), dtype=np.int64)[::-1]
        for begin in range(0, len(order), self.batch_size):
            rows = order[begin : begin + self.batch_size]
            features = np.stack([self._row(tokens.ids[i]) for i in rows])
            n_padded = len(rows) * int(tokens.lengths[rows].max())
            yield EncodedRows(rows, features, tokens.n_tokens[rows], n_padded)

    def _row(self, ids: NDArray[np.int32]) -> NDArray[np.float32]:
        row = np.zeros(self.dim, dtype=np.float32)
        row[: len(ids)] = ids[: self.dim]
        return row

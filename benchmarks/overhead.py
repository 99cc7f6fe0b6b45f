"""What reading, hashing, looking up, writing and checking cost beside encoding.

``python -m benchmarks.overhead --dataset FOLDER_OR_FILE`` extracts the features of a data set with a real encoder into
an empty store and prints the share of the time that was not spent encoding, and how much of it was writing parts; all
are taken in the same run. Texts are tokenized beside encoding but for the first window, which the encoder waits for.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline import load_encoder
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.batching import EncodedRows, Tokens
from pipeline.features.extract import extract_missing, list_facts
from pipeline.features.store import FeatureStore
from pipeline.pairs import Text
from pipeline.storage import check_contents, sha256_file


class Timed:
    """An encoder that adds up the time spent in it."""

    def __init__(self, name: str) -> None:
        self._encoder = load_encoder(name, pooling="auto")
        self._encoder.encode(["warm up"] * 64)
        self.encoding_s = self.tokenizing_s = 0.0

    def tokenize(self, texts: Sequence[Text]) -> Tokens:
        """Pass the texts on."""
        began = time.perf_counter()
        tokens = self._encoder.tokenize(texts)
        self.tokenizing_s += time.perf_counter() - began
        return tokens

    def encode_tokens(self, tokens: Tokens) -> Iterator[EncodedRows]:
        """Pass the batches on."""
        batches = self._encoder.encode_tokens(tokens)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.encoding_s += time.perf_counter() - began
            if batch is None:
                return
            yield batch


class TimedStore(FeatureStore):
    """A store that adds up the time it takes to write parts."""

    writing_s = 0.0

    def append(self, *columns: Any, **options: Any) -> None:  # Any: passed on
        """Write a part."""
        began = time.perf_counter()
        super().append(*columns, **options)
        self.writing_s += time.perf_counter() - began


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="sample")
    parser.add_argument("--encoder", default="minilm")
    options = parser.parse_args()
    encoder = Timed(options.encoder)
    with tempfile.TemporaryDirectory() as name:
        root, rows = Path(name) / "artifacts", Path(name) / "rows"
        root.mkdir()
        rows.mkdir()
        spec = DatasetSpec(dataset=options.dataset)
        make_table(find_source(spec, sha256_file).read(), spec, rows)
        store = TimedStore(root / "features" / "one", root)
        keys = root / "keys.npy"
        began = time.perf_counter()
        texts = StoredTexts(rows)
        done = extract_missing(
            texts,
            [store],
            lambda _: encoder,
            keys_paths=[keys],
            feature_dtype="float32",
        )
        facts = list_facts(keys, store, 128)
        for shard in (store.folder / "shards").iterdir():
            check_contents(shard)  # as each stage that learns from it does
        seconds = time.perf_counter() - began
    encoding_s = encoder.encoding_s
    other_s = seconds - encoding_s
    print(
        f"{done.rows_encoded:,} of {facts['rows']:,} rows encoded in {encoding_s:.2f} s"
    )
    print(f"tokenized     {encoder.tokenizing_s:.3f} s")
    print(f"all but encoding {other_s:.3f} s: {other_s / encoding_s:.2%}")
    print(
        f"writing among it {store.writing_s:.3f} s: {store.writing_s / encoding_s:.2%}"
    )
    print(f"padding       {1 - done.tokens / done.padded:.2%}")


if __name__ == "__main__":
    main()

"""What reading, hashing, looking up, writing and checking cost beside encoding.

``python -m benchmarks.overhead --dataset FOLDER_OR_FILE`` extracts the features of a data set with a real encoder into
an empty store and prints the share of the time that was not spent in the encoder; both are taken in the same run.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import load_encoder
from pipeline.config import DatasetSpec
from pipeline.datasets.prepare import make_table
from pipeline.datasets.sources import find_source
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.batching import EncodedRows
from pipeline.features.extract import extract_missing, list_facts
from pipeline.features.store import FeatureStore
from pipeline.storage import check_contents, sha256_file


class Timed:
    """An encoder that adds up the time spent in it."""

    def __init__(self, name: str) -> None:
        self._encoder = load_encoder(name, pooling="auto")
        self._encoder.encode(["warm up"] * 64)
        self.seconds = 0.0

    def encode_batches(self, texts: Sequence[str]) -> Iterator[EncodedRows]:
        """Pass the batches on."""
        batches = self._encoder.encode_batches(texts)
        while True:
            began = time.perf_counter()
            batch = next(batches, None)
            self.seconds += time.perf_counter() - began
            if batch is None:
                return
            yield batch


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
        store = FeatureStore(root / "features" / "one", root)
        keys = root / "keys.npy"
        began = time.perf_counter()
        texts = StoredTexts(rows)
        done = extract_missing(
            texts, store, lambda: encoder, keys_path=keys, feature_dtype="float32"
        )
        facts = list_facts(keys, store, 128)
        for shard in (store.folder / "shards").iterdir():
            check_contents(shard)  # as each stage that learns from it does
        seconds = time.perf_counter() - began
    other = seconds - encoder.seconds
    print(
        f"{done.rows_encoded:,} of {facts['rows']:,} rows encoded in {encoder.seconds:.2f} s, everything else "
        f"{other:.3f} s: {other / encoder.seconds:.2%}"
    )


if __name__ == "__main__":
    main()

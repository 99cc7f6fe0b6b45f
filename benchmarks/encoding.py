"""Rows per second of the frozen encoder beside the tools people use, in one run on one machine.

    make bench                                   # the offline encoder on the sample
    python -m benchmarks.encoding --encoder FOLDER --texts FILE.tsv --rows 1000

Every system encodes the same texts with [CLS] pooling in float32 on the CPU with all cores. Repetitions alternate
between the systems, so that a slow moment of the machine hits all of them; medians of rows/s and of the ratio within
a repetition are printed, and the largest difference from transformers run one text at a time.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer, pipeline

from pipeline import load_encoder
from pipeline.config import EncoderSpec
from pipeline.datasets.sources import sample_path
from pipeline.encoder.identity import find_encoder
from pipeline.storage import sha256_file

Encode = Callable[[list[str]], NDArray[np.float32]]
OURS = "frostbert"
N_CHECKED = 32  # texts encoded one at a time for the reference


def frostbert(folder: str) -> Encode:
    """Return our encoder as it comes."""
    return load_encoder(folder, pooling="cls", device="cpu").encode


def tutorial(folder: str) -> Encode:
    """Return one batch padded to the longest text, as the visual guide to BERT does it."""
    tokenizer, model = (
        AutoTokenizer.from_pretrained(folder),
        AutoModel.from_pretrained(folder).eval(),
    )

    @torch.inference_mode()
    def encode(texts: list[str]) -> NDArray[np.float32]:
        batch = tokenizer(
            texts, padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        out = model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        )
        return np.asarray(out.last_hidden_state[:, 0].numpy())

    return encode


def feature_pipeline(folder: str) -> Encode:
    """Return the feature-extraction pipeline of transformers."""
    extract = pipeline("feature-extraction", model=folder, device="cpu")
    return lambda texts: np.stack([np.asarray(rows[0][0]) for rows in extract(texts)])


def sentence_transformers(folder: str) -> Encode:
    """Return sentence-transformers with the torch backend and its default batch size."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(folder)
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="cls")
    model = SentenceTransformer(modules=[body, pooling], device="cpu")
    return lambda texts: np.asarray(
        model.encode(texts, batch_size=32, show_progress_bar=False)
    )


SYSTEMS: dict[str, Callable[[str], Encode]] = {
    OURS: frostbert,
    "sentence-transformers": sentence_transformers,
    "transformers pipeline": feature_pipeline,
    "tutorial, one batch": tutorial,
}


def measure(folder: str, texts: list[str], repetitions: int) -> list[dict[str, object]]:
    """Return one row a system: rows/s, our speed as a multiple of its, largest difference."""
    systems = {name: build(folder) for name, build in SYSTEMS.items()}
    alone = np.concatenate(
        [systems["tutorial, one batch"]([text]) for text in texts[:N_CHECKED]]
    )
    difference = {
        name: float(np.abs(encode(texts[:N_CHECKED]) - alone).max())
        for name, encode in systems.items()
    }  # also warms every system up
    rates: dict[str, list[float]] = {name: [] for name in systems}
    for _ in range(repetitions):
        for name, encode in systems.items():
            began = time.perf_counter()
            encode(texts)
            rates[name].append(len(texts) / (time.perf_counter() - began))
    return [
        {
            "system": name,
            "rows_per_s": round(statistics.median(found), 1),
            "slowest": round(min(found), 1),
            "fastest": round(max(found), 1),
            "ours_is_faster_by": round(
                statistics.median(
                    a / b for a, b in zip(rates[OURS], found, strict=True)
                ),
                2,
            ),
            "largest_difference": difference[name],
        }
        for name, found in rates.items()
    ]


def read_texts(path: Path, rows: int) -> list[str]:
    """Return the first field of the first lines of a TSV, without its header."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines[1 : rows + 1]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table as Markdown, then everything as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="minilm", help="minilm or a folder")
    parser.add_argument(
        "--texts",
        type=Path,
        default=sample_path(),
        help="a TSV with header, texts first",
    )
    parser.add_argument("--rows", type=int, default=880)
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(arguments)
    torch.set_num_threads(os.cpu_count() or 1)
    folder = find_encoder(EncoderSpec(encoder=options.encoder), sha256_file).fetch()
    texts = read_texts(options.texts, options.rows)
    table = measure(str(folder), texts, options.repetitions)
    print(
        "| system | rows/s (min to max) | frostbert is faster by | max difference |\n|---|---|---|---|"
    )
    for row in table:
        print(
            f"| {row['system']} | {row['rows_per_s']} ({row['slowest']} to {row['fastest']}) "
            f"| {row['ours_is_faster_by']} x | {row['largest_difference']:.1e} |"
        )
    machine = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
    }
    versions = {
        name: version(name)
        for name in ("torch", "transformers", "sentence-transformers")
    }
    print(
        json.dumps(
            {
                "rows": len(texts),
                "machine": machine,
                "versions": versions,
                "table": table,
            }
        )
    )


if __name__ == "__main__":
    main()

"""The process that measures how fast encoders are: ``python -m pipeline.features.timing``, started by `spawn`.

It speaks as `pipeline.features.worker` does. What it finds is a fact of this machine at this moment: it belongs into
no key.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.encoder.identity import find_encoder
from pipeline.encoder.pairs import encode_rows
from pipeline.errors import PipelineError
from pipeline.features.worker import Lines, serve
from pipeline.pairs import Text
from pipeline.storage import DigestCache

Request = dict[str, Any]  # Any: the JSON written by `spawn.time_encoders`
N_TEXTS = 512  # that are enough for any measurement here
N_FIRST = 32  # texts that say how many to take
PASS_S = 0.25  # a pass takes about as long; beside short ones another program's work stands out
N_PASSES = 3


def work(request: Request, lines: Lines) -> dict[str, object]:
    """Return the speed and size of each encoder, or why there is none.

    Parameters
    ----------
    request : dict
        ``root``, the artifacts folder; ``compute``; ``encoders``, each an `EncoderSpec` as a dict and the folder with
        what was prepared of it, or None; ``texts``, of which pairs are lists of two; ``pair_encoding``.
    lines : Lines
        Told of each encoder that was measured.

    Returns
    -------
    dict
        ``encoders``, each either ``rows_per_s``, ``size_mb`` (1e6 bytes), ``engine`` and ``device``, or ``error``.
    """
    rows = [tuple(row) if isinstance(row, list) else row for row in request["texts"]]
    found = []
    for i, asked in enumerate(request["encoders"]):
        lines.check()
        found.append(_measured(asked, rows, request))
        lines.send(note=f"speed: {i + 1} of {len(request['encoders'])} measured")
    return {"encoders": found}


def _measured(
    asked: dict[str, Any], rows: Sequence[Text], request: Request
) -> dict[str, object]:
    from pipeline.encoder.frozen import load_source
    from pipeline.encoder.size import weights_bytes

    spec, prepared = EncoderSpec(**asked["spec"]), asked["prepared"]
    try:
        source = find_encoder(spec, DigestCache(Path(request["root"])).sha256)
        encoder = load_source(
            source,
            spec,
            ComputeSpec(**request["compute"]),
            None if prepared is None else Path(prepared),
        )
        speed = rows_per_s(
            lambda some: encode_rows(encoder.encode, some, request["pair_encoding"]),
            rows,
        )
    except PipelineError as error:
        return {"error": str(error)}
    return {
        "rows_per_s": speed,
        "size_mb": weights_bytes(encoder) / 1e6,
        "engine": encoder.engine_identity["engine"],
        "device": encoder.device,
    }


def rows_per_s(
    encode: Callable[[Sequence[Text]], object], rows: Sequence[Text]
) -> float:
    """Return how many rows a second `encode` takes, by the fastest of a few short passes.

    Parameters
    ----------
    encode : callable (sequence of str or Pair)
    rows : sequence of str or Pair
        In no particular order: a pass takes as many of the first ones as it has time for.
    """
    few = rows[:N_FIRST]
    encode(few)  # fills caches, and lets engines choose kernels
    pace = len(few) / _seconds(encode, few)
    some = rows[: max(len(few), int(PASS_S * pace))]
    return len(some) / min(_seconds(encode, some) for _ in range(N_PASSES))


def _seconds(encode: Callable[[Sequence[Text]], object], rows: Sequence[Text]) -> float:
    began = time.perf_counter()
    encode(rows)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(serve(work))

"""The process that encodes: ``python -m pipeline.features.worker``, started by `pipeline.features.spawn`.

A request comes in as one JSON object on standard input; progress, warnings, the result or an error go out as JSON
lines on standard output. torch lives and dies here, and its memory goes back to the machine.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import EncoderError, PipelineError
from pipeline.features.extract import (
    Extraction,
    Progress,
    Stopped,
    extract_missing,
    list_facts,
)
from pipeline.features.probes import PROBES
from pipeline.features.store import FeatureStore
from pipeline.storage import (
    disk,
    is_complete,
    key_lock,
    publish_directory,
    sha256_file,
)

Request = dict[str, Any]  # Any: the JSON written by `spawn.extract`
HALVED = "batches did not fit the GPU's memory and were halved. Pass a lower --batch-tokens to save the time."


class Lines:
    """Writes JSON lines to the parent and stops when there is none any more."""

    def __init__(self, stream: TextIO, parent: int) -> None:
        self._stream, self._parent = stream, parent
        self._has_rows = self._is_stopped = False

    def send(self, **message: object) -> None:
        """Write one line."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def progress(self, progress: Progress) -> None:
        """Report progress; a stopped worker ends here."""
        self._has_rows = True
        self.check()
        self.send(progress=asdict(progress))

    def check(self) -> None:
        """End an orphan, before it can publish, and stop if SIGTERM came.

        Raises
        ------
        Stopped
            What was encoded is still to be stored.
        """
        if os.getppid() != self._parent:
            sys.exit("the run that asked for these features is gone")
        if self._is_stopped:
            raise Stopped

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Stop after this batch; at once while there is nothing to store."""
        self._is_stopped = True
        if not self._has_rows:
            raise Stopped


def work(request: Request, lines: Lines) -> dict[str, object]:
    """Encode what is missing, publish the data set's feature list, return what was done."""
    began = time.monotonic()
    spec, compute = EncoderSpec(**request["encoder"]), ComputeSpec(**request["compute"])
    root, folder = Path(request["root"]), Path(request["folder"])
    loader = _Loader(spec, compute, request["identity"])
    store = FeatureStore(folder, root)
    publish = publish_directory(
        folder / "datasets" / request["name"],
        root=root,
        stage="ExtractFeatures",
        key=request["key"],
        key_fields=request["key_fields"],
    )
    with key_lock(root, f"{folder.name}.lock"), publish as draft:
        keys_path = draft.path / "keys.npy"
        done = extract_missing(
            StoredTexts(Path(request["table"])),
            store,
            loader.encoder,
            keys_path=keys_path,
            feature_dtype=spec.feature_dtype,
            on_progress=lines.progress,
        )
        for name in done.damaged:
            lines.send(
                warning=f"damaged shard {name} moved to quarantine; its rows were encoded again"
            )
        n_halved = loader.n_halved
        if n_halved:
            lines.send(warning=f"{n_halved} {HALVED}")
        lines.check()
        if not is_complete(folder / "encoder", request["encoder_key"]):
            _publish_encoder(loader, request, root, folder)
        draft.facts.update(list_facts(keys_path, store, spec.max_length))
        draft.facts["elapsed_s"] = round(time.monotonic() - began, 3)
        draft.facts["batches_halved"] = n_halved
        lines.check()
    return {
        "rows_encoded": done.rows_encoded,
        "rows_reused": done.n - done.rows_encoded,
        "encode_s": round(done.elapsed_s, 3),
        **_rates(done),
        "device": loader.device,
    }


def _rates(done: Extraction) -> dict[str, float]:
    """Return how fast the texts went through the encoder; nothing if there were none."""
    if not done.rows_encoded:
        return {}
    return {
        "rows_per_s": round(done.rows_encoded / done.elapsed_s, 1),
        "tokens_per_s": round(done.tokens / done.elapsed_s, 1),
        "padding_share": round(1 - done.tokens / done.padded, 4),
    }


class _Loader:
    """Loads the encoder at most once, and only the one that the key was made from."""

    def __init__(
        self, spec: EncoderSpec, compute: ComputeSpec, identity: dict[str, object]
    ) -> None:
        self.spec, self._compute, self._identity = spec, compute, identity
        self._loaded: Any = None  # Any: naming Encoder would import torch
        self.device: str | None = None

    @property
    def n_halved(self) -> int:
        """Return how often a batch did not fit the GPU's memory."""
        return 0 if self._loaded is None else int(self._loaded.n_halved)

    def source(self) -> EncoderSource:
        source = find_encoder(self.spec, sha256_file)
        if source.identity != self._identity:
            raise EncoderError(
                f"{self.spec.encoder} changed while the run was starting. Run the same command again."
            )
        return source

    def encoder(self) -> Any:
        if self._loaded is None:
            from pipeline.encoder.frozen import load_source

            self._loaded = load_source(self.source(), self.spec, self._compute)
            self.device = str(self._loaded.device)
        return self._loaded


def _publish_encoder(
    loader: _Loader, request: Request, root: Path, folder: Path
) -> None:
    """Publish what a predictor needs beside the weights, so that exporting one imports no torch."""
    encoder = loader.encoder()
    source = loader.source().fetch()
    from pipeline.encoder.folder import encoder_files

    with publish_directory(
        folder / "encoder",
        root=root,
        stage="Encoder",
        key=request["encoder_key"],
        key_fields=request["encoder_key_fields"],
    ) as draft:
        tokenizer = encoder.tokenizer.to_str().encode()
        disk.write(draft.path / "tokenizer.json", tokenizer)
        config = json.dumps(encoder.checkpoint.config).encode()
        disk.write(draft.path / "config.json", config)
        disk.save_array(draft.path / "probes.npy", encoder.encode(PROBES))
        draft.facts["spec"] = asdict(loader.spec)
        draft.facts["special"] = encoder.checkpoint.special
        draft.facts["dim"] = encoder.dim
        draft.facts["files"] = {
            path.name: sha256_file(path) for path in encoder_files(source)
        }
        draft.facts["parameters"] = sum(p.numel() for p in encoder.model.parameters())


def main() -> int:
    """Serve one request; return 0, or 1 after an error was sent."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        2, 1
    )  # whatever a library prints, native ones too, must not break the lines
    asked = sys.stdin.read()
    if not asked:  # whoever started this was stopped before it could ask
        return 1
    request = json.loads(asked)
    lines = Lines(out, request["parent"])
    signal.signal(signal.SIGTERM, lines.on_sigterm)
    try:
        lines.send(result=work(request, lines))
    except Stopped:
        _end_by_sigterm()
    except PipelineError as error:
        lines.send(error={"kind": type(error).__name__, "message": str(error)})
        return 1
    return 0


def _end_by_sigterm() -> None:
    """End as any process does that SIGTERM ends, so that its parent sees why."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

"""The process that encodes: ``python -m pipeline.features.worker``, started by `pipeline.features.spawn`.

A request comes in as one JSON object on standard input; progress, warnings, the result or an error go out as JSON
lines on standard output. The encoder lives and dies here, and its memory goes back to the machine.
"""

import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.folder import QUANTIZED, encoder_files
from pipeline.encoder.identity import EncoderSource, find_encoder
from pipeline.errors import CacheError, EncoderError, PipelineError, UnreadableError
from pipeline.features.certificates import Certificates
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
    quarantine,
    sha256_file,
)

Request = dict[str, Any]  # Any: the JSON written by `spawn.extract`
QUANTIZING = "making the encoder's 8-bit weights: about a minute, once"
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
    spec = EncoderSpec(**request["encoder"])
    root, folder = Path(request["root"]), Path(request["folder"])
    certificates = Certificates(folder, request["encoder_key"])
    loader = _Loader(request, certificates, lines)
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
        if certificates.lack(spec.precision):
            loader.encoder()
        loader.publish()
        draft.facts.update(list_facts(keys_path, store, spec.max_length))
        draft.facts["elapsed_s"] = round(time.monotonic() - began, 3)
        draft.facts["batches_halved"] = n_halved
        draft.facts["encoding"] = {
            "rows_encoded": done.rows_encoded,
            "peak_mb": _peak_mb(),
            **_rates(done),
        }
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


def _peak_mb() -> float | None:
    """Return the most memory that this process held, in 2**20 bytes; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError, ValueError):
        return None


class _Loader:
    """Loads the encoder at most once, and only the one that the key was made from; it is measured before it is used.

    What a first loading prepared is kept in the row store, so that later ones need neither transformers nor torch.
    """

    def __init__(
        self, request: Request, certificates: Certificates, lines: Lines
    ) -> None:
        self._request, self._certificates, self._lines = request, certificates, lines
        self.spec = EncoderSpec(**request["encoder"])
        self._compute = ComputeSpec(**request["compute"])
        self._root = Path(request["root"])
        self._directory = Path(request["folder"]) / "encoder"
        self._loaded: Any = None  # Any: naming Encoder would import its libraries
        self.device: str | None = None

    @property
    def n_halved(self) -> int:
        """Return how often a batch did not fit the GPU's memory."""
        return 0 if self._loaded is None else int(self._loaded.n_halved)

    def source(self) -> EncoderSource:
        """Return where the encoder is.

        Raises
        ------
        EncoderError
            If it is another one than the key was made from.
        """
        source = find_encoder(self.spec, sha256_file)
        if source.identity != self._request["identity"]:
            raise EncoderError(
                f"{self.spec.encoder} changed while the run was starting. Run the same command again."
            )
        return source

    def encoder(self) -> Any:
        """Return the encoder, measured; on torch if an engine that was not asked for computes something else."""
        if self._loaded is None:
            source = self.source()
            loaded = self._load(source, self._compute)
            try:
                self._certify(source, loaded)
            except EncoderError as error:
                if not loaded.has_fallback:
                    raise
                self._lines.send(warning=f"{error} torch does the work now.")
                loaded = self._load(source, replace(self._compute, backend="torch"))
                self._certify(source, loaded)
            self._loaded, self.device = loaded, loaded.device
            if self.spec.precision == "int8":  # a minute's work
                self.publish()
        return self._loaded

    def _load(self, source: EncoderSource, compute: ComputeSpec) -> Any:
        from pipeline.encoder.frozen import load_source

        if is_complete(self._directory, self._request["encoder_key"]):
            try:
                return load_source(source, self.spec, compute, self._directory)
            except UnreadableError:
                raise
            except CacheError:
                moved = quarantine(self._directory, root=self._root)
                self._lines.send(
                    warning=f"{self._directory} was damaged and moved to {moved}; it is made again"
                )
        if self.spec.precision == "int8":
            self._lines.send(note=QUANTIZING)
        return load_source(source, self.spec, compute)

    def _certify(self, source: EncoderSource, encoder: Any) -> None:
        """Compare the encoder with float32 torch, if its engine never was in this store."""
        from pipeline.encoder.frozen import reference_encoder
        from pipeline.features.certify import certify

        moved = certify(
            encoder,
            lambda: reference_encoder(source, self.spec),
            StoredTexts(Path(self._request["table"])),
            self._certificates,
            root=self._root,
            before_publishing=self._lines.check,
        )
        if moved is not None:
            self._lines.send(
                warning=f"a damaged certificate was moved to {moved}; it was measured again"
            )

    def publish(self) -> None:
        """Publish, unless it is there, what a predictor needs beside the weights and a later loading saves."""
        key = self._request["encoder_key"]
        if is_complete(self._directory, key):
            return
        encoder = self.encoder()
        if is_complete(self._directory, key):  # loading has published it
            return
        with publish_directory(
            self._directory,
            root=self._root,
            stage="Encoder",
            key=key,
            key_fields=self._request["encoder_key_fields"],
        ) as draft:
            _write_encoder(encoder, draft.path)
            draft.facts["spec"] = asdict(self.spec)
            draft.facts["special"] = encoder.checkpoint.special
            draft.facts["dim"] = encoder.dim
            draft.facts["engine"] = encoder.engine_identity
            draft.facts["files"] = {
                path.name: sha256_file(path)
                for path in encoder_files(self.source().fetch())
            }
            draft.facts["parameters"] = encoder.engine.n_parameters


def _write_encoder(encoder: Any, folder: Path) -> None:
    """Write tokenizer, configuration, the probes' features, and the weights if the recipe made them."""
    disk.write(folder / "tokenizer.json", encoder.tokenizer.to_str().encode())
    disk.write(folder / "config.json", json.dumps(encoder.checkpoint.config).encode())
    disk.save_array(folder / "probes.npy", encoder.encode(PROBES))
    if encoder.spec.precision == "int8":
        from pipeline.encoder.checkpoint import to_bytes

        disk.write(folder / QUANTIZED, to_bytes(encoder.checkpoint.weights))


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
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # the parent ends us when it has read it
        lines.send(error={"kind": type(error).__name__, "message": str(error)})
        return 1
    return 0


def _end_by_sigterm() -> None:
    """End as any process does that SIGTERM ends, so that its parent sees why."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

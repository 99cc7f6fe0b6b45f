"""The tools people use, in a process that encodes texts on request.

Run by the Python of the tools' own environment, which has nothing of this project: ``python peers.py``. A request is a
JSON object on a line of standard input, its answer one on standard output::

    {"load": "sentence-transformers ONNX", "from": FOLDER, "threads": 2}
                                    ->  {"versions": {"torch": "2.13.0"}, "resident_mb": 512.0}
    {"encode": [TEXT, ...], "each": false, "out": "features.npy"}
                                    ->  {"seconds": [1.25], "peak_mb": 640.0}

``each`` encodes the texts one at a time and times each of them. A request that fails is answered ``{"error": "..."}``.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

# everything is here, and nothing calls home
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it fails

Encode = Callable[[list[str]], Any]  # Any: an array, of whichever library
Loader = Callable[[str, int], Encode]  # a folder and a number of threads
Backend = Literal["torch", "onnx", "openvino"]
MAX_LENGTH, BATCH = 128, 32  # tokens kept of a text; what the tools default to
LIBRARIES = (
    *("torch", "transformers", "sentence-transformers", "optimum"),
    *("onnxruntime", "openvino", "numpy", "scikit-learn"),
)


def tutorial(folder: str, _threads: int) -> Encode:
    """Return one batch padded to the longest text, as the visual guide to BERT does it."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def encode(texts: list[str]) -> Any:
        batch = tokenizer(
            texts,
            padding=True,
            truncation=True,
            max_length=MAX_LENGTH,
            return_tensors="pt",
        )
        taken = {name: batch[name] for name in ("input_ids", "attention_mask")}
        return model(**taken).last_hidden_state[:, 0]

    return encode


def feature_pipeline(folder: str, _threads: int) -> Encode:
    """Return the feature-extraction pipeline of transformers."""
    from transformers import pipeline

    extract = pipeline("feature-extraction", model=folder, device="cpu")
    options = {"truncation": True, "max_length": MAX_LENGTH}
    return lambda texts: [
        rows[0][0].numpy()
        for rows in extract(texts, return_tensors=True, tokenize_kwargs=options)
    ]


def with_cls(folder: str, backend: Backend, **options: object) -> Any:
    """Return a SentenceTransformer with [CLS] pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    body = Transformer(
        folder, backend=backend, model_kwargs=options, max_seq_length=MAX_LENGTH
    )
    pooling = Pooling(body.get_embedding_dimension(), pooling_mode="cls")
    return SentenceTransformer(modules=[body, pooling], backend=backend, device="cpu")


def encode_with(model: Any) -> Encode:
    """Return the encoding of a SentenceTransformer."""
    return partial(model.encode, batch_size=BATCH, show_progress_bar=False)


def sentence_transformers(folder: str, _threads: int) -> Encode:
    """Return sentence-transformers with torch in float32."""
    return encode_with(with_cls(folder, "torch"))


def session(threads: int) -> Any:
    """Return ONNX Runtime's options with a number of threads."""
    from onnxruntime import SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = threads
    return options


def onnx(folder: str, threads: int) -> Encode:
    """Return sentence-transformers with ONNX Runtime in float32."""
    return encode_with(with_cls(folder, "onnx", session_options=session(threads)))


def onnx_int8(folder: str, threads: int) -> Encode:
    """Return sentence-transformers with ONNX Runtime and weights quantized by its own export."""
    from sentence_transformers import (
        SentenceTransformer,
        export_dynamic_quantized_onnx_model,
    )

    with tempfile.TemporaryDirectory() as name:
        with_cls(folder, "onnx").save_pretrained(name)
        model = SentenceTransformer(name, backend="onnx", device="cpu")
        export_dynamic_quantized_onnx_model(model, "avx512_vnni", name)
        (path,) = (Path(name) / "onnx").glob("*qint8*.onnx")
        options = {
            "file_name": f"onnx/{path.name}",
            "session_options": session(threads),
        }
        return encode_with(
            SentenceTransformer(
                name, backend="onnx", device="cpu", model_kwargs=options
            )
        )


def openvino(folder: str, threads: int) -> Encode:
    """Return sentence-transformers with OpenVINO as it comes: it chooses the precision."""
    config = {"INFERENCE_NUM_THREADS": threads}
    return encode_with(with_cls(folder, "openvino", ov_config=config))


def classifier(folder: str, _threads: int) -> Encode:
    """Return the class probabilities of a saved SentenceTransformer and a scikit-learn head beside it."""
    import joblib
    from sentence_transformers import SentenceTransformer

    encode = encode_with(SentenceTransformer(folder, device="cpu"))
    head = joblib.load(Path(folder) / "head.joblib")
    return lambda texts: head.predict_proba(encode(texts))


PEERS: dict[str, Loader] = {
    "tutorial, one batch": tutorial,
    "transformers pipeline": feature_pipeline,
    "sentence-transformers torch": sentence_transformers,
    "sentence-transformers ONNX": onnx,
    "sentence-transformers OpenVINO": openvino,
    "sentence-transformers ONNX int8": onnx_int8,
}
HEADED: dict[str, Loader] = {"sentence-transformers + head": classifier}


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def memory_mb(field: str) -> float:
    """Return ``VmRSS`` (resident now) or ``VmHWM`` (its peak) of this process, in 2**20 bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def forget_peak() -> None:
    """Let the peak of memory begin anew, where the system allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


class Server:
    """Answers requests with the one system that was loaded.

    Parameters
    ----------
    loaders : mapping of str to Loader
    """

    def __init__(self, loaders: Mapping[str, Loader]) -> None:
        self._loaders = loaders
        self._encode: Encode | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, object]:
        """Return the answer to a request."""
        if "load" in request:
            return self._load(request["load"], request["from"], request["threads"])
        return self._time(request["encode"], request["each"], request["out"])

    def _load(self, name: str, folder: str, threads: int) -> dict[str, object]:
        import torch

        torch.set_num_threads(threads)
        self._encode = self._loaders[name](folder, threads)
        return {"versions": versions(), "resident_mb": memory_mb("VmRSS")}

    def _time(self, texts: list[str], each: bool, out: str) -> dict[str, object]:
        assert self._encode is not None, "the first request loads a system"
        forget_peak()
        seconds, parts = [], []
        for batch in [[text] for text in texts] if each else [texts]:
            began = time.perf_counter()
            encoded = self._encode(batch)
            seconds.append(time.perf_counter() - began)
            parts.append(np.asarray(encoded, dtype=np.float32))
        peak_mb = memory_mb("VmHWM")
        np.save(out, np.concatenate(parts))
        return {"seconds": seconds, "peak_mb": peak_mb}


def serve(loaders: Mapping[str, Loader]) -> None:
    """Answer requests until standard input ends; whatever a library prints goes to standard error."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = Server(loaders)
    for line in sys.stdin:
        try:
            answer = server.answer(json.loads(line))
        except Exception as error:  # a system that cannot run is a line of the table
            answer = {"error": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(answer) + "\n")
        out.flush()


if __name__ == "__main__":
    serve(PEERS | HEADED)

"""Our encoder and predictor, served as `benchmarks.peers` serves theirs: ``python -m benchmarks.ours``."""

from functools import partial

from benchmarks.peers import Encode, Loader, serve

PRECISIONS = ("float32", "bfloat16", "int8")


def encoder(folder: str, _threads: int, *, precision: str) -> Encode:
    """Return our encoder with [CLS] pooling on the engine it chooses.

    bfloat16 is asked of OpenVINO, which refuses it where the processor has none; torch would crawl.
    """
    from pipeline import load_encoder

    return load_encoder(
        folder,
        pooling="cls",
        device="cpu",
        precision=precision,
        backend="openvino" if precision == "bfloat16" else "auto",
    ).encode


def predictor(path: str, _threads: int) -> Encode:
    """Return the class probabilities of an exported predictor."""
    from pipeline import load_predictor

    return load_predictor(path).predict_proba


OURS: dict[str, Loader] = {
    f"frostbert {precision}": partial(encoder, precision=precision)
    for precision in PRECISIONS
}
PREDICTOR: dict[str, Loader] = {"frostbert predictor": predictor}

if __name__ == "__main__":
    serve(OURS | PREDICTOR)

"""Predictor files as earlier versions of the package wrote them; they load for ever, with the same answers.

    python -m tests.golden NAME     # writes NAME-float32, -int8 and -elsewhere with today's code

once a format is released.

Each ``.joblib`` has a ``.json`` beside it: texts and the probabilities that the file's writer gave them.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pipeline import TextClassifier
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.predictor.file import save_predictor
from pipeline.predictor.predictor import Predictor
from tests.checkpoints import save_tiny
from tests.conftest import review_rows

FOLDER = Path(__file__).with_name("predictors")
TEXTS = ["the film is good", "a dull story", "", "never bad but unknown"]


def write(name: str, precision: str) -> None:
    """Write one file and what it answers."""
    texts, labels = zip(*review_rows(), strict=True)
    with tempfile.TemporaryDirectory() as folder:
        encoder = save_tiny(Path(folder) / "tiny")
        classifier = TextClassifier(
            str(encoder), pooling="mean", precision=precision, C=1.0
        )
        predictor = classifier.fit(texts, labels).predictor_
    answers = {"texts": TEXTS, "proba": predictor.predict_proba(TEXTS).tolist()}
    kinds = {precision: predictor}
    if precision == "float32":
        kinds["elsewhere"] = without_weights(predictor)
    for kind, one in kinds.items():
        path = FOLDER / f"{name}-{kind}.joblib"
        save_predictor(one, path)
        path.with_suffix(".json").write_text(json.dumps(answers, indent=1) + "\n")


def without_weights(predictor: Predictor) -> Predictor:
    """Return a predictor that only names its weights."""
    parts = predictor._parts
    assert isinstance(parts.weights, dict)
    files = {
        name: hashlib.sha256(data).hexdigest() for name, data in parts.weights.items()
    }
    return Predictor(replace(parts, weights=Elsewhere("tiny", "auto", files)))


if __name__ == "__main__":
    for precision in ("float32", "int8"):
        write(sys.argv[1], precision)

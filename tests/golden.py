"""Predictor files as earlier versions of the package wrote them; they load for ever, with the same answers.

    python -m tests.golden NAME     # writes NAME-float32 and NAME-int8 with today's code: once a format is released

Each ``.joblib`` has a ``.json`` beside it: texts and the probabilities that the file's writer gave them.
"""

import json
import sys
import tempfile
from pathlib import Path

from pipeline import TextClassifier
from pipeline.predictor.file import save_predictor
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
    path = FOLDER / f"{name}-{precision}.joblib"
    save_predictor(predictor, path)
    answers = {"texts": TEXTS, "proba": predictor.predict_proba(TEXTS).tolist()}
    path.with_suffix(".json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    for precision in ("float32", "int8"):
        write(sys.argv[1], precision)

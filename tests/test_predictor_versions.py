"""A predictor written with one scikit-learn and loaded with another gives the same answers."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import sklearn

from pipeline import TextClassifier, load_predictor
from pipeline.predictor.file import save_predictor
from tests.conftest import review_rows

TEXTS, LABELS = (list(column) for column in zip(*review_rows(), strict=True))
LINES = """
import json, sys
import sklearn
from pipeline import TextClassifier, load_predictor
from pipeline.predictor.file import save_predictor
from pathlib import Path
path, texts, labels, encoder = json.load(open(sys.argv[1]))
"""
FIT = """
fitted = TextClassifier(encoder, pooling="mean", C=1.0).fit(texts, labels).predictor_
save_predictor(fitted, Path(path))
"""
ANSWER = """
predictor = load_predictor(path)
features = predictor.transform(texts)
print(json.dumps({
    "sklearn": sklearn.__version__,
    "labels": predictor.predict(texts).tolist(),
    "proba": predictor.predict_proba(texts).tolist(),
    "rebuilt": predictor.classifier.predict_proba(features).tolist(),
}))
"""


@pytest.fixture(scope="module")
def other():
    """Environment variables with which another scikit-learn is imported; `make test` installs it."""
    folder = Path(sys.prefix) / "scikit-learn-1.7"
    if not folder.is_dir():
        pytest.skip("no other scikit-learn here: run make test")
    return {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    }


def asked(python, other, tmp_path, code, *values):
    """Return what a fresh interpreter with the other scikit-learn prints."""
    request = tmp_path / "request.json"
    request.write_text(
        json.dumps(
            [str(value) if isinstance(value, Path) else value for value in values]
        )
    )
    code = code.replace("sys.argv[1]", repr(str(request)))
    done = python(code, env=other)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.strip().splitlines()[-1])
    assert found["sklearn"] != sklearn.__version__
    return found


def check_same(found, predictor):
    expected = predictor.predict_proba(TEXTS)
    assert found["labels"] == predictor.predict(TEXTS).tolist()
    np.testing.assert_allclose(found["proba"], expected, atol=1e-6, rtol=0)
    np.testing.assert_allclose(found["rebuilt"], expected, atol=1e-6, rtol=0)


def test_another_scikit_learn_reads_what_this_one_wrote(
    python, other, tmp_path, tiny_encoder
):
    classifier = TextClassifier(str(tiny_encoder), pooling="mean", C=1.0)
    predictor = classifier.fit(TEXTS, LABELS).predictor_
    path = tmp_path / "predictor.joblib"
    save_predictor(predictor, path)

    found = asked(
        python, other, tmp_path, LINES + ANSWER, path, TEXTS, LABELS, tiny_encoder
    )

    check_same(found, predictor)


def test_this_scikit_learn_reads_what_another_wrote(
    python, other, tmp_path, tiny_encoder
):
    path = tmp_path / "predictor.joblib"

    found = asked(
        python, other, tmp_path, LINES + FIT + ANSWER, path, TEXTS, LABELS, tiny_encoder
    )

    check_same(found, load_predictor(path))

"""Turn texts into a trustworthy classifier with a frozen transformer and classical machine learning.

Importing this package imports neither torch nor scikit-learn: each public name is loaded when it is first used.
"""

import importlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.encoder.frozen import load_encoder
    from pipeline.predictor.estimators import FeatureExtractor, TextClassifier
    from pipeline.predictor.file import load_predictor
    from pipeline.predictor.matrix import similarity_matrix

__version__ = "0.1.0"
__all__ = [
    "FeatureExtractor",
    "TextClassifier",
    "load_encoder",
    "load_predictor",
    "similarity_matrix",
]

_HOMES = {
    "FeatureExtractor": "pipeline.predictor.estimators",
    "TextClassifier": "pipeline.predictor.estimators",
    "load_encoder": "pipeline.encoder.frozen",
    "load_predictor": "pipeline.predictor.file",
    "similarity_matrix": "pipeline.predictor.matrix",
}

# Nothing calls home: set before the first import of the libraries concerned; a user's own setting wins.
for _name, _value in {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
    "DISABLE_SAFETENSORS_CONVERSION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # its thread also keeps forked children from ending
}.items():
    os.environ.setdefault(_name, _value)
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: importing it fails


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""How to make a report again: the command, and the versions it was made with."""

import platform
from importlib.metadata import PackageNotFoundError, version

import pipeline
from pipeline.report.material import Json

LIBRARIES = (
    "cleanlab",
    "numpy",
    "openvino",
    "scikit-learn",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)


def reproduce(command: str) -> Json:
    """Return the command, and the versions of Python, this package and its libraries.

    Libraries that are not installed are left out.
    """
    versions = {"python": platform.python_version(), "frostbert": pipeline.__version__}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {"command": command, "versions": versions}

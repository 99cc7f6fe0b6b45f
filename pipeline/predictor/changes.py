"""What differs between where a predictor was trained and here, to explain features that differ."""

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Json = Mapping[str, Any]  # Any: JSON values
LABELS = {"device": "device", "capabilities": "processor"}


def changes(made_by: Json | None, versions: Mapping[str, str], engine: Json) -> str:
    """Return in a sentence what changed since training: engine, device, processor, libraries.

    Parameters
    ----------
    made_by : dict or None
        Identity of the engine that encoded in training, as `pipeline.encoder.engine.Engine`; None if unknown.
    versions : dict of str to str
        Of the libraries in training, and of ``python``.
    engine : dict
        Identity of the engine here.
    """
    found = [*_engine(made_by or {}, engine), *_libraries(versions)]
    if found:
        return f"Changed since training: {'; '.join(found)}."
    if made_by is None and not versions:
        return "The file does not say what it was trained with: train it again here."
    return "Engine, libraries and processor are those of training: memory or a library may be damaged."


def _engine(before: Json, now: Json) -> Iterator[str]:
    if not before:
        return
    names = [f"{one['engine']} {one['version']}" for one in (before, now)]
    if names[0] != names[1]:
        yield f"engine {names[0]} -> {names[1]}"
    for field, label in LABELS.items():
        values = [_said(one[field]) for one in (before, now)]
        if values[0] != values[1] and (
            field == "device" or before["engine"] == now["engine"]
        ):
            yield f"{label} {values[0]} -> {values[1]}"


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _libraries(versions: Mapping[str, str]) -> Iterator[str]:
    for name, before in sorted(versions.items()):
        now = _version(name)
        if now is not None and now != before:
            yield f"{name} {before} -> {now}"


def _version(name: str) -> str | None:
    """Return the version of a library here; None where it is missing, since then it does not compute."""
    if name == "python":
        return platform.python_version()
    try:
        return version({"sklearn": "scikit-learn"}.get(name, name))
    except PackageNotFoundError:
        return None

"""What a stage's earlier key was made of, and how it differs from today's."""

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.errors import CacheError, shown
from pipeline.storage import read_manifest
from tasks.base import Stage

Json = dict[str, Any]  # Any: JSON values


def key_fields(stage: Stage, key: object) -> Json | None:
    """Return what an earlier key of a stage was made of; None if its result is not there any more."""
    folder = stage.root / stage.folder
    ending = str(key)[:12]
    places = [*folder.glob(f"*-{ending}"), *folder.glob(f"*/datasets/{ending}")]
    for place in places:
        try:
            manifest = read_manifest(place)
        except CacheError:
            continue
        if manifest.get("key") == key:
            fields: Json = manifest["key_fields"]
            return fields
    return None


def differences(before: Json, now: Mapping[str, object]) -> list[str]:
    """Return ``field: old -> new`` for every leaf that differs, and which inputs are other ones."""
    changes = list(_leaves(before, now, ""))
    old, new = before.get("inputs", {}), now["inputs"]
    assert isinstance(new, dict)  # as `Stage.key_fields` has it
    inputs = [name for name in new if old.get(name) != new[name]]
    return changes + ([f"other inputs: {', '.join(inputs)}"] if inputs else [])


def _leaves(before: Json, now: Mapping[str, object], path: str) -> Iterator[str]:
    for name in sorted({*before, *now} - {"inputs"}):
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _leaves(old, new, f"{path}{name}.")
        elif old != new:
            yield f"{path}{name}: {_short(old)} -> {_short(new)}"


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, str) and len(value) in {40, 64}:  # a commit or a digest
        return value[:12]
    return shown(value, 40)

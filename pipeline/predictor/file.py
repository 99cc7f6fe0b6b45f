"""The file format of a predictor, and reading it without trusting it.

A file is a plain pickle stream (protocol 4, written by joblib without compression) of one call::

    pipeline.predictor._restore_v1(digest, header, section, section, …)

``header`` is JSON; ``digest`` its SHA-256. It lists every section (bytes) with name, size and SHA-256:
``config.json``, ``tokenizer.json``, the encoder's safetensors files (or, in the header, where they are), and as raw
little-endian numbers the head's arrays, the probes' expected outputs and what describes the training features.
``docs/predictor-file.md`` has it all. No other name occurs in the stream, so `load_predictor` can read it with an
unpickler that knows that one name, and a changed bit anywhere is an error.
"""

import hashlib
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TASKS, EncoderSpec
from pipeline.encoder.pairs import JOINT, N_PARTS, SEPARATE
from pipeline.errors import ArtifactError, shown
from pipeline.heads.decision.rule import CALIBRATORS
from pipeline.predictor.elsewhere import Elsewhere
from pipeline.predictor.parts import Parts
from pipeline.predictor.predictor import Predictor
from pipeline.storage import disk
from pipeline.terms.matrix import SETTINGS
from pipeline.terms.model import ARRAYS as TERM_ARRAYS
from pipeline.terms.model import TermModel

KIND = "frostbert-predictor"
# 2 where a reader of 1 would answer wrongly: a task other than classification, a decision rule, pairs, layers, words.
FIRST_VERSION, VERSION = 1, 2
FIRST_INT8 = "int8-static-v1"  # what int8 meant in files that do not name their recipe
ARRAYS = ("mean", "scale", "coef", "intercept")  # of the head
BEGINNING = (
    100  # bytes: the name of `_restore_v1` stands in them, whatever is damaged behind
)
PROTOCOL = b"\x80\x04"  # the first bytes of a pickle of protocol 4
TERMS = "terms."  # begins the names of what the models on words are made of
REFERENCE = "reference."  # begins the names of arrays that describe the training features; older files have none


def pack(parts: Parts) -> tuple[str, str, *tuple[bytes, ...]]:
    """Return the arguments of `_restore_v1` that give `parts` back."""
    arrays: dict[str, NDArray[Any]] = dict(parts.head_arrays)  # Any: numbers
    weights = parts.weights if isinstance(parts.weights, dict) else {}
    elsewhere = parts.weights if isinstance(parts.weights, Elsewhere) else None
    arrays |= {"probe_features": parts.probe_features, "probe_proba": parts.probe_proba}
    arrays |= {
        f"{TERMS}{model.kind}.{name}": getattr(model, name)
        for model in parts.terms
        for name in TERM_ARRAYS
    }
    arrays |= {
        REFERENCE + name: array for name, array in sorted(parts.reference.items())
    }
    sections: dict[str, bytes] = {
        "config.json": parts.config,
        "tokenizer.json": parts.tokenizer,
        **weights,
        **{f"{TERMS}{model.kind}.json": _json(model.terms) for model in parts.terms},
    }
    shapes: dict[str, object] = {}
    for name, array in arrays.items():
        little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"))
        sections[f"{name}.array"] = little.tobytes()
        shapes[name] = {"dtype": little.dtype.str, "shape": list(array.shape)}
    header = {
        "kind": KIND,
        "version": VERSION if _is_more(parts) else FIRST_VERSION,
        "encoder": {name: getattr(parts.spec, name) for name in EncoderSpec.names()},
        "recipe": parts.spec.recipe,
        "special": parts.special,
        "weights": list(weights),
        "elsewhere": None if elsewhere is None else elsewhere.facts(),
        **({"pair_encoding": parts.pair_encoding} if parts.pair_encoding else {}),
        **({"terms": [model.kind for model in parts.terms]} if parts.terms else {}),
        "head": parts.head if _is_more(parts) else _without_task(parts.head),
        "arrays": shapes,
        "card": parts.card,
        "made_by": parts.made_by,
        "sections": [
            {
                "name": name,
                "size": len(data),
                "sha256": hashlib.sha256(data).hexdigest(),
            }
            for name, data in sections.items()
        ],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return (hashlib.sha256(text.encode()).hexdigest(), text, *sections.values())


def restore(digest: str, header: str, sections: Sequence[bytes]) -> Predictor:
    """Return the predictor that `pack` described, after checking every byte; raises as `unpack`."""
    return Predictor(unpack(digest, header, sections))


def _is_more(parts: Parts) -> bool:
    """Tell whether a predictor is more than a classifier of single texts by the most probable class."""
    task = parts.head.get("task", TASKS[0])
    is_wide = len(parts.spec.layers) > 1 or parts.terms
    has_rule = "rule" in parts.head
    return bool(task != TASKS[0] or has_rule or parts.pair_encoding or is_wide)


def _without_task(head: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    return {name: value for name, value in head.items() if name != "task"}


def _check_choices(described: dict[str, Any]) -> None:  # Any: JSON values
    """Refuse words that mean nothing here."""
    calibrator = described["head"].get("rule", {}).get("calibrator")
    for what, word, known in (
        ("task", described["head"].get("task", TASKS[0]), TASKS),
        ("pair encoding", described.get("pair_encoding"), (None, SEPARATE, JOINT)),
        ("calibrator", calibrator and calibrator.get("method"), (None, *CALIBRATORS)),
        *(("model on", kind, tuple(SETTINGS)) for kind in described.get("terms", [])),
    ):
        if word not in known:
            words = ", ".join(one for one in known if one)
            raise ArtifactError(
                f"The predictor's {what} is {shown(word)}, expected one of: {words}. Update frostbert."
            )


def unpack(digest: str, header: str, sections: Sequence[bytes]) -> Parts:
    """Return the parts that `pack` described, after checking every byte.

    Raises
    ------
    ArtifactError
        If anything differs from what was written, or a newer version wrote it.
    """
    if (
        not isinstance(header, str)
        or hashlib.sha256(header.encode("utf-8", "replace")).hexdigest() != digest
    ):
        raise ArtifactError(
            "The predictor's header is damaged: its SHA-256 differs. Copy or export the file again."
        )
    described = json.loads(header)
    kind, version = described.get("kind"), described.get("version")
    if kind != KIND or version not in (FIRST_VERSION, VERSION):
        raise ArtifactError(
            f"This is {kind} version {version}, expected {KIND} {FIRST_VERSION} or {VERSION}. Update frostbert."
        )
    _check_choices(described)
    spec = EncoderSpec(**described["encoder"])
    unnamed = FIRST_INT8 if spec.precision == "int8" else spec.recipe
    if (recipe := described.get("recipe", unnamed)) != spec.recipe:
        raise ArtifactError(
            f"The predictor's features were made by {recipe}; {spec.precision} is {spec.recipe} here. Train it again, "
            "or use the version of frostbert that wrote it."
        )
    found: dict[str, bytes] = {}
    if len(sections) != len(described["sections"]):
        raise ArtifactError(
            "The predictor's sections are not those of its header. Copy or export the file again."
        )
    for entry, data in zip(described["sections"], sections, strict=True):
        if (
            not isinstance(data, bytes)
            or hashlib.sha256(data).hexdigest() != entry["sha256"]
        ):
            raise ArtifactError(
                f"Section {entry['name']} is damaged: its SHA-256 differs. Copy or export the file again."
            )
        found[entry["name"]] = data
    arrays = {
        name: _array(found[f"{name}.array"], about)
        for name, about in described["arrays"].items()
    }
    elsewhere = described.get("elsewhere")
    parts = Parts(
        spec=spec,
        config=found["config.json"],
        tokenizer=found["tokenizer.json"],
        special=described["special"],
        weights={name: found[name] for name in described["weights"]}
        if elsewhere is None
        else Elsewhere(**elsewhere),
        head=described["head"],
        head_arrays={name: arrays[name] for name in ARRAYS},
        probe_features=arrays["probe_features"],
        probe_proba=arrays["probe_proba"],
        card=described["card"],
        made_by=described.get("made_by"),
        pair_encoding=described.get("pair_encoding"),
        terms=tuple(
            _term_model(kind, found, arrays) for kind in described.get("terms", [])
        ),
        reference={
            name.removeprefix(REFERENCE): array
            for name, array in arrays.items()
            if name.startswith(REFERENCE)
        },
    )
    _check_width(parts)
    return parts


def _check_width(parts: Parts) -> None:
    """Refuse a classifier of other features than these parts give it."""
    n_terms = sum(len(model.intercept) for model in parts.terms)
    n_parts = N_PARTS if parts.pair_encoding == SEPARATE else 1
    given = n_parts * parts.probe_features.shape[1] + n_terms
    if (taken := len(parts.head_arrays["mean"])) != given:
        raise ArtifactError(
            f"The predictor's classifier takes {taken:,} features, and its encoder gives {given:,}: an earlier version "
            "made it. Train and export it again."
        )


def _term_model(
    kind: str,
    found: dict[str, bytes],
    arrays: dict[str, NDArray[Any]],  # Any: numbers
) -> TermModel:
    idf, coef, intercept = (arrays[f"{TERMS}{kind}.{name}"] for name in TERM_ARRAYS)
    return TermModel(
        kind, json.loads(found[f"{TERMS}{kind}.json"]), idf, coef, intercept
    )


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _array(
    data: bytes, about: dict[str, Any]
) -> NDArray[Any]:  # Any: the header names the dtype
    return np.frombuffer(data, dtype=about["dtype"]).reshape(about["shape"])


def save_predictor(predictor: Predictor, path: Path) -> None:
    """Write a predictor; the same predictor always gives the same bytes."""
    import joblib

    with disk.create(path) as stream:
        joblib.dump(predictor, stream, compress=0, protocol=4)


class _OneName(pickle._Unpickler):
    """An unpickler that knows `_restore_v1` and nothing else, and only collects its arguments.

    Nothing of ours is on its stack, so a hostile stream has nothing to change. It is the one written in Python: that in
    C makes room for as many remembered objects as a stream of a few bytes claims.
    """

    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("pipeline.predictor", "_restore_v1"):
            return lambda *arguments: arguments
        raise ArtifactError(
            f"The file refers to {module}.{name}, which no predictor does; nothing of it was run. "
            "Do not open it with joblib.load."
        )


def load_predictor(path: str | Path, *, encoder: str | Path | None = None) -> Predictor:
    """Load a predictor file without running anything that is not ours.

    Unlike `joblib.load`, which runs whatever a file asks for: use that only on files you trust.

    Parameters
    ----------
    path : str or Path
    encoder : str or Path, optional
        The folder with the encoder's weights, for a file that only names them. A file that holds them needs none, nor
        does one that names a hub commit: at first use it is looked for in the hub's cache, or fetched.

    Returns
    -------
    Predictor
        The encoder is built when it is first needed.

    Raises
    ------
    ArtifactError
        If the file is not a predictor, damaged, or of a newer version.
    """
    try:
        with Path(path).open("rb") as stream:
            arguments = _OneName(stream).load()
            rest = stream.read(1)
        if type(arguments) is not tuple or rest:
            raise ArtifactError(
                f"{path} is not a predictor file, or has bytes behind its end. Copy or export it again."
            )
        digest, header, *sections = arguments
        parts = unpack(digest, header, sections)
        return Predictor(parts, None if encoder is None else Path(encoder))
    except FileNotFoundError as error:
        raise ArtifactError(
            f"No predictor at {path}. Train one: luigi --module tasks TrainLogReg."
        ) from error
    except ArtifactError:
        raise
    except IsADirectoryError as error:
        raise ArtifactError(
            f"{path} is a folder, expected a predictor file. Pass {Path(path) / 'predictor.joblib'}."
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"{path} cannot be read: {error.strerror}. Check the path and permissions."
        ) from error
    except (
        Exception
    ) as error:  # a damaged stream can make the unpickler raise nearly anything
        if not _begins_as_ours(Path(path)):
            raise ArtifactError(
                f"{path} is not a predictor file. Pass the predictor.joblib that a run has written."
            ) from error
        raise ArtifactError(
            f"{path} is damaged: {error!r}. Copy or export it again."
        ) from error


def _begins_as_ours(path: Path) -> bool:
    """Tell whether a file begins as every predictor does, or has been cut off before that can be told."""
    with path.open("rb") as stream:
        begin = stream.read(BEGINNING)
    return b"_restore_v1" in begin or PROTOCOL.startswith(begin)

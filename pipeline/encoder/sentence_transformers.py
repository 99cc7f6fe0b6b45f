"""What a sentence-transformers folder says about its transformer: where it is, and which pooling it was trained with.

Its own library is not used. ``Normalize`` is not applied (the head scales features itself), nor are ``Dense``
(features are the transformer's own), prompts and ``max_seq_length`` (see ``--max-length``).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import EncoderError

MODULES = "modules.json"
# looked at before anything large is fetched
SMALL_FILES = (
    "config.json",
    MODULES,
    "*/config.json",
    "*sentence_*_config.json",
)
WORDS = {  # theirs to ours; what is not here, we lack
    "cls": "cls",
    "max": "max",
    "mean": "mean",
}
SWITCHES = {  # of the older form, to the words of the newer one
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class SentenceTransformer:
    """What matters here of a sentence-transformers folder.

    Attributes
    ----------
    path : str
        Of the transformer's own folder inside it; empty if it is the folder itself.
    poolings : tuple of str
        In sentence-transformers' words, joined if there are several; empty if there is no pooling module.
    has_dense : bool
        Whether a trained layer follows, which is not applied here.
    """

    path: str
    poolings: tuple[str, ...]
    has_dense: bool

    @property
    def pooling(self) -> str | None:
        """Return the pooling in our words; None if we have none like it."""
        return WORDS.get(self.poolings[0]) if len(self.poolings) == 1 else None


def read_sentence_transformer(folder: Path) -> SentenceTransformer | None:
    """Return what ``modules.json`` says; None if the folder is not a sentence-transformers one.

    Raises
    ------
    EncoderError
        If the file cannot be understood.
    """
    if not (folder / MODULES).is_file():
        return None
    modules = _read(folder / MODULES, list)
    try:
        kinds = {str(m["type"]).rpartition(".")[2]: str(m["path"]) for m in modules}
        first = str(modules[0]["type"]).rpartition(".")[2]
    except (KeyError, IndexError, TypeError) as error:
        raise _odd(folder / MODULES, f"no list of modules ({error!r})") from error
    for path in kinds.values():
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise _odd(folder / MODULES, f"path {path!r} leaves the folder")
    if first != "Transformer":
        return None
    poolings: Sequence[str] = ()
    if "Pooling" in kinds:
        poolings = _poolings(_read(folder / kinds["Pooling"] / "config.json", dict))
    return SentenceTransformer(kinds[first], tuple(poolings), "Dense" in kinds)


def lowers_case(folder: Path) -> bool:
    """Tell whether a transformer's folder has ``do_lower_case`` in its ``sentence_*_config.json``."""
    files = sorted(folder.glob("sentence_*_config.json"))
    return any(_read(path, dict).get("do_lower_case") is True for path in files)


def _poolings(config: dict[str, Any]) -> list[str]:
    mode = config.get("pooling_mode")
    if mode is not None:
        return [str(word) for word in (mode if isinstance(mode, list) else [mode])]
    switched_on = [
        word for switch, word in SWITCHES.items() if config.get(switch) is True
    ]
    return switched_on or ["mean"]  # their default


def _read(path: Path, kind: type) -> Any:  # Any: JSON values
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise _odd(path, f"no JSON ({error})") from error
    if not isinstance(value, kind):
        raise _odd(path, f"a JSON {type(value).__name__}, expected a {kind.__name__}")
    return value


def _odd(path: Path, why: str) -> EncoderError:
    return EncoderError(
        f"{path} is not sentence-transformers' own: {why}. Fetch the encoder again."
    )

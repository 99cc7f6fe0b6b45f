"""Every deliberate error of the project.

::

    PipelineError
    ├── ConfigError    (ValueError)       an option has a value that cannot be meant
    ├── DataError      (ValueError)       a data set cannot be read or trusted
    ├── EncoderError   (RuntimeError)     an encoder cannot be loaded or gives nonsense
    │   ├── EngineError                   one engine cannot run it; another may
    │   └── WorkerError                   its process was ended; the same again may succeed
    ├── HubError       (ConnectionError)  something is neither here nor to be fetched
    ├── CacheError     (RuntimeError)     a stage's files are damaged or cannot be written
    │   └── UnreadableError               they may be whole, but cannot be read now
    └── ArtifactError  (RuntimeError)     a predictor file is not one of ours, or damaged

A message says what is wrong with the value got, where, what was expected, and one fix.
Each class is also the builtin in brackets, so a caller may catch either.
"""


class PipelineError(Exception):
    """Base of all deliberate errors; catch it to catch them all."""


class ConfigError(PipelineError, ValueError):
    """An option has a value that cannot be meant."""


class DataError(PipelineError, ValueError):
    """A data set cannot be read or trusted."""


class EncoderError(PipelineError, RuntimeError):
    """An encoder cannot be loaded, or gives values that cannot be used."""


class EngineError(EncoderError):
    """An engine cannot run an encoder that another engine may run."""


class WorkerError(EncoderError):
    """The process in which an encoder runs was ended: that says nothing about the encoder."""


class HubError(PipelineError, ConnectionError):
    """A file of a model hub is neither in the local cache nor to be fetched."""


class CacheError(PipelineError, RuntimeError):
    """A stage's files are damaged, incomplete or cannot be written."""


class UnreadableError(CacheError):
    """A stage's files may be whole, but the system does not let them be read: they must not count as damaged."""


class ArtifactError(PipelineError, RuntimeError):
    """A predictor file is not one of ours, or damaged."""


def shown(value: object, limit: int = 80) -> str:
    """Return ``repr(value)`` cut at `limit` characters, for error messages."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def word(label: str, limit: int = 40) -> str:
    """Return a label as it is where that is short and printable, else as `shown`: for lines that people read."""
    return label if label.isprintable() and len(label) <= limit else shown(label, limit)


def label_text(value: object) -> str:
    """Return a label, a set of labels or a number as people read it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "(none)"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def listed(items: list[int], limit: int = 5) -> str:
    """Return the first `limit` numbers and how many more there are, for error messages."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(map(str, items[:limit])) + more

"""The exported predictor: one file that carries tokenizer, encoder, classifier and what made them.

``pipeline.predictor._restore_v1`` is the only name a predictor file refers to; it is kept for ever.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.predictor.predictor import Predictor


def _restore_v1(digest: str, header: str, *sections: bytes) -> "Predictor":
    """Return the predictor of file format 1; called by unpickling, see `pipeline.predictor.file`."""
    from pipeline.predictor.file import restore

    return restore(digest, header, sections)

"""How many answers of a fitted head change where features come from another engine or precision."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.encoder.certificate import name_of
from pipeline.encoder.pairs import as_read
from pipeline.encoder.tolerance import FLIPPED_SHARE, flips_too_often
from pipeline.errors import ConfigError
from pipeline.heads.head import Features, Head
from pipeline.storage import disk

MOVED = (
    0.1  # of the standard deviation of a regression's numbers: less is no other answer
)


def judge(
    head: Head, certificates: Sequence[Path], pair_encoding: str | None = None
) -> int:
    """Return how many labels flip between the two sets of features in certificates' directories, one a view.

    They are of single texts; for a head of pairs, see `pipeline.encoder.pairs.as_read`. What words say of them is
    left out, as if they had none: so the encoder alone decides.
    """
    reference, features = (
        for_head(
            head,
            [disk.load_array(path / f"{name}.npy") for path in certificates],
            pair_encoding,
        )
        for name in ("reference", "features")
    )
    return count_flips(replace(head, gate=None), reference, features)


def for_head(
    head: Head, views: Sequence[Features], pair_encoding: str | None
) -> Features:
    """Return features of single texts as a head takes them: as pairs if it is of pairs, and with scores of 0 for words.

    Parameters
    ----------
    head : Head
    views : sequence of ndarray of float32, shape (n, d)
        The features of each view.
    pair_encoding : {"separate", "joint"} or None
    """
    read = as_read(np.hstack(views), pair_encoding, len(views))
    nothing = np.zeros((len(read), head.n_terms), dtype=read.dtype)
    return np.hstack([read, nothing])


def count_flips(head: Head, reference: Features, features: Features) -> int:
    """Return how many rows get another answer: another class, another set of labels, or a number `MOVED` further.

    Parameters
    ----------
    head : Head
    reference, features : ndarray of float32, shape (n, d)
        Of the same texts.
    """
    before, now = (head.decide(head.outputs(rows)) for rows in (reference, features))
    if head.task == "regression":
        return int((np.abs(before - now) > MOVED * before.std()).sum())
    return int((before != now).reshape(len(now), -1).any(axis=1).sum())


def check_flips(figures: dict[str, Any], recipe: str) -> None:  # Any: JSON values
    """Refuse features that flip more labels than is allowed.

    Parameters
    ----------
    figures : dict
        A certificate's facts, with ``flips``.
    recipe : str
        Of the features.

    Raises
    ------
    ConfigError
        Names engine, flips and bound; see `pipeline.encoder.tolerance.flips_too_often`.
    """
    flips, n = figures["flips"], figures["n"]
    if flips_too_often(flips, n):
        raise ConfigError(
            f"{recipe} on {name_of(figures)} flips {flips} of {n} labels of this head ({100 * flips / n:.1f} %) "
            f"against float32, clearly more than the {100 * FLIPPED_SHARE:g} % allowed. "
            "Pass --precision float32 --backend torch, or --allow-lossy to take it as it is."
        )

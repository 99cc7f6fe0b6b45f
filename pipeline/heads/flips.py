"""How many labels of a fitted head change where features come from another engine or precision."""

from pathlib import Path
from typing import Any

from pipeline.encoder.certificate import name_of
from pipeline.encoder.tolerance import FLIPPED_SHARE, flips_too_often
from pipeline.errors import ConfigError
from pipeline.heads.head import Features, Head
from pipeline.storage import disk


def judge(head: Head, certificate: Path) -> int:
    """Return how many labels flip between the two sets of features in a certificate's directory."""
    reference, features = (
        disk.load_array(certificate / f"{name}.npy")
        for name in ("reference", "features")
    )
    return count_flips(head, reference, features)


def count_flips(head: Head, reference: Features, features: Features) -> int:
    """Return how many rows get another label.

    Parameters
    ----------
    head : Head
    reference, features : ndarray of float32, shape (n, d)
        Of the same texts.
    """
    before, now = (head.decide(head.outputs(rows)) for rows in (reference, features))
    return int((before != now).sum())


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

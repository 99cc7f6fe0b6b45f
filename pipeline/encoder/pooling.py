"""From hidden states to one vector a text."""

from collections.abc import Callable

import torch
from torch import Tensor


def cls(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the first token's vector: (n, t, d) -> (n, d)."""
    return hidden[:, 0]


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the tokens that are not padding: (n, t, d) -> (n, d)."""
    weights = mask.unsqueeze(-1).to(hidden.dtype)  # (n, t, 1)
    return (hidden * weights).sum(1) / weights.sum(1)


def maximum(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the maximum over the tokens that are not padding: (n, t, d) -> (n, d)."""
    return hidden.masked_fill(~mask.bool().unsqueeze(-1), -torch.inf).amax(1)


POOLINGS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cls": cls,
    "mean": mean,
    "max": maximum,
}

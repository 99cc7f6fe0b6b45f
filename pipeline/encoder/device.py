"""What the engines on torch share: devices, dtypes, and batches that do not fit a device's memory."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import ConfigError, EncoderError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
TORCH = torch.__version__.split("+")[0]

if hasattr(os, "register_at_fork"):
    # a forked child lacks OpenMP's threads, and would wait for them for ever; torch's own data loaders do the same
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def identity_of(
    engine: str, version: str, device: torch.device
) -> dict[str, Any]:  # Any: JSON values
    """Return the identity of an engine on torch, see `pipeline.encoder.engine.Engine`."""
    return {
        "engine": engine,
        "version": version,
        "device": device.type,
        "capabilities": [torch.backends.cpu.get_cpu_capability()],
    }


def choose_device(name: str) -> torch.device:
    """Return the torch device for ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises
    ------
    ConfigError
        If there is no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"--device {name} cannot be used here: {reason}. Pass --device auto."
        ) from error
    return device


def halving(
    run: Callable[..., NDArray[np.float32]], *columns: NDArray[np.int64]
) -> tuple[NDArray[np.float32], int]:
    """Return the features of a batch, and how often it had to be halved to fit the GPU's memory.

    Parameters
    ----------
    run : callable
        Takes the columns, gives float32 (n, d).
    *columns : ndarray of int64, shape (n, t)

    Raises
    ------
    EncoderError
        If one text alone does not fit.
    """
    try:
        return run(*columns), 0
    except torch.OutOfMemoryError as error:
        n, width = columns[0].shape
        if n == 1:
            raise EncoderError(
                f"Out of GPU memory with one text of {width} tokens. Lower --max-length."
            ) from error
    torch.cuda.empty_cache()  # here, as the error held on to the batch
    first, a = halving(run, *(column[: n // 2] for column in columns))
    second, b = halving(run, *(column[n // 2 :] for column in columns))
    return np.concatenate([first, second]), a + b + 1

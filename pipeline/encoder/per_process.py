"""What belongs to one process: made when it is first needed, and made anew in a forked child.

Threads do not survive a fork, and an engine without its threads waits for them for ever; so does a lock that another
thread held. Servers that load a model and then fork their workers (gunicorn's ``--preload``) meet both.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakSet

T = TypeVar("T")
_all: "WeakSet[PerProcess[Any]]" = WeakSet()  # Any: of whatever they hold


class PerProcess(Generic[T]):
    """Holds one value of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._value: T | None = None
        _all.add(self)

    def get(self, make: Callable[[], T]) -> T:
        """Return the value, which `make` makes once; other threads wait for it."""
        with self._lock:
            if self._value is None:
                self._value = make()
            return self._value

    def _forget(self) -> None:
        """Start afresh. The parent's value is never freed: joining the threads that it lost would not end."""
        if self._value is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._value))
        self._lock, self._value = threading.Lock(), None


def _forget_all() -> None:
    for held in list(_all):
        held._forget()


if hasattr(os, "register_at_fork"):  # where there is fork
    os.register_at_fork(after_in_child=_forget_all)

"""Encoders of this process: estimators that use the same one share it."""

import os
import threading
from collections import OrderedDict
from pathlib import Path

from pipeline.config import ComputeSpec, EncoderSpec, fingerprint
from pipeline.encoder.frozen import Encoder, load_source
from pipeline.encoder.identity import EncoderSource

MOST = 2  # a search over encoders must not fill the memory
_loaded: OrderedDict[tuple[object, ...], Encoder] = OrderedDict()
_lock = threading.Lock()


def load_shared(
    source: EncoderSource,
    spec: EncoderSpec,
    compute: ComputeSpec,
    prepared: Path | None = None,
) -> Encoder:
    """Do what `load_source` does, once for the same files and options while the last `MOST` encoders are remembered."""
    # a forked process must not run an engine whose threads stayed in its parent
    key = os.getpid(), source.name, fingerprint(source.key_fields(spec)), compute
    with _lock:
        if key not in _loaded:
            _loaded[key] = load_source(source, spec, compute, prepared)
        _loaded.move_to_end(key)
        while len(_loaded) > MOST:
            _loaded.popitem(last=False)
        return _loaded[key]

"""Encoders of this process: estimators that use the same one share it."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import ComputeSpec, EncoderSpec, fingerprint
from pipeline.encoder.frozen import Encoder, load_source
from pipeline.encoder.identity import EncoderSource
from pipeline.encoder.per_process import PerProcess

MOST = 2  # a search over encoders must not fill the memory


class _Loaded:
    """The encoders that were used last, and the lock under which others are loaded."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.encoders: OrderedDict[tuple[object, ...], Encoder] = OrderedDict()


_loaded: PerProcess[_Loaded] = PerProcess()


def load_shared(
    source: EncoderSource,
    spec: EncoderSpec,
    compute: ComputeSpec,
    prepared: Path | None = None,
    beside: Sequence[EncoderSpec] = (),
) -> Encoder:
    """Do what `load_source` does, once for the same files and options while the last `MOST` encoders are remembered."""
    keys = [fingerprint(source.key_fields(each)) for each in (spec, *beside)]
    key = source.name, *keys, compute
    loaded = _loaded.get(_Loaded)
    with loaded.lock:
        if key not in loaded.encoders:
            loaded.encoders[key] = load_source(source, spec, compute, prepared, beside)
        loaded.encoders.move_to_end(key)
        while len(loaded.encoders) > MOST:
            loaded.encoders.popitem(last=False)
        return loaded.encoders[key]

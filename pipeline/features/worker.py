"""The process that encodes: ``python -m pipeline.features.worker``, started by `pipeline.features.spawn`.

A request comes in as one JSON object on standard input; progress, warnings, the result or an error go out as JSON
lines on standard output. The encoder lives and dies here, and its memory goes back to the machine.
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from pipeline.config import ComputeSpec, EncoderSpec
from pipeline.datasets.table import StoredTexts
from pipeline.encoder.identity import EncoderSource
from pipeline.encoder.pairs import SEPARATE
from pipeline.errors import PipelineError
from pipeline.features.extract import (
    Extraction,
    Progress,
    Stopped,
    extract_missing,
    list_facts,
    together,
)
from pipeline.features.loading import Loader, Place
from pipeline.features.store import FeatureStore
from pipeline.features.texts import BothTexts, Texts
from pipeline.storage import Draft, key_locks, publish_directory

if TYPE_CHECKING:
    from pipeline.encoder.frozen import Encoder

Request = dict[str, Any]  # Any: the JSON written by `spawn.extract`
HALVED = "batches did not fit the GPU's memory and were halved. Pass a lower --batch-tokens to save the time."


class Lines:
    """Writes JSON lines to the parent and stops when there is none any more."""

    def __init__(self, stream: TextIO, parent: int) -> None:
        self._stream, self._parent = stream, parent
        self._has_rows = self._is_stopped = False

    def send(self, **message: object) -> None:
        """Write one line."""
        self._stream.write(json.dumps(message) + "\n")
        self._stream.flush()

    def progress(self, progress: Progress) -> None:
        """Report progress; a stopped worker ends here."""
        self._has_rows = True
        self.check()
        self.send(progress=asdict(progress))

    def check(self) -> None:
        """End an orphan, before it can publish, and stop if SIGTERM came.

        Raises
        ------
        Stopped
            What was encoded is still to be stored.
        """
        if os.getppid() != self._parent:
            sys.exit("the run that asked for these features is gone")
        if self._is_stopped:
            raise Stopped

    def on_sigterm(self, _number: int, _frame: FrameType | None) -> None:
        """Stop after this batch; at once while there is nothing to store."""
        self._is_stopped = True
        if not self._has_rows:
            raise Stopped


@dataclass(frozen=True)
class Asked:
    """A feature list that is asked for, and the row store that it is in.

    Attributes
    ----------
    place : Place
    name, key, key_fields
        Of the list's directory.
    """

    place: Place
    name: str
    key: str
    key_fields: Request

    @classmethod
    def of(cls, asked: Request, root: Path, identity: Request) -> "Asked":
        """Return one of a request's ``views``."""
        place = Place(
            root=root,
            store=Path(asked["folder"]),
            spec=EncoderSpec(**asked["encoder"]),
            identity=identity,
            key=asked["encoder_key"],
            key_fields=asked["encoder_key_fields"],
        )
        return cls(place, asked["name"], asked["key"], asked["key_fields"])


def work(request: Request, lines: Lines) -> dict[str, object]:
    """Encode what is missing, publish the data set's feature list in each view's store, return what was done.

    All views are encoded in one pass, but for int8: its weights depend on the layer and on whether the pooling is
    ``cls``, so each view is a pass of its own, which counts its texts by itself.
    """
    root, identity = Path(request["root"]), request["identity"]
    views = [Asked.of(asked, root, identity) for asked in request["views"]]
    is_alone = views[0].place.spec.precision == "int8"
    done, device = [], None
    for passed in [[view] for view in views] if is_alone else [views]:
        extraction, found = _one_pass(passed, request, lines)
        done.append(extraction)
        device = found or device
    total = together(done)
    return {
        "rows_encoded": total.rows_encoded,
        "rows_reused": total.n - total.rows_encoded,
        "encode_s": round(total.elapsed_s, 3),
        **_rates(total),
        "device": device,
    }


def _one_pass(
    views: Sequence[Asked], request: Request, lines: Lines
) -> tuple[Extraction, str | None]:
    """Fill the views' stores from one encoder; return what was done, and on which device if anything was."""
    began = time.monotonic()
    table = StoredTexts(Path(request["table"]))
    pair_encoding = request["pair_encoding"] if table.are_pairs else None
    texts: Texts = BothTexts(table) if pair_encoding == SEPARATE else table
    places = [view.place for view in views]
    stores = [FeatureStore(place.store, place.root) for place in places]
    spec, root = places[0].spec, places[0].root
    loader = Loader(
        places,
        ComputeSpec(**request["compute"]),
        texts,
        load=_load,
        say=lines.send,
        check=lines.check,
    )
    with key_locks(root, [place.lock for place in places]), ExitStack() as stack:
        drafts = [stack.enter_context(_published(view)) for view in views]
        done = extract_missing(
            texts,
            stores,
            loader.encoder,
            keys_paths=[draft.path / "keys.npy" for draft in drafts],
            feature_dtype=spec.feature_dtype,
            on_progress=lines.progress,
        )
        for warning in done.warnings():
            lines.send(warning=warning)
        n_halved = loader.n_halved
        if n_halved:
            lines.send(warning=f"{n_halved} {HALVED}")
        lines.check()
        loader.certify()
        loader.publish()
        for draft, store in zip(drafts, stores, strict=True):
            keys_path = draft.path / "keys.npy"
            draft.facts.update(list_facts(keys_path, store, spec.max_length))
            store.drop_index()
            if pair_encoding is not None:
                draft.facts["pair_encoding"] = pair_encoding
            draft.facts["elapsed_s"] = round(time.monotonic() - began, 3)
            draft.facts["batches_halved"] = n_halved
            draft.facts["encoding"] = {
                "rows_encoded": done.rows_encoded,
                "peak_mb": _peak_mb(),
                **_rates(done),
            }
        lines.check()
    return done, loader.device


def _published(view: Asked) -> AbstractContextManager[Draft]:
    return publish_directory(
        view.place.store / "datasets" / view.name,
        root=view.place.root,
        stage="ExtractFeatures",
        key=view.key,
        key_fields=view.key_fields,
    )


def _load(
    source: EncoderSource,
    spec: EncoderSpec,
    compute: ComputeSpec,
    prepared: Path | None = None,
    beside: Sequence[EncoderSpec] = (),
) -> "Encoder":
    from pipeline.encoder.frozen import load_source  # only if something is encoded

    return load_source(source, spec, compute, prepared, beside)


def _rates(done: Extraction) -> dict[str, float]:
    """Return how fast the texts went through the encoder; nothing if there were none."""
    if not done.rows_encoded:
        return {}
    return {
        "rows_per_s": round(done.rows_encoded / done.elapsed_s, 1),
        "tokens_per_s": round(done.tokens / done.elapsed_s, 1),
        "padding_share": round(1 - done.tokens / done.padded, 4),
    }


def _peak_mb() -> float | None:
    """Return the most memory that this process held, in 2**20 bytes; None where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError, ValueError):
        return None


def serve(work: Callable[[Request, Lines], dict[str, object]]) -> int:
    """Do the work of one request; return 0, or 1 after an error was sent."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(
        2, 1
    )  # whatever a library prints, native ones too, must not break the lines
    asked = sys.stdin.read()
    if not asked:  # whoever started this was stopped before it could ask
        return 1
    request = json.loads(asked)
    lines = Lines(out, request["parent"])
    signal.signal(signal.SIGTERM, lines.on_sigterm)
    try:
        lines.send(result=work(request, lines))
    except Stopped:
        _end_by_sigterm()
    except PipelineError as error:
        signal.signal(
            signal.SIGTERM, signal.SIG_IGN
        )  # the parent ends us when it has read it
        lines.send(error={"kind": type(error).__name__, "message": str(error)})
        return 1
    return 0


def _end_by_sigterm() -> None:
    """End as any process does that SIGTERM ends, so that its parent sees why."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(serve(work))

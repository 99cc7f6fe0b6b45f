"""The predictor in service: one file that a server loads, whole at every instant.

::

    service/predictor.joblib            in service
    service/predictor.joblib.previous   the one before it
    service/promotions.jsonl            one line a decision, also for those that failed
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigError, PipelineError
from pipeline.storage import disk, file_lock, replace_file, sha256_file
from tasks import ledger

FILE = "predictor.joblib"
LEDGER = "promotions.jsonl"
ENDING = Path(FILE).suffix


@dataclass(frozen=True)
class Service:
    """A place that a server loads its predictor from.

    Attributes
    ----------
    name : Path
        As the user calls it.
    path : Path
        The file itself, which a link leads to.
    """

    name: Path
    path: Path

    @classmethod
    def at(cls, to: Path) -> "Service":
        """Return the place that a user names: a file; or, without its ending, the folder of one."""
        name = to if to.is_file() or to.suffix == ENDING else to / FILE
        return cls(name, name.resolve())

    @property
    def previous(self) -> Path:
        """Return where the predictor before lies."""
        return self.path.with_name(f"{self.path.name}.previous")

    @property
    def ledger(self) -> Path:
        """Return where decisions are written down."""
        return self.path.with_name(LEDGER)

    def digest(self) -> str | None:
        """Return the SHA-256 of what is in service; None if nothing is."""
        return sha256_file(self.path) if self.path.exists() else None

    def install(self, new: Path) -> None:
        """Put a copy of a file into service; what was there becomes the previous one.

        Raises
        ------
        ConfigError
            If the disk refuses.
        """
        with self._disk_errors():
            if self.path.exists():
                replace_file(self.previous, disk.read(self.path))
            replace_file(self.path, disk.read(new))
            disk.sync(self.path.parent)

    def swap(self) -> None:
        """Let what is in service and the previous one change places; ended halfway, both are the previous one.

        Raises
        ------
        ConfigError
            If the disk refuses.
        """
        with self._disk_errors():
            now = disk.read(self.path) if self.path.exists() else None
            replace_file(self.path, disk.read(self.previous))
            if now is not None:
                replace_file(self.previous, now)
            disk.sync(self.path.parent)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(
                f"{self.name} cannot be replaced: {error}. It is as it was, or whole and new. Free space or mend its "
                "permissions, or pass another --to."
            ) from error

    @contextmanager
    def deciding(self) -> Iterator[dict[str, object]]:
        """Keep other processes out while the block runs, then write what it notes to the ledger, also if it fails."""
        note: dict[str, object] = {"file": self.path.name, "decision": "failed"}
        with file_lock(self.path.with_name(f".{self.path.name}.lock")):
            try:
                yield note
            except (PipelineError, OSError) as error:
                note["error"] = str(error)
                raise
            finally:
                ledger.write_line(self.ledger, note)

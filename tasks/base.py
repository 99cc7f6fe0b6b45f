"""The one base of all stages: a keyed directory, built whole or not at all.

Luigi says "the output exists"; a stage says "the output of exactly this input exists". The key covers the stage's
name and schema, its own options and the keys of the stages it reads, so every path is known before anything runs.
"""

import logging
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import luigi
from luigi.task_register import Register

from pipeline.config import fingerprint
from pipeline.errors import CacheError, ConfigError, UnreadableError
from pipeline.storage import (
    Draft,
    check_contents,
    is_complete,
    key_lock,
    keyed_directory,
    publish_directory,
    quarantine,
)
from tasks import ledger

logger = logging.getLogger(__name__)
T = TypeVar("T", bound="Stage")


class _AlwaysNew(Register):
    """Makes a new instance each time: a stage knows the bytes it reads, and those may have changed since the last."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805  # Any: as luigi's
        return type.__call__(cls, *args, **kwargs)


class DirectoryTarget(luigi.Target):
    """A published directory; exists if its manifest has the right key and all files their sizes.

    Parameters
    ----------
    path : Path
    key : str
        64 hex digits.
    """

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key

    def exists(self) -> bool:
        """Tell whether the directory is whole."""
        return is_complete(self.path, self.key)


class CheckedTarget(DirectoryTarget):
    """A small directory whose bytes are shown to people: exists if every byte is as it was written."""

    def exists(self) -> bool:
        """Tell whether the directory is whole, by its digests."""
        try:
            return super().exists() and bool(check_contents(self.path))
        except CacheError:
            return False


class Stage(luigi.Task, metaclass=_AlwaysNew):
    """A step whose result is one directory below ``<artifacts>/<folder>``."""

    artifacts = luigi.Parameter(
        default="artifacts",
        significant=False,
        description="folder for everything written",
    )

    folder: ClassVar[str]
    schema: ClassVar[int] = 1  # raise when the meaning of the stage's output changes

    def __init__(
        self,
        *args: Any,
        family: "dict[type[Stage], Stage] | None" = None,
        maker: "Stage | None" = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # luigi's
        self.maker = maker or self  # what Luigi runs to make this one
        # one instance of each kind, shared by all stages of a job
        self._family = {} if family is None else family
        self._family[type(self)] = self
        if self.root.exists() and not self.root.is_dir():
            raise ConfigError(
                f"--artifacts {self.root} is a file, expected a folder. Pass another."
            )
        _ = self.key  # whatever is wrong with options or inputs is said now, before anything is scheduled

    @property
    def root(self) -> Path:
        """Return the artifacts folder."""
        return Path(self.artifacts)

    @cached_property
    def upstream(self) -> Mapping[str, "Stage"]:
        """Return the stages this one reads, by name."""
        return {}

    @property
    def role(self) -> str:
        """Return the stage's name in the ledger: siblings that do the same for other models share one."""
        return str(self.get_task_family())

    def requires(self) -> Mapping[str, "Stage"]:
        """Return what makes the stages this one reads, for Luigi."""
        return {name: stage.maker for name, stage in self.upstream.items()}

    def stage(self, kind: type[T]) -> T:
        """Return the stage of another kind with the same options."""
        if kind not in self._family:
            kind(family=self._family, **self.options_of(kind))
        return cast("T", self._family[kind])

    def options_of(self, kind: "type[Stage]") -> dict[str, Any]:  # Any: as luigi's
        """Return the options of another kind of stage, as they are here."""
        names = [name for name, _ in kind.get_params()]
        return {name: getattr(self, name) for name in names}

    def identity(self) -> dict[str, object]:
        """Return the stage's own part of the key: the options that change its result."""
        return {}

    @cached_property
    def key_fields(self) -> dict[str, object]:
        """Return everything the key covers."""
        inputs = {name: stage.key for name, stage in self.upstream.items()}
        return {
            "stage": self.get_task_family(),
            "schema": self.schema,
            **self.identity(),
            "inputs": inputs,
        }

    @cached_property
    def key(self) -> str:
        """Return the fingerprint of `key_fields`, 64 hex digits."""
        return fingerprint(self.key_fields)

    @property
    def slug(self) -> str:
        """Return a readable name for the directory; never part of the key."""
        raise NotImplementedError

    @cached_property
    def directory(self) -> Path:
        """Return where the result is or will be: ``<folder>/<slug>-<key12>``, or the same key under an older slug."""
        return keyed_directory(self.root / self.folder, self.slug, self.key)

    @property
    def directories(self) -> list[Path]:
        """Return every directory that later stages read, to be checked before they do."""
        return [self.directory]

    def output(self) -> DirectoryTarget:
        """Return the target, for Luigi."""
        return DirectoryTarget(self.directory, self.key)

    def run(self) -> None:
        """Build the result once, whoever else tries to; note it in the run's journal."""
        began = time.monotonic()
        with key_lock(self.root, self.lock):
            if self.complete():  # another run was quicker
                return
            self.make_way()
            self._check_inputs()
            said, facts = self.produce(began)
        elapsed_s = round(time.monotonic() - began, 2)
        ledger.note(self.root, stage=self.get_task_family(), **facts)
        logger.info("%s: %s (%.1f s)", self.get_task_family(), said, elapsed_s)

    def make_way(self) -> None:
        """Set aside what is whole by its sizes but not by its bytes, or by what it refers to."""
        if is_complete(self.directory, self.key) and not self.complete():
            place = quarantine(self.directory, root=self.root)
            logger.warning("%s is damaged; moved to %s", self.directory, place)

    def produce(self, began: float) -> tuple[str, dict[str, object]]:
        """Publish the directory; return a line for people and facts for the ledger."""
        with publish_directory(
            self.directory,
            root=self.root,
            stage=self.get_task_family(),
            key=self.key,
            key_fields=self.key_fields,
        ) as draft:
            said = self.build(draft)
            draft.facts["elapsed_s"] = round(time.monotonic() - began, 3)
        return said, {}

    def build(self, draft: Draft) -> str:
        """Write the result into ``draft.path``; return a line for people."""
        raise NotImplementedError

    def _check_inputs(self) -> None:
        """Compare every byte of the stages read with their manifests; what is damaged is built again first."""
        for stage in self.upstream.values():
            stage.mend()

    def mend(self) -> None:
        """Move what is damaged to quarantine, and build it again if anything was."""
        self.set_aside()
        if not self.complete():
            self.run()

    def set_aside(self) -> None:
        """Move what is damaged to quarantine."""
        if self._damaged():
            with key_lock(self.root, self.mending_lock):
                for path, error in self._damaged():  # another run may have mended some
                    place = quarantine(path, root=self.root)
                    logger.warning("%s Moved to %s, built again.", error, place)

    @property
    def lock(self) -> str:
        """Return the name of the lock under which the stage is built."""
        return f"{self.folder}-{self.key[:16]}.lock"

    @property
    def mending_lock(self) -> str:
        """Return the name of the lock under which all of `directories` are written."""
        return self.lock

    def _damaged(self) -> list[tuple[Path, CacheError]]:
        found = []
        for path in self.directories:
            try:
                check_contents(path)
            except UnreadableError:
                raise
            except CacheError as error:
                found.append((path, error))
        return found

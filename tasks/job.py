"""The base of whole jobs: a line in the ledger for each run, also of those that had nothing to do or were refused."""

from typing import Any

import luigi

from pipeline.errors import PipelineError
from tasks import ledger, stop
from tasks.base import Stage


class Job(Stage):
    """Stages that end in one result for people, and what is said at the end."""

    folder = "runs"

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: as in luigi
        try:
            super().__init__(*args, **kwargs)
        except PipelineError as error:
            if "artifacts" in self.__dict__:  # else not even that option could be read
                ledger.write_refused(self.root, str(error))
            raise

    def keys(self) -> dict[str, str]:
        """Return the keys of all stages, by their roles."""
        raise NotImplementedError

    def finish(self, status: str) -> None:
        """Write the ledger's line and print what people want to know.

        Parameters
        ----------
        status : {"ok", "noop"}
        """
        raise NotImplementedError

    def run(self) -> None:
        """Close the run: every stage is there."""
        self.finish("ok")


@Job.event_handler(luigi.Event.DEPENDENCY_PRESENT)
def _nothing_to_do(task: Stage) -> None:
    assert isinstance(task, Job)  # registered for it alone
    task.finish("noop")


@Job.event_handler(luigi.Event.DEPENDENCY_DISCOVERED)
def _begin(task: Stage, _dependency: Stage) -> None:
    assert isinstance(task, Job)  # registered for it alone
    if ledger.begin(task, task.root, task.keys()):
        stop.forget()


@Stage.event_handler(luigi.Event.FAILURE)
def _failed(task: Stage, error: BaseException) -> None:
    kind = "" if isinstance(error, PipelineError) else f"{type(error).__name__}: "
    ledger.note_failure(f"{task.get_task_family()}: {kind}{error}")

"""The ``frostbert`` command: what is not a stage. It opens, calls the library and prints."""

import argparse
import sys
from collections.abc import Sequence

import pipeline
from pipeline.errors import PipelineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 after an error or a finding."""
    parser = argparse.ArgumentParser(
        prog="frostbert",
        description="Frozen-transformer classifiers: everything beside the stages. "
        "Train with: luigi --module tasks TrainLogReg",
    )
    parser.add_argument("--version", action="version", version=pipeline.__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, which files are used, and how to do without a hub",
    )
    doctor.set_defaults(run=_doctor)
    explain_run = commands.add_parser(
        "explain-run",
        help="why each stage of TrainLogReg will run or not; takes its options",
        add_help=False,
    )
    explain_run.set_defaults(run=_explain_run)
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not _explain_run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return int(options.run(rest))
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1


def _explain_run(options: Sequence[str]) -> int:
    from luigi.cmdline_parser import CmdlineParser

    import tasks  # noqa: F401  # its defaults come first
    from tasks.explain import explain
    from tasks.train import TrainLogReg

    with CmdlineParser.global_instance(["TrainLogReg", *options]) as parser:
        job = parser.get_task_obj()
    assert isinstance(job, TrainLogReg)  # as named
    print("\n".join(map(str, explain(job))))
    return 0


def _doctor(_: Sequence[str]) -> int:
    from tasks.doctor import examine

    lines, is_healthy = examine()
    print("\n".join(lines))
    return 0 if is_healthy else 1

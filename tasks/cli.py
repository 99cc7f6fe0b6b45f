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
    options = parser.parse_args(arguments)
    try:
        return int(options.run())
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1


def _doctor() -> int:
    from tasks.doctor import examine

    lines, is_healthy = examine()
    print("\n".join(lines))
    return 0 if is_healthy else 1

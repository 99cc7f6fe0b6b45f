"""What can be asked of the ``frostbert`` command: its commands and their options."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pipeline

if TYPE_CHECKING:
    from pipeline.config import ComputeSpec, EncoderSpec


ARTIFACTS = Path("artifacts")  # of the folder, where none is named


def command_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; ``command`` names the one that was given."""
    parser = argparse.ArgumentParser(
        prog="frostbert",
        description="Frozen-transformer classifiers: everything beside the stages. "
        "Train with: luigi --module tasks TrainLogReg",
    )
    parser.add_argument("--version", action="version", version=pipeline.__version__)
    parser.set_defaults(error_status=1)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument(
        "--artifacts", type=Path, default=ARTIFACTS, help="default: artifacts"
    )
    _add_predict(commands)
    _add_promote(commands, folder)
    doctor = commands.add_parser(
        "doctor",
        help="what is installed, which files are used, and how to do without a hub",
    )
    doctor.set_defaults(command="doctor")
    explain_run = commands.add_parser(
        "explain-run",
        help="why each stage of a job will run or not; takes its options, behind its name (TrainLayers, TrainHybrid, "
        "TrainCascade) unless it is TrainLogReg",
        add_help=False,
    )
    explain_run.set_defaults(command="explain-run")
    status = commands.add_parser(
        "status", parents=[folder], help="what exists, how large and old, who uses it"
    )
    status.set_defaults(command="status")
    verify = commands.add_parser(
        "verify",
        parents=[folder],
        help="read every byte again and compare; status 1 on damage",
    )
    verify.add_argument(
        "--recompute",
        type=_whole_number,
        default=0,
        metavar="N",
        help="also encode N random rows of each row store again",
    )
    verify.add_argument("--encoder", help="where the encoder is now, for --recompute")
    verify.set_defaults(command="verify")
    gc = commands.add_parser(
        "gc",
        parents=[folder],
        help="what no run, predictor, report or pin refers to; --yes removes it",
    )
    gc.add_argument("--yes", action="store_true", help="remove; without, only list")
    gc.add_argument(
        "--keep",
        type=_whole_number,
        metavar="N",
        help="keep the N newest runs, the pinned ones and the latest; without: all",
    )
    gc.set_defaults(command="gc")
    for name, what in (
        ("pin", "keep a run, whatever its age"),
        ("unpin", "let gc --keep drop it again"),
    ):
        pin = commands.add_parser(name, parents=[folder], help=what)
        pin.add_argument("name", metavar="RUN", help="a folder of runs/, or latest")
        pin.set_defaults(command=name)
    compare = commands.add_parser(
        "compare",
        parents=[folder],
        help="two runs on the rows that both scored: figures, paired tests, which texts changed side",
    )
    for name, which in (("first", "earlier"), ("second", "later")):
        compare.add_argument(
            name, metavar="RUN", help=f"the {which} one: a folder of runs/, or latest"
        )
    compare.add_argument(
        "--html",
        type=Path,
        default=Path("comparison.html"),
        metavar="FILE",
        help="the page to write (default: comparison.html, here)",
    )
    compare.set_defaults(command="compare")
    look = commands.add_parser(
        "look",
        parents=[folder],
        help="what becomes of a text until it has its label: one page, and its words' contributions",
    )
    look.add_argument("text", metavar="TEXT", help="what to look at; - reads it")
    look.add_argument(
        "--predictor",
        type=Path,
        metavar="PATH",
        help="default: latest/predictor.joblib in the artifacts folder",
    )
    look.add_argument(
        "--out",
        type=Path,
        default=Path("look.html"),
        metavar="FILE",
        help="the page to write (default: look.html, here)",
    )
    look.set_defaults(command="look")
    _add_similar(commands, folder)
    _add_label(commands, folder)
    forget = commands.add_parser(
        "forget",
        parents=[folder],
        help="remove a text and everything made from data that hold it",
    )
    forget.add_argument(
        "text", metavar="TEXT", help="exactly as in the data; - reads it"
    )
    forget.set_defaults(command="forget")
    return parser


# Any: argparse keeps the type to itself
def _add_similar(commands: Any, folder: argparse.ArgumentParser) -> None:
    from pipeline.config import N_SIMILAR

    parser = commands.add_parser(
        "similar",
        parents=[folder],
        help="a run's texts most like those you ask for, or how alike these are to each other",
        description="Print the texts of a run's data set, whatever their split, that are most like each query: the "
        "cosine of their features, the text, its label, split and line. Every text is compared.",
    )
    parser.add_argument(
        "--query",
        nargs="+",
        action="extend",
        required=True,
        metavar="TEXT",
        help="what to compare, also several times; - reads lines from standard input",
    )
    parser.add_argument(
        "--run",
        dest="name",
        default="latest",
        metavar="RUN",
        help="a folder of runs/ (default: %(default)s): its encoder and its data set are used",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--top",
        type=_whole_number,
        default=N_SIMILAR,
        metavar="K",
        help="texts a query; all where there are fewer (default: %(default)s)",
    )
    what.add_argument(
        "--matrix",
        type=Path,
        metavar="FILE",
        help="compare the queries with each other instead: print the cosines, and write a page with a heat map",
    )
    parser.set_defaults(command="similar")


# Any: argparse keeps the type to itself
def _add_label(commands: Any, folder: argparse.ArgumentParser) -> None:
    from pipeline.config import ComputeSpec, EncoderSpec
    from pipeline.datasets.files import ENDINGS

    parser = commands.add_parser(
        "label",
        parents=[folder],
        help="ask for labels of the texts of a file, and tell how good the model is so far",
        description="Show a text, take its label, and choose the next: random ones first, then mostly "
        "ones that the model is unsure about. Every answer is on the disk at once; starting again goes on.",
    )
    parser.add_argument(
        "input",
        type=Path,
        metavar="FILE",
        help=f"the texts ({ENDINGS}); a .txt holds one a line",
    )
    parser.add_argument(
        "--labels",
        default="",
        metavar="A,B",
        help="what may be answered; default: the labels in the file of answers",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="ANSWERS",
        help="the file of answers (default: FILE.labels.jsonl)",
    )
    parser.add_argument(
        "--next",
        type=_natural_number,
        default=0,
        metavar="N",
        dest="n_next",
        help="print the N texts to label next, as JSON lines, and ask nothing",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number,
        default=0,
        help="of what is chosen at random; default: %(default)s",
    )
    _add_reading(parser)
    _add_spec(parser, EncoderSpec)
    _add_spec(parser, ComputeSpec)
    parser.set_defaults(command="label")


def _add_reading(parser: argparse.ArgumentParser) -> None:
    """Add how the columns of a file of texts are found."""
    from pipeline.config import DatasetSpec

    for name, what in (
        (
            "text-column",
            "name or 1-based number; auto: as in training, or the only one",
        ),
        ("separator", "as in training"),
        ("header", "as in training: auto, yes, no"),
    ):
        default = getattr(DatasetSpec, name.replace("-", "_"))
        parser.add_argument(f"--{name}", default=default, help=what)


def _add_spec(
    parser: argparse.ArgumentParser, spec: "type[ComputeSpec] | type[EncoderSpec]"
) -> None:
    """Add the options of a group that tasks have, too."""
    for name in spec.names():
        flag, default = f"--{name.replace('_', '-')}", getattr(spec, name)
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help="as in training")
            continue
        kind = _auto_or_number if name == "batch_tokens" else type(default)
        said = "as in training; default: %(default)s"
        parser.add_argument(flag, type=kind, default=default, help=said)


def _auto_or_number(text: str) -> str | int:
    return text if text == "auto" else _whole_number(text)


def _add_predict(commands: Any) -> None:  # Any: argparse keeps the type to itself
    from pipeline.datasets.files import ENDINGS
    from tasks import predict

    parser = commands.add_parser(
        "predict",
        help="label and probabilities of each text of files or standard input",
        description="Write a row for each text: its number, the label, a probability p_<class> for each class, whether "
        "the text was truncated, and the text. Memory does not grow with the input.",
        epilog="Status: 0 all is done; 1 an error, and no output file is left; 3 the output is complete, but some of "
        "its rows have an error; 130 or 143 after Ctrl-C or SIGTERM, 141 if the reader of standard output went away.",
    )
    parser.add_argument(
        "inputs",
        nargs="*",
        type=Path,
        metavar="INPUT",
        help=f"a file ({ENDINGS}); - or none: standard input, one text a line",
    )
    parser.add_argument(
        "--predictor", type=Path, default=predict.PREDICTOR, help="default: %(default)s"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: standard output"
    )
    parser.add_argument(
        "--format",
        choices=predict.FORMATS,
        help="of the output; default: by the ending of --out, csv on standard output",
    )
    parser.add_argument(
        "--input-format",
        choices=predict.INPUT_FORMATS,
        default="auto",
        help="auto: by the ending; lines on standard input, and in a .txt without --separator and --text-column",
    )
    _add_reading(parser)
    parser.add_argument(
        "--on-error",
        choices=predict.ON_ERROR,
        default="stop",
        help="a row without a text: stop at the first (default); skip: leave it out; report: write it without a label, "
        "what is wrong in the column error, and end with status 3",
    )
    parser.add_argument("--no-text", action="store_true", help="leave the texts out")
    parser.set_defaults(command="predict")


def _add_promote(
    commands: Any,  # Any: argparse keeps the type to itself
    folder: argparse.ArgumentParser,
) -> None:
    from pipeline.config import PromotionSpec
    from tasks import promote

    parser = commands.add_parser(
        "promote",
        parents=[folder],
        help="put a run's predictor into service, if it is shown not to be worse than the one there",
        description="Compare a run's predictor with the one in service on the rows that the run scored. It takes its "
        "place where the lower bound of the one-sided 95 % interval of the difference is above minus the margin.",
        epilog="Status: 0 the run's predictor is in service; 1 it is not, as that is not shown; 40 an error.",
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN",
        help="a folder of runs/, or latest (the default)",
    )
    parser.add_argument(
        "--to",
        type=Path,
        default=promote.SERVICE,
        metavar="PATH",
        help="the file in service, or its folder; default: %(default)s",
    )
    parser.add_argument(
        "--margin",
        type=float,
        default=PromotionSpec.margin,
        metavar="POINTS",
        help="by how much it may be worse, 0: it must be better; default: %(default)s",
    )
    parser.add_argument(
        "--metric",
        choices=PromotionSpec.choices["metric"],
        default=PromotionSpec.metric,
        help="default: %(default)s",
    )
    parser.add_argument(
        "--back",
        action="store_true",
        help="put the predictor before into service again, without a comparison",
    )
    parser.set_defaults(command="promote", error_status=promote.FAILED)


def _natural_number(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)

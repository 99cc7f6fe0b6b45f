"""The ``frostbert`` command: what is not a stage. It opens, calls the library and prints."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pipeline
from pipeline.errors import CacheError, ConfigError, DataError, PipelineError

Options = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 after an error or a finding; `tasks.predict` and `tasks.promote` add some."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.run is not _explain_run:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return int(options.run(options))
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return int(options.error_status)


def _parser() -> argparse.ArgumentParser:
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
        "--artifacts", type=Path, default=Path("artifacts"), help="default: artifacts"
    )
    _add_predict(commands)
    _add_promote(commands, folder)
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
    status = commands.add_parser(
        "status", parents=[folder], help="what exists, how large and old, who uses it"
    )
    status.set_defaults(run=_status)
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
    verify.set_defaults(run=_verify)
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
    gc.set_defaults(run=_gc)
    for name, what in (
        ("pin", "keep a run, whatever its age"),
        ("unpin", "let gc --keep drop it again"),
    ):
        pin = commands.add_parser(name, parents=[folder], help=what)
        pin.add_argument("name", metavar="RUN", help="a folder of runs/, or latest")
        pin.set_defaults(run=_pin if name == "pin" else _unpin)
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
    compare.set_defaults(run=_compare)
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
    look.set_defaults(run=_look)
    _add_similar(commands, folder)
    forget = commands.add_parser(
        "forget",
        parents=[folder],
        help="remove a text and everything made from data that hold it",
    )
    forget.add_argument(
        "text", metavar="TEXT", help="exactly as in the data; - reads it"
    )
    forget.set_defaults(run=_forget)
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
    parser.set_defaults(run=_similar)


def _add_predict(commands: Any) -> None:  # Any: argparse keeps the type to itself
    from pipeline.config import DatasetSpec
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
    parser.add_argument(
        "--on-error",
        choices=predict.ON_ERROR,
        default="stop",
        help="a row without a text: stop at the first (default); skip: leave it out; report: write it without a label, "
        "what is wrong in the column error, and end with status 3",
    )
    parser.add_argument("--no-text", action="store_true", help="leave the texts out")
    parser.set_defaults(run=_predict)


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
    parser.set_defaults(run=_promote, error_status=promote.FAILED)


def _promote(options: Options) -> int:
    from pipeline.config import PromotionSpec
    from tasks.promote import promote, put_back

    if options.back and options.name:
        raise ConfigError(
            f"--back goes without a run, got {options.name}. Leave one of them out."
        )
    if options.back:
        outcome = put_back(options.to)
    else:
        outcome = promote(
            _existing(options.artifacts),
            options.name or "latest",
            options.to,
            PromotionSpec(metric=options.metric, margin=options.margin),
        )
    print("\n".join(outcome.lines))
    return outcome.status


def _predict(options: Options) -> int:
    from pipeline.config import DatasetSpec
    from tasks.predict import STDIN, Order, predict

    order = Order(
        inputs=options.inputs or [STDIN],
        predictor=options.predictor,
        out=options.out,
        format=options.format,
        input_format=options.input_format,
        spec=DatasetSpec(
            text_column=options.text_column,
            separator=options.separator,
            header=options.header,
            max_gb=float("inf"),  # nothing is kept of what passed
        ),
        on_error=options.on_error,
        with_text=not options.no_text,
    )
    return predict(order)


def _whole_number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 0 or more")
    return int(text)


def _doctor(_: Options) -> int:
    from tasks.doctor import examine

    lines, is_healthy = examine()
    print("\n".join(lines))
    return 0 if is_healthy else 1


def _explain_run(options: Options) -> int:
    from luigi.cmdline_parser import CmdlineParser

    import tasks  # noqa: F401  # its defaults come first
    from tasks.explain import explain
    from tasks.train import TrainLogReg

    with CmdlineParser.global_instance(["TrainLogReg", *options.rest]) as parser:
        job = parser.get_task_obj()
    assert isinstance(job, TrainLogReg)  # as named
    print("\n".join(map(str, explain(job))))
    return 0


def _status(options: Options) -> int:
    from tasks.status import status

    print("\n".join(status(_existing(options.artifacts))))
    return 0


def _verify(options: Options) -> int:
    from tasks.inventory import said
    from tasks.verify import recompute, verify

    root = _existing(options.artifacts)
    found = verify(root)
    print("\n".join(found.damage), end="\n" if found.damage else "")
    checked = f"{found.n_directories} directories, {said(found.n_bytes)} read"
    if found.damage:
        n = len(found.damage)
        print(
            f"{checked}: {n} finding{'s'[: n != 1]}. Run the same luigi command again: what is damaged is set aside "
            "and built again."
        )
        return 1
    print(f"{checked}: all as written.")
    if options.recompute:
        for line in recompute(root, options.recompute, options.encoder):
            print(line)
    return 0


def _gc(options: Options) -> int:
    from tasks.clean import find_unused
    from tasks.inventory import said

    root = _existing(options.artifacts)
    found = find_unused(root, keep=options.keep)
    freed = n_kept = 0
    for removal in found:
        note = ""
        if options.yes:
            try:
                removal.apply()
            except (CacheError, OSError) as error:
                n_kept, note = n_kept + 1, f"; not removed: {error}"
        freed += 0 if note else removal.size_bytes
        name = removal.path.relative_to(root)
        print(f"{said(removal.size_bytes):>7}  {name}  {removal.reason}{note}")
    if not found:
        print("Nothing to remove: a report or predictor refers to everything.")
    elif options.yes:
        print(f"{said(freed)} freed.")
    else:
        print(f"{said(freed)} could be freed: frostbert gc --yes")
    return 1 if n_kept else 0


def _pin(options: Options) -> int:
    from tasks.clean import pin

    print(f"pinned {pin(_existing(options.artifacts), options.name)}")
    return 0


def _unpin(options: Options) -> int:
    from tasks.clean import unpin

    unpin(_existing(options.artifacts), options.name)
    return 0


def _compare(options: Options) -> int:
    from pipeline.report.render import comparison_markdown, render_comparison
    from tasks.compare import compare

    found = compare(_existing(options.artifacts), (options.first, options.second))
    print(comparison_markdown(found))
    _write_page(options.html, render_comparison(found), "--html")
    return 0


def _look(options: Options) -> int:
    from pipeline import load_predictor

    root = options.artifacts
    predictor = load_predictor(
        options.predictor or root / "latest" / "predictor.joblib"
    )
    text = _given(options.text)
    artifacts = root if root.is_dir() else None
    explanation = predictor.explain(text, artifacts=artifacts)
    print(explanation)
    _write_page(options.out, predictor.look(explanation), "--out")
    return 0


def _similar(options: Options) -> int:
    from tasks.similar import matrix, similar

    root = _existing(options.artifacts)
    queries = [
        query
        for given in options.query
        for query in (_given("-").split("\n") if given == "-" else [given])
    ]
    if options.matrix is None:
        for line in similar(root, options.name, queries, options.top):
            print(line)
        return 0
    found = matrix(root, options.name, queries)
    page = found.to_html()
    print(found)
    _write_page(options.matrix, page, "--matrix")
    return 0


def _given(text: str) -> str:
    """Return a text, or what stands on standard input instead of a dash.

    Raises
    ------
    DataError
        If that cannot be decoded.
    """
    if text != "-":
        return text
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise DataError(
            f"Standard input is not {error.encoding}: byte 0x{byte:02x}. Convert it, for example: iconv -f latin1 "
            "-t utf-8 FILE."
        ) from error


def _write_page(path: Path, html: str, option: str) -> None:
    """Write a page and tell where.

    Raises
    ------
    ConfigError
        If it cannot be written there.
    """
    from pipeline.storage import replace_file

    try:
        replace_file(path, html.encode())
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}). Pass {option} FILE."
        ) from error
    print(f"page  {path}")


def _forget(options: Options) -> int:
    from tasks.forget import forget
    from tasks.inventory import said

    root = _existing(options.artifacts)
    found = forget(root, _given(options.text))
    for line in found.removed:
        print(f"removed {line}")
    for line in found.traces:
        print(line)
    looked = f"{found.n_files} files, {said(found.n_bytes)} scanned"
    how = (
        ""
        if found.scanned_text
        else " (by its key, features and rows; it is too short to be looked for byte by byte)"
    )
    if not found.removed:
        print("Nothing here held it.")
    if found.traces:
        print(f"{looked}{how}: traces are left, named above.")
        return 1
    print(
        f"{looked}{how}: no trace of it is left. Your own files, and predictors that you copied "
        "elsewhere, are as they were: remove it there, too."
    )
    return 0


def _existing(root: Path) -> Path:
    """Return an artifacts folder.

    Raises
    ------
    CacheError
        If it is not there.
    """
    if not root.is_dir():
        raise CacheError(
            f"No artifacts folder {root} here. Pass --artifacts, or train first: luigi --module tasks TrainLogReg."
        )
    return root

"""The ``frostbert`` command: what is not a stage. It opens, calls the library and prints."""

import argparse
import difflib
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import CacheError, ConfigError, DataError, PipelineError, shown
from tasks.arguments import ARTIFACTS, command_parser

Options = argparse.Namespace

JOBS = ("TrainLogReg", "TrainLayers", "TrainHybrid", "TrainCascade")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return 0, or 1 after an error or a finding; `tasks.predict` and `tasks.promote` add some."""
    parser = command_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command != "explain-run":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return COMMANDS[options.command](options)
    except (PipelineError, OSError) as error:
        print(error, file=sys.stderr)
        return int(options.error_status)


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


def _doctor(_: Options) -> int:
    from tasks.doctor import examine

    lines, is_healthy = examine()
    print("\n".join(lines))
    return 0 if is_healthy else 1


def _explain_run(options: Options) -> int:
    from luigi.cmdline_parser import CmdlineParser

    import tasks  # its defaults come first
    from tasks import ledger
    from tasks.explain import explain
    from tasks.train import TrainLogReg

    words = options.rest
    if not words or words[0].startswith("-"):
        words = [JOBS[0], *words]
    if words[0] not in JOBS:
        raise _no_job(words[0], tasks.__all__)
    with ledger.asking(), CmdlineParser.global_instance(words) as parser:
        job = parser.get_task_obj()
    assert isinstance(job, TrainLogReg)  # as named
    print("\n".join(map(str, explain(job))))
    return 0


def _no_job(name: str, known: Sequence[str]) -> ConfigError:
    """Return what is wrong with a name that is none of `JOBS`."""
    jobs = f"explain-run knows the jobs {', '.join(JOBS)}"
    if name in known:
        return ConfigError(f"{jobs}, not {name}. Name one of them, or run it.")
    near = difflib.get_close_matches(name, JOBS, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    return ConfigError(
        f"{shown(name)} is no job: {jobs}. {hint}Name one of them, and behind it its options."
    )


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
            f"{checked}: {n} finding{'s'[: n != 1]}. Move away what is named, and run the same luigi command again: "
            "it is made again."
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
        words = ["frostbert", "gc"]
        words += [] if options.keep is None else ["--keep", str(options.keep)]
        words += [] if root == ARTIFACTS else ["--artifacts", str(root)]
        print(f"{said(freed)} could be freed: {shlex.join([*words, '--yes'])}")
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
    if predictor.task != "classification":
        print(
            f"no page: it shows one class being chosen, which {predictor.task} does not"
        )
        return 0
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


def _label(options: Options) -> int:
    from pipeline.config import ComputeSpec, DatasetSpec, EncoderSpec
    from tasks.label import Order, label

    encoder, compute = (
        {name: getattr(options, name) for name in spec.names()}
        for spec in (EncoderSpec, ComputeSpec)
    )
    order = Order(
        path=options.input,
        out=options.out,
        labels=tuple(options.labels.split(",")) if options.labels else (),
        n_next=options.n_next,
        seed=options.seed,
        root=options.artifacts,
        data=DatasetSpec(
            text_column=options.text_column,
            separator=options.separator,
            header=options.header,
        ),
        encoder=EncoderSpec(**encoder),
        compute=ComputeSpec(**compute),
    )
    return label(order)


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
        f"{looked}{how}: no trace of it is left. Your own files, predictors that you copied or "
        "promoted, and pages that you saved are as they were: remove it there, too."
    )
    return 0


def _existing(root: Path) -> Path:
    """Return an artifacts folder.

    Raises
    ------
    CacheError
        If it is not there, or a file.
    """
    if root.exists() and not root.is_dir():
        raise CacheError(
            f"--artifacts {root} is a file, expected a folder. Pass another."
        )
    if not root.is_dir():
        raise CacheError(
            f"No artifacts folder {root} here. Pass --artifacts, or train first: luigi --module tasks TrainLogReg."
        )
    return root


COMMANDS = {
    "promote": _promote,
    "predict": _predict,
    "doctor": _doctor,
    "explain-run": _explain_run,
    "status": _status,
    "verify": _verify,
    "gc": _gc,
    "pin": _pin,
    "unpin": _unpin,
    "compare": _compare,
    "look": _look,
    "similar": _similar,
    "label": _label,
    "forget": _forget,
}

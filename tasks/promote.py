"""``frostbert promote``: a run's predictor goes into service where it is shown not to be worse than the one there."""

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.config import PromotionSpec
from pipeline.errors import CacheError, ConfigError, DataError, shown
from pipeline.storage import check_contents, disk
from tasks import console
from tasks.compare import read_report, result_of, run_report
from tasks.inventory import Inventory, Item
from tasks.service import FILE, Service

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.evaluation.metrics import Scored
    from pipeline.evaluation.noninferiority import NonInferiority
    from pipeline.features.keys import Keys
    from pipeline.predictor.predictor import Predictor
    from pipeline.report.compare import RunReport
    from pipeline.report.scored import ScoredRows

logger = logging.getLogger(__name__)
SERVICE = Path("service") / FILE
NOT_PROMOTED = 1
FAILED = 40  # nothing could be decided: as after a wrong option of the stages


@dataclass(frozen=True)
class Outcome:
    """What was decided.

    Attributes
    ----------
    decision : {"first", "unchanged", "promoted", "refused", "back"}
    lines : list of str
        The same for people, with the reasons.
    """

    decision: str
    lines: list[str]

    @property
    def status(self) -> int:
        """Return what the command ends with."""
        return NOT_PROMOTED if self.decision == "refused" else 0


def promote(root: Path, run: str, to: Path, spec: PromotionSpec) -> Outcome:
    """Put a run's predictor into service if nothing is there, or if it is shown not to be worse.

    Both are compared on the rows that the run scored, which the new one was not fitted on. Where the one in service
    was fitted on some of them, that favours it.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    run : str
        A folder of ``runs``, or ``latest``.
    to : Path
        The file in service, or its folder.
    spec : PromotionSpec

    Raises
    ------
    ConfigError
        If there is no such run, or `to` is among the artifacts or cannot be written.
    CacheError
        If something of the run is gone or damaged.
    ArtifactError
        If one of the predictors is damaged, or the new one does not compute what it did in training.
    DataError
        If they do not have the same classes.
    """
    console.install()
    service = Service.at(to)
    if service.path.is_relative_to(root.resolve()):
        raise ConfigError(
            f"--to {to} leads into the artifacts folder {root}, whose files never change. Pass a place of your own, "
            f"such as {SERVICE}."
        )
    inventory = Inventory(root)
    folder, results = inventory.run(run)
    name = folder.name
    new = result_of(name, results, "predictors")
    with service.deciding() as note:
        note |= {"run": name, "keys": {item.kind: item.key for item in results}}
        digest = check_contents(new.path)["files"][FILE]["sha256"]
        before = service.digest()
        note |= {"sha256": digest, "before": before}
        _check(new.path / FILE)
        if before is None:
            outcome = Outcome(
                "first",
                [f"Nothing was in service: run {name} is now, as {service.name}."],
            )
        elif before == digest:
            outcome = Outcome(
                "unchanged", [f"Run {name} is in service already, as {service.name}."]
            )
        else:
            outcome = _judge(inventory, name, service, spec, note)
        if outcome.decision in {"first", "promoted"}:
            service.install(new.path / FILE)
        note["decision"] = outcome.decision
    return outcome


def put_back(to: Path) -> Outcome:
    """Put the predictor before into service again, and the one there in its place.

    Raises
    ------
    ConfigError
        If there is none, or it cannot be written.
    ArtifactError
        If it is damaged, or does not compute what it did in training.
    """
    console.install()
    service = Service.at(to)
    if not service.previous.exists():
        raise ConfigError(
            f"There is no {service.previous.name} beside {service.name}: nothing was replaced there yet. Pass --to."
        )
    with service.deciding() as note:
        _check(service.previous)
        note["before"] = service.digest()
        service.swap()
        note |= {"sha256": service.digest(), "decision": "back"}
    said = f"The predictor before is in service again, as {service.name}; --back once more undoes it."
    return Outcome("back", [said])


def _check(path: Path) -> None:
    """Make sure that a predictor is whole and computes here what it did in training."""
    from pipeline.predictor.file import load_predictor

    load_predictor(path).self_check()


def _judge(
    inventory: Inventory,
    name: str,
    service: Service,
    spec: PromotionSpec,
    note: dict[str, object],
) -> Outcome:
    """Compare a run with what is in service."""
    from pipeline.evaluation.noninferiority import non_inferiority
    from pipeline.predictor.file import load_predictor

    run = run_report(inventory, name)
    new = _classes_scored(run)
    old = load_predictor(service.path)
    _check_kind(run, old)
    _check_abstention(run, old)
    _check_classes(run.rows.classes, old.classes_.tolist())
    item = _of_digest(inventory, str(note["before"]))
    found = non_inferiority(
        new,
        _answers(inventory, item, old, run),
        margin=spec.margin / 100,
        metric=spec.metric,
        clusters=run.rows.clusters,
    )
    n_seen = None if item is None else _n_seen(inventory, item, run.rows.keys)
    note |= {
        "comparison": {
            **asdict(found),
            "difference": found.difference,
            "n_needed": found.n_needed,
            "n_seen_by_old": n_seen,
        }
    }
    if found.is_shown:
        first = f"Promoted: run {name} is in service, as {service.name}; the one before is kept for --back."
    else:
        first = f"Not promoted: run {name} is not shown to be {_claim(spec.margin)} than {service.name}."
    return Outcome(
        "promoted" if found.is_shown else "refused",
        [first, *_reasons(found), _said_seen(n_seen, found.n)],
    )


def _classes_scored(run: "RunReport") -> "Scored":
    """Return what a run answers, which must be one class a row.

    Raises
    ------
    DataError
        If it is not.
    """
    from pipeline.evaluation.metrics import Scored

    if isinstance(run.rows.scored, Scored):
        return run.rows.scored
    are_numbers = run.report["head"]["task"] == "regression"
    what = "numbers" if are_numbers else "several labels a row"
    raise DataError(
        f"Run {run.name} answers with {what}, and only one class a row can be judged here. Compare the runs (frostbert "
        "compare), then move the predictor in service away, after which any is put there."
    )


def _check_kind(run: "RunReport", old: "Predictor") -> None:
    """Make sure that both predictors answer the same kind of question.

    Raises
    ------
    DataError
        If they do not.
    """
    new = (
        run.report["head"].get("task", "classification"),
        run.report["encoder"].get("pair_encoding") is not None,
    )
    if new != (old.task, old.pair_encoding is not None):
        said = [
            f"a {task} of {'pairs' if are_pairs else 'texts'}"
            for task, are_pairs in (new, (old.task, old.pair_encoding is not None))
        ]
        raise DataError(
            f"Run {run.name} is {said[0]}, the predictor in service {said[1]}. Move that one away, after which any is "
            "put there."
        )


def _check_abstention(run: "RunReport", old: "Predictor") -> None:
    """Make sure that both predictors answer every row: what one leaves out, accuracy does not see.

    Raises
    ------
    DataError
        If one of them abstains.
    """
    decision = run.report.get("decision") or {}
    which = [
        name
        for name, abstains in (
            (f"run {run.name}", decision.get("abstention") is not None),
            ("the predictor in service", old.abstains),
        )
        if abstains
    ]
    if which:
        raise DataError(
            f"Answers are withheld by {' and '.join(which)} (--max-error), and accuracy does not see that. Compare the "
            "runs (frostbert compare), then move the predictor in service away, after which any is put there."
        )


def _check_classes(new: list[Any], old: list[Any]) -> None:  # Any: str or int labels
    if set(new) == set(old):
        return
    sides = [
        f"only the {which} has {', '.join(shown(x) for x in classes if x not in other)}"
        for which, classes, other in (
            ("new one", new, old),
            ("one in service", old, new),
        )
        if set(classes) - set(other)
    ]
    raise DataError(
        f"The classes of the predictors differ: {'; '.join(sides)}. Train with the same labels, or move the one in "
        "service away, after which any is put there."
    )


def _of_digest(inventory: Inventory, digest: str) -> Item | None:
    """Return the predictor of the artifacts with these bytes."""
    for item in inventory.of("predictors"):
        if item.manifest and item.manifest["files"][FILE]["sha256"] == digest:
            return item
    return None


def _answers(
    inventory: Inventory, item: Item | None, old: "Predictor", run: "RunReport"
) -> "Scored":
    """Return what the predictor in service answers to a run's scored rows: as its own run noted it, else now."""
    import numpy as np

    from pipeline.evaluation.metrics import Scored

    proba = None if item is None else _noted(inventory, item, run.rows)
    if proba is None:
        logger.info(
            "The predictor in service labels %s rows.", f"{len(run.rows.rows):,}"
        )
        proba = old.predict_proba(_texts(run))
    columns = [old.classes_.tolist().index(label) for label in run.rows.classes]
    said = [run.rows.classes.index(label) for label in old.decide(proba).tolist()]
    answers = np.array(said, dtype=np.int64)
    return Scored(_classes_scored(run).y, proba[:, columns], answers)


def _noted(
    inventory: Inventory, item: Item, rows: "ScoredRows"
) -> "NDArray[np.float64] | None":
    """Return the probabilities that the run of a predictor noted for some rows; None unless it scored them all."""
    from pipeline.report.compare import paired_rows

    for report in inventory.reach([item.key or ""]):
        if report.kind == "reports":
            with suppress(CacheError):  # it is gone, or older: nothing is noted
                _, theirs = read_report(item.path.name, report)
                in_ours, in_theirs = paired_rows(rows, theirs)
                if len(in_ours) == len(rows.keys):
                    return theirs.scored.outputs[in_theirs]
    return None


def _texts(run: "RunReport") -> Iterator[str]:
    """Yield the texts of a run's scored rows; in memory is one block.

    Raises
    ------
    CacheError
        If they are gone.
    """
    import numpy as np

    if run.table is None:
        raise CacheError(
            f"The texts of run {run.name} are gone, which the predictor in service has to label. Run its command again."
        )
    is_scored = np.zeros(len(run.table), dtype=bool)
    is_scored[run.rows.rows] = True
    for begin, texts in run.table.blocks(is_scored):
        yield from compress(texts, is_scored[begin : begin + len(texts)])


def _n_seen(inventory: Inventory, item: Item, keys: "Keys") -> int | None:
    """Return how many of some texts a predictor was fitted on; None where that is not left in the artifacts."""
    import numpy as np

    from pipeline.features.stored import keys_of_rows

    paths = {below.kind: below.path for below in inventory.reach([item.key or ""])}
    try:
        fit = disk.load_array(paths["splits"] / "fit.npy")
        texts = keys_of_rows(paths["features"])
        return int(np.isin(keys, texts[fit]).sum())
    except (KeyError, IndexError, OSError, ValueError):
        return None


def _claim(margin: float) -> str:
    """Return what is to be shown of the new predictor."""
    points = f"{margin:g} point{'s'[: margin != 1]}"
    return f"at most {points} worse" if margin else "better"


def _reasons(found: "NonInferiority") -> list[str]:
    """Return the figures in a sentence, and where they do not suffice what would."""
    from pipeline.report.words import NAMES, counted

    groups = "" if found.n_clusters == found.n else f" in {found.n_clusters:,} clusters"
    lines = [
        f"{NAMES[found.metric]} {found.new:.3f}, in service {found.old:.3f}, on {counted(found.n, 'row')}{groups}: "
        f"difference {100 * found.difference:+z.2f} points, lower bound {100 * found.lower:+z.2f} (one-sided 95 %), "
        f"which must be above {-100 * found.margin:z.2f}."
    ]
    if not found.is_shown and found.n_needed is None:
        lines.append(
            "More rows would hardly show it: the difference itself is not above that."
        )
    elif not found.is_shown:
        n = float(f"{found.n_needed:.2g}")  # it is an estimate
        lines.append(
            f"If the difference is what it looks like, {n:,.0f} rows would show it four times out of five."
        )
    return lines


def _said_seen(n: int | None, of: int) -> str:
    if n is None:
        return (
            "How many of these rows the one in service was fitted on cannot be known, as its run is not in the "
            "artifacts; each would favour it."
        )
    if n == 0:
        return f"The one in service was fitted on none of these {of:,} rows."
    return f"The one in service was fitted on {n:,} of these {of:,} rows, which favours it."

"""``frostbert compare``: two finished runs side by side, and the earlier run that a report names."""

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import CacheError
from pipeline.storage import check_contents, disk
from tasks import ledger
from tasks.inventory import Inventory, Item

if TYPE_CHECKING:
    from pipeline.report.compare import RunReport
    from pipeline.report.scored import ScoredRows

Json = dict[str, Any]  # Any: JSON values


def compare(root: Path, names: tuple[str, str]) -> Json:
    """Return how two runs differ, as `pipeline.report.compare.compare_reports` does.

    Parameters
    ----------
    root : Path
        The artifacts folder.
    names : tuple of two str
        Folders of ``runs``, or ``latest``.

    Raises
    ------
    ConfigError
        If there is no such run.
    CacheError
        If its report is gone, damaged, or of an earlier version.
    """
    from pipeline.report.compare import compare_reports

    inventory = Inventory(root)
    a, b = (run_report(inventory, name) for name in names)
    return compare_reports(a, b)


def run_report(inventory: Inventory, name: str) -> "RunReport":
    """Return a finished run; raises as `compare`."""
    from pipeline.datasets.table import StoredTexts
    from pipeline.report.compare import RunReport

    path, items = inventory.run(name)
    item = result_of(path.name, items, "reports")
    report, rows = read_report(path.name, item)
    data = _dataset(inventory, item)
    return RunReport(
        name=path.name,
        when=_when(inventory.root, item.key),
        report=report,
        rows=rows,
        table=None if data is None else StoredTexts(data),
    )


def result_of(run: str, items: list[Item], kind: str) -> Item:
    """Return the report or the predictor among the items of a run.

    Raises
    ------
    CacheError
        If it is gone.
    """
    for item in items:
        if item.kind == kind and item.manifest is not None:
            return item
    raise CacheError(
        f"The {kind.removesuffix('s')} of run {run} is gone. Run its command again."
    )


def read_report(run: str, item: Item) -> tuple[Json, "ScoredRows"]:
    """Return the report of a run and its scored rows, after comparing every byte.

    Raises
    ------
    CacheError
        If it is damaged, or of an earlier version.
    """
    from pipeline.report.scored import load_scored

    manifest = check_contents(item.path)
    report = json.loads(disk.read(item.path / "report.json"))
    if "scored.npy" not in manifest["files"]:
        raise CacheError(
            f"The report of run {run} is of an earlier version, without the scored rows. Run its command again."
        )
    return report, load_scored(item.path, report["classes"])


def _dataset(inventory: Inventory, report: Item) -> Path | None:
    """Return the data set that a report was made from, if it is whole."""
    fields = report.manifest["key_fields"]["inputs"] if report.manifest else {}
    for item in inventory.of("datasets"):
        if item.key == fields.get("dataset"):
            with suppress(CacheError):
                check_contents(item.path)
                return item.path
    return None


def _when(root: Path, key: str | None) -> str | None:
    """Return when a run that ends in the report of this key last ended."""
    for entry in reversed(ledger.entries(root)):
        keys = entry.get("keys")
        if isinstance(keys, dict) and keys.get("EvaluateModel") == key:
            return str(entry.get("when"))
    return None

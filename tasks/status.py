"""``frostbert status``: what exists, how large and how old it is, and who uses it."""

from collections.abc import Iterator
from pathlib import Path

from tasks import ledger
from tasks.inventory import PARTS, Inventory, Item, said, size_of

N_NAMED = 2  # runs named a line


def status(root: Path) -> Iterator[str]:
    """Yield the lines."""
    inventory = Inventory(root)
    users = inventory.users()
    latest = inventory.latest()
    yield f"{'what':<11} {'size':>7} {'age':>7}  {'name':<40}  used by"
    for item in inventory.items:
        if item.kind not in {"features", *PARTS}:
            yield _line(item.kind, item, _runs(users.get(item.path, []), latest))
    for store in inventory.stores():
        yield from _store(inventory, store, users, latest)
    yield from _runs_lines(inventory, latest)
    for name, what in (("quarantine", "damaged, kept to look at"), ("tmp", "drafts")):
        places = list((root / name).iterdir()) if (root / name).is_dir() else []
        if places:
            size = said(size_of(root / name))
            yield f"{name:<11} {size:>7} {'':>7}  {len(places)} {what}; frostbert gc removes what is left over"
    yield f"{'all':<11} {said(size_of(root) if root.is_dir() else 0):>7}"


def _line(kind: str, item: Item, users: str) -> str:
    name = item.path.name + ("" if item.manifest else " (unreadable manifest)")
    return f"{kind:<11} {said(item.size_bytes):>7} {_age(item.age_s):>7}  {name:<40}  {users}"


def _store(
    inventory: Inventory,
    store: Path,
    users: dict[Path, list[str]],
    latest: str | None,
) -> Iterator[str]:
    parts = [item for item in inventory.of("features", *PARTS) if item.store == store]
    shards = [item for item in parts if item.kind == "shards"]
    n_measured = sum(item.kind == "certificates" for item in parts)
    rows = sum(item.manifest["facts"]["rows"] for item in shards if item.manifest)
    age_s = min((item.age_s for item in parts), default=0.0)
    name = (
        f"{store.name}: {rows:,} rows in {len(shards)} shard{'s'[: len(shards) != 1]}, {n_measured} "
        f"certificate{'s'[: n_measured != 1]}"
    )
    used = [run for item in parts for run in users.get(item.path, [])]
    runs = _runs(list(dict.fromkeys(used)), latest)
    yield f"{'features':<11} {said(size_of(store)):>7} {_age(age_s):>7}  {name:<40}  {runs}"


def _runs(names: list[str], latest: str | None) -> str:
    if not names:
        return "no run"
    newest = names[::-1]
    marked = [
        f"{name} (latest)" if name == latest else name for name in newest[:N_NAMED]
    ]
    more = [f"{len(names) - N_NAMED} more"] if len(names) > N_NAMED else []
    return ", ".join([*marked, *more])


def _runs_lines(inventory: Inventory, latest: str | None) -> Iterator[str]:
    pins = inventory.pins()
    runs = inventory.runs()
    for run, shown in runs.items():
        notes = [
            note
            for note, holds in (
                ("latest", run.name == latest),
                ("pinned", run.name in pins),
                ("its report or predictor is gone", len(shown) < 2),
            )
            if holds
        ]
        age = _age(min((item.age_s for item in shown), default=0.0))
        yield f"{'run':<11} {'':>7} {age:>7}  {run.name:<40}  {', '.join(notes)}".rstrip()
    n = len(ledger.entries(inventory.root))
    yield f"{'ledger':<11} {'':>7} {'':>7}  {n} line{'s'[: n != 1]} in {ledger.LEDGER}"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

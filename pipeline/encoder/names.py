"""The encoder that a name was perhaps meant to be."""

import difflib
from pathlib import Path

from pipeline import hub
from pipeline.encoder import pins


def did_you_mean(name: str) -> str:
    """Return a question with the nearest alias, cached repository or neighbouring folder; empty if none is near."""
    path = Path(name).expanduser()
    repos = hub.cached_repositories("model")
    known = {repo.rpartition("/")[2]: repo for repo in repos}
    known |= {
        known_name: known_name for known_name in ("minilm", *pins.ALIASES, *repos)
    }
    if path.parent.is_dir():
        known |= {
            near.name: str(path.parent / near.name)
            for near in path.parent.iterdir()
            if near.is_dir()
        }
    lowered = {known_name.lower(): known_name for known_name in known}
    for wanted in (name.lower(), path.name.lower()):
        if near := difflib.get_close_matches(wanted, lowered, n=1):
            return f"Did you mean {known[lowered[near[0]]]!r}? "
    return ""

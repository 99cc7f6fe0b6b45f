"""The model hub: what is in the local cache, and fetching what is not.

The cache is read directly (its layout is documented by huggingface_hub), so that finding a commit or a
folder imports nothing and opens no connection. Fetching is huggingface_hub's own work: ``HF_ENDPOINT``,
``HF_TOKEN``, ``HF_HUB_CACHE``, ``HF_HOME`` and ``HF_HUB_OFFLINE`` mean what they mean there.
"""

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import HubError, shown
from pipeline.storage import replace_file

Kind = Literal["model", "dataset"]
COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"\w[\w./-]{0,199}")
ANSWER_WITHIN_S = 10  # of the one question asked before any download

ROUTES = (
    "Ways without it: a mirror (HF_ENDPOINT=https://…), a local folder or file (--dataset PATH, --encoder FOLDER), "
    "or the sample with the offline encoder.\n"
    "Works here and now: luigi --module tasks TrainLogReg --dataset sample --encoder minilm --pooling mean"
)


def cache_dir() -> Path:
    """Return the hub cache folder, as huggingface_hub finds it."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.environ[variable]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface" / "hub"


def is_offline() -> bool:
    """Tell whether ``HF_HUB_OFFLINE`` (or transformers' own switch) forbids connections."""
    value = (
        os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    )
    return value.upper() in {"1", "ON", "YES", "TRUE"}


def _repo_dir(kind: Kind, repo_id: str) -> Path:
    return cache_dir() / f"{kind}s--{repo_id.replace('/', '--')}"


def cached_snapshot(kind: Kind, repo_id: str, commit: str) -> Path | None:
    """Return the cached folder of one commit, or None. Not every file need be there."""
    folder = _repo_dir(kind, repo_id) / "snapshots" / commit
    return folder if folder.is_dir() else None


def cached_repositories(kind: Kind) -> list[str]:
    """Return the ids of the repositories in the cache, sorted; whatever of them is there."""
    prefix = f"{kind}s--"
    return sorted(
        path.name.removeprefix(prefix).replace("--", "/")
        for path in cache_dir().glob(prefix + "*")
    )


def resolve_commit(kind: Kind, repo_id: str, revision: str) -> str:
    """Return the 40-hex commit that `revision` names.

    A commit is itself; a branch or tag is read from the cache's refs, else the hub is asked once.

    Raises
    ------
    HubError
        If it is not in the cache and the hub does not answer.
    """
    if COMMIT.fullmatch(revision):
        return revision
    if not REVISION.fullmatch(revision) or ".." in revision:
        raise HubError(
            f"Revision {shown(revision)} of {kind} {repo_id} is not a commit, branch or tag. Pass one, such as main."
        )
    with suppress(OSError, UnicodeDecodeError):  # no such ref, or not one of the hub's
        reference = _repo_dir(kind, repo_id) / "refs" / revision
        commit = reference.read_text(encoding="ascii").strip()
        if COMMIT.fullmatch(commit):
            return commit
    commit = _ask(kind, repo_id, revision)
    if not COMMIT.fullmatch(commit):
        raise HubError(
            f"The hub named {commit!r} as the commit of {kind} {repo_id}, expected 40 hex digits.\n{ROUTES}"
        )
    with suppress(
        OSError
    ):  # so that the next run needs no hub; a read-only cache asks again
        reference = _repo_dir(kind, repo_id) / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        replace_file(reference, commit.encode())
    return commit


def fetch_snapshot(
    kind: Kind, repo_id: str, commit: str, patterns: Sequence[str] | None = None
) -> Path:
    """Return a folder with the files of one commit, downloading those that are missing.

    Parameters
    ----------
    kind, repo_id, commit
        What to fetch.
    patterns : sequence of str, optional
        Only files that match one of these; None takes all.

    Raises
    ------
    HubError
        If something is missing and the hub cannot be reached or refuses.
    """
    _ask(
        kind, repo_id, commit
    )  # fails within seconds, where a download would try again and again
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            repo_id,
            repo_type=kind,
            revision=commit,
            allow_patterns=list(patterns) if patterns else None,
        )
    except Exception as error:  # the library's own errors, httpx's and the disk's
        raise unreachable(kind, repo_id, commit, error) from error
    return Path(folder)


def file_sizes(kind: Kind, repo_id: str, commit: str) -> dict[str, int]:
    """Return the size in bytes of each file of a commit, as the hub tells it.

    Raises
    ------
    HubError
        If the hub does not answer.
    """
    info = _info(kind, repo_id, commit, files_metadata=True)
    return {file.rfilename: int(file.size or 0) for file in info.siblings or []}


def _ask(kind: Kind, repo_id: str, revision: str) -> str:
    """Return the commit of a revision, as the hub tells it."""
    return str(_info(kind, repo_id, revision).sha)


def _info(
    kind: Kind, repo_id: str, revision: str, *, files_metadata: bool = False
) -> Any:  # Any: the library's model or data set info
    """Ask the hub about a revision, once, for at most `ANSWER_WITHIN_S` seconds."""
    if is_offline():
        raise unreachable(
            kind, repo_id, revision, "not in the local cache, and HF_HUB_OFFLINE is set"
        )
    from huggingface_hub import HfApi

    try:
        return HfApi().repo_info(
            repo_id,
            repo_type=kind,
            revision=revision,
            timeout=ANSWER_WITHIN_S,
            files_metadata=files_metadata,
        )
    except Exception as error:  # the library's own errors and httpx's
        raise unreachable(kind, repo_id, revision, error) from error


def unreachable(kind: Kind, repo_id: str, revision: str, reason: object) -> HubError:
    """Return the error for something that cannot be fetched: what, the other routes, a command that works."""
    name = "encoder" if kind == "model" else "data set"
    also = ", and no folder of that name is here" if kind == "model" else ""
    why = _refusal(reason) or (str(reason).strip().splitlines() or ["no answer"])[0]
    return HubError(
        f"Could not fetch {name} {repo_id} ({revision[:12]}) from the hub{also}: {why}\n{ROUTES}"
    )


def _refusal(reason: object) -> str | None:
    """Return what an answer of the hub means and what to do about it; None if it is no such answer."""
    if not isinstance(reason, Exception):
        return None
    from huggingface_hub import errors

    with_token = "set HF_TOKEN to a token that may read it"
    if isinstance(reason, errors.GatedRepoError):
        return f"it is gated. Ask for access on its page and {with_token}"
    if isinstance(reason, errors.RevisionNotFoundError):
        return "there is no such revision. Pass another --revision, or none"
    if isinstance(reason, errors.RepositoryNotFoundError):
        return f"there is no such repository, or it is private. Check the spelling, or {with_token}"
    status = getattr(getattr(reason, "response", None), "status_code", None)
    if status in {401, 403}:
        return f"the hub refused ({status}): {with_token}"
    return None

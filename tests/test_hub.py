import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline import hub
from pipeline.errors import HubError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"
VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME")


@pytest.fixture
def no_variables(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty hub cache."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


def add_reference(cache, repo_folder, name, commit):
    path = cache / repo_folder / "refs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(commit, encoding="ascii")


def serve(answer):
    """Start a hub on this machine that answers everything with `answer`; return it and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, asked


def online(endpoint, cache):
    return {
        "HF_HUB_OFFLINE": "",
        "TRANSFORMERS_OFFLINE": "",
        "HF_ENDPOINT": endpoint,
        "HF_HUB_CACHE": str(cache),
        "NO_PROXY": "127.0.0.1",
    }


ASK = """
from pipeline import hub
from pipeline.errors import HubError
try:
    print(hub.resolve_commit("model", "me/tiny", "main"))
except HubError as error:
    print(error)
"""


def test_cache_dir_is_in_the_home_folder_by_default(no_variables, monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")

    assert hub.cache_dir() == Path("/home/somebody/.cache/huggingface/hub")


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("HF_HUB_CACHE", "/x"),
        ("HUGGINGFACE_HUB_CACHE", "/x"),
        ("HF_HOME", "/x/hub"),
        ("XDG_CACHE_HOME", "/x/huggingface/hub"),
    ],
)
def test_cache_dir_follows_each_variable(no_variables, monkeypatch, name, folder):
    monkeypatch.setenv(name, "/x")

    assert hub.cache_dir() == Path(folder)


@pytest.mark.parametrize(
    ("names", "folder"),
    [
        (VARIABLES, "/HF_HUB_CACHE"),
        (VARIABLES[1:], "/HUGGINGFACE_HUB_CACHE"),
        (VARIABLES[2:], "/HF_HOME/hub"),
    ],
)
def test_cache_dir_takes_the_most_particular_variable(
    no_variables, monkeypatch, names, folder
):
    for name in names:
        monkeypatch.setenv(name, f"/{name}")

    assert hub.cache_dir() == Path(folder)


@pytest.mark.parametrize("name", VARIABLES)
def test_cache_dir_takes_an_empty_variable_as_not_set(no_variables, monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv(name, "")

    assert hub.cache_dir() == Path("/home/somebody/.cache/huggingface/hub")


@pytest.mark.parametrize("name", VARIABLES[:3])
def test_cache_dir_knows_the_home_folder_sign(no_variables, monkeypatch, name):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv(name, "~/cache")

    assert hub.cache_dir().is_relative_to("/home/somebody/cache")


@pytest.mark.parametrize("name", VARIABLES)
def test_cache_dir_is_where_huggingface_hub_looks(no_variables, python, name):
    code = (
        "from huggingface_hub import constants\nfrom pipeline.hub import cache_dir\n"
        "print(str(cache_dir()) == constants.HF_HUB_CACHE, cache_dir())"
    )

    done = python(code, env={name: "/some/where"})

    assert done.stdout.startswith("True /some/where"), done.stdout + done.stderr


@pytest.mark.parametrize("value", ["1", "ON", "yes", "True"])
@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_is_offline_when_either_variable_says_so(monkeypatch, name, value):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setenv(name, value)

    assert hub.is_offline()


@pytest.mark.parametrize("value", ["", "0", "no", "false"])
def test_is_not_offline_otherwise(monkeypatch, value):
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)

    assert not hub.is_offline()


def test_cached_snapshot_is_the_folder_of_the_commit(cache):
    folder = cache / "datasets--me--tiny" / "snapshots" / COMMIT
    folder.mkdir(parents=True)

    assert hub.cached_snapshot("dataset", "me/tiny", COMMIT) == folder


def test_cached_snapshot_tells_models_commits_and_repositories_apart(cache):
    (cache / "datasets--me--tiny" / "snapshots" / COMMIT).mkdir(parents=True)

    assert hub.cached_snapshot("model", "me/tiny", COMMIT) is None
    assert hub.cached_snapshot("dataset", "me/tiny", OTHER) is None
    assert hub.cached_snapshot("dataset", "me/other", COMMIT) is None


def test_resolve_commit_takes_a_commit_as_itself(cache):
    add_reference(cache, "models--me--tiny", COMMIT, OTHER)

    assert hub.resolve_commit("model", "me/tiny", COMMIT) == COMMIT


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1"])
def test_resolve_commit_reads_the_cached_reference(cache, revision):
    add_reference(cache, "models--me--tiny", revision, COMMIT)

    assert hub.resolve_commit("model", "me/tiny", revision) == COMMIT


def test_resolve_commit_accepts_a_line_end_after_the_commit(cache):
    add_reference(cache, "models--me--tiny", "main", COMMIT + "\n")

    assert hub.resolve_commit("model", "me/tiny", "main") == COMMIT


def test_resolve_commit_tells_models_and_data_sets_apart(cache):
    add_reference(cache, "models--me--tiny", "main", COMMIT)
    add_reference(cache, "datasets--me--tiny", "main", OTHER)

    assert hub.resolve_commit("dataset", "me/tiny", "main") == OTHER


def test_resolve_commit_from_the_cache_imports_no_hub_library(cache, python):
    add_reference(cache, "models--me--tiny", "main", COMMIT)
    code = (
        "import sys\nfrom pipeline import hub\n"
        "print(hub.resolve_commit('model', 'me/tiny', 'main'))\n"
        "print([name for name in ('huggingface_hub', 'httpx', 'requests') if name in sys.modules])"
    )

    done = python(code, env={"HF_HUB_OFFLINE": ""})

    assert done.stdout.splitlines() == [COMMIT, "[]"], done.stderr


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        (
            "model",
            "Could not fetch encoder me/tiny (main) from the hub, and no folder of that name is here: "
            "not in the local cache, and HF_HUB_OFFLINE is set",
        ),
        (
            "dataset",
            "Could not fetch data set me/tiny (main) from the hub: not in the local cache, and HF_HUB_OFFLINE is set",
        ),
    ],
)
def test_resolve_commit_offline_names_what_the_other_routes_and_a_command(
    cache, kind, first
):
    with pytest.raises(HubError) as caught:
        hub.resolve_commit(kind, "me/tiny", "main")

    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    assert lines[0] == first
    assert "a mirror (HF_ENDPOINT=https://…)" in lines[1]
    assert "a local folder or file (--dataset PATH, --encoder FOLDER)" in lines[1]
    assert "offline encoder" in lines[1]
    assert lines[2].endswith(
        "luigi --module tasks TrainLogReg --dataset sample --encoder minilm --pooling mean"
    )


def test_resolve_commit_asks_the_hub_once_for_an_unknown_revision(cache, python):
    server, asked = serve({"id": "me/tiny", "sha": COMMIT})
    with server:
        done = python(ASK, env=online(f"http://127.0.0.1:{server.server_port}", cache))
        server.shutdown()

    assert done.stdout.splitlines() == [COMMIT], done.stderr
    assert asked == ["/api/models/me/tiny/revision/main"]


def test_resolve_commit_refuses_an_answer_that_is_no_commit(cache, python):
    server, _ = serve({"id": "me/tiny", "sha": "main"})
    with server:
        done = python(ASK, env=online(f"http://127.0.0.1:{server.server_port}", cache))
        server.shutdown()

    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].endswith(
        "named 'main' as the commit of model me/tiny, expected 40 hex digits."
    )


def test_resolve_commit_gives_up_at_once_when_nobody_answers(cache, python):
    server, _ = serve({})
    port = server.server_port
    server.shutdown()
    server.server_close()

    done = python(ASK, env=online(f"http://127.0.0.1:{port}", cache))

    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert lines[0].startswith("Could not fetch encoder me/tiny (main) from the hub")
    assert lines[1].startswith("Ways without it: a mirror")


def test_fetch_snapshot_offline_is_an_error_with_the_other_routes(cache):
    with pytest.raises(HubError, match=r"\(0123456789ab\) from the hub: .*\nWays with"):
        hub.fetch_snapshot("dataset", "me/tiny", COMMIT, ["*.parquet"])


def test_hub_error_is_a_connection_error(cache):
    with pytest.raises(ConnectionError, match="--encoder FOLDER"):
        hub.fetch_snapshot("model", "me/tiny", COMMIT)


@pytest.mark.parametrize(
    ("reason", "why"),
    [("first\nsecond", "first"), ("", "no answer"), (OSError("x\ny"), "x")],
)
def test_unreachable_keeps_the_first_line_of_the_reason(reason, why):
    message = str(hub.unreachable("model", "me/tiny", "main", reason))

    assert message.splitlines()[0].endswith(
        f"(main) from the hub, and no folder of that name is here: {why}"
    )
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize("revision", ["/etc/hostname", "../x", "a/../b", "x" * 300, ""])
def test_resolve_commit_refuses_what_is_no_revision(cache, revision):
    with pytest.raises(HubError, match="Pass one, such as main"):
        hub.resolve_commit("model", "me/tiny", revision)


@pytest.mark.parametrize("content", [b"", b"not a commit", b"\xff" * 40])
def test_resolve_commit_does_not_believe_a_damaged_ref(cache, content):
    path = cache / "models--me--tiny" / "refs" / "main"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)

    with pytest.raises(HubError, match="HF_HUB_OFFLINE is set"):
        hub.resolve_commit("model", "me/tiny", "main")


def test_resolve_commit_keeps_the_answer_for_the_next_run_without_a_hub(cache, python):
    server, asked = serve({"id": "me/tiny", "sha": COMMIT, "siblings": []})
    code = "from pipeline import hub; print(hub.resolve_commit('model', 'me/tiny', 'v1/x'))"
    try:
        endpoint = f"http://127.0.0.1:{server.server_address[1]}"
        first = python(code, env=online(endpoint, cache))
    finally:
        server.shutdown()
        server.server_close()

    second = python(code, env={"HF_HUB_CACHE": str(cache)})

    assert first.stdout == f"{COMMIT}\n", first.stderr
    assert len(asked) == 1
    assert second.stdout == f"{COMMIT}\n", second.stderr

"""A stand-in for the model hub on this machine: real HTTP for the real client."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "feed" * 10


@dataclass
class Hub:
    """What a stand-in hub has, and what it was asked.

    Attributes
    ----------
    repo : str
        The one repository it has.
    folder : Path
        With the files of its one commit.
    token : str or None
        Without it every question is answered with `refusal`.
    refusal : tuple of int and str
        Status and the hub's error code.
    asked : list of (method, path, Authorization)
    """

    repo: str
    folder: Path
    token: str | None = None
    refusal: tuple[int, str] = (401, "GatedRepo")
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    port: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead huggingface_hub here."""
        return {
            "HF_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "HF_HUB_OFFLINE": "",
            "TRANSFORMERS_OFFLINE": "",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "HF_HUB_DISABLE_XET": "1",
        }

    def paths(self) -> list[str]:
        """Return the paths that were asked for, without the endpoints of the interface."""
        return [path for _, path, _ in self.asked]


@contextmanager
def serve_hub(
    folder: Path,
    repo: str = "someone/tiny",
    *,
    token: str | None = None,
    refusal: tuple[int, str] = (401, "GatedRepo"),
) -> Iterator[Hub]:
    """Serve the files of a folder as one commit of a model repository."""
    hub = Hub(repo, folder, token, refusal)
    server = _Server(hub)
    hub.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _digest(path: Path) -> str:
    """Return what the hub names a file by: SHA-256 for large ones, git's SHA-1 otherwise."""
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "_Server"

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        hub.asked.append((self.command, path, self.headers.get("Authorization")))
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            status, code = hub.refusal
            self.send(status, b"", {"X-Error-Code": code})
        elif path.startswith(f"/api/models/{hub.repo}/revision/"):
            self.send_json({"id": hub.repo, "sha": COMMIT, "siblings": []})
        elif path.startswith(f"/api/models/{hub.repo}/tree/"):
            self.send_json([self.entry(file) for file in self.files()])
        elif path.startswith(f"/{hub.repo}/resolve/{COMMIT}/"):
            self.send_file(path.removeprefix(f"/{hub.repo}/resolve/{COMMIT}/"), path)
        else:
            self.send(404, b"", {"X-Error-Code": "RepoNotFound"})

    def files(self):
        return sorted(
            path for path in self.server.hub.folder.rglob("*") if path.is_file()
        )

    def entry(self, file):
        size, digest = file.stat().st_size, _digest(file)
        about = {
            "type": "file",
            "path": file.relative_to(self.server.hub.folder).as_posix(),
            "size": size,
            "oid": digest if len(digest) == 40 else "0" * 40,
        }
        if len(digest) == 64:
            about["lfs"] = {"oid": digest, "size": size, "pointerSize": 1}
        return about

    def send_file(self, name, path):
        file = self.server.hub.folder / name
        if not file.is_file():
            self.send(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        headers = {"ETag": f'"{_digest(file)}"', "X-Repo-Commit": COMMIT}
        self.send(200, file.read_bytes(), headers)

    def send_json(self, value):
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, hub):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub

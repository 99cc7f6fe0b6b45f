"""A stand-in for the model hub on this machine: one repository, served from a folder over real HTTP."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer:
    """Serves the files below `root` as the repository `repo`; a context manager.

    ``requests`` holds (method, path, headers) of everything asked so far.
    """

    def __init__(self, root: Path, repo: str, kind: str = "dataset") -> None:
        self.root, self.repo, self.kind = root, repo, kind
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self._server = ThreadingHTTPServer(
            ("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self})
        )
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "HubServer":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def files(self) -> dict[str, Path]:
        found = sorted(path for path in self.root.rglob("*") if path.is_file())
        return {path.relative_to(self.root).as_posix(): path for path in found}

    def answer(self, path: str, body: bytes) -> "Answer | None":
        """Return what the hub says at `path`."""
        files = self.files()
        api = f"/api/{self.kind}s/{self.repo}"
        prefix = "" if self.kind == "model" else f"/{self.kind}s"
        if re.fullmatch(rf"{api}(/revision/[^/]+)?", path):
            return Answer(self._info(files))
        if match := re.fullmatch(rf"{api}/tree/[^/]+(?:/(.*))?", path):
            return self._tree(files, (match[1] or "").strip("/"))
        if path.startswith(f"{api}/paths-info/"):
            return Answer(self._paths(files, body))
        match = re.fullmatch(rf"{prefix}/{self.repo}/resolve/[^/]+/(.*)", path)
        if match and match[1] in files:
            return Answer(files[match[1]].read_bytes())
        return None

    def _info(self, files: dict[str, Path]) -> dict[str, Any]:
        siblings = [
            {"rfilename": name, "size": path.stat().st_size, "blobId": "0" * 40}
            for name, path in files.items()
        ]
        facts = {"downloads": 0, "likes": 0, "tags": [], "private": False}
        return {
            "_id": "1",
            "id": self.repo,
            "sha": COMMIT,
            **facts,
            "siblings": siblings,
        }

    def _tree(self, files: dict[str, Path], below: str) -> "Answer | None":
        hits = {
            name: path
            for name, path in files.items()
            if not below or name.startswith(f"{below}/")
        }
        if below and not hits:
            return None
        folders = {Path(name).parent.as_posix() for name in hits} - {"."}
        return Answer(
            [_entry(name, None) for name in sorted(folders)]
            + [_entry(name, path) for name, path in hits.items()]
        )

    def _paths(self, files: dict[str, Path], body: bytes) -> list[dict[str, Any]]:
        try:
            wanted = json.loads(body)["paths"]
        except ValueError:
            wanted = parse_qs(body.decode()).get("paths", [])
        return [_entry(name, files[name]) for name in wanted if name in files]


class Answer:
    """A body, as JSON or bytes."""

    def __init__(self, content: Any) -> None:
        self.is_file = isinstance(content, bytes)
        self.body = content if self.is_file else json.dumps(content).encode()


def _entry(name: str, path: Path | None) -> dict[str, Any]:
    if path is None:
        return {"type": "directory", "oid": "0" * 40, "size": 0, "path": name}
    digest = hashlib.sha1(path.read_bytes()).hexdigest()
    return {"type": "file", "oid": digest, "size": path.stat().st_size, "path": name}


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlparse(self.path).path)
        self.hub.requests.append((self.command, path, dict(self.headers)))
        answer = self.hub.answer(path, body)
        if answer is None:
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        elif not answer.is_file:
            self._send(200, answer.body, {"Content-Type": "application/json"})
        else:
            self._send_file(answer.body)

    def _send_file(self, data: bytes) -> None:
        headers = {
            "ETag": f'"{hashlib.sha1(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "Accept-Ranges": "bytes",
        }
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None:
            return self._send(200, data, headers)
        first = int(match[1])
        last = min(int(match[2] or len(data)), len(data) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(data)}"
        return self._send(206, data[first : last + 1], headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

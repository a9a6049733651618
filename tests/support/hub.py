"""A hub on this machine: enough of its HTTP interface for huggingface_hub to fetch a repository, ranges and all."""

import contextlib
import hashlib
import json
import mmap
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """``repositories``: files by path of each. ``break_after``: bytes of a body after which the connection
    is cut, once; ``hold_after``: bytes of a body after which the rest waits for ``go`` (``held`` is set meanwhile);
    ``status``: what every request is answered with instead (0: nothing)."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes | mmap.mmap]]) -> None:
        self.repositories = repositories
        self.sha = SHA
        self.break_after: int | None = None
        self.hold_after: int | None = None
        self.held = threading.Event()
        self.go = threading.Event()
        self.status = 0
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self._digests: dict[int, tuple[bytes | mmap.mmap, str]] = {}

    def digest(self, data: bytes | mmap.mmap) -> str:
        """SHA-256 in hexadecimal; of the same object only once."""
        if id(data) not in self._digests:
            self._digests[id(data)] = (data, hashlib.sha256(data).hexdigest())
        return self._digests[id(data)][1]

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its address."""
        hub = self

        class Handler(_Handler):
            def __getattribute__(self, name: str) -> Any:
                return hub if name == "hub" else super().__getattribute__(name)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: what was asked is in ``asked``."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        self.hub.asked.append((self.command, path, self.headers.get("range", "")))
        if self.hub.status:
            self._send(self.hub.status, b'{"error": "no"}', self.hub.headers, body=body)
        elif path.startswith("/api/models/"):
            self._told(path.removeprefix("/api/models/"), body=body)
        else:
            self._file(path, body=body)

    def _told(self, path: str, *, body: bool) -> None:
        name, _, rest = path.partition("/revision/")
        name = name.partition("/tree/")[0]
        files = self.hub.repositories.get(name)
        if files is None:
            self._send(
                401, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"}, body=body
            )
            return
        if rest and rest not in ("main", self.hub.sha):
            self._send(404, b'{"error": "Invalid rev"}', {"X-Error-Code": "RevisionNotFound"}, body=body)
            return
        if "/tree/" in path:
            listed = [
                {"type": "file", "path": each, "size": len(data), "oid": self.hub.digest(data)[:40]}
                for each, data in files.items()
            ]
            self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"}, body=body)
            return
        siblings = [
            {"rfilename": each, "size": len(data), "blobId": self.hub.digest(data)[:40]}
            for each, data in files.items()
        ]
        told = {"id": name, "sha": self.hub.sha, "siblings": siblings, "private": False, "gated": False}
        self._send(200, json.dumps(told).encode(), {"Content-Type": "application/json"}, body=body)

    def _file(self, path: str, *, body: bool) -> None:
        name, _, rest = path.lstrip("/").partition("/resolve/")
        data = self.hub.repositories.get(name, {}).get(rest.partition("/")[2])
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        headers = {
            "ETag": f'"{self.hub.digest(data)[:40]}"',
            "X-Repo-Commit": self.hub.sha,
            "Accept-Ranges": "bytes",
        }
        wanted = self.headers.get("range")
        if wanted is None:
            self._send(200, data, headers, body=body)
            return
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206, data[start:], headers, body=body)

    def _send(
        self, status: int, data: bytes | mmap.mmap, headers: Mapping[str, str], *, body: bool
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if not body:
            return
        cut = self.hub.break_after
        if cut is not None and len(data) > cut:
            self.hub.break_after = None
            self.wfile.write(data[:cut])
            self.close_connection = True
            self.connection.close()
            return
        hold = self.hub.hold_after
        if hold is not None and len(data) > hold:
            with contextlib.suppress(OSError):  # who waited may have been killed
                self.wfile.write(data[:hold])
                self.hub.held.set()
                self.hub.go.wait()
                self.wfile.write(data[hold:])
            return
        self.wfile.write(data)

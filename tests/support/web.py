"""A web server on this machine that serves files, and misbehaves as it is told."""

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Web:
    """``files`` by path. What is done wrong:

    ``breaks``: bytes after which the next answers' connections are cut, one each. ``statuses``: what the next
    requests are answered with instead of a file. ``redirects``: path to address. ``ranges``: whether Range is
    looked at; ``conditions``: whether If-Range is; ``length``: what Content-Length says of a file's; ``tagged``:
    whether there is an ETag. ``headers`` are added to every answer.
    """

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.files: dict[str, bytes] = dict(files or {})
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.redirects: dict[str, str] = {}
        self.ranges = True
        self.conditions = True
        self.tagged = True
        self.length: int | None = None
        self.chunked = False
        self.headers: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []  # path, range
        self.seen: list[dict[str, str]] = []  # headers, lower-case

    @contextmanager
    def serve(self) -> Iterator[str]:
        """Its address."""
        web = self

        class Handler(_Handler):
            def __getattribute__(self, name: str) -> Any:
                return web if name == "web" else super().__getattribute__(name)

        server = _Server(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: a client that leaves before the end, as some do here."""


class _Handler(BaseHTTPRequestHandler):
    web: Web
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: what was asked is in ``asked``."""

    def do_GET(self) -> None:
        web, path = self.web, self.path.split("?")[0]
        wanted = self.headers.get("range", "")
        web.asked.append((path, wanted))
        web.seen.append({name.lower(): value for name, value in self.headers.items()})
        if path in web.redirects:
            self._send(302, b"", {"Location": web.redirects[path]})
            return
        if web.statuses:
            self._send(web.statuses.pop(0), b"no", {})
            return
        data = web.files.get(path)
        if data is None:
            self._send(404, b"nothing", {})
            return
        tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        headers = {"ETag": tag} if web.tagged else {}
        if self.headers.get("if-none-match") == tag:
            self._send(304, b"", headers)
            return
        condition = self.headers.get("if-range", tag)
        if wanted and web.ranges and (condition == tag or not web.conditions):
            start = int(wanted.removeprefix("bytes=").partition("-")[0])
            if start >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self._send(206, data[start:], headers)
        else:
            self._send(200, data, headers)

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        web = self.web
        self.send_response(status)
        for name, value in {**headers, **web.headers}.items():
            self.send_header(name, value)
        if web.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            said = len(data) if web.length is None or status != 200 else web.length
            self.send_header("Content-Length", str(said))
        self.end_headers()
        cut = web.breaks.pop(0) if web.breaks and status in (200, 206) else None
        if cut is not None and cut < len(data):
            self.wfile.write(data[:cut])
            self._hang_up()
        elif web.chunked:
            for first in range(0, len(data), 65536):
                piece = data[first : first + 65536]
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(data)
            if web.length is not None and status == 200:
                self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.close()

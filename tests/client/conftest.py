"""A small real HTTP server whose answers a test writes down beforehand."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Script:
    """What the server answers, by method and path; each answer once, the last for ever."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str, bytes, dict[str, str]]] = []
        self._answers: dict[tuple[str, str], list[tuple[int, dict[str, str], bytes]]] = {}

    def answer(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int = 200,
        headers: dict[str, str] | None = None,
    ) -> None:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self._answers.setdefault((method, path), []).append((status, headers or {}, data))

    def take(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        answers = self._answers.get((method, path))
        if not answers:
            body = {"error": f"{method} {path} was not expected", "code": "not_found"}
            return 404, {}, json.dumps(body).encode()
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def bodies(self, path: str) -> list[bytes]:
        return [body for _, asked, body, _ in self.requests if asked == path]


def handler_of(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_request(self) -> None:
            length = self.headers.get("content-length")
            if length is not None:
                body = self.rfile.read(int(length))
            elif self.headers.get("transfer-encoding") == "chunked":
                body = b"".join(iter(self._chunk, b""))
            else:
                body = b""
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.requests.append((self.command, self.path, body, headers))
            status, extra, answer = script.take(self.command, self.path)
            self.send_response(status)
            for name, value in extra.items():
                self.send_header(name, value)
            if "transfer-encoding" not in extra:
                self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _chunk(self) -> bytes:
            chunk = self.rfile.read(int(self.rfile.readline(), 16))
            self.rfile.readline()
            return chunk

        do_GET = do_POST = do_PUT = do_DELETE = handle_request

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No platform of the machine that runs the tests is ever found."""
    for name in ("MODELYARD_URL", "MODELYARD_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODELYARD_HOME", str(tmp_path_factory.mktemp("home")))

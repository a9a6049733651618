"""Connections as clients make them: large, impatient, sly, slow, or not HTTP at all."""

import json
import socket
import threading
from pathlib import Path

import pytest

from support.node import NodeProcess, wait_until


def test_a_body_over_the_limit_is_refused_and_the_connection_lives(node: NodeProcess) -> None:
    status, _, answer = node.call(
        "POST", "/predict", b" " * 1_000_001, {"content-type": "application/json"}
    )
    assert (status, json.loads(answer)["code"]) == (413, "too_large")
    assert node.get("/health")[0] == 200


def test_a_body_of_no_told_length_over_the_limit_is_refused(node: NodeProcess) -> None:
    chunk = b"%x\r\n%s\r\n" % (100_000, b" " * 100_000)
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        client.sendall(chunk * 11 + b"0\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 413")


def test_the_callers_request_id_comes_back_unless_it_is_harmful(node: NodeProcess) -> None:
    assert node.call("GET", "/health", headers={"x-request-id": "abc-1"})[1]["x-request-id"] == "abc-1"
    assert node.call("GET", "/health", headers={"x-request-id": "a" * 200})[1]["x-request-id"] != "a" * 200


def test_pipelined_requests_are_answered_in_order(node: NodeProcess) -> None:
    one = b"GET /health HTTP/1.1\r\nhost: localhost\r\nx-request-id: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(b"".join(one % number for number in range(50)))
        received = b""
        while received.count(b"HTTP/1.1 200") < 50:
            received += client.recv(65536)
    ids = [part.split(b"\r\n")[0] for part in received.split(b"x-request-id: ")[1:]]
    assert ids == [b"%d" % number for number in range(50)]


def whole(client: socket.socket) -> bytes:
    """All that comes until the node has ended the connection; a reset is an error."""
    received = b""
    while part := client.recv(65536):
        received += part
    return received


def test_who_sends_everything_before_reading_gets_the_answer_and_no_reset(node: NodeProcess) -> None:
    """Refused at the headers, with 20 MB still to come: they are read and dropped."""
    body = b"x" * 1_000_000
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(b"POST /predict HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 20000000\r\n\r\n")
        for _ in range(20):
            client.sendall(body)
        assert whole(client).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"GET /health HTTP/1.1\r\nhost: localhost\r\ncontent-length: -1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost : a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n",
    ],
)
def test_what_could_be_smuggled_or_is_not_http_ends_the_connection(
    node: NodeProcess, request_bytes: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(request_bytes)
        received = whole(client)
    assert received.startswith((b"HTTP/1.1 400", b"HTTP/1.1 413"))
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received


def test_a_client_that_asks_before_sending_is_answered_first(node: NodeProcess) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        head = b"POST /predict HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: %d\r\n\r\n"
        client.sendall(head % 900_000_000)
        assert client.recv(65536).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(head % 2)
        assert client.recv(65536).startswith(b"HTTP/1.1 100")
        client.sendall(b"{}")
        assert client.recv(65536).startswith(b"HTTP/1.1 400")


def test_trailers_are_no_headers(node: NodeProcess) -> None:
    with socket.create_connection(("127.0.0.1", node.port), timeout=60) as client:
        client.sendall(
            b"POST /nowhere HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
            b"0\r\nx-request-id: smuggled\r\n\r\n"
        )
        assert b"smuggled" not in client.recv(65536)


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"origin": "http://evil.example"}])
def test_without_keys_no_page_of_another_site_can_call(node: NodeProcess, headers: dict[str, str]) -> None:
    status, answer = node.get("/models", headers)
    assert (status, answer["code"]) == (403, "forbidden")


def test_slow_clients_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    from modelyard.host.network import bind
    from modelyard.serve.edge import connection, server
    from modelyard.serve.http import Response

    monkeypatch.setattr(server, "CHECK_EVERY", 0.05)

    go = asyncio.Event()

    async def handler(request: object) -> Response:
        if request.path == "/slow":
            await go.wait()
        return Response(b"x" * 50_000_000 if request.path == "/large" else b"ok")

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    listener = bind("127.0.0.1", 0, program="node", option="", variable="")
    port = listener.getsockname()[1]
    http = server.Server(handler, 1000)
    asyncio.run_coroutine_threadsafe(http.start(listener), loop).result()
    try:
        # One limit at a time, and a request in one piece: a client that this machine holds up is not slow.
        for limit, sent, answer in [
            ("IDLE_TIMEOUT", b"", b""),
            ("HEADER_TIMEOUT", b"POST / HTTP/1.1\r\nhost: localhost\r\n", b"HTTP/1.1 504"),
            ("READ_TIMEOUT", b"POST / HTTP/1.1\r\nhost: localhost\r\n", b"HTTP/1.1 504"),
            (
                "READ_TIMEOUT",
                b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nab",
                b"HTTP/1.1 504",
            ),
        ]:
            with (
                monkeypatch.context() as short,
                socket.create_connection(("127.0.0.1", port), timeout=60) as client,
            ):
                client.sendall(sent)
                short.setattr(connection, limit, 0.2)
                received = b""
                while part := client.recv(65536):
                    received += part
                assert received.startswith(answer)
        with (
            monkeypatch.context() as short,
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            client.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
            short.setattr(connection, "IDLE_TIMEOUT", 0.2)
            while client.recv(65536):
                pass
        with (
            monkeypatch.context() as short,
            socket.create_connection(("127.0.0.1", port), timeout=0.02) as client,
        ):
            # A byte now and then: never silent for long, and never done.
            client.sendall(b"GET / HTTP/1.1\r\nx: ")
            short.setattr(connection, "HEADER_TIMEOUT", 0.2)
            answer = None
            while answer is None:
                try:
                    answer = client.recv(65536)
                except TimeoutError:
                    client.sendall(b"a")
            assert answer.startswith(b"HTTP/1.1 504")
        with (
            monkeypatch.context() as short,
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            # Answered, and neither reading on nor leaving: it is let go of.
            client.sendall(b"not HTTP\r\n\r\n")
            assert whole(client).startswith(b"HTTP/1.1 400")
            assert http._shared.connections
            short.setattr(connection, "LINGER", 0.2)
            wait_until(lambda: not http._shared.connections, what="the end of lingering")
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            # A stopping server does not wait for what a client may still send behind its last call.
            monkeypatch.setattr(connection, "LINGER", 1e9)
            client.sendall(b"GET /slow HTTP/1.1\r\nhost: localhost\r\n\r\nnot HTTP\r\n\r\n")
            # Until its first bytes it is no Connection yet; and the loop's thread changes the set.
            (kept,) = wait_until(
                lambda: [each for each in list(http._shared.connections) if getattr(each, "_waiting", None)]
            )
            loop.call_soon_threadsafe(kept.finish)
            loop.call_soon_threadsafe(go.set)
            assert whole(client).count(b"HTTP/1.1 ") == 2
            wait_until(lambda: not http._shared.connections, what="the end of the connection")
        monkeypatch.setattr(connection, "WRITE_TIMEOUT", 0.2)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
            wait_until(lambda: http._shared.connections, what="the connection")
            wait_until(lambda: not http._shared.connections, what="the unread answer's end")
    finally:
        asyncio.run_coroutine_threadsafe(http.stop(1.0), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

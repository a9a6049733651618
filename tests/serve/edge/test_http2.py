"""HTTP/2 of ours, on bytes: what goes through, what is refused, what is limited."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from modelyard.core.errors import Unauthenticated
from modelyard.serve.edge import server as server_file
from modelyard.serve.edge.http2 import allowance, connection, frames, inflow
from modelyard.serve.edge.http2.frames import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from modelyard.serve.http import Request, Response
from support.h2_wire import Running, Wire, running

HEADERS, DATA, END_STREAM, END_HEADERS = frames.HEADERS, frames.DATA, frames.END_STREAM, frames.END_HEADERS


class App:
    """A handler whose calls can be held and are counted."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)
        self.cancelled = threading.Semaphore(0)
        self.calls = 0
        self.gate = asyncio.Event()

    async def __call__(self, request: Request) -> Response:
        self.calls += 1
        if request.path == "/hold":
            self.waiting.release()
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.release()
                raise
        if request.path == "/pieces":
            return Response(b"", content_type=b"text/plain", stream=self.pieces(int(request.query)))
        if request.path == "/broken":
            return Response(b"", stream=self.broken())
        if request.path == "/large":
            return Response(b"x" * int(request.query))
        return Response(request.body or b"hello", content_type=b"text/plain")

    async def pieces(self, count: int) -> AsyncIterator[bytes]:
        for number in range(count):
            yield b"%06d" % number

    async def broken(self) -> AsyncIterator[bytes]:
        yield b"begun"
        raise RuntimeError("in the middle")


def admit(request: Request) -> None:
    if request.path == "/secret":
        raise Unauthenticated("Send a key.")


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def one(app: App) -> Iterator[Running]:
    with running(app, admit=admit) as server:
        yield server
        server.loop.call_soon_threadsafe(app.gate.set)


def test_both_versions_are_spoken_on_one_port(one: Running) -> None:
    for versions in ({"http1": False, "http2": True}, {"http1": True}):
        with httpx.Client(**versions, timeout=60, base_url=f"http://127.0.0.1:{one.port}") as client:
            answer = client.post("/", content=b"a body")
            assert (answer.status_code, answer.content) == (200, b"a body")
            assert answer.headers["x-request-id"] and answer.headers["content-length"] == "6"
            assert client.head("/").content == b""


def test_a_preface_may_come_byte_by_byte(one: Running) -> None:
    with Wire(one.port, preface=False) as wire:
        for byte in frames.PREFACE + frames.settings({}):
            wire.send(bytes((byte,)))
        wire.ask(1)
        assert wire.answer(1)[1] == b"hello"


def test_a_preface_that_turns_into_something_else_is_not_http(one: Running) -> None:
    with Wire(one.port, preface=False) as wire:
        wire.send(b"PRI * HTTP/2.0\r\n")
        wire.send(b"\r\nXX\r\n\r\n")
        assert wire.socket.recv(100).startswith(b"HTTP/1.1 400")


def test_answers_come_when_they_are_ready(one: Running, app: App) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, "/hold")
        wire.ask(3)
        assert wire.answer(3)[1] == b"hello"
        one.loop.call_soon_threadsafe(app.gate.set)
        assert wire.answer(1)[1] == b"hello"


def test_large_bodies_go_both_ways(app: App) -> None:
    body = bytes(range(256)) * 40_000
    with (
        running(app, max_body=len(body)) as one,
        httpx.Client(http1=False, http2=True, timeout=60) as client,
    ):
        assert client.post(f"http://127.0.0.1:{one.port}/", content=body).content == body


def test_more_large_bodies_than_may_come_at_once_all_arrive(app: App) -> None:
    body = b"x" * 3_000_000

    async def calls(port: int) -> list[int]:
        async with httpx.AsyncClient(http1=False, http2=True, timeout=60) as client:
            answers = await asyncio.gather(
                *(client.post(f"http://127.0.0.1:{port}/", content=body) for _ in range(9))
            )
            return [len(answer.content) for answer in answers]

    with running(app, max_body=4_000_000) as one:
        assert asyncio.run(calls(one.port)) == [len(body)] * 9


def test_a_body_over_the_limit_is_refused_and_read(one: Running) -> None:
    with httpx.Client(
        http1=False, http2=True, timeout=60, base_url=f"http://127.0.0.1:{one.port}"
    ) as client:
        for content in (b"x" * 3_000_000, iter([b"x" * 1_000_000] * 3)):
            answer = client.post("/", content=content)
            assert answer.status_code == 413 and answer.json()["code"] == "too_large"
        assert client.get("/").status_code == 200


def test_who_may_not_call_is_told_before_the_body(one: Running, app: App) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, "/secret", "POST", end=False)
        headers, body = wire.answer(1)
        assert headers[":status"] == "401" and b"unauthenticated" in body
        wire.frame(DATA, END_STREAM, 1, b"x")
        wire.ask(3)
        assert wire.answer(3)[1] == b"hello"
    assert app.calls == 1


def test_pieces_are_streamed_in_order(one: Running) -> None:
    with httpx.Client(
        http1=False, http2=True, timeout=60, base_url=f"http://127.0.0.1:{one.port}"
    ) as client:
        answer = client.get("/pieces?50000")
        assert answer.content == b"".join(b"%06d" % number for number in range(50_000))
        assert "content-length" not in answer.headers
        assert client.get("/pieces?0").content == b""


def test_a_stream_that_breaks_off_is_not_whole(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, "/broken")
        assert wire.reset(1) == frames.INTERNAL_ERROR


def test_an_answer_waits_for_its_windows(one: Running) -> None:
    with Wire(one.port, {frames.SETTINGS_INITIAL_WINDOW_SIZE: 0}) as wire:
        wire.ask(1)
        wire.until(HEADERS, 1)
        wire.frame(frames.PING, payload=b"12345678")
        wire.until(frames.PING)
        assert all(kind != DATA for kind, *_ in wire.seen)
        wire.send(frames.window_update(1, 2))
        assert wire.until(DATA, 1)[3] == b"he"
        # A wider window for all streams, as SETTINGS may give it (RFC 9113, 6.9.2).
        wire.send(frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 100}))
        assert wire.until(DATA, 1)[3] == b"llo"


def test_the_window_of_the_connection_is_shared(one: Running) -> None:
    with Wire(one.port, {frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 20}) as wire:
        wire.ask(1, "/large?60000")
        wire.answer(1)
        wire.ask(3, "/large?60000")
        wire.ask(5, "/large?60000")
        wire.frame(frames.PING, payload=b"12345678")
        received = 0
        while received < 65535 - 60000:
            received += len(wire.until(DATA)[3])
        assert received == 65535 - 60000
        wire.send(frames.window_update(0, 1 << 20))
        ended = 0
        while ended < 2:
            ended += bool(wire.until(DATA)[1] & END_STREAM)


def test_a_reset_stream_is_cancelled(one: Running, app: App) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, "/hold")
        assert app.waiting.acquire(timeout=60)
        wire.send(frames.rst_stream(1, frames.CANCEL))
        assert app.cancelled.acquire(timeout=60)
        wire.ask(3)
        assert wire.answer(3)[1] == b"hello"


def test_a_client_that_leaves_is_cancelled(one: Running, app: App) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, "/hold")
        wire.ask(3, "/hold")
        assert app.waiting.acquire(timeout=60) and app.waiting.acquire(timeout=60)
    assert app.cancelled.acquire(timeout=60) and app.cancelled.acquire(timeout=60)


def test_more_streams_than_allowed_are_refused(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_STREAMS", 2)
    with Wire(one.port) as wire:
        for stream in (1, 3, 5):
            wire.ask(stream, "/hold")
        assert wire.reset(5) == REFUSED_STREAM


def test_header_blocks_in_pieces_are_put_together(one: Running) -> None:
    with Wire(one.port) as wire:
        block = wire.block(**{f"h{number}": "x" * 10 for number in range(10)})
        wire.frame(HEADERS, END_STREAM, 1, block[:20])
        wire.frame(frames.CONTINUATION, 0, 1, block[20:40])
        wire.frame(frames.CONTINUATION, END_HEADERS, 1, block[40:])
        assert wire.answer(1)[1] == b"hello"


def test_headers_over_the_limit_are_refused(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, **{f"h{number}": "x" * 8000 for number in range(9)})
        headers, _ = wire.answer(1)
        assert headers[":status"] == "413"
        wire.ask(3)
        assert wire.answer(3)[1] == b"hello"


def test_trailers_end_a_request(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, method="POST", end=False)
        wire.frame(DATA, 0, 1, b"body")
        wire.frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\0\x01a\x01b")
        assert wire.answer(1)[1] == b"body"


def test_padding_is_no_part_of_a_body(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, method="POST", end=False)
        wire.frame(DATA, END_STREAM | frames.PADDED, 1, b"\x03bodyxyz")
        assert wire.answer(1)[1] == b"body"


def test_grpc_web_is_not_taken_for_grpc(one: Running, app: App) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, method="POST", content_type="application/grpc-web+proto")
        assert wire.answer(1)[0]["content-type"] == "text/plain"
    assert app.calls == 1


def test_a_ping_is_answered(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.frame(frames.PING, payload=b"12345678")
        assert wire.until(frames.PING)[1:] == (frames.ACK, 0, b"12345678")


def test_unknown_frames_are_skipped(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.frame(77, 0xFF, 9, b"what")
        wire.ask(1)
        assert wire.answer(1)[1] == b"hello"


# --- floods


def rapid_reset(wire: Wire) -> None:
    for stream in range(1, 6001, 2):
        wire.ask(stream, "/hold")
        wire.send(frames.rst_stream(stream, frames.CANCEL))


@pytest.mark.parametrize(
    "flood",
    [
        rapid_reset,
        lambda wire: wire.send(frames.ping(b"12345678") * 3000),
        lambda wire: wire.send(frames.settings({}) * 3000),
        lambda wire: wire.send((frames.head_of(frames.PRIORITY, 0, 1, 5) + bytes(5)) * 3000),
        lambda wire: (
            wire.ask(1, method="POST", end=False),
            wire.send(frames.head_of(DATA, 0, 1, 0) * 3000),
        ),
        lambda wire: (
            wire.frame(HEADERS, 0, 1, b"\x82"),
            wire.send(frames.head_of(frames.CONTINUATION, 0, 1, 0) * 100),
        ),
        lambda wire: (
            wire.frame(HEADERS, 0, 1, b"\x82"),
            [wire.frame(frames.CONTINUATION, 0, 1, bytes(16000)) for _ in range(8)],
        ),
    ],
    ids=["rapid reset", "ping", "settings", "priority", "empty data", "empty continuation", "continuation"],
)
def test_a_flood_ends_its_connection_alone(one: Running, flood, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "PER_SECOND", 0.0)  # a flood that a busy machine slows down is one too
    with Wire(one.port) as wire:
        try:
            flood(wire)
        except (BrokenPipeError, ConnectionResetError):
            pass  # ended while it went on
        else:
            try:
                assert wire.goaway() == ENHANCE_YOUR_CALM
            except AssertionError as error:
                assert "closed before" in str(error)  # the answer was lost to the flood's own bytes
    with Wire(one.port) as wire:
        wire.ask(1)
        assert wire.answer(1)[1] == b"hello"


def test_a_client_that_works_may_cancel_as_much(one: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allowance, "BURST", 10.0)
    monkeypatch.setattr(allowance, "PER_SECOND", 0.0)
    with Wire(one.port) as wire:
        for stream in range(1, 201, 4):
            wire.ask(stream, "/hold")
            wire.send(frames.rst_stream(stream, frames.CANCEL))
            wire.ask(stream + 2)
            wire.answer(stream + 2)


# --- broken rules


def headers(*pairs: tuple[str, str]) -> bytes:
    import hpack

    return hpack.Encoder().encode(list(pairs))


GET = ((":method", "GET"), (":scheme", "http"), (":path", "/"))


@pytest.mark.parametrize(
    "block",
    [
        headers(*GET[:2]),
        headers(*GET[1:]),
        headers(*GET, (":path", "/")),
        headers(*GET, (":status", "200")),
        headers(("a", "b"), *GET),
        headers(*GET, ("Upper", "b")),
        headers(*GET, ("a b", "b")),
        headers(*GET, ("a", "b\r\nc: d")),
        headers(*GET, ("a", " b")),
        headers(*GET, ("connection", "close")),
        headers(*GET, ("transfer-encoding", "chunked")),
        headers(*GET, ("te", "gzip")),
        headers(*GET, ("content-length", "5")),
        headers(*GET, ("content-length", "x")),
        headers(*GET, ("content-length", "0"), ("content-length", "0")),
        headers(*GET, (":authority", "a"), ("host", "b")),
        headers(*GET[:2], (":path", "nowhere")),
        headers(*GET[:2], (":path", "/a b")),
    ],
)
def test_a_malformed_request_is_reset_and_the_others_go_on(one: Running, app: App, block: bytes) -> None:
    with Wire(one.port) as wire:
        wire.frame(HEADERS, END_STREAM | END_HEADERS, 1, block)
        assert wire.reset(1) == PROTOCOL_ERROR
        wire.ask(3)
        assert wire.answer(3)[1] == b"hello"
    assert app.calls == 1


def test_a_body_of_another_length_is_reset(one: Running) -> None:
    with Wire(one.port) as wire:
        wire.ask(1, method="POST", end=False, content_length="5")
        wire.frame(DATA, END_STREAM, 1, b"four")
        assert wire.reset(1) == PROTOCOL_ERROR


H = frames.head_of


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (H(HEADERS, END_HEADERS | END_STREAM, 2, 3) + b"\x82\x84\x86", PROTOCOL_ERROR),
        (H(HEADERS, END_HEADERS | END_STREAM, 0, 3) + b"\x82\x84\x86", PROTOCOL_ERROR),
        (H(HEADERS, END_HEADERS | END_STREAM, 1, 1) + b"\xff", COMPRESSION_ERROR),
        (H(HEADERS, END_HEADERS | END_STREAM, 1, 1) + b"\x80", COMPRESSION_ERROR),
        (H(HEADERS, END_HEADERS | frames.PADDED, 1, 2) + b"\x05\x82", PROTOCOL_ERROR),
        (H(HEADERS, END_HEADERS | frames.PRIORITIZED, 1, 2) + b"\x05\x82", FRAME_SIZE_ERROR),
        (H(HEADERS, 0, 1, 1) + b"\x82" + frames.ping(b"12345678"), PROTOCOL_ERROR),
        (H(frames.CONTINUATION, 0, 1, 0), PROTOCOL_ERROR),
        (H(DATA, 0, 0, 1) + b"x", PROTOCOL_ERROR),
        (H(DATA, 0, 7, 1) + b"x", PROTOCOL_ERROR),
        (H(DATA, 0, 1, 1 << 20), FRAME_SIZE_ERROR),
        (H(frames.PING, 0, 1, 8) + bytes(8), PROTOCOL_ERROR),
        (H(frames.PING, 0, 0, 7) + bytes(7), FRAME_SIZE_ERROR),
        (H(frames.SETTINGS, 0, 1, 0), PROTOCOL_ERROR),
        (H(frames.SETTINGS, 0, 0, 5) + bytes(5), FRAME_SIZE_ERROR),
        (H(frames.SETTINGS, frames.ACK, 0, 6) + bytes(6), FRAME_SIZE_ERROR),
        (frames.settings({frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 31}), FLOW_CONTROL_ERROR),
        (frames.settings({frames.SETTINGS_MAX_FRAME_SIZE: 100}), PROTOCOL_ERROR),
        (frames.settings({frames.SETTINGS_ENABLE_PUSH: 2}), PROTOCOL_ERROR),
        (frames.window_update(0, 0), PROTOCOL_ERROR),
        (frames.window_update(0, frames.MAX_WINDOW), FLOW_CONTROL_ERROR),
        (frames.window_update(9, 1), PROTOCOL_ERROR),
        (H(frames.WINDOW_UPDATE, 0, 0, 3) + bytes(3), FRAME_SIZE_ERROR),
        (frames.rst_stream(0, 0), PROTOCOL_ERROR),
        (frames.rst_stream(9, 0), PROTOCOL_ERROR),
        (H(frames.RST_STREAM, 0, 1, 3) + bytes(3), FRAME_SIZE_ERROR),
        (H(frames.PUSH_PROMISE, 0, 1, 4) + bytes(4), PROTOCOL_ERROR),
        (H(frames.PRIORITY, 0, 0, 5) + bytes(5), PROTOCOL_ERROR),
    ],
)
def test_a_broken_rule_ends_the_connection(one: Running, sent: bytes, code: int) -> None:
    with Wire(one.port) as wire:
        wire.send(sent)
        assert wire.goaway() == code


def test_the_first_frame_is_settings(one: Running) -> None:
    with Wire(one.port, preface=False) as wire:
        wire.send(frames.PREFACE + frames.ping(b"12345678"))
        assert wire.goaway() == PROTOCOL_ERROR


def test_frames_on_a_closed_stream_end_the_connection(one: Running) -> None:
    for late in (H(DATA, 0, 1, 1) + b"x", H(HEADERS, END_HEADERS | END_STREAM, 1, 3) + b"\x82\x84\x86"):
        with Wire(one.port) as wire:
            wire.ask(1)
            wire.answer(1)
            wire.send(late)
            assert wire.goaway() == STREAM_CLOSED


def test_a_stream_over_its_window_is_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflow, "LARGE_BODIES", 0)
    with running(App(), max_body=8_000_000) as large, Wire(large.port) as wire:
        wire.ask(1, method="POST", end=False)
        for _ in range(9):
            wire.frame(DATA, 0, 1, bytes(131_072))
        assert wire.reset(1) == FLOW_CONTROL_ERROR


# --- slow, leaving, stopping


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    for name in ("READ_TIMEOUT", "IDLE_TIMEOUT", "WRITE_TIMEOUT"):
        monkeypatch.setattr(connection, name, 0.2)
    monkeypatch.setattr(server_file, "CHECK_EVERY", 0.05)
    yield App()


def test_a_body_that_does_not_come_is_given_up(hasty: App) -> None:
    with running(hasty) as one, Wire(one.port, preface=False) as wire:
        wire.begin(wire.asked(1, method="POST", end=False))
        headers, _ = wire.answer(1)
        assert headers[":status"] == "504"


def test_a_silent_connection_is_closed(hasty: App) -> None:
    with running(hasty) as one, Wire(one.port) as wire:
        assert wire.goaway() == frames.NO_ERROR


def test_a_header_block_that_does_not_end_is_given_up(hasty: App) -> None:
    with running(hasty) as one, Wire(one.port, preface=False) as wire:
        wire.begin(frames.head_of(HEADERS, 0, 1, 1) + b"\x82")
        assert wire.goaway() == ENHANCE_YOUR_CALM


def test_a_window_that_stays_closed_ends_its_answer(hasty: App) -> None:
    with running(hasty) as one, Wire(one.port, preface=False) as wire:
        wire.begin(wire.asked(1), settings={frames.SETTINGS_INITIAL_WINDOW_SIZE: 0})
        assert wire.reset(1) == frames.CANCEL


def test_a_client_that_does_not_read_is_given_up(hasty: App) -> None:
    with running(hasty) as one, Wire(one.port, preface=False) as wire:
        asked = [wire.asked(stream, "/large?20000000") for stream in range(1, 9, 2)]
        wire.begin(
            frames.window_update(0, 1 << 30),
            *asked,
            settings={frames.SETTINGS_INITIAL_WINDOW_SIZE: 1 << 30},
        )
        deadline = time.monotonic() + 60
        while one.server._shared.connections and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not one.server._shared.connections


def test_silence_inside_a_call_is_asked_about(hasty: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_AFTER", 0.1)
    monkeypatch.setattr(connection, "PING_LIMIT", 0.2)
    with running(hasty) as one, Wire(one.port, preface=False) as wire:
        wire.begin(wire.asked(1, "/hold"))
        assert wire.until(frames.PING)[1] == 0
        assert wire.read() is None  # nobody answered
        assert hasty.cancelled.acquire(timeout=60)


def test_what_was_asked_is_answered_before_the_end(app: App) -> None:
    with running(app) as one, Wire(one.port) as wire:
        wire.ask(1, "/hold")
        assert app.waiting.acquire(timeout=60)
        stopping = threading.Thread(target=one.stop, args=(20.0,))
        stopping.start()
        assert wire.until(frames.GOAWAY)[3][:8] == b"\0\0\0\x01\0\0\0\0"
        wire.ask(3)  # nobody looks at it any more
        one.loop.call_soon_threadsafe(app.gate.set)
        assert wire.answer(1)[1] == b"hello"
        assert wire.read() is None
        stopping.join()
    assert app.calls == 1


def test_a_connection_too_many_is_told_so(app: App) -> None:
    with running(app, max_connections=1) as one, Wire(one.port) as first:
        first.ask(1)
        first.answer(1)
        with Wire(one.port, preface=False) as second:
            assert second.socket.recv(100).startswith(b"HTTP/1.1 503")

"""HPACK and frames against the codec of python-hyper, and against rubbish."""

import contextlib

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.serve.edge.http2 import frames, hpack_encoder
from modelyard.serve.edge.http2.frames import ConnectionError2, StreamError
from modelyard.serve.edge.http2.head import HEADER_LIMIT, Heads
from modelyard.serve.edge.http2.hpack_decoder import HpackDecoder
from modelyard.serve.http import Response
from support.h2_wire import Running, Wire, running

NAMES = st.sampled_from(
    [b":path", b"content-type", b"accept", b"x-one", b"x-two", b"grpc-timeout"]
) | st.binary(min_size=1, max_size=20)
VALUES = st.sampled_from([b"", b"/", b"application/grpc", b"trailers"]) | st.binary(max_size=200)
LISTS = st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12)


@given(st.lists(LISTS, min_size=1, max_size=20), st.booleans())
def test_whatever_an_encoder_writes_is_read(
    lists: list[list[tuple[bytes, bytes, bool]]], huffman: bool
) -> None:
    encoder, decoder = hpack.Encoder(), HpackDecoder()
    for number, headers in enumerate(lists):
        if number == 5:
            encoder.header_table_size = 100
        block = encoder.encode(
            [
                hpack.NeverIndexedHeaderTuple(n, v) if secret else hpack.HeaderTuple(n, v)
                for n, v, secret in headers
            ],
            huffman=huffman,
        )
        found, size = decoder.decode(block, HEADER_LIMIT)
        assert found == [(name, value) for name, value, _ in headers]
        assert size == sum(len(name) + len(value) + 32 for name, value, _ in headers)


@given(st.binary(max_size=300))
@settings(max_examples=500)
def test_rubbish_is_an_error_of_the_connection_or_headers(block: bytes) -> None:
    try:
        headers, size = HpackDecoder().decode(block, 1000)
    except ConnectionError2 as error:
        assert error.code == frames.COMPRESSION_ERROR
    else:
        assert size >= sum(len(name) + len(value) + 32 for name, value in headers)


@given(
    st.lists(
        st.tuples(st.sampled_from(["/a", "/b", "/c"]), st.sampled_from(["", "1", "2", "3"])), max_size=40
    )
)
def test_a_block_that_is_looked_up_says_what_it_says(asked: list[tuple[str, str]]) -> None:
    encoder, heads = hpack.Encoder(), Heads()
    for path, value in asked:
        pairs = [(":method", "GET"), (":scheme", "http"), (":path", path)]
        head = heads.read(encoder.encode([*pairs, *([("x-value", value)] if value else [])]))
        assert head.path == path and head.headers.get(b"x-value", b"").decode() == value


def test_a_block_is_forgotten_when_the_table_changes() -> None:
    heads = Heads()
    start = b"\x82\x84\x86"
    assert heads.read(start + b"\x40\x01a\x01b").headers == {b"a": b"b"}
    assert heads.read(start + b"\xbe").headers == {b"a": b"b"}
    assert heads.read(start + b"\xbe").headers == {b"a": b"b"}
    heads.read(start + b"\x40\x01c\x01d")
    assert heads.read(start + b"\xbe").headers == {b"c": b"d"}
    with pytest.raises(ConnectionError2):
        heads.read(b"\x20" + start + b"\xbe")  # an empty table has no such entry


@given(st.integers(100, 599), st.binary(min_size=1, max_size=300), st.binary(max_size=70_000))
def test_our_blocks_are_read_by_others(status: int, name: bytes, value: bytes) -> None:
    block = hpack_encoder.status(status, b"text/plain") + hpack_encoder.literal(name, value)
    decoder = hpack.Decoder(max_header_list_size=100_000)
    found = [tuple(map(bytes, pair)) for pair in decoder.decode(block, raw=True)]
    assert found == [(b":status", b"%d" % status), (b"content-type", b"text/plain"), (name, value)]


@given(st.binary(max_size=200))
@settings(max_examples=300)
def test_heads_are_read_or_refused(block: bytes) -> None:
    with contextlib.suppress(ConnectionError2, StreamError):
        Heads().read(b"\x82\x84\x86" + block)


async def _hello(request: object) -> Response:
    return Response(b"hello")


@pytest.fixture(scope="module")
def one():
    with running(_hello) as server:
        yield server


FRAMES = st.builds(
    lambda kind, flags, stream, payload: frames.head_of(kind, flags, stream, len(payload)) + payload,
    st.integers(0, 10), st.integers(0, 255), st.integers(0, 9), st.binary(max_size=40) | st.just(b"\x82\x84\x86"),
)  # fmt: skip


@given(st.lists(FRAMES, max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_frames_harm_the_others(one: Running, sent: list[bytes]) -> None:
    with Wire(one.port) as wire:
        wire.send(b"".join(sent) + frames.ping(b"the end!"))
        while (frame := wire.read()) is not None and frame[3] != b"the end!":
            pass
        if frame is None:
            assert any(kind == frames.GOAWAY for kind, *_ in wire.seen)
    with Wire(one.port) as wire:
        wire.ask(1)
        assert wire.answer(1)[1] == b"hello"

"""Rubbish on the wire, both ways: it is refused in words that are ours, and nothing hangs or is believed."""

import json
import socket
import struct
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.core.errors import ModelyardError
from modelyard.serve.call import Call, RawTensor
from modelyard.serve.pool import frames
from modelyard.serve.pool.channel import Channel, Events
from modelyard_executor import wire
from modelyard_executor.frames import read_batch, unpack_items

NUMBER = st.integers(-(2**33), 2**33)
SIZES = st.integers(-4, 40)
TENSOR = st.tuples(
    st.text(max_size=4), st.sampled_from(["FP32", "BYTES", "X"]), st.lists(SIZES, max_size=3), SIZES
)
VALUE = st.recursive(
    st.none()
    | st.booleans()
    | NUMBER
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = {
    "t": st.sampled_from(["RESULT", "STREAM", "PROGRESS", "HELLO", "PONG", "FAILED", "BATCH", "CANCEL", "OTHER"]),
    "batch": st.integers(0, 3) | VALUE,
    "index": SIZES | VALUE,
    "alike": SIZES | VALUE,
    "compute_us": NUMBER | VALUE,
    "outputs": st.lists(TENSOR, max_size=3) | VALUE,
    "inputs": st.lists(TENSOR, max_size=3) | VALUE,
    "items": st.lists(st.fixed_dictionaries({}, optional={
        "outputs": st.lists(TENSOR, max_size=2), "inputs": st.lists(TENSOR, max_size=2),
        "error": VALUE, "parameters": VALUE, "stream": VALUE}), max_size=3) | VALUE,
    "slab": st.tuples(SIZES, SIZES) | VALUE,
    "out_of_memory": st.booleans() | VALUE,
    "fraction": st.floats() | VALUE,
    "message": VALUE,
}  # fmt: skip
KIND = MEMBERS.pop("t")
HEADER = st.fixed_dictionaries({"type": KIND}, optional=MEMBERS)
FRAME = st.tuples(
    HEADER.map(lambda header: json.dumps(header).encode()) | st.binary(max_size=64), st.binary(max_size=64)
)


def packed(frame: tuple[bytes, bytes]) -> bytes:
    return struct.pack("<II", len(frame[0]), len(frame[1])) + frame[0] + frame[1]


def nobody(*_: Any) -> None:
    """What happens is looked at elsewhere."""


class Unconnected(Channel):
    """What it sends is nobody's."""

    def _write(self, header: bytes, chunks: Any) -> bool:
        return True


def node_end(told: list[Any]) -> Channel:
    events = Events(
        hello=nobody,
        failed=nobody,
        result=lambda _, results: told.append(results),
        stream=lambda *piece: told.append(piece),
        progress=nobody,
        computed=lambda: told.append("computed"),
        gone=nobody,
    )
    return Unconnected(events, nobody)


@given(st.lists(FRAME, max_size=4), st.binary(max_size=20), st.integers(1, 50))
@settings(max_examples=60, deadline=None)
def test_the_node_believes_nothing_of_an_executor_that_it_did_not_ask(messages, rest, step):
    told: list[Any] = []
    end = node_end(told)
    data = b"".join(map(packed, messages)) + rest
    for start in range(0, len(data), step):
        end.data_received(data[start : start + step])
    assert told == []


@given(st.lists(FRAME, min_size=1, max_size=4), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_node_takes_as_many_results_as_it_asked_for_or_none(messages, count):
    told: list[Any] = []
    end = node_end(told)
    end.send_batch([Call((RawTensor("x", "FP32", (1,), bytes(4)),), {}, 1, 1.0)] * count)
    for message in messages:
        end.data_received(packed(message))
    assert len(told) <= 1
    assert all(len(results) in (0, count) for results in told)
    assert all(isinstance(each, (tuple, ModelyardError)) for results in told for each in results)


@given(HEADER, st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_the_executor_reads_a_batch_whole_or_says_what_is_wrong(header, body):
    for raw in (json.dumps(header).encode(), json.dumps(header | {"batch": 1, "type": "BATCH"}).encode()):
        try:
            work = read_batch(raw, memoryview(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        taken = {id(tensor): bytes(tensor.data) for item in work.items for tensor in item.inputs.values()}
        assert sum(map(len, taken.values())) <= len(body) * max(1, len(work.items))


@given(st.lists(FRAME, max_size=3), st.binary(max_size=20))
@settings(max_examples=40, deadline=None)
def test_the_executors_channel_ends_with_the_stream_and_gives_each_frame_once(messages, rest):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"".join(map(packed, messages)) + rest)
        theirs.shutdown(socket.SHUT_WR)
        channel = wire.Channel(ours)
        received = []
        try:
            while True:
                header, body = channel.receive_raw()
                received.append((header, bytes(body)))
        except (EOFError, wire.WireError):
            pass
    # A header of less than two bytes ends the channel; what stood before it came through.
    assert received[: len(messages)] == messages[: len(received)]


CALL = st.builds(
    lambda shapes, parameters, stream: Call(
        tuple(
            RawTensor(f"t{index}", "UINT8", tuple(shape), bytes([index] * int.__mul__(*shape)))
            for index, shape in enumerate(shapes)
        ),
        parameters, 1, 1.0, stream=stream,
    ),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers() , max_size=1),
    st.booleans(),
)  # fmt: skip


@given(st.lists(CALL, min_size=1, max_size=4), st.sampled_from([1, 2]))
@settings(max_examples=60, deadline=None)
def test_what_the_node_sends_is_what_the_executor_reads(calls, version):
    tail, chunks, size = frames.batch_frame(calls, version, streams=True)
    body = b"".join(chunks)
    assert size == len(body)
    header = b'{"type":"BATCH","batch":12,%b' % tail
    msgspec.json.decode(header)
    work = read_batch(header, memoryview(body))
    assert work.number == 12 and len(work.items) == len(calls)
    for item, call in zip(work.items, calls, strict=True):
        assert item.parameters == call.parameters
        assert [
            (name, tensor.datatype, tensor.shape, bytes(tensor.data))
            for name, tensor in item.inputs.items()
        ] == [tuple(tensor) for tensor in call.inputs]
    assert list(work.streamed) == [index for index, call in enumerate(calls) if call.stream]


def test_sizes_that_are_negative_are_no_way_around_the_body():
    try:
        unpack_items([{"inputs": [["a", "FP32", [1], 8], ["b", "FP32", [1], -4]]}], memoryview(bytes(4)))
    except ValueError as error:
        assert "-4 bytes" in str(error)
    else:
        raise AssertionError("a negative size was taken")

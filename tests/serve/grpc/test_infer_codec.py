"""Our codec of inference against protobuf's own, with the messages of tritonclient; and against rubbish."""

import contextlib
import math
import struct
from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.serve.call import RawTensor
from modelyard.serve.grpc.infer_codec import decode_request, encode_response

FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
NAMES = st.text(max_size=12)


def values_of(datatype: str) -> st.SearchStrategy:
    kind = DATATYPES[datatype]
    match kind.family:
        case "bool":
            return st.booleans()
        case "int":
            return st.integers(kind.low, kind.high)
        case "float":
            return st.floats(width=32 if datatype == "FP32" else 64, allow_nan=False)
        case _:
            return st.binary(max_size=300)


def raw_of(datatype: str, values: list) -> bytes:
    kind = DATATYPES[datatype]
    if kind.family == "bytes":
        return b"".join(struct.pack("<I", len(value)) + value for value in values)
    return array(kind.typecode, values).tobytes()


TENSORS = st.sampled_from(sorted(FIELDS)).flatmap(
    lambda datatype: st.tuples(
        NAMES, st.just(datatype), st.lists(values_of(datatype), max_size=40), st.booleans()
    )
)


@given(NAMES, NAMES, NAMES, st.lists(TENSORS, max_size=4), st.booleans(), st.lists(NAMES, max_size=3))
@settings(max_examples=300)
def test_requests_are_read_as_protobuf_reads_them(model, version, id, tensors, raw, outputs) -> None:
    message = service_pb2.ModelInferRequest(model_name=model, model_version=version, id=id)
    expected = []
    for name, datatype, values, square in tensors:
        shape = [1, len(values)] if square else [len(values)]
        one = message.inputs.add(name=name, datatype=datatype, shape=shape)
        if raw:
            message.raw_input_contents.append(raw_of(datatype, values))
        else:
            getattr(one.contents, FIELDS[datatype]).extend(values)
        expected.append(RawTensor(name, datatype, tuple(shape), raw_of(datatype, values)))
    for name in outputs:
        message.outputs.add(name=name)
    message.parameters["priority"].int64_param = -3
    message.parameters["text"].string_param = "größe"
    message.parameters["off"].bool_param = False
    data = message.SerializeToString()
    for _ in range(2):  # the second time some of it is looked up
        found = decode_request(b"12345" + data, 5)
        assert (found.model, found.version, found.id) == (model, version, id.encode())
        assert found.inputs == expected and found.raw == bool(raw and tensors)
        assert found.outputs == [(name, {}) for name in outputs]
        assert found.parameters == {"priority": -3, "text": "größe", "off": False}


@given(st.lists(TENSORS, max_size=4), st.booleans(), NAMES)
@settings(max_examples=300)
def test_answers_are_read_by_protobuf(tensors, raw, id) -> None:
    answer = tuple(
        RawTensor(name, datatype, (1, len(values)), raw_of(datatype, values))
        for name, datatype, values, _ in tensors
    )
    data = encode_response("m", "3", id.encode(), answer, raw, {"final": True})
    found = service_pb2.ModelInferResponse.FromString(data)
    assert (found.model_name, found.model_version, found.id) == ("m", "3", id)
    assert found.parameters["final"].bool_param is True
    assert [(one.name, one.datatype, tuple(one.shape)) for one in found.outputs] == [
        tensor[:3] for tensor in answer
    ]
    if raw:
        assert list(found.raw_output_contents) == [tensor.data for tensor in answer]
        return
    assert not found.raw_output_contents
    for one, (_, datatype, values, _) in zip(found.outputs, tensors, strict=True):
        assert list(getattr(one.contents, FIELDS[datatype])) == values


def test_half_floats_have_no_typed_form() -> None:
    answer = (RawTensor("a", "FP32", (1,), bytes(4)), RawTensor("b", "BF16", (1,), bytes(2)))
    found = service_pb2.ModelInferResponse.FromString(encode_response("m", "1", b"", answer, raw=False))
    assert list(found.raw_output_contents) == [bytes(4), bytes(2)]
    message = service_pb2.ModelInferRequest(model_name="m")
    message.inputs.add(name="x", datatype="FP16", shape=[1]).contents.fp32_contents.append(1)
    with pytest.raises(InvalidInput, match="raw_input_contents"):
        decode_request(message.SerializeToString())


def request(
    datatype: str = "FP32", shape: tuple[int, ...] = (2,), raws: int = 0, **contents: list
) -> bytes:
    message = service_pb2.ModelInferRequest(model_name="m")
    one = message.inputs.add(name="x", datatype=datatype, shape=shape)
    for name, values in contents.items():
        getattr(one.contents, name).extend(values)
    message.raw_input_contents.extend([bytes(8)] * raws)
    return message.SerializeToString()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (request(fp32_contents=[1.0]), "does not fit its 1 values"),
        (request(fp64_contents=[1.0, 2.0]), "whose values are in fp32_contents"),
        (request("INT8", int_contents=[1, 300]), "300 does not fit into INT8"),
        (request("UINT8", uint_contents=[1, 256]), "256 does not fit into UINT8"),
        (request("NOPE"), "is not a data type"),
        (request(shape=(-1, 2)), "a length below 0"),
        (request(raws=2), "There are 1 inputs and 2 raw_input_contents"),
        (request(shape=(3,), raws=1), "which is 12 bytes"),
        (request(raws=1, fp32_contents=[1.0, 2.0]), "use one of them for all"),
        (request("BYTES", (1,), raws=1) + b"", "are not BYTES"),
        (b"\x0a\x02\xff\xff", "not a valid protobuf"),
        (b"\x0a\x05ab", "not a valid protobuf"),
        (b"\x0a", "not a valid protobuf"),
        (b"\x0b\x01", "not a valid protobuf"),
        (b"\x2a\x02\x0a\x7f", "not a valid protobuf"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(data: bytes, said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        decode_request(data)


def test_a_bool_is_0_or_1() -> None:
    message = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[b"\1\2"])
    message.inputs.add(name="x", datatype="BOOL", shape=[2])
    with pytest.raises(InvalidInput, match="neither 0 nor 1"):
        decode_request(message.SerializeToString())


def test_fields_that_came_later_are_skipped() -> None:
    later = b"\xa2\x06\x03abc" + b"\xa8\x06\x05" + b"\xad\x06abcd" + b"\xa9\x06abcdefgh"
    found = decode_request(later + request(fp32_contents=[1.0, math.inf]) + later)
    assert found.inputs[0].data == struct.pack("<2f", 1.0, math.inf)


def test_contents_before_the_name_are_contents() -> None:
    contents = b"\x2a\x0a\x32\x08" + struct.pack("<2f", 1, 2)
    entry = contents + b"\x0a\x01x\x12\x04FP32\x1a\x01\x02"
    found = decode_request(b"\x0a\x01m\x2a" + bytes((len(entry),)) + entry)
    assert found.inputs == [RawTensor("x", "FP32", (2,), struct.pack("<2f", 1, 2))]


@given(
    st.binary(max_size=200)
    | st.builds(lambda a, b: a + b, st.just(request(raws=1)), st.binary(max_size=50))
)
@settings(max_examples=1000)
def test_rubbish_is_read_or_refused(data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        decode_request(data)

"""The edges of gRPC: descriptors, the codec of cold messages, packing, statuses, deadlines."""

import contextlib
import gzip
import zlib
from urllib.parse import unquote

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import InvalidInput, ModelyardError, Overloaded, TooLarge
from modelyard.serve.grpc import codec, framing, proto_file, status
from modelyard.serve.grpc.descriptors import FILES, descriptor
from modelyard.serve.grpc.status import Unimplemented


@pytest.fixture(scope="module")
def pool() -> descriptor_pool.DescriptorPool:
    """Our files, as protobuf itself understands them."""
    pool = descriptor_pool.DescriptorPool()
    for name in FILES:
        pool.AddSerializedFile(descriptor(name))
    return pool


def test_descriptors_are_those_of_the_files_that_others_use(pool: descriptor_pool.DescriptorPool) -> None:
    from grpc_health.v1 import health_pb2
    from grpc_reflection.v1alpha import reflection_pb2
    from tritonclient.grpc import model_config_pb2, service_pb2

    for theirs in (health_pb2, reflection_pb2, service_pb2, model_config_pb2):
        file = descriptor_pb2.FileDescriptorProto.FromString(theirs.DESCRIPTOR.serialized_pb)
        known = {service.name: {m.name: m for m in service.method} for service in file.service}
        package = file.package
        for service, methods in known.items():
            ours = pool.FindServiceByName(f"{package}.{service}")
            for method in ours.methods:
                one = methods[method.name]
                assert f".{method.input_type.full_name}" == one.input_type
                assert f".{method.output_type.full_name}" == one.output_type
        for message in theirs.DESCRIPTOR.message_types_by_name.values():
            try:
                ours = pool.FindMessageTypeByName(message.full_name)
            except KeyError:
                continue  # of an extension that we do not have
            for field in ours.fields:
                one = message.fields_by_name[field.name]
                assert (field.number, field.type) == (one.number, one.type), field.full_name


VALUES = {
    "name": "größe", "platform": "x", "max_batch_size": -1,
    "input": [{"name": "a", "data_type": 11, "dims": [-1, 3, 1 << 40]}, {"optional": True}],
    "model_transaction_policy": {"decoupled": True},
}  # fmt: skip


def test_cold_messages_are_read_by_protobuf_and_back(pool: descriptor_pool.DescriptorPool) -> None:
    message = proto_file.load("inference").message("ModelConfigResponse")
    data = codec.encode(message, {"config": VALUES})
    theirs = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfigResponse"))
    found = theirs.FromString(data)
    assert list(found.config.input[0].dims) == [-1, 3, 1 << 40] and found.config.max_batch_size == -1
    assert codec.decode(message, found.SerializeToString()) == {"config": VALUES}


def test_maps_and_choices_are_dictionaries(pool: descriptor_pool.DescriptorPool) -> None:
    message = proto_file.load("inference").message("RepositoryModelLoadRequest")
    values = {"model_name": "m", "parameters": {"a": {"bool_param": False}, "b": {"bytes_param": b"\xff"}}}
    theirs = message_factory.GetMessageClass(
        pool.FindMessageTypeByName("inference.RepositoryModelLoadRequest")
    )
    found = theirs.FromString(codec.encode(message, values))
    assert found.parameters["a"].WhichOneof("parameter_choice") == "bool_param"
    assert codec.decode(message, found.SerializeToString()) == values


@given(
    st.sampled_from(["ModelConfigResponse", "ModelStatisticsResponse", "ModelInferRequest"]),
    st.binary(max_size=120),
)
def test_rubbish_is_read_or_refused(name: str, data: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        codec.decode(proto_file.load("inference").message(name), data)


@given(st.text())
def test_messages_are_percent_encoded(text: str) -> None:
    encoded = status.percent_encoded(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote(encoded.decode()) == text.encode("utf-8", "replace").decode()


def test_a_long_message_is_cut() -> None:
    assert len(status.percent_encoded("ü" * 5000)) <= 4096


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("250m", 0.25), ("7u", 7e-6), ("99999999n", 0.1)],
)
def test_deadlines_are_read(text: str, seconds: float) -> None:
    assert status.timeout_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "5", "5s", "-1S", "1.5S", "123456789S", "٣S"])
def test_other_deadlines_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        status.timeout_of(text)


def test_an_error_carries_all_that_rest_tells() -> None:
    import hpack

    error = Overloaded("full: 100 %", field="queue", retry_after=1.5)
    found = dict(hpack.Decoder().decode(status.HEAD + status.trailers(error, "id-1")))
    assert found["grpc-status"] == "8" and unquote(found["grpc-message"]) == "full: 100 %"
    assert found["modelyard-code"] == "overloaded" and found["modelyard-field"] == "queue"
    assert found["x-request-id"] == "id-1" and found["grpc-retry-pushback-ms"] == "1500"


def messages(encoding: str | None, limit: int = 1000) -> framing.Messages:
    headers = {b"grpc-accept-encoding": b"identity, gzip,deflate"}
    return framing.Messages(headers | ({b"grpc-encoding": encoding.encode()} if encoding else {}), limit)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_packed_messages_are_unpacked_within_the_limit(encoding: str, pack) -> None:
    one = messages(encoding)
    assert one.unpack(1, pack(b"x" * 1000)) == b"x" * 1000
    assert one.unpack(0, b"plain") == b"plain"
    with pytest.raises(TooLarge):
        one.unpack(1, pack(bytes(50_000_000)))
    with pytest.raises(InvalidInput, match="cut off"):
        one.unpack(1, pack(b"abcdef")[:-5])
    with pytest.raises(InvalidInput):
        one.unpack(1, b"neither")
    packed = one.pack(b"y" * 5000)
    assert packed[0] == 1 and len(packed) < 200
    assert messages(encoding, 9999).unpack(1, packed[5:]) == b"y" * 5000


def test_an_encoding_that_nobody_reads_is_unimplemented() -> None:
    with pytest.raises(Unimplemented) as raised:
        messages("snappy").unpack(1, b"x")
    assert status.status_of(raised.value) == 12
    with pytest.raises(InvalidInput):
        messages(None).unpack(1, b"x")


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0", b"\0\0\0\0\x02a", b"\0\0\0\0\x01ab"])
def test_a_unary_call_has_one_whole_message(body: bytes) -> None:
    with pytest.raises(ModelyardError, match="exactly one message"):
        framing.only(body)

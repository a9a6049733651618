"""gRPC clients that we did not write, against a real node: tritonclient, and grpcio with its health and reflection."""

import asyncio
import contextlib
import queue
import socket
import threading
from collections.abc import Iterator

import grpc
import ml_dtypes
import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException

from modelyard.core.deployment import ServingOptions
from modelyard.core.signature import Signature, TensorSpec
from support.models import mlp_pool, simulated_pool
from support.node import NodeProcess, wait_until

pytestmark = pytest.mark.system

ROWS = {"cost": "rows", "shape": "rows"}
NUMBERS = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], "u1"),
    "UINT16": np.array([[0, 65535]], "u2"),
    "UINT32": np.array([[0, 2**32 - 1]], "u4"),
    "UINT64": np.array([[0, 2**64 - 1]], "u8"),
    "INT8": np.array([[-128, 127]], "i1"),
    "INT16": np.array([[-32768, 32767]], "i2"),
    "INT32": np.array([[-(2**31), 2**31 - 1]], "i4"),
    "INT64": np.array([[-(2**63), 2**63 - 1]], "i8"),
    "FP16": np.array([[0.1, 65504]], "f2"),
    "FP32": np.array([[0.1, np.inf]], "f4"),
    "FP64": np.array([[0.1, -1e300]], "f8"),
}


def echo(datatype: str) -> Signature:
    spec = TensorSpec(name="x", datatype=datatype, shape=(2,))
    return Signature(inputs=(spec,), outputs=(spec,))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root = tmp_path_factory.mktemp("node")
    process = NodeProcess(root / "home", MODELYARD_MAX_BODY="4000000")
    echoes = [
        simulated_pool(
            root / name, name=f"echo-{name.lower()}", output="echo", signature=echo(name), cost=ROWS
        )
        for name in ("BF16", "BYTES", *NUMBERS)
    ]
    slow = simulated_pool(
        root / "slow", name="slow", law={"fixed_ms": 400}, serving=ServingOptions(timeout=20, max_batch=1)
    )
    process.serve(mlp_pool(root / "mlp"), *echoes, slow)
    with process:
        process.model = onnxruntime.InferenceSession(root / "mlp" / "model.onnx")
        yield process


@pytest.fixture
def client(node: NodeProcess) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{node.grpc_port}") as one:
        yield one


@pytest.fixture
def channel(node: NodeProcess) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{node.grpc_port}") as one:
        yield one


def rows(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 64)).astype("f")


def tensor(array: np.ndarray, datatype: str = "FP32", name: str = "x") -> triton.InferInput:
    one = triton.InferInput(name, list(array.shape), datatype)
    one.set_data_from_numpy(array)
    return one


def text(value: bytes) -> triton.InferInput:
    return tensor(np.array([value], dtype=object), "BYTES", "text")


def test_what_is_there_is_told(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nothing")
    assert client.get_server_metadata().name == "modelyard"
    metadata = client.get_model_metadata("mlp", as_json=True)
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "64"]}]
    config = client.get_model_config("mlp").config
    assert config.max_batch_size > 0 and list(config.input[0].dims) == [64]
    assert config.input[0].data_type == 11  # TYPE_FP32
    assert {model.name: model.state for model in client.get_model_repository_index().models}[
        "mlp"
    ] == "READY"


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_raw_tensors_are_computed(
    node: NodeProcess, client: triton.InferenceServerClient, compression: str | None
) -> None:
    x = rows(40)
    wanted = [triton.InferRequestedOutput("y")]
    result = client.infer(
        "mlp", [tensor(x)], outputs=wanted, request_id="7", compression_algorithm=compression
    )
    np.testing.assert_allclose(
        result.as_numpy("y"), node.model.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5
    )
    assert result.get_response().id == "7" and result.get_response().model_version == "1"


def test_typed_tensors_are_answered_typed(node: NodeProcess, channel: grpc.Channel) -> None:
    from tritonclient.grpc import service_pb2, service_pb2_grpc

    x = rows(2)
    request = service_pb2.ModelInferRequest(model_name="mlp")
    one = request.inputs.add(name="x", datatype="FP32", shape=[2, 64])
    one.contents.fp32_contents.extend(x.ravel().tolist())
    answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert not answer.raw_output_contents
    y = np.array(answer.outputs[0].contents.fp32_contents).reshape(answer.outputs[0].shape)
    np.testing.assert_allclose(y, node.model.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("datatype", sorted(NUMBERS))
def test_every_type_of_numbers_travels(client: triton.InferenceServerClient, datatype: str) -> None:
    array = NUMBERS[datatype]
    result = client.infer(f"echo-{datatype.lower()}", [tensor(array, datatype)])
    np.testing.assert_array_equal(result.as_numpy("x"), array)


def test_bf16_travels(client: triton.InferenceServerClient) -> None:
    array = np.array([[0.1, -3e38]], ml_dtypes.bfloat16)
    result = client.infer("echo-bf16", [tensor(array, "BF16")])
    np.testing.assert_array_equal(result.as_numpy("x").astype("f"), array.astype("f"))


def test_bytes_travel(client: triton.InferenceServerClient) -> None:
    array = np.array([["größer".encode(), b""]], dtype=object)
    result = client.infer("echo-bytes", [tensor(array, "BYTES")])
    assert result.as_numpy("x").tolist() == array.tolist()


def test_errors_have_their_status_and_sentence(client: triton.InferenceServerClient) -> None:
    for name, inputs, status, said in [
        ("nothing", [tensor(rows())], "NOT_FOUND", "There is no endpoint 'nothing' here"),
        ("mlp", [tensor(rows()[:, :3])], "INVALID_ARGUMENT", "'x' has shape [1, 3]"),
        ("mlp", [tensor(rows(), name="größe")], "INVALID_ARGUMENT", "has no input 'größe'"),
        ("mlp", [tensor(rows(20000))], "INVALID_ARGUMENT", "over the limit of 4000000 bytes"),
    ]:
        with pytest.raises(InferenceServerException) as raised:
            client.infer(name, inputs)
        assert raised.value.status() == f"StatusCode.{status}"
        assert said in raised.value.message()
    client.unload_model("mlp")
    assert client.is_model_ready("mlp")  # asleep: a call would wake it
    client.load_model("mlp")


@pytest.mark.parametrize("said", [{"client_timeout": 0.05}, {"timeout": 50_000}])
def test_a_deadline_is_kept(client: triton.InferenceServerClient, said: dict[str, float]) -> None:
    with pytest.raises(InferenceServerException) as raised:
        client.infer("slow", [text(b"a")], **said)
    assert raised.value.status() == "StatusCode.DEADLINE_EXCEEDED"


def test_a_cancelled_call_is_not_computed(node: NodeProcess, client: triton.InferenceServerClient) -> None:
    before = client.get_inference_statistics("slow").model_stats[0].execution_count
    results: queue.Queue[object] = queue.Queue()
    calls = [
        client.async_infer("slow", [text(b"a")], callback=lambda result, error: results.put(error))
        for _ in range(30)
    ]
    wait_until(lambda: any(pool.queued for pool in node.status().pools), what="calls that wait")
    for call in calls:
        call.cancel()
    for _ in calls:
        results.get(timeout=120)
    wait_until(lambda: not any(pool.queued for pool in node.status().pools), what="an empty queue")
    client.infer("slow", [text(b"a")])
    after = client.get_inference_statistics("slow").model_stats[0].execution_count
    assert after - before < len(calls)


def test_many_calls_share_a_connection(node: NodeProcess) -> None:
    async def calls() -> None:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{node.grpc_port}") as client:
            inputs = [rows(seed=number) for number in range(100)]
            results = await asyncio.gather(
                *(client.infer("mlp", [tensor(x)], request_id=str(n)) for n, x in enumerate(inputs))
            )
            for number, (x, result) in enumerate(zip(inputs, results, strict=True)):
                assert result.get_response().id == str(number)
                expected = node.model.run(None, {"x": x})[0]
                np.testing.assert_allclose(result.as_numpy("y"), expected, rtol=1e-4, atol=1e-5)

    asyncio.run(calls())


def test_a_stream_answers_in_order_and_survives_errors(client: triton.InferenceServerClient) -> None:
    got: queue.Queue[tuple[triton.InferResult | None, Exception | None]] = queue.Queue()
    client.start_stream(callback=lambda result, error: got.put((result, error)))
    for number in range(50):
        name = "nothing" if number == 20 else "mlp"
        client.async_stream_infer(name, [tensor(rows(seed=number))], request_id=str(number))
    for number in range(50):
        result, error = got.get(timeout=120)
        if number == 20:
            assert error is not None and "no endpoint 'nothing'" in error.message()
        else:
            assert result is not None and result.get_response().id == str(number)
    client.stop_stream()
    assert got.empty()


def test_a_stream_ends_each_answer_when_asked(client: triton.InferenceServerClient) -> None:
    got: queue.Queue[tuple[triton.InferResult | None, Exception | None]] = queue.Queue()
    client.start_stream(callback=lambda result, error: got.put((result, error)))
    client.async_stream_infer("mlp", [tensor(rows())], enable_empty_final_response=True)
    answers = [got.get(timeout=120) for _ in range(2)]
    client.stop_stream()
    assert not any(error for _, error in answers)
    responses = [result.get_response() for result, _ in answers]
    assert [one.parameters["triton_final_response"].bool_param for one in responses] == [False, True]
    assert len(responses[0].outputs) == 1 and not responses[1].outputs


def test_an_awaited_stream_answers(node: NodeProcess) -> None:
    async def calls() -> list[str]:
        async def requests():
            for number in range(3):
                yield {"model_name": "mlp", "inputs": [tensor(rows())], "request_id": str(number)}

        async with triton_aio.InferenceServerClient(f"127.0.0.1:{node.grpc_port}") as client:
            return [result.get_response().id async for result, _ in client.stream_infer(requests())]

    assert asyncio.run(calls()) == ["0", "1", "2"]


def test_statistics_count(client: triton.InferenceServerClient) -> None:
    before = client.get_inference_statistics("mlp").model_stats[0]
    for _ in range(3):
        client.infer("mlp", [tensor(rows())])
    client.infer("mlp", [tensor(np.concatenate([rows()] * 4))])
    after = client.get_inference_statistics("mlp").model_stats[0]
    assert after.inference_count - before.inference_count == 7 * len(rows())
    assert after.execution_count - before.execution_count == 4
    (largest,) = [each for each in after.batch_stats if each.batch_size == 4 * len(rows())]
    assert largest.compute_infer.count >= 1
    assert largest.compute_infer.ns > 0
    assert after.inference_stats.success.ns > before.inference_stats.success.ns


def test_health_is_checked_and_watched(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", "mlp", "inference.GRPCInferenceService"):
        assert stub.Check(health_pb2.HealthCheckRequest(service=service)).status == serving
    watch = stub.Watch(health_pb2.HealthCheckRequest(service="nothing"))
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()
    with pytest.raises(grpc.RpcError) as raised:
        stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_describes_every_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "inference.GRPCInferenceService" in database.get_services()
    pool = descriptor_pool.DescriptorPool(database)
    for name in database.get_services():
        for method in pool.FindServiceByName(name).methods:
            assert method.input_type.full_name and method.output_type.full_name
    request = pool.FindMessageTypeByName("inference.ModelInferRequest")
    assert request.fields_by_name["parameters"].message_type.GetOptions().map_entry


def test_an_unknown_method_is_unimplemented(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/inference.GRPCInferenceService/Nothing")(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_keys_are_asked_for_but_not_of_health(node: NodeProcess, tmp_path) -> None:
    import hashlib

    with NodeProcess(tmp_path / "home").serve(
        mlp_pool(tmp_path / "mlp"), keys=(hashlib.sha256(b"secret").hexdigest(),)
    ) as one, triton.InferenceServerClient(f"127.0.0.1:{one.grpc_port}") as client:  # fmt: skip
        assert client.is_server_live() and client.is_server_ready()
        with pytest.raises(InferenceServerException) as raised:
            client.infer("mlp", [tensor(rows())])
        assert raised.value.status() == "StatusCode.UNAUTHENTICATED"
        client.infer("mlp", [tensor(rows())], headers={"authorization": "Bearer secret"})


def test_the_port_of_rest_speaks_grpc_too(node: NodeProcess) -> None:
    with triton.InferenceServerClient(f"127.0.0.1:{node.port}") as client:
        assert client.infer("mlp", [tensor(rows())]).as_numpy("y").shape == (1, 10)


def test_a_node_that_stops_answers_first(tmp_path) -> None:
    slow = simulated_pool(tmp_path / "slow", name="slow", law={"fixed_ms": 500})
    with NodeProcess(tmp_path / "home").serve(slow) as one:
        client = triton.InferenceServerClient(f"127.0.0.1:{one.grpc_port}")
        answers: queue.Queue[object] = queue.Queue()
        client.async_infer(
            "slow", [text(b"abc")], callback=lambda result, error: answers.put(error or result)
        )
        wait_until(
            lambda: client.get_inference_statistics("slow").model_stats[0].inference_stats.queue.count
        )
        stopping = threading.Thread(target=one.stop)
        stopping.start()
        result = answers.get(timeout=120)
        stopping.join()
        assert not isinstance(result, Exception)
        client.close()


def test_rubbish_on_the_port_harms_nobody(node: NodeProcess, client: triton.InferenceServerClient) -> None:
    for rubbish in (b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64):
        with (
            socket.create_connection(("127.0.0.1", node.grpc_port), timeout=60) as one,
            contextlib.suppress(ConnectionResetError),  # closed before all was read
        ):
            one.sendall(rubbish)
            while one.recv(65536):
                pass
    assert client.is_server_live()

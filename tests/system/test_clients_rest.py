"""Clients that we did not write, against a real node: tritonclient over HTTP, and openai."""

import asyncio
import base64
from collections.abc import Iterator

import ml_dtypes
import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from serve.protocols.conftest import pools
from support.later import Later
from support.node import NodeProcess

pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

openai = Later("openai")
X = np.random.default_rng(1).standard_normal((5, 64)).astype("f")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root = tmp_path_factory.mktemp("clients")
    with NodeProcess(root / "home").serve(*pools(root)) as process:
        yield process


@pytest.fixture(scope="module")
def client(node: NodeProcess) -> Iterator[triton.InferenceServerClient]:
    client = triton.InferenceServerClient(f"127.0.0.1:{node.port}")
    yield client
    client.close()


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool = True) -> triton.InferInput:
    given = triton.InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array, binary_data=binary)
    return given


def reference(node: NodeProcess) -> np.ndarray:
    return np.array([node.post("/models/mlp/predict", {"x": x.tolist()})[1]["y"] for x in X])


def test_tritonclient_asks_what_there_is(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("mlp") and client.is_model_ready("mlp", "1")
    assert not client.is_model_ready("nobody")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("mlp")["inputs"][0]["shape"] == [-1, 64]
    assert client.get_model_config("mlp")["max_batch_size"] == 1024
    assert {model["state"] for model in client.get_model_repository_index()} == {"READY"}
    assert client.get_inference_statistics("mlp")["model_stats"][0]["name"] == "mlp"
    client.load_model("mlp")
    client.unload_model("mlp")
    assert client.is_model_ready("mlp")  # asleep: a call would wake it


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary in", "JSON in"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary out", "JSON out"])
def test_tritonclient_infers(
    node: NodeProcess, client: triton.InferenceServerClient, binary_in: bool, binary_out: bool
) -> None:
    result = client.infer(
        "mlp",
        [tensor("x", X, "FP32", binary=binary_in)],
        outputs=[triton.InferRequestedOutput("y", binary_data=binary_out)],
        request_id="mine",
    )
    assert np.abs(result.as_numpy("y") - reference(node)).max() <= 1e-5
    assert result.get_response()["id"] == "mine"


def test_tritonclient_leaves_outputs_and_options_to_us(
    node: NodeProcess, client: triton.InferenceServerClient
) -> None:
    result = client.infer("mlp", [tensor("x", X, "FP32")], priority=1, timeout=10_000_000)
    assert np.abs(result.as_numpy("y") - reference(node)).max() <= 1e-5
    with pytest.raises(InferenceServerException, match="sequences"):
        client.infer("mlp", [tensor("x", X, "FP32")], sequence_id=3, sequence_start=True)
    with pytest.raises(InferenceServerException, match="classification"):
        wanted = triton.InferRequestedOutput("y", class_count=2)
        client.infer("mlp", [tensor("x", X, "FP32")], outputs=[wanted])


@pytest.mark.parametrize("binary", [True, False])
def test_tritonclient_sends_halves_flags_and_bytes(
    client: triton.InferenceServerClient, binary: bool
) -> None:
    half = np.array([1.5, -2.0], "float16")
    brain = np.array([1.0, -2.5], ml_dtypes.bfloat16)
    inputs = [
        tensor("half", half, "FP16"),  # the client sends it as bytes alone
        tensor("brain", brain, "BF16"),
        tensor("flag", np.array(True), "BOOL", binary=binary),
        tensor("blob", np.array("größe".encode(), dtype=object), "BYTES", binary=binary),
    ]
    result = client.infer("halves", inputs)
    assert result.as_numpy("half").tolist() == [3.0, -4.0]
    assert result.as_numpy("wide").tolist() == [1.0, -2.5]
    assert result.as_numpy("flag").tolist() is False
    assert result.as_numpy("blob").item().decode() == "eßörg"


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_tritonclient_compresses_both_ways(
    node: NodeProcess, client: triton.InferenceServerClient, algorithm: str
) -> None:
    many = np.tile(X, (500, 1))  # an answer above the size from which answers are compressed
    result = client.infer(
        "mlp",
        [tensor("x", many, "FP32")],
        request_compression_algorithm=algorithm,
        response_compression_algorithm=algorithm,
    )
    assert np.abs(result.as_numpy("y")[:5] - reference(node)).max() <= 1e-5
    assert result.as_numpy("y").shape == (2500, 10)


def test_tritonclient_infers_in_its_threads(
    node: NodeProcess, client: triton.InferenceServerClient
) -> None:
    waiting = [client.async_infer("mlp", [tensor("x", X, "FP32")]) for _ in range(8)]
    for each in waiting:
        assert np.abs(each.get_result().as_numpy("y") - reference(node)).max() <= 1e-5


def test_tritonclient_infers_with_asyncio(node: NodeProcess) -> None:
    async def main() -> list[np.ndarray]:
        async with triton_aio.InferenceServerClient(f"127.0.0.1:{node.port}") as client:
            assert await client.is_server_ready()
            results = await asyncio.gather(
                *(client.infer("mlp", [tensor("x", X, "FP32")]) for _ in range(8)),
                client.infer("mlp", [tensor("x", X, "FP32", binary=False)]),
            )
            with pytest.raises(InferenceServerException, match="no endpoint"):
                await client.infer("nobody", [tensor("x", X, "FP32")])
            return [result.as_numpy("y") for result in results]

    for answer in asyncio.run(main()):
        assert np.abs(answer - reference(node)).max() <= 1e-5


@pytest.fixture(scope="module")
def ai(node: NodeProcess) -> Iterator["openai.OpenAI"]:
    with openai.OpenAI(
        base_url=f"http://127.0.0.1:{node.port}/v1", api_key="none", max_retries=0
    ) as client:
        yield client


def test_openai_lists_models(ai: "openai.OpenAI") -> None:
    assert "embed" in [model.id for model in ai.models.list()]
    assert ai.models.retrieve("embed").object == "model"
    with pytest.raises(openai.NotFoundError):
        ai.models.retrieve("nobody")


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_openai_embeds(ai: "openai.OpenAI", form: str | None) -> None:
    options = {} if form is None else {"encoding_format": form}
    answer = ai.embeddings.create(model="embed", input=["banana", "b"], **options)
    vectors = [each.embedding for each in answer.data]
    if form == "base64":
        vectors = [np.frombuffer(base64.b64decode(text), "<f4").tolist() for text in vectors]
    assert vectors == [[6.0, 3.0, 0.5, -1.0], [1.0, 0.0, 0.5, -1.0]]
    assert answer.usage.total_tokens == 0


def test_openai_reads_our_errors(ai: "openai.OpenAI") -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ai.embeddings.create(model="embed", input=[1, 2, 3])
    assert refused.value.param == "input" and refused.value.code == "invalid_input"
    with pytest.raises(openai.NotFoundError):
        ai.embeddings.create(model="nobody", input="a")
    with pytest.raises(openai.BadRequestError):
        ai.embeddings.create(model="embed", input="a", dimensions=2)


def test_openai_with_asyncio(node: NodeProcess) -> None:
    async def main() -> list[float]:
        url = f"http://127.0.0.1:{node.port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            return (await client.embeddings.create(model="embed", input="banana")).data[0].embedding

    assert asyncio.run(main()) == [6.0, 3.0, 0.5, -1.0]

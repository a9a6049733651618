"""A route over remotes that are down, slow, busy or lying: what callers get, and what the remotes are asked."""

import asyncio
import base64
import json
import struct
from collections.abc import Awaitable

import pytest
from scripted import Scripted, http, scripted

from modelyard.core.errors import ModelyardError
from modelyard.core.routes import Remote, RetryOptions, Route, RouteTable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Call, Options, RawTensor
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.remote.group import RemoteGroup
from modelyard.serve.remote.routes import RemoteRoutes

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(2,)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(1,)),),
)
ME = Options(client="me", request_id="r-1")
CALL = Call((RawTensor("x", "FP32", (1, 2), struct.pack("<2f", 1, 2)),), {}, 1, 60.0, ME)
TEXT = Call((RawTensor("text", "BYTES", (2,), b"\x01\0\0\0a\x02\0\0\0bc"),), {}, 2, 60.0)
GOOD = {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [3.0]}]}


def run(scenario: Awaitable[None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(120):
            await scenario

    asyncio.run(main())


def said(value: object, status: int = 200, *headers: str) -> bytes:
    return http(status, json.dumps(value).encode(), *headers)


class Model:
    """A foreign V2 server, without the binary extension. ``infer`` is what it answers to calls, ``stream``
    to those whose answer is streamed."""

    def __init__(self, infer: object = GOOD, stream: bytes = b"") -> None:
        self.infer = infer
        self.stream = stream
        self.calls = 0

    async def __call__(self, target: str, body: bytes) -> bytes | None:
        if target.endswith("/infer"):
            self.calls += 1
            if callable(self.infer):
                return await self.infer(self.calls)
            return said(self.infer)
        if target.endswith("/generate_stream"):
            self.calls += 1
            return self.stream
        if target == "/v2":
            return said({"name": "foreign", "extensions": []})
        if target.endswith("/ready"):
            return said({})
        tensor = {"datatype": "FP32", "shape": [-1, 2]}
        return said(
            {"name": "m", "versions": ["7"], "platform": "p",
             "inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}]}
        )  # fmt: skip


class Routes:
    """One endpoint ``e`` over these remotes, ready."""

    def __init__(self, *remotes: Scripted, kind: str = "v2", **options: object) -> None:
        self.routes = RemoteRoutes()
        to = tuple(Remote(url=remote.url, model="m", kind=kind) for remote in remotes)
        table = RouteTable(routes=(Route(endpoint="e", remotes=to, **options),))
        self.served = self.routes.follow(table, {}, NodeCollector(list).endpoint)["e"]
        self.group: RemoteGroup = self.served.backend

    async def ready(self) -> RemoteGroup:
        while not all(member.share(asyncio.get_running_loop().time()) for member in self.group.remotes):
            await asyncio.sleep(0.01)
        return self.group


async def answer_of(group: RemoteGroup, call: Call = CALL):
    return await group.submit(call).future


def test_a_foreign_server_is_spoken_to_in_json_and_its_signature_read() -> None:
    async def scenario() -> None:
        async with scripted(Model()) as remote:
            routes = Routes(remote)
            group = await routes.ready()
            assert group.signature == SIGNATURE
            assert (routes.served.version, routes.served.platform) == (7, "p")
            (tensor,) = await answer_of(group)
            assert (tensor.name, tensor.shape, bytes(tensor.data)) == ("y", (1, 1), struct.pack("<f", 3))
            _, headers, body = remote.requests[-1]
            assert json.loads(body) == {
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1.0, 2.0]}]
            }
            assert headers["modelyard-client"] == "me"
            assert headers["x-request-id"] == "r-1"
            assert headers["modelyard-hops"] == "1"
            assert 0 < float(headers["modelyard-timeout"]) <= 60
            routes.routes.close()

    run(scenario())


@pytest.mark.parametrize(
    "lie",
    [
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": [1.0, 2.0]}]},
        {"outputs": [{"name": "y", "datatype": "INT8", "shape": [1, 1], "data": [1]}]},
        {"outputs": [{"name": "z", "datatype": "FP32", "shape": [1, 1], "data": [1.0]}]},
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1], "data": ["a"]}]},
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1], "data": []}]},
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 1]}]},
        {
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}
            ]
        },
        {"outputs": 3},
        [],
        "rubbish",
    ],
)
def test_a_lie_is_told_to_nobody_when_another_backend_says_the_truth(lie: object) -> None:
    async def scenario() -> None:
        async with scripted(Model(lie)) as liar, scripted(Model()) as honest:
            alone = Routes(liar, retry=RetryOptions(attempts=1))
            result = await answer_of(await alone.ready())
            assert isinstance(result, ModelyardError)
            assert result.code == "unavailable"
            assert "wrongly" in result.message
            alone.routes.close()
            both = Routes(liar, honest)
            group = await both.ready()
            for _ in range(20):
                assert not isinstance(await answer_of(group), ModelyardError)
            both.routes.close()

    run(scenario())


def test_a_remote_that_fails_is_left_alone_after_a_few_calls() -> None:
    async def failing(number: int) -> bytes:
        return said({"error": "on fire"}, 503)

    async def scenario() -> None:
        async with scripted(Model(failing)) as remote:
            routes = Routes(remote, retry=RetryOptions(attempts=1))
            group = await routes.ready()
            codes = []
            begin = asyncio.get_running_loop().time()
            for _ in range(50):
                try:
                    codes.append((await answer_of(group)).code)
                except ModelyardError as error:
                    codes.append(error.code)
                    assert "on fire" in error.message
                    assert error.retry_after
            assert codes == ["unavailable"] * 50
            passed = asyncio.get_running_loop().time() - begin
            assert 5 <= remote.answer.calls <= 5 + 2 * passed  # after a second, two may try it
            routes.routes.close()

    run(scenario())


def test_errors_of_callers_and_of_models_do_not_open_the_breaker() -> None:
    async def alternating(number: int) -> bytes:
        return said({"error": "no"}, 400 if number % 2 else 500)

    async def scenario() -> None:
        async with scripted(Model(alternating)) as remote:
            routes = Routes(remote)
            group = await routes.ready()
            codes = [(await answer_of(group)).code for _ in range(40)]
            assert codes == ["invalid_input", "internal"] * 20
            assert remote.answer.calls == 40  # and none was asked twice
            routes.routes.close()

    run(scenario())


def test_a_brown_out_is_not_made_worse_by_retries() -> None:
    async def busy(number: int) -> bytes:
        return said({"error": "busy"}, 429)

    async def scenario() -> None:
        async with scripted(Model(busy)) as first, scripted(Model(busy)) as second:
            routes = Routes(first, second, retry=RetryOptions(attempts=5, budget=0.1))
            group = await routes.ready()
            begin = asyncio.get_running_loop().time()
            results = await asyncio.gather(*(answer_of(group) for _ in range(200)))
            passed = asyncio.get_running_loop().time() - begin
            assert {result.code for result in results} == {"overloaded"}
            assert first.answer.calls + second.answer.calls <= 200 + 0.1 * 200 + 10 + passed + 1
            routes.routes.close()

    run(scenario())


def test_retry_after_is_kept_to_where_there_is_time() -> None:
    seconds = 60

    async def once_busy(number: int) -> bytes:
        return said({"error": "busy"}, 429, f"retry-after: {seconds}") if number == 1 else said(GOOD)

    async def scenario() -> None:
        nonlocal seconds
        async with scripted(Model(once_busy)) as remote:
            routes = Routes(remote)
            group = await routes.ready()
            short = await answer_of(group, CALL._replace(timeout=30.0))
            assert (short.code, short.retry_after) == ("overloaded", 60.0)
            routes.routes.close()
            routes = Routes(remote)  # which knows nothing of the 60 seconds
            group = await routes.ready()
            remote.answer.calls, seconds = 0, 1
            assert not isinstance(await answer_of(group), ModelyardError)
            assert remote.answer.calls == 2
            routes.routes.close()

    run(scenario())


def test_a_slow_backend_is_hedged_and_the_loser_abandoned() -> None:
    async def stuck(number: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def scenario() -> None:
        async with scripted(Model(stuck)) as slow, scripted(Model()) as quick:
            routes = Routes(slow, quick, retry=RetryOptions(hedge=0.05))
            group = await routes.ready()
            while not slow.answer.calls:
                assert not isinstance(await answer_of(group), ModelyardError)
            await slow.left.wait()
            assert group.hedges >= 1
            routes.routes.close()

    run(scenario())


def test_a_caller_that_leaves_abandons_the_call_there() -> None:
    async def stuck(number: int) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def scenario() -> None:
        async with scripted(Model(stuck)) as remote:
            routes = Routes(remote)
            pending = (await routes.ready()).submit(CALL)
            while not remote.answer.calls:
                await asyncio.sleep(0.01)
            pending.cancel()
            await remote.left.wait()
            routes.routes.close()

    run(scenario())


def test_a_refused_key_is_our_fault_and_not_the_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refusing(number: int) -> bytes:
        return said({"error": "who are you"}, 401)

    async def scenario() -> None:
        async with scripted(Model(refusing)) as remote:
            routes = Routes(remote)
            result = await answer_of(await routes.ready())
            assert result.code == "internal"
            assert "key_variable" in result.message
            routes.routes.close()

    run(scenario())


def embeddings(rows: list[object]) -> bytes:
    return said(
        {
            "data": [{"index": index, "embedding": row} for index, row in enumerate(rows)][::-1],
            "usage": {"prompt_tokens": 5},
        }
    )


@pytest.mark.parametrize("as_base64", [True, False])
def test_embeddings_of_an_openai_server(monkeypatch: pytest.MonkeyPatch, as_base64: bool) -> None:
    monkeypatch.setenv("THE_KEY", "secret")
    rows: list[list[float]] = [[1.0, 2.0], [3.0, 4.0]]

    async def server(target: str, body: bytes) -> bytes:
        if target == "/v1/models":
            return said({"data": [{"id": "m"}]})
        raw = [base64.b64encode(struct.pack("<2f", *row)).decode() for row in rows]
        return embeddings(list(raw if as_base64 else rows))

    async def scenario() -> None:
        async with scripted(server) as remote:
            routes = RemoteRoutes()
            to = Remote(url=remote.url, model="m", kind="openai", key_variable="THE_KEY")
            table = RouteTable(routes=(Route(endpoint="e", remotes=(to,)),))
            group = routes.follow(table, {}, NodeCollector(list).endpoint)["e"].backend
            while not group.ready:
                await asyncio.sleep(0.01)
            (tensor,) = await answer_of(group, TEXT)
            assert (tensor.name, tensor.shape) == ("embedding", (2, 2))
            assert struct.unpack("<4f", tensor.data) == (1, 2, 3, 4)
            _, headers, body = remote.requests[-1]
            assert headers["authorization"] == "Bearer secret"
            assert json.loads(body)["input"] == ["a", "bc"]
            routes.close()

    run(scenario())


@pytest.mark.parametrize("rows", [[[1.0]], [[1.0], [1.0, 2.0]], [[], []], ["!", "!"], ["YWI=", "YWI="]])
def test_embeddings_that_are_none_are_lies(rows: list[object]) -> None:
    async def server(target: str, body: bytes) -> bytes:
        return said({"data": [{"id": "m"}]}) if target == "/v1/models" else embeddings(rows)

    async def scenario() -> None:
        async with scripted(server) as remote:
            routes = Routes(remote, kind="openai", retry=RetryOptions(attempts=1))
            result = await answer_of(await routes.ready(), TEXT)
            assert result.code == "unavailable"
            assert "wrongly" in result.message
            routes.routes.close()

    run(scenario())


def test_a_model_that_an_openai_server_does_not_have_is_not_ready() -> None:
    async def server(target: str, body: bytes) -> bytes:
        return said({"data": [{"id": "other"}]})

    async def scenario() -> None:
        async with scripted(server) as remote:
            routes = Routes(remote, kind="openai")
            while not remote.requests:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            assert not routes.group.ready
            with pytest.raises(ModelyardError, match=r"other|asked"):
                routes.group.submit(TEXT)
            routes.routes.close()

    run(scenario())


def piece(value: float) -> bytes:
    return b'data: {"model_name": "m", "y": [%g]}\n\n' % value


async def pieces_of(group: RemoteGroup, into: list[float], call: Call = CALL) -> None:
    async for answer in group.stream(call._replace(stream=True)):
        (tensor,) = answer
        into.append(struct.unpack("<f", tensor.data)[0])


def test_a_stream_is_asked_for_by_names_and_read_piece_by_piece() -> None:
    async def scenario() -> None:
        async with scripted(Model(stream=http(200, piece(1) + piece(2)))) as remote:
            group = await Routes(remote).ready()
            seen: list[float] = []
            await pieces_of(group, seen)
            assert seen == [1.0, 2.0]
            target, headers, body = remote.requests[-1]
            assert target == "/v2/models/m/generate_stream"
            assert json.loads(body) == {"x": [1.0, 2.0]}
            assert headers["modelyard-client"] == "me"
            assert group.remotes[0].calls == {"ok": 1}

    run(scenario())


def test_a_stream_that_has_not_begun_is_tried_elsewhere() -> None:
    async def scenario() -> None:
        busy = Model(stream=said({"error": "not now"}, 503))
        async with scripted(busy) as one, scripted(Model(stream=http(200, piece(3)))) as other:
            group = await Routes(one, other, retry=RetryOptions(budget=1.0)).ready()
            for _ in range(12):
                seen: list[float] = []
                await pieces_of(group, seen)
                assert seen == [3.0]
            assert group.retries == busy.calls > 0

    run(scenario())


def test_a_stream_that_stops_ends_with_the_calls_time() -> None:
    async def scenario() -> None:
        hanging = b"HTTP/1.1 200 X\r\ncontent-length: 1000\r\n\r\n" + piece(1)
        async with scripted(Model(stream=hanging)) as remote:
            group = await Routes(remote).ready()
            seen: list[float] = []
            with pytest.raises(ModelyardError, match="did not answer within") as caught:
                await pieces_of(group, seen, CALL._replace(timeout=0.5))
            assert (caught.value.code, seen) == ("deadline", [1.0])

    run(scenario())


@pytest.mark.parametrize(
    ("end", "code", "told"),
    [
        (b'data: {"error": "no more", "code": "internal"}\n\n', "internal", "no more"),
        (b"data: rubbish\n\n", "unavailable", "cannot be read"),
        (b'data: {"y": "one"}\n\n', "unavailable", "the output 'y'"),
        (b"data: {", "unavailable", "within an event"),
    ],
)
def test_a_stream_that_breaks_off_is_told_with_its_reason_and_not_begun_again(
    end: bytes, code: str, told: str
) -> None:
    async def scenario() -> None:
        model = Model(stream=http(200, piece(1) + end))
        async with scripted(model) as one, scripted(model) as other:
            group = await Routes(one, other).ready()
            seen: list[float] = []
            with pytest.raises(ModelyardError, match=told) as caught:
                await pieces_of(group, seen)
            assert (caught.value.code, seen, model.calls) == (code, [1.0], 1)

    run(scenario())

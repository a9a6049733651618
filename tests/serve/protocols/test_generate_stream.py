"""``generate_stream`` over a model that answers in pieces: the protocol alone, without executors."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest

from modelyard.core.errors import Internal, ModelyardError
from modelyard.core.routes import ExecutorSpec, Pool
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Answer, Call, RawTensor
from modelyard.serve.dataplane import Dataplane
from modelyard.serve.http import Request, Response, close_stream
from modelyard.serve.observe.metrics import NodeCollector
from modelyard.serve.protocols import Router
from modelyard.serve.served import Served

TEXT = TensorSpec(name="text", datatype="BYTES", kind="text")


class Speaker:
    """A backend that says one word at a time."""

    ready = True
    signature = Signature(inputs=(TEXT,), outputs=(TEXT,), batched=False)

    def __init__(self, *words: str, error: ModelyardError | None = None) -> None:
        self.words, self.error = words, error
        self.asked: Call | None = None
        self.closed = False

    async def stream(self, call: Call) -> AsyncIterator[Answer]:
        self.asked = call
        try:
            for word in self.words:
                yield (RawTensor("text", "BYTES", (), len(word).to_bytes(4, "little") + word.encode()),)
            if self.error is not None:
                raise self.error
        finally:
            self.closed = True


def speak(backend: Speaker) -> tuple[Served, Router]:
    collector = NodeCollector(list)
    plane = Dataplane(collector)
    spec = Pool(
        deployment="d", endpoint="m", model="m", version=3, digest="0" * 64,
        executor=ExecutorSpec(python="", adapter="echo", files=""), signature=Speaker.signature,
    )  # fmt: skip
    served = Served(SimpleNamespace(spec=spec), collector.endpoint("m"))  # type: ignore[arg-type]
    served.backend = backend  # type: ignore[assignment]
    plane._routes = {"m": served}  # pyright: ignore[reportPrivateUsage]
    return served, Router(plane, None, lambda: b"")  # type: ignore[arg-type]


async def ask(router: Router) -> Response:
    body = json.dumps({"text": "go"}).encode()
    return await router(Request("POST", "/v2/models/m/generate_stream", "", {}, "r", body))


def pieces_of(backend: Speaker) -> tuple[Served, list[dict]]:
    served, router = speak(backend)

    async def main() -> list[dict]:
        response = await ask(router)
        assert response.stream is not None
        return [json.loads(piece.removeprefix(b"data: ")) async for piece in response.stream]

    return served, asyncio.run(main())


def test_each_piece_is_an_event() -> None:
    backend = Speaker("one", "two")
    served, events = pieces_of(backend)
    assert [event["text"] for event in events] == ["one", "two"]
    assert events[0]["model_version"] == "3"
    assert backend.asked is not None and backend.asked.stream
    assert sum(served.metrics.codes.values()) == 1


def test_an_error_between_pieces_is_the_last_event() -> None:
    served, events = pieces_of(Speaker("one", error=Internal("It broke.")))
    assert [event.get("text") or event["error"] for event in events] == ["one", "It broke."]
    assert list(served.metrics.codes) == [(3, "internal")]


def test_an_error_before_the_first_piece_is_raised() -> None:
    with pytest.raises(Internal):
        pieces_of(Speaker(error=Internal("It broke.")))


def test_who_leaves_ends_the_call_and_is_counted() -> None:
    backend = Speaker("one", "two", "three")
    served, router = speak(backend)

    async def main() -> None:
        response = await ask(router)
        assert response.stream is not None
        await anext(response.stream)
        await close_stream(response.stream)

    asyncio.run(main())
    assert backend.closed
    assert list(served.metrics.codes) == [(3, "cancelled")]

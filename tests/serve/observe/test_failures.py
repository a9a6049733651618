"""The log of failed requests: each one told while they are few, counted when they are many, nothing secret."""

import asyncio
import json
from pathlib import Path

from modelyard.core.errors import (
    Deadline,
    Internal,
    InvalidInput,
    ModelyardError,
    Overloaded,
    Place,
    Unavailable,
)
from modelyard.core.signature import TensorSpec
from modelyard.serve.http import Request
from modelyard.serve.observe.failures import BURST, WINDOW, FailureLog
from support.models import function_pool
from support.node import NodeProcess

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Told:
    """A log of failures whose time the test tells."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[dict[str, object]] = []
        self.log = FailureLog(
            lambda: self.now, lambda message, line: self.lines.append({"is": message} | line)
        )

    def fail(self, error: ModelyardError, endpoint: str | None = "mlp", **headers: bytes) -> None:
        if endpoint is not None:
            error.place = Place(endpoint, 3, 0.25)
        request = Request(
            "POST", f"/models/{endpoint}/predict", "key=secret", {k.encode(): v for k, v in headers.items()}, "id-1",
            b'{"secret": 1}',
        )  # fmt: skip
        request.client = "team-a"
        self.log.failed(request, error, "rest")


def told(test) -> None:
    async def run() -> None:
        test(Told())

    asyncio.run(run())


def test_a_fault_is_told_with_all_that_helps_to_find_it_and_nothing_of_the_input() -> None:
    def test(it: Told) -> None:
        it.fail(Internal("the model said: secret", field="x"), traceparent=TRACE)
        assert it.lines == [
            {
                "is": "a request failed", "request_id": "id-1", "endpoint": "mlp", "version": 3, "seconds": 0.25,
                "code": "internal", "status": 500, "protocol": "rest", "field": "x", "client": "team-a",
                "trace_id": "0af7651916cd43dd8448eb211c80319c",
            }
        ]  # fmt: skip

    told(test)


def test_what_the_caller_did_wrong_is_not_told() -> None:
    def test(it: Told) -> None:
        it.fail(InvalidInput("no"))
        assert it.lines == []

    told(test)


def test_many_faults_are_told_up_to_a_number_and_counted() -> None:
    def test(it: Told) -> None:
        for _ in range(BURST + 30):
            it.fail(Unavailable("no"))
        assert len(it.lines) == BURST
        it.fail(Unavailable("no"), "other")
        assert len(it.lines) == BURST + 1
        it.now = WINDOW
        it.log.tell_all()
        assert it.lines[-1] == {
            "is": "more requests failed", "endpoint": "mlp", "code": "unavailable", "left_out": 30, "window": WINDOW,
        }  # fmt: skip
        it.fail(Unavailable("no"))
        assert len(it.lines) == BURST + 3

    told(test)


def test_overload_is_told_once_a_window() -> None:
    def test(it: Told) -> None:
        for error in (Overloaded("full"), Deadline("late")):
            for _ in range(100):
                it.fail(error)
        assert [line["code"] for line in it.lines] == ["overloaded", "deadline"]
        it.now = 2 * WINDOW
        it.fail(Overloaded("full"))
        assert [line.get("left_out") for line in it.lines] == [None, None, 99, None]

    told(test)


def test_a_header_that_is_no_trace_is_not_told() -> None:
    def test(it: Told) -> None:
        it.fail(Internal("no"), None, traceparent=b"00-<script>")
        assert "trace_id" not in it.lines[0]
        assert it.lines[0]["path"] == "/models/None/predict"

    told(test)


def test_a_node_tells_its_failures_without_what_was_sent(tmp_path: Path) -> None:
    code = "def predict(text: str):\n    raise ValueError(text)\n"
    pool = function_pool(tmp_path / "m", code, inputs=(TensorSpec(name="text", datatype="BYTES"),))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        status, answer = node.post(
            "/predict?key=hunter2",
            {"text": "a secret"},
            {"traceparent": TRACE.decode(), "x-request-id": "mine"},
        )
        assert status == 500
        assert "a secret" in answer["error"]
        (line,) = (json.loads(line) for line in node.log().splitlines() if '"a request failed"' in line)
        assert (line["request_id"], line["endpoint"], line["version"]) == ("mine", "function", 1)
        assert (line["code"], line["trace_id"]) == ("internal", TRACE.decode().split("-")[1])
        assert "a secret" not in node.log()
        assert "hunter2" not in node.log()

"""The executor as a process: how it starts, what rubbish does to it, how it ends."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess, signature, spec

NUMBER = spec("number", "INT64")
RESULT = spec("output", "INT64")
OPTIONS = {"file": "model.py", "entry": "predict", "signature": signature([NUMBER], [RESULT])}


def files(tmp_path: Path, source: str = "def predict(number):\n    return number + 1\n") -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "model.py").write_text(source)
    return folder


def started(executor: ExecutorProcess, tmp_path: Path) -> ExecutorProcess:
    assert executor.start("function", files(tmp_path), OPTIONS)["type"] == "HELLO"
    return executor


def frame(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<II", len(header), len(body)) + header + body


def test_hello_says_who_it_is(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("function", files(tmp_path), OPTIONS)
        assert hello["pid"] == executor.process.pid
    assert (hello["version"], hello["adapter"], hello["cost"]) == (
        1,
        "function",
        {"cost": "rows", "shape": "rows"},
    )
    assert hello["memory"] > 1_000_000


def test_ping_is_answered(tmp_path):
    with ExecutorProcess(tmp_path) as process:
        executor = started(process, tmp_path)
        executor.channel.send({"type": "PING"})
        assert executor.channel.receive()[0] == {"type": "PONG"}


def test_drain_ends_it_with_status_0(tmp_path):
    with ExecutorProcess(tmp_path) as process:
        executor = started(process, tmp_path)
        executor.channel.send({"type": "DRAIN"})
        assert executor.wait() == 0


@pytest.mark.parametrize("after_start", [False, True])
def test_a_node_that_is_gone_ends_it_with_status_0(tmp_path, after_start):
    with ExecutorProcess(tmp_path) as executor:
        if after_start:
            started(executor, tmp_path)
        executor.socket.close()
        assert executor.wait() == 0


def test_a_wire_version_that_it_does_not_speak_is_refused(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        executor.channel.send({"type": "START", "versions": [99], "adapter": "function"})
        failed, _ = executor.channel.receive()
        assert executor.wait() == 1
    assert failed["type"] == "FAILED" and "versions [99] of the wire" in failed["message"]


def test_an_adapter_that_does_not_exist_is_refused(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        failed = executor.start("../evil", tmp_path, {})
        assert executor.wait() == 1
    assert "there is no adapter '../evil'" in failed["message"]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
        struct.pack("<II", 0, 0),
        struct.pack("<II", 2**31, 0),
        frame(b"not json at all"),
        frame(b"[1, 2]"),
        frame(b"{}"),
        frame(b'{"type": "WHAT"}'),
        frame(b"\xff\xfe\x00"),
    ],
)
@pytest.mark.parametrize("after_start", [False, True])
def test_rubbish_ends_it_with_a_message_and_never_hangs(tmp_path, rubbish, after_start):
    with ExecutorProcess(tmp_path) as executor:
        if after_start:
            started(executor, tmp_path)
        executor.socket.sendall(rubbish)
        assert executor.wait() == 1
        assert executor.log.strip()


def test_a_batch_whose_sizes_disagree_with_its_body_ends_it(tmp_path):
    header = {
        "type": "BATCH",
        "batch": 1,
        "items": [{"inputs": [["number", "INT64", [], 8]], "parameters": {}}],
    }
    with ExecutorProcess(tmp_path) as process:
        executor = started(process, tmp_path)
        executor.socket.sendall(frame(json.dumps(header).encode(), b"\0" * 5))
        assert executor.wait() == 1
        assert "lists 8 bytes of tensors and brings 5" in executor.log


def test_a_frame_in_pieces_is_put_together(tmp_path):
    header = {
        "type": "BATCH",
        "batch": 1,
        "items": [{"inputs": [["number", "INT64", [], 8]], "parameters": {}}],
    }
    data = frame(json.dumps(header).encode(), np.array(41).tobytes())
    with ExecutorProcess(tmp_path) as process:
        executor = started(process, tmp_path)
        for position in range(0, len(data), 7):
            executor.socket.sendall(data[position : position + 7])
        (answer,) = executor.results()
    assert answer["output"].item() == 42


def test_many_large_items_go_through_in_order(tmp_path):
    described = signature([spec("rows", "FP64", (-1,))], [spec("output", "FP64", (-1,))])
    source = "def predict(rows):\n    return rows\n"
    items: list[Any] = [{"rows": np.arange(index, index + 20_000.0)} for index in range(40)]
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", files(tmp_path, source), dict(OPTIONS, signature=described))
        answers = executor.batch(*items)
    assert all(
        np.array_equal(item["rows"], answer["output"]) for item, answer in zip(items, answers, strict=True)
    )


def test_what_lies_beside_the_executor_is_invisible_to_the_model(tmp_path):
    source = "def predict(number):\n    import modelyard\n    return 1\n"
    with ExecutorProcess(tmp_path, python=_bare_python()) as executor:
        executor.start("function", files(tmp_path, source), OPTIONS)
        (answer,) = executor.batch({"number": np.array(1)})
    assert "ModuleNotFoundError" in answer["message"]


def _bare_python() -> str:
    """The interpreter below the virtual environment: without Modelyard, numpy or anything."""
    import sys

    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")

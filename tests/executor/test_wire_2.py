"""Version 2 of the wire as the executor speaks it: alike items, work ahead, cancellation, streams, memory."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess, signature, spec

NUMBER = spec("number", "INT64")
RESULT = spec("output", "INT64")
TEXT = spec("output", "BYTES", kind="text")
ALIKE = [["number", "INT64", [], 8]]


def begin(executor: ExecutorProcess, folder: Path, source: str, output: Any = RESULT) -> dict[str, Any]:
    files = folder / "files"
    files.mkdir()
    (files / "model.py").write_text(source)
    entry = "Model" if "class Model" in source else "predict"
    described = {"file": "model.py", "entry": entry, "signature": signature([NUMBER], [output])}
    hello = executor.start("function", files, described, versions=[1, 2])
    assert hello["type"] == "HELLO", hello
    return hello


def numbers(*values: int) -> bytes:
    return np.array(values).tobytes()


def items(*values: int, stream: bool = False) -> list[dict[str, Any]]:
    return [{"inputs": ALIKE, **({"stream": True} if stream else {})} for _ in values]


DOUBLE = "def predict(number):\n    return number * 2\n"


def test_hello_says_how_much_it_takes_and_whether_it_streams(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        hello = begin(executor, tmp_path, DOUBLE)
    assert (hello["version"], hello["depth"], hello["streams"]) == (2, 2, False)


def test_alike_items_are_described_once_both_ways(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, DOUBLE)
        executor.channel.send(
            {"type": "BATCH", "batch": 1, "alike": 3, "inputs": ALIKE}, [numbers(1, 2, 3)]
        )
        header, body = executor.channel.receive()
    assert (header["alike"], header["outputs"]) == (3, [["output", "INT64", [], 8]])
    assert np.frombuffer(body, "int64").tolist() == [2, 4, 6]


def test_the_bodies_of_alike_items_stand_tensor_by_tensor(tmp_path):
    described = signature([NUMBER, spec("other", "INT32")], [RESULT, spec("more", "INT32")])
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.py").write_text(
        "def predict(number, other):\n    return {'output': number, 'more': other}"
    )
    with ExecutorProcess(tmp_path) as executor:
        options = {"file": "model.py", "entry": "predict", "signature": described}
        executor.start("function", files, options, versions=[2])
        executor.channel.send(
            {"type": "BATCH", "batch": 1, "alike": 2, "inputs": [*ALIKE, ["other", "INT32", [], 4]]},
            [numbers(1, 2), np.array([3, 4], "int32").tobytes()],
        )
        _, body = executor.channel.receive()
    assert bytes(body) == numbers(1, 2) + np.array([3, 4], "int32").tobytes()


def test_results_that_differ_are_described_one_by_one(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, "def predict(number):\n    return 1 // number\n")
        executor.channel.send({"type": "BATCH", "batch": 1, "alike": 2, "inputs": ALIKE}, [numbers(1, 0)])
        header, _ = executor.channel.receive()
    assert "outputs" in header["items"][0] and "ZeroDivisionError" in header["items"][1]["error"]["message"]


@pytest.mark.parametrize("ahead", [1, 5])
def test_batches_sent_ahead_are_answered_in_order(tmp_path, ahead):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, DOUBLE)
        for number in range(1, ahead + 1):
            frame = {"type": "BATCH", "batch": number, "alike": 1, "inputs": ALIKE}
            executor.channel.send(frame, [numbers(number)])
        answers = [executor.channel.receive() for _ in range(ahead)]
    assert [header["batch"] for header, _ in answers] == list(range(1, ahead + 1))
    assert [np.frombuffer(body, "int64")[0] for _, body in answers] == [2 * n for n in range(1, ahead + 1)]


# The first batch waits until the file says that what comes behind it has been sent.
WAITS = (
    "import pathlib, time\n"
    "def predict(number):\n"
    "    print('computes', number, flush=True)\n"
    "    while number == 1 and not pathlib.Path('go').exists():\n"
    "        time.sleep(0.001)\n"
    "    return number\n"
)


def test_what_is_cancelled_while_another_batch_computes_is_never_computed(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, WAITS)
        channel = executor.channel
        channel.send({"type": "BATCH", "batch": 1, "alike": 1, "inputs": ALIKE}, [numbers(1)])
        channel.send({"type": "BATCH", "batch": 2, "alike": 3, "inputs": ALIKE}, [numbers(10, 20, 30)])
        channel.send({"type": "CANCEL", "batch": 2, "items": [0, 2]})
        channel.send({"type": "CANCEL", "batch": 9, "items": [0]})
        channel.send({"type": "PING"})
        assert channel.receive()[0]["type"] == "PONG"  # all before it has been read
        (tmp_path / "go").touch()
        assert channel.receive()[0]["batch"] == 1
        header, body = channel.receive()
        log = executor.log
    codes = [item.get("error", {}).get("code") for item in header["items"]]
    assert codes == ["cancelled", None, "cancelled"]
    assert np.frombuffer(body, "int64").tolist() == [20]
    assert "computes 10" not in log and "computes 30" not in log


def test_a_ping_is_answered_while_a_batch_computes(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, WAITS)
        executor.channel.send({"type": "BATCH", "batch": 1, "alike": 1, "inputs": ALIKE}, [numbers(1)])
        executor.channel.send({"type": "PING"})
        assert executor.channel.receive()[0]["type"] == "PONG"
        (tmp_path / "go").touch()
        assert executor.channel.receive()[0]["type"] == "RESULT"


def test_rubbish_while_a_batch_computes_ends_it(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, WAITS)
        executor.channel.send({"type": "BATCH", "batch": 1, "alike": 1, "inputs": ALIKE}, [numbers(1)])
        executor.channel.send({"type": "WHAT"})
        (tmp_path / "go").touch()
        assert executor.wait() == 1
        assert "'WHAT', which is not known here" in executor.log


def test_a_drain_behind_batches_lets_them_be_answered(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, DOUBLE)
        for number in (1, 2, 3):
            frame = {"type": "BATCH", "batch": number, "alike": 1, "inputs": ALIKE}
            executor.channel.send(frame, [numbers(number)])
        executor.channel.send({"type": "DRAIN"})
        assert [executor.channel.receive()[0]["batch"] for _ in range(3)] == [1, 2, 3]
        assert executor.wait() == 0


STORY = "def predict(number):\n    for part in range(number):\n        yield 'part %d ' % part\n"


def test_a_streamed_item_comes_in_pieces_and_ends_with_its_result(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        assert begin(executor, tmp_path, STORY, TEXT)["streams"] is True
        executor.channel.send(
            {"type": "BATCH", "batch": 1, "items": items(2, stream=True) + items(3)}, [numbers(2, 3)]
        )
        frames = [executor.channel.receive() for _ in range(3)]
    assert [(header["type"], header.get("index")) for header, _ in frames] == [
        ("STREAM", 0),
        ("STREAM", 0),
        ("RESULT", None),
    ]
    assert bytes(frames[1][1])[4:] == b"part 1 "
    assert frames[2][0]["items"][0] == {"outputs": []}
    assert bytes(frames[2][1])[4:] == b"part 0 part 1 part 2 "


def test_streams_of_one_batch_take_turns(tmp_path):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, STORY, TEXT)
        executor.channel.send(
            {"type": "BATCH", "batch": 1, "items": items(2, 2, stream=True)}, [numbers(2, 2)]
        )
        turns = [executor.channel.receive()[0].get("index") for _ in range(5)]
    assert turns == [0, 1, 0, 1, None]


def test_a_stream_that_raises_keeps_its_pieces_and_tells_the_error(tmp_path):
    source = "def predict(number):\n    yield 1\n    raise ValueError('broke')\n"
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, source)
        executor.channel.send({"type": "BATCH", "batch": 1, "items": items(1, stream=True)}, [numbers(1)])
        assert executor.channel.receive()[0]["type"] == "STREAM"
        header, _ = executor.channel.receive()
    assert "ValueError: broke" in header["items"][0]["error"]["message"]


def test_a_cancelled_stream_is_closed_between_two_pieces(tmp_path):
    source = (
        "import itertools\n"
        "def predict(number):\n"
        "    try:\n"
        "        yield from itertools.count()\n"
        "    finally:\n"
        "        print('closed', flush=True)\n"
    )
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, source)
        executor.channel.send({"type": "BATCH", "batch": 1, "items": items(1, stream=True)}, [numbers(1)])
        executor.channel.receive()
        executor.channel.send({"type": "CANCEL", "batch": 1, "items": [0]})
        while (header := executor.channel.receive()[0])["type"] == "STREAM":
            pass
        assert header["items"][0]["error"]["code"] == "cancelled"
        assert "closed" in executor.log


HUNGRY = (
    "class Model:\n"
    "    def predict_batch(self, records):\n"
    "        if len(records) > 2 or records[0]['number'] == 99:\n"
    "            raise {error}\n"
    "        return [record['number'] for record in records]\n"
)


@pytest.mark.parametrize(
    "error",
    [
        "MemoryError()",
        "RuntimeError('CUDA out of memory. Tried to allocate 2.00 GiB')",
        "RuntimeError('[enforce fail at alloc_cpu.cpp:116] DefaultCPUAllocator: can\\'t allocate memory')",
        "Exception('[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer')",
    ],
)
def test_a_batch_out_of_memory_is_told_as_a_whole_and_one_alone_is_too_large(tmp_path, error):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, HUNGRY.format(error=error))
        channel = executor.channel
        channel.send({"type": "BATCH", "batch": 1, "alike": 3, "inputs": ALIKE}, [numbers(1, 2, 3)])
        header, body = channel.receive()
        assert header["out_of_memory"] is True and "items" not in header and not body
        channel.send({"type": "BATCH", "batch": 2, "alike": 2, "inputs": ALIKE}, [numbers(1, 2)])
        assert channel.receive()[0]["alike"] == 2
        channel.send({"type": "BATCH", "batch": 3, "alike": 1, "inputs": ALIKE}, [numbers(99)])
        (item,) = channel.receive()[0]["items"]
    assert item["error"]["code"] == "too_large"


def test_a_node_of_version_1_has_the_batch_halved_for_it(tmp_path):
    files = tmp_path / "files"
    files.mkdir()
    (files / "model.py").write_text(HUNGRY.format(error="MemoryError()"))
    described = {"file": "model.py", "entry": "Model", "signature": signature([NUMBER], [RESULT])}
    with ExecutorProcess(tmp_path) as executor:
        executor.start("function", files, described)
        answers = executor.batch(*({"number": np.array(each)} for each in (1, 2, 3, 99, 4)))
    assert [answer["output"].item() for answer in answers[:3]] == [1, 2, 3]
    assert answers[3]["code"] == "too_large" and answers[4]["output"] == 4


@pytest.mark.parametrize(
    "header",
    [
        {"type": "BATCH", "batch": 1, "alike": 0, "inputs": ALIKE},
        {"type": "BATCH", "batch": 1, "alike": -1, "inputs": ALIKE},
        {"type": "BATCH", "batch": 1, "alike": 2, "inputs": [["number", "INT64", [], -4]]},
        {"type": "BATCH", "batch": 1, "alike": 2, "inputs": ALIKE},
        {"type": "BATCH", "batch": 1, "alike": "many", "inputs": ALIKE},
        {"type": "BATCH", "batch": 1},
    ],
)
def test_an_impossible_batch_ends_it(tmp_path, header):
    with ExecutorProcess(tmp_path) as executor:
        begin(executor, tmp_path, DOUBLE)
        raw = json.dumps(header, separators=(",", ":")).encode()
        executor.socket.sendall(struct.pack("<II", len(raw), 8) + raw + numbers(1))
        assert executor.wait() == 1


def test_results_are_packed_behind_the_next_batch_where_a_device_computes(tmp_path):
    """The node hears that a batch is computed before its result; what follows is in order, whatever it is."""
    options = {
        "law": {"fixed_ms": 20},
        "faults": {"raise": "bad"},
        "cost": {"cost": "rows", "shape": "rows"},
    }
    text = ["text", "BYTES", [1], 7]
    with ExecutorProcess(tmp_path) as executor:
        hello = executor.start("simulated", tmp_path, options, versions=[1, 2], computed=True)
        assert hello["type"] == "HELLO", hello
        for number in range(1, 7):
            data = b"\3\0\0\0" + (b"bad" if number == 3 else b"abc")
            batch = {"type": "BATCH", "batch": number, "alike": 20, "inputs": [text]}
            executor.channel.send(batch, [data * 20])
        executor.channel.send({"type": "DRAIN"})
        heard = []
        while len(heard) < 6 or heard[-1] != ("RESULT", 6):
            header, _ = executor.channel.receive()
            heard.append((header["type"], header["batch"]))
            if header["type"] == "RESULT":
                failed = "items" in header and "error" in header["items"][0]
                assert failed == (header["batch"] == 3), header
        executor.process.wait(60)
    assert [number for kind, number in heard if kind == "RESULT"] == [1, 2, 3, 4, 5, 6]
    computed = [number for kind, number in heard if kind == "COMPUTED"]
    assert computed and computed == sorted(computed) and 6 not in computed
    for number in computed:
        assert heard.index(("COMPUTED", number)) < heard.index(("RESULT", number))


def test_a_node_that_does_not_know_of_it_hears_nothing_of_computed_batches(tmp_path):
    text = ["text", "BYTES", [1], 7]
    with ExecutorProcess(tmp_path) as executor:
        executor.start("simulated", tmp_path, {"law": {"fixed_ms": 20}}, versions=[1, 2])
        for number in (1, 2, 3):
            batch = {"type": "BATCH", "batch": number, "alike": 20, "inputs": [text]}
            executor.channel.send(batch, [b"\3\0\0\0abc" * 20])
        heard = [executor.channel.receive()[0]["type"] for _ in range(3)]
    assert heard == ["RESULT"] * 3

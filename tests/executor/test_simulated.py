"""The simulated device takes the time that its law states, and fails as it is told to."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from executor.process import ExecutorProcess, signature, spec


def texts(*rows: str) -> dict[str, Any]:
    return {"text": np.array(rows)}


def start(process: ExecutorProcess, folder: Path, **options: Any) -> dict[str, Any]:
    hello = process.start("simulated", folder, options)
    assert hello["type"] == "HELLO", hello
    return hello


def test_every_row_is_answered_with_its_length(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        hello = start(process, tmp_path)
        assert hello["cost"] == {"cost": "length", "of": "text", "shape": "padded"}
        first, second = process.batch(texts("ab", "größe"), texts(""))
        assert first["length"].tolist() == [2, 7]
        assert second["length"].tolist() == [1]


def test_inputs_are_echoed_when_that_is_asked(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        start(process, tmp_path, output="echo")
        assert process.batch(texts("a", "b"))[0]["text"].tolist() == [b"a", b"b"]


@pytest.mark.parametrize(
    ("shape", "seconds"), [("padded", 0.02 + 3 * 0.01 + 3 * 100 * 1e-4), ("ragged", 0.02 + 0.014 + 0.0108)]
)
def test_a_batch_takes_no_less_than_its_law_says(tmp_path: Path, shape: str, seconds: float) -> None:
    law = {"fixed_ms": 20, "per_padded_us": 1000, "per_square_us": 100}
    with ExecutorProcess(tmp_path) as process:
        start(process, tmp_path, law=law, cost={"cost": "length", "of": "text", "shape": shape})
        process.batch(texts("a"))
        started = time.perf_counter()
        process.batch(texts("aa"), texts("aa"), texts("a" * 10))
        assert time.perf_counter() - started >= seconds


def test_numbers_are_measured_as_the_cost_says(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        start(
            process,
            tmp_path,
            cost={"cost": "elements", "of": "x", "shape": "padded"},
            signature=signature([spec("x", "FP32", (-1, 2))], [spec("length", "INT64")], batched=True),
        )
        answer = process.batch({"x": np.zeros((3, 5, 2), "float32")})[0]
        assert answer["length"].tolist() == [10, 10, 10]


def test_a_batch_over_its_memory_is_out_of_memory_and_its_items_alone_are_not(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        start(process, tmp_path, memory=8)
        answers = process.batch(texts("abcd"), texts("abcd"), texts("a" * 9))
        assert [answer["length"].tolist() for answer in answers[:2]] == [[4], [4]]
        assert "memory" in answers[2]["message"]


def test_what_raises_is_found_and_what_is_refused_is_the_callers_fault(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        start(process, tmp_path, faults={"raise": "bad", "refuse": "wrong"})
        good, bad, wrong = process.batch(texts("good"), texts("so bad"), texts("wrong"))
        assert good["length"].tolist() == [4]
        assert bad["code"] == "internal"
        assert wrong["code"] == "invalid_input"


@pytest.mark.parametrize(("fault", "status"), [("exit", 3), ("kill", -9)])
def test_it_dies_of_an_item_when_told_to(tmp_path: Path, fault: str, status: int) -> None:
    with ExecutorProcess(tmp_path) as process:
        start(process, tmp_path, faults={fault: "poison"})
        with pytest.raises((EOFError, ConnectionResetError)):
            process.batch(texts("poison"))
        assert process.wait() == status


def test_each_process_takes_one_speed_and_leaves_it_when_it_dies(tmp_path: Path) -> None:
    def refused(process: ExecutorProcess) -> dict[str, Any]:
        return process.start("simulated", tmp_path, {"speeds": [1, 3]})

    with ExecutorProcess(tmp_path) as first, ExecutorProcess(tmp_path) as second:
        start(first, tmp_path, speeds=[1, 3])
        start(second, tmp_path, speeds=[1, 3])
        with ExecutorProcess(tmp_path) as third:
            assert "more than 2 processes" in refused(third)["message"]
        first.process.kill()
        first.process.wait()
        with ExecutorProcess(tmp_path) as third:
            assert refused(third)["type"] == "HELLO"


def test_an_option_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with ExecutorProcess(tmp_path) as process:
        failed = process.start("simulated", tmp_path, {"laws": {}})
        assert "no option laws" in failed["message"]

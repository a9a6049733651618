"""Models that answer otherwise beside others are found out, and compute each call alone from then on."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from modelyard.core.errors import InvalidInput, TooLarge, Unavailable
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Call, RawTensor, Result
from modelyard.serve.pool.together import UNFINISHED, difference, mate
from support.models import function_pool, mlp_pool, mlp_signature
from support.node import NodeProcess

NUMBERS = Signature(
    inputs=(TensorSpec(name="x", datatype="FP32", shape=(2,)),),
    outputs=(TensorSpec(name="y", datatype="FP32", shape=(2,)),),
)
JSON = Signature(
    inputs=NUMBERS.inputs, outputs=(TensorSpec(name="y", datatype="BYTES", shape=(), kind="json"),)
)


def call(*values: float) -> Call:
    data = np.array([values], "f4")
    return Call((RawTensor("x", "FP32", data.shape, data.tobytes()),), {}, 1, 5.0)


def answered(rows: Sequence[np.ndarray]) -> list[Result]:
    return [(RawTensor("y", "FP32", (1, 2), row.astype("f4").tobytes()),) for row in rows]


def documents(*values: object) -> list[Result]:
    found: list[Result] = []
    for value in values:
        text = msgspec.json.encode(value)
        found.append((RawTensor("y", "BYTES", (1,), len(text).to_bytes(4, "little") + text),))
    return found


def asked(model, signature: Signature = NUMBERS, tolerance: float = 1e-4) -> str | None:
    """What is found out about ``model``, a function of the values of some calls."""

    async def ask(calls: Sequence[Call]) -> Sequence[Result]:
        return model([np.frombuffer(each.inputs[0].data, "f4") for each in calls])

    async def run() -> str | None:
        first = call(1.0, 2.0)
        (alone,) = await ask([first])
        assert isinstance(alone, tuple)
        return await difference(ask, first, alone, signature, tolerance)

    return asyncio.run(run())


def test_rows_that_do_not_notice_each_other_may_be_together() -> None:
    assert asked(lambda rows: answered([2 * row for row in rows])) is None
    assert asked(lambda rows: answered([2 * row + len(rows) * 1e-6 for row in rows])) is None


def test_rows_that_do_are_told_with_how_far_they_are_apart() -> None:
    def mixes(rows: list[np.ndarray]) -> list[Result]:
        return answered([row / np.sum(rows) for row in rows])

    why = asked(mixes)
    assert why is not None and why.startswith("'y' differs by 0.") and "0.0001 is tolerated" in why
    assert asked(mixes, tolerance=1.0) is None


def test_a_model_that_does_not_repeat_itself_is_not_judged() -> None:
    chance = np.random.default_rng(1)
    assert asked(lambda rows: answered([chance.random(2) for _ in rows])) is None


def test_documents_are_compared_by_their_numbers_and_all_else_by_equality() -> None:
    def of(change):
        return asked(lambda rows: documents(*[change(len(rows) > 1) for _ in rows]), JSON)

    assert of(lambda many: {"a": [1.5 + 1e-6 * many, "b", 2], "c": None}) is None
    assert "differs by" in str(of(lambda many: {"a": 1.5 + 0.1 * many}))
    for other in ({"a": 2}, {"b": 1}, [], "text", None, {"a": [1]}):
        assert "another value" in str(of(lambda many, other=other: other if many else {"a": 1}))
    assert of(lambda many: float("nan")) is None
    assert "another value" in str(of(lambda many: [1.0, float("nan") if many else 2.0]))


def test_shapes_and_outputs_count() -> None:
    def shapes(rows: list[np.ndarray]) -> list[Result]:
        return [(RawTensor("y", "FP32", (1, len(rows)), bytes(4 * len(rows))),) for _ in rows]

    def names(rows: list[np.ndarray]) -> list[Result]:
        return [(RawTensor("y" if len(rows) == 1 else "z", "FP32", (1, 1), bytes(4)),) for _ in rows]

    assert "has the shape [1, 1] alone and [1, 3] beside others" in str(asked(shapes))
    assert "only answered alone" in str(asked(names))


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (InvalidInput("no", field="x"), "fails beside others: no"),
        (Unavailable("its process ended"), UNFINISHED),
        (TooLarge("memory"), None),
    ],
)
def test_errors_beside_others(error: Result, why: str | None) -> None:
    found = asked(lambda rows: [error] * len(rows) if len(rows) > 1 else answered(rows))
    assert found == why if why in (None, UNFINISHED) else why in str(found)


def test_a_made_up_mate_that_is_refused_gives_way_to_the_call_itself() -> None:
    def strict(rows: list[np.ndarray]) -> list[Result]:
        if any(row[0] != 1.0 for row in rows):
            return [InvalidInput("only 1", field="x")]
        return answered([row / len(rows) for row in rows])

    assert "differs by" in str(asked(strict))


def test_a_mate_is_shorter_or_moved_and_keeps_its_form() -> None:
    signature = Signature(
        inputs=(
            TensorSpec(name="ids", datatype="INT64", shape=(-1,)),
            TensorSpec(name="mask", datatype="INT64", shape=(2, -1)),
            TensorSpec(name="text", datatype="BYTES", shape=(), kind="text"),
            TensorSpec(name="image", datatype="BYTES", shape=(), kind="bytes"),
            TensorSpec(name="count", datatype="INT32", shape=()),
            TensorSpec(name="x", datatype="FP64", shape=(1,)),
        )
    )
    first = Call(
        (
            RawTensor("ids", "INT64", (1, 5), np.arange(5).tobytes()),
            RawTensor("mask", "INT64", (1, 2, 4), np.arange(8).tobytes()),
            RawTensor("text", "BYTES", (1,), b"\x05\x00\x00\x00hello"),
            RawTensor("image", "BYTES", (1,), b"\x02\x00\x00\x00\xff\xfe"),
            RawTensor("count", "INT32", (1,), np.array([3], "i4").tobytes()),
            RawTensor("x", "FP64", (1, 1), np.array([0.0]).tobytes()),
        ),
        {"p": 1},
        1,
        5.0,
    )
    other = {each.name: each for each in mate(first, signature).inputs}
    assert (other["ids"].shape, np.frombuffer(other["ids"].data, "i8").tolist()) == ((1, 2), [0, 1])
    assert other["mask"].shape == (1, 2, 2)
    assert np.frombuffer(other["mask"].data, "i8").tolist() == [0, 1, 4, 5]
    assert other["text"].data == b"\x02\x00\x00\x00he"
    assert np.frombuffer(other["x"].data, "f8").tolist() == [0.25]
    assert [other[name] for name in ("image", "count")] == [first.inputs[3], first.inputs[4]]
    assert mate(first, signature).parameters == {"p": 1}


def test_an_exported_graph_that_mixes_its_rows_serves_each_call_alone(tmp_path: Path) -> None:
    """A softmax along the batch: right for one record, wrong beside others, in every shape as it should be."""
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], axis=0)],
        "mixes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 64])],
    )
    pool = mlp_pool(tmp_path / "m")
    signature = mlp_signature((64, 0, 64))
    told = {"file": "model.onnx", "signature": msgspec.to_builtins(signature)}
    pool = msgspec.structs.replace(
        pool, signature=signature, executor=msgspec.structs.replace(pool.executor, options=told)
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "m" / "model.onnx")
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert str(node.status().pools[0].apart).startswith("'y' differs by")
        log = (tmp_path / "home" / "logs" / "models" / "mlp-1.log").read_text()
        assert "calls are computed one at a time: 'y' differs by" in log
        assert together(node, [{"x": [float(n)] * 64} for n in range(16)]) == [{"y": [1.0] * 64}] * 16
        node.stop()
        node.start()  # it is remembered, and not tried again
        assert str(node.status().pools[0].apart).startswith("'y' differs by")
        assert log.count("one at a time") == 1


def test_a_model_that_states_what_it_tolerates_is_taken_at_its_word(tmp_path: Path) -> None:
    pool = function_pool(tmp_path / "m", BATCHED, entry="Model")
    options = {**pool.executor.options, "tolerance": 0.6}
    pool = msgspec.structs.replace(pool, executor=msgspec.structs.replace(pool.executor, options=options))
    with NodeProcess(tmp_path / "home").serve(pool) as node:
        assert node.status().pools[0].apart is None


def test_a_model_whose_process_ends_of_several_calls_serves_each_alone(tmp_path: Path) -> None:
    code = BATCHED.replace("scale = len(records)", "scale = 1 if len(records) == 1 else os._exit(7)")
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code, entry="Model")) as node:
        assert node.status().pools[0].apart == UNFINISHED
        assert together(node, [{"x": float(n)} for n in range(8)]) == [
            {"output": n + 0.25} for n in range(8)
        ]


def test_an_example_with_a_gap_is_computed_beside_itself(tmp_path: Path) -> None:
    """NaN cannot be moved into another number: the mate is the call itself."""
    code = BATCHED.replace("0.25 * scale", "scale").replace('record["x"]', "0")
    column = TensorSpec(name="x", datatype="FP64", kind="table")
    pool = function_pool(tmp_path / "m", code, entry="Model", inputs=(column,))
    with NodeProcess(tmp_path / "home").serve(msgspec.structs.replace(pool, example={"x": None})) as node:
        assert "differs" in str(node.status().pools[0].apart) or "another" in str(
            node.status().pools[0].apart
        )


def test_what_cannot_be_compared_serves_all_the_same() -> None:
    """Whatever goes wrong in it, a version must not wait for it for ever."""

    async def ask(calls: Sequence[Call]) -> Sequence[Result]:
        raise InvalidInput("its cost cannot be measured", field="x")

    first = call(1.0, 2.0)
    assert asyncio.run(difference(ask, first, answered([np.zeros(2)])[0], NUMBERS, 1e-4)) is None


def test_a_model_that_says_nothing_of_batches_is_called_once_at_its_start(tmp_path: Path) -> None:
    code = "count = 0\ndef predict(x: float):\n    global count\n    count += 1\n    return count\n"
    with NodeProcess(tmp_path / "home").serve(function_pool(tmp_path / "m", code)) as node:
        assert node.post("/predict", {"x": 1.0}) == (200, {"output": 2})
        assert node.status().pools[0].apart is None


BATCHED = """
import os
class Model:
    def predict(self, x: float):
        return self.predict_batch([{"x": x}])[0]
    def predict_batch(self, records):
        scale = len(records)
        return [record["x"] + 0.25 * scale for record in records]
"""


def together(node: NodeProcess, records: list[dict]) -> list[dict]:
    """The answers to calls that are made at the same time."""
    with ThreadPoolExecutor(len(records)) as callers:
        answers = list(callers.map(lambda record: node.post("/predict", record), records))
    assert {status for status, _ in answers} == {200}, answers
    return [answer for _, answer in answers]

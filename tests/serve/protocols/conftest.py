"""A node with small models of every kind that protocols have words for, shared by the tests of one file."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelyard.core.routes import Pool, RouteTable
from modelyard.core.signature import ParameterSpec, TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess

ECHO = """
def predict(text: str, times: int = 1):
    if text == "boom":
        raise ValueError("no boom, please")
    return text * times
"""
EMBED = """
def predict(text: str):
    return [float(len(text)), float(text.count("a")), 0.5, -1.0]
"""
TABLE = """
import math
def predict(age: float, visits: int, city: str, factor: float = 1.0):
    score = (0.0 if math.isnan(age) else age) * visits * factor
    return {"score": score, "city": city.upper()}
"""
VECTOR = """
import numpy
class Model:
    def predict_batch(self, records):
        return [{"total": float(numpy.sum(record["features"])) * record.get("scale", 1)} for record in records]
"""
HALVES = """
import numpy
def predict(half: numpy.ndarray, brain: numpy.ndarray, flag: bool, blob: str):
    wide = (brain.astype("uint32") << 16).view("float32")
    return {"half": half * 2, "wide": wide, "flag": not flag, "blob": blob[::-1]}
"""


def batched(pool: Pool) -> Pool:
    """The same model with a batch axis."""
    assert pool.signature is not None
    signature = msgspec.structs.replace(pool.signature, batched=True)
    options = pool.executor.options | {"signature": msgspec.to_builtins(signature)}
    executor = msgspec.structs.replace(pool.executor, options=options)
    return msgspec.structs.replace(pool, signature=signature, executor=executor)


def pools(root: Path) -> tuple[Pool, ...]:
    text = TensorSpec(name="text", datatype="BYTES", kind="text")
    return (
        mlp_pool(root / "mlp"),
        function_pool(
            root / "echo", ECHO, name="echo",
            inputs=(text, TensorSpec(name="times", datatype="INT64", optional=True)),
            outputs=(TensorSpec(name="output", datatype="BYTES", kind="text"),),
        ),
        batched(function_pool(
            root / "embed", EMBED, name="embed", inputs=(text,),
            outputs=(TensorSpec(name="output", datatype="FP32", shape=(4,), kind="embedding"),),
        )),
        batched(function_pool(
            root / "table", TABLE, name="table",
            inputs=(
                TensorSpec(name="age", datatype="FP64", kind="table"),
                TensorSpec(name="visits", datatype="INT64", kind="table"),
                TensorSpec(name="city", datatype="BYTES", kind="label"),
            ),
            outputs=(
                TensorSpec(name="score", datatype="FP64"),
                TensorSpec(name="city", datatype="BYTES", kind="label"),
            ),
            parameters=(ParameterSpec(name="factor", type="float"),),
        )),
        batched(function_pool(
            root / "vector", VECTOR, name="vector", entry="Model",
            inputs=(TensorSpec(name="features", datatype="FP64", shape=(3,), kind="table"),),
            outputs=(TensorSpec(name="total", datatype="FP64"),),
            parameters=(ParameterSpec(name="scale", type="int"),),
        )),
        function_pool(
            root / "halves", HALVES, name="halves",
            inputs=(
                TensorSpec(name="half", datatype="FP16", shape=(-1,)),
                TensorSpec(name="brain", datatype="BF16", shape=(-1,)),
                TensorSpec(name="flag", datatype="BOOL"),
                TensorSpec(name="blob", datatype="BYTES"),
            ),
            outputs=(
                TensorSpec(name="half", datatype="FP16", shape=(-1,)),
                TensorSpec(name="wide", datatype="FP32", shape=(-1,)),
                TensorSpec(name="flag", datatype="BOOL"),
                TensorSpec(name="blob", datatype="BYTES"),
            ),
        ),
    )  # fmt: skip


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeProcess]:
    root = tmp_path_factory.mktemp("many")
    process = NodeProcess(root / "home", MODELYARD_MAX_BODY="1000000").serve(*pools(root))
    with process:
        yield process


def with_default(node: NodeProcess, name: str) -> None:
    """Put the endpoint ``name`` behind the paths without a name."""
    table = msgspec.json.decode(node.home.routes.read_bytes(), type=RouteTable)
    others = {route.endpoint: route.deployment or "" for route in table.routes}
    node.serve(*table.pools, routes={name: others.pop(name), **others})

"""A remote with real models, and a gateway in front of it."""

import sys
from pathlib import Path

import pytest

from modelyard.core.signature import TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess

sys.path.insert(0, str(Path(__file__).parent))

ECHO = """
import os, time
def predict(text: str, times: int = 1, seconds: float = 0.0):
    if text == "boom":
        raise ValueError("no boom, please")
    if text == "nan":
        return float("nan")
    if text == "pid":
        return os.getppid()
    while text.startswith("/") and not os.path.exists(text):
        time.sleep(0.01)
    time.sleep(seconds)
    return {"said": text * times}
"""

ECHO_INPUTS = (
    TensorSpec(name="text", datatype="BYTES", kind="text"),
    TensorSpec(name="times", datatype="INT64", optional=True),
    TensorSpec(name="seconds", datatype="FP64", optional=True),
)


@pytest.fixture(scope="module")
def model_node(tmp_path_factory: pytest.TempPathFactory):
    """A node with two models: ``mlp`` (ONNX) and ``echo`` (a function)."""
    root = tmp_path_factory.mktemp("remote")
    node = NodeProcess(root / "home")
    node.serve(mlp_pool(root / "mlp"), function_pool(root / "echo", ECHO, name="echo", inputs=ECHO_INPUTS))
    with node:
        yield node


@pytest.fixture(scope="module")
def gateway(model_node: NodeProcess, tmp_path_factory: pytest.TempPathFactory):
    """A node that has both models elsewhere, under other names."""
    from gateway import Gateway, to

    node = Gateway(tmp_path_factory.mktemp("gateway") / "home")
    node.route(to(model_node, endpoint="net", model="mlp"), to(model_node, endpoint="parrot", model="echo"))
    with node:
        yield node

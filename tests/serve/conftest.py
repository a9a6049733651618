"""A node with two models, shared by the tests of one file."""

import onnxruntime
import pytest

from modelyard.core.signature import TensorSpec
from support.models import function_pool, mlp_pool
from support.node import NodeProcess

ECHO = """
def predict(text: str, times: int = 1):
    if text == "boom":
        raise ValueError("no boom, please")
    return text * times
"""


ECHO_INPUTS = (
    TensorSpec(name="text", datatype="BYTES", kind="text"),
    TensorSpec(name="times", datatype="INT64", optional=True),
)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("node")
    process = NodeProcess(root / "home", MODELYARD_MAX_BODY="1000000")
    process.serve(
        mlp_pool(root / "mlp"), function_pool(root / "echo", ECHO, name="echo", inputs=ECHO_INPUTS)
    )
    with process:
        process.model = onnxruntime.InferenceSession(root / "mlp" / "model.onnx")
        yield process

"""ONNX: a ModelProto, as it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example, array
from modelyard.objects.library import Given, Saved, is_of

NAME = "ONNX (ModelProto)"
_LARGEST = 2**31 - 1  # bytes of one message of protobuf


def takes(model: object) -> bool:
    return type(model).__name__ == "ModelProto" and is_of(model, "onnx")


def save(model: Any, folder: Path, given: Given) -> Saved:
    if model.ByteSize() > _LARGEST:
        raise RejectedContent(
            "This ModelProto is larger than 2 GB; save it with external data (onnx.save_model) and push the folder.",
            field="model",
        )
    (folder / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    example = given.example
    return Saved() if example is None else Saved(lambda: _answers(folder / "model.onnx", example))


def _answers(path: Path, example: Example) -> Mapping[str, Any]:
    import numpy
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    inputs = [each.name for each in session.get_inputs()]
    named = example.named or dict(zip(inputs, example.placed, strict=False))
    wanted = {
        "tensor(float)": "float32",
        "tensor(double)": "float64",
        "tensor(int64)": "int64",
        "tensor(int32)": "int32",
    }
    feeds = {
        each.name: numpy.array([array(value) for value in named[each.name]]).astype(
            wanted.get(each.type, object if "string" in each.type else None)
        )
        for each in session.get_inputs()
    }
    outputs = [each.name for each in session.get_outputs()]
    return dict(zip(outputs, session.run(None, feeds), strict=True))

"""The same tensors in the files of several formats."""

import io
import json
import struct
import zipfile
from typing import Any

import numpy as np
from onnx import TensorProto, external_data_helper, helper, numpy_helper

Tensors = dict[str, np.ndarray[Any, Any]]


def tensors(seed: int, count: int = 6, rows: int = 512, columns: int = 256) -> Tensors:
    """Matrices of float32 as trained ones are, each with a vector beside it."""
    random = np.random.default_rng(seed)
    made: Tensors = {}
    for index in range(count):
        made[f"layer.{index}.weight"] = (random.standard_normal((rows, columns)) * 0.02).astype("float32")
        made[f"layer.{index}.bias"] = np.zeros(rows, "float32")
    return made


def tuned(whole: Tensors, changed: int, seed: int = 99) -> Tensors:
    """As a fine-tune leaves them: ``changed`` matrices are others."""
    random = np.random.default_rng(seed)
    names = [name for name in whole if name.endswith("weight")][:changed]
    return {
        name: array + random.standard_normal(array.shape).astype("float32") * 0.001
        if name in names
        else array
        for name, array in whole.items()
    }


def safetensors(whole: Tensors) -> bytes:
    header: dict[str, Any] = {}
    position = 0
    for name, array in whole.items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [position, position + array.nbytes]}  # fmt: skip
        position += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(array.tobytes() for array in whole.values())


def torch_zip(whole: Tensors) -> bytes:
    """What torch.save writes, but for the pickle: members that are stored, their data at borders of 64 bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as opened:
        opened.writestr("archive/data.pkl", b"\x80\x02}.")
        for index, array in enumerate(whole.values()):
            name = f"archive/data/{index}"
            info = zipfile.ZipInfo(name)
            pad = -(made.tell() + 30 + len(name) + 4) % 64
            info.extra = struct.pack("<HH", 0x4246, pad) + b"Z" * pad
            opened.writestr(info, array.tobytes())
        opened.writestr("archive/version", b"3\n")
    return made.getvalue()


def onnx(whole: Tensors) -> bytes:
    return _model(whole).SerializeToString()


def onnx_outside(whole: Tensors, location: str) -> tuple[bytes, bytes]:
    """A model, and the file of its tensors."""
    model = _model(whole)
    data = bytearray()
    for tensor in model.graph.initializer:
        raw = tensor.raw_data
        data += b"\0" * (-len(data) % 4096)
        external_data_helper.set_external_data(tensor, location, offset=len(data), length=len(raw))
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        data += raw
    return model.SerializeToString(), bytes(data)


def gguf(whole: Tensors) -> bytes:
    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    keys = text("general.architecture") + struct.pack("<I", 8) + text("llama")
    keys += text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 3) + text("a") + text("bc") + text("")
    keys += text("general.alignment") + struct.pack("<II", 4, 64)
    infos, data = b"", bytearray()
    for name, array in whole.items():
        data += b"\0" * (-len(data) % 64)
        infos += text(name) + struct.pack("<I", array.ndim)
        infos += b"".join(struct.pack("<Q", axis) for axis in reversed(array.shape))
        infos += struct.pack("<IQ", 0, len(data))
        data += array.tobytes()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(whole), 3) + keys + infos
    return head + b"\0" * (-len(head) % 64) + bytes(data)


def _model(whole: Tensors) -> Any:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in whole.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)

"""Tensors by name and place, as headers tell them: what lies there is what was written."""

import json
import struct
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from modelyard.analyze.tensor_list import list_tensors
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.store.files import FolderFiles

ARRAYS = {"w": np.arange(6, dtype="<f4").reshape(2, 3), "b": np.array([7, 8], "<i8")}


def read(files: Files) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of every tensor that is told."""
    listed = list_tensors(files)
    assert listed is not None
    return {
        name: (each.datatype, each.shape, files.read(each.path, each.start, each.size))
        for name, each in listed.items()
    }


def safetensors(arrays: dict[str, np.ndarray]) -> bytes:
    header, data = {}, b""
    for name, array in arrays.items():
        kind = {"f": "F", "i": "I"}[array.dtype.kind] + str(8 * array.dtype.itemsize)
        places = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": places}
        data += array.tobytes()
    told = json.dumps(header).encode()
    return len(told).to_bytes(8, "little") + told + data


def test_safetensors(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(safetensors(ARRAYS))
    assert read(FolderFiles(tmp_path)) == {
        "w": ("F32", (2, 3), ARRAYS["w"].tobytes()),
        "b": ("I64", (2,), ARRAYS["b"].tobytes()),
    }


@pytest.mark.parametrize("outside", [False, True])
def test_onnx_inside_and_beside_the_file(tmp_path: Path, outside: bool) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in ARRAYS.items()],
    )
    model = helper.make_model(graph)
    if outside:
        external_data_helper.convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, str(tmp_path / "model.onnx"))
    assert read(FolderFiles(tmp_path)) == {
        "w": ("float32", (2, 3), ARRAYS["w"].tobytes()),
        "b": ("int64", (2,), ARRAYS["b"].tobytes()),
    }


def test_onnx_values_that_are_no_raw_bytes_have_no_single_place(tmp_path: Path) -> None:
    tensor = helper.make_tensor("k", TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph(
        [], "g", [], [helper.make_tensor_value_info("k", TensorProto.FLOAT, [2])], [tensor]
    )
    onnx.save(helper.make_model(graph), str(tmp_path / "model.onnx"))
    listed = list_tensors(FolderFiles(tmp_path))
    assert listed is not None
    assert (listed["k"].shape, listed["k"].size) == ((2,), None)


def test_gguf(tmp_path: Path) -> None:
    first, second = np.arange(3, dtype="<f4"), np.arange(4, dtype="<f2")

    def text(told: str) -> bytes:
        return struct.pack("<Q", len(told)) + told.encode()

    header = b"GGUF" + struct.pack("<IQQ", 3, 2, 1)
    header += text("general.architecture") + struct.pack("<I", 8) + text("llama")
    header += text("a") + struct.pack("<IQIQ", 1, 3, 0, 0)
    header += text("c") + struct.pack("<IQQIQ", 2, 2, 2, 1, 32)
    header += bytes(-len(header) % 32)
    data = first.tobytes() + bytes(20) + second.tobytes()
    (tmp_path / "m.gguf").write_bytes(header + data)
    told = read(FolderFiles(tmp_path))
    assert told["a"] == ("F32", (3,), first.tobytes() + bytes(20))  # up to the next one
    assert told["c"] == ("F16", (2, 2), second.tobytes())


def test_other_formats_do_not_tell(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def predict(x): return x")
    assert list_tensors(FolderFiles(tmp_path)) is None


@pytest.mark.parametrize("name", ["m.safetensors", "m.onnx", "m.gguf"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x0b\xff rubbish \xff" * 10)
    with pytest.raises(RejectedContent):
        list_tensors(FolderFiles(tmp_path))

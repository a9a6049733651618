"""Which format is picked, and what is said when none or several fit."""

import io
import zipfile

import pytest

from modelyard.analyze import analyze
from modelyard.core.errors import RejectedContent


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (bytes(100), "a file of zeros"),
        (zipped("a.txt"), "a zip archive"),
        (zipped("archive/data.pkl"), "a PyTorch checkpoint"),
        (b"\x80\x04K\x01.", "a Python pickle"),
        (b"<!DOCTYPE html><html>", "an HTML"),
        (b"\n\n<html>", "an HTML"),
        (b"GGUF\x03\x00\x00\x00", "a GGUF model"),
        (b"\x1c\x00\x00\x00TFL3\x00\x00", "a TensorFlow Lite model"),
        (b"\x89HDF\r\n\x1a\n\x00", "an HDF5 file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
        (b"\x89PNG\r\n\x1a\n\x00", "a PNG image"),
        (b"\x7fELF\x02", "a program"),
        (b"\x1f\x8b\x08", "gzip"),
        (b'{"learner":{"attributes":{}}}', "an XGBoost model"),
        (b"tree\nversion=v4\n", "a LightGBM model"),
        (b"hello there", "a text file"),
    ],
)
def test_a_mislabelled_file_is_told_as_what_it_is(files_of, content, what):
    with pytest.raises(RejectedContent, match=what) as caught:
        analyze(files_of({"model.onnx": content}))
    assert "Modelyard serves today" in caught.value.message
    assert caught.value.field == "model.onnx"


def test_safetensors_named_onnx_are_told(files_of, safetensors_bytes):
    with pytest.raises(RejectedContent, match="a safetensors file"):
        analyze(files_of({"model.onnx": safetensors_bytes}))


def test_an_unknown_file_is_told_with_what_is_served(files_of):
    with pytest.raises(RejectedContent, match=r"weights\.h5 is an HDF5 file.*serves today"):
        analyze(files_of({"weights.h5": b"\x89HDF\r\n\x1a\n\x00"}))


def test_no_file_at_all(files_of):
    with pytest.raises(RejectedContent, match="no file"):
        analyze(files_of({}))


def test_several_graphs_are_listed(files_of, onnx_bytes):
    with pytest.raises(RejectedContent, match=r"a\.onnx, b\.onnx"):
        analyze(files_of({"a.onnx": onnx_bytes, "b.onnx": onnx_bytes}))


def test_the_one_named_model_is_taken(files_of, onnx_bytes):
    files = files_of({"model.onnx": onnx_bytes, "other.onnx": b""})
    assert analyze(files).options["file"] == "model.onnx"


def test_models_of_two_formats_are_listed(files_of, onnx_bytes, skops_bytes):
    files = {"a.onnx": onnx_bytes, "b.skops": skops_bytes}
    with pytest.raises(RejectedContent, match=r"several formats: a\.onnx, b\.skops"):
        analyze(files_of(files))
    assert analyze(files_of(files | {"model.yaml": b"adapter: sklearn"})).adapter == "sklearn"


def test_a_function_owns_what_lies_beside_it(files_of, onnx_bytes):
    files = files_of({"model.py": b"def predict(a): ...", "net.onnx": onnx_bytes})
    assert analyze(files).adapter == "function"


def test_a_config_of_something_else_beside_a_graph_changes_nothing(files_of, onnx_bytes):
    files = files_of({"model.onnx": onnx_bytes, "config.json": b'{"threshold": 0.5}'})
    assert analyze(files).adapter == "onnx"

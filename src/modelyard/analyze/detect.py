"""What a file really is, by its first bytes: so that a mislabelled one is told as what it is."""

import re

from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files

SERVED = (
    "Modelyard serves today: ONNX (.onnx), PyTorch (.pt2 of torch.export, .pt of torch.jit), TensorFlow (a SavedModel folder, "
    ".tflite), scikit-learn (.skops; .joblib or .pkl with trust), XGBoost (.ubj, .json), LightGBM (.txt), CatBoost (.cbm, "
    ".json), a transformers folder with safetensors (text, images, recordings), a sentence-transformers folder, an ESM-2 "
    "folder with safetensors, a language model in GGUF, a Python function (model.py), and packages such as AntiBERTy "
    "(modelyard catalog list)"
)
HEAD = 4096

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "a git-lfs pointer, not the file itself (run git lfs pull)",
    ),
    (0, b"GGUF", "a GGUF model (llama.cpp)"),
    (4, b"TFL3", "a TensorFlow Lite model"),
    (0, b"\x89HDF\r\n\x1a\n", "an HDF5 file (an old Keras model, for example)"),
    (0, b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x7fELF", "a program or library (ELF)"),
    (0, b"\x1f\x8b", "gzip-compressed data"),
    (0, b"BZh", "bzip2-compressed data"),
    (0, b"\xfd7zXZ\x00", "xz-compressed data"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed data"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (0, b"%PDF", "a PDF document"),
    (0, b"\x93NUMPY", "a NumPy array (.npy)"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (257, b"ustar", "a tar archive"),
    (0, b"tree\nversion=v", "a LightGBM model (text)"),
    (0, b"CBM1", "a CatBoost model"),
)
_XGBOOST = (b'"learner"', b"learner_model_param", b"L\x00\x00\x00\x00\x00\x00\x00\x07learner")
_HTML = re.compile(rb"\s*(<!--|<!doctype html|<html|<\?xml|<head)", re.IGNORECASE)


def identify(head: bytes, size: int) -> str | None:
    """What the file beginning with ``head`` (up to 4 KiB) of ``size`` bytes is, for a sentence.

    None when nothing is recognised (ONNX has no magic bytes).
    """
    if size == 0:
        return "an empty file"
    if not head.strip(b"\x00"):
        return "a file of zeros"
    for offset, magic, what in _MAGIC:
        if head.startswith(magic, offset):
            return what
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(head)
    if len(head) > 9 and head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= size - 8:
        return "a safetensors file"
    if is_pickle(head):
        return "a Python pickle"
    if head.startswith(b"{") and any(mark in head for mark in _XGBOOST):
        return "an XGBoost model (JSON or UBJSON)"
    if head.startswith(b"binf"):
        return "an XGBoost model (old binary form)"
    if _HTML.match(head):
        return "an HTML or XML page (a failed download, perhaps)"
    return _text(head)


def is_pickle(head: bytes) -> bool:
    """Whether ``head`` begins a pickle of protocol 2 to 5, or 0 made by Python 2 era tools."""
    return (head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")) or (
        head.startswith((b"ccopy_reg\n", b"csklearn", b"(dp0\n", b"(lp0\n"))
    )


def refuse_unless(what: str | None, expected: str, path: str) -> None:
    """Raise RejectedContent when ``what`` was recognised: ``path`` should have been ``expected``."""
    if what is not None:
        raise RejectedContent(f"{path} is named like {expected}, but it is {what}. {SERVED}.", field=path)


def head_of(files: Files, path: str) -> bytes:
    """The first 4 KiB of a file."""
    return files.read(path, 0, HEAD)


def unsupported(files: Files) -> RejectedContent:
    """The error for files that no format takes: says what the first ones are."""
    paths = list(files.paths)
    if not paths:
        return RejectedContent(f"There is no file to analyze. {SERVED}.")
    told = [
        f"{path} is {_named(path) or identify(head_of(files, path), files.size(path)) or 'not known'}"
        for path in sorted(paths, key=lambda path: (path.count("/"), -files.size(path)))[:3]
    ]
    rest = f" (and {len(paths) - 3} more files)" if len(paths) > 3 else ""
    return RejectedContent(
        f"This is not a model that Modelyard can serve: {'; '.join(told)}{rest}. {SERVED}.",
        field=paths[0] if len(paths) == 1 else None,
    )


def _named(path: str) -> str | None:
    """What a name tells that first bytes do not."""
    name = path.rsplit("/", 1)[-1]
    if name in ("saved_model.pb", "keras_metadata.pb"):
        return "part of a TensorFlow SavedModel"
    if name.endswith(".keras"):
        return "a Keras model"
    if name.endswith(".mar"):
        return "a TorchServe archive"
    if name.endswith(".py"):
        return "a Python file (one to be served is named model.py)"
    if name.endswith(".mlmodel"):
        return "a Core ML model"
    return None


def _zip(head: bytes) -> str:
    if b"/models/model.json" in head or b"/data/weights/" in head:
        return "a program of torch.export (named *.pt2)"
    if b"/data.pkl" in head or b"/version" in head[:200] or b"/constants.pkl" in head:
        return "a PyTorch checkpoint (a zip with a pickle inside)"
    if b"schema.json" in head:
        return "a skops file"
    if b"[Content_Types].xml" in head:
        return "an Office document"
    if b"metadata.json" in head and b"config.json" in head:
        return "a Keras model"
    if b".npy" in head:
        return "a zip of NumPy arrays (skops or .npz)"
    return "a zip archive"


def _text(head: bytes) -> str | None:
    try:
        text = head[: HEAD - 4].decode()
    except UnicodeDecodeError:
        return None
    if any(ord(character) < 32 and character not in "\t\r\n\f" for character in text):
        return None
    return "JSON" if text.lstrip()[:1] in ("{", "[") else "a text file"

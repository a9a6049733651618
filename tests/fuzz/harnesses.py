"""All harnesses by name; each is made when it is asked for."""

from collections.abc import Callable
from importlib import import_module

from fuzz.engine import Harness

# name -> the module that has ``<name>_harness``
NAMES = {
    "http1": "rest",
    "target": "rest",
    "headers": "rest",
    "v2_json": "rest",
    "native": "rest",
    "table": "rest",
    "http2": "protocols",
    "grpc": "rpc",
    "v2_binary": "protocols",
    "v1": "protocols",
    "openai": "protocols",
    "invocations": "protocols",
    "csv": "protocols",
    "generate": "protocols",
    "repository": "protocols",
    "compression": "protocols",
    "resp": "redis",
    "kept_answer": "redis",
    "wire_node": "frames",
    "wire_executor": "frames",
    "bytes_tensor": "frames",
    "remote_http": "remotes",
    "remote_v2": "remotes",
    "remote_openai": "remotes",
    "remote_stream": "remotes",
    "onnx": "files",
    "onnx_skeleton": "files",
    "safetensors": "files",
    "gguf": "files",
    "xgboost": "files",
    "lightgbm": "files",
    "catboost": "frameworks",
    "tflite": "frameworks",
    "tensorflow": "frameworks",
    "torchscript": "frameworks",
    "torchscript_code": "frameworks",
    "torchscript_pickle": "frameworks",
    "torch_export": "frameworks",
    "torch_program": "frameworks",
    "config": "files",
    "pickle": "files",
    "skops": "files",
    "yaml": "files",
    "function": "files",
    "requirements": "files",
    "archive": "sources",
    "address": "sources",
    "lfs": "sources",
    "mirror": "sources",
}


def harness(name: str) -> Harness:
    """The harness of this name, with its seeds made."""
    make: Callable[[], Harness] = getattr(import_module(f"fuzz.{NAMES[name]}"), f"{name}_harness")
    return make()

"""A real executor process at the other end of a socket pair, driven frame by frame."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import modelyard_executor
from modelyard_executor import wire
from modelyard_executor.frames import unpack_items
from modelyard_executor.tensor import Tensor, from_numpy

FOLDER = Path(str(modelyard_executor.__file__)).parent


class ExecutorProcess:
    """Start with ``with``; whatever happens, the process is gone at the end.

    It is confined like one of a node: it writes in ``folder`` alone, and reads its environment and its files. It
    may write into an environment that a test made, too: nobody else compiles what it imports there.
    """

    def __init__(self, folder: Path, *, python: str = sys.executable, timeout: float = 120.0) -> None:
        self.folder = folder
        self.environment = Path(python).parent.parent
        made = [] if self.environment == Path(sys.prefix) else [str(self.environment)]
        self.writes = [str(folder), *made]
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout)
        self.log_path = folder / "executor.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [python, "-S", "-s", "-u", str(FOLDER), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
                env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)},
            )
        theirs.close()
        self.socket = ours
        self.channel = wire.Channel(ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ):
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def start(
        self,
        adapter: str,
        files: Path,
        options: dict[str, Any],
        *,
        trusted: bool = False,
        versions: Sequence[int] = (1,),
        computed: bool = False,
    ) -> dict[str, Any]:
        """Send START; the answer is HELLO or FAILED."""
        self.channel.send(
            {
                "type": "START",
                "versions": list(versions),
                "adapter": adapter,
                "files": str(files),
                "device": "cpu",
                "threads": 1,
                "options": options,
                "trusted": trusted,
                "computed": computed,
                "confine": {
                    "required": False,
                    "network": False,
                    "read": [str(self.environment), str(files)],
                    "write": self.writes,
                },
            }
        )
        return self.channel.receive()[0]

    def batch(self, *items: dict[str, Any], parameters: list[dict[str, Any]] | None = None) -> list[Any]:
        """Send items (arrays by input) and give, per item, arrays by output, or the error."""
        described, chunks = [], []
        for index, item in enumerate(items):
            inputs = []
            for name, value in item.items():
                tensor = value if isinstance(value, Tensor) else from_numpy(value)
                data = bytes(tensor.data)
                inputs.append((name, tensor.datatype, tensor.shape, len(data)))
                chunks.append(data)
            described.append({"inputs": inputs, "parameters": parameters[index] if parameters else {}})
        self.channel.send({"type": "BATCH", "batch": 7, "items": described}, chunks)
        return self.results()

    def results(self) -> list[Any]:
        header, body = self.channel.receive()
        assert header["type"] == "RESULT", header
        tensors = iter(
            unpack_items([{"inputs": item.get("outputs", ())} for item in header["items"]], body)
        )
        answers: list[Any] = []
        for item in header["items"]:
            outputs = next(tensors).inputs
            answers.append(
                item["error"] if "error" in item else {name: each.numpy() for name, each in outputs.items()}
            )
        return answers

    def wait(self) -> int:
        return self.process.wait(timeout=120)


def spec(
    name: str, datatype: str, shape: tuple[int, ...] = (), kind: str = "tensor", **more: Any
) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": list(shape), "kind": kind, "optional": False,
            "description": "", **more}  # fmt: skip


def signature(
    inputs: list[Any], outputs: list[Any], *, batched: bool = False, parameters: Any = ()
) -> dict[str, Any]:
    return {"inputs": inputs, "outputs": outputs, "parameters": list(parameters), "batched": batched,
            "max_batch": None}  # fmt: skip


def document(value: Any) -> Tensor:
    """A BYTES tensor that holds one JSON text."""
    return from_numpy(json.dumps(value))

"""A model that counts its computations, and the questions of a test."""

import json
from pathlib import Path

import msgspec

from modelyard.core.deployment import ServingOptions
from modelyard.core.routes import Pool
from modelyard.core.signature import ParameterSpec
from support.models import function_pool
from support.node import NodeProcess

# Every computation leaves a line; the answer says how many there were before.
COUNTING = """
import os, time
def predict(x: float, offset: float = 0.0):
    with open({file!r}, "a") as file:
        file.write("x\\n")
    while os.path.exists({hold!r}):
        time.sleep(0.01)
    if x < 0:
        raise ValueError("below zero")
    return [x + offset, len(open({file!r}).readlines())]
"""


def counting_pool(folder: Path, **serving: object) -> Pool:
    code = COUNTING.format(file=str(folder / "computed"), hold=str(folder / "hold"))
    pool = function_pool(
        folder, code, parameters=(ParameterSpec(name="offset", type="float", default=0.0),)
    )
    return msgspec.structs.replace(
        pool, serving=ServingOptions(**{"cache": 1_000_000, "timeout": 60.0, **serving})
    )


class Counted:
    """The node, and how often its model computed."""

    def __init__(self, node: NodeProcess, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.hold = folder / "hold"

    def computed(self) -> int:
        file = self.folder / "computed"
        return file.read_text().count("\n") if file.exists() else 0

    def ask(self, body: str | dict, path: str = "/predict", **headers: str) -> tuple[str | None, object]:
        """What the header says, and the answer."""
        text = body if isinstance(body, str) else json.dumps(body)
        status, said, answer = self.node.call(
            "POST",
            path,
            text.encode(),
            {"content-type": "application/json"}
            | {name.replace("_", "-"): value for name, value in headers.items()},
        )
        assert status == 200, answer
        return said.get("modelyard-cache"), json.loads(answer)

    def metric(self, name: str) -> float:
        for line in self.node.call("GET", "/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"there is no {name}")

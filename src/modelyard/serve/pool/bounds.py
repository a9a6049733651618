"""What an executor may touch, as it is told when it starts (``modelyard_executor.confine`` holds it to it)."""

from pathlib import Path
from typing import Literal

import msgspec

from modelyard.core.deployment import Leave
from modelyard.core.routes import ExecutorSpec

Confine = Literal["auto", "required", "off"]

UNHELD = (
    "modelyard: trust let its files in, and the setting confine is 'off': nothing keeps what they run from files and "
    "the network"
)


class Bounds(msgspec.Struct, frozen=True):
    """``required``: it must not run where they cannot be held, by the setting; ``trusted``: nor may it by any but
    "off", for trust let its files in. ``network``: whether it may use it. ``read`` and
    ``write`` are absolute paths, beside what every program needs."""

    required: bool
    network: bool
    read: tuple[str, ...]
    write: tuple[str, ...]
    trusted: bool = False


def bounds_of(spec: ExecutorSpec, leave: Leave, folder: Path, confine: Confine) -> Bounds | None:
    """Those of an executor that works in ``folder``; None: none.

    It reads its environment and the model's files, writes in ``folder``, and what it has leave for.
    """
    if confine == "off":
        return None
    read = [str(Path(spec.python).parent.parent), spec.files]
    write = [str(folder)]
    for place in leave.folders:
        path = place.removesuffix(":rw")
        (read if path == place else write).append(path)
    return Bounds(confine == "required", bool(leave.network), tuple(read), tuple(write), spec.sandboxed)


def around(bounds: Bounds | None) -> Bounds | None:
    """Those of a process from which executors of several models are forked: what lies beside a model's files and
    beside its working folder is theirs. None of their code runs in it, so it is one for those that are trusted and
    those that need no trust."""
    if bounds is None:
        return None
    (environment, files, *read), (folder, *write) = bounds.read, bounds.write
    parents = str(Path(files).parent), str(Path(folder).parent)
    return msgspec.structs.replace(
        bounds, read=(environment, parents[0], *read), write=(parents[1], *write), trusted=False
    )

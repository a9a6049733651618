"""Which build of PyTorch an environment gets: without an NVIDIA device, one for the CPU.

The default index' build brings gigabytes of CUDA along, of no use on such a machine. A CPU wheel that
lies in a configured folder is taken as it is; otherwise uv is told to look for CPU builds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, parse_wheel_filename
from packaging.version import Version

from modelyard.package.sources import Sources


class TorchBuild(msgspec.Struct, frozen=True):
    """``constraint``: a line that pins torch, or None; ``arguments``: for uv."""

    constraint: str | None = None
    arguments: tuple[str, ...] = ()


def choose_torch(
    requirements: Sequence[str],
    sources: Sources,
    *,
    tags: Callable[[], frozenset[Tag]],
    nvidia: bool | None = None,
) -> TorchBuild:
    """The build for this machine (``nvidia``: whether it has such a device; None: look) and an interpreter that
    takes wheels of ``tags``."""
    if sources.variables.get("UV_TORCH_BACKEND") or (has_nvidia() if nvidia is None else nvidia):
        return TorchBuild()
    asked = [Requirement(line) for line in requirements]
    wanted = SpecifierSet()
    for requirement in asked:
        if requirement.name == "torch":
            if requirement.url:
                return TorchBuild()
            wanted &= requirement.specifier
    version = _cpu_wheel(sources.folders, wanted, tags)
    if version is not None:
        return TorchBuild(constraint=f"torch=={version}")
    return TorchBuild(arguments=("--torch-backend", "cpu"))


def has_nvidia() -> bool:
    """Whether the driver shows a device."""
    return Path("/proc/driver/nvidia").exists() or any(Path("/dev").glob("nvidia[0-9]*"))


def _cpu_wheel(
    folders: Sequence[Path], wanted: SpecifierSet, suitable: Callable[[], frozenset[Tag]]
) -> Version | None:
    """The newest ``torch-*+cpu`` wheel in ``folders`` that is ``suitable``, and ``wanted``."""
    found: list[Version] = []
    for path in (path for folder in folders for path in folder.glob("torch-*.whl")):
        try:
            _, version, _, tags = parse_wheel_filename(path.name)
        except InvalidWheelFilename:
            continue
        if version.local == "cpu" and version in wanted and tags & suitable():
            found.append(version)
    return max(found, default=None)

"""Environments: from a model's requirements to the interpreter of a virtual environment that has them.

    <root>/<id>/                   a whole environment, never changed: bin/python, lock.txt, environment.json
    <root>/.resolutions/<key>.json the lock that some requirements were resolved to
    <root>/.building-<id or key>/  work in progress; only who holds the lock of that name touches it
    <root>/.removed-<id>/          on its way out
    <root>/.locks/                 one file per lock that is held

An environment appears by one rename, so it is whole or not there; a builder that is killed leaves a
``.building-`` folder that the next builder, or :meth:`Environments.sweep`, removes.
"""

import errno
import hashlib
import os
import platform
import shutil
import sys
import sysconfig
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from modelyard.core.errors import Internal, NotFound
from modelyard.core.struct import Noun
from modelyard.package import uv
from modelyard.package.bytecode import compile_behind, stop
from modelyard.package.locks import hold, hold_if_free
from modelyard.package.requirements import normalize
from modelyard.package.sources import Sources, read_sources
from modelyard.package.torch_build import TorchBuild, choose_torch

_DESCRIPTION: Final = "environment.json"
_BUILDING: Final = ".building-"
_REMOVED: Final = ".removed-"


class Environment(Noun):
    """One environment. ``python`` is its interpreter's path, ``lock`` the exact versions, one a line;
    ``size`` in bytes; ``created`` in seconds since the epoch."""

    id: str
    python: str
    requirements: tuple[str, ...]
    lock: str
    interpreter: str
    size: int
    created: float


class _Resolution(msgspec.Struct, forbid_unknown_fields=True):
    requirements: tuple[str, ...]
    lock: str
    environment: str
    torch_arguments: tuple[str, ...]


def _silent(_: str) -> None:
    """Progress that nobody asked for."""


class Environments:
    """The environments below ``root``. Safe with several processes and threads at once."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    def ensure(self, requirements: Sequence[str], progress: uv.Progress = _silent) -> Environment:
        """The environment that fulfils ``requirements``; built when there is none yet.

        ``progress`` is called with short lines ("resolving", "installing 12 packages"). A second call
        with requirements that mean the same takes milliseconds and no network. Raises RejectedContent
        when the requirements cannot be fulfilled, Unavailable when an index cannot be reached or the
        disk is full; nothing half built is left.
        """
        environment = self._ensure(requirements, progress)
        compile_behind(self._root / environment.id)
        return environment

    def _ensure(self, requirements: Sequence[str], progress: uv.Progress) -> Environment:
        wanted = normalize(requirements)
        sources = read_sources()
        torch = choose_torch(wanted, sources)
        key = _digest(wanted, _interpreter(), sources.digest, torch.constraint, torch.arguments)
        resolution = self._resolved(key)
        if resolution is not None:
            environment = self._read(resolution.environment)
            if environment is not None:
                return environment
        with _told_of_full_disk():
            self._root.mkdir(parents=True, exist_ok=True)
            if resolution is None:
                resolution = self._resolve(key, wanted, sources, torch, progress)
            return self._build(resolution, sources, progress)

    def get(self, id: str) -> Environment:
        """Raises NotFound when there is no such environment, or its interpreter is gone."""
        environment = self._read(id)
        if environment is None:
            raise NotFound(f"There is no environment {id!r}; deploy again to build it.")
        return environment

    def list(self) -> list[Environment]:
        """All environments, the oldest first."""
        if not self._root.is_dir():
            return []
        found = [self._read(path.name) for path in self._root.iterdir() if not path.name.startswith(".")]
        return sorted(
            (each for each in found if each is not None), key=lambda each: (each.created, each.id)
        )

    def delete(self, id: str) -> None:
        """Remove an environment and the resolutions that lead to it. Raises NotFound."""
        self.get(id)
        with hold(self._lock(id), _nothing):
            for path in self._resolutions():
                resolution = self._resolved(path.stem)
                if resolution is None or resolution.environment == id:
                    path.unlink(missing_ok=True)
            self._remove(id)

    def sweep(self) -> int:
        """Remove what killed processes left behind, and count it; what is being built stays."""
        if not self._root.is_dir():
            return 0
        removed = 0
        for path in self._root.iterdir():
            for prefix in (_BUILDING, _REMOVED):
                if path.name.startswith(prefix):
                    with hold_if_free(self._lock(path.name.removeprefix(prefix))) as free:
                        if free and path.exists():
                            shutil.rmtree(path)
                            removed += 1
        return removed

    def _resolve(
        self, key: str, wanted: tuple[str, ...], sources: Sources, torch: TorchBuild, progress: uv.Progress
    ) -> _Resolution:
        """The exact versions for ``wanted``, remembered under ``key``."""
        with hold(self._lock(key), lambda: progress("waiting for another process")) as lock:
            known = self._resolved(key)
            if known is not None:
                return known
            text = ""
            if wanted:
                progress("resolving")
                with self._workplace(key) as folder:
                    text = _compile(folder, wanted, sources, torch, lock, progress)
            resolution = _Resolution(
                requirements=wanted,
                lock=text,
                environment=_digest(text, _interpreter())[:32],
                torch_arguments=torch.arguments,
            )
            folder = self._root / ".resolutions"
            folder.mkdir(exist_ok=True)
            _write(folder / f"{key}.json", msgspec.json.format(msgspec.json.encode(resolution)))
            return resolution

    def _build(self, resolution: _Resolution, sources: Sources, progress: uv.Progress) -> Environment:
        """Install the lock into a new virtual environment, unless it is there."""
        id = resolution.environment
        with hold(
            self._lock(id), lambda: progress("waiting for another process that builds this environment")
        ) as lock:
            environment = self._read(id)
            if environment is not None:
                return environment
            self._remove(id)
            with self._workplace(id) as folder:
                _install(folder, resolution, sources, lock, progress)
                environment = Environment(
                    id=id,
                    python=str(self._python(id)),
                    requirements=resolution.requirements,
                    lock=resolution.lock,
                    interpreter=_interpreter(),
                    size=_size(folder),
                    created=time.time(),
                )
                _write(folder / _DESCRIPTION, msgspec.json.format(msgspec.json.encode(environment)))
                folder.rename(self._root / id)
            _sync_folder(self._root)
            return environment

    def _read(self, id: str) -> Environment | None:
        """The environment, or None when it is not there or no longer of use."""
        if id.startswith(".") or "/" in id:
            return None
        try:
            text = (self._root / id / _DESCRIPTION).read_bytes()
            environment = msgspec.json.decode(text, type=Environment)
        except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
            return None
        # exists() follows the link: an interpreter that was uninstalled makes the environment useless.
        python = self._python(id)
        return msgspec.structs.replace(environment, python=str(python)) if python.exists() else None

    def _resolved(self, key: str) -> _Resolution | None:
        try:
            text = (self._root / ".resolutions" / f"{key}.json").read_bytes()
            return msgspec.json.decode(text, type=_Resolution)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def _resolutions(self) -> Sequence[Path]:
        return sorted((self._root / ".resolutions").glob("*.json"))

    def _python(self, id: str) -> Path:
        return self._root / id / "bin" / "python"

    def _lock(self, name: str) -> Path:
        return self._root / ".locks" / name

    @contextmanager
    def _workplace(self, name: str):
        """A new folder for work under the lock ``name``; whatever is in it at the end is removed."""
        folder = self._root / (_BUILDING + name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove(self, id: str) -> None:
        """Out of sight at once, then from the disk. Under the lock of ``id``."""
        removed = self._root / (_REMOVED + id)
        shutil.rmtree(removed, ignore_errors=True)
        if (self._root / id).exists():
            stop(self._root / id)
            (self._root / id).rename(removed)
            shutil.rmtree(removed)


def base_python() -> Path:
    """The interpreter that Modelyard runs on, outside of any virtual environment."""
    folder = Path(sys.base_prefix) / "bin"
    names = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python")
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise Internal(f"There is no interpreter in {folder}; reinstall Python.")


def _compile(
    folder: Path,
    wanted: tuple[str, ...],
    sources: Sources,
    torch: TorchBuild,
    lock: int,
    progress: uv.Progress,
) -> str:
    (folder / "requirements.in").write_text("\n".join(wanted) + "\n")
    (folder / "constraints.txt").write_text((torch.constraint or "") + "\n")
    uv.run(
        [
            "pip", "compile", "requirements.in", "--constraints", "constraints.txt", "--output-file", "lock.txt",
            "--no-header", "--no-annotate", "--no-build", "--python", str(base_python()), *torch.arguments,
        ],
        sources=sources, folder=folder, lock=lock, progress=progress,
    )  # fmt: skip
    return (folder / "lock.txt").read_text()


def _install(
    folder: Path, resolution: _Resolution, sources: Sources, lock: int, progress: uv.Progress
) -> None:
    """A relocatable environment in ``folder``, because it is moved once it is whole."""
    uv.run(
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--no-project", "--python", str(base_python()),
         str(folder)],
        sources=sources, folder=folder.parent, lock=lock, progress=progress,
    )  # fmt: skip
    (folder / "lock.txt").write_text(resolution.lock)
    count = len([line for line in resolution.lock.splitlines() if line and line[0] not in "#- "])
    if not count:
        return
    progress(f"installing {count} package{'s' if count > 1 else ''}")
    uv.run(
        ["pip", "install", "--no-deps", "--no-build", "--requirements", "lock.txt", "--link-mode", "hardlink",
         "--python", str(folder / "bin" / "python"), *resolution.torch_arguments],
        sources=sources, folder=folder, lock=lock, progress=progress,
    )  # fmt: skip


def _interpreter() -> str:
    """What makes two interpreters different for an environment."""
    return f"{platform.python_implementation()} {platform.python_version()} {sysconfig.get_platform()}"


def _digest(*values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _write(path: Path, text: bytes) -> None:
    """Whole or not there, also after the power went."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _nothing() -> None:
    """Waiting that needs no word."""


@contextmanager
def _told_of_full_disk():
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise uv.disk_full() from error
        raise

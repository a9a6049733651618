"""Environments: from a model's requirements to the interpreter of a virtual environment that has them.

    <root>/<id>/                   a whole environment, never changed: bin/python, lock.txt, environment.json
    <root>/.resolutions/<key>.json the lock that some requirements were resolved to
    <root>/.used/<id>              empty; its time is when the environment was last asked for
    <root>/.building-<id or key>/  work in progress; only who holds the lock of that name touches it
    <root>/.removed-<id>/          on its way out
    <root>/.locks/                 one file per lock that is held

An environment appears by one rename, so it is whole or not there; a builder that is killed leaves a
``.building-`` folder that the next builder, or :meth:`Environments.sweep`, removes.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from modelyard.core.errors import NotFound
from modelyard.core.lockfile import Lockfile
from modelyard.core.struct import Noun
from modelyard.package import build, uv
from modelyard.package.build import Wanted
from modelyard.package.bytecode import borrow, compile_behind, compiled_bytes, stop
from modelyard.package.interpreter import Interpreter, Interpreters
from modelyard.package.locks import hold, hold_if_free
from modelyard.package.requirements import normalize
from modelyard.package.sources import read_sources
from modelyard.package.torch_build import choose_torch

_DESCRIPTION: Final = "environment.json"
_BUILDING: Final = ".building-"
_REMOVED: Final = ".removed-"
# How many links of a file were met, by device and number.
Links = dict[tuple[int, int], int]
_USER: Final = ".user-"


class Environment(Noun):
    """One environment. ``python`` is its interpreter's path, ``lock`` the exact versions, one a line;
    ``size`` in bytes; ``created`` in seconds since the epoch; ``torch_arguments`` as a :class:`Lockfile` has them."""

    id: str
    python: str
    requirements: tuple[str, ...]
    lock: str
    interpreter: str
    size: int
    created: float
    torch_arguments: tuple[str, ...] = ()


class _Resolution(msgspec.Struct, forbid_unknown_fields=True):
    requirements: tuple[str, ...]
    lock: str
    environment: str
    torch_arguments: tuple[str, ...]


def _silent(_: str) -> None:
    """Progress that nobody asked for."""


class Environments:
    """The environments below ``root``. Safe with several processes and threads at once. ``downloads``: whether
    uv may install a Python that is asked for and is not on this machine."""

    def __init__(self, root: Path, *, downloads: bool = False) -> None:
        self._root = root.absolute()
        self._interpreters = Interpreters(self._root, downloads=downloads)

    def ensure(
        self,
        requirements: Sequence[str],
        progress: uv.Progress = _silent,
        *,
        python: Sequence[str] = (),
        origins: Mapping[str, str] | None = None,
    ) -> Environment:
        """The environment that fulfils ``requirements``; built when there is none yet.

        ``python`` are the versions that its interpreter may have (all of them; see ``core/python.py``; none:
        the running one's). ``origins`` says who asks for a requirement ("the model"), for the sentence that
        tells of two that are at odds. ``progress`` is called with short lines ("resolving", "installing 12
        packages"). A second call with requirements that mean the same takes milliseconds and no network.
        Raises RejectedContent when the requirements cannot be fulfilled, Unavailable when an index cannot be
        reached or the disk is full; nothing half built is left.
        """
        key, wanted = self._wanted(requirements, progress, python, origins)
        resolution = self._resolved(key)
        if resolution is not None:
            environment = self._read(resolution.environment)
            if environment is not None:
                self.touch(environment.id)
                return environment
        with _told_of_full_disk():
            self._root.mkdir(parents=True, exist_ok=True)
            if resolution is None:
                resolution = self._resolve(key, wanted, progress)
            environment = self._build(resolution, wanted, progress)
            self.touch(environment.id)
            return environment

    def rebuild(
        self, lockfile: Lockfile, progress: uv.Progress = _silent, *, python: Sequence[str] = ()
    ) -> Environment:
        """The environment of a lockfile that another machine may have made: these very versions, for the same
        minor version of Python. :meth:`ensure` of the same requirements answers it from then on.

        Its id is the former one's where the interpreter is the same to its patch version. Raises RejectedContent
        when there is no such Python among those that ``python`` allows, or these versions cannot be installed on
        it; Unavailable as :meth:`ensure` does.
        """
        _, version, _ = lockfile.interpreter.split(" ", 2)
        same = ".".join(version.split(".")[:2])
        key, wanted = self._wanted(lockfile.requirements, progress, (*python, same), None)
        resolution = _Resolution(
            requirements=wanted.requirements,
            lock=lockfile.lock,
            environment=_environment_id(lockfile.lock, wanted.interpreter),
            torch_arguments=lockfile.torch_arguments,
        )
        with _told_of_full_disk():
            self._root.mkdir(parents=True, exist_ok=True)
            environment = self._build(resolution, wanted, progress)
            with hold(self._lock(key), lambda: progress("waiting for another process")):
                if self._resolved(key) is None:
                    self._remember(key, resolution)
            self.touch(environment.id)
            return environment

    def lockfile(self, id: str) -> Lockfile:
        """What ``id`` was built of. Raises NotFound."""
        environment = self.get(id)
        return Lockfile(
            environment=id,
            requirements=environment.requirements,
            lock=environment.lock,
            interpreter=environment.interpreter,
            torch_arguments=environment.torch_arguments,
        )

    def has(self, id: str) -> bool:
        """Whether it is there, and its interpreter too."""
        return (self._root / id / _DESCRIPTION).exists() and self._python(id).exists()

    def compile(self, id: str) -> None:
        """Have its packages compiled, some time: who serves models from it may not write there. Returns at once."""
        compile_behind(self._root / id)

    def resolve(
        self, requirements: Sequence[str], progress: uv.Progress = _silent, *, python: Sequence[str] = ()
    ) -> str:
        """The exact versions that :meth:`ensure` would install, one a line; nothing is installed. Raises as it
        does."""
        key, wanted = self._wanted(requirements, progress, python, None)
        with _told_of_full_disk():
            self._root.mkdir(parents=True, exist_ok=True)
            return (self._resolved(key) or self._resolve(key, wanted, progress)).lock

    def _wanted(
        self,
        requirements: Sequence[str],
        progress: uv.Progress,
        python: Sequence[str],
        origins: Mapping[str, str] | None,
    ) -> tuple[str, Wanted]:
        """What is asked for, and the key that its resolution is kept by."""
        sources = read_sources()
        normal = normalize(requirements)
        interpreter = self._interpreters.find(python, sources, progress)
        torch = choose_torch(normal, sources, tags=interpreter.tags)
        named = {normalize([line])[0]: who for line, who in (origins or {}).items() if normalize([line])}
        wanted = Wanted(normal, named, interpreter, tuple(python), sources, torch)
        key = _digest(normal, interpreter.identity, sources.digest, torch.constraint, torch.arguments)
        return key, wanted

    def interpreter(self, python: Sequence[str], progress: uv.Progress = _silent) -> Interpreter:
        """The one that an environment for ``python`` has. Raises what :meth:`Interpreters.find` does."""
        return self._interpreters.find(python, read_sources(), progress)

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

    def remains(self) -> Sequence[tuple[str, float]]:
        """What is left of environments that are of no use, because their interpreter was uninstalled or nobody
        can read what they are: the name of each, and since when it is there."""
        if not self._root.is_dir():
            return []
        paths = [path for path in self._root.iterdir() if not path.name.startswith(".")]
        useless = [path for path in sorted(paths) if path.is_dir() and self._read(path.name) is None]
        return [(path.name, changed) for path in useless if (changed := _changed(path)) is not None]

    def touch(self, id: str) -> None:
        """Note that ``id`` is used now."""
        path = self._root / ".used" / id
        with contextlib.suppress(OSError):  # a full disk loses a time, not a deployment
            path.parent.mkdir(exist_ok=True)
            path.touch()

    def last_used(self, id: str) -> float | None:
        """When ``id`` was last asked for, or seen in use; seconds since the epoch. None: never."""
        try:
            return (self._root / ".used" / id).stat().st_mtime
        except OSError:
            return None

    @contextmanager
    def using(self, id: str) -> Iterator[Environment]:
        """While it lasts, no process removes ``id`` by :meth:`remove_if_free`. Raises NotFound."""
        with contextlib.ExitStack() as stack:
            # Under the lock that a remover holds from its look at the users to the end of the environment.
            with hold(self._lock(id), _nothing):
                stack.enter_context(hold(self._lock(f"{id}{_USER}{uuid.uuid4().hex}"), _nothing))
                environment = self.get(id)
            yield environment
            self.touch(id)

    def delete(self, id: str) -> None:
        """Remove an environment and the resolutions that lead to it. Raises NotFound."""
        self.get(id)
        with hold(self._lock(id), _nothing):
            self._forget(id)

    def remove_if_free(self, id: str) -> int | None:
        """Delete ``id`` unless a process builds or uses it (:meth:`using`): the bytes that the disk got back,
        which are fewer than its size where uv's cache or another environment has the same files; None: it
        stays, or is gone already."""
        with hold_if_free(self._lock(id)) as free:
            if not free or not (self._root / id).is_dir() or self._is_used(id):
                return None
            freed = bytes_alone(self._root / id, {})
            self._forget(id)
            return freed

    def freed_by(self, id: str, seen: Links) -> int | None:
        """What :meth:`remove_if_free` would answer after all those that ``seen`` was given for were removed."""
        with hold_if_free(self._lock(id)) as free:
            if not free or not (self._root / id).is_dir() or self._is_used(id):
                return None
            return bytes_alone(self._root / id, seen)

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

    def _is_used(self, id: str) -> bool:
        for path in (self._root / ".locks").glob(f"{id}{_USER}*"):
            with hold_if_free(
                path
            ) as free:  # the file of a process that was killed is free, and goes with it
                if not free:
                    return True
        return False

    def _resolve(self, key: str, wanted: Wanted, progress: uv.Progress) -> _Resolution:
        """The exact versions of what is wanted, remembered under ``key``."""
        with hold(self._lock(key), lambda: progress("waiting for another process")) as lock:
            known = self._resolved(key)
            if known is not None:
                return known
            text = ""
            if wanted.requirements:
                progress("resolving")
                with self._workplace(key) as folder:
                    text = build.resolve(folder, wanted, lock, progress)
            resolution = _Resolution(
                requirements=wanted.requirements,
                lock=text,
                environment=_environment_id(text, wanted.interpreter),
                torch_arguments=wanted.torch.arguments,
            )
            self._remember(key, resolution)
            return resolution

    def _remember(self, key: str, resolution: _Resolution) -> None:
        """Under the lock of ``key``."""
        folder = self._root / ".resolutions"
        folder.mkdir(exist_ok=True)
        _write(folder / f"{key}.json", msgspec.json.format(msgspec.json.encode(resolution)))

    def _build(self, resolution: _Resolution, wanted: Wanted, progress: uv.Progress) -> Environment:
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
                build.install(folder, resolution.lock, resolution.torch_arguments, wanted, lock, progress)
                environment = Environment(
                    id=id,
                    python=str(self._python(id)),
                    requirements=resolution.requirements,
                    lock=resolution.lock,
                    interpreter=wanted.interpreter.identity,
                    size=_size(folder),
                    created=time.time(),
                    torch_arguments=resolution.torch_arguments,
                )
                _write(folder / _DESCRIPTION, msgspec.json.format(msgspec.json.encode(environment)))
                borrow(folder, [path for path in self._root.iterdir() if not path.name.startswith(".")])
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
        if not python.exists():
            return None
        size = environment.size + compiled_bytes(self._root / id)
        return msgspec.structs.replace(environment, python=str(python), size=size)

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
    def _workplace(self, name: str) -> Iterator[Path]:
        """A new folder for work under the lock ``name``; whatever is in it at the end is removed."""
        folder = self._root / (_BUILDING + name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _forget(self, id: str) -> None:
        """The environment, and all that leads to it. Under the lock of ``id``."""
        for path in self._resolutions():
            resolution = self._resolved(path.stem)
            if resolution is None or resolution.environment == id:
                path.unlink(missing_ok=True)
        self._remove(id)
        (self._root / ".used" / id).unlink(missing_ok=True)

    def _remove(self, id: str) -> None:
        """Out of sight at once, then from the disk. Under the lock of ``id``."""
        removed = self._root / (_REMOVED + id)
        shutil.rmtree(removed, ignore_errors=True)
        if (self._root / id).exists():
            stop(self._root / id)
            (self._root / id).rename(removed)
            shutil.rmtree(removed)


def bytes_alone(folder: Path, seen: Links) -> int:
    """The bytes of the files in ``folder`` that are linked from nowhere else but what was ``seen``."""
    alone = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_dir() and not path.is_symlink():
            continue
        which = (status.st_dev, status.st_ino)
        seen[which] = seen.get(which, 0) + 1
        if seen[which] == status.st_nlink:
            alone += status.st_size
    return alone


def _environment_id(lock: str, interpreter: Interpreter) -> str:
    return _digest(lock, interpreter.identity)[:32]


def _digest(*values: object) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()


def _changed(folder: Path) -> float | None:
    """When something was added to it or removed last; None when it is gone."""
    try:
        return folder.stat().st_mtime
    except OSError:
        return None


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
def _told_of_full_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise uv.disk_full() from error
        raise

"""Interpreters: the Python that an environment is made with, among those that are on this machine.

The one that Modelyard runs on is taken where it fulfils what is asked. Otherwise the newest CPython that
does, of those that uv sees: on the path, installed by uv, or by pyenv. Where there is none, and it is
allowed, uv installs one; a PyPy is the last resort, because few packages have wheels for it.
"""

import functools
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
from packaging.specifiers import SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags, platform_tags, sys_tags
from packaging.version import InvalidVersion, Version

from modelyard.core.errors import Internal, RejectedContent, Unavailable
from modelyard.core.python import LEAST, python_versions
from modelyard.package import uv
from modelyard.package.locks import hold
from modelyard.package.sources import Sources

_NAMES: Final = {"cpython": "CPython", "pypy": "PyPy"}  # the best first
_PATIENCE: Final = (
    120.0  # seconds that uv may look around; it starts every interpreter that it has not seen yet
)


class Interpreter(msgspec.Struct, frozen=True):
    """A Python of this machine. ``version`` is that of the language (3.10.13), ``platform`` as sysconfig
    names it (linux-x86_64)."""

    path: Path
    implementation: str
    version: str
    platform: str

    @property
    def name(self) -> str:
        """For people: ``CPython 3.10.13``."""
        return f"{self.implementation} {self.version}"

    @property
    def identity(self) -> str:
        """What makes two interpreters different for an environment."""
        return f"{self.implementation} {self.version} {self.platform}"

    def tags(self) -> frozenset[Tag]:
        """Of the wheels that can be installed for it."""
        return _tags(self)


@functools.cache
def _tags(interpreter: Interpreter) -> frozenset[Tag]:
    if interpreter == running():
        return frozenset(sys_tags())
    major, minor = Version(interpreter.version).release[:2]
    platforms = list(platform_tags())
    if interpreter.implementation != _NAMES["cpython"]:
        return frozenset(compatible_tags((major, minor), platforms=platforms))
    short = f"cp{major}{minor}"
    native = cpython_tags((major, minor), abis=[short], platforms=platforms)
    return frozenset([*native, *compatible_tags((major, minor), interpreter=short, platforms=platforms)])


def running() -> Interpreter:
    """The interpreter that Modelyard runs on, outside of any virtual environment."""
    return Interpreter(
        base_python(), platform.python_implementation(), platform.python_version(), sysconfig.get_platform()
    )


def base_python() -> Path:
    """The path of :func:`running`."""
    folder = Path(sys.base_prefix) / "bin"
    names = (f"python{sys.version_info.major}.{sys.version_info.minor}", "python3", "python")
    for name in names:
        if (folder / name).exists():
            return folder / name
    raise Internal(f"There is no interpreter in {folder}; reinstall Python.")


class Interpreters:
    """Finds them. ``root`` is a folder for locks; ``downloads``: whether uv may install one (it may too where
    ``UV_PYTHON_DOWNLOADS`` says *automatic*). What was found is remembered for as long as it is there."""

    def __init__(self, root: Path, *, downloads: bool = False) -> None:
        self._root = root
        self._downloads = downloads
        self._found: dict[str, tuple[Interpreter, tuple[int, ...]]] = {}

    def find(self, asked: Sequence[str], sources: Sources, progress: uv.Progress) -> Interpreter:
        """One that fulfils all of ``asked`` (each as :func:`modelyard.core.python.python_versions` takes it).

        Raises RejectedContent, with the line that installs one, when there is none; Unavailable when one
        could be installed and cannot be fetched.
        """
        if not asked:
            return running()
        told = " and ".join(asked)
        wanted = python_versions(*asked)
        ours = running()
        if wanted.contains(ours.version, prereleases=True):
            return ours
        known = self._found.get(told)
        if known is not None and known[1] == _stamp(known[0].path):
            return known[0]
        found = self._look(wanted, told, sources, progress)
        self._found[told] = (found, _stamp(found.path))
        return found

    def _look(
        self, wanted: SpecifierSet, told: str, sources: Sources, progress: uv.Progress
    ) -> Interpreter:
        there = installed(sources)
        fitting = [each for each in there if wanted.contains(each.version)]
        best = fitting[0] if fitting else None
        if best is not None and best.implementation == _NAMES["cpython"]:
            return best
        if self._downloads or _allows_downloads(os.environ):
            progress(f"installing Python {told}")
            try:
                self._install(wanted, sources, progress)
            except (Internal, RejectedContent) as error:
                if best is None:
                    raise _missing(
                        wanted, told, there, f"uv could not install one: {error.message}"
                    ) from error
            except uv.Unreachable:
                if best is None:
                    raise
            else:
                best = next((each for each in installed(sources) if wanted.contains(each.version)), best)
        if best is None:
            raise _missing(wanted, told, there, "")
        return best

    def _install(self, wanted: SpecifierSet, sources: Sources, progress: uv.Progress) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        allowed = Sources({**sources.variables, "UV_PYTHON_DOWNLOADS": "automatic"})
        with hold(
            self._root / ".locks" / "python", lambda: progress("waiting for another process")
        ) as lock:
            uv.run(
                ["python", "install", "--no-bin", str(wanted)],
                sources=allowed, folder=self._root, lock=lock, progress=progress,
            )  # fmt: skip


def installed(sources: Sources) -> list[Interpreter]:
    """Those of this machine that an executor runs on, the best first: CPython before PyPy, then the newest; of
    several of one version the first on the path."""
    variables = {**sources.variables, "PATH": _search_path(sources.variables)}
    command = [
        "--color",
        "never",
        "python",
        "list",
        "--only-installed",
        "--no-config",
        "--output-format",
        "json",
    ]
    try:
        listed = subprocess.run(
            [uv.binary(), *command],
            env=variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"uv took longer than {_PATIENCE:.0f} s to look for interpreters; one on the path may hang.",
            retry_after=60.0,
        ) from error
    try:
        told = msgspec.json.decode(listed.stdout, type=list[_Listed])
    except msgspec.DecodeError as error:
        said = listed.stderr.decode(errors="replace").strip()[-500:]
        raise Internal(f"uv could not list the interpreters of this machine: {said}") from error
    found: dict[str, Interpreter] = {}
    for each in sorted(told, key=lambda each: each.symlink is not None):
        if (
            each.implementation in _NAMES
            and each.variant == "default"
            and each.path
            and _suits(each.version)
        ):
            interpreter = Interpreter(
                Path(each.path), _NAMES[each.implementation], each.version, f"{each.os}-{each.arch}"
            )
            found.setdefault(interpreter.identity, interpreter)
    return sorted(found.values(), key=_rank, reverse=True)


class _Listed(msgspec.Struct):
    """An entry of ``uv python list --output-format json``; it has more fields."""

    version: str
    implementation: str
    os: str
    arch: str
    path: str | None = None
    symlink: str | None = None
    variant: str = "default"


def _suits(version: str) -> bool:
    try:
        return Version(version) >= Version(LEAST)
    except InvalidVersion:
        return False


def _rank(interpreter: Interpreter) -> tuple[bool, bool, Version]:
    version = Version(interpreter.version)
    return interpreter.implementation == _NAMES["cpython"], not version.is_prerelease, version


def _search_path(variables: Mapping[str, str]) -> str:
    """PATH, with the versions of pyenv instead of its shims (which uv cannot tell apart, and gives up on), and
    without virtual environments."""
    pyenv = Path(variables.get("PYENV_ROOT") or Path(variables.get("HOME") or Path.home()) / ".pyenv")
    folders = [Path(each) for each in variables.get("PATH", os.defpath).split(os.pathsep) if each]
    kept = [
        each for each in folders if each != pyenv / "shims" and not (each.parent / "pyvenv.cfg").exists()
    ]
    return os.pathsep.join(map(str, [*kept, *sorted(pyenv.glob("versions/3.*/bin"))]))


def _allows_downloads(environ: Mapping[str, str]) -> bool:
    return environ.get("UV_PYTHON_DOWNLOADS", "").lower() in ("automatic", "true", "1", "yes", "on")


def _stamp(path: Path) -> tuple[int, ...]:
    """Changes when another interpreter is put in place of ``path``."""
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _missing(wanted: SpecifierSet, told: str, there: Sequence[Interpreter], why: str) -> RejectedContent:
    names = ", ".join(dict.fromkeys(each.name for each in there)) or "none that uv finds"
    command = "uv" if shutil.which("uv") else uv.binary()
    version = shlex.quote(str(wanted) if " and " in told else told)
    return RejectedContent(
        f"The model asks for Python {told}, and there is none on this machine (there are: {names}). "
        + (f"{why} " if why else "")
        + f"Install one: {command} python install {version}"
        + ("" if why else " (or let Modelyard do it: python_downloads = true in modelyard.toml)"),
        field="python",
    )

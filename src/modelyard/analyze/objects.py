"""Objects as their file describes them, without making them: what pickles and skops files have in common."""

from dataclasses import dataclass, field
from typing import NamedTuple

from modelyard.core.errors import RejectedContent


@dataclass(eq=False, slots=True)
class Global:
    """A class or function that the file names."""

    module: str
    name: str

    @property
    def path(self) -> str:
        """``module.name``."""
        return f"{self.module}.{self.name}"


@dataclass(eq=False, slots=True)
class Instance:
    """An object: its class (or the function that makes it), arguments, and state."""

    made_by: object
    arguments: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)


class Opaque(NamedTuple):
    """A value whose content is not kept: ``size`` in bytes."""

    size: int


class Persistent(NamedTuple):
    """What lies outside of the pickle, by what the pickle calls it."""

    name: object


@dataclass(eq=False, slots=True)
class Array:
    """A NumPy array's header; ``dtype`` as in NumPy's array interface without byte order (``i8``, ``U3``,
    ``O``). ``values`` only where the file writes them as objects."""

    shape: tuple[int, ...]
    dtype: str
    values: list[object] | None = None

    @property
    def family(self) -> str:
        """The letter of the type: b, i, u, f, c, U, S, O, V, M, m."""
        return self.dtype[:1]


def attributes(value: object) -> dict[str, object]:
    """The attributes of an object; a state of (dict, slots) is merged; empty when there are none."""
    if not isinstance(value, Instance):
        return {}
    state = value.state
    if isinstance(state, tuple) and len(state) == 2:
        merged: dict[str, object] = {}
        for part in state:
            if isinstance(part, dict):
                merged |= part
        return merged
    return state if isinstance(state, dict) else {}


def class_of(value: object) -> Global | None:
    """The class of an object, seen through the functions that pickle uses to make it."""
    if not isinstance(value, Instance):
        return None
    made_by = value.made_by
    if isinstance(made_by, Global):
        if made_by.path in ("copyreg._reconstructor", "copyreg.__newobj__", "copy_reg._reconstructor"):
            first = value.arguments[0] if value.arguments else None
            return first if isinstance(first, Global) else None
        return made_by
    return None


_CALLS = {
    "builtins": {"eval", "exec", "compile", "__import__", "open", "breakpoint", "input"},
    "__builtin__": {"eval", "exec", "compile", "__import__", "open", "execfile", "file"},
}
_MODULES = frozenset(
    {"os", "posix", "nt", "subprocess", "sys", "socket", "shutil", "pty", "commands", "importlib", "runpy"}
    | {"ctypes", "webbrowser", "code", "pip", "multiprocessing", "asyncio", "http", "urllib", "requests"}
    | {"ftplib", "smtplib", "telnetlib", "pdb", "bdb", "timeit", "cProfile", "profile", "pathlib_abc"}
)


def refuse_harmful(where: str, found: Global) -> None:
    """Raise RejectedContent when loading would reach for the system: no model needs that."""
    root = found.module.split(".", 1)[0]
    if root in _MODULES or found.name.split(".")[0] in _CALLS.get(found.module, ()):
        raise RejectedContent(
            f"{where} would call {found.path[:200]} when it is loaded. That is no model but an attack, or a "
            "mistake; it is refused, trusted or not.",
            field=where,
        )
    if root == "__main__":
        raise RejectedContent(
            f"{where} needs {found.name[:200]!r}, which was defined in the script or notebook that saved it "
            "(__main__) and is not in the file. Put it in a package that the model's requirements name, or "
            "serve it as a Python function (model.py).",
            field=where,
        )

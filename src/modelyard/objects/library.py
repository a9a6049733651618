"""What a library of models has to offer so that its objects can be pushed, and what several of them share."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from modelyard.core.errors import RejectedContent
from modelyard.objects.example import Example


class Given(NamedTuple):
    """What was pushed beside the object. ``processor`` is a tokenizer; ``trusted``: formats that run code may be used."""

    example: Example | None
    processor: object | None = None
    trusted: bool = False


class Saved(NamedTuple):
    """An object as files. ``answers`` has the object itself answer the example: by output, one value for each record
    (None: it cannot, or there is no example). ``example``: as the files take it, where that differs. ``requirements`` are names of packages
    beside those that the format asks for; ``signature`` is that of model.yaml, in its form. ``python``: only the Python that
    saved it loads it. ``notes`` are said to the user."""

    answers: Callable[[], Mapping[str, Any]] | None = None
    example: Example | None = None
    requirements: tuple[str, ...] = ()
    signature: dict[str, Any] | None = None
    python: bool = False
    notes: tuple[str, ...] = ()


class Library(Protocol):
    """The module of a library. Nothing of the library is imported before ``takes`` has said yes, when it is imported
    already: an object of it is there."""

    @property
    def NAME(self) -> str: ...

    def takes(self, model: object) -> bool:
        """Whether ``model`` is an object of the library, by the names of its classes' modules."""
        ...

    def save(self, model: Any, folder: Path, given: Given) -> Saved:
        """Write ``model`` into the empty ``folder``, the same object as the same bytes. Raises RejectedContent."""
        ...


def is_of(model: object, root: str, *names: str) -> bool:
    """Whether a class of ``model`` is from the package ``root`` (and called one of ``names``)."""
    return any(
        each.__module__.partition(".")[0] == root and (not names or each.__name__ in names)
        for each in type(model).__mro__
    )


def refuse_main(model: object) -> None:
    """Raise RejectedContent for an object whose class no other process can find."""
    kind = type(model)
    if kind.__module__ == "__main__":
        raise RejectedContent(
            f"The class {kind.__qualname__} is defined in __main__ (this script or notebook), where no other process finds "
            "it. Put it into a package that can be installed, or push a function that uses it.",
            field="model",
        )

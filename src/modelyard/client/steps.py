"""The few things that a flow may ask of a transport; what makes one flow serve two clients.

A flow is a generator: it yields a step and is sent the step's outcome, or has the step's error
raised at the ``yield``. It does no I/O itself.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from modelyard.client.local_files import LocalFile

T = TypeVar("T")
Flow = Generator["Call | Together | Listen | NextLine | Wait | Work", Any, T]


class Refused(Exception):
    """Nobody listens at the address: the request was not sent, so that it may be sent again."""


class Call(NamedTuple):
    """One request; the outcome is a :class:`Reply`. ``file`` streams a file as the body instead, or with ``span``
    its bytes from the first to before the second.

    Raises Refused when nobody listens, Unavailable when the connection breaks, Deadline when
    ``timeout`` (seconds) passes.
    """

    method: str
    url: str
    key: str | None = None
    body: bytes | None = None
    file: LocalFile | None = None
    span: tuple[int, int] | None = None
    sent: Callable[[int], None] | None = None  # told the bytes of each chunk of ``file``
    timeout: float = 60.0
    headers: Mapping[str, str] = {}


class Together(NamedTuple):
    """Many requests, ``at_once`` of them under way at a time; the outcome is a list with the Reply to each, or the
    error that it would have raised. ``answered`` is told the number of each call as it is answered."""

    calls: Sequence[Call]
    at_once: int
    answered: "Callable[[int, Reply], None]"


class Reply(NamedTuple):
    """An answer in whole; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Listen(NamedTuple):
    """Open a stream of lines; the outcome is a Reply with an empty body when it stands (status 200).

    The stream closes with the flow, and when the next one is opened. With a ``body`` it is posted.
    """

    url: str
    key: str | None = None
    timeout: float = 60.0
    body: bytes | None = None
    headers: Mapping[str, str] = {}


class NextLine(NamedTuple):
    """The next line of the open stream, without its end; None when the stream has ended.

    One that breaks has ended too; where it must be ``whole``, that raises Unavailable instead.
    """

    whole: bool = False


class Wait(NamedTuple):
    """Let time pass."""

    seconds: float


class Work(NamedTuple):
    """Run a function that reads files; the outcome is what it returns."""

    function: Callable[[], Any]

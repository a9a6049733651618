"""Call and Answer: what every protocol decodes to and encodes from."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from modelyard.core.errors import ModelyardError
from modelyard.serve.observe.context import Trace


class RawTensor(NamedTuple):
    """A tensor as it travels on the wire: little-endian bytes; ``shape`` with the batch axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


class Options(NamedTuple):
    """What a caller may say of one call beside its inputs; the same for every protocol.

    ``timeout`` is in seconds from arrival (None: the deployment's own). ``priority`` is Triton's: 1 is
    the most urgent level, larger numbers follow, 0 is the level in the middle. ``client`` is who shares
    the queue fairly with others (an API key's digest, else an address). ``cache`` False neither
    reads nor keeps a cached answer. ``hops`` counts the nodes that this call has been through.
    ``trace`` is the context of the span that this call belongs to, or None. ``fell`` says that the call is
    made as another endpoint's fallback. ``request_id`` is the request's that it came with. ``progress`` makes it a
    call of a job: it is bulk work, has the deployment's ``job_timeout``, and its computation says there how far
    it is (a fraction, or None, and a text).
    """

    timeout: float | None = None
    priority: int = 0
    client: str = ""
    cache: bool = True
    hops: int = 0
    trace: Trace | None = None
    fell: bool = False
    request_id: str = ""
    progress: "Callable[[float | None, str], None] | None" = None


DEFAULTS: Final = Options()


class Call(NamedTuple):
    """One prediction. ``rows`` is its length along the batch axis (1 where there is none);
    ``timeout`` in seconds from arrival, already limited by the deployment's. ``stream`` asks for
    the answer in pieces, as they are made."""

    inputs: tuple[RawTensor, ...]
    parameters: Mapping[str, object]
    rows: int
    timeout: float
    options: Options = DEFAULTS
    stream: bool = False


Answer = tuple[RawTensor, ...]
Result = Answer | ModelyardError  # one bad item of a batch is a value, not an exception

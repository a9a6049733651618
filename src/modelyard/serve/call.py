"""Call and Answer: what every protocol decodes to and encodes from."""

from collections.abc import Mapping
from typing import NamedTuple

from modelyard.core.errors import ModelyardError


class RawTensor(NamedTuple):
    """A tensor as it travels on the wire: little-endian bytes; ``shape`` with the batch axis."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview


class Call(NamedTuple):
    """One prediction. ``rows`` is its length along the batch axis (1 where there is none);
    ``timeout`` in seconds from arrival."""

    inputs: tuple[RawTensor, ...]
    parameters: Mapping[str, object]
    rows: int
    timeout: float


Answer = tuple[RawTensor, ...]
Result = Answer | ModelyardError  # one bad item of a batch is a value, not an exception

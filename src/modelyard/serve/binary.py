"""Tensors as raw bytes behind the JSON of a body, as the V2 protocol's binary extension has them.

    Inference-Header-Content-Length: 120        length of the JSON; then tensor after tensor, no gaps
    inputs[i].parameters.binary_data_size       bytes of one of them, in the order of ``inputs``

Nothing is copied on the way in: a tensor is a view of the body.

Source: https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from collections.abc import Sequence
from math import prod

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature
from modelyard.serve.call import RawTensor
from modelyard.serve.codec import raw_size_fits

LENGTH = b"inference-header-content-length"


def split(body: bytes, length: bytes) -> tuple[memoryview, memoryview]:
    """The JSON of ``body`` and the tensors behind it. Raises InvalidInput for an impossible ``length``."""
    if not length.isdigit() or len(length) > 18 or int(length) > len(body):
        raise InvalidInput(
            f"Inference-Header-Content-Length is the length of the JSON, from 0 to the body's {len(body)} "
            f"bytes; it is {length[:40].decode('latin-1')!r}.",
            field="inference-header-content-length",
        )
    whole = memoryview(body)
    return whole[: int(length)], whole[int(length) :]


class Tail:
    """The tensors behind the JSON, taken one after the other."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def take(self, size: object, field: str) -> memoryview:
        """The next ``size`` bytes. Raises InvalidInput when there are not as many."""
        left = len(self._data) - self._position
        if type(size) is not int or not 0 <= size <= left:
            raise InvalidInput(
                f"binary_data_size is a number of bytes; {left} are left in the body, this says {size!r:.40}.",
                field=field,
            )
        start = self._position
        self._position += size
        return self._data[start : self._position]

    def finish(self) -> None:
        """Raises InvalidInput when bytes are left that belong to no tensor."""
        if self._position != len(self._data):
            raise InvalidInput(
                f"{len(self._data) - self._position} bytes at the end of the body belong to no input; give "
                "each binary input its binary_data_size.",
                field="inputs",
            )


def raw_tensor(
    name: str, datatype: str, shape: Sequence[int], data: bytes | memoryview, field: str
) -> RawTensor:
    """Raw bytes as a tensor. Raises InvalidInput when they are not what data type and shape ask for."""
    if any(length < 0 for length in shape) or not raw_size_fits(datatype, shape, data):
        size = DATATYPES[datatype].size
        wanted = f"{size * prod(shape)} bytes" if size else f"{prod(shape)} elements, each after its length"
        raise InvalidInput(
            f"{name!r} of shape {list(shape)} and type {datatype} is {wanted}; "
            f"the {len(data)} bytes given are not that.",
            field=field,
        )
    if datatype == "BOOL" and bytes(data).translate(None, b"\x00\x01"):
        raise InvalidInput(f"{name!r} is BOOL: each byte is 0 or 1.", field=field)
    return RawTensor(name, datatype, tuple(shape), data)


def whole_body(signature: Signature, endpoint: str, body: memoryview) -> RawTensor:
    """A body that is nothing but the bytes of the model's only input (a header length of 0).

    One unknown length of its shape follows from the size; BYTES are one element, without its length.
    Raises InvalidInput where that does not tell the tensor.
    """
    field = "inputs"
    if len(signature.inputs) != 1:
        raise InvalidInput(
            f"A body without JSON is for models with one input; {endpoint!r} has {len(signature.inputs)}.",
            field=field,
        )
    spec = signature.inputs[0]
    shape = list(signature.batch_shape(spec))
    if spec.datatype == "BYTES":
        shape = [1 if length == -1 else length for length in shape]
        return raw_tensor(
            spec.name, "BYTES", shape, len(body).to_bytes(4, "little") + body.tobytes(), field
        )
    if signature.batched and shape.count(-1) > 1:
        shape[0] = 1
    known = DATATYPES[spec.datatype].size * prod(length for length in shape if length != -1)
    if shape.count(-1) > 1 or not known:
        raise InvalidInput(
            f"{spec.name!r} has the shape {shape}; send JSON that tells its lengths.", field=field
        )
    shape = [len(body) // known if length == -1 else length for length in shape]
    return raw_tensor(spec.name, spec.datatype, shape, body, field)

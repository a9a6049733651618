"""A remote that speaks the Open Inference Protocol V2: another node of ours, Triton, MLServer, KServe.

Tensors travel raw where the remote announces ``binary_tensor_data``, else as JSON.
Sources: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import math
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, TypeVar, cast
from urllib.parse import quote

import msgspec

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import Signature, TensorSpec
from modelyard.serve.call import Answer, Call, RawTensor
from modelyard.serve.codec import flatten, pack, pack_record, unpack, unpack_record
from modelyard.serve.remote.answers import Refused, lying, refused
from modelyard.serve.remote.events import events
from modelyard.serve.remote.exchange import Reply
from modelyard.serve.remote.http import Client
from modelyard.serve.remote.kind import Learned
from modelyard.serve.remote.said import call_headers, texts_of

BINARY: Final = "binary_tensor_data"
_ERROR_LIMIT: Final = 64 * 1024  # bytes of an error's body that are read
_LENGTH: Final = b"inference-header-content-length"


class _Tensor(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    data: list[object] | None = None
    parameters: dict[str, object] | None = None


class _Answer(msgspec.Struct):
    outputs: list[_Tensor]


class _Metadata(msgspec.Struct):
    name: str = ""
    versions: list[str] | None = None
    platform: str = ""
    inputs: list[_Tensor] | None = None
    outputs: list[_Tensor] | None = None
    parameters: dict[str, object] | None = None


class _Server(msgspec.Struct):
    name: str = ""
    extensions: list[str] | None = None


_decode_answer = msgspec.json.Decoder(_Answer).decode
_T = TypeVar("_T", bound=msgspec.Struct)
_encode = msgspec.json.Encoder().encode


class V2:
    """One model of a V2 server. ``hops`` is what a call's way grows by; ``binary`` is believed until it was
    asked."""

    def __init__(
        self,
        client: Client,
        model: str,
        name: str,
        headers: dict[str, str],
        *,
        hops: int = 1,
        binary: bool = False,
    ) -> None:
        self._client = client
        self._name = name
        path = f"/v2/models/{quote(model, safe='')}"
        self._server_head = client.head("GET", "/v2", headers)
        self._metadata_head = client.head("GET", path, headers)
        self._ready_head = client.head("GET", f"{path}/ready", headers)
        self._infer_head = client.head("POST", f"{path}/infer", headers)
        self._generate_head = client.head(
            "POST", f"{path}/generate_stream", {**headers, "content-type": "application/json"}
        )
        self._learned: Signature | None = None
        self._binary = binary
        self._hops = hops

    async def learn(self, deadline: float) -> Learned:
        """Extensions of the server, then readiness and metadata of the model."""
        reply = await self._client.exchange(self._server_head, b"", deadline)
        server = _Server()
        if reply.status == 200:
            server = self._decoded(reply, _Server)
        await self.check(deadline)
        reply = await self._client.exchange(self._metadata_head, b"", deadline)
        if reply.status != 200:
            raise refused(reply, self._name)
        metadata = self._decoded(reply, _Metadata)
        self._binary = BINARY in (server.extensions or [])
        extra = metadata.parameters or {}
        version = (metadata.versions or ["0"])[-1]
        self._learned = self._signature(metadata, extra)
        return Learned(
            self._learned,
            _text(extra.get("model")) or metadata.name,
            int(version) if version.isdigit() and len(version) < 10 else 0,
            _text(extra.get("digest")),
            metadata.platform,
        )

    async def check(self, deadline: float) -> None:
        """``GET /v2/models/{model}/ready``."""
        reply = await self._client.exchange(self._ready_head, b"", deadline)
        if reply.status != 200:
            raise refused(reply, self._name)

    async def infer(self, call: Call, deadline: float) -> Answer:
        """``POST /v2/models/{model}/infer``."""
        binary = self._binary
        head, body = (_binary if binary else _json)(call)
        reply = await self._client.exchange(
            b"".join((self._infer_head, call_headers(call, self._hops), head)), body, deadline
        )
        if reply.status != 200:
            raise refused(reply, self._name)
        return self._answer(reply)

    async def stream(self, call: Call, deadline: float) -> AsyncGenerator[Answer, None]:
        """``POST /v2/models/{model}/generate_stream``: records by name, one event for each piece."""
        signature = self._learned
        if signature is None:
            raise lying(self._name, "it has told no signature, which a stream is read by")
        record = {
            tensor.name: unpack_record(spec, tensor.datatype, tensor.shape, tensor.data, signature.batched)
            for tensor in call.inputs
            for spec in signature.inputs
            if spec.name == tensor.name
        }
        body = _encode({**record, **call.parameters})
        head = self._generate_head + call_headers(call, self._hops)
        async with self._client.stream(head, body, deadline, until=deadline) as (reply, pieces):
            if reply.status != 200:
                told = b""
                async for piece in pieces:
                    told += piece[: _ERROR_LIMIT - len(told)]
                raise refused(reply._replace(body=told), self._name)
            async with aclosing(events(pieces)) as coming:
                async for event in coming:
                    yield self._piece(event, reply, signature)

    def _piece(self, event: bytes, reply: Reply, signature: Signature) -> Answer:
        """One event as an answer. Raises Refused for one that tells an error."""
        try:
            told = msgspec.json.decode(event, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise lying(self._name, f"a piece of its answer cannot be read ({error})") from None
        if "error" in told and all(spec.name != "error" for spec in signature.outputs):
            raise refused(reply._replace(status=500, body=event), self._name)
        answer: list[RawTensor] = []
        for spec in signature.outputs:
            if spec.name not in told:
                continue
            try:
                shape, data = pack_record(spec, told[spec.name], spec.name, signature.batched)
            except InvalidInput as error:
                raise lying(self._name, f"the output {spec.name!r}: {error.message}") from None
            answer.append(RawTensor(spec.name, spec.datatype, shape, data))
        return tuple(answer)

    def _decoded(self, reply: Reply, kind: type[_T]) -> _T:
        try:
            return msgspec.json.decode(reply.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise lying(self._name, f"this is no V2 metadata ({error})") from None

    def _signature(self, metadata: _Metadata, extra: dict[str, object]) -> Signature | None:
        """Ours whole, when it is a node of ours; else what V2's shapes say. None without any input."""
        if "signature" in extra:
            try:
                return msgspec.convert(extra["signature"], Signature)
            except msgspec.ValidationError as error:
                raise lying(self._name, f"its signature cannot be read ({error})") from None
        inputs, outputs = metadata.inputs or [], metadata.outputs or []
        if not inputs:
            return None
        # V2 does not say which axis is the batch: it is one when every tensor has any length there.
        batched = all(tensor.shape[:1] == [-1] for tensor in [*inputs, *outputs])

        def spec(tensor: _Tensor) -> TensorSpec:
            if tensor.datatype not in DATATYPES:
                raise lying(self._name, f"{tensor.datatype!r:.40} is no data type of V2")
            shape = tuple(tensor.shape[1:] if batched else tensor.shape)
            return TensorSpec(name=tensor.name, datatype=tensor.datatype, shape=shape)

        return Signature(
            inputs=tuple(map(spec, inputs)), outputs=tuple(map(spec, outputs)), batched=batched
        )

    def _answer(self, reply: Reply) -> Answer:
        text, raw = reply.body, memoryview(b"")
        length = reply.headers.get(_LENGTH)
        if length is not None:
            if not length.isdigit() or int(length) > len(reply.body):
                raise lying(self._name, "its header length does not fit its body")
            text, raw = reply.body[: int(length)], memoryview(reply.body)[int(length) :]
        try:
            outputs = _decode_answer(text).outputs
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise lying(self._name, f"this is no V2 answer ({error})") from None
        answer: list[RawTensor] = []
        position = 0
        for tensor in outputs:
            if tensor.datatype not in DATATYPES or any(side < 0 for side in tensor.shape):
                raise lying(self._name, f"the output {tensor.name!r:.80} is {tensor.datatype!r:.40}")
            size = (tensor.parameters or {}).get("binary_data_size")
            if size is not None:
                if type(size) is not int or size < 0 or position + size > len(raw):
                    raise lying(self._name, f"the bytes of {tensor.name!r:.80} are not there")
                data: bytes | memoryview = raw[position : position + size]
                position += size
            else:
                data = self._packed(tensor)
            answer.append(RawTensor(tensor.name, tensor.datatype, tuple(tensor.shape), data))
        if position != len(raw):
            raise lying(self._name, "there are bytes that belong to no output")
        return tuple(answer)

    def _packed(self, tensor: _Tensor) -> bytes:
        values = tensor.data
        if values is None:
            raise lying(self._name, f"the output {tensor.name!r:.80} has no data")
        try:
            if values and type(values[0]) is list:
                shape, values = flatten(values, len(tensor.shape), "data")
                if list(shape) != tensor.shape:
                    raise lying(self._name, f"the data of {tensor.name!r:.80} is not of its shape")
            if DATATYPES[tensor.datatype].family == "float" and None in values:
                # JSON has no NaN; null is what stands for it. NaN is the one value that pack refuses.
                return b"".join(_float(tensor.datatype, value) for value in values)
            return pack(tensor.datatype, values, "data")
        except InvalidInput as error:
            raise lying(self._name, f"the output {tensor.name!r:.80}: {error.message}") from None


def _float(datatype: str, value: object) -> bytes:
    if value is not None:
        return pack(datatype, [value], "data")
    return {
        "FP16": b"\x00\x7e",
        "BF16": b"\xc0\x7f",
        "FP32": b"\x00\x00\xc0\x7f",
        "FP64": b"\0\0\0\0\0\0\xf8\x7f",
    }[datatype]


def _binary(call: Call) -> tuple[bytes, bytes]:
    header = _encode(
        {
            "inputs": [
                {
                    "name": tensor.name,
                    "datatype": tensor.datatype,
                    "shape": tensor.shape,
                    "parameters": {"binary_data_size": len(tensor.data)},
                }
                for tensor in call.inputs
            ],
            "parameters": {**call.parameters, "binary_data_output": True},
        }
    )
    head = b"content-type: application/octet-stream\r\ninference-header-content-length: %d\r\n" % len(
        header
    )
    return head, b"".join((header, *(tensor.data for tensor in call.inputs)))


def _json(call: Call) -> tuple[bytes, bytes]:
    body: dict[str, object] = {"inputs": [_json_tensor(tensor) for tensor in call.inputs]}
    if call.parameters:
        body["parameters"] = call.parameters
    return b"content-type: application/json\r\n", _encode(body)


def _json_tensor(tensor: RawTensor) -> dict[str, object]:
    """Raises Refused for values that JSON cannot carry."""
    family = DATATYPES[tensor.datatype].family
    values = unpack(tensor.datatype, tensor.data) if family != "bytes" else texts_of(tensor)
    if family == "float" and not all(map(math.isfinite, cast("list[float]", values))):
        error = InvalidInput(
            f"The input {tensor.name!r} holds NaN or infinite numbers, and the remote takes JSON, which has none.",
            field=tensor.name,
        )
        raise Refused(error, "unknown")
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape, "data": values}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""

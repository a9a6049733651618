"""A remote that speaks OpenAI's API: embeddings of texts.

Source: https://platform.openai.com/docs/api-reference/embeddings
"""

import base64
import binascii
from array import array
from collections.abc import AsyncGenerator
from typing import cast

import msgspec

from modelyard.core.errors import InvalidInput
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.serve.call import Answer, Call, RawTensor
from modelyard.serve.codec import pack
from modelyard.serve.remote.answers import lying, refused
from modelyard.serve.remote.http import Client
from modelyard.serve.remote.kind import Learned
from modelyard.serve.remote.said import call_headers, texts_of

# The names are those of our own sentence embeddings, so that one endpoint may have both.
SIGNATURE = Signature(
    inputs=(TensorSpec(name="text", datatype="BYTES", kind="text"),),
    outputs=(TensorSpec(name="embedding", datatype="FP32", shape=(-1,), kind="embedding"),),
    parameters=(ParameterSpec(name="dimensions", type="int", description="Length of each embedding."),),
    max_batch=2048,
)


class _Embedding(msgspec.Struct):
    index: int
    embedding: list[float] | str


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0


class _Answer(msgspec.Struct):
    data: list[_Embedding]
    usage: _Usage | None = None


class _Named(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Named]


_decode = msgspec.json.Decoder(_Answer).decode


class OpenAI:
    """One embedding model of an OpenAI-compatible server. ``tokens`` counts what it says it used."""

    def __init__(self, client: Client, model: str, name: str, headers: dict[str, str]) -> None:
        self._client = client
        self._model = model
        self._name = name
        self._models_head = client.head("GET", "/v1/models", headers)
        self._embed_head = client.head(
            "POST", "/v1/embeddings", {**headers, "content-type": "application/json"}
        )
        self.tokens = 0

    async def learn(self, deadline: float) -> Learned:
        """The signature is the protocol's."""
        await self.check(deadline)
        return Learned(SIGNATURE, self._model, 0, "", "openai")

    async def check(self, deadline: float) -> None:
        """``GET /v1/models`` names the model. Who has no such list (404, 405) is believed to be ready."""
        reply = await self._client.exchange(self._models_head, b"", deadline)
        if reply.status in (404, 405):
            return
        if reply.status != 200:
            raise refused(reply, self._name)
        try:
            names = [model.id for model in msgspec.json.decode(reply.body, type=_Models).data]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise lying(self._name, f"this is no list of models ({error})") from None
        if self._model not in names:
            raise lying(
                self._name, f"it has no model {self._model!r}, but {', '.join(names)[:200] or 'none'}"
            )

    async def infer(self, call: Call, deadline: float) -> Answer:
        """``POST /v1/embeddings``, one row of the answer for each text."""
        body: dict[str, object] = {
            "model": self._model,
            "input": texts_of(call.inputs[0]),
            "encoding_format": "base64",
            **call.parameters,
        }
        head = self._embed_head + call_headers(call)
        reply = await self._client.exchange(head, msgspec.json.encode(body), deadline)
        if reply.status != 200:
            raise refused(reply, self._name)
        try:
            answer = _decode(reply.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise lying(self._name, f"this is no answer with embeddings ({error})") from None
        if sorted(each.index for each in answer.data) != list(range(call.rows)):
            raise lying(self._name, f"{call.rows} texts were sent, {len(answer.data)} embeddings came")
        if answer.usage is not None:
            self.tokens += answer.usage.prompt_tokens
        rows = [self._row(each.embedding) for each in sorted(answer.data, key=lambda each: each.index)]
        length = len(rows[0])
        if length == 0 or any(len(row) != length for row in rows):
            raise lying(self._name, "its embeddings differ in length")
        return (RawTensor("embedding", "FP32", (call.rows, length // 4), b"".join(rows)),)

    async def stream(self, call: Call, deadline: float) -> AsyncGenerator[Answer, None]:
        """An embedding does not come in pieces."""
        yield await self.infer(call, deadline)

    def _row(self, embedding: list[float] | str) -> bytes:
        """FP32, little-endian; a server that knows no base64 sends numbers."""
        try:
            if isinstance(embedding, str):
                raw = base64.b64decode(embedding, validate=True)
                array("f").frombytes(raw)
                return raw
            return pack("FP32", cast("list[object]", embedding), "embedding")
        except (binascii.Error, ValueError, InvalidInput) as error:
            raise lying(self._name, f"an embedding cannot be read ({error})") from None

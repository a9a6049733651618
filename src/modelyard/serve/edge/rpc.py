"""What the edge and gRPC ask of each other: a stream of HTTP/2 as a call sees it, and who answers calls."""

from typing import Protocol

from modelyard.core.errors import ModelyardError
from modelyard.serve.http import Request


class RpcStream(Protocol):
    """One call of gRPC as the edge shows it; header blocks are encoded already."""

    @property
    def stopping(self) -> bool: ...

    def answer(self, head: bytes, data: bytes, trailers: bytes) -> None: ...

    def start(self, head: bytes, *, end: bool = False) -> None: ...

    async def send(self, data: bytes) -> None: ...

    def end(self, trailers: bytes | None = None) -> None: ...

    async def receive(self) -> bytes | None: ...


class Rpc(Protocol):
    """What answers the calls of gRPC that come over HTTP/2."""

    def is_duplex(self, path: str) -> bool:
        """Whether requests of this method are handed on as they come, not as a whole."""
        ...

    def refusal(self, error: ModelyardError, request: Request) -> bytes:
        """The one header block of an answer that is nothing but ``error``."""
        ...

    async def __call__(self, request: Request, stream: RpcStream) -> None:
        """Answer one call."""
        ...

"""The servers of buckets that tests run against, each started when a test first asks for it."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from modelyard.store.clouds import connect, parse_bucket
from support.azure import AzureServer
from support.gcs import GcsServer
from support.s3 import S3Server

if TYPE_CHECKING:
    from obstore.store import ObjectStore

BUCKETS = ("yard", "sources", "models")


class CloudServer(Protocol):
    """One server. ``variables_at``: what tells a client to use it, at a port that leads to it."""

    @property
    def port(self) -> int: ...

    @property
    def variables(self) -> dict[str, str]: ...

    def variables_at(self, port: int) -> dict[str, str]: ...

    def make(self, bucket: str) -> None: ...


class Clouds:
    """A context manager; ``at("s3")`` (``gs``, ``az``) is the server, with some buckets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._running: dict[str, CloudServer] = {}

    def __enter__(self) -> "Clouds":
        return self

    def __exit__(self, *stopped: object) -> None:
        self._stack.close()

    def at(self, scheme: str) -> CloudServer:
        if scheme not in self._running:
            kind = {"s3": S3Server, "gs": GcsServer, "az": AzureServer}[scheme]
            self._running[scheme] = server = self._stack.enter_context(kind(self._folder / scheme))
            for bucket in BUCKETS:
                server.make(bucket)
        return self._running[scheme]


def store_at(address: str) -> "ObjectStore":
    """The library's store below ``address``, by the environment as it is."""
    return connect(parse_bucket(address, field="test"), below=True, field="test")

"""The target ``local``: the node on this machine, spoken to over its internal API."""

import http.client
import threading
from urllib.parse import quote, urlsplit

import msgspec

from modelyard.core.errors import Conflict, Internal, NotFound, Unavailable
from modelyard.core.routes import NodeStatus, RouteTable
from modelyard.core.settings import Home

_GONE = (
    http.client.RemoteDisconnected,
    http.client.CannotSendRequest,
    BrokenPipeError,
    ConnectionResetError,
)


class LocalTarget:
    """Calls from several threads are safe; each takes a kept connection or makes one.

    Address and key are read from the home's ``run`` folder at every call, so that a node that was
    started again, perhaps on another port, is found without being told.
    """

    def __init__(self, home: Home, *, timeout: float = 3.0, keep: int = 4) -> None:
        self._home = home
        self._timeout = timeout
        self._keep = keep
        self._idle: list[tuple[str, http.client.HTTPConnection]] = []
        self._lock = threading.Lock()
        self._status = msgspec.json.Decoder(NodeStatus)

    @property
    def url(self) -> str | None:
        """The address that the node wrote when it last listened; None before its first start."""
        try:
            return self._home.address("node").read_text().strip() or None
        except FileNotFoundError:
            return None

    def apply(self, table: RouteTable) -> None:
        """See :class:`modelyard.deploy.target.Target`."""
        status, body = self._call("PUT", "/node/routes", msgspec.json.encode(table))
        if status == 409:
            raise Conflict(f"The node has a newer table of routes than generation {table.generation}.")
        if status != 204:
            raise self._unexpected("PUT /node/routes", status, body)

    def status(self) -> NodeStatus:
        """See :class:`modelyard.deploy.target.Target`."""
        status, body = self._call("GET", "/node/status")
        if status != 200:
            raise self._unexpected("GET /node/status", status, body)
        try:
            return self._status.decode(body)
        except msgspec.MsgspecError as error:
            raise Unavailable(f"The node's status cannot be understood: {error}.") from error

    def logs(self, deployment: str, tail: int) -> str:
        """See :class:`modelyard.deploy.target.Target`."""
        path = f"/node/logs/{quote(deployment, safe='')}?tail={tail}"
        status, body = self._call("GET", path)
        if status == 404:
            raise NotFound(f"The node has no log of the deployment {deployment!r}.")
        if status != 200:
            raise self._unexpected(f"GET {path}", status, body)
        return body.decode("utf-8", "replace")

    def close(self) -> None:
        """Close the kept connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def _call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        url = self.url
        try:
            key = self._home.node_key.read_text().strip()
        except FileNotFoundError:
            key = ""
        if url is None or not key:
            raise Unavailable(
                "There is no node in this home yet; start it with `modelyard up`.", retry_after=1.0
            )
        headers = {"Authorization": f"Bearer {key}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        while True:
            connection, kept = self._connection(url)
            try:
                connection.request(method, path, body, headers)
                response = connection.getresponse()
                answer = response.status, response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A kept connection may have been closed by the node meanwhile; every call of this
                # API says the same thing when it is said twice.
                if kept and isinstance(error, _GONE):
                    continue
                raise Unavailable(
                    f"The node at {url} does not answer: {error or type(error).__name__}.", retry_after=1.0
                ) from error
            except BaseException:
                connection.close()
                raise
            self._give_back(url, connection)
            return answer

    def _connection(self, url: str) -> tuple[http.client.HTTPConnection, bool]:
        with self._lock:
            while self._idle:
                kept_url, connection = self._idle.pop()
                if kept_url == url:
                    return connection, True
                connection.close()
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = None
        if parts.scheme != "http" or not parts.hostname or port is None:
            raise Unavailable(f"The node's address {url[:200]!r} is not an http URL; start the node again.")
        return http.client.HTTPConnection(parts.hostname, port, timeout=self._timeout), False

    def _give_back(self, url: str, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            # http.client drops the socket by itself when the answer said "Connection: close".
            if connection.sock is not None and len(self._idle) < self._keep:
                self._idle.append((url, connection))
                return
        connection.close()

    @staticmethod
    def _unexpected(call: str, status: int, body: bytes) -> Unavailable | Internal:
        text = body[:300].decode("utf-8", "replace")
        if status in (401, 403) or status >= 500:
            return Unavailable(f"The node answered {call} with {status}: {text}", retry_after=1.0)
        return Internal(f"The node answered {call} with {status}: {text}")

"""Carries out the steps of a flow with blocking sockets: http.client, because it imports fast."""

import contextlib
import http.client
import select
import socket
import time
from collections.abc import Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

from modelyard.client.local_files import whole_chunks
from modelyard.client.steps import Call, Flow, Listen, NextLine, Refused, Reply, Together, Wait, Work
from modelyard.core.errors import Deadline, Unavailable

T = TypeVar("T")
_MAX_LINE = 16 * 1024 * 1024


class Transport:
    """Keeps connections for the next call. May be used by several threads at once."""

    def __init__(self) -> None:
        self._idle: dict[str, list[http.client.HTTPConnection]] = {}

    def run(self, flow: Flow[T]) -> T:
        """Walk ``flow`` to its end; what it returns or raises."""
        with contextlib.ExitStack() as stack:
            stack.callback(flow.close)
            stream: _Stream | None = None
            outcome: Any = None
            failure: BaseException | None = None
            while True:
                try:
                    step = flow.send(outcome) if failure is None else flow.throw(failure)
                except StopIteration as stop:
                    return stop.value
                outcome, failure = None, None
                try:
                    if isinstance(step, Call):
                        outcome = self._call(step)
                    elif isinstance(step, Together):
                        outcome = self._together(step)
                    elif isinstance(step, Listen):
                        if stream is not None:
                            stream.close()
                        stream = _Stream(step)
                        stack.callback(stream.close)
                        outcome = stream.reply
                    elif isinstance(step, NextLine):
                        outcome = stream.next_line(whole=step.whole) if stream is not None else None
                    elif isinstance(step, Wait):
                        time.sleep(step.seconds)
                    else:
                        assert isinstance(step, Work)
                        outcome = step.function()
                except Exception as error:  # noqa: BLE001 - handed to the flow, which raises it on
                    failure = error

    def close(self) -> None:
        """Close the connections that are kept."""
        for connections in self._idle.values():
            while connections:
                connections.pop().close()

    def _call(self, call: Call) -> Reply:
        origin, target = split(call.url)
        connection = self._take(origin, call.timeout)
        headers = headers_of(call.key) | dict(call.headers)
        body: Any = call.body
        if call.file is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Length"] = str(length(call))
            body = _body(call)
        elif body is not None:
            headers["Content-Type"] = "application/json"
        keep = False
        try:
            # When the server refuses a body before all of it is sent, its answer says why.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(call.method, target, body, headers)
            response = connection.getresponse()
            content = response.read()
            keep = not response.will_close
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, content)
        except TimeoutError as error:
            raise Deadline(
                f"No answer from {origin} within {call.timeout:g} s; is it overloaded?"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"The connection to {origin} broke ({_why(error)}); try again.") from error
        finally:
            if keep:
                self._idle.setdefault(origin, []).append(connection)
            else:
                connection.close()

    def _together(self, step: Together) -> list[Reply | Exception]:
        # Imported here: `modelyard --help` and a prediction have no use for it.
        from concurrent.futures import ThreadPoolExecutor, as_completed

        outcomes: list[Reply | Exception] = [Unavailable("It was not sent.")] * len(step.calls)
        with ThreadPoolExecutor(step.at_once) as threads:
            numbers = {threads.submit(self._call, call): number for number, call in enumerate(step.calls)}
            try:
                for future in as_completed(numbers):
                    number = numbers[future]
                    error = future.exception()
                    if isinstance(error, Exception):
                        outcomes[number] = error
                    else:
                        outcomes[number] = reply = future.result()
                        step.answered(number, reply)
            except BaseException:
                threads.shutdown(wait=False, cancel_futures=True)
                raise
        return outcomes

    def _take(self, origin: str, timeout: float) -> http.client.HTTPConnection:
        """A kept connection on which the server has not hung up, else a new one."""
        kept = self._idle.get(origin)
        while kept:
            try:
                connection = kept.pop()
            except IndexError:  # another thread took it
                break
            if connection.sock is not None and not select.select([connection.sock], [], [], 0)[0]:
                connection.sock.settimeout(timeout)
                return connection
            connection.close()
        return connect(origin, timeout)


class _Stream:
    """An open stream of lines."""

    def __init__(self, step: Listen) -> None:
        origin, target = split(step.url)
        self._buffer = bytearray()
        self._connection = connect(origin, step.timeout)
        try:
            headers = headers_of(step.key) | {"Accept": "text/event-stream"} | dict(step.headers)
            method = "GET" if step.body is None else "POST"
            if step.body is not None:
                headers["Content-Type"] = "application/json"
            self._connection.request(method, target, step.body, headers)
            self._response = self._connection.getresponse()
            headers = {name.lower(): value for name, value in self._response.getheaders()}
            body = b"" if self._response.status == 200 else self._response.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unavailable(f"The connection to {origin} broke ({_why(error)}); try again.") from error
        self.reply = Reply(self._response.status, headers, body)

    def next_line(self, *, whole: bool) -> str | None:
        try:
            # Not readline: that takes the end of a connection for the end of the answer.
            while (end := self._buffer.find(b"\n")) < 0:
                piece = self._response.read1(65536)
                self._buffer += piece
                if not piece or len(self._buffer) > _MAX_LINE:
                    break
        except (OSError, http.client.HTTPException) as error:
            if whole:
                raise Unavailable(f"The answer broke off ({_why(error)}); try again.") from error
            return None
        line = self._buffer[: end + 1] if end >= 0 else self._buffer[:]
        del self._buffer[: len(line)]
        return line.decode(errors="replace").rstrip("\r\n") if line else None

    def close(self) -> None:
        self._connection.close()


def connect(origin: str, timeout: float) -> http.client.HTTPConnection:
    """A new connection. Raises Refused when nobody listens, Unavailable for any other failure."""
    parts = urlsplit(origin)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout, blocksize=1024 * 1024)
    try:
        connection.connect()
    except ConnectionRefusedError as error:
        raise Refused(f"nobody listens at {origin}") from error
    except socket.gaierror as error:
        raise Unavailable(f"The host of {origin} is not known; check the address.") from error
    except OSError as error:
        raise Unavailable(f"{origin} cannot be reached ({_why(error)}).") from error
    return connection


def split(url: str) -> tuple[str, str]:
    """``http://host:port`` and ``/path?query`` of ``url``."""
    parts = urlsplit(url)
    target = parts.path or "/"
    return f"{parts.scheme}://{parts.netloc}", f"{target}?{parts.query}" if parts.query else target


def headers_of(key: str | None) -> dict[str, str]:
    """The headers of every request of ours."""
    headers = {"User-Agent": "modelyard-client", "Accept": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    return headers


def _body(call: Call) -> Iterator[memoryview]:
    assert call.file is not None
    for chunk in whole_chunks(call.file, call.span):
        yield chunk
        if call.sent is not None:
            call.sent(len(chunk))


def length(call: Call) -> int:
    """Bytes of the body that is a file, or its span."""
    assert call.file is not None
    return call.file.size if call.span is None else call.span[1] - call.span[0]


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__

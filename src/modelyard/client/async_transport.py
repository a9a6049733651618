"""Carries out the steps of a flow on an event loop, with httpx."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import httpx

from modelyard.client.local_files import whole_chunks
from modelyard.client.steps import Call, Flow, Listen, NextLine, Refused, Reply, Together, Wait, Work
from modelyard.client.transport import headers_of, length, split
from modelyard.core.errors import Deadline, Unavailable

T = TypeVar("T")


class AsyncTransport:
    """Keeps connections for the next call. Belongs to the event loop that first used it."""

    def __init__(self) -> None:
        # trust_env: a proxy of the environment must not see calls to this machine.
        self._http = httpx.AsyncClient(trust_env=False, timeout=None)

    async def run(self, flow: Flow[T]) -> T:
        """Walk ``flow`` to its end; what it returns or raises."""
        async with AsyncExitStack() as stack:
            stack.callback(flow.close)
            lines: AsyncIterator[str] | None = None
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
                        outcome = await self._call(step)
                    elif isinstance(step, Together):
                        outcome = await self._together(step)
                    elif isinstance(step, Listen):
                        response = await self._listen(step, stack)
                        body = b"" if response.status_code == 200 else await response.aread()
                        lines = response.aiter_lines() if response.status_code == 200 else None
                        outcome = Reply(response.status_code, dict(response.headers), body)
                    elif isinstance(step, NextLine):
                        outcome = await _next(lines, whole=step.whole)
                    elif isinstance(step, Wait):
                        await asyncio.sleep(step.seconds)
                    else:
                        assert isinstance(step, Work)
                        outcome = await asyncio.to_thread(step.function)
                except Exception as error:  # noqa: BLE001 - handed to the flow, which raises it on
                    failure = error

    async def close(self) -> None:
        """Close the connections that are kept."""
        await self._http.aclose()

    async def _call(self, call: Call) -> Reply:
        headers = headers_of(call.key) | dict(call.headers)
        content: Any = call.body
        if call.file is not None:
            headers["Content-Type"] = "application/octet-stream"
            headers["Content-Length"] = str(length(call))
            content = _body(call)
        elif content is not None:
            headers["Content-Type"] = "application/json"
        origin = split(call.url)[0]
        try:
            response = await self._http.request(
                call.method, call.url, content=content, headers=headers, timeout=call.timeout
            )
        except httpx.ConnectError as error:
            raise Refused(f"nobody listens at {origin}") from error
        except httpx.TimeoutException as error:
            raise Deadline(
                f"No answer from {origin} within {call.timeout:g} s; is it overloaded?"
            ) from error
        except httpx.HTTPError as error:
            raise Unavailable(f"The connection to {origin} broke ({_why(error)}); try again.") from error
        return Reply(response.status_code, dict(response.headers), response.content)

    async def _together(self, step: Together) -> list[Reply | Exception]:
        free = asyncio.Semaphore(step.at_once)

        async def one(number: int, call: Call) -> Reply | Exception:
            async with free:
                try:
                    reply = await self._call(call)
                except Exception as error:  # noqa: BLE001 - it is the outcome
                    return error
            step.answered(number, reply)
            return reply

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, call)) for number, call in enumerate(step.calls)]
        return [task.result() for task in tasks]

    async def _listen(self, step: Listen, stack: AsyncExitStack) -> httpx.Response:
        headers = headers_of(step.key) | {"Accept": "text/event-stream"} | dict(step.headers)
        method = "GET" if step.body is None else "POST"
        if step.body is not None:
            headers["Content-Type"] = "application/json"
        stream = self._http.stream(
            method, step.url, content=step.body, headers=headers, timeout=step.timeout
        )
        try:
            return await stack.enter_async_context(stream)
        except httpx.ConnectError as error:
            raise Refused(f"nobody listens at {split(step.url)[0]}") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"The connection to {step.url} broke ({_why(error)}); try again.") from error


async def _body(call: Call) -> AsyncIterator[bytes]:
    assert call.file is not None
    chunks = whole_chunks(call.file, call.span)
    while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
        yield bytes(chunk)
        if call.sent is not None:
            call.sent(len(chunk))


async def _next(lines: AsyncIterator[str] | None, *, whole: bool) -> str | None:
    if lines is None:
        return None
    try:
        return await anext(lines, None)
    except httpx.HTTPError as error:
        if whole:
            raise Unavailable(f"The answer broke off ({_why(error)}); try again.") from error
        return None


def _why(error: BaseException) -> str:
    return str(error) or type(error).__name__

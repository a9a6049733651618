"""Identical calls in flight are one computation: each caller comes, waits and leaves by itself.

    first caller ──► submitted ──► result ──► everyone who waits
    next callers ──► wait for it      │
                                      └── an error that another try may not meet (over its deadline,
    one leaves: the others stay           refused, a backend away): told to the caller whose call it
    the last leaves: cancelled            was; the next one's call is submitted, with his own time

Errors of the input itself are everyone's: the calls are identical.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from modelyard.core.errors import Deadline, ModelyardError, Unavailable
from modelyard.serve.call import Answer, Call, Result

if TYPE_CHECKING:
    from modelyard.serve.served import Pending

Submit = Callable[[Call], "Pending"]


class Waiter:
    """One caller of a flight: a Pending as the dataplane knows it."""

    __slots__ = ("_flight", "_timer", "call", "deadline", "future")

    def __init__(self, flight: "Flight", call: Call, deadline: float) -> None:
        self._flight = flight
        self._timer: asyncio.TimerHandle | None = None
        self.call = call
        self.deadline = deadline
        self.future: asyncio.Future[Result] = flight.loop.create_future()

    def cancel(self) -> None:
        """This caller left."""
        self._flight.leave(self)
        self.future.cancel()

    def watch(self) -> None:
        """Have the deadline kept here, where no backend does."""
        if self._timer is None:
            self._timer = self._flight.loop.call_at(self.deadline, self._late)

    def unwatch(self) -> None:
        """The deadline does not matter any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def settle(self, result: Result) -> None:
        """The end of the wait."""
        self.unwatch()
        if not self.future.done():
            self.future.set_result(result)

    def fail(self, broken: BaseException) -> None:
        """The end of the wait by an error of ours."""
        self.unwatch()
        if not self.future.done():
            self.future.set_exception(broken)

    def _late(self) -> None:
        self._flight.leave(self)
        self.settle(
            Deadline(f"The call's {self.call.timeout:g} s were over while an identical call was computed.")
        )


class Flight:
    """One computation and who waits for it. ``SingleFlight`` makes them."""

    __slots__ = ("_forget", "_landed", "_owner", "_pending", "_submit", "closed", "loop", "waiters")

    def __init__(
        self, submit: Submit, landed: Callable[[Answer], Answer], forget: Callable[[], object]
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.waiters: deque[Waiter] = deque()
        self.closed = False
        self._submit = submit
        self._landed = landed
        self._forget = forget
        self._pending: Pending | None = None
        self._owner: Waiter | None = None  # whose call is computed; he may be gone

    def join(self, call: Call) -> Waiter:
        """One more caller."""
        waiter = Waiter(self, call, self.loop.time() + call.timeout)
        self.waiters.append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """A caller is gone; when it was the last one, so is the computation."""
        waiter.unwatch()
        try:
            self.waiters.remove(waiter)
        except ValueError:
            return
        if not self.waiters:
            self._close()
            if self._pending is not None:
                self._pending.cancel()

    def carry(self, pending: "Pending") -> None:
        """The first caller's call is on its way as ``pending``."""
        self._owner = self.waiters[0]
        self._pending = pending
        pending.future.add_done_callback(self._done)

    def try_next(self) -> None:
        """Submit the first caller's call with what is left of his time; if refused, the next one's."""
        while self.waiters:
            first = self.waiters[0]
            left = first.deadline - self.loop.time()
            try:
                if left <= 0:
                    raise Deadline(f"The call's {first.call.timeout:g} s were over before it was computed.")
                self.carry(self._submit(first.call._replace(timeout=left)))
                return
            except ModelyardError as error:
                if not error.kind.retryable:
                    self.land(error)
                    return
                self.waiters.popleft().settle(error)
        self._close()

    def land(self, result: Result) -> None:
        """Everybody's result."""
        self._close()
        while self.waiters:
            self.waiters.popleft().settle(result)

    def _done(self, future: "asyncio.Future[Result]") -> None:
        if self.closed:
            return
        if future.cancelled():
            result: Result = Unavailable("The call was given up by what computed it; call again.")
        elif (broken := future.exception()) is not None:
            self._close()
            while self.waiters:
                self.waiters.popleft().fail(broken)
            return
        else:
            result = future.result()
        if isinstance(result, ModelyardError) and result.kind.retryable:
            if self.waiters[0] is self._owner:
                self.waiters.popleft().settle(result)
            self.try_next()
        elif isinstance(result, ModelyardError):
            self.land(result)
        else:
            self.land(self._landed(result))

    def _close(self) -> None:
        if not self.closed:
            self.closed = True
            self._forget()


class SingleFlight:
    """The flights by key."""

    def __init__(self) -> None:
        self._flights: dict[bytes, Flight] = {}

    def __len__(self) -> int:
        return len(self._flights)

    def join(self, key: bytes, call: Call) -> Waiter | None:
        """Wait with the others for ``key``; None when there is no such flight."""
        flight = self._flights.get(key)
        if flight is None:
            return None
        waiter = flight.join(call)
        waiter.watch()
        return waiter

    def open(self, key: bytes, submit: Submit, landed: Callable[[Answer], Answer]) -> Flight:
        """A new flight, of nobody yet. ``landed`` sees what was computed, before anyone does, and may
        change it."""
        flight = Flight(submit, landed, lambda: self._flights.pop(key, None))
        self._flights[key] = flight
        return flight

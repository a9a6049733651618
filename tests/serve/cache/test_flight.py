"""Identical calls in flight: one computation, and each caller for himself."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from modelyard.core.errors import InvalidInput, ModelyardError, Overloaded, Unavailable
from modelyard.serve.cache.flight import SingleFlight, Waiter
from modelyard.serve.call import Call, RawTensor, Result

ANSWER = (RawTensor("y", "FP32", (1,), b"\0\0\0\0"),)


def call(timeout: float = 60.0) -> Call:
    return Call((), {}, 1, timeout)


class Computation:
    """A Pending that the test ends."""

    def __init__(self, asked: Call) -> None:
        self.call = asked
        self.future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    def cancel(self) -> None:
        self.future.cancel()


class Backend:
    """Takes calls, or refuses them."""

    def __init__(self) -> None:
        self.computations: list[Computation] = []
        self.refusals: list[ModelyardError] = []

    def submit(self, asked: Call) -> Computation:
        if self.refusals:
            raise self.refusals.pop(0)
        self.computations.append(Computation(asked))
        return self.computations[-1]


def coalesce(flights: SingleFlight, key: bytes, asked: Call, backend: Backend) -> Waiter:
    waiter = flights.join(key, asked)
    if waiter is None:
        flight = flights.open(key, backend.submit, lambda answer: answer)
        waiter = flight.join(asked)
        flight.carry(backend.submit(asked))
    return waiter


def in_a_loop(test: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(test())

    run.__name__ = test.__name__
    return run


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_a_loop
async def test_identical_calls_are_computed_once_and_all_answered() -> None:
    flights, backend = SingleFlight(), Backend()
    waiters = [coalesce(flights, b"k", call(), backend) for _ in range(5)]
    other = coalesce(flights, b"other", call(), backend)
    assert len(backend.computations) == 2
    backend.computations[0].future.set_result(ANSWER)
    assert await asyncio.gather(*(waiter.future for waiter in waiters)) == [ANSWER] * 5
    assert not other.future.done()
    assert len(flights) == 1


@in_a_loop
async def test_one_callers_leaving_does_not_end_the_others() -> None:
    flights, backend = SingleFlight(), Backend()
    first, second = (coalesce(flights, b"k", call(), backend) for _ in range(2))
    first.cancel()
    await turns()
    backend.computations[0].future.set_result(ANSWER)
    assert await second.future == ANSWER


@in_a_loop
async def test_the_last_ones_leaving_ends_the_computation() -> None:
    flights, backend = SingleFlight(), Backend()
    waiters = [coalesce(flights, b"k", call(), backend) for _ in range(3)]
    for waiter in waiters:
        assert not backend.computations[0].future.cancelled()
        waiter.cancel()
    assert backend.computations[0].future.cancelled()
    assert len(flights) == 0
    coalesce(flights, b"k", call(), backend)
    assert len(backend.computations) == 2


@in_a_loop
async def test_a_deadline_is_its_callers_own() -> None:
    flights, backend = SingleFlight(), Backend()
    patient = coalesce(flights, b"k", call(60.0), backend)
    hasty = coalesce(flights, b"k", call(0.01), backend)
    result = await hasty.future
    assert isinstance(result, ModelyardError)
    assert result.code == "deadline"
    backend.computations[0].future.set_result(ANSWER)
    assert await patient.future == ANSWER


@in_a_loop
async def test_an_error_of_the_input_is_everyones() -> None:
    flights, backend = SingleFlight(), Backend()
    waiters = [coalesce(flights, b"k", call(), backend) for _ in range(3)]
    error = InvalidInput("no", field="x")
    backend.computations[0].future.set_result(error)
    assert await asyncio.gather(*(waiter.future for waiter in waiters)) == [error] * 3
    assert len(backend.computations) == 1


@in_a_loop
async def test_after_an_error_that_may_pass_the_next_one_tries_with_his_own_time() -> None:
    flights, backend = SingleFlight(), Backend()
    first = coalesce(flights, b"k", call(5.0), backend)
    second, third = (coalesce(flights, b"k", call(60.0), backend) for _ in range(2))
    error = Unavailable("not now")
    backend.computations[0].future.set_result(error)
    assert await first.future is error
    assert 5.0 < backend.computations[1].call.timeout <= 60.0
    backend.computations[1].future.set_result(ANSWER)
    assert [await second.future, await third.future] == [ANSWER, ANSWER]


@in_a_loop
async def test_an_error_that_may_pass_is_nobodys_when_its_caller_has_left() -> None:
    flights, backend = SingleFlight(), Backend()
    first, second = (coalesce(flights, b"k", call(), backend) for _ in range(2))
    first.cancel()
    backend.computations[0].future.set_result(Unavailable("not now"))
    await turns()
    assert not second.future.done()
    backend.computations[1].future.set_result(ANSWER)
    assert await second.future == ANSWER


@in_a_loop
async def test_who_is_refused_is_told_and_the_next_one_tries() -> None:
    flights, backend = SingleFlight(), Backend()
    waiters = [coalesce(flights, b"k", call(), backend) for _ in range(4)]
    backend.refusals = [Overloaded("full"), Overloaded("full")]
    backend.computations[0].future.set_result(Unavailable("gone"))
    codes = []
    for waiter in waiters[:3]:
        result = await waiter.future
        assert isinstance(result, ModelyardError)
        codes.append(result.code)
    assert codes == ["unavailable", "overloaded", "overloaded"]
    assert not waiters[3].future.done()
    backend.computations[1].future.set_result(ANSWER)
    assert await waiters[3].future == ANSWER


@in_a_loop
async def test_a_cancelled_task_leaves_the_others_alone() -> None:
    flights, backend = SingleFlight(), Backend()

    async def caller() -> Result:
        waiter = coalesce(flights, b"k", call(), backend)
        try:
            return await waiter.future
        except asyncio.CancelledError:
            waiter.cancel()
            raise

    tasks = [asyncio.create_task(caller()) for _ in range(3)]
    await turns()
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    backend.computations[0].future.set_result(ANSWER)
    assert await asyncio.gather(*tasks[1:]) == [ANSWER, ANSWER]


class FlightMachine(RuleBasedStateMachine):
    """Callers come and leave, computations end well and badly, in any order."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.flights, self.backend = SingleFlight(), Backend()
        self.waiting: dict[bytes, list[Waiter]] = {}
        self.answered = 0

    def run(self, action: Callable[[], None]) -> None:
        async def inside() -> None:
            action()
            await turns()

        self.loop.run_until_complete(inside())

    def under_way(self) -> list[Computation]:
        return [one for one in self.backend.computations if not one.future.done()]

    @rule(key=st.sampled_from([b"a", b"b", b"c"]))
    def come(self, key: bytes) -> None:
        before = len(self.backend.computations)

        def action() -> None:
            asked = Call((RawTensor(key.decode(), "FP32", (), b""),), {}, 1, 60.0)
            self.waiting.setdefault(key, []).append(coalesce(self.flights, key, asked, self.backend))

        alone = not self.waiting.get(key)
        self.run(action)
        assert len(self.backend.computations) - before == alone

    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        everyone = [(key, waiter) for key, waiters in self.waiting.items() for waiter in waiters]
        if everyone:
            key, waiter = data.draw(st.sampled_from(everyone))
            self.waiting[key].remove(waiter)
            self.run(waiter.cancel)

    @rule(data=st.data(), result=st.sampled_from([ANSWER, InvalidInput("no"), Unavailable("later"), None]))
    def end(self, data: st.DataObject, result: Result | None) -> None:
        if not (under_way := self.under_way()):
            return
        one = data.draw(st.sampled_from(under_way))
        key = one.call.inputs[0].name.encode()
        if result is None:  # given up by the backend
            self.run(one.cancel)
        else:
            self.run(lambda: one.future.set_result(result))
        done = [waiter for waiter in self.waiting[key] if waiter.future.done()]
        if result is ANSWER or isinstance(result, InvalidInput):
            assert done == self.waiting[key]
            assert all(waiter.future.result() is result for waiter in done)
        else:
            assert len(done) <= 1  # the caller whose call it was, unless he left
        self.waiting[key] = [waiter for waiter in self.waiting[key] if waiter not in done]

    @invariant()
    def each_key_that_is_waited_for_is_computed_once(self) -> None:
        if not hasattr(self, "loop"):
            return
        computed = sorted(one.call.inputs[0].name.encode() for one in self.under_way())
        assert computed == sorted(key for key, waiters in self.waiting.items() if waiters)
        assert len(self.flights) == len(computed)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()


TestFlight = FlightMachine.TestCase
TestFlight.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)

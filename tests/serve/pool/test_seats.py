"""Seats are shared out between pools; a device that fails is left out, and its executors start elsewhere."""

from modelyard.core.deployment import Resources
from modelyard.serve.pool.seats import Seats


def test_pools_take_the_emptiest_devices_and_leave_them() -> None:
    seats = Seats(["cpu:0", "cpu:1"], range(8))
    first = seats.take(1, Resources())
    second = seats.take(1, Resources())
    assert {first[0].device, second[0].device} == {"cpu:0", "cpu:1"}
    assert not (first[0].cores or set()) & (second[0].cores or set()) or len(first[0].cores or ()) > 3
    seats.give_back(first)
    assert seats.take(1, Resources())[0].device == first[0].device


def test_an_executor_starts_elsewhere_when_its_device_failed_twice() -> None:
    seats = Seats(["cpu:0", "cpu:1"], range(8))
    (seat,) = seats.take(1, Resources())
    seats.failed(seat)
    assert seats.again(seat, Resources()) == seat
    seats.failed(seat)
    other = seats.again(seat, Resources())
    assert other.device != seat.device
    assert (other.cores, other.threads) == (seat.cores, seat.threads)
    assert {each.device for each in seats.take(2, Resources())} == {other.device}


def test_it_starts_elsewhere_where_most_is_free() -> None:
    seats = Seats(["cpu:0", "cpu:1", "cpu:2"], range(8))
    (seat,) = seats.take(1, Resources(), ["cpu:0"])
    assert seat.device == "cpu:0"
    seats.failed(seat)
    seats.failed(seat)
    assert seats.again(seat, Resources(), {"cpu:1": 20.0, "cpu:2": 30.0}, 25.0).device == "cpu:2"
    assert seats.ways(1, Resources(), [{"cpu:1": 20.0, "cpu:2": 30.0}], 25.0) == [("cpu:2",), ("cpu:1",)]
    assert seats.ways(1, Resources(device="cpu"), [{}], 25.0) == [("cpu",)]


def test_a_device_that_this_machine_lacks_is_told() -> None:
    seats = Seats(["cpu:0"], range(2))
    assert "none" in (seats.lacks(Resources(device="cuda")) or "")
    assert seats.lacks(Resources(device="auto")) is None
    assert seats.take(1, Resources(device="cpu"))[0].device == "cpu"

"""Waiting for a change without polling."""

import threading

import pytest

from modelyard.deploy.signal import Signal


def test_a_notification_between_looking_and_waiting_is_not_missed() -> None:
    signal = Signal()
    seen = signal.count
    signal.notify()
    assert signal.wait(seen, timeout=60)


def test_waiting_without_a_notification_ends_with_the_time() -> None:
    assert not Signal().wait(0, timeout=0.01)


def test_until_looks_again_at_every_notification() -> None:
    signal, state = Signal(), []

    def change() -> None:
        state.append("there")
        signal.notify()

    thread = threading.Timer(0.01, change)
    thread.start()
    assert signal.until(lambda: state[0] if state else None, every=60) == "there"
    thread.join()


def test_until_can_be_given_up_by_what_it_asks() -> None:
    def look() -> None:
        raise KeyError("gone")

    with pytest.raises(KeyError):
        Signal().until(look, every=60)

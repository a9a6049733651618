"""What is kept: within its bytes, fresh for its time, the one not used for longest goes first."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from modelyard.policy.lru import Lru


def test_what_was_put_is_got_until_its_time_is_over() -> None:
    kept: Lru[str, int] = Lru(100, ttl=10.0)
    assert kept.put("a", 1, 10, 0.0)
    assert kept.get("a", 9.9) == 1
    assert kept.get("a", 10.0) is None


def test_what_is_too_old_is_given_to_who_asks_for_it() -> None:
    kept: Lru[str, int] = Lru(100, ttl=10.0)
    kept.put("a", 1, 10, 0.0)
    assert kept.get("a", 1e9, stale=True) == 1
    kept.put("a", 2, 10, 1e9)
    assert kept.get("a", 1e9) == 2


def test_the_one_not_used_for_longest_goes_first() -> None:
    kept: Lru[str, int] = Lru(30, ttl=10.0)
    for name in "abc":
        kept.put(name, 0, 10, 0.0)
    kept.get("a", 1.0)
    kept.put("d", 0, 10, 1.0)
    assert [kept.get(name, 1.0) is not None for name in "abcd"] == [True, False, True, True]
    assert kept.evictions == 1


def test_what_is_over_the_limit_alone_is_not_kept_and_throws_out_only_its_former_self() -> None:
    kept: Lru[str, int] = Lru(30, ttl=10.0)
    kept.put("a", 1, 10, 0.0)
    kept.put("b", 1, 10, 0.0)
    assert not kept.put("a", 2, 31, 0.0)
    assert (kept.get("a", 0.0, stale=True), kept.get("b", 0.0), kept.size) == (None, 1, 10)


def test_a_value_may_be_fresh_for_less_but_not_for_longer() -> None:
    kept: Lru[str, int] = Lru(30, ttl=10.0)
    kept.put("a", 1, 10, 0.0, ttl=2.0)
    kept.put("b", 1, 10, 0.0, ttl=99.0)
    assert (kept.get("a", 2.0), kept.get("b", 9.0), kept.get("b", 10.0)) == (None, 1, None)


def test_a_limit_below_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes"):
        Lru(-1, 1.0)


class LruMachine(RuleBasedStateMachine):
    """Beside a list in the order of use, which is the slow way to be right."""

    LIMIT = 50

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.kept: Lru[int, int] = Lru(self.LIMIT, ttl=5.0)
        self.model: list[tuple[int, int, int, float]] = []  # key, value, size, expires
        self.number = 0

    @rule(key=st.integers(0, 9), size=st.integers(0, 60), ttl=st.none() | st.floats(0, 9))
    def put(self, key: int, size: int, ttl: float | None) -> None:
        self.number += 1
        assert self.kept.put(key, self.number, size, self.now, ttl) == (size <= self.LIMIT)
        self.model = [entry for entry in self.model if entry[0] != key]
        if size <= self.LIMIT:
            while self.model and sum(entry[2] for entry in self.model) + size > self.LIMIT:
                self.model.pop(0)
            self.model.append((key, self.number, size, self.now + min(5.0, 5.0 if ttl is None else ttl)))

    @rule(key=st.integers(0, 9), stale=st.booleans())
    def get(self, key: int, stale: bool) -> None:
        found = next((entry for entry in self.model if entry[0] == key), None)
        if found is None or (self.now >= found[3] and not stale):
            assert self.kept.get(key, self.now, stale=stale) is None
            return
        assert self.kept.get(key, self.now, stale=stale) == found[1]
        self.model.remove(found)
        self.model.append(found)

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.model)
    @rule()
    def clear(self) -> None:
        self.kept.clear()
        self.model.clear()

    @invariant()
    def it_is_what_the_model_is(self) -> None:
        assert len(self.kept) == len(self.model)
        assert self.kept.size == sum(entry[2] for entry in self.model) <= self.LIMIT


TestLru = LruMachine.TestCase

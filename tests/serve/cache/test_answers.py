"""Answers as they are kept: their true size, and a format in which rubbish is nothing."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from modelyard.policy.lru import Lru
from modelyard.serve.cache.answers import Hit, Miss, Stale, cache_headers, owned, packed, size_of, unpacked
from modelyard.serve.call import RawTensor

ANSWER = (
    RawTensor("y", "FP32", (1, 2), memoryview(b"\1\2\3\4\5\6\7\x08")),
    RawTensor("label", "BYTES", (1,), b"\1\0\0\0a"),
)
KEY = b"k" * 32


def test_what_is_packed_is_unpacked() -> None:
    again = unpacked(KEY, packed(KEY, owned(ANSWER)))
    assert again == owned(ANSWER)
    assert isinstance(again, Hit)


def test_a_value_under_another_key_is_no_answer() -> None:
    assert unpacked(b"j" * 32, packed(KEY, ANSWER)) is None


@given(st.data())
def test_a_value_with_any_change_is_no_answer(data: st.DataObject) -> None:
    value = packed(KEY, ANSWER)
    position = data.draw(st.integers(0, len(value) - 1))
    bit = data.draw(st.integers(0, 7))
    broken = bytearray(value)
    broken[position] ^= 1 << bit
    assert unpacked(KEY, bytes(broken)) is None
    assert unpacked(KEY, value[:position]) is None


@given(st.binary(max_size=200))
def test_rubbish_is_no_answer(value: bytes) -> None:
    assert unpacked(KEY, value) is None


def test_what_is_kept_does_not_hold_on_to_the_batch_it_came_in() -> None:
    kept = owned(ANSWER)
    assert all(type(tensor.data) is bytes for tensor in kept)


def test_sizes_are_what_memory_says() -> None:
    count = 2000
    for length in (8, 4000):
        tracemalloc.start()
        kept: Lru[bytes, Hit] = Lru(1 << 40, 1.0)
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            key = number.to_bytes(32, "little")
            answer = owned((RawTensor("y", "FP32", (1, length), bytearray(4 * length)),))
            kept.put(key, answer, size_of(answer), float(number))
        true = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert 0.75 * kept.size <= true <= 1.1 * kept.size, f"{true / count} each, not {kept.size / count}"


def test_the_header_says_the_worst_of_what_happened() -> None:
    hit, miss, stale = Hit(ANSWER), Miss(ANSWER), Stale(ANSWER)
    assert cache_headers([hit, hit]) == ((b"modelyard-cache", b"hit"),)
    assert cache_headers([hit, miss]) == ((b"modelyard-cache", b"miss"),)
    assert cache_headers([hit, stale, miss]) == ((b"modelyard-cache", b"stale"),)
    assert cache_headers([ANSWER]) == ()

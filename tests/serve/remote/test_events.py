"""Events of a remote's stream, however its pieces are cut."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.serve.remote import events as module
from modelyard.serve.remote.events import events
from modelyard.serve.remote.exchange import Broken

STREAM = b': a comment\ndata: {"a": 1}\n\nevent: piece\r\ndata:two\r\ndata: lines\r\n\r\n\n\nid: 7\n\ndata: last\n\n'
DATA = [b'{"a": 1}', b"two\nlines", b"last"]


def read(pieces: list[bytes]) -> list[bytes]:
    async def coming() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def all_of_them() -> list[bytes]:
        return [data async for data in events(coming())]

    return asyncio.run(all_of_them())


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_events_are_the_same_wherever_they_are_cut(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(STREAM)]
    assert read([STREAM[start:end] for start, end in itertools.pairwise(ends)]) == DATA


@pytest.mark.parametrize("cut", [b"data: half", b"data: no blank line\n"])
def test_an_end_within_an_event_is_told(cut: bytes) -> None:
    with pytest.raises(Broken, match="within an event"):
        read([b"data: whole\n\n", cut])


@pytest.mark.parametrize("endless", [b"data: x", b"data: x\n"])
def test_an_event_without_an_end_does_not_fill_the_memory(
    endless: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVENT_LIMIT", 1000)
    with pytest.raises(Broken, match="over 1000 bytes"):
        read([endless] * 10_000)

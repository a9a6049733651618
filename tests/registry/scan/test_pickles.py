"""The walk over pickles sees at least what Python's own loader does, and takes no text for a pickle."""

import contextlib
import io
import pickle
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.registry.scan import pickle_machine
from modelyard.registry.scan.kinds import look_at
from modelyard.registry.scan.source import Bytes


class _Inert:
    """Whatever a pickle does with it, nothing happens."""

    def __call__(self, *_: Any, **__: Any) -> "_Inert":
        return _Inert()

    def __setstate__(self, _: Any) -> None:
        return

    def append(self, _: Any) -> None:
        return

    extend = add = append

    def __setitem__(self, *_: Any) -> None:
        return


class _Watched(pickle._Unpickler):  # type: ignore[name-defined,misc]
    """Python's own, in Python, with nothing to import: what it asks for is written down."""

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.asked: list[tuple[str, str]] = []

    def find_class(self, module: str, name: str) -> Any:
        self.asked.append((module, name))
        return _Inert()

    def persistent_load(self, _: Any) -> Any:
        return None

    def get_extension(self, code: int) -> None:
        self.append(_Inert())


def _text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


_PIECES = st.one_of(
    st.sampled_from(
        [b"(", b"0", b"1", b"2", b"N", b"}", b"]", b")", b"\x8f", b"t", b"\x85", b"\x86", b"\x87", b"l", b"d", b"\x91", b"a",
         b"e", b"s", b"u", b"\x90", b"R", b"b", b"\x81", b"\x92", b"\x93", b"o", b"\x94", b"\x88", b"\x89", b".", b"K\x05",
         b"q\x01", b"h\x01", b"h\x00", b"p0\n", b"g0\n", b"r\x02\0\0\0", b"j\x02\0\0\0", b"I5\n", b"I010\n", b"L7L\n",
         b"F1.5\n", b"\x80\x02", b"\x80\x04", b"\x80\x06", b"cos\nsystem\n", b"ios\nsystem\n", b"Pid\n", b"Q"]
    ),
    st.sampled_from(["os", "system", "builtins", "eval", "a.b"]).map(_text),
    st.sampled_from(["os", "system"]).map(lambda each: b"V" + each.encode() + b"\n"),
    st.sampled_from(["os", "system"]).map(lambda each: b"S'" + each.encode() + b"'\n"),
    st.binary(max_size=3),
)  # fmt: skip


@settings(max_examples=3000)
@given(st.lists(_PIECES, max_size=40).map(b"".join))
def test_every_global_that_loading_reaches_is_seen(data: bytes) -> None:
    loader = _Watched(data)
    with contextlib.suppress(Exception):  # what it had asked for by then counts
        loader.load()
    walked = pickle_machine.walk(Bytes(data), 0, 10_000)
    seen = {(module, name) for module, name, _ in walked.references}
    assert set(loader.asked) <= seen


@given(st.binary(max_size=300))
def test_no_bytes_break_the_walk(data: bytes) -> None:
    look_at(Bytes(data), "model.pkl")


@pytest.mark.parametrize(
    "text",
    [
        b"cat\ndog\n.\n",
        b"cos\nsin\ntan\nR\n.",
        b"config\nmodel\ntokenizer\n",
        b"import os\nos.system('ls')\n",
        b"c\nR\n.\n",
        b"[UNK]\n[CLS]\nthe\n",
        b"(see below)\nio.\n",
        b"I am a text.\nNothing else.\n",
        b"{}",
        b"tree\nversion=v4\n",
        struct.pack("<8f", *range(8)),
        b"\x80\x02" + bytes(range(7, 200)),
        b"\x78\x9c" + bytes(200),
        b"",
    ],
)
def test_text_and_numbers_are_no_pickles(text: bytes) -> None:
    for name in ("vocab.txt", "merges", "weights.bin", "0"):
        assert [each for each in look_at(Bytes(text), name).findings if each.level != "note"] == []


def test_what_makes_data_alone_is_clean() -> None:
    import numpy

    plain = {"a": [1, 2.0, "x"], "b": {"c": None}, "d": numpy.arange(3), "e": numpy.float32(1)}
    for protocol in range(6):
        found = look_at(Bytes(pickle.dumps(plain, protocol)), "model.pkl")
        assert (found.findings, found.pickles) == ((), 1)


def test_an_estimator_is_named_as_what_it_is() -> None:
    from sklearn.linear_model import LogisticRegression

    found = look_at(Bytes(pickle.dumps(LogisticRegression())), "model.pkl").findings
    assert {each.level for each in found} == {"executes"}
    assert {each.reaches for each in found} == {"sklearn.linear_model._logistic.LogisticRegression"}
    assert found[0].offset is not None

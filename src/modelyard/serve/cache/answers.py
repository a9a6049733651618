"""Answers as the cache gives them out and keeps them: which kind, how many bytes, in which format.

A kept value is ``MYC`` and the format's number, 16 bytes that bind it to its key (BLAKE2b of key and
payload), and the payload: the tensors in MessagePack. Whatever does not fit that is nobody's answer.
"""

import hashlib
import hmac
import sys
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from modelyard.serve.call import Answer, RawTensor

HEAD: Final = b"MYC\x01"
_SUM = 16
# Bytes that an entry takes beside its tensors: its key, its row of the table, its node of the list, the
# object that holds size and time. Measured (tests/serve/cache/test_answers.py holds it to that).
ENTRY: Final = 260
_TENSOR: Final = 64  # what the allocator adds to a tensor's objects


class Hit(tuple[RawTensor, ...]):
    """An answer that was kept."""

    __slots__ = ()


class Stale(tuple[RawTensor, ...]):
    """An answer that was kept for longer than it should be: better than none."""

    __slots__ = ()


class Miss(tuple[RawTensor, ...]):
    """An answer that was computed, for this call or for an identical one."""

    __slots__ = ()


class Fallback(tuple[RawTensor, ...]):
    """The answer of another endpoint, which stood in."""

    endpoint: str

    @classmethod
    def of(cls, endpoint: str, answer: Answer) -> "Fallback":
        """``answer``, given by ``endpoint``."""
        made = cls(answer)
        made.endpoint = endpoint
        return made


_CACHED = (Hit, Miss, Stale)


def owned(answer: Answer) -> Hit:
    """The answer with bytes of its own: a view would keep the memory of the whole batch it came in."""
    return Hit(
        RawTensor(sys.intern(name), sys.intern(datatype), shape, bytes(data))
        for name, datatype, shape, data in answer
    )


def size_of(answer: Answer) -> int:
    """Bytes of memory that it takes to keep an :func:`owned` answer."""
    total = ENTRY + sys.getsizeof(answer)
    for tensor in answer:
        total += _TENSOR + sum(map(sys.getsizeof, (tensor, tensor.shape, tensor.data)))
    return total


def cache_headers(answers: Iterable[object]) -> tuple[tuple[bytes, bytes], ...]:
    """``modelyard-cache`` of these answers together: ``hit`` when all were kept, ``stale`` when one was kept
    for too long, else ``miss``; no header when none came through a cache (``no-cache``). ``modelyard-fallback``
    names the endpoint that stood in."""
    answers = list(answers)
    for each in answers:
        if isinstance(each, Fallback):
            return ((b"modelyard-fallback", each.endpoint.encode()),)
    said = [each for each in answers if isinstance(each, _CACHED)]
    if not said:
        return ()
    word = b"hit"
    for answer in said:
        if isinstance(answer, Stale):
            word = b"stale"
            break
        if isinstance(answer, Miss):
            word = b"miss"
    return ((b"modelyard-cache", word),)


def marked(answer: Answer, headers: Mapping[bytes, bytes]) -> Answer:
    """``answer`` as what :func:`cache_headers` said of it where it was given."""
    endpoint = headers.get(b"modelyard-fallback")
    if endpoint is not None:
        return Fallback.of(endpoint.decode("latin-1"), answer)
    kind = _MARKS.get(headers.get(b"modelyard-cache", b""))
    return answer if kind is None else kind(answer)


_MARKS: Final = {b"hit": Hit, b"stale": Stale, b"miss": Miss}


def packed(key: bytes, answer: Answer) -> bytes:
    """The answer as bytes that another node can read."""
    payload = msgspec.msgpack.encode(answer)
    return HEAD + _sum(key, payload) + payload


def unpacked(key: bytes, value: bytes) -> Hit | None:
    """The answer that was :func:`packed` under ``key``; None for anything else."""
    start = len(HEAD) + _SUM
    payload = value[start:]
    if not value.startswith(HEAD) or not hmac.compare_digest(value[len(HEAD) : start], _sum(key, payload)):
        return None
    try:
        return owned(_decode(payload))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


_Kept = tuple[tuple[str, str, tuple[int, ...], bytes], ...]
_decoder = msgspec.msgpack.Decoder(_Kept)


def _decode(payload: bytes) -> Answer:
    return tuple(RawTensor(*tensor) for tensor in _decoder.decode(payload))


def _sum(key: bytes, payload: bytes) -> bytes:
    state = hashlib.blake2b(key, digest_size=_SUM)
    state.update(payload)
    return state.digest()

"""What Redis answers, and what lies in it under our keys."""

import hashlib
import struct

from fuzz.engine import Harness
from modelyard.serve.cache.answers import HEAD, packed, unpacked
from modelyard.serve.cache.resp import ReplyParser
from modelyard.serve.call import RawTensor


def resp_harness() -> Harness:
    """Replies in pieces: values, or ValueError, which ends the connection."""

    def fuzz_one(data: bytes) -> None:
        parser = ReplyParser()
        step = max(1, len(data) // (1 + (data[0] if data else 0) % 5))
        try:
            for start in range(1, len(data), step):
                parser.feed(data[start : start + step])
        except ValueError:
            return

    seeds = [b"\0+OK\r\n", b"\1$5\r\nhello\r\n$-1\r\n", b"\2:1000\r\n-ERR no\r\n", b"\3$0\r\n\r\n+PONG\r\n"]
    return Harness(
        "resp",
        fuzz_one,
        seeds,
        [b"\r\n", b"$", b"*3\r\n", b"$-1\r\n", b"99999999999", b"-", b":", b"_\r\n"],
    )


def kept_answer_harness() -> Harness:
    """Values with a sum that is right, so that what they hold is read: an answer, or nobody's answer."""
    key = b"k" * 32

    def fuzz_one(data: bytes) -> None:
        state = hashlib.blake2b(key, digest_size=16)
        state.update(data)
        unpacked(key, HEAD + state.digest() + data)
        unpacked(key, data)

    answer = (
        RawTensor("y", "FP32", (2, 1), struct.pack("<2f", 1, 2)),
        RawTensor("t", "BYTES", (), b"\1\0\0\0a"),
    )
    whole = packed(key, answer)
    return Harness(
        "kept_answer",
        fuzz_one,
        [whole, whole[len(HEAD) + 16 :]],
        [b"\x92", b"\xdd\xff\xff\xff\xff", b"\xc6", b"\xd9", b"\xcf"],
    )

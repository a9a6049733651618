"""Compressed bodies: both ways, bounded, and rubbish is told to be rubbish."""

import gzip
import json
import zlib

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelyard.serve.edge.compression import SMALLEST, best_of
from support.node import NodeProcess

BODY = json.dumps({"text": "größe", "times": 2}).encode()
ANSWER = {"output": "größe" * 2}


def raw_deflate(data: bytes) -> bytes:
    encoder = zlib.compressobj(6, zlib.DEFLATED, -15)
    return encoder.compress(data) + encoder.flush()


def unsized_zstd(data: bytes) -> bytes:
    encoder = zstandard.ZstdCompressor().compressobj()
    return encoder.compress(data) + encoder.flush()


PACKERS = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "zstd": zstandard.compress,
    "ZSTD": unsized_zstd,
    "identity": bytes,
    "deflate, gzip": lambda data: gzip.compress(zlib.compress(data)),
}


def send(node: NodeProcess, body: bytes, encoding: str) -> tuple[int, dict]:
    headers = {"content-type": "application/json", "content-encoding": encoding}
    status, _, answer = node.call("POST", "/models/echo/predict", body, headers)
    return status, json.loads(answer)


@pytest.mark.parametrize("encoding", PACKERS)
def test_a_compressed_body_is_read(many: NodeProcess, encoding: str) -> None:
    assert send(many, PACKERS[encoding](BODY), encoding) == (200, ANSWER)


def test_a_gzip_file_of_several_members_is_one_body(many: NodeProcess) -> None:
    assert send(many, gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), "gzip") == (200, ANSWER)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "Deflate", "zstd", "ZSTD", "deflate, gzip"])
def test_a_bomb_is_refused_without_being_blown_up(many: NodeProcess, encoding: str) -> None:
    assert (
        send(many, PACKERS[encoding](b" " * 1_000_000), encoding)[0] == 400
    )  # no JSON, but within the limit
    status, answer = send(many, PACKERS[encoding](b" " * 100_000_000), encoding)
    assert (status, answer["code"]) == (413, "too_large")


@pytest.mark.parametrize("encoding", [*PACKERS, "br"])
def test_rubbish_cut_and_trailing_bytes_are_refused(many: NodeProcess, encoding: str) -> None:
    if encoding == "identity":
        return
    packed = PACKERS.get(encoding, bytes)(BODY)
    for wrong in (b"", b"rubbish", packed[:-1], packed[: len(packed) // 2], packed + b"more"):
        status, answer = send(many, wrong, encoding)
        assert (status, answer["field"]) == (400, "content-encoding"), wrong


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["gzip", "deflate", "zstd"]), st.binary(max_size=60), st.integers(0, 80))
def test_no_bytes_make_it_fail(many: NodeProcess, encoding: str, data: bytes, position: int) -> None:
    packed = PACKERS[encoding](BODY)
    for body in (data, packed[:position] + data, packed[:position] + data + packed[position + len(data) :]):
        assert send(many, body, encoding)[0] in (200, 400, 413)


def answer_of(node: NodeProcess, size: int, accepted: str) -> tuple[str | None, bytes]:
    body = json.dumps({"text": "a", "times": size}).encode()
    status, headers, answer = node.call("POST", "/models/echo/predict", body, {"accept-encoding": accepted})
    assert status == 200
    assert int(headers["content-length"]) == len(answer)
    if headers["content-encoding"]:
        assert headers["vary"] == "Accept-Encoding"
    return headers["content-encoding"], answer


def test_large_answers_are_compressed_for_who_takes_it(many: NodeProcess) -> None:
    wanted = {"output": "a" * 300_000}
    encoding, body = answer_of(many, 300_000, "gzip, deflate, br, zstd")
    assert encoding == "zstd" and json.loads(zstandard.decompress(body)) == wanted
    encoding, body = answer_of(many, 300_000, "gzip")
    assert encoding == "gzip" and json.loads(gzip.decompress(body)) == wanted
    encoding, body = answer_of(many, 100_000, "deflate;q=0.5")
    assert encoding == "deflate" and json.loads(zlib.decompress(body)) == {"output": "a" * 100_000}
    for accepted in ("identity", "br", "gzip;q=0", ""):
        assert answer_of(many, 300_000, accepted)[0] is None


def test_small_answers_are_not(many: NodeProcess) -> None:
    assert answer_of(many, SMALLEST - 100, "gzip, zstd")[0] is None
    assert answer_of(many, 40_000, "gzip")[0] is None
    assert answer_of(many, 40_000, "zstd")[0] == "zstd"


@pytest.mark.parametrize(
    ("accepted", "best"),
    [
        (b"gzip, deflate, br", "gzip"),
        (b"gzip, deflate, br, zstd", "zstd"),
        (b"gzip;q=1.0, zstd;q=0.1", "gzip"),
        (b"*", "zstd"),
        (b"*;q=0", None),
        (b"identity, gzip;q=0.5", None),
        (b"deflate", "deflate"),
        (b"gzip;q=rubbish", None),
        (b";;,,=", None),
        (b"", None),
    ],
)
def test_the_encoding_is_chosen_by_weight_then_by_cost(accepted: bytes, best: str | None) -> None:
    assert best_of(accepted) == best

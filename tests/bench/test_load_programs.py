"""What wrk and h2load print is read rightly, and the requests that they repeat are what they claim."""

import numpy as np
import pytest
from bench.load import h2load, wrk
from bench.load.target import grpc_output, v2_binary, v2_grpc, v2_json

WRK = """Running 4s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     4.10ms    1.02ms  33.10ms   91.02%
    Req/Sec     7.80k   310.10     8.20k    72.50%
  Latency Distribution
     50%  812.00us
     75%    4.21ms
     90%    4.90ms
     99%    1.02s
  31000 requests in 4.00s, 9.01MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 1000
Requests/sec:   7750.00
Transfer/sec:      2.25MB
"""


def test_a_bad_answer_is_not_counted_in_the_rate_of_wrk() -> None:
    found = wrk.parsed(WRK)
    assert found.rate == pytest.approx(7500)
    assert (found.p50, found.p99) == (pytest.approx(0.812), pytest.approx(1020))
    assert found.errors == 1000 + 6


def test_a_run_without_any_answer_is_an_error_not_a_rate_of_zero() -> None:
    with pytest.raises(ValueError, match="no answer"):
        wrk.parsed(WRK.replace("31000 requests", "0 requests").replace("responses: 1000", "responses: 0"))


def test_h2load_s_log_counts_answers_of_status_200_alone() -> None:
    log = "1\t200\t1000\n2\t200\t3000\n3\t503\t10\n4\t200\t2000\n"
    found = h2load.parsed(log, 2.0)
    assert found == (1.5, 2.0, 3.0, 1)


def test_no_good_answer_at_all_is_an_error_not_a_zero() -> None:
    with pytest.raises(RuntimeError, match="no good answer"):
        h2load.parsed("1\t503\t10\n", 1.0)


def test_the_binary_body_is_its_head_and_the_raw_values() -> None:
    target = v2_binary("http://x", "x", np.ones((1, 4), "f4"))
    assert target.body is not None
    head = int(target.headers["Inference-Header-Content-Length"])
    assert b'"binary_data_size": 16' in target.body[:head]
    assert np.frombuffer(target.body[head:], "<f4").tolist() == [1.0] * 4


def test_the_json_body_holds_the_shape_and_flat_data() -> None:
    body = v2_json("http://x", "x", np.ones((1, 2), "f4")).body
    assert body == (b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.0, 1.0]}]}')


def test_the_grpc_body_has_its_length_before_it() -> None:
    body = v2_grpc("h:1", "mlp", "x", np.ones((1, 200), "f4")).body
    assert body is not None
    assert int.from_bytes(body[1:5], "big") == len(body) - 5


def test_the_raw_output_is_found_among_the_other_fields_of_an_answer() -> None:
    # model_name "m", one output tensor, then raw_output_contents of three bytes.
    assert grpc_output(b"\x0a\x01m\x2a\x02\x0a\x00\x32\x03abc") == b"abc"
    with pytest.raises(ValueError, match="no raw output"):
        grpc_output(b"\x0a\x01m")

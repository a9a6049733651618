"""No body of V2's extensions, V1, OpenAI or ``/invocations`` makes the node fail: in one process, without
executors, over a backend that answers with the inputs."""

import csv
import io
import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.rest import edge

quick = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
names = st.sampled_from(
    ["text", "x", "b64", "fp32", "int8", "bytes", "times", "note", "data", "columns", "index", "parameters", "text_input"]
)  # fmt: skip
json_values = st.recursive(
    scalars,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(names, children, max_size=4),
    max_leaves=12,
)
rows = st.one_of(
    json_values,
    st.lists(st.lists(st.floats(allow_nan=False), min_size=4, max_size=4), max_size=3),
    st.lists(st.text(max_size=5) | st.fixed_dictionaries({"b64": st.text(max_size=8)}), max_size=3),
    st.lists(st.fixed_dictionaries({"text": st.text(max_size=5)}), max_size=3),
)
models = st.sampled_from(["every", "rows", "text", "embedder", "nobody"])


def send(path: str, body: object, **headers: str) -> int:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {b"content-type": b"application/json"}
    told |= {name.replace("_", "-").encode(): value.encode("latin-1") for name, value in headers.items()}
    return edge().request("POST", path, told, encoded)


@quick
@given(models, st.fixed_dictionaries({}, optional={
    "instances": rows, "inputs": rows, "signature_name": st.sampled_from(["serving_default", "", "x"]),
    "parameters": st.dictionaries(names, scalars, max_size=2),
}) | json_values)  # fmt: skip
def test_v1(model: str, body: object) -> None:
    assert send(f"/v1/models/{model}:predict", body) in (200, 400, 404)


@quick
@given(st.fixed_dictionaries({"model": models, "input": rows | st.text()}, optional={
    "encoding_format": st.sampled_from(["float", "base64", "x"]), "dimensions": st.integers(), "user": st.text(max_size=3),
}) | json_values)  # fmt: skip
def test_openai(body: object) -> None:
    assert send("/v1/embeddings", body) in (200, 400, 404)


@quick
@given(models, st.booleans(), st.dictionaries(names, json_values, max_size=4) | json_values)
def test_generate(model: str, stream: bool, body: object) -> None:
    path = f"/v2/models/{model}/generate" + ("_stream" if stream else "")
    assert send(path, body) in (200, 400, 404)


frames = st.fixed_dictionaries(
    {"data": st.lists(st.lists(scalars, max_size=3), max_size=3)},
    optional={"columns": st.lists(names | st.integers(0, 3), max_size=3), "index": json_values},
)


@pytest.mark.parametrize("default", ["every", "rows", "text"])
@quick
@given(st.one_of(
    st.fixed_dictionaries({"dataframe_split": frames | json_values}),
    st.fixed_dictionaries({"dataframe_records": st.lists(st.dictionaries(names, scalars, max_size=3), max_size=3)}),
    st.fixed_dictionaries({"instances": rows}, optional={"params": st.dictionaries(names, scalars, max_size=2)}),
    st.fixed_dictionaries({"inputs": rows}, optional={"parameters": st.dictionaries(names, scalars, max_size=2)}),
    json_values,
))  # fmt: skip
def test_invocations(default: str, body: object) -> None:
    with_default(default)
    assert send("/invocations", body) in (200, 400)


cells = st.sampled_from(["", "1", "-2.5", "nan", "1e400", "x", "true", "text", "fp32", "int8", '"', "1_0"])


@pytest.mark.parametrize("default", ["every", "rows", "text"])
@quick
@given(st.lists(st.lists(cells | st.text(max_size=3), max_size=4), max_size=4) | st.binary(max_size=40))
def test_csv(default: str, lines: list[list[str]] | bytes) -> None:
    with_default(default)
    if isinstance(lines, bytes):
        body = lines
    else:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(lines)
        body = text.getvalue().encode("utf-8", "replace")
    assert send("/invocations", body, content_type="text/csv") in (200, 400)


@pytest.fixture(autouse=True, scope="module")
def table_as_before() -> Iterator[None]:
    """Others of this process have the same node."""
    plane = edge().plane
    before = plane.table
    yield
    plane.table = before


def with_default(name: str) -> None:
    plane = edge().plane
    plane.table = type(plane.table)(default=name)


tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "text", "fp32", "bytes", "bool", "bf16", "z"]),
        "datatype": st.sampled_from(["FP32", "BYTES", "BOOL", "BF16", "FP16", "INT64", ""]),
        "shape": st.sampled_from([[1, 4], [1], [2], [0], [], [-1], [2**62, 4]]) | st.lists(st.integers(), max_size=2),
    },
    optional={
        "parameters": st.fixed_dictionaries({"binary_data_size": st.integers(-1, 20) | scalars}),
        "data": st.lists(scalars, max_size=2),
    },
)  # fmt: skip


@quick
@given(
    models,
    st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=3)},
        optional={
            "parameters": st.dictionaries(
                st.sampled_from(["binary_data_output", "priority", "timeout", "sequence_id", "times"]),
                scalars,
                max_size=3,
            ),
            "outputs": st.lists(
                st.fixed_dictionaries(
                    {"name": st.sampled_from(["x", "text", "fp32"])},
                    optional={"parameters": st.fixed_dictionaries({"binary_data": scalars})},
                ),
                max_size=2,
            ),
        },
    )
    | st.just(None),
    st.binary(max_size=40),
    st.integers(-2, 2) | st.none(),
)
def test_v2_binary(model: str, head: object, tail: bytes, off: int | None) -> None:
    text = b"" if head is None else json.dumps(head).encode()
    length = str(len(text) + off) if off is not None else "x" * (len(tail) % 3)
    status = send(f"/v2/models/{model}/infer", text + tail, inference_header_content_length=length)
    assert status in (200, 400, 404)


@quick
@given(st.text(max_size=6), st.binary(max_size=30))
def test_any_encoding_of_a_body(encoding: str, body: bytes) -> None:
    told = encoding.encode("utf-8", "replace").decode("latin-1")
    assert send("/v2/models/rows/infer", body, content_encoding=told) in (400, 413)

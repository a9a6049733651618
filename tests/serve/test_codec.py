"""JSON values to raw tensors and back: what goes in comes out, and nothing is bent to fit."""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import TensorSpec
from modelyard.serve import codec

NUMPY = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BOOL": "?"}
VALUES = {
    **{name: st.integers(kind.low, kind.high) for name, kind in DATATYPES.items() if kind.family == "int"},
    "BOOL": st.booleans(),
    "FP16": st.floats(width=16, allow_nan=False, allow_infinity=False),
    "BF16": st.integers(0, 0xFFFF)
    .map(lambda half: struct.unpack("<f", struct.pack("<I", half << 16))[0])
    .filter(lambda value: math.isfinite(value) and abs(value) < 3.39e38),
    "FP32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "FP64": st.floats(allow_nan=False, allow_infinity=False),
    "BYTES": st.text(),
}
CASES = st.sampled_from(sorted(VALUES)).flatmap(
    lambda name: st.tuples(st.just(name), st.lists(VALUES[name], max_size=20))
)


@given(CASES)
def test_every_value_of_every_type_comes_back(case: tuple[str, list[object]]) -> None:
    datatype, values = case
    raw = codec.pack(datatype, values, "x")
    assert codec.unpack(datatype, raw) == values
    assert codec.raw_size_fits(datatype, [len(values)], raw)
    assert not codec.raw_size_fits(datatype, [len(values) + 1], raw)


@given(CASES.filter(lambda case: case[0] not in ("BYTES", "BF16")))
def test_raw_bytes_are_what_numpy_would_write(case: tuple[str, list[object]]) -> None:
    datatype, values = case
    kind = NUMPY.get(datatype) or f"<{'u' if datatype[0] == 'U' else 'i'}{DATATYPES[datatype].size}"
    assert codec.pack(datatype, values, "x") == np.array(values, dtype=kind).tobytes()


def test_bf16_rounds_to_the_nearest_and_refuses_what_it_cannot_hold() -> None:
    assert codec.unpack("BF16", codec.pack("BF16", [1.0, 1.00390625, 1.01171875, -2.5], "x")) == [
        1.0,
        1.0,
        1.015625,
        -2.5,
    ]
    with pytest.raises(InvalidInput):
        codec.pack("BF16", [3.4e38], "x")


shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


@given(shapes)
def test_nesting_and_flattening_undo_each_other(shape: tuple[int, ...]) -> None:
    flat = list(range(math.prod(shape)))
    nested = codec.nest(shape, flat)
    assert np.array(nested).size == len(flat)
    if 0 not in shape:
        assert codec.flatten(nested, len(shape), "x") == (shape, flat)


@pytest.mark.parametrize(
    ("datatype", "value", "where"),
    [
        ("FP32", ["1"], "x[0]"),
        ("FP32", [1.0, None], "x[1]"),
        ("FP32", [True], "x[0]"),
        ("FP32", [0.0, 1e39], "x[1]"),
        ("FP16", [70000.0], "x[0]"),
        ("FP64", [float("inf")], "x[0]"),
        ("FP64", [0.0, float("nan")], "x[1]"),
        ("FP32", [10**400], "x[0]"),
        ("FP32", [3.4028235677973366e38], "x[0]"),
        ("FP16", [70000], "x[0]"),
        ("INT64", [1.0], "x[0]"),
        ("INT8", [0, 128], "x[1]"),
        ("UINT8", [-1], "x[0]"),
        ("INT64", [2**63], "x[0]"),
        ("BOOL", [1], "x[0]"),
        ("BYTES", [1], "x[0]"),
        ("BYTES", ["\ud800"], "x"),
        ("INT32", [[1]], "x[0]"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(datatype: str, value: list[object], where: str) -> None:
    with pytest.raises(InvalidInput) as error:
        codec.pack(datatype, value, "x")
    assert error.value.field == where


@pytest.mark.parametrize("value", [1, [1], [[1], [1, 2]], [[1, 2], [1]], [[1], 2], [[[1]]]])
def test_nesting_that_is_not_the_shape_is_refused(value: object) -> None:
    spec = TensorSpec(name="m", datatype="INT64", shape=(-1, 2))
    with pytest.raises(InvalidInput):
        codec.pack_record(spec, value, "m", batched=True)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(json_values, st.booleans())
def test_any_json_travels_through_an_input_of_that_kind(value: object, batched: bool) -> None:
    spec = TensorSpec(name="record", datatype="BYTES", kind="json")
    shape, raw = codec.pack_record(spec, value, "record", batched)
    back = codec.unpack_record(spec, "BYTES", shape, raw, batched)
    assert json.dumps(back) == json.dumps(value)

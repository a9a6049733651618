"""What may stand in a record, and what comes back."""

import json
import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from modelyard.client.records import OutputTypes, encode, merge, plain
from modelyard.core.errors import InvalidInput

DTYPES = {
    "FP32": "float32",
    "FP64": "float64",
    "INT64": "int64",
    "INT8": "int8",
    "UINT8": "uint8",
    "BOOL": "bool",
}


@given(st.data(), st.sampled_from(sorted(DTYPES)))
def test_an_array_survives_the_way_there_and_back(data: st.DataObject, datatype: str) -> None:
    shape = st_numpy.array_shapes(min_dims=0, max_dims=3, max_side=4)
    elements = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else None
    array = data.draw(st_numpy.arrays(DTYPES[datatype], shape, elements=elements))
    sent = json.loads(encode({"x": array}))
    back = OutputTypes({"x": datatype}).apply(sent)["x"]
    assert back.dtype == array.dtype
    assert numpy.array_equal(back, array)


def test_text_stays_text_and_lists_of_text_become_object_arrays() -> None:
    outputs = OutputTypes({"label": "BYTES", "labels": "BYTES"}).apply({"label": "a", "labels": ["a", "b"]})
    assert outputs["label"] == "a"
    assert outputs["labels"].dtype == object


def test_scalars_of_numpy_are_numbers() -> None:
    record = {
        "x": numpy.float32(0.5),
        "n": numpy.int64(3),
        "l": [numpy.uint8(1)],
        "t": numpy.array(["a", "b"]),
    }
    assert json.loads(encode(record)) == {"x": 0.5, "n": 3, "l": [1], "t": ["a", "b"]}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_has_no_word_for_is_named_by_its_place(value: float) -> None:
    with pytest.raises(InvalidInput) as raised:
        encode({"records": [{"x": 1}, {"x": [0.0, value]}]})
    assert raised.value.field == "records[1].x[1]"
    with pytest.raises(InvalidInput) as raised:
        encode({"x": numpy.array([value])})
    assert raised.value.field == "x"


def test_bytes_are_text_or_base64() -> None:
    assert plain({"file": b"text", "other": [b"\xff\x00"]}, "") == {
        "file": "text",
        "other": [{"b64": "/wA="}],
    }


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j])
def test_what_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput) as raised:
        encode({"x": value})
    assert raised.value.field == "x"


def test_an_input_given_twice_is_refused() -> None:
    assert merge({"a": 1}, {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidInput, match="once"):
        merge({"a": 1}, {"a": 2})

"""What may be an example, what records become of it, and what is said of one that does not fit."""

import numpy
import pytest

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.signature import Signature, TensorSpec
from modelyard.objects import compare
from modelyard.objects.example import MOST, read, records_of

MATRIX = Signature(inputs=(TensorSpec(name="features", datatype="FP64", shape=(2,)),))
COLUMNS = Signature(
    inputs=(
        TensorSpec(name="age", datatype="INT64", shape=()),
        TensorSpec(name="city", datatype="BYTES", shape=(), optional=True),
    )
)
TEXT = Signature(inputs=(TensorSpec(name="text", datatype="BYTES", shape=(), kind="text"),))


def records(given: object, signature: Signature) -> list[dict[str, object]]:
    shown = read(given)
    assert shown is not None
    return records_of(shown, signature)


def test_rows_of_an_array_are_records_and_one_row_is_one() -> None:
    assert records(numpy.array([[1.0, 2], [3, 4]]), MATRIX) == [{"features": [1, 2]}, {"features": [3, 4]}]
    assert records(numpy.array([1.0, 2]), MATRIX) == [{"features": [1.0, 2.0]}]
    assert records([1.0, 2.0], MATRIX) == [{"features": [1.0, 2.0]}]
    assert len(records(numpy.zeros((1000, 2)), MATRIX)) == MOST
    assert records(numpy.array([[float("nan"), 1]]), MATRIX) == [{"features": [None, 1.0]}]


def test_columns_of_a_matrix_are_inputs_of_a_model_that_names_them() -> None:
    two = Signature(inputs=tuple(TensorSpec(name=name, datatype="FP64", shape=()) for name in "ab"))
    assert records(numpy.array([[1.0, 2.0]]), two) == [{"a": 1.0, "b": 2.0}]
    with pytest.raises(InvalidInput, match="has 3 columns, and the model takes 2: a, b"):
        records(numpy.zeros((1, 3)), two)


def test_records_and_texts_are_taken_as_they_are() -> None:
    assert records([{"age": 3.0, "city": "Ulm"}, {"age": 4}], COLUMNS) == [
        {"age": 3, "city": "Ulm"},
        {"age": 4},
    ]
    assert records({"age": 3, "city": "Ulm"}, COLUMNS) == [{"age": 3, "city": "Ulm"}]
    assert records("good", TEXT) == [{"text": "good"}]
    assert records(["good", "bad"], TEXT) == [{"text": "good"}, {"text": "bad"}]


@pytest.mark.parametrize(
    ("given", "signature", "told"),
    [
        (numpy.zeros((2, 3)), MATRIX, r"has the shape \[3\] for 'features'; the model takes \[2\]"),
        ({"agee": 3}, COLUMNS, "has 'agee' and lacks 'age'; the model takes age, city"),
        ((numpy.zeros((1, 2)), numpy.zeros((1, 2))), MATRIX, "has 2 inputs, and the model takes 1"),
        ((numpy.zeros((1, 2)), numpy.zeros((2, 2))), MATRIX, "begin with the same number of records"),
        (numpy.zeros((0, 2)), MATRIX, "no record"),
        ([], TEXT, "no record"),
        ({}, TEXT, "is empty"),
        (numpy.float64(3), MATRIX, "single number"),
        (object(), MATRIX, "A object is no example; give a numpy array"),
        (numpy.array([[float("inf"), 1]]), MATRIX, "finite"),
    ],
)
def test_what_does_not_fit_is_said(given: object, signature: Signature, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        records(given, signature)


def test_answers_may_be_apart_as_far_as_rounding_goes() -> None:
    own = {"label": ["a", "b"], "scores": numpy.array([[0.1, 0.9], [100.0, 1e-7]])}
    answers = [{"label": "a", "scores": [0.1, 0.90001]}, {"label": "b", "scores": [100.0, 0.0]}]
    assert 0 < compare.compare(own, answers, 1e-4) < 1e-4


@pytest.mark.parametrize(
    ("own", "answer", "told"),
    [
        ({"y": [1.0]}, {"y": 1.1}, "output 'y': the object says 1.0, its files 1.1"),
        ({"y": ["a"]}, {"y": "b"}, "the object says 'a', its files 'b'"),
        ({"y": [[1.0, 2.0]]}, {"y": [1.0]}, "the object says"),
        ({"y": [float("inf")]}, {"y": 1.0}, "cannot be sent|the object says"),
        ({"y": [1.0], "z": [2.0]}, {"x": 1.0}, "answers x, and the object y, z"),
    ],
)
def test_what_differs_is_named(own: dict[str, object], answer: dict[str, object], told: str) -> None:
    with pytest.raises((RejectedContent, InvalidInput), match=told):
        compare.compare(own, [answer], 1e-4)

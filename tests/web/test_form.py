"""Forms made from signatures, and records made from forms."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.errors import InvalidInput
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.web.form import Field, fields_of, placeholder, record_of

SIGNATURE = Signature(
    inputs=(
        TensorSpec(name="text", datatype="BYTES", kind="text"),
        TensorSpec(name="age", datatype="INT64"),
        TensorSpec(name="member", datatype="BOOL"),
        TensorSpec(name="image", datatype="FP32", shape=(2, -1)),
        TensorSpec(name="extra", datatype="BYTES", kind="json", optional=True),
    ),
    parameters=(
        ParameterSpec(name="normalize", type="bool", default=True),
        ParameterSpec(name="top", type="int", default=3),
        ParameterSpec(name="mode", type="string"),
    ),
)
FILLED = {"input.text": "hi", "input.age": "3", "input.image": "[[1], [2]]"}


def fields(example: dict[str, Any] | None = None, filled: dict[str, str] | None = None) -> dict[str, Field]:
    return {field.name: field for field in fields_of(SIGNATURE, example, filled)}


def test_each_kind_of_input_has_its_own_widget() -> None:
    made = fields()
    assert {name: field.widget for name, field in made.items()} == {
        "text": "text", "age": "number", "member": "checkbox", "image": "json", "extra": "json",
        "normalize": "checkbox", "top": "number", "mode": "line",
    }  # fmt: skip
    assert made["age"].step == "1"


def test_the_example_fills_the_form_and_defaults_the_parameters() -> None:
    made = fields({"text": "a", "age": 7, "member": True, "image": [[1.0], [2.0]]})
    assert (made["text"].value, made["age"].value, made["image"].value) == ("a", "7", "[[1.0], [2.0]]")
    assert made["member"].checked and made["normalize"].checked
    assert made["top"].value == "3"


def test_an_example_of_a_million_numbers_stays_out_of_the_page() -> None:
    assert fields({"image": [[0.0] * 1_000_000] * 2})["image"].value == ""


def test_a_form_that_comes_back_holds_what_was_filled_in() -> None:
    made = fields({"text": "example", "member": True}, {"input.text": "mine"})
    assert made["text"].value == "mine"
    assert not made["member"].checked and not made["normalize"].checked


def test_a_record_has_the_types_of_the_signature() -> None:
    record = record_of(
        SIGNATURE, FILLED | {"parameter.top": "5", "parameter.mode": "12", "input.member": "on"}
    )
    assert record == {
        "text": "hi", "age": 3, "member": True, "image": [[1], [2]],
        "normalize": False, "top": 5, "mode": "12",
    }  # fmt: skip


def test_what_is_optional_and_empty_is_left_out() -> None:
    record = record_of(SIGNATURE, FILLED)
    assert "extra" not in record and "top" not in record and "mode" not in record


def test_a_file_is_chosen_and_comes_as_text_or_base64() -> None:
    signature = Signature(inputs=(TensorSpec(name="audio", datatype="BYTES", kind="bytes"),))
    (field,) = fields_of(signature, None, None)
    assert field.widget == "file"
    assert record_of(signature, {"input.audio": "plain"}) == {"audio": "plain"}
    assert record_of(signature, {"input.audio": '{"b64": "/wA="}'}) == {"audio": {"b64": "/wA="}}
    with pytest.raises(InvalidInput, match="Choose a file"):
        record_of(signature, {})


def test_a_line_break_of_a_browser_is_one_character() -> None:
    assert record_of(SIGNATURE, FILLED | {"input.text": "a\r\nb"})["text"] == "a\nb"


@pytest.mark.parametrize(("key", "text"), [("input.image", "[1,"), ("input.image", ""), ("input.age", "")])
def test_what_is_missing_or_no_json_is_named(key: str, text: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        record_of(SIGNATURE, FILLED | {key: text})
    assert raised.value.field == key.removeprefix("input.")


@given(st.text())
def test_any_text_in_a_json_field_is_a_record_or_a_sentence(text: str) -> None:
    try:
        record_of(SIGNATURE, FILLED | {"input.image": text})
    except InvalidInput as error:
        assert error.field == "image"


def test_a_nest_too_deep_is_a_sentence() -> None:
    with pytest.raises(InvalidInput):
        record_of(SIGNATURE, FILLED | {"input.image": "[" * 100_000})


def test_an_optional_truth_value_can_be_left_out() -> None:
    signature = Signature(inputs=(TensorSpec(name="flag", datatype="BOOL", optional=True),))
    assert fields_of(signature, None, None)[0].widget == "json"
    assert record_of(signature, {"input.flag": ""}) == {}
    assert record_of(signature, {"input.flag": "true"}) == {"flag": True}


def test_the_placeholder_shows_the_shape() -> None:
    assert placeholder(SIGNATURE.inputs[3]) == (
        "[[0.0, 0.0, … any number of them], [0.0, 0.0, … any number of them]]"
    )

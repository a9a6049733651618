"""What a call costs: rows × the longest row, by what the adapter declared."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.core.signature import Signature, TensorSpec
from modelyard.policy.cost import CostRule
from modelyard_executor.tensor import join_bytes


class Tensor(NamedTuple):
    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


class Call(NamedTuple):
    inputs: tuple[Tensor, ...]
    rows: int


TEXT = Signature(inputs=(TensorSpec(name="text", datatype="BYTES"),))
LENGTH = {"cost": "length", "of": "text", "shape": "padded"}


def texts(*rows: bytes, name: str = "text") -> Call:
    return Call((Tensor(name, "BYTES", (len(rows),), join_bytes(rows)),), len(rows))


def numbers(*shape: int, batched: bool = True) -> Call:
    return Call((Tensor("x", "INT64", shape, b""),), shape[0] if batched else 1)


def signature(*shape: int, batched: bool = True) -> Signature:
    return Signature(inputs=(TensorSpec(name="x", datatype="INT64", shape=shape),), batched=batched)


def test_what_costs_rows_is_not_measured_at_all() -> None:
    rule = CostRule({"cost": "rows", "shape": "rows"}, TEXT)
    assert rule.by_rows
    assert rule.measure(texts(b"a", b"a long one")) == (2, 1)
    assert CostRule({}, TEXT).by_rows


def test_a_text_costs_its_bytes() -> None:
    rule = CostRule(LENGTH, TEXT)
    assert not rule.by_rows
    assert rule.measure(texts("größe".encode())) == (1, 7)


def test_several_rows_cost_as_much_as_the_longest_each() -> None:
    assert CostRule(LENGTH, TEXT).measure(texts(b"ab", b"abcdef", b"")) == (3, 6)


def test_nothing_costs_less_than_one() -> None:
    assert CostRule(LENGTH, TEXT).measure(texts(b"")) == (1, 1)
    assert CostRule(LENGTH, TEXT).measure(texts(b"", b"")) == (2, 1)
    assert CostRule({"cost": "elements", "of": "x"}, signature(-1)).measure(numbers(1, 0)) == (1, 1)


def test_rows_of_several_texts_cost_them_together() -> None:
    pairs = Signature(inputs=(TensorSpec(name="text", datatype="BYTES", shape=(2,)),))
    call = Call((Tensor("text", "BYTES", (2, 2), join_bytes([b"a", b"bcd", b"ef", b"g"])),), 2)
    assert CostRule(LENGTH, pairs).measure(call) == (2, 4)


def test_the_length_of_numbers_is_that_of_their_variable_axis() -> None:
    rule = CostRule({"cost": "length", "of": "x", "shape": "ragged"}, signature(3, -1, 7))
    assert rule.measure(numbers(5, 3, 40, 7)) == (5, 40)
    alone = CostRule({"cost": "length", "shape": "ragged"}, signature(-1, batched=False))
    assert alone.measure(numbers(9, batched=False)) == (1, 9)


def test_elements_are_the_product_of_a_rows_shape() -> None:
    rule = CostRule({"cost": "elements", "of": "x", "shape": "padded"}, signature(-1, -1))
    assert rule.measure(numbers(2, 30, 40)) == (2, 1200)


def test_an_optional_input_that_is_left_out_costs_one() -> None:
    assert CostRule(LENGTH, TEXT).measure(texts(b"ab", name="other")) == (1, 1)


def test_one_input_need_not_be_named_and_the_shape_is_padded_unless_said() -> None:
    rule = CostRule({"cost": "length"}, TEXT)
    assert (rule.of, rule.shape) == ("text", "padded")


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ({"cost": "tokens"}, "known: rows, length, elements"),
        ({"cost": "length", "of": "text", "shape": "square"}, "known: rows, padded, ragged, quadratic"),
        ({"cost": "length", "of": "sequence"}, "inputs are 'text'"),
        ({"cost": "length", "unit": "token"}, "unit"),
        ({"cost": "rows", "shape": "padded"}, "does not go with"),
        ({"cost": "length", "shape": "rows"}, "does not go with"),
        ({"cost": "rows", "of": "text"}, "leave out 'of'"),
    ],
)
def test_a_declaration_that_cannot_be_followed_is_refused(declared: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CostRule(declared, TEXT)


def test_a_length_that_cannot_vary_is_refused() -> None:
    with pytest.raises(ValueError, match="no axis of any length"):
        CostRule({"cost": "length", "of": "x"}, signature(64))


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_the_longest_text_is_found_wherever_it_stands(rows: list[bytes]) -> None:
    assert CostRule(LENGTH, TEXT).measure(texts(*rows)) == (len(rows), max(1, *map(len, rows)))


@given(st.binary(max_size=60), st.integers(2, 9))
def test_rubbish_is_an_error_and_nothing_else(data: bytes, rows: int) -> None:
    try:
        _, length = CostRule(LENGTH, TEXT).measure(Call((Tensor("text", "BYTES", (rows,), data),), rows))
        assert 1 <= length <= len(data)
    except ValueError as error:
        assert "disagree" in str(error)

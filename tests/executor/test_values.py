"""What models answer, as JSON: plain values, and what frameworks have instead."""

import datetime
import decimal
import enum
import json
import uuid
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from executor.process import spec
from modelyard_executor.adapter import ItemError
from modelyard_executor.adapters.values import tensor_of

OUTPUT = spec("output", "BYTES", kind="json")


def told(value: Any) -> Any:
    (text,) = tensor_of("output", value, OUTPUT).values()
    return json.loads(text)


class Table:
    """As much of a data frame as is asked of one."""

    columns = ("a",)

    def to_dict(self, orient: str) -> Any:
        assert orient == "records"
        return [{"a": np.float32(1.5)}, {"a": 2}]


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Mood:
    label: str
    score: np.ndarray


Point = namedtuple("Point", "x y")


class Slotted:
    __slots__ = ("_y", "x")

    def __init__(self, x: int | None = None) -> None:
        self._y = 1
        if x is not None:
            self.x = x


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, None, "x", True]}, {"a": [1, None, "x", True]}),
        (np.arange(3), [0, 1, 2]),
        (np.float32(0.5), 0.5),
        ({"a": np.array([[1.5]])}, {"a": [[1.5]]}),
        ({np.int64(3): 1, (1, 2): [{4: 5}]}, {"3": 1, "(1, 2)": [{"4": 5}]}),
        ({3, 1}, [1, 3]),
        ([b"text", b"\xff\x00"], ["text", {"b64": "/wA="}]),
        ([Mood("good", np.array([1.0]))], [{"label": "good", "score": [1.0]}]),
        ([Point(1, 2)], [[1, 2]]),
        ([Colour.RED], ["red"]),
        (Table(), [{"a": 1.5}, {"a": 2}]),
        ([Path("/a"), decimal.Decimal("1.50"), uuid.UUID(int=1)], ["/a", "1.50", "00000000-0000-0000-0000-000000000001"]),
        (datetime.datetime(2024, 5, 6, 7, 8), "2024-05-06T07:08:00"),
        (Slotted(3), {"x": 3}),
        (OrderedDict(a=1), {"a": 1}),
        ({"rest": iter([1, 2]), "range": range(2)}, {"rest": [1, 2], "range": [0, 1]}),
        (SimpleNamespace(text="a", _hidden=object(), parts=[SimpleNamespace(n=1)]), {"text": "a", "parts": [{"n": 1}]}),
    ],
)  # fmt: skip
def test_as_json(value: Any, expected: Any):
    assert told(value) == expected


def test_a_model_of_pydantic():
    pydantic = pytest.importorskip("pydantic")
    model = pydantic.create_model("M", when=(datetime.date, ...))
    assert told(model(when=datetime.date(2024, 1, 2))) == {"when": "2024-01-02"}


@pytest.mark.parametrize(
    "value",
    [lambda: 1, Slotted(), float("nan"), object(), Slotted],
    ids=["function", "slots", "nan", "object", "class"],
)
def test_what_json_has_no_word_for(value: Any):
    with pytest.raises(ItemError, match="JSON has no word for"):
        told(value)


def test_what_holds_itself():
    loop = SimpleNamespace()
    loop.loop = loop
    with pytest.raises(ItemError, match="JSON has no word for"):
        told(loop)

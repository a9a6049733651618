"""Whether a model that was saved and loaded answers as the object did."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.client.records import plain
from modelyard.core.errors import RejectedContent

TOLERANCE = 1e-4  # relative to the largest number of an output, as for answers computed alone and together


def compare(own: Mapping[str, Any], answers: Sequence[Mapping[str, Any]], tolerance: float) -> float:
    """The largest difference between what the object answered (by output, a value for each record) and the answers
    of its files, relative to the largest number of the output.

    Raises RejectedContent that says what differs: an output, a record, both values.
    """
    common = [name for name in own if answers and name in answers[0]]
    if not common and answers and len(own) == len(answers[0]):  # the same, under names that a format gave
        own = dict(zip(answers[0], own.values(), strict=True))
        common = list(own)
    if not common:
        raise RejectedContent(
            f"What was saved answers {', '.join(answers[0]) if answers else 'nothing'}, and the object "
            f"{', '.join(own) or 'nothing'}; they cannot be compared.",
            field="model",
        )
    worst = 0.0
    for name in common:
        values = list(own[name])
        for number, answer in enumerate(answers):
            expected, got = plain(values[number], ""), answer[name]
            scale = max((abs(each) for each in _numbers(expected)), default=0.0) or 1.0
            apart = _apart(expected, got) / scale
            if not apart <= tolerance:
                raise RejectedContent(
                    f"What was saved answers otherwise than the object. Record {number + 1} of the example, output {name!r}: "
                    f"the object says {_told(expected)}, its files {_told(got)}"
                    + (
                        f" ({apart:.2g} apart, relative to the largest number)."
                        if math.isfinite(apart)
                        else "."
                    ),
                    field="model",
                )
            worst = max(worst, apart)
    return worst


def _apart(one: Any, other: Any) -> float:
    """The largest difference of two numbers at the same place; infinite where anything else differs."""
    if _is_number(one) and _is_number(other):
        return _difference(float(one), float(other))
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return math.inf
        return max((_apart(a, b) for a, b in zip(one, other, strict=True)), default=0.0)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if set(one) != set(other):
            return math.inf
        return max((_apart(one[name], other[name]) for name in one), default=0.0)
    if isinstance(one, list) and len(one) == 1 and not isinstance(other, list):
        return _apart(one[0], other)
    return 0.0 if one == other else math.inf


def _difference(one: float, other: float) -> float:
    if one == other or (one != one and other != other):
        return 0.0
    difference = abs(one - other)
    return difference if difference == difference else math.inf


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _numbers(value: Any) -> list[float]:
    if isinstance(value, list):
        return [each for item in value for each in _numbers(item)]
    if isinstance(value, Mapping):
        return [each for item in value.values() for each in _numbers(item)]
    return [value] if _is_number(value) and math.isfinite(value) else []


def _told(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:120] + " …"

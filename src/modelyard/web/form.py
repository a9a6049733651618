"""A form made from a signature, and the record made from what was filled in."""

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec

Widget = Literal["text", "json", "number", "checkbox", "line", "file"]
LONGEST = 4000  # characters of an example that is worth putting into a field


class Field(NamedTuple):
    """One field. ``key`` is its name in the form, ``step`` is for numbers."""

    key: str
    name: str
    widget: Widget
    hint: str
    value: str = ""
    placeholder: str = ""
    checked: bool = False
    required: bool = False
    step: str = "any"
    description: str = ""


def fields_of(
    signature: Signature, example: Mapping[str, Any] | None, filled: Mapping[str, str] | None
) -> list[Field]:
    """The fields, holding ``filled`` when the form comes back, else the example."""
    made = [_input(spec, example or {}) for spec in signature.inputs]
    made += [_parameter(spec) for spec in signature.parameters]
    if filled is None:
        return made
    return [field._replace(value=filled.get(field.key, ""), checked=field.key in filled) for field in made]


def record_of(signature: Signature, filled: Mapping[str, str]) -> dict[str, Any]:
    """The record that was filled in; what is empty and optional is left out.

    Raises InvalidInput naming the field for JSON that is none. Everything else is the node's to judge.
    """
    record: dict[str, Any] = {}
    for spec in signature.inputs:
        field = _input(spec, {})
        text = filled.get(field.key, "")
        if field.widget == "checkbox":
            record[spec.name] = field.key in filled
        elif field.widget == "file":
            if text:
                record[spec.name] = _parse(text, spec.name) if text.startswith('{"b64":') else text
            elif not spec.optional:
                raise InvalidInput("Choose a file.", field=spec.name)
        elif field.widget == "text":
            if text or not spec.optional:
                record[spec.name] = text.replace("\r\n", "\n")
        elif text.strip():
            record[spec.name] = _parse(text, spec.name)
        elif not spec.optional:
            raise InvalidInput("This input must be filled in.", field=spec.name)
    for parameter in signature.parameters:
        field = _parameter(parameter)
        text = filled.get(field.key, "")
        if field.widget == "checkbox":
            record[parameter.name] = field.key in filled
        elif text.strip():
            record[parameter.name] = text if field.widget == "line" else _parse(text, parameter.name)
    return record


def shape_text(spec: TensorSpec) -> str:
    """``FP32 [3, any]``."""
    if not spec.shape:
        return spec.datatype
    return f"{spec.datatype} [{', '.join('any' if length < 0 else str(length) for length in spec.shape)}]"


def placeholder(spec: TensorSpec) -> str:
    """The beginning of a value of the right shape: ``[[0, 0, … 224 numbers …], … 3 rows]``."""
    if spec.kind == "json":
        return '{"…": "…"}'
    family = DATATYPES[spec.datatype].family if spec.datatype in DATATYPES else "bytes"
    text = {"bool": "false", "int": "0", "float": "0.0", "bytes": '"text"'}[family]
    for length in reversed(spec.shape):
        if 0 <= length <= 4:
            text = f"[{', '.join([text] * length)}]"
        else:
            text = f"[{text}, {text}, … {'any number' if length < 0 else length} of them]"
    return text


def _input(spec: TensorSpec, example: Mapping[str, Any]) -> Field:
    family = DATATYPES[spec.datatype].family if spec.datatype in DATATYPES else "bytes"
    value = example.get(spec.name)
    made = Field(
        f"input.{spec.name}",
        spec.name,
        "json",
        shape_text(spec) + (", optional" if spec.optional else ""),
        placeholder=placeholder(spec),
        required=not spec.optional,
        description=spec.description,
    )
    if spec.kind == "bytes" and not spec.shape:
        return made._replace(widget="file")
    # A box that is not ticked cannot say "left out": an optional truth value is written.
    if not spec.shape and spec.kind != "json" and not (family == "bool" and spec.optional):
        if family == "bytes":
            return made._replace(
                widget="text", value=value if isinstance(value, str) else "", placeholder="Some text"
            )
        if family == "bool":
            return made._replace(widget="checkbox", checked=bool(value), required=False)
        return made._replace(
            widget="number",
            value="" if value is None else str(value),
            step="1" if family == "int" else "any",
        )
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return made._replace(value=text if len(text) <= LONGEST else "")


def _parameter(spec: ParameterSpec) -> Field:
    default = spec.default
    made = Field(
        f"parameter.{spec.name}", spec.name, "line", f"parameter, {spec.type}", description=spec.description
    )
    if spec.type == "bool":
        return made._replace(widget="checkbox", checked=bool(default))
    value = "" if default is None else str(default)
    if spec.type == "string":
        return made._replace(value=value)
    return made._replace(widget="number", value=value, step="1" if spec.type == "int" else "any")


def _parse(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"This is not JSON: {error}.", field=name) from error

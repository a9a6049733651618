"""Reads the program of a ``torch.export`` file: what it takes, what it gives, and what of it would be run.

The form is the JSON of torch/_export/serde/schema.py, whose major version has to be that of the PyTorch that loads it.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any, Final, NamedTuple, cast

from modelyard.analyze.tensors import Axis, Value
from modelyard.analyze.torch_expressions import is_condition, is_name, is_operator, is_size
from modelyard.core.errors import RejectedContent

_MAJOR: Final = 8
_DATATYPES: Final = {
    1: "UINT8", 2: "INT8", 3: "INT16", 4: "INT32", 5: "INT64", 6: "FP16", 7: "FP32", 8: "FP64", 12: "BOOL", 13: "BF16",
    28: "UINT16", 34: "UINT32", 35: "UINT64",
}  # fmt: skip
_PRECISIONS: Final = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64", 12: "bool", 13: "bfloat16",
}  # fmt: skip
_SYMBOL: Final = re.compile(r"Symbol\('(\w+)'(, \w+=True)*\)")
_TREES: Final = {"builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict", None} | {
    "torch.fx.immutable_collections.immutable_list", "torch.fx.immutable_collections.immutable_dict",
}  # fmt: skip
_CONSTANTS: Final = ("as_none", "as_int", "as_float", "as_bool", "as_string")
_NAMES: Final = (
    "name",
    "as_name",
    "parameter_name",
    "buffer_name",
    "tensor_constant_name",
    "fqn",
    "user_input_name",
)
_DEEPEST: Final = 64
_NO: Final = object()


class Range(NamedTuple):
    """How long an axis may be; ``most`` is None without a bound."""

    least: int
    most: int | None


class Program(NamedTuple):
    """``arguments``: what the program is called with, flat and in order: an input's name, or a constant alone in a
    list. ``results``: the outputs' names in order; None for what is no tensor. ``ranges``: by symbol."""

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    arguments: tuple[object, ...]
    results: tuple[str | None, ...]
    ranges: Mapping[str, Range]
    parameters: int
    operators: int
    version: str  # of PyTorch
    precisions: dict[str, int]  # of its parameters, how many numbers by type


class Told(NamedTuple):
    """A program, and what of it is more than arithmetic (empty when nothing is)."""

    program: Program
    more: str


def read(text: bytes, corrupt: Callable[[str], RejectedContent]) -> Told:
    """Read the JSON. Raises what ``corrupt`` makes of a sentence."""
    try:
        held = json.loads(text)
        return Told(_program(held), _more(held))
    except (ValueError, RecursionError) as error:
        raise corrupt(f"its program is not valid JSON ({str(error)[:100]})") from error
    except _Malformed as error:
        raise corrupt(f"its program cannot be read: {error}") from error
    except (KeyError, TypeError, IndexError, AttributeError, OverflowError, StopIteration) as error:
        raise corrupt(f"its program cannot be read ({type(error).__name__}: {str(error)[:100]})") from error


class _Malformed(Exception):
    """What is wrong, as the part of a sentence."""


def _program(held: Any) -> Program:
    version = held["schema_version"]
    if version["major"] != _MAJOR:
        raise _Malformed(
            f"it is of the form {str(version['major'])[:20]}, and PyTorch reads {_MAJOR} today"
        )
    module = held["graph_module"]
    tensors, told = module["graph"]["tensor_values"], module["signature"]
    top = next(entry["signature"] for entry in module["module_call_graph"] if entry["fqn"] == "")
    inputs: list[Value] = []
    arguments: list[object] = []
    precisions: Counter[str] = Counter()
    for spec in told["input_specs"]:
        ((kind, what),) = spec.items()
        if kind == "parameter":
            meta = tensors[what["arg"]["name"]]
            kind = _PRECISIONS.get(meta["dtype"], f"type {str(meta['dtype'])[:20]}")
            precisions[kind] += prod(_whole(size["as_int"]) for size in meta["sizes"])
        elif kind == "constant_input":
            ((_, value),) = what["value"].items()
            arguments.append([None if "as_none" in what["value"] else value])
        elif kind == "user_input":
            ((form, value),) = what["arg"].items()
            if form == "as_tensor":
                inputs.append(_value(value["name"], tensors[value["name"]]))
                arguments.append(value["name"])
            elif form in _CONSTANTS:
                arguments.append([None if form == "as_none" else value])
            else:
                raise _Malformed(f"it takes a {form.removeprefix('as_')}, and only tensors can be sent")
    names = list(_leaves(_tree(top["out_spec"]), ""))
    user = [spec["user_output"]["arg"] for spec in told["output_specs"] if "user_output" in spec]
    if len(names) != len(user):
        raise _Malformed(f"it gives {len(user)} values, and names {len(names)}")
    outputs: list[Value] = []
    results: list[str | None] = []
    for name, what in zip(names, user, strict=True):
        ((form, value),) = what.items()
        results.append(name if form == "as_tensor" else None)
        if form == "as_tensor":
            outputs.append(_value(name, tensors[value["name"]]))
    _check_keys(_tree(top["in_spec"]))
    ranges = {
        str(symbol): Range(_least(each["min_val"]), _bound(each["max_val"]))
        for symbol, each in held["range_constraints"].items()
    }
    return Program(
        tuple(inputs), tuple(outputs), tuple(arguments), tuple(results), ranges, precisions.total(),
        len(module["graph"]["nodes"]), str(held.get("torch_version", ""))[:40], dict(precisions),
    )  # fmt: skip


def _value(name: Any, meta: Any) -> Value:
    datatype = _DATATYPES.get(meta["dtype"])
    if datatype is None:
        raise _Malformed(
            f"{str(name)[:100]!r} is of a type (number {str(meta['dtype'])[:20]}) that cannot be sent"
        )
    return Value(str(name), datatype, tuple(_axis(size) for size in meta["sizes"]))


def _axis(size: Mapping[str, Any]) -> Axis:
    if "as_int" in size:
        return _whole(size["as_int"])
    text = size["as_expr"]["expr_str"]
    symbol = _SYMBOL.fullmatch(text)
    return symbol[1] if symbol else text


def _whole(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 48:
        raise _Malformed("a size in it is not possible")
    return value


def _bound(value: object) -> int | None:
    """A bound of a range; None for none."""
    return (
        value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31 else None
    )


def _least(value: object) -> int:
    """PyTorch writes 2 for axes of any length, and takes 0 and 1 there too."""
    least = _bound(value) or 1
    return least if least > 2 else 1


def _tree(text: str) -> Any:
    """A treespec of torch.utils._pytree (protocol 1)."""
    protocol, tree = json.loads(text)
    if protocol != 1:
        raise _Malformed("the structure of its inputs or outputs is of another form")
    return _checked(tree, 0)


def _checked(tree: Any, depth: int) -> Any:
    kind = tree["type"]
    if kind not in _TREES or depth > _DEEPEST:
        raise _Malformed(
            f"it takes or gives a {str(kind)[:100]}, which PyTorch alone cannot make; use tuples, lists and dictionaries"
        )
    for child in tree["children_spec"]:
        _checked(child, depth + 1)
    return tree


def _check_keys(tree: Any) -> None:
    """The keys of its inputs become names in the source of a function."""
    keys = json.loads(tree["context"]) if tree["type"] is not None else None
    for key in keys if isinstance(keys, list) else ():
        if not is_name(str(key)):
            raise _Malformed(
                f"it takes a dictionary with the key {str(key)[:100]!r}; use letters, digits and underscores"
            )
    for child in tree["children_spec"]:
        _check_keys(child)


def _leaves(tree: Any, name: str) -> Iterator[str]:
    """A name for each value: keys where there are keys, else numbers; ``output`` for one alone."""
    kind, children = tree["type"], tree["children_spec"]
    if kind is None:
        yield name or "output"
        return
    keys: list[object] = list(range(len(children)))
    dictionary = kind.endswith(("dict", "Dict"))
    if dictionary:
        keys = json.loads(tree["context"])
    for key, child in zip(keys, children, strict=True):
        inner = f"{name or ('' if dictionary else 'output')}_{key}" if name or not dictionary else str(key)
        yield from _leaves(child, inner)


def _more(held: Any) -> str:
    """What loading and running would do beside arithmetic, in a few words."""
    for key in held["range_constraints"]:
        if not is_size(key):
            return f"the expression {key[:100]!r}"
    for text in held.get("guards_code", ()):
        if not is_condition(text):
            return f"the condition {text[:100]!r}"
    if held["graph_module"]["graph"].get("custom_obj_values"):
        return "objects of a class of its own"
    left: list[object] = [held]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left += cast("list[object]", value)
        elif isinstance(value, dict):
            found = _more_in(cast("dict[str, object]", value))
            if found:
                return found
            left += value.values()
        elif isinstance(value, str) and "__enum__" in value:
            return "an enumeration of some module"
    return ""


def _more_in(held: Mapping[str, object]) -> str:
    for key in ("target", "as_operator"):
        if (operator := held.get(key, _NO)) is not _NO and not is_operator(str(operator)):
            return f"the operator {str(operator)[:100]!r}"
    if (size := held.get("expr_str", _NO)) is not _NO and not is_size(str(size)):
        return f"the expression {str(size)[:100]!r}"
    for key in _NAMES:
        if isinstance(name := held.get(key), str) and not is_name(name):
            return f"the name {name[:100]!r}"
    names: list[object] = []
    for key in (
        "forward_arg_names",
        "tensor_values",
        "sym_int_values",
        "sym_bool_values",
        "sym_float_values",
    ):
        each = held.get(key)
        names += each if isinstance(each, list) else list(each) if isinstance(each, dict) else ()
    for name in names:
        if not is_name(str(name)):
            return f"the name {str(name)[:100]!r}"
    return ""

"""Texts that ``torch.export.load`` evaluates as Python: whether there is anything in them but arithmetic.

It hands sizes to ``sympy.sympify`` and conditions to ``exec``, looks operators up by attributes of ``torch``, and writes
names into the source of a function (torch/_export/serde/serialize.py, torch/export/_unlift.py, torch/fx/graph.py).
"""

import ast
import re
import warnings
from collections.abc import Callable
from typing import Final

_LONGEST: Final = 20_000  # characters
_NAME: Final = re.compile(r"[A-Za-z_0-9.]{0,1000}")
_OPERATOR: Final = re.compile(
    r"torch\.ops\.(aten|prims|quantized)\.\w+\.\w+"
    r"|torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|flex_attention|wrap"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast|invoke_subgraph|hints_wrapper|tag_activation_checkpoint)"
    r"|torch\.(sym_\w+|_sym_\w+)|torch\._C\._nn\.pad|math\.(ceil|floor|trunc|sqrt|pow|log2)"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|invert"
    r"|lshift|rshift)",
    re.ASCII,
)
_FILES: Final = re.compile(r"from_file|\bsave\b|\bload\b")  # operators that touch files
_SIZES: Final = frozenset(
    {
        "Symbol",
        "Integer",
        "Float",
        "Rational",
        "Add",
        "Mul",
        "Pow",
        "Max",
        "Min",
        "Abs",
        "Mod",
        "floor",
        "ceiling",
    }
    | {
        "Eq",
        "Ne",
        "Lt",
        "Le",
        "Gt",
        "Ge",
        "And",
        "Or",
        "Not",
        "Equality",
        "Unequality",
        "StrictLessThan",
        "LessThan",
    }
    | {
        "StrictGreaterThan",
        "GreaterThan",
        "FloorDiv",
        "ModularIndexing",
        "Where",
        "PythonMod",
        "CleanDiv",
        "CeilToInt",
    }
    | {
        "FloorToInt",
        "CeilDiv",
        "LShift",
        "RShift",
        "PowByNatural",
        "FloatPow",
        "FloatTrueDiv",
        "IntTrueDiv",
        "ToFloat",
    }
    | {
        "IsNonOverlappingAndDenseIndicator",
        "TruncToFloat",
        "TruncToInt",
        "RoundToInt",
        "RoundDecimal",
        "Identity",
    }
)
_CONDITIONS: Final = frozenset(
    {"size", "stride", "dim", "storage_offset", "numel", "item", "max", "min", "abs", "int"}
)
_ARITHMETIC: Final = (
    ast.Expression, ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
    ast.expr_context, ast.Tuple,
)  # fmt: skip


def is_name(text: str) -> bool:
    """Whether a name can be written into source: letters, digits, underscores and dots."""
    return _NAME.fullmatch(text) is not None


def is_operator(text: str) -> bool:
    """Whether this is an operator that computes, of PyTorch's own."""
    return _OPERATOR.fullmatch(text) is not None and not _FILES.search(text)


def is_size(text: str) -> bool:
    """Whether this is arithmetic over symbols, as sympy writes it."""
    return _holds(text, _is_size)


def is_condition(text: str) -> bool:
    """Whether this compares sizes of inputs, as ``L['x'].size()[0] == 3`` does."""
    return _holds(text, _is_condition)


def _holds(text: str, allowed: Callable[[ast.AST], bool]) -> bool:
    if len(text) > _LONGEST or not text.isascii():
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of no use in our log
            nodes = list(ast.walk(ast.parse(text.strip(), mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _ARITHMETIC) or allowed(node) for node in nodes)


def _is_size(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _SIZES
    if isinstance(node, ast.keyword):
        return node.arg is not None
    if isinstance(node, ast.Constant):
        return isinstance(node.value, bool | int | float) or (
            isinstance(node.value, str) and node.value.isidentifier()
        )
    return isinstance(node, ast.Name)


def _is_condition(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        function = node.func
        named = function.id if isinstance(function, ast.Name) else ""
        named = function.attr if isinstance(function, ast.Attribute) else named
        return named in _CONDITIONS | _SIZES and not node.keywords
    if isinstance(node, ast.Attribute):
        return node.attr in _CONDITIONS | {"ndim", "shape", "inf", "floor", "ceil", "trunc"}
    if isinstance(node, ast.Constant):
        value = node.value
        return (
            value is None
            or isinstance(value, bool | int | float)
            or (isinstance(value, str) and is_name(value))
        )
    return isinstance(node, ast.Name | ast.Subscript)

"""A Python function to serve: ``model.py`` with ``predict``, read as syntax and never imported."""

import ast
import warnings

from modelyard.analyze.annotations import input_type
from modelyard.analyze.footprint import estimate
from modelyard.analyze.imports import gpu_of, imported, unlisted
from modelyard.analyze.plain import plain
from modelyard.analyze.requirements import read_requirements
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature, TensorSpec

NAME = "function"
PATH = "model.py"
MAX_SIZE = 4 * 1024 * 1024
FORM = (
    "model.py needs either a function `def predict(...)` at its top level, or a class `Model` with a method "
    "`predict(self, ...)`"
)
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def detect(files: Files) -> bool:
    """Whether the top folder has a ``model.py``."""
    return PATH in files.paths


def analyze(files: Files) -> Analysis:
    """Describe the function. Raises RejectedContent with line and column for what cannot be served."""
    tree = _parse(files)
    entry, predict, methods = _find(tree)
    _check_methods(methods)
    drop_self = entry == "Model" and "staticmethod" not in _decorators(predict)
    inputs = _inputs(predict, drop_self)
    signature = Signature(
        inputs=inputs,
        outputs=(TensorSpec(name="output", datatype="BYTES", shape=(), kind="json"),),
        batched=False,
    )
    size = sum(files.size(path) for path in files.paths)
    details = {"entry": entry, "lines": str(tree.body[-1].end_lineno or 0)}
    documented = ast.get_docstring(predict) or ast.get_docstring(tree)
    if documented:
        details["description"] = documented.strip().splitlines()[0][:200]
    requirements = read_requirements(files)
    imports = imported(tree, files)
    gpu, because = gpu_of(tree)
    return Analysis(
        format="python-function",
        adapter="function",
        signature=signature,
        requirements=requirements,
        declared=requirements,
        options={"file": PATH, "entry": entry, "signature": plain(signature)},
        size_bytes=size,
        imports=imports,
        gpu=gpu,
        gpu_because=because,
        memory_bytes=estimate("function", size - files.size(PATH)),
        executes="code",
        details=details,
        warnings=unlisted(imports, requirements),
    )


def _parse(files: Files) -> ast.Module:
    if files.size(PATH) > MAX_SIZE:
        raise RejectedContent(
            f"{PATH} has {files.size(PATH)} bytes; at most {MAX_SIZE} are read.", field=PATH
        )
    source = files.read(PATH)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the author's escape sequences are not our log's business
            return ast.parse(source, PATH)
    except SyntaxError as error:
        where = f"line {error.lineno}, column {error.offset}" if error.lineno else "somewhere"
        raise RejectedContent(
            f"{PATH} is not valid Python: {error.msg} ({where}).", field=f"{PATH}:{error.lineno or 1}"
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        why = "it holds null bytes" if b"\x00" in source else "its expressions are nested too deeply"
        raise RejectedContent(f"{PATH} is not valid Python: {why}.", field=PATH) from error


def _find(tree: ast.Module) -> tuple[str, _Function, dict[str, _Function]]:
    """The entry ("predict" or "Model"), the function to call, and the methods of the class."""
    functions: dict[str, _Function] = {}
    model: ast.ClassDef | None = None
    for statement in tree.body:
        if isinstance(statement, _Function):
            functions[statement.name] = statement
        elif isinstance(statement, ast.ClassDef) and statement.name == "Model":
            model = statement
    if model is not None and "predict" in functions:
        raise _at(
            functions["predict"], "there are both a function predict and a class Model; keep one of them"
        )
    if "predict" in functions:
        return "predict", functions["predict"], {}
    if model is None:
        raise RejectedContent(f"{PATH} has nothing to call. {FORM}.", field=PATH)
    methods = {item.name: item for item in model.body if isinstance(item, _Function)}
    if "predict" not in methods:
        raise _at(model, "the class Model has no method predict(self, ...)")
    return "Model", methods["predict"], methods


def _check_methods(methods: dict[str, _Function]) -> None:
    """The optional methods have fixed forms: ``__init__(self)``, ``load(self, folder)``,
    ``predict_batch(self, records)``."""
    for name, count, form in (
        ("__init__", 0, "Model()"),
        ("load", 1, "load(self, folder)"),
        ("predict_batch", 1, "predict_batch(self, records)"),
    ):
        method = methods.get(name)
        if method is None:
            continue
        if isinstance(method, ast.AsyncFunctionDef):
            raise _at(method, f"{name} is async; write a plain method")
        arguments = method.args
        positional = [*arguments.posonlyargs, *arguments.args]
        if not _decorators(method) & {"staticmethod", "classmethod"}:
            positional = positional[1:]
        most = len(positional) if arguments.vararg is None else count
        least = len(positional) - len(arguments.defaults)
        keyword_only = [default for default in arguments.kw_defaults if default is None]
        if most < count or least > count or keyword_only:
            raise _at(method, f"Modelyard calls {form}, and {name} does not accept that")


def _inputs(function: _Function, drop_self: bool) -> tuple[TensorSpec, ...]:
    """One input per parameter; those with a default may be left out of a call."""
    arguments = function.args
    if isinstance(function, ast.AsyncFunctionDef):
        raise _at(function, "predict is async; write a plain function")
    if arguments.vararg or arguments.kwarg:
        star = (
            f"*{arguments.vararg.arg}" if arguments.vararg else f"**{getattr(arguments.kwarg, 'arg', '')}"
        )
        raise _at(function, f"predict takes {star}; name every input, so that calls can be checked")
    if arguments.posonlyargs and not (drop_self and len(arguments.posonlyargs) == 1):
        raise _at(
            function, "predict has parameters before '/', but inputs are given by name; remove the '/'"
        )
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    defaults += arguments.defaults
    pairs = list(zip(positional, defaults, strict=True))
    if drop_self:
        if not pairs:
            raise _at(function, "the method predict has no self")
        pairs = pairs[1:]
    pairs += zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    if not pairs:
        raise _at(function, "predict takes no input")
    specs: list[TensorSpec] = []
    for argument, default in pairs:
        datatype, shape, kind = input_type(argument.annotation)
        specs.append(
            TensorSpec(
                name=argument.arg, datatype=datatype, shape=shape, kind=kind, optional=default is not None
            )
        )
    return tuple(specs)


def _decorators(function: _Function) -> set[str]:
    return {item.id for item in function.decorator_list if isinstance(item, ast.Name)}


def _at(node: _Function | ast.ClassDef, why: str) -> RejectedContent:
    return RejectedContent(
        f"{PATH}, line {node.lineno}, column {node.col_offset + 1}: {why}. {FORM}.",
        field=f"{PATH}:{node.lineno}",
    )

"""PyTorch modules: by torch.export with the example, else as TorchScript."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.objects.example import Example, array
from modelyard.objects.library import Given, Saved, is_of

NAME = "PyTorch (modules)"


def takes(model: object) -> bool:
    return is_of(model, "torch", "Module")


def save(model: Any, folder: Path, given: Given) -> Saved:
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        return _script(model, model, folder, given, [])
    if given.example is None:
        raise InvalidInput(
            "A PyTorch module is saved by calling it once; give what it is called with: example=torch.zeros(2, 4), or a "
            "tuple or dict of tensors.",
            field="example",
        )
    arguments = _arguments(model, given.example)
    training = model.training
    model.eval()
    try:
        try:
            answers = _answers(model, arguments)  # now: as it computes when it is not trained
        except Exception as error:
            raise RejectedContent(
                f"This {type(model).__name__} cannot be called with the example: {_first(error)}.",
                field="example",
            ) from error
        tried: list[str] = []
        exported = _exported(model, arguments, tried)
        if exported is not None:
            _plain(exported)
            torch.export.save(exported, folder / "model.pt2")
            return Saved(
                lambda: answers, example=_example(given.example, arguments),
                notes=() if len(tried) == 0 else (f"it takes exactly as many records at once as the example: {tried[0]}",),
            )  # fmt: skip
        return _script(model, None, folder, given, tried)
    finally:
        model.train(training)


def _arguments(model: Any, example: Example) -> dict[str, Any]:
    """What forward is called with, by its arguments' names. Raises InvalidInput for other than it takes."""
    import torch

    forward = inspect.signature(model.forward).parameters
    names = [
        name
        for name, each in forward.items()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    needed = [name for name in names if forward[name].default is inspect.Parameter.empty]
    if example.named is not None:
        strange = [name for name in example.named if name not in names]
        if strange:
            raise InvalidInput(
                f"The example has {', '.join(strange)}; forward takes {', '.join(names)}.", field="example"
            )
        native = example.native if isinstance(example.native, dict) else {}
        given = {name: native.get(name, values) for name, values in example.named.items()}
    else:
        native = example.native if isinstance(example.native, tuple) else (example.native,)
        given = dict(zip(names, native, strict=False))
        if len(native) > len(names):
            raise InvalidInput(
                f"The example has {len(native)} tensors; forward takes {', '.join(names)}.", field="example"
            )
    lacking = [name for name in needed if name not in given]
    if lacking:
        raise InvalidInput(
            f"forward of {type(model).__name__} takes {', '.join(names)}, and the example has no {', '.join(lacking)}; give a "
            "tuple of tensors, or a dict by these names.",
            field="example",
        )
    return {
        name: value if isinstance(value, torch.Tensor) else torch.as_tensor(value)
        for name, value in given.items()
    }


def _exported(model: Any, arguments: Mapping[str, Any], tried: list[str]) -> Any:
    """The program: of any number of records, else of as many as the example has; None when there is none, with the
    reasons in ``tried``."""
    import torch

    # Of one record alone it could not be told what is the batch: sizes of 1 are taken for constants.
    rows = {
        name: torch.cat([value, value]) if value.ndim and value.shape[0] == 1 else value
        for name, value in arguments.items()
    }
    batch = torch.export.Dim("batch", min=1, max=2**20)
    axes = {name: {0: batch} for name in rows}
    attempts: list[tuple[Mapping[str, Any], Any]] = (
        [(rows, axes)] if all(v.ndim for v in rows.values()) else []
    )
    for given, dynamic in [*attempts, (arguments, None)]:
        try:
            with torch.no_grad():
                return torch.export.export(model, (), dict(given), dynamic_shapes=dynamic)
        except Exception as error:  # noqa: BLE001 - a module's own code raises what it likes
            tried.append(_first(error))
    return None


def _plain(program: Any) -> None:
    """Without what would differ between two writings of it, or tell of this machine: where in which file its lines are."""
    for node in program.graph.nodes:
        for name in ("stack_trace", "nn_module_stack", "torch_fn", "source_fn_stack", "from_node"):
            node.meta.pop(name, None)


def _script(model: Any, ready: Any, folder: Path, given: Given, tried: list[str]) -> Saved:
    import torch

    scripted, why = ready, ""
    if scripted is None:
        try:
            scripted = torch.jit.script(model)
        except Exception as error:  # noqa: BLE001 - as above
            why = _first(error)
    if scripted is None:
        raise RejectedContent(
            f"This {type(model).__name__} can be saved neither by torch.export ({tried[-1] if tried else 'no example'}) nor as "
            f"TorchScript ({why}). Export it to ONNX by hand, or push its weights as safetensors with a model.py that builds it.",
            field="model",
        )
    torch.jit.save(scripted.eval(), folder / "model.pt")
    if given.example is None:
        raise InvalidInput(
            "TorchScript does not say the shapes of its inputs; give an example.", field="example"
        )
    names = [each.name for each in scripted.forward.schema.arguments if each.name != "self"]
    native = given.example.native if isinstance(given.example.native, tuple) else (given.example.native,)
    arguments = (
        given.example.native
        if isinstance(given.example.native, dict)
        else dict(zip(names, native, strict=False))
    )
    answers = _answers(scripted, arguments)
    return Saved(
        lambda: answers,
        example=_example(given.example, arguments),
        signature={
            "inputs": [_spec(name, value) for name, value in arguments.items()],
            "outputs": [_spec(name, value) for name, value in answers.items()],
            "batched": True,
        },
    )


def _answers(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    with torch.no_grad():
        found: dict[str, Any] = {}
        _flatten(model(**arguments), "", found)
    return found


def _flatten(value: Any, name: str, found: dict[str, Any]) -> None:
    """By the names that the adapters give: keys, numbers where there are none, ``output`` for one alone."""
    if hasattr(value, "detach"):
        found[name or "output"] = array(value)
    elif isinstance(value, dict):
        for key, each in value.items():
            _flatten(each, f"{name}_{key}" if name else str(key), found)
    elif isinstance(value, list | tuple):
        for key, each in zip(getattr(value, "_fields", range(len(value))), value, strict=True):
            _flatten(each, f"{name or 'output'}_{key}", found)


def _example(example: Example, arguments: Mapping[str, Any]) -> Example:
    return Example(
        dict(arguments),
        example.rows,
        named={name: [array(each) for each in value] for name, value in arguments.items()},
    )


def _spec(name: str, value: Any) -> dict[str, Any]:
    datatypes = {"float32": "FP32", "float64": "FP64", "float16": "FP16", "int64": "INT64", "int32": "INT32",
                 "int16": "INT16", "int8": "INT8", "uint8": "UINT8", "bool": "BOOL"}  # fmt: skip
    held = array(value)
    return {"name": name, "datatype": datatypes[str(held.dtype)], "shape": list(held.shape[1:])}


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300].rstrip(".")

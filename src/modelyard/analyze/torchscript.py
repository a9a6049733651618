"""TorchScript (``torch.jit.save``): a zip with the model's code as text, its structure and weights.

The code cannot import Python, but it is a program: an operator that touches files could be called in it. A text that
names one, or operators that PyTorch alone does not have, needs trust. What it takes is in the text by name; types and
shapes are there for a traced model (the inputs that it was traced with), for a scripted one model.yaml says them.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from modelyard.analyze import detect as content
from modelyard.analyze import model_yaml, tensors, torch_pickles
from modelyard.analyze.archive import Archive
from modelyard.analyze.candidates import choose
from modelyard.analyze.footprint import estimate
from modelyard.analyze.objects import class_of
from modelyard.analyze.plain import plain
from modelyard.analyze.torchscript_code import (
    Argument,
    Forward,
    Storages,
    Traced,
    forward_of,
    reaches_for,
    storages,
    traced,
)
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import ParameterSpec, Signature
from modelyard.core.units import format_bytes

NAME = "torchscript"
REQUIREMENTS = ("torch>=2.6,<3", "numpy>=1.26,<3")
SUFFIXES = (".pt", ".pth", ".ts", ".torchscript")
_AGAIN: Final = "Save it again with torch.jit.save"
_LARGEST: Final = 64 * 1024 * 1024  # bytes of a pickle, or of all code
_TAIL: Final = 1024 * 1024  # bytes of the end in which the directory is looked for
_PARAMETERS: Final[Mapping[str, Literal["int", "float", "bool", "string"]]] = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "string",
}


def detect(files: Files) -> bool:
    """Whether a file of the top folder is a zip that has ``constants.pkl``, as ``torch.jit.save`` writes it and
    ``torch.save`` does not."""
    return bool(found(files))


def found(files: Files) -> list[str]:
    """The paths of such models."""
    return [
        path
        for path in files.paths
        if path.lower().endswith(SUFFIXES) and "/" not in path and _is_script(files, path)
    ]


def _is_script(files: Files, path: str) -> bool:
    if not content.head_of(files, path).startswith(b"PK\x03\x04"):
        return False
    size = files.size(path)
    return b"/constants.pkl" in files.read(path, max(0, size - _TAIL), _TAIL)


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent, with an example of model.yaml where that has to say the shapes."""
    held = found(files)
    path = held[0] if len(held) == 1 else choose(files, SUFFIXES, "model.pt")
    archive = Archive(files, path, "TorchScript", _AGAIN)
    archive.require_one_reading()
    parts = {name.split("/", 1)[1]: name for name in archive.sizes}
    forward, class_name, held_in = _forward(archive, parts, path)
    declared = model_yaml.read(files).signature
    shown = _traced(archive, parts, path, forward)
    signature = None
    if declared is not None and declared.inputs is not None:
        signature = _declared(declared, forward, path)
    elif shown is None:
        raise _ask(path, forward)
    more = _more(archive, parts)
    size = files.size(path)
    return Analysis(
        format="torchscript",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={
            "file": path,
            "arguments": [[each.name, each.kind, each.has_default] for each in forward.arguments],
            "defaults": {each.name: each.default for each in forward.arguments if each.has_default},
            "traced": None
            if shown is None or signature is not None
            else [[each.datatype, list(each.shape)] for each in shown],
            "signature": plain(signature),
        },
        parameters=sum(held_in.precisions.values()) or None,
        size_bytes=size,
        precision=max(held_in.precisions, key=lambda each: held_in.precisions[each])
        if held_in.precisions
        else None,
        precisions=held_in.precisions,
        gpu="can" if held_in.cuda else "no",
        gpu_because=f"{path} was saved from a CUDA device" if held_in.cuda else "",
        memory_bytes=estimate("torch", size),
        executes="code" if more else "no",
        because=f"{path} is a program that uses {more}." if more else "",
        details={
            "class": class_name[:200],
            "made by": "tracing" if "traced_inputs.pkl" in parts else "scripting",
            "forward": _told(forward)[:300],
            "weights": format_bytes(size),
        },
        warnings=tensors.warnings(signature) if signature is not None else (),
    )


def _forward(archive: Archive, parts: Mapping[str, str], path: str) -> tuple[Forward, str, Storages]:
    """What ``forward`` of the model's class takes, the name of that class, and what its tensors are kept in."""
    if "data.pkl" not in parts or "constants.pkl" not in parts:
        raise archive.corrupt("it has no data.pkl or no constants.pkl")
    root = torch_pickles.walk(archive.read(parts["data.pkl"], _LARGEST), path).root
    kind = class_of(root)
    if kind is None or not kind.module.startswith("__torch__"):
        raise archive.corrupt("its data.pkl does not hold a module")
    code = parts.get(f"code/{kind.module.replace('.', '/')}.py")
    if code is None:
        raise archive.corrupt(f"it has no code for its class {kind.path[:200]}")
    forward = forward_of(archive.read(code, _LARGEST).decode("utf-8", "replace"), kind.name)
    if forward is None:
        raise RejectedContent(
            f"{path} has no method forward(self, …) that can be read. Put the model into a module with one that takes "
            "plain tensors and save that.",
            field=path,
        )
    for each in forward.arguments:
        if not each.is_tensor and each.kind not in _PARAMETERS and not each.has_default:
            raise RejectedContent(
                f"{path}: forward takes {each.name[:100]!r} of the type {each.kind[:100]}, and only tensors, and numbers "
                "or texts beside them, can be sent. Put the model into a module whose forward takes those.",
                field=path,
            )
    if not any(each.is_tensor for each in forward.arguments):
        raise RejectedContent(
            f"{path}: forward takes no tensor, so there is nothing to predict.", field=path
        )
    return forward, kind.name, storages(root)


def _traced(
    archive: Archive, parts: Mapping[str, str], path: str, forward: Forward
) -> tuple[Traced, ...] | None:
    """What a traced model was traced with, where that tells all of its inputs."""
    member = parts.get("traced_inputs.pkl")
    if member is None:
        return None
    shown = traced(torch_pickles.walk(archive.read(member, _LARGEST), path).root)
    plainly = all(each.kind == "Tensor" for each in forward.arguments)
    return shown if shown is not None and plainly and len(shown) == len(forward.arguments) else None


def _declared(declared: model_yaml.DeclaredSignature, forward: Forward, path: str) -> Signature:
    """What model.yaml says, held against what the code takes."""
    inputs = declared.inputs or ()
    takes = {each.name: each for each in forward.arguments if each.is_tensor}
    names = {spec.name for spec in inputs}
    lacking = [name for name, each in takes.items() if name not in names and not _spared(each)]
    unknown = sorted(names - set(takes))
    if lacking or unknown:
        raise RejectedContent(
            f"model.yaml is wrong: signature.inputs are {', '.join(sorted(names)) or 'none'}; forward of {path} takes "
            f"{', '.join(takes)}.",
            field="model.yaml:signature.inputs",
        )
    if not declared.outputs:
        raise RejectedContent(
            f"model.yaml is wrong: signature.outputs must name what forward of {path} gives ({forward.gives[:200]}), "
            "in this order, with types and shapes.",
            field="model.yaml:signature.outputs",
        )
    specs = tuple(
        msgspec.structs.replace(spec, optional=spec.optional or _spared(takes[spec.name]))
        for spec in inputs
    )
    return Signature(
        inputs=specs,
        outputs=declared.outputs,
        parameters=_parameters(forward),
        batched=True if declared.batched is None else declared.batched,
        max_batch=declared.max_batch,
    )


def _spared(argument: Argument) -> bool:
    """Whether a call may do without."""
    return argument.kind.startswith("Optional[") or argument.has_default


def _parameters(forward: Forward) -> tuple[ParameterSpec, ...]:
    """Numbers and texts of forward; one without a default has to be sent."""
    return tuple(
        ParameterSpec(
            name=each.name, type=_PARAMETERS[each.kind], default=each.default if each.has_default else None
        )
        for each in forward.arguments
        if each.kind in _PARAMETERS
    )


def _more(archive: Archive, parts: Mapping[str, str]) -> str:
    """What of all its code is more than computing, in a few words."""
    code = [
        (name, member)
        for name, member in parts.items()
        if name.startswith("code/") and name.endswith(".py")
    ]
    if sum(archive.sizes[member] for _, member in code) > _LARGEST:
        return f"more than {format_bytes(_LARGEST)} of code, which is not read"
    return next((told for _, member in code if (told := reaches_for(archive.read(member, _LARGEST)))), "")


def _told(forward: Forward) -> str:
    return f"({', '.join(f'{each.name}: {each.kind}' for each in forward.arguments)}) -> {forward.gives}"


def _ask(path: str, forward: Forward) -> RejectedContent:
    """The question for what a scripted model does not say, with the answer's form."""
    inputs = "".join(
        f"    - {{name: {each.name[:100]}, datatype: FP32, shape: [-1]}}\n"
        for each in forward.arguments
        if each.is_tensor
    )
    names = ["output"]
    if match := re.fullmatch(r"Tuple\[(.*)\]", forward.gives):
        names = [f"output_{index}" for index in range(match[1].count(",") + 1)]
    elif forward.gives.startswith("Dict["):
        names = ["the key of an output"]
    outputs = "".join(f"    - {{name: {name}, datatype: FP32, shape: [-1]}}\n" for name in names[:20])
    return RejectedContent(
        f"{path} is scripted: its code tells forward{_told(forward)[:500]}, but neither types nor shapes. Say them in a "
        "model.yaml beside it (a folder with both is deployed), in this form with the model's own numbers:\n"
        f"signature:\n  inputs:\n{inputs}  outputs:\n{outputs}"
        "Shapes are those of one record, without the axis of the batch; -1 is any length. A model that takes no batch "
        "has batched: false there.",
        field=path,
    )

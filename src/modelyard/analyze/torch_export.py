"""Programs of ``torch.export.save`` (``.pt2``): a zip with the program as JSON and its weights.

What PyTorch writes since 2.8 is read (an archive with ``models/model.json``; weights as raw bytes, or pickled), and
what it wrote before (``serialized_exported_program.json`` beside pickles). Loading one evaluates texts and may unpickle;
:mod:`modelyard.analyze.torch_expressions` and :mod:`modelyard.analyze.torch_pickles` see to it that those are harmless.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from modelyard.analyze import detect as content
from modelyard.analyze import tensors, torch_pickles, torch_program
from modelyard.analyze.archive import Archive
from modelyard.analyze.candidates import choose
from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.tensors import Value
from modelyard.analyze.torch_program import Program
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.units import format_bytes

NAME = "torch_export"
REQUIREMENTS = ("torch>=2.6,<3", "numpy>=1.26,<3")
SUFFIXES = (".pt2",)
_AGAIN: Final = "Save it again with torch.export.save"
_PROGRAM, _OLD_PROGRAM = "models/model.json", "serialized_exported_program.json"
_LARGEST_PROGRAM: Final = 64 * 1024 * 1024
_OLD_PICKLES: Final = (
    "serialized_state_dict.pt",
    "serialized_constants.pt",
    "serialized_example_inputs.pt",
)
_PICKLES: Final = ("data/sample_inputs/model.pt", "data/weights/model.pt", "data/constants/model.pt")
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN: Final = (
    "archive_format",
    "archive_version",
    "byteorder",
    ".data/",
    "extra/",
    "data/weights/weight_",
)
_MOST_EXAMPLE: Final = 4096  # numbers of an example that is made up


def detect(files: Files) -> bool:
    """Whether there is a file named ``*.pt2``."""
    return any(path.lower().endswith(SUFFIXES) for path in files.paths)


def analyze(files: Files) -> Analysis:
    """Describe the program. Raises RejectedContent."""
    path = choose(files, SUFFIXES, "model.pt2")
    head = content.head_of(files, path)
    if not head.startswith(b"PK"):
        what = content.identify(head, files.size(path)) or "no zip"
        content.refuse_unless(what, "a program of torch.export", path)
    archive = Archive(files, path, "a program of torch.export", _AGAIN)
    old = _OLD_PROGRAM in archive.sizes
    parts = _old_parts(archive) if old else _parts(archive)
    told = torch_program.read(
        archive.read(parts[_OLD_PROGRAM if old else _PROGRAM], _LARGEST_PROGRAM), archive.corrupt
    )
    program = told.program
    more = told.more or next(_beside(archive, parts, old, path), "")
    tensors.check(path, program.inputs, program.outputs, "Export it again")
    signature, ranges, least = _signature(program)
    size = files.size(path)
    return Analysis(
        format="torch-export",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={
            "file": path,
            "arguments": list(program.arguments),
            "results": list(program.results),
            "bfloat16": [value.name for value in program.inputs if value.datatype == "BF16"],
            "ranges": ranges,
            "least": least,
            "signature": plain(signature),
        },
        example=_example(signature, ranges),
        parameters=program.parameters or None,
        size_bytes=size,
        precision=max(program.precisions, key=lambda each: program.precisions[each])
        if program.precisions
        else None,
        precisions=program.precisions,
        runtime={"PyTorch (saved by)": program.version} if program.version else {},
        memory_bytes=estimate("torch", size),
        executes="code" if more else "no",
        because=f"{path} is more than arithmetic: loading or calling it would run {more}." if more else "",
        details=_details(program, old, size),
        warnings=(*tensors.warnings(signature), *_not_sent(program)),
    )


def _parts(archive: Archive) -> Mapping[str, str]:
    """Members by their names inside the archive's folder. Raises RejectedContent for one without a program."""
    archive.require_one_reading()
    parts = {name.split("/", 1)[1]: name for name in archive.sizes}
    programs = [name for name in parts if name.startswith("models/")]
    if programs != [_PROGRAM]:
        if any(name.startswith("data/aotinductor/") for name in parts):
            raise archive.corrupt("it holds compiled code (AOTInductor) and no program")
        if "constants.pkl" in parts:
            raise archive.corrupt("it is TorchScript; name it .pt")
        raise archive.corrupt(f"it has {len(programs)} programs where one is expected")
    return parts


def _old_parts(archive: Archive) -> Mapping[str, str]:
    archive.require_one_reading(folder=False)
    return {name: name for name in archive.sizes}


def _beside(archive: Archive, parts: Mapping[str, str], old: bool, path: str) -> Iterator[str]:
    """What else loading would do, in a few words each."""
    pickles = _OLD_PICKLES if old else _PICKLES
    known = (_OLD_PROGRAM, "version") if old else (_PROGRAM, *_CONFIGS)
    for name, member in parts.items():
        if name in pickles:
            if archive.sizes[member] > torch_pickles.LARGEST:
                yield f"a pickle of {format_bytes(archive.sizes[member])}, too long to be looked into ({_AGAIN})"
            elif archive.sizes[member]:
                found = torch_pickles.more_than_tensors(archive.read(member, torch_pickles.LARGEST), path)
                if found:
                    yield f"{found} (in {name})"
        elif name in _CONFIGS:
            yield from _pickled(archive, member)
        elif name not in known and (old or not name.startswith((*_PLAIN, "data/constants/tensor_"))):
            yield f"the part {name[:100]!r}"


def _pickled(archive: Archive, member: str) -> Iterator[str]:
    """Weights or constants that are pickles by themselves."""
    try:
        entries = json.loads(archive.read(member, torch_pickles.LARGEST))["config"].values()
        for entry in entries:
            if entry["use_pickle"] or not str(entry["path_name"]).startswith(("weight_", "tensor_")):
                yield f"the pickle {str(entry['path_name'])[:100]!r}"
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise archive.corrupt(f"its list of weights cannot be read ({str(error)[:100]})") from error


def _signature(program: Program) -> tuple[Signature, dict[str, list[list[int]]], int]:
    """The signature; by input, ``[axis of one record, least, most or -1]`` of those with bounds; and the fewest rows."""
    held = [_sendable(value) for value in program.inputs]
    signature = tensors.signature(held, [_sendable(value) for value in program.outputs], exact=True)
    first = program.inputs[0].shape
    batch = (
        program.ranges.get(str(first[0]))
        if first and signature.batched and signature.max_batch is None
        else None
    )
    if batch is not None and batch.most:
        signature = msgspec.structs.replace(signature, max_batch=batch.most)
    ranges: dict[str, list[list[int]]] = {}
    inputs: list[TensorSpec] = []
    for value, spec in zip(program.inputs, signature.inputs, strict=True):
        axes = (value.shape or ())[1 if signature.batched else 0 :]
        bounds = [
            [index, each.least, -1 if each.most is None else each.most]
            for index, axis in enumerate(axes)
            if isinstance(axis, str)
            and (each := program.ranges.get(axis))
            and (each.least > 1 or each.most is not None)
        ]
        if bounds:
            ranges[value.name] = bounds
        inputs.append(_described(spec, bounds))
    least = batch.least if batch is not None else 1
    return msgspec.structs.replace(signature, inputs=tuple(inputs)), ranges, max(1, least)


def _sendable(value: Value) -> Value:
    """bfloat16 travels as float32, which holds it exactly."""
    return value._replace(datatype="FP32") if value.datatype == "BF16" else value


def _described(spec: TensorSpec, bounds: list[list[int]]) -> TensorSpec:
    told = ", ".join(
        f"axis {axis}: {f'{least} to {most}' if most >= 0 else f'{least} or more'}"
        for axis, least, most in bounds
    )
    return msgspec.structs.replace(spec, description=told)


def _example(signature: Signature, ranges: Mapping[str, list[list[int]]]) -> dict[str, object] | None:
    """Zeros of the least lengths, where those that are made up without would be too short."""
    if not any(least > 1 for bounds in ranges.values() for _, least, _ in bounds):
        return None
    example: dict[str, object] = {}
    for spec in signature.inputs:
        least = {axis: low for axis, low, _ in ranges.get(spec.name, ())}
        shape = [
            max(1, least.get(index, 1)) if length < 0 else length for index, length in enumerate(spec.shape)
        ]
        count = 1
        for length in shape:
            count *= length
        if count > _MOST_EXAMPLE:
            return None
        zero: object = False if spec.datatype == "BOOL" else 0.0 if spec.datatype.startswith("FP") else 0
        for length in reversed(shape):
            zero = [zero] * length
        example[spec.name] = zero
    return example


def _not_sent(program: Program) -> tuple[str, ...]:
    lost = program.results.count(None)
    return (
        (f"{lost} of the values that the program gives are no tensors, and are not sent.",) if lost else ()
    )


def _details(program: Program, old: bool, size: int) -> dict[str, str]:
    details = {
        "PyTorch": program.version,
        "form": "before PyTorch 2.8" if old else "archive",
        "operators": str(program.operators),
        "weights": format_bytes(size),
    }
    return {label: value for label, value in details.items() if value}

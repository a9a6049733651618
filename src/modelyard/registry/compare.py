"""Two versions beside each other: what their signatures, facts, files and tensors have that the other has not."""

from collections.abc import Mapping
from typing import Any

from modelyard.analyze.tensor_list import Placed, list_tensors
from modelyard.core.comparison import Change, Comparison, TensorChanges
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis, Version
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.units import format_bytes

_PIECE = 1024 * 1024
_MOST = 10_000  # changes of tensors that are told


def compare(
    before: Version, before_files: Files, after: Version, after_files: Files, *, contents: bool = False
) -> Comparison:
    """From ``before`` to ``after``. With ``contents`` the bytes of tensors of the same type and shape are read and
    compared where their files differ; else headers alone are read."""
    same_files = before.digest == after.digest
    tensors, note = (
        (None, "") if same_files else _tensors(before, before_files, after, after_files, contents)
    )
    return Comparison(
        before=f"{before.model}/{before.number}",
        after=f"{after.model}/{after.number}",
        identical=same_files,
        size_before=before.manifest.size,
        size_after=after.manifest.size,
        signature=_changes(_signature(before.analysis.signature), _signature(after.analysis.signature)),
        facts=_changes(_facts(before.analysis), _facts(after.analysis)),
        files=_files(before, after),
        tensors=tensors,
        note=note,
    )


def _changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    found: list[Change] = []
    for name in dict.fromkeys([*before, *after]):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        kind = "added" if was is None else "removed" if now is None else "changed"
        found.append(Change(what=name, kind=kind, before=was, after=now))
    return tuple(found)


def _signature(signature: Signature | None) -> dict[str, str]:
    if signature is None:
        return {}
    told = {f"input {spec.name}": _spec(spec) for spec in signature.inputs}
    told |= {f"output {spec.name}": _spec(spec) for spec in signature.outputs}
    told |= {
        f"parameter {each.name}": f"{each.type}, default {each.default}" for each in signature.parameters
    }
    told["batched"] = "yes" if signature.batched else "no"
    if signature.max_batch is not None:
        told["records at once, at most"] = str(signature.max_batch)
    return told


def _spec(spec: TensorSpec) -> str:
    shape = ", ".join("any" if length < 0 else str(length) for length in spec.shape)
    return f"{spec.datatype} [{shape}] {spec.kind}" + (", optional" if spec.optional else "")


def _facts(analysis: Analysis) -> dict[str, str]:
    memory = analysis.memory_bytes
    told: dict[str, Any] = {
        "format": analysis.format,
        "adapter": analysis.adapter,
        "parameters": None if analysis.parameters is None else f"{analysis.parameters:,}",
        "weights and code": format_bytes(analysis.size_bytes),
        "memory, estimated": memory and f"{format_bytes(memory.low)} to {format_bytes(memory.high)}",
        "executes": analysis.executes,
        "network": "yes" if analysis.network else "no",
        "Python": analysis.python,
        "requirements": ", ".join(sorted(analysis.requirements)),
        "system packages": ", ".join(sorted(analysis.system_packages)),
        **analysis.details,
    }
    return {name: str(value) for name, value in told.items() if value}


def _files(before: Version, after: Version) -> tuple[Change, ...]:
    was = {file.path: file for file in before.manifest.files}
    now = {file.path: file for file in after.manifest.files}
    found: list[Change] = []
    for path in sorted({*was, *now}):
        old, new = was.get(path), now.get(path)
        if old is None or new is None:
            one = new or old
            size = None if one is None else format_bytes(one.size)
            found.append(
                Change(what=path, kind="added", after=size)
                if old is None
                else Change(what=path, kind="removed", before=size)
            )
        elif old.sha256 != new.sha256:
            found.append(
                Change(
                    what=path, kind="changed", before=format_bytes(old.size), after=format_bytes(new.size)
                )
            )
    return tuple(found)


def _tensors(
    before: Version, before_files: Files, after: Version, after_files: Files, contents: bool
) -> tuple[TensorChanges | None, str]:
    try:
        was, now = list_tensors(before_files), list_tensors(after_files)
    except RejectedContent as error:
        return None, f"Tensors were not compared: {error.message}"
    if was is None or now is None:
        which = " and ".join(
            f"{each.model}/{each.number} ({each.analysis.format})"
            for each, told in ((before, was), (after, now))
            if told is None
        )
        return None, f"The files of {which} do not tell their tensors; safetensors, ONNX and GGUF do."
    digests = [{file.path: file.sha256 for file in version.manifest.files} for version in (before, after)]
    changes: list[Change] = []
    same = unread = 0
    for name in dict.fromkeys([*was, *now]):
        old, new = was.get(name), now.get(name)
        if old is None or new is None:
            kind = "added" if old is None else "removed"
            changes.append(Change(what=name, kind=kind, before=_told(old), after=_told(new)))
        elif (old.datatype, old.shape) != (new.datatype, new.shape):
            changes.append(Change(what=name, kind="changed", before=_told(old), after=_told(new)))
        elif digests[0].get(old.path) == digests[1].get(new.path) and old.start == new.start:
            same += 1
        elif not contents or old.size is None or new.size is None:
            unread += 1
        elif _equal(before_files, old, after_files, new):
            same += 1
        else:
            changes.append(Change(what=name, kind="changed", before=_told(old), after="other numbers"))
    more = len(changes) - _MOST
    note = f"{more} more changes of tensors are not told." if more > 0 else ""
    return TensorChanges(
        compared="contents" if contents else "headers",
        same=same,
        unread=unread,
        changes=tuple(changes[:_MOST]),
    ), note


def _told(placed: Placed | None) -> str | None:
    return None if placed is None else f"{placed.datatype} [{', '.join(map(str, placed.shape))}]"


def _equal(before: Files, old: Placed, after: Files, new: Placed) -> bool:
    """Whether two tensors have the same bytes; a megabyte of each at a time."""
    if old.size != new.size or old.size is None:
        return False
    for start in range(0, old.size, _PIECE):
        length = min(_PIECE, old.size - start)
        if before.read(old.path, old.start + start, length) != after.read(
            new.path, new.start + start, length
        ):
            return False
    return True

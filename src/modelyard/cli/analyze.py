"""``modelyard analyze``: what a model is, without a platform and without running anything of it."""

from pathlib import Path

from modelyard.cli.output import print_facts, print_json, print_table
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.units import format_bytes

_EXECUTES = {
    "no": "nothing: loading runs no code of the model",
    "pickle": "pickle: loading runs code; it will be asked for --trust-pickle",
    "code": "the model's own Python code, inside its executor",
}


def run(path: Path, *, as_json: bool) -> None:
    """Raises RejectedContent for files that are no model we know."""
    from modelyard.analyze import analyze
    from modelyard.store.files import FolderFiles

    analysis = analyze(FolderFiles(path))
    if as_json:
        print_json(analysis)
    else:
        print_analysis(analysis)


def print_analysis(analysis: Analysis) -> None:
    """For people."""
    facts = [
        ("format", analysis.format),
        ("adapter", analysis.adapter),
        ("size", format_bytes(analysis.size_bytes)),
    ]
    if analysis.parameters is not None:
        facts.append(("parameters", f"{analysis.parameters:,}"))
    if analysis.memory_bytes is not None:
        low, high = analysis.memory_bytes.low, analysis.memory_bytes.high
        facts.append(("memory, estimated", f"{format_bytes(low)} to {format_bytes(high)}"))
    facts += analysis.details.items()
    facts.append(("executes", analysis.because or _EXECUTES[analysis.executes]))
    facts.append(("dependencies", "\n".join(analysis.requirements) or "none"))
    if analysis.python is not None:
        facts.append(("Python", analysis.python))
    if analysis.system_packages:
        facts.append(("system packages", "\n".join(analysis.system_packages)))
    print_facts(facts)
    print()
    if analysis.signature is None:
        print("signature   not in the files; it will be known when the model is loaded")
    else:
        print_signature(analysis.signature)
    for warning in analysis.warnings:
        print(f"warning: {warning}")


def print_signature(signature: Signature) -> None:
    """A line per input, output and parameter; shapes of one record."""
    rows = [["input", *_tensor(spec)] for spec in signature.inputs]
    rows += [["output", *_tensor(spec)] for spec in signature.outputs]
    rows += [
        [
            "parameter",
            spec.name,
            spec.type,
            "",
            f"default {spec.default}" if spec.default is not None else "",
        ]
        for spec in signature.parameters
    ]
    print_table(["", "NAME", "TYPE", "SHAPE", "KIND"], rows)
    if not signature.batched:
        print("One record a call: the model has no batch axis.")
    elif signature.max_batch is not None:
        print(f"At most {signature.max_batch} record(s) are computed together.")


def shape_text(shape: tuple[int, ...]) -> str:
    """``[3, 224, any]``."""
    return (
        "[" + ", ".join("any" if length < 0 else str(length) for length in shape) + "]"
        if shape
        else "scalar"
    )


def _tensor(spec: TensorSpec) -> list[str]:
    return [
        spec.name,
        spec.datatype,
        shape_text(spec.shape),
        spec.kind + (", optional" if spec.optional else ""),
    ]

"""``modelyard analyze``: what a model is, without a platform and without running anything of it."""

from pathlib import Path

from modelyard.cli.output import print_facts, print_json, print_table
from modelyard.core.model import Analysis
from modelyard.core.requirements import without_ranges
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.units import format_bytes, format_count

_EXECUTES = {
    "no": "nothing: loading runs no code of the model",
    "pickle": "pickle: loading runs code, so it needs --trust-pickle",
    "code": "the model's own Python code, inside its executor",
}

_GPU = {"no": "not used", "can": "can use one", "should": "should have one", "needs": "needs one"}


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
    if analysis.precision:
        facts.append(("precision", _precision(analysis)))
    if analysis.context_length is not None:
        facts.append(("context length", f"{analysis.context_length:,}"))
    facts += [
        ("runtime" if not index else "", f"{name} {need}")
        for index, (name, need) in enumerate(analysis.runtime.items())
    ]
    if analysis.flops is not None:
        each = analysis.flops
        facts.append(("operations", f"{format_count(each.value)} for each {each.unit} ({each.how})"))
    if analysis.memory_measured is not None:
        facts.append(("memory, measured", format_bytes(analysis.memory_measured)))
    elif analysis.memory_bytes is not None:
        low, high = analysis.memory_bytes.low, analysis.memory_bytes.high
        facts.append(("memory, estimated", f"{format_bytes(low)} to {format_bytes(high)}"))
    facts.append(
        ("GPU", _GPU[analysis.gpu] + (f": {analysis.gpu_because}" if analysis.gpu_because else ""))
    )
    facts.append(("licence", _licence(analysis)))
    shown = {label for label, _ in facts}
    facts += [(label, text) for label, text in analysis.details.items() if label not in shown]
    facts.append(("executes", analysis.because or _EXECUTES[analysis.executes]))
    facts.append(("dependencies", "\n".join(without_ranges(analysis.requirements)) or "none"))
    if analysis.imports:
        facts.append(("imports", ", ".join(analysis.imports)))
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


def _precision(analysis: Analysis) -> str:
    total = sum(analysis.precisions.values())
    if len(analysis.precisions) < 2 or not total:
        return analysis.precision or ""
    most = sorted(analysis.precisions.items(), key=lambda item: -item[1])[:4]
    return f"{analysis.precision} ({', '.join(f'{kind} {count / total:.1%}' for kind, count in most)})"


def _licence(analysis: Analysis) -> str:
    found = analysis.licence
    if found is None:
        return "none is stated in the files"
    alike = "" if found.likeness is None else f", {found.likeness:.0%} like SPDX's text"
    return f"{found.spdx} (by {found.place}{alike})"


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

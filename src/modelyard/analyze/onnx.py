"""ONNX models: a graph in one file, its weights inside or in files beside it."""

import posixpath
from collections.abc import Sequence

from modelyard.analyze import detect as content
from modelyard.analyze import tensors
from modelyard.analyze.candidates import choose
from modelyard.analyze.flops import flops_of
from modelyard.analyze.footprint import estimate
from modelyard.analyze.onnx_graph import ELEMENT_TYPES, Graph, Value, read_graph
from modelyard.analyze.plain import plain
from modelyard.analyze.protobuf import Reader
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature
from modelyard.core.units import format_bytes

NAME = "onnx"
REQUIREMENTS = ("onnxruntime>=1.20,<2", "numpy>=1.26,<3")
SUFFIXES = (".onnx",)
MAX_WEIGHTS = 1 << 50  # bytes
QUANTIZED = (
    0.05  # of the largest number of an output: what rounding to eight bits by the rows beside it may do
)
# Which release brought an operator set of ai.onnx: https://onnxruntime.ai/docs/reference/compatibility.html
_RELEASES = (
    (11, "1.1"), (12, "1.3"), (13, "1.6"), (14, "1.8"), (15, "1.10"), (16, "1.11"), (17, "1.12"), (18, "1.14"),
    (19, "1.15"), (20, "1.17"), (21, "1.18"),
)  # fmt: skip
# Operators of these domains are in ONNX Runtime's own packages.
DOMAINS = frozenset(
    {
        "",
        "ai.onnx.ml",
        "ai.onnx.training",
        "ai.onnx.preview.training",
        "com.microsoft",
        "com.microsoft.nchwc",
    }
    | {"com.microsoft.experimental", "com.ms.internal.nhwc", "org.pytorch.aten", "pkg.onnxscript.torch_lib"}
)


def detect(files: Files) -> bool:
    """Whether there is a file named ``*.onnx``."""
    return any(path.lower().endswith(SUFFIXES) for path in files.paths)


def analyze(files: Files) -> Analysis:
    """Describe the ONNX model in ``files``. Raises RejectedContent."""
    path = choose(files, SUFFIXES, "model.onnx")
    graph = load_graph(files, path)
    check_external(files, path, graph)
    signature = signature_of(graph, path)
    size = files.size(path) + sum(files.size(location) for location in external_files(path, graph))
    return Analysis(
        format="onnx",
        adapter="onnx",
        signature=signature,
        requirements=REQUIREMENTS,
        options={"file": path, "signature": plain(signature), **tolerance_of(graph)},
        parameters=graph.parameters,
        size_bytes=size,
        precision=precision(graph),
        precisions=dict(graph.numbers),
        runtime=runtime_of(graph),
        flops=flops_of(graph),
        memory_bytes=estimate("onnx", weight_bytes(graph)),
        details=_details(graph),
        warnings=tensors.warnings(signature),
    )


def load_graph(files: Files, path: str) -> Graph:
    """Read and check the graph itself. Raises RejectedContent that says what is wrong with it."""
    content.refuse_unless(
        content.identify(content.head_of(files, path), files.size(path)), "an ONNX model", path
    )
    reader = Reader(files, path, "an ONNX model")
    graph = read_graph(reader)
    if not graph.has_graph:
        raise reader.malformed("it has no graph")
    if not 1 <= graph.ir_version <= 1000:
        raise reader.malformed(f"its IR version is {graph.ir_version}")
    if not graph.opsets:
        raise reader.malformed("it imports no operator set; it may be truncated")
    if not graph.operators and not graph.outputs:
        raise reader.malformed("its graph is empty")
    if weight_bytes(graph) > MAX_WEIGHTS:
        raise reader.malformed("the shapes of its tensors add up to an impossible size")
    for domain, operator in graph.operators:
        if domain not in DOMAINS and (domain, operator) not in graph.functions:
            raise RejectedContent(
                f"{path} uses the custom operator {operator!r} of {domain[:100]!r}, which ONNX Runtime does "
                "not have. Export it with standard operators, or with the operator as a function inside.",
                field=path,
            )
    return graph


def tolerance_of(graph: Graph) -> dict[str, object]:
    """The option that says how far answers alone and together may be apart, where the graph itself has them
    differ: it rounds to eight bits by the largest value of all rows that are computed together."""
    return {"tolerance": QUANTIZED} if graph.operators[("", "DynamicQuantizeLinear")] else {}


def external_files(path: str, graph: Graph) -> list[str]:
    """The upload's paths that hold tensors of this graph."""
    folder = posixpath.dirname(path)
    return sorted({posixpath.normpath(posixpath.join(folder, item.location)) for item in graph.external})


def check_external(files: Files, path: str, graph: Graph) -> None:
    """Every file with tensors must be in the upload and long enough. Raises RejectedContent."""
    present = set(files.paths)
    folder = posixpath.dirname(path)
    for item in graph.external:
        where = posixpath.normpath(posixpath.join(folder, item.location))
        if (
            not item.location
            or item.location.startswith("/")
            or "\\" in item.location
            or where.startswith("..")
        ):
            raise RejectedContent(
                f"{path} keeps the tensor {item.tensor[:100]!r} in {item.location[:200]!r}, which is not a place "
                "inside the model's folder. Save the model with its data beside it.",
                field=path,
            )
        if where not in present:
            raise RejectedContent(
                f"{path} keeps its weights in the file {where!r}, which is missing. Deploy the folder that "
                "has both files, or save the model as one file.",
                field=where,
            )
        if item.offset + item.length > files.size(where):
            raise RejectedContent(
                f"{where} is truncated: {path} expects at least {item.offset + item.length} bytes in it (for "
                f"{item.tensor[:100]!r}), and it has {files.size(where)}. Copy it again.",
                field=where,
            )


def signature_of(graph: Graph, path: str) -> Signature:
    """Inputs and outputs, with the batch axis taken off where there is one (:mod:`modelyard.analyze.tensors`)."""
    inputs = [value for value in graph.inputs if value.name not in graph.initializers]
    if not inputs or not graph.outputs:
        lacking = "inputs" if not inputs else "outputs"
        raise RejectedContent(f"{path} has no {lacking}, so there is nothing to predict.", field=path)
    for place, values in (("inputs", inputs), ("outputs", graph.outputs)):
        _check_values(values, place)
    return tensors.signature(
        [_value(value) for value in inputs], [_value(value) for value in graph.outputs]
    )


def weight_bytes(graph: Graph) -> int:
    """Bytes of all tensors, inside and outside of the file."""
    return sum(graph.weights.values())


def runtime_of(graph: Graph) -> dict[str, str]:
    """The operator sets that it is written in, and the first ONNX Runtime that has them."""
    needs = {
        f"opset {domain or 'ai.onnx'}": str(version) for domain, version in sorted(graph.opsets.items())
    }
    first = next((release for opset, release in _RELEASES if graph.opsets.get("", 0) <= opset), None)
    if first is not None and "" in graph.opsets:
        needs["ONNX Runtime"] = f">={first}"
    return needs


def precision(graph: Graph) -> str:
    """``float32``, or the share of each element type in the weights' bytes."""
    total = weight_bytes(graph)
    shares = [(name, size / total) for name, size in graph.weights.most_common() if size] if total else []
    if not shares:
        return "no weights"
    if shares[0][1] >= 0.99:
        return shares[0][0]
    return ", ".join(f"{name} {share:.0%}" for name, share in shares if share >= 0.005)


def _check_values(values: Sequence[Value], place: str) -> None:
    """Names, types and ranks that Modelyard can speak of. Raises RejectedContent naming the value."""
    one = place[:-1]
    seen: set[str] = set()
    for index, value in enumerate(values):
        if not value.name or value.name in seen:
            why = f"two {place} are named {value.name!r}" if value.name else f"{one} {index} has no name"
            raise RejectedContent(f"This ONNX graph is not valid: {why}. Export it again.", field=place)
        seen.add(value.name)
        where = f"{place}.{value.name}"
        if value.kind != "tensor":
            hint = " Export it with plain tensors."
            if value.kind in ("sequence", "map") and one == "output":
                hint = (
                    " This comes from a scikit-learn converter's ZipMap; convert the model again with "
                    "zipmap=False (skl2onnx: options={'zipmap': False})."
                )
            raise RejectedContent(
                f"The {one} {value.name!r} is a {value.kind}, and only tensors can be sent and received."
                + hint,
                field=where,
            )
        kind = ELEMENT_TYPES.get(value.element)
        if kind is None or kind.datatype is None:
            name = kind.name if kind else f"element type {value.element}"
            raise RejectedContent(
                f"The {one} {value.name!r} is of {name}, for which the V2 protocol has no word. Put a Cast "
                "to float32 there and export again.",
                field=where,
            )
        if value.shape is None and one == "input":
            raise RejectedContent(
                f"The input {value.name!r} has no shape. Export the model again with the shape told (axes may "
                "be dynamic).",
                field=where,
            )


def _value(value: Value) -> tensors.Value:
    return tensors.Value(value.name, ELEMENT_TYPES[value.element].datatype or "", value.shape)


def _details(graph: Graph) -> dict[str, str]:
    operators = graph.operators.most_common(12)
    more = len(graph.operators) - len(operators)
    told = ", ".join(f"{domain}.{name} {count}".lstrip(".") for (domain, name), count in operators)
    details = {
        "IR version": str(graph.ir_version),
        "opset": ", ".join(
            f"{domain or 'ai.onnx'} {version}" for domain, version in sorted(graph.opsets.items())
        ),
        "producer": graph.producer[:200],
        "nodes": str(graph.operators.total()),
        "operators": told + (f" and {more} more" if more > 0 else ""),
        "precision": precision(graph),
        "weights": format_bytes(weight_bytes(graph)),
    }
    if graph.external:
        details["external data"] = ", ".join(sorted({item.location for item in graph.external})[:20])
    return {label: value for label, value in details.items() if value}

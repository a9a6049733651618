"""TensorFlow SavedModel folders: ``saved_model.pb`` with graphs and signatures, ``variables/`` with their numbers.

A graph can read and write files, so it is a program. The executor runs of it what the signature needs, what loading runs
(tables are filled), and the restoring of variables; an operator in there that reaches for files needs trust.
"""

import re
from typing import Final

from modelyard.analyze import model_yaml, saved_model, tensors
from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.protobuf import Reader
from modelyard.analyze.saved_model import Entry, MetaGraph, Tensor
from modelyard.analyze.tensors import Value
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.units import format_bytes

NAME = "tensorflow"
REQUIREMENTS = (
    "tensorflow-cpu>=2.17,<3; platform_machine == 'x86_64'",
    "tensorflow>=2.17,<3; platform_machine != 'x86_64'",
    "numpy>=1.26,<3",
)
FILE: Final = "saved_model.pb"
_DEFAULT: Final = "serving_default"
_DATATYPES: Final = {
    1: "FP32", 2: "FP64", 3: "INT32", 4: "UINT8", 5: "INT16", 6: "INT8", 7: "BYTES", 9: "INT64", 10: "BOOL", 17: "UINT16",
    19: "FP16", 22: "UINT32", 23: "UINT64",
}  # fmt: skip
# By parts of names, so that an operator which is not known yet is rather asked about than passed.
_HARMFUL: Final = re.compile(
    r"File|Reader|Dataset|Save|Restore|PyFunc|Print|Summary|Event|Debug|ImmutableConst|Checkpoint|Snapshot|Rpc|Remote"
    r"|Dump|Write|Cache|Iterator|Load|Lmdb|Sql|^Call$|Abort"
)
_HARMLESS: Final = re.compile(r"TensorArrayWrite\w*|TensorListSetItem|CacheMissingOk")
_RESTORING: Final = frozenset({"RestoreV2", "Restore", "RestoreSlice", "ShardedFilename"})
_VARIABLES: Final = frozenset({"VarHandleOp", "VariableV2", "Variable"})
_SHARD: Final = re.compile(r"variables\.data-(\d{5})-of-(\d{5})")


def detect(files: Files) -> bool:
    """Whether there is a ``saved_model.pb``, or a ``.keras`` file in the top folder (of which we say how to make one)."""
    return any(path.rsplit("/", 1)[-1] == FILE for path in files.paths) or bool(_keras(files))


def analyze(files: Files) -> Analysis:
    """Describe the model. Raises RejectedContent."""
    found = [path for path in files.paths if path.rsplit("/", 1)[-1] == FILE]
    if not found:
        raise _not_exported(_keras(files)[0])
    path = FILE if FILE in found else found[0]
    if len(found) > 1 and path != FILE:
        raise RejectedContent(
            f"There are {len(found)} SavedModel folders: {', '.join(found[:8])}. Deploy one of them alone.",
            field=found[0],
        )
    reader = Reader(files, path, "a TensorFlow SavedModel")
    graph = _serving(saved_model.read(reader), path)
    key, entry = _entry(graph, path, model_yaml.read(files).options.signature)
    inputs = [_value(name, tensor) for name, tensor in sorted(entry.inputs.items())]
    outputs = [_value(name, tensor) for name, tensor in sorted(entry.outputs.items())]
    tensors.check(path, inputs, outputs, "Save it again")
    folder = path[: -len(FILE)]
    _check_variables(files, folder, graph)
    signature = tensors.signature(inputs, outputs)
    more = _more(graph, entry)
    weights = sum(files.size(each) for each in files.paths if each.startswith(folder + "variables/"))
    operators = graph.reached(tensor.name for tensor in entry.outputs.values())
    return Analysis(
        format="tensorflow-savedmodel",
        adapter=NAME,
        signature=signature,
        requirements=REQUIREMENTS,
        options={
            "file": path,
            "tags": graph.tags,
            "inputs": {name: tensor.name for name, tensor in entry.inputs.items()},
            "outputs": {name: tensor.name for name, tensor in entry.outputs.items()},
            "signature": plain(signature),
        },
        size_bytes=weights + files.size(path),
        runtime={"TensorFlow (saved by)": graph.version} if graph.version else {},
        memory_bytes=estimate("tensorflow", weights + files.size(path)),
        executes="code" if more else "no",
        because=f"{path} is a program that uses the operator {more}, which reaches for files."
        if more
        else "",
        details={
            "TensorFlow": graph.version or "not told",
            "signature": key[:100],
            "other signatures": ", ".join(sorted(set(graph.signatures) - {key}))[:200] or "none",
            "operators": ", ".join(f"{name} {count}" for name, count in operators.most_common(8))[:300],
            "weights": format_bytes(weights),
        },
        warnings=tensors.warnings(signature),
    )


def _keras(files: Files) -> list[str]:
    return [path for path in files.paths if path.lower().endswith(".keras") and "/" not in path]


def _not_exported(path: str) -> RejectedContent:
    return RejectedContent(
        f"{path} is a Keras model, which only Keras with the code of its layers can load. Export it where it was made, "
        f"keras.saving.load_model({path!r}).export('exported'), and deploy the folder 'exported'.",
        field=path,
    )


def _serving(graphs: list[MetaGraph], path: str) -> MetaGraph:
    """The graph for serving: the one with the tag ``serve``, or the only one."""
    serving = [graph for graph in graphs if "serve" in graph.tags]
    chosen = min(serving or graphs, key=lambda graph: len(graph.tags))
    if not serving and len(graphs) > 1:
        raise RejectedContent(
            f"{path} has {len(graphs)} graphs, and none with the tag 'serve'. Save the one to be served alone.",
            field=path,
        )
    return chosen


def _entry(graph: MetaGraph, path: str, wanted: str | None) -> tuple[str, Entry]:
    """The signature to serve: the one that model.yaml names, ``serving_default``, or the only one."""
    names = sorted(graph.signatures)
    if wanted is not None and wanted not in graph.signatures:
        raise RejectedContent(
            f"model.yaml asks for the signature {wanted[:100]!r}; {path} has {', '.join(names)[:500] or 'none'}.",
            field="model.yaml:options.signature",
        )
    key = wanted or (_DEFAULT if _DEFAULT in graph.signatures else names[0] if len(names) == 1 else None)
    if key is None:
        told = (
            f"has the signatures {', '.join(names)[:500]}. Say which in model.yaml (options: {{signature: …}})"
            if names
            else "has no signature. Save it with one: model.export(folder), or tf.saved_model.save(model, folder, signatures=…)"
        )
        raise RejectedContent(f"{path} {told}.", field=path)
    return key, graph.signatures[key]


def _value(name: str, tensor: Tensor) -> Value:
    datatype = _DATATYPES.get(tensor.datatype)
    if datatype is None or not tensor.plain:
        raise RejectedContent(
            f"{name[:100]!r} of the signature is "
            + (f"of the type number {tensor.datatype}" if tensor.plain else "a sparse or composite tensor")
            + ", which cannot be sent. Save the model with a signature of plain tensors of numbers or strings.",
            field=FILE,
        )
    return Value(name, datatype, tensor.shape)


def _check_variables(files: Files, folder: str, graph: MetaGraph) -> None:
    """What the graph restores has to be there, every part of it."""
    if not graph.restore or not any(node.operator in _VARIABLES for node in graph.nodes.values()):
        return
    present = {
        path.removeprefix(folder + "variables/")
        for path in files.paths
        if path.startswith(folder + "variables/")
    }
    shards = [match for name in present if (match := _SHARD.fullmatch(name))]
    complete = shards and {int(match[1]) for match in shards} == set(range(int(shards[0][2])))
    if "variables.index" not in present or not complete:
        raise RejectedContent(
            f"{folder}{FILE} keeps its weights in {folder}variables/, where parts are missing. Deploy the whole folder.",
            field=f"{folder}variables",
        )


def _more(graph: MetaGraph, entry: Entry) -> str:
    """An operator that reaches for files, where loading or calling runs it."""
    called = graph.reached([*(tensor.name for tensor in entry.outputs.values()), *graph.init])
    restored = set(graph.reached([graph.restore])) - _RESTORING if graph.restore else set[str]()
    for name in sorted({*called, *restored}):
        if _HARMFUL.search(name) and not _HARMLESS.fullmatch(name):
            return repr(name[:100])
    return ""

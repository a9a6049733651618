"""model.yaml beside a model's files: what cannot be detected, said by its author. All of it optional."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, cast

import msgspec
import yaml
from packaging.requirements import InvalidRequirement, Requirement

from modelyard.analyze import adapters
from modelyard.analyze.command_line import Command
from modelyard.analyze.plain import plain
from modelyard.core.datatypes import DATATYPES
from modelyard.core.errors import InvalidInput, RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.python import python_versions
from modelyard.core.signature import ParameterSpec, Signature, TensorSpec
from modelyard.core.struct import Noun

PATH = "model.yaml"
MAX_SIZE = 1024 * 1024
MAX_DEPTH = 32
# Debian's policy on names of packages (5.6.7), and names of shared libraries.
_SYSTEM_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,98}|lib[\w+-]{1,90}\.so(\.[0-9]+)*")


class DeclaredSignature(Noun, frozen=True):
    """A signature, or the parts of one that refine what was found."""

    inputs: tuple[TensorSpec, ...] | None = None
    outputs: tuple[TensorSpec, ...] | None = None
    parameters: tuple[ParameterSpec, ...] | None = None
    batched: bool | None = None
    max_batch: Annotated[int, msgspec.Meta(ge=1)] | None = None


ADAPTERS: Final = adapters.names()


class Options(Noun, frozen=True):
    """What an adapter has to be told. ``signature``: which of a SavedModel's is served."""

    signature: str | None = None


class ModelYaml(Noun, frozen=True):
    """The whole file. ``requirements`` are PEP 508 lines; ``python`` the versions of Python that it runs on;
    ``system_packages`` are Debian packages (or libraries: libGL.so.1) that the machine must have; ``example`` is
    one record to try; ``command`` makes a program of it. ``tolerance``: how far answers may be apart that are
    computed alone and together, relative to the largest number of an output. ``options`` are the adapter's.
    ``network``: it needs the network, which models do not have otherwise."""

    adapter: str | None = None
    signature: DeclaredSignature | None = None
    requirements: tuple[str, ...] = ()
    python: str | None = None
    system_packages: tuple[str, ...] = ()
    example: dict[str, Any] | None = None
    command: Command | None = None
    tolerance: Annotated[float, msgspec.Meta(ge=0, le=1)] | None = None
    options: Options = Options()
    network: bool = False


def schema() -> dict[str, Any]:
    """The JSON Schema of model.yaml; ``docs/model.yaml.schema.json`` is a copy."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | msgspec.json.schema(ModelYaml)
    cleaned = _cleaned(msgspec.json.decode(msgspec.json.encode(described)))  # lists where Python has tuples
    cleaned["$defs"]["ModelYaml"]["properties"]["adapter"]["anyOf"][0]["enum"] = sorted(ADAPTERS)
    return cleaned


def _cleaned(described: Any) -> Any:
    """Without the indentation of docstrings, which msgspec takes away from 0.23 on."""
    if isinstance(described, dict):
        return {name: _cleaned(value) for name, value in cast("dict[str, Any]", described).items()}
    if isinstance(described, list):
        return [_cleaned(value) for value in cast("list[Any]", described)]
    return inspect.cleandoc(described) if isinstance(described, str) else described


def read(files: Files) -> ModelYaml:
    """Read and check model.yaml; an empty one when there is none. Raises RejectedContent."""
    if PATH not in files.paths:
        return ModelYaml()
    if files.size(PATH) > MAX_SIZE:
        raise _wrong(f"it has {files.size(PATH)} bytes, and at most {MAX_SIZE} are read")
    try:
        text = files.read(PATH).decode()
    except UnicodeDecodeError as error:
        raise _wrong("it is not UTF-8") from error
    value = load_yaml(text, PATH)
    try:
        declared = msgspec.convert({} if value is None else value, ModelYaml)
    except msgspec.ValidationError as error:
        raise _wrong(_hinted(error, value)) from error
    _check(declared)
    return declared


def _hinted(error: msgspec.ValidationError, value: object) -> str:
    """The error, and what YAML made of a version without quotes: 3.10 is the number 3.1."""
    version = cast("dict[str, object]", value).get("python") if isinstance(value, dict) else None
    hint = (
        ", because YAML takes it for a number: put it in quotes" if isinstance(version, int | float) else ""
    )
    return f"{error}{hint}"


def apply(declared: ModelYaml, analysis: Analysis) -> Analysis:
    """The analysis, refined by what the author declared. Raises RejectedContent where they disagree."""
    if declared.options.signature is not None and analysis.adapter != "tensorflow":
        raise _wrong(
            f"the adapter {analysis.adapter} has no option 'signature'; tensorflow has",
            field="options.signature",
        )
    signature = _merge(declared.signature, analysis)
    if declared.example is not None and signature is not None:
        _check_example(declared.example, signature)
    options = dict(analysis.options)
    if "signature" in options:
        options["signature"] = plain(signature)
    if declared.tolerance is not None:
        options["tolerance"] = declared.tolerance
    return msgspec.structs.replace(
        analysis,
        signature=signature,
        options=options,
        requirements=tuple(dict.fromkeys((*analysis.requirements, *declared.requirements))),
        declared=(*analysis.declared, *declared.requirements),
        python=declared.python,
        system_packages=declared.system_packages,
        # A package may run code as soon as an interpreter starts beside it.
        executes="code" if _brings(declared, analysis) and analysis.executes == "no" else analysis.executes,
        example=declared.example if declared.example is not None else analysis.example,
        network=declared.network,
    )


def _brings(declared: ModelYaml, analysis: Analysis) -> bool:
    """Whether it asks for a package that is not installed for the format anyway. Another version of one that is, within
    what the format asks for (both lines hold), brings nothing that could run."""
    known = {_package(Requirement(line)) for line in analysis.requirements}
    asked = [Requirement(line) for line in declared.requirements]
    return any(each.extras or each.marker or _package(each) not in known for each in asked)


def _package(requirement: Requirement) -> str:
    return re.sub(r"[-_.]+", "-", requirement.name).lower()


def load_yaml(text: str, path: str) -> object:
    """Plain values only: no aliases (bombs), no tags, no key twice, nothing nested deeper than 32.

    Raises RejectedContent with the line.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            if isinstance(event, yaml.AliasEvent):
                raise _wrong(
                    f"line {event.start_mark.line + 1} uses an alias (*name); write the value out", path
                )
            if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None) is not None:
                raise _wrong(f"line {event.start_mark.line + 1} uses a tag (!name); leave it out", path)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                raise _wrong(f"line {event.start_mark.line + 1} is nested deeper than {MAX_DEPTH}", path)
        _check_keys(yaml.compose(text, Loader=loader), path)
        value = yaml.load(text, Loader=loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise _wrong(f"{where}{error.problem}", path) from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError) as error:
        raise _wrong(str(error).splitlines()[0][:300] if str(error) else "it is not YAML", path) from error
    return value


def _check_keys(node: object, path: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise _wrong(f"line {key.start_mark.line + 1} has the key {key.value[:100]!r} again", path)
            seen.add(getattr(key, "value", "") if isinstance(key, yaml.ScalarNode) else "")
            _check_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path)


def _check(declared: ModelYaml) -> None:
    """What types alone do not say: names once, known data types, possible shapes, valid requirements."""
    if declared.adapter is not None and declared.adapter not in ADAPTERS:
        raise _wrong(
            f"there is no adapter {declared.adapter[:40]!r}; known: {', '.join(sorted(ADAPTERS))}",
            field="adapter",
        )
    if declared.adapter is not None and (declared.adapter == "command") != (declared.command is not None):
        raise _wrong("adapter: command and a command belong together", field="command")
    signature = declared.signature or DeclaredSignature()
    for place, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        names: set[str] = set()
        for index, spec in enumerate(specs or ()):
            where = f"signature.{place}[{index}]"
            if not spec.name or spec.name in names:
                raise _wrong(f"{where}.name is empty or there twice", field=where)
            names.add(spec.name)
            if spec.datatype not in DATATYPES:
                raise _wrong(
                    f"{where}.datatype is {spec.datatype[:40]!r}; known: {', '.join(DATATYPES)}",
                    field=where,
                )
            if any(length < -1 for length in spec.shape) or len(spec.shape) > 32:
                raise _wrong(
                    f"{where}.shape has lengths below -1 (-1 is any), or over 32 axes", field=where
                )
    for index, line in enumerate(declared.requirements):
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise _wrong(
                f"requirements[{index}] is not a requirement: {error}", field="requirements"
            ) from error
        if requirement.url:
            raise _wrong(f"requirements[{index}] names an address; only packages of an index are installed")
    if declared.python is not None:
        try:
            python_versions(declared.python)
        except InvalidInput as error:
            raise _wrong(error.message.rstrip("."), field="python") from error
    for index, name in enumerate(declared.system_packages):
        if _SYSTEM_PACKAGE.fullmatch(name) is None:
            raise _wrong(
                f"system_packages[{index}] is {name[:60]!r}, which is no name of a Debian package (libgl1) or of a "
                "library (libGL.so.1)",
                field="system_packages",
            )
    _check_plain(declared.example, "example")


def _check_plain(value: object, where: str) -> None:
    """Only what JSON can carry: YAML's dates and byte strings cannot be sent."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise _wrong(f"{where} has the key {key!r}, which is not text", field=where)
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            _check_plain(item, f"{where}[{index}]")
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise _wrong(f"{where} is a {type(value).__name__}; write it as text in quotes", field=where)


def _merge(declared: DeclaredSignature | None, analysis: Analysis) -> Signature | None:
    found = analysis.signature
    if declared is None:
        return found
    if found is None:
        if declared.inputs is None or declared.outputs is None:
            raise _wrong(
                "its signature must list inputs and outputs, because this model's files tell neither",
                field="signature",
            )
        found = Signature(inputs=())
    else:
        # A function's annotations are hints, and nothing tells its outputs: there the author has the word.
        free = analysis.adapter == "function"
        if free:  # all that it takes counts as an input; a parameter is one because its author says so
            called = {each.name for each in declared.parameters or ()}
            inputs = tuple(each for each in found.inputs if each.name not in called)
            found = msgspec.structs.replace(found, inputs=inputs)
        _check_same("inputs", declared.inputs, found.inputs, types=not free)
        if not free:
            _check_same("outputs", declared.outputs, found.outputs, types=True)
            declared = msgspec.structs.replace(declared, inputs=_spared(declared.inputs, found.inputs))
        elif declared.batched:
            raise _wrong(
                "a Python function takes one record at a time; leave out batched", field="signature.batched"
            )
    return Signature(
        inputs=found.inputs if declared.inputs is None else declared.inputs,
        outputs=found.outputs if declared.outputs is None else declared.outputs,
        parameters=found.parameters if declared.parameters is None else declared.parameters,
        batched=found.batched if declared.batched is None else declared.batched,
        max_batch=found.max_batch if declared.max_batch is None else declared.max_batch,
    )


def _spared(
    declared: tuple[TensorSpec, ...] | None, found: tuple[TensorSpec, ...]
) -> tuple[TensorSpec, ...] | None:
    """What the model can do without stays such, though the author does not say so again."""
    optional = {spec.name for spec in found if spec.optional}
    return declared and tuple(
        msgspec.structs.replace(spec, optional=spec.optional or spec.name in optional) for spec in declared
    )


def _check_same(
    place: str, declared: tuple[TensorSpec, ...] | None, found: tuple[TensorSpec, ...], *, types: bool
) -> None:
    """The author may say more about inputs and outputs, but not others than the files have."""
    if declared is None:
        return
    names, known = {spec.name for spec in declared}, {spec.name for spec in found}
    if names != known:
        raise _wrong(
            f"signature.{place} are {', '.join(sorted(names)) or 'none'}; the model's files have "
            f"{', '.join(sorted(known))}",
            field=f"signature.{place}",
        )
    datatypes = {spec.name: spec.datatype for spec in found}
    for spec in declared:
        if types and spec.datatype != datatypes[spec.name]:
            raise _wrong(
                f"signature.{place} says that {spec.name!r} is {spec.datatype}; the model's files say "
                f"{datatypes[spec.name]}",
                field=f"signature.{place}",
            )


def _check_example(example: Mapping[str, object], signature: Signature) -> None:
    inputs = {spec.name: spec for spec in signature.inputs}
    parameters = {spec.name for spec in signature.parameters}
    for name in example:
        if name not in inputs and name not in parameters:
            raise _wrong(
                f"example has {name[:100]!r}; the model's inputs are {', '.join(inputs)[:300]}",
                field=f"example.{name[:100]}",
            )
    for name, spec in inputs.items():
        if name not in example and not spec.optional:
            raise _wrong(f"example lacks the input {name!r}", field=f"example.{name}")


def _wrong(why: str, path: str = PATH, field: str | None = None) -> RejectedContent:
    return RejectedContent(f"{path} is wrong: {why}.", field=f"{path}:{field}" if field else path)

"""What a project is and how it is called, found out from its files alone; and what has to be asked."""

import ast
import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from modelyard.analyze import analyze
from modelyard.analyze.detect import identify
from modelyard.analyze.packages import alike, is_known, package_of, requirement_of
from modelyard.core.errors import InvalidInput, ModelyardError
from modelyard.core.model import Analysis
from modelyard.core.names import suggest_name
from modelyard.core.python import python_versions
from modelyard.core.struct import Noun
from modelyard.core.units import format_bytes
from modelyard.onboard.api import usages_of_api
from modelyard.onboard.builder import Builder
from modelyard.onboard.code import Code
from modelyard.onboard.flow import Flow
from modelyard.onboard.literals import annotation_of, as_json
from modelyard.onboard.material import Material
from modelyard.onboard.project import Need, Project, read_project
from modelyard.onboard.report import Finding, Question, Report
from modelyard.onboard.snippets import documents
from modelyard.onboard.usage import MISSING, Input, Usage, score
from modelyard.package.interpreter import running
from modelyard.store.files import FolderFiles

_WEIGHTS = (
    ".safetensors", ".onnx", ".pt", ".pth", ".ckpt", ".bin", ".h5", ".hdf5", ".keras", ".pkl", ".pickle", ".joblib", ".skops",
    ".tflite", ".gguf", ".npz", ".npy", ".pb", ".model", ".ftz", ".ubj", ".cbm", ".mar", ".torchscript", ".t7", ".caffemodel",
)  # fmt: skip
_FRAMEWORKS = {
    "torch": "PyTorch", "tensorflow": "TensorFlow", "keras": "Keras", "jax": "JAX", "flax": "JAX", "onnxruntime": "ONNX Runtime",
    "sklearn": "scikit-learn", "xgboost": "XGBoost", "lightgbm": "LightGBM", "catboost": "CatBoost", "transformers": "transformers",
    "llama_cpp": "llama.cpp", "tflite_runtime": "LiteRT", "ai_edge_litert": "LiteRT", "paddle": "PaddlePaddle", "mxnet": "MXNet",
    "spacy": "spaCy", "rdkit": "RDKit", "openvino": "OpenVINO", "ctranslate2": "CTranslate2",
}  # fmt: skip
_LARGEST_EXAMPLE = 512 * 1024  # bytes of a file that is taken as an example
_ENOUGH = 95  # points from which on nobody needs to be asked whether this is the call


class Answers(Noun):
    """What the user said. ``call`` is a number or a part of a call's text; ``examples`` are JSON values by
    input; ``requirements`` are added; ``python`` are the versions that it is to run on."""

    call: str | None = None
    examples: dict[str, Any] = {}
    requirements: tuple[str, ...] = ()
    python: str | None = None


class Look(NamedTuple):
    """``known``: a format that is served as it is, then there is no ``usage``. ``usages``: all calls that were
    found, the likeliest first; ``usage`` is the one that is served. ``example`` is one record. ``python`` are the
    versions that it has to run on, where the interpreter that runs here is none of them."""

    report: Report
    material: Material
    project: Project
    known: Analysis | None
    usages: tuple[Usage, ...]
    usage: Usage | None
    requirements: tuple[Need, ...]
    packages: Mapping[str, str]
    example: dict[str, Any]
    python: str | None


def look(source: str, material: Material, answers: Answers) -> Look:
    """Find out. Runs nothing of the project; raises InvalidInput for an answer that fits nothing."""
    known = None if material.kind in ("package", "source") else _served_as_it_is(material.folder)
    code = Code(material)
    project = read_project(material)
    name = suggest_name(material.name)
    findings = list(_facts(material, project, code, known))
    python, doubts = _python(project, answers)
    if known is not None:
        report = Report(
            source=source,
            name=name,
            findings=tuple(findings),
            warnings=(*project.warnings, *known.warnings),
        )
        return Look(report, material, project, known, (), None, (), {}, known.example or {}, python)
    usages = _usages(material, project, code)
    usage, questions = _chosen(usages, answers)
    needs = _needs(material, project, code, usage, answers)
    example: dict[str, Any] = {}
    if usage is not None:
        usage = _typed(usage, answers)
        findings += _of_usage(usage)
        example, open_ones = _example(material.folder, usage, answers)
        questions += open_ones
    warnings = [*project.warnings, *doubts]
    for line, place in code.fetches():
        warnings.append(f"It may fetch something when it runs: {line} ({place})")
    report = Report(
        source=source, name=name, findings=tuple(findings), questions=tuple(questions), warnings=tuple(warnings[:12])
    )  # fmt: skip
    return Look(
        report, material, project, None, tuple(usages), usage, tuple(needs), code.packages, example, python
    )


def _python(project: Project, answers: Answers) -> tuple[str | None, list[str]]:
    """The versions that it has to run on, and what is doubtful of what it says of them. Raises InvalidInput."""
    ours = running().version
    asked = answers.python or project.python
    if asked is None:
        return None, []
    try:
        fits = python_versions(asked).contains(ours)
    except InvalidInput as error:
        if answers.python is not None:
            raise
        return None, [f"Its Python is not heeded: {error.message} It is tried on {ours}."]
    return (asked if answers.python or not fits else None), []


def _served_as_it_is(folder: Path) -> Analysis | None:
    try:
        return analyze(FolderFiles(folder))
    except ModelyardError:
        return None


def _facts(material: Material, project: Project, code: Code, known: Analysis | None) -> Iterator[Finding]:
    yield Finding(
        about="files",
        value=material.told,
        confidence="sure",
        reason="fetched" if material.kind != "folder" else "here",
    )
    if project.summary:
        yield Finding(about="what", value=project.summary, confidence="likely", reason="its own words")
    if project.licence is not None:
        yield project.licence
    if known is not None:
        told = f"{known.format}, served by the adapter {known.adapter!r} as it is"
        yield Finding(about="format", value=told, confidence="sure", reason="the files' headers")
        return
    imports = code.imports()
    named = {canonicalize_name(Requirement(each.line).name): each for each in project.needs}
    for module, framework in _FRAMEWORKS.items():
        if module in imports:
            yield Finding(about="framework", value=framework, confidence="sure", reason=imports[module])
        elif package_of(module) in named:
            need = named[package_of(module)]
            yield Finding(about="framework", value=framework, confidence="likely", reason=need.reason)
    yield from _weights(material.folder)
    gpu = code.gpu()
    if gpu is not None:
        place, either = gpu
        value = "used where there is one" if either else "asked for, without a word of doing without"
        yield Finding(about="GPU", value=value, confidence="likely" if either else "guess", reason=place)
    if project.python:
        yield Finding(about="Python", value=project.python, confidence="sure", reason="its metadata")
    if project.system_packages:
        names = ", ".join(each.line for each in project.system_packages)
        yield Finding(about="system", value=names, confidence="likely", reason="Dockerfile")


def _weights(folder: Path) -> Iterator[Finding]:
    found = [
        (path.stat().st_size, path)
        for path in folder.rglob("*")
        if path.suffix.lower() in _WEIGHTS and path.is_file() and not path.is_symlink()
    ]
    for size, path in sorted(found, reverse=True)[:5]:
        with path.open("rb") as file:
            what = identify(file.read(4096), size)
        told = f"{path.relative_to(folder).as_posix()}, {format_bytes(size)}" + (
            f": {what}" if what else ""
        )
        yield Finding(about="weights", value=told, confidence="likely", reason="its name and first bytes")
    if len(found) > 5:
        rest = sum(size for size, _ in sorted(found, reverse=True)[5:])
        yield Finding(
            about="weights", value=f"{len(found) - 5} more files, {format_bytes(rest)}", confidence="likely", reason="their names"
        )  # fmt: skip


def _usages(material: Material, project: Project, code: Code) -> list[Usage]:
    """One for each thing that can be called, the likeliest first; from the code alone where nobody shows one."""

    def exists(path: str) -> bool:
        place = material.folder / path
        return place.is_file() and place.resolve().is_relative_to(material.folder.resolve())

    best: dict[str, tuple[int, int, Usage]] = {}
    order = 0
    for document in documents(material, project, code):
        for usage in Builder(
            Flow(document.pieces, code), code, document.path, document.rank, exists
        ).usages():
            order += 1
            entry = (score(usage) - min(order // 2, 15), -order, usage)
            if usage.target not in best or entry[:2] > best[usage.target][:2]:
                best[usage.target] = entry
    if not any(points >= 60 for points, _, _ in best.values()):
        for usage in usages_of_api(code):
            best.setdefault(usage.target, (score(usage), -10_000, usage))
    ranked = sorted(best.values(), key=lambda entry: entry[:2], reverse=True)
    shown = {usage.shown: usage for points, _, usage in reversed(ranked) if points > 0}
    return list(reversed(shown.values()))[:12]


def _chosen(usages: list[Usage], answers: Answers) -> tuple[Usage | None, list[Question]]:
    choices = tuple(f"{usage.shown} ({usage.place})" for usage in usages)
    if answers.call is not None:
        if answers.call.isdigit() and 1 <= int(answers.call) <= len(usages):
            return usages[int(answers.call) - 1], []
        fitting = [usage for usage in usages if answers.call == usage.target]
        fitting = fitting or [usage for usage in usages if answers.call in usage.shown]
        if not fitting:
            listed = "\n".join(f"  {number}. {choice}" for number, choice in enumerate(choices, 1))
            raise InvalidInput(
                f"No call that was found is {answers.call!r}. There are:\n{listed}", field="call"
            )
        return fitting[0], []
    if not usages:
        text = (
            "Nothing shows how it is called: no example in its README, its docstrings, examples or tests calls something of "
            "it with data. Write a model.py with predict(...) beside it (modelyard deploy FOLDER), or name an example."
        )
        return None, [Question(about="call", text=text, answer="--call")]
    first = usages[0]
    sure = score(first) >= _ENOUGH and not first.unnamed
    # Of a box of tools, of which no README says which one is meant, none is the model.
    alike = sum(score(usage) > score(first) - 30 for usage in usages) if first.rank else 1
    if sure and alike < 4:
        return first, []
    text = "Which call is to be served? The likeliest is the first; no example says so clearly."
    return first, [Question(about="call", text=text, answer="--call NUMBER", choices=choices)]


def _of_usage(usage: Usage) -> Iterator[Finding]:
    sure = score(usage) >= _ENOUGH
    yield Finding(
        about="call", value=usage.shown, confidence="likely" if sure else "guess", reason=usage.place
    )
    for each in usage.inputs:
        what = f"a file ({each.suffix})" if each.suffix else each.annotation
        told = f"{each.name}: {what}" + (
            f", {each.default} unless it is given" if each.default is not None else ""
        )
        yield Finding(
            about="input",
            value=told,
            confidence="likely" if not each.missing or each.suffix else "guess",
            reason=usage.place,
        )


def _example(folder: Path, usage: Usage, answers: Answers) -> tuple[dict[str, Any], list[Question]]:
    """One record, and a question for each input that has no value yet."""
    names = [each.name for each in usage.inputs]
    if unknown := [name for name in answers.examples if name not in names]:
        raise InvalidInput(
            f"The call has no input {unknown[0]!r}; it has {', '.join(names)}.", field="example"
        )
    record: dict[str, Any] = {}
    questions: list[Question] = []
    files = list(usage.files)
    for each in usage.inputs:
        if each.name in answers.examples:
            record[each.name] = answers.examples[each.name]
        elif each.suffix is not None:
            path = next((path for path in files if path.endswith(each.suffix)), None)
            content = _content(folder / path) if path is not None else None
            if content is not None:
                record[each.name] = content
            else:
                questions.append(
                    _asked(each, " ".join(f"a {each.suffix} file".split()), f"@FILE{each.suffix}")
                )
        elif each.example is not MISSING:
            if each.default is None or as_json(ast.literal_eval(each.default)) != each.example:
                record[each.name] = each.example
        elif each.default is None:
            questions.append(
                _asked(
                    each, f"one {each.annotation}" if each.annotation != "object" else "one value", "VALUE"
                )
            )
    return record, questions


def _typed(usage: Usage, answers: Answers) -> Usage:
    """An input of which nothing is known but the example that was told has that example's type."""
    inputs = [
        each._replace(
            annotation="bytes"
            if _is_file(answers.examples[each.name])
            else annotation_of(answers.examples[each.name])
        )
        if each.annotation == "object" and each.name in answers.examples
        else each
        for each in usage.inputs
    ]
    return usage._replace(inputs=tuple(inputs))


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"b64"}  # pyright: ignore[reportUnknownArgumentType]


def _asked(each: Input, what: str, value: str) -> Question:
    return Question(
        about=f"example.{each.name}",
        text=f"What is an example of the input {each.name!r}, {what}? Nothing in the project has one.",
        answer=f"--example {each.name}={value}",
    )


def _content(path: Path) -> Any:
    """A file's content as JSON: text, or base64."""
    if path.stat().st_size > _LARGEST_EXAMPLE:
        return None
    data = path.read_bytes()
    try:
        text = data.decode()
        json.dumps(text)
        return text
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


def _needs(
    material: Material, project: Project, code: Code, usage: Usage | None, answers: Answers
) -> list[Need]:
    """What its environment is made of: what it lists (a wheel: itself, whose metadata lists the rest), and what
    the modules that are used import though nothing lists it."""
    given = [Need(_checked(line), "you") for line in answers.requirements]
    own = [] if material.requirement is None else [Need(material.requirement, "the package itself")]
    names = {canonicalize_name(Requirement(each.line).name) for each in (*project.needs, *given)}
    missing: list[Need] = []
    for module, place in sorted(code.imports(_modules(usage)).items()):
        package = package_of(module)
        provided = {package, canonicalize_name(module), *_RELATIVES.get(package, ())} & names
        # A list that is there is believed, but for what is missed often.
        if not provided and not alike(module, names) and (is_known(module) or not (names or own)):
            missing.append(Need(requirement_of(module), f"{place} imports {module}, and no list has it"))
    return [*(own or project.needs), *given, *missing]


def _checked(line: str) -> str:
    """A requirement that the user said. Raises InvalidInput."""
    try:
        return str(Requirement(line))
    except InvalidRequirement as error:
        raise InvalidInput(
            f"{line[:100]!r} is not a requirement; write it as 'numpy>=1.26,<3'.", field="requirement"
        ) from error


def _modules(usage: Usage | None) -> list[str] | None:
    """What the imports of a usage name; None: nothing is known."""
    if usage is None:
        return None
    names: list[str] = []
    for line in "\n".join(usage.imports).splitlines():
        (node,) = ast.parse(line).body
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
    return names


_RELATIVES = {
    "opencv-python-headless": ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "tensorflow": ("tensorflow-cpu", "tf-nightly"), "onnxruntime": ("onnxruntime-gpu",), "ai-edge-litert": ("tflite-runtime",),
    "keras": ("tensorflow", "tensorflow-cpu"), "attrs": ("attr",), "protobuf": ("grpcio-tools",),
}  # fmt: skip

"""``command`` of model.yaml: how a program is called, and what of what it leaves behind is the answer."""

import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple

import msgspec

from modelyard.core.errors import RejectedContent
from modelyard.core.signature import Signature, TensorSpec
from modelyard.core.struct import Noun

PLACE = "model.yaml:command"
# Beside the inputs and parameters: the folder of the version's files, a file with the record as JSON, how many
# threads it may use, and where it computes ("cpu", "cuda:0").
ALWAYS = frozenset({"folder", "record", "threads", "device"})
# {{ and }} are braces; {name}, {name?} (nothing, but its group goes without it), {name:suffix} (a file)
_PART = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)(\?|:\w[\w.-]{0,39})?\}|[{}]")
_MOST = 1000  # arguments

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
Path = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class CommandOutput(Noun, frozen=True):
    """Where one output is when the program has ended; one of these.

    ``file``: the bytes of a file; ``text``: of a file, or of *stdout* or *stderr*, as text; ``json``: of the same, as
    a JSON value; ``match``: what the first group of an expression matches last in what it printed. Paths are
    relative to the working folder, with ``*`` for any part of a name.
    """

    file: Path | None = None
    text: Path | None = None
    json: Path | None = None
    match: Pattern | None = None


class Command(Noun, frozen=True):
    """A program that answers one record a run, in an empty working folder of its own.

    ``run`` are its name and arguments, in which ``{name}`` is an input or parameter (of one of kind *bytes* the
    path of a file; ``{name:x.pdb}`` the path of a file of that name for any kind); a list among them is left out
    when something in it was not given or is false. ``files`` are written into the working folder first, by
    the same rules; ``stdin`` is what it reads. ``environment`` are variables that it gets beside its own, in which
    ``{folder}``, ``{threads}`` and ``{device}`` may stand. ``progress`` matches a percentage, or a number and of how
    many, in what it prints. ``wrong_input`` are exit codes by which it says that the input is at fault.
    """

    run: tuple[str | tuple[str, ...], ...]
    outputs: dict[str, CommandOutput]
    files: dict[str, str] = {}
    stdin: str | None = None
    environment: dict[str, str] = {}
    progress: Pattern | None = None
    wrong_input: tuple[int, ...] = ()


class Part(NamedTuple):
    """A placeholder in a text."""

    name: str
    kind: str  # "", "?" or ":suffix"


def parts(text: str) -> Iterator[Part]:
    """The placeholders of ``text``. Raises RejectedContent for a lone brace."""
    for match in _PART.finditer(text):
        if match[0] in ("{", "}"):
            raise wrong(
                f"{text[:100]!r} has a brace that belongs to no {{name}}; write {{{{ or }}}} for one"
            )
        if match[1]:
            yield Part(match[1], match[2] or "")


def check(command: Command, signature: Signature) -> None:
    """Raise RejectedContent for what cannot be run, or names what there is not."""
    if not command.run or not isinstance(command.run[0], str) or not command.run[0].strip():
        raise wrong("run begins with the name of a program", "run")
    if len(command.run) > _MOST:
        raise wrong(f"run has {len(command.run)} arguments; at most {_MOST} are passed", "run")
    if not command.outputs:
        raise wrong("outputs is empty, so there is nothing to answer", "outputs")
    required = {spec.name for spec in signature.inputs if not spec.optional}
    required |= {spec.name for spec in signature.parameters if spec.default is not None}
    known = {spec.name for spec in (*signature.inputs, *signature.parameters)} | ALWAYS
    for argument in command.run:
        alone = isinstance(argument, str)
        for text in (argument,) if isinstance(argument, str) else argument:
            _check_text(text, known, required | ALWAYS if alone else known, "run")
    for name, text in command.files.items():
        if name.startswith("/") or ".." in name.split("/") or not name:
            raise wrong(f"files: {name[:100]!r} is no path inside the working folder", "files")
        _check_text(text, known, required | ALWAYS, "files")
    if command.stdin is not None:
        _check_text(command.stdin, known, required | ALWAYS, "stdin")
    for name, text in command.environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w{0,99}", name):
            raise wrong(f"environment: {name[:100]!r} is no name of a variable", "environment")
        # A caller has no say in what a program is set up with.
        _check_text(text, ALWAYS - {"record"}, ALWAYS, "environment")
    for name, output in command.outputs.items():
        _check_output(name, output)
    if command.progress is not None:
        _compiled(command.progress, "progress")


def _check_text(
    text: str, known: frozenset[str] | set[str], given: frozenset[str] | set[str], key: str
) -> None:
    if "\0" in text:
        raise wrong(f"{key} holds a null byte", key)
    for part in parts(text):
        if part.name not in known:
            raise wrong(f"{key} names {{{part.name}}}; there are {', '.join(sorted(known))}", key)
        if part.name not in given:
            raise wrong(
                f"{key} always needs {{{part.name}}}, which a caller may leave out; put the arguments that need it "
                f"into a list of their own: [--{part.name}, '{{{part.name}}}']",
                key,
            )


def _check_output(name: str, output: CommandOutput) -> None:
    told = [each for each in (output.file, output.text, output.json, output.match) if each is not None]
    if len(told) != 1:
        raise wrong(f"outputs.{name} is one of file, text, json and match", "outputs")
    path = output.file or output.text or output.json
    if path is not None and (path.startswith("/") or ".." in path.split("/")):
        raise wrong(f"outputs.{name} is {path[:100]!r}, which is not inside the working folder", "outputs")
    if output.match is not None and _compiled(output.match, f"outputs.{name}").groups != 1:
        raise wrong(f"outputs.{name}.match has one group, which is the output", "outputs")


def _compiled(pattern: str, key: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise wrong(f"{key} is no regular expression: {error}", key) from error


def outputs_of(command: Command, declared: tuple[TensorSpec, ...] | None) -> tuple[TensorSpec, ...]:
    """The outputs as a signature has them. Raises RejectedContent where the author's do not fit."""
    if declared is None:
        return tuple(_spec(name, output) for name, output in command.outputs.items())
    if {spec.name for spec in declared} != set(command.outputs):
        raise wrong(
            f"outputs are {', '.join(command.outputs)}; signature.outputs has "
            f"{', '.join(spec.name for spec in declared)}",
            "outputs",
        )
    for spec in declared:
        wanted = _spec(spec.name, command.outputs[spec.name])
        if (spec.datatype == "BYTES") != (wanted.datatype == "BYTES") and command.outputs[
            spec.name
        ].match is None:
            raise wrong(f"outputs.{spec.name} is BYTES, not {spec.datatype}", "outputs")
        if spec.shape:
            raise wrong(f"outputs.{spec.name} is one value; leave out its shape", "outputs")
    return declared


def _spec(name: str, output: CommandOutput) -> TensorSpec:
    if output.match is not None:
        return TensorSpec(name=name, datatype="FP64")
    kind = "bytes" if output.file is not None else "text" if output.text is not None else "json"
    return TensorSpec(name=name, datatype="BYTES", kind=kind)


def wrong(why: str, key: str = "") -> RejectedContent:
    """The error for a command that cannot be."""
    return RejectedContent(
        f"model.yaml is wrong: command: {why}.", field=PLACE + (f".{key}" if key else "")
    )

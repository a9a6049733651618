"""A program to serve: model.yaml says how it is called, and nothing is run to find that out."""

import msgspec

from modelyard.analyze import command_line, model_yaml
from modelyard.analyze.footprint import estimate
from modelyard.analyze.plain import plain
from modelyard.analyze.requirements import read_requirements
from modelyard.core.errors import RejectedContent
from modelyard.core.files import Files
from modelyard.core.model import Analysis
from modelyard.core.signature import Signature

NAME = "command"


def detect(files: Files) -> bool:
    """Whether model.yaml has a ``command``."""
    return model_yaml.PATH in files.paths and model_yaml.read(files).command is not None


def analyze(files: Files) -> Analysis:
    """Describe the program. Raises RejectedContent for a command that cannot be run."""
    declared = model_yaml.read(files)
    command, told = declared.command, declared.signature
    assert command is not None
    if told is None or told.inputs is None:
        raise RejectedContent(
            "model.yaml is wrong: a command needs signature.inputs, the names and types of what it is given.",
            field="model.yaml:signature",
        )
    if told.batched:
        raise RejectedContent(
            "model.yaml is wrong: a command answers one record at a time; leave out batched.",
            field="model.yaml:signature.batched",
        )
    signature = Signature(
        inputs=told.inputs,
        outputs=command_line.outputs_of(command, told.outputs),
        parameters=told.parameters or (),
        batched=False,
    )
    command_line.check(command, signature)
    size = sum(files.size(path) for path in files.paths)
    requirements = read_requirements(files)
    return Analysis(
        format="command",
        adapter=NAME,
        signature=signature,
        requirements=requirements,
        declared=requirements,
        options={"command": msgspec.to_builtins(command), "signature": plain(signature)},
        size_bytes=size,
        memory_bytes=estimate("function", size),
        executes="code",
        details={"program": str(command.run[0])[:200]},
    )

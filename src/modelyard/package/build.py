"""The two things that uv does for an environment: resolve its requirements, install what came out."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from modelyard.core.errors import RejectedContent
from modelyard.package import conflict, uv
from modelyard.package.interpreter import Interpreter
from modelyard.package.sources import Sources
from modelyard.package.torch_build import TorchBuild


class Wanted(msgspec.Struct, frozen=True):
    """What is to be built: normal requirements, who asks for each, and what they are built with. ``asked`` are
    the versions that the interpreter was chosen by."""

    requirements: tuple[str, ...]
    origins: dict[str, str]
    interpreter: Interpreter
    asked: tuple[str, ...]
    sources: Sources
    torch: TorchBuild


def resolve(folder: Path, wanted: Wanted, lock: int, progress: uv.Progress) -> str:
    """The lock of what is wanted: exact versions, one a line. Works in ``folder``, and hands the descriptor
    ``lock`` down. Raises RejectedContent that says what is at odds with what, and what :func:`uv.run` does."""
    torch = wanted.torch
    asked = {line: wanted.origins.get(line, "the model") for line in wanted.requirements}
    if told := conflict.explain("", asked, wanted.interpreter.name, wanted.asked):
        raise RejectedContent(told, field="requirements")
    (folder / "requirements.in").write_text("\n".join(wanted.requirements) + "\n")
    arguments = list(torch.arguments)
    if torch.constraint is not None:
        (folder / "constraints.txt").write_text(torch.constraint + "\n")
        arguments += ["--constraints", "constraints.txt"]
    try:
        uv.run(
            [
                "pip", "compile", "requirements.in", "--output-file", "lock.txt", "--no-header", "--no-annotate",
                "--no-build", "--python", str(wanted.interpreter.path), *arguments,
            ],
            sources=wanted.sources, folder=folder, lock=lock, progress=progress,
        )  # fmt: skip
    except uv.Unsolvable as error:
        if torch.constraint is not None:
            asked.setdefault(torch.constraint, "this machine, which has that build of PyTorch,")
        told = conflict.explain(error.reason, asked, wanted.interpreter.name, wanted.asked)
        if told is None:
            raise
        raise RejectedContent(f"{told} In uv's words: {error.reason}", field=error.field) from error
    return (folder / "lock.txt").read_text()


def install(
    folder: Path,
    locked: str,
    torch_arguments: Sequence[str],
    wanted: Wanted,
    lock: int,
    progress: uv.Progress,
) -> None:
    """The packages of ``locked`` in an environment in ``folder``: a relocatable one, because it is moved once it
    is whole. Raises what :func:`uv.run` does."""
    uv.run(
        ["venv", "--quiet", "--relocatable", "--allow-existing", "--no-project", "--python",
         str(wanted.interpreter.path), str(folder)],
        sources=wanted.sources, folder=folder.parent, lock=lock, progress=progress,
    )  # fmt: skip
    (folder / "lock.txt").write_text(locked)
    count = len([line for line in locked.splitlines() if line and line[0] not in "#- "])
    if not count:
        return
    progress(f"installing {count} package{'s' if count > 1 else ''}")
    uv.run(
        ["pip", "install", "--no-deps", "--no-build", "--requirements", "lock.txt", "--link-mode", "hardlink",
         "--python", str(folder / "bin" / "python"), *torch_arguments],
        sources=wanted.sources, folder=folder, lock=lock, progress=progress,
    )  # fmt: skip

"""Options that many commands share, and the client they speak through."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modelyard.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
VersionName = Annotated[
    str, typer.Argument(metavar="VERSION", help="NAME/3, NAME@production, or NAME (its latest).")
]


_named: str | None = None  # the project that this command was given


def _name_project(project: str | None) -> str | None:
    global _named
    _named = project
    return project


InProject = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="NAME",
        callback=_name_project,
        help="The project to work in (MODELYARD_PROJECT; else the key's own, else default).",
    ),
]


def client() -> "Client":
    """The client of the platform that runs here, or at MODELYARD_URL; in the project that was named."""
    from modelyard.client.synchronous import Client
    from modelyard.core.settings import load_settings

    return Client(project=_named or load_settings().project)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost. Where nobody can answer, `--yes` must have been given (exit 2)."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can answer here; give --yes.", param_hint="--yes")
    if not typer.confirm(question, default=False, err=True):
        raise typer.Exit(1)

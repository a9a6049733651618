"""Options that many commands share, and the client they speak through."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from modelyard.client import Client

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]


def client() -> "Client":
    """The client of the platform that runs here, or at MODELYARD_URL."""
    from modelyard.client.synchronous import Client

    return Client()


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost. Where nobody can answer, `--yes` must have been given (exit 2)."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can answer here; give --yes.", param_hint="--yes")
    if not typer.confirm(question, default=False, err=True):
        raise typer.Exit(1)

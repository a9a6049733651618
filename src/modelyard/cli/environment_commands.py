"""``modelyard environments``: what models run in; a list, one of them, the end of those that nobody needs."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from modelyard.cli.common import AsJson


class _Group(TyperGroup):
    """A group of which a word that is no command is an environment to be shown."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        known = self.get_command(ctx, args[0]) is not None or args[0].startswith("-")
        return super().resolve_command(ctx, args if known else ["show", *args])


group = typer.Typer(
    name="environments",
    help="List the environments that models run in; show one ([show] ID), or clean up.",
    cls=_Group,
    rich_markup_mode=None,
    invoke_without_command=True,
)


@group.callback()
def environments(context: typer.Context, as_json: AsJson = False) -> None:
    """List the environments that models run in, with their size and who uses them; show one ([show] ID), or
    clean up."""
    if context.invoked_subcommand is None:
        from modelyard.cli.environments import list_environments

        list_environments(as_json=as_json)
    elif as_json:
        raise typer.BadParameter(
            "Put --json after the command: environments clean --json.", param_hint="--json"
        )


@group.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the environments, with their size and who uses them."""
    from modelyard.cli.environments import list_environments

    list_environments(as_json=as_json)


@group.command()
def show(
    id: Annotated[str, typer.Argument(metavar="ID", help="The environment; the beginning is enough.")],
    as_json: AsJson = False,
) -> None:
    """Show an environment with its packages."""
    from modelyard.cli import environments as room

    room.show(id, as_json=as_json)


@group.command()
def sbom(
    id: Annotated[str, typer.Argument(metavar="ID", help="The environment; the beginning is enough.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the bill of materials of an environment (CycloneDX JSON): its packages with versions and licences."""
    from modelyard.cli.versions import sbom_of_environment

    sbom_of_environment(id, output, as_json=as_json)


@group.command()
def clean(
    older_than: Annotated[
        str | None,
        typer.Option(
            metavar="TIME", help="Unused for at least so long: 30min, 12h, 7d (environment_grace: 24h)."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the environments that nothing uses, and say what that freed.

    The platform does so by itself every hour. What a deployment, a replica or a job needs stays, and so does
    what is being built or tried.
    """
    from modelyard.cli import environments as room
    from modelyard.core.errors import InvalidInput
    from modelyard.core.units import parse_seconds

    try:
        seconds = None if older_than is None else parse_seconds(older_than)
    except InvalidInput as error:
        raise typer.BadParameter(error.message, param_hint="--older-than") from error
    room.clean(seconds, dry_run=dry_run, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group)

"""``modelyard store``: the bytes of all models; what each takes, whether they are right, what nobody needs."""

from typing import Annotated

import typer

from modelyard.cli.common import AsJson

group = typer.Typer(
    name="store",
    help="The bytes of all models: what each takes, whether they are right, what nobody needs.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@group.command()
def usage(as_json: AsJson = False) -> None:
    """Tell what each model takes, for itself and together with others."""
    from modelyard.cli import store as room

    room.usage(as_json=as_json)


@group.command()
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Read every byte and compare its digest.")] = False,
    repair: Annotated[
        bool,
        typer.Option("--repair", help="Put right what can be, from copies elsewhere and from packs."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Look whether the bytes of every version are there (and right, with --deep); exit 1 when some are not."""
    from modelyard.cli import store as room

    if not room.verify(deep=deep, repair=repair, as_json=as_json):
        raise typer.Exit(1)


@group.command()
def collect(as_json: AsJson = False) -> None:
    """Remove what nothing uses, and keep only once what new models have in common with others.

    The platform does so by itself every hour, and when a model came or was deleted.
    """
    from modelyard.cli import store as room

    room.collect(as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group)

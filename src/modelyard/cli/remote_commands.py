"""``modelyard remotes list|add|remove|set``: backends elsewhere."""

from typing import Annotated, Literal

import typer

from modelyard.cli.common import AsJson, InProject
from modelyard.cli.endpoint_commands import EndpointName

remotes = typer.Typer(
    help="Send calls of an endpoint to other nodes and servers too, or to them alone.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Url = Annotated[
    str, typer.Argument(metavar="URL", help="Its base: http://host:port, https://host, or unix:/path.")
]


@remotes.command("list")
def list_remotes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Of this endpoint alone.")] = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Show the remotes of all endpoints, or of one."""
    from modelyard.cli import remotes as room

    room.show(name, as_json=as_json)


@remotes.command()
def add(
    name: EndpointName,
    url: Url,
    model: Annotated[
        str | None, typer.Option(help="The model's name there; NAME when it is not given.")
    ] = None,
    kind: Annotated[
        Literal["v2", "openai"],
        typer.Option(help="v2: a Modelyard node or any V2 server; openai: embeddings by OpenAI's API."),
    ] = "v2",
    weight: Annotated[float, typer.Option(min=0, help="Its share of the calls, beside the others'.")] = 1.0,
    key_variable: Annotated[
        str | None,
        typer.Option(metavar="VARIABLE", help="The environment variable of the node that has its key."),
    ] = None,
    project: InProject = None,
    as_json: AsJson = False,
) -> None:
    """Add a backend to an endpoint, or change it.

    An endpoint that nothing is deployed to is served by its remotes alone.
    """
    from modelyard.cli import remotes as room

    room.add(name, url, model or name, kind, weight, key_variable, as_json=as_json)


@remotes.command()
def remove(
    name: EndpointName,
    url: Url,
    model: Annotated[str | None, typer.Option(help="Only the one that is asked for this model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take a backend from an endpoint; calls on their way there are answered."""
    from modelyard.cli import remotes as room

    room.remove(name, url, model, as_json=as_json)


@remotes.command("set")
def set_options(
    name: EndpointName,
    local_weight: Annotated[
        float | None, typer.Option(min=0, help="The share of the calls for the endpoint's own deployment.")
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(min=1, max=10, help="How often a call is tried, all backends together.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, max=1, help="Retries, at most this part of the calls.")
    ] = None,
    hedge: Annotated[
        float | None,
        typer.Option(help="Seconds after which a second backend is asked too; below 0: never."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how calls are shared and tried again."""
    from modelyard.cli import remotes as room

    if local_weight is None and attempts is None and budget is None and hedge is None:
        raise typer.BadParameter("Give at least one option; see --help.")
    room.set_options(name, local_weight, attempts, budget, hedge, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(remotes, name="remotes")

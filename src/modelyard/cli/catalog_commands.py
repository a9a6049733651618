"""``modelyard catalog list|search|show|fetch|deploy``: the models that are known."""

from typing import Annotated

import typer

from modelyard.cli.common import AsJson

group = typer.Typer(
    name="catalog",
    help="Look at the models that Modelyard knows, and deploy them.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@group.command("list", help="List the models: all, or those that fit.")
@group.command("search", help="Find models by words of their names, tags and descriptions.")
def find(
    text: Annotated[
        list[str] | None, typer.Argument(metavar="[TEXT]...", help="Words that all must occur.")
    ] = None,
    category: Annotated[str | None, typer.Option(help="Such as antibody, docking, text-embedding.")] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Needs at most so much: 4GiB. Unknown is not small.")
    ] = None,
    max_parameters: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Has at most so many parameters: 650M.")
    ] = None,
    commercial: Annotated[
        bool, typer.Option("--commercial", help="Its licence allows commercial use.")
    ] = False,
    no_gpu: Annotated[bool, typer.Option("--no-gpu", help="It runs without a GPU.")] = False,
    adapter: Annotated[str | None, typer.Option(metavar="NAME", help="Run by this adapter.")] = None,
    framework: Annotated[
        str | None, typer.Option(metavar="NAME", help="pytorch, onnx, tensorflow, …")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The models that are known, all or those that fit."""
    from modelyard.cli import catalog as room

    words = " ".join(text or ())
    room.find(
        words, category, max_memory, max_parameters, commercial, no_gpu, adapter, framework, as_json=as_json
    )


@group.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entry.")], as_json: AsJson = False
) -> None:
    """Show all that is known of a model, and where it was read."""
    from modelyard.cli import catalog as room

    room.show(name, as_json=as_json)


@group.command()
def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="The entries; or --all, or --category.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="The mirror that they are put into: a folder, or s3://BUCKET/PREFIX (default: none; into catalog/ in the "
            "home folder).",
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All entries that there are.")] = False,
    category: Annotated[str | None, typer.Option(help="All of a category, such as antibody.")] = None,
    as_json: AsJson = False,
) -> None:
    """Bring models' files here, from the mirror or their sources, or into a mirror; print where they are.

    What models were fetched to is a mirror: name it in MODELYARD_MIRROR, also on machines without a network.
    A model is in it whole or not at all; what was broken off is gone on with.
    """
    from modelyard.cli import mirror as room

    room.fetch(names or [], to, everything=everything, category=category, as_json=as_json)


@group.command()
def deploy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entry.")],
    endpoint: Annotated[
        str | None, typer.Option("--name", help="The endpoint's name (default: the entry's).")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Seconds that a call may take (the first time: what the entry says, or 30)."
        ),
    ] = None,
    trust_pickle: Annotated[
        bool, typer.Option("--trust-pickle", help="Allow a model whose loading runs code (pickle, joblib).")
    ] = False,
    because: Annotated[
        str, typer.Option(metavar="WHY", help="Why it is trusted; kept with the version and in the audit.")
    ] = "",
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it serves.")] = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model and deploy it.

    Its endpoint's other options are set as those of any other: modelyard deploy FOLDER --name NAME, with the
    folder that `catalog fetch` prints.
    """
    from modelyard.cli import catalog as room

    room.deploy(
        name,
        endpoint,
        timeout=timeout,
        trust_pickle=trust_pickle,
        because=because,
        detach=detach,
        as_json=as_json,
    )


def add_to(app: typer.Typer) -> None:
    app.add_typer(group)

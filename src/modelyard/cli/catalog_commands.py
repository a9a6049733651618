"""``modelyard catalog list|search|show``: the models that are known."""

from typing import Annotated

import typer

from modelyard.cli.common import AsJson

group = typer.Typer(
    name="catalog",
    help="Look at the models that Modelyard knows.",
    rich_markup_mode=None,
    no_args_is_help=True,
)

Category = Annotated[str | None, typer.Option(help="Such as antibody, docking, text-embedding.")]
MaxMemory = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Needs at most so much: 4GiB. Unknown is not small.")
]
MaxParameters = Annotated[
    str | None, typer.Option(metavar="COUNT", help="Has at most so many parameters: 650M.")
]
Commercial = Annotated[bool, typer.Option("--commercial", help="Its licence allows commercial use.")]
NoGpu = Annotated[bool, typer.Option("--no-gpu", help="It runs without a GPU.")]
AdapterName = Annotated[str | None, typer.Option(metavar="NAME", help="Run by this adapter.")]
Framework = Annotated[str | None, typer.Option(metavar="NAME", help="pytorch, onnx, tensorflow, …")]


@group.command("list")
def list_(
    category: Category = None,
    max_memory: MaxMemory = None,
    max_parameters: MaxParameters = None,
    commercial: Commercial = False,
    no_gpu: NoGpu = False,
    adapter: AdapterName = None,
    framework: Framework = None,
    as_json: AsJson = False,
) -> None:
    """List the models, all or those that fit."""
    from modelyard.cli import catalog as room

    room.list_entries(
        "", category, max_memory, max_parameters, commercial, no_gpu, adapter, framework, as_json=as_json
    )


@group.command()
def search(
    text: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Words that all must occur.")],
    category: Category = None,
    max_memory: MaxMemory = None,
    max_parameters: MaxParameters = None,
    commercial: Commercial = False,
    no_gpu: NoGpu = False,
    adapter: AdapterName = None,
    framework: Framework = None,
    as_json: AsJson = False,
) -> None:
    """Find models by words of their names, tags and descriptions."""
    from modelyard.cli import catalog as room

    words = " ".join(text)
    room.list_entries(
        words, category, max_memory, max_parameters, commercial, no_gpu, adapter, framework, as_json=as_json
    )


@group.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The entry.")], as_json: AsJson = False
) -> None:
    """Show all that is known of a model, and where it was read."""
    from modelyard.cli import catalog as room

    room.show(name, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group)

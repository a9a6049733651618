"""Where a model comes from that the command line names: this machine, or the hub."""

from pathlib import Path

import typer

from modelyard.cli.output import say
from modelyard.client.location import find_home

HUB = "hf://"


def place_of(model: str) -> Path:
    """The file or folder that ``model`` is, fetched when it is elsewhere. Raises BadParameter (exit 2) for what
    is not there, and what hinders the fetching."""
    if not model.startswith(HUB):
        if not Path(model).exists():
            raise typer.BadParameter(f"Path {model!r} does not exist.", param_hint="MODEL")
        return Path(model)
    from modelyard.pipeline.fetch import fetch_hub

    return fetch_hub(model.removeprefix(HUB), find_home().root.absolute() / "hub", progress=say)

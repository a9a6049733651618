"""Where a model comes from that the command line names: this machine, the hub, the web, a git repository."""

from pathlib import Path

import typer

from modelyard.cli.output import say
from modelyard.client.location import find_home

HUB = "hf://"


def place_of(model: str, sha256: str | None = None) -> Path:
    """The file or folder that ``model`` is, fetched when it is elsewhere; ``sha256`` is the checksum that a file of
    the web must have. Raises BadParameter (exit 2) for what is not there, and what hinders the fetching."""
    if sha256 is not None or "://" in model or ("@" in model and not Path(model).exists()):
        from modelyard.package.address import with_digest
        from modelyard.package.source import bring, is_address

        model = with_digest(model, sha256)
        if is_address(model):
            brought = bring(model, find_home().root.absolute() / "sources", progress=say)
            say(f"fetched {brought.told}")
            return brought.folder
    if model.startswith(HUB):
        from modelyard.pipeline.fetch import fetch_hub

        return fetch_hub(model.removeprefix(HUB), find_home().root.absolute() / "hub", progress=say)
    if not Path(model).exists():
        raise typer.BadParameter(f"Path {model!r} does not exist.", param_hint="MODEL")
    return Path(model)

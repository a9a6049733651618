"""Where a model comes from that the command line names: this machine, the hub, the web, a git repository."""

from pathlib import Path

import typer

from modelyard.cli.output import say
from modelyard.client.location import find_home
from modelyard.core.errors import InvalidInput, NotFound, Unavailable
from modelyard.core.reference import Reference, parse_reference

HUB = "hf://"


def registered(model: str) -> Reference | None:
    """The version that ``model`` names (``fraud/3``, ``fraud@production``); None for anything else. What is there as a
    file or a folder is that; a name alone only names a model that the platform knows."""
    if Path(model).exists() or "://" in model:
        return None
    try:
        reference = parse_reference(model)
    except InvalidInput:
        return None
    if reference.which is None and "@" not in model:
        from modelyard.cli.common import client

        try:
            with client() as platform:
                platform.model(reference.model)
        except (NotFound, Unavailable):
            return None
    return reference


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

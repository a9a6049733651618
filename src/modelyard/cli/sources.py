"""Where a model comes from that the command line names: this machine, the hub, the web, a git repository."""

from pathlib import Path
from typing import NamedTuple

import typer

from modelyard.cli.output import say
from modelyard.client.location import find_home
from modelyard.core.errors import InvalidInput, NotFound, Unavailable
from modelyard.core.provenance import Source
from modelyard.core.reference import Reference, parse_reference

HUB = "hf://"


class Place(NamedTuple):
    """Where a model's files lie on this machine, and where they came from."""

    path: Path
    source: Source


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


def place_of(model: str, sha256: str | None = None) -> Place:
    """The file or folder that ``model`` is, fetched when it is elsewhere; ``sha256`` is the checksum that a file of
    the web must have. Raises BadParameter (exit 2) for what is not there, and what hinders the fetching."""
    if sha256 is not None or "://" in model or ("@" in model and not Path(model).exists()):
        from modelyard.package.address import with_digest
        from modelyard.package.source import bring, is_address

        model = with_digest(model, sha256)
        if is_address(model):
            brought = bring(model, find_home().root.absolute() / "sources", progress=say)
            say(f"fetched {brought.told}")
            return Place(brought.folder, source_of(brought.kind, model, brought.revision))
    if model.startswith(HUB):
        from modelyard.pipeline.fetch import fetch_hub

        got = fetch_hub(model.removeprefix(HUB), find_home().root.absolute() / "hub", progress=say)
        return Place(got.folder, source_of("hub", model, got.revision))
    if not Path(model).exists():
        raise typer.BadParameter(f"Path {model!r} does not exist.", param_hint="MODEL")
    return Place(Path(model), Source(kind="path", name=Path(model).absolute().name))


def source_of(kind: str, address: str, revision: str | None) -> Source:
    """What ``address`` (as it was typed) names, of a kind that :mod:`modelyard.onboard.material` or
    :mod:`modelyard.package.source` says; ``revision`` is what came."""
    from modelyard.core.addresses import shown

    if kind == "hub":
        return Source(kind="hub", name=address.removeprefix(HUB).partition("@")[0], revision=revision)
    if kind == "git":
        from modelyard.package.git import parse

        return Source(kind="git", name=shown(parse(address).url), revision=revision)
    if kind == "file":
        return Source(kind="url", name=shown(address.partition("#")[0]), sha256=revision)
    if kind == "bucket":
        return Source(kind="url", name=shown(address), revision=revision)
    if kind in ("package", "source"):
        return Source(kind="package", name=revision or address)
    return Source(kind="path", name=Path(address).expanduser().absolute().name)

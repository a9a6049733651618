"""Options that many commands share, and the client they speak through."""

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelyard.client import Client
    from modelyard.client.deploy_flow import Signer

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
VersionName = Annotated[
    str, typer.Argument(metavar="VERSION", help="NAME/3, NAME@production, or NAME (its latest).")
]

SigningKey = Annotated[
    Path | None,
    typer.Option(
        "--sign", metavar="KEY", help="Sign its files by this private key (PEM) before they are sent."
    ),
]

_NOTHING: Final = re.compile(r"There is no (model|endpoint) '([^']+)'")
_named: str | None = None  # the project that this command was given


def _name_project(project: str | None) -> str | None:
    global _named
    _named = project
    return project


InProject = Annotated[
    str | None,
    typer.Option(
        "--project",
        metavar="NAME",
        callback=_name_project,
        help="The project to work in (MODELYARD_PROJECT; else the key's own, else default).",
    ),
]


@contextmanager
def client() -> "Iterator[Client]":
    """The client of the platform that runs here, or at MODELYARD_URL; in the project that was named. A name of nothing
    is told with the one that was likely meant."""
    from modelyard.client.synchronous import Client
    from modelyard.core.errors import NotFound
    from modelyard.core.settings import load_settings

    with Client(project=_named or load_settings().project) as platform:
        try:
            yield platform
        except NotFound as error:
            near = _nearest(platform, error.message)
            if near is None:
                raise
            raise NotFound(f"{error.message} Did you mean {near!r}?", field=error.field) from error


def _nearest(platform: "Client", told: str) -> str | None:
    """The model or endpoint that is spelt most like the one that there is not; of models those that begin alike."""
    from difflib import get_close_matches

    from modelyard.core.errors import ModelyardError
    from modelyard.core.listing import MOST, Wanted

    kind, name = found.groups() if (found := _NOTHING.match(told)) else ("", "")
    try:
        if kind == "endpoint":
            names = [each.name for each in platform.endpoints()]
        elif kind == "model":
            page = platform.registry.search(Wanted(name=f"{name[0]}*", sort="name"), limit=MOST)
            names = [each.model for each in page.versions]
        else:
            return None
    except ModelyardError:
        return None
    return next(iter(get_close_matches(name, names, 1)), None)


def signer_of(key: Path | None) -> "Signer | None":
    """What signs files by ``key``; None where nobody does. Raises InvalidInput for a key that is none."""
    if key is None:
        return None
    from modelyard.registry.signing import signer

    return signer(key)


def confirm(question: str, yes: bool) -> None:
    """Ask before something is lost. Where nobody can answer, `--yes` must have been given (exit 2)."""
    import sys

    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"{question} Nobody can answer here; give --yes.", param_hint="--yes")
    if not typer.confirm(question, default=False, err=True):
        raise typer.Exit(1)

"""What the routes share: the platform, and checked parts of a path."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from modelyard.control.platform import Platform
from modelyard.control.requests import DIGEST_PATTERN, ID_PATTERN, NAME_PATTERN, ProvenanceRequest
from modelyard.core.access import Principal
from modelyard.core.provenance import Arrival, Source
from modelyard.core.reference import parse_which

PREFIX = "/api/v1"


def platform_of(request: Request) -> Platform:
    """The platform that the app was made for."""
    return request.app.state.platform


def principal_of(request: Request) -> Principal:
    """Who calls, and what he sees: what the edge found out."""
    return getattr(request.state, "principal", None) or Principal()


def known_of(request: Request) -> str:
    """Who calls, as far as the platform knows: the user that was authenticated, where one was."""
    known = getattr(request.state, "who", None)
    if isinstance(known, str):
        return known
    if not platform_of(request).settings.authentication:
        return "someone on this machine"
    return "the key of this home"


def caller_of(request: Request) -> str:
    """Who asks, for the audit: the user that was authenticated, where one was; else who the header modelyard-user says,
    which nothing proves; else what the platform knows."""
    if isinstance(getattr(request.state, "who", None), str):
        return known_of(request)
    told = request.headers.get("modelyard-user", "")
    return told if 0 < len(told) <= 200 and told.isprintable() else known_of(request)


def arrival_of(request: Request, told: ProvenanceRequest | None) -> Arrival:
    """What is kept of an upload's coming; what the caller does not say is not made up."""
    if told is None:
        source, user, client = Source(kind="upload"), "", ""
    else:
        source, user, client = told.source.source(), told.user, told.client
    client = client or request.headers.get("user-agent", "")[:200]
    return Arrival(source=source, uploader=known_of(request), user=user, client=client)


def which_of(version: Annotated[str, Path(pattern=NAME_PATTERN)]) -> int | str | None:
    """A version in a path: its number, an alias, or ``latest``."""
    return parse_which(version)


By = Annotated[Principal, Depends(principal_of)]
Caller = Annotated[str, Depends(caller_of)]
WhichPath = Annotated[int | str | None, Depends(which_of)]
AliasPath = Annotated[str, Path(pattern=NAME_PATTERN)]
Here = Annotated[Platform, Depends(platform_of)]
NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
DigestPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
PartPath = Annotated[int, Path(ge=0, le=2**31 - 1)]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]

"""What the routes share: the platform, and checked parts of a path."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from modelyard.control.platform import Platform
from modelyard.control.requests import DIGEST_PATTERN, ID_PATTERN, NAME_PATTERN, ProvenanceRequest
from modelyard.core.provenance import Arrival, Source

PREFIX = "/api/v1"


def platform_of(request: Request) -> Platform:
    """The platform that the app was made for."""
    return request.app.state.platform


def caller(request: Request) -> str:
    """Who calls, as far as the platform knows."""
    if not platform_of(request).settings.authentication:
        return "someone on this machine"
    return "the key of this home"


def arrival_of(request: Request, told: ProvenanceRequest | None) -> Arrival:
    """What is kept of an upload's coming; what the caller does not say is not made up."""
    if told is None:
        source, user, client = Source(kind="upload"), "", ""
    else:
        source, user, client = told.source.source(), told.user, told.client
    client = client or request.headers.get("user-agent", "")[:200]
    return Arrival(source=source, uploader=caller(request), user=user, client=client)


Here = Annotated[Platform, Depends(platform_of)]
NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
DigestPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
PartPath = Annotated[int, Path(ge=0, le=2**31 - 1)]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]

"""What the routes share: the platform, and checked parts of a path."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from modelyard.control.platform import Platform
from modelyard.control.requests import DIGEST_PATTERN, ID_PATTERN, NAME_PATTERN
from modelyard.core.reference import parse_which

PREFIX = "/api/v1"


def platform_of(request: Request) -> Platform:
    """The platform that the app was made for."""
    return request.app.state.platform


def caller_of(request: Request) -> str:
    """Who asks, for the audit: the user that was authenticated, where one was; else who the header modelyard-user says,
    which nothing proves; else ``api``."""
    known = getattr(request.state, "who", None)
    if isinstance(known, str):
        return known
    told = request.headers.get("modelyard-user", "")
    return told if 0 < len(told) <= 200 and told.isprintable() else "api"


def which_of(version: Annotated[str, Path(pattern=NAME_PATTERN)]) -> int | str | None:
    """A version in a path: its number, an alias, or ``latest``."""
    return parse_which(version)


Caller = Annotated[str, Depends(caller_of)]
WhichPath = Annotated[int | str | None, Depends(which_of)]
AliasPath = Annotated[str, Path(pattern=NAME_PATTERN)]
Here = Annotated[Platform, Depends(platform_of)]
NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
DigestPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]

"""What the routes share: the platform, and checked parts of a path."""

from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import Request

from modelyard.control.platform import Platform
from modelyard.control.requests import DIGEST_PATTERN, ID_PATTERN, NAME_PATTERN

PREFIX = "/api/v1"


def platform_of(request: Request) -> Platform:
    """The platform that the app was made for."""
    return request.app.state.platform


Here = Annotated[Platform, Depends(platform_of)]
NamePath = Annotated[str, Path(pattern=NAME_PATTERN)]
IdPath = Annotated[str, Path(pattern=ID_PATTERN)]
DigestPath = Annotated[str, Path(pattern=DIGEST_PATTERN)]
PartPath = Annotated[int, Path(ge=0, le=2**31 - 1)]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1)]

"""``/models/…/aliases`` and ``/models/…/history``: movable names of versions, and every move of them."""

from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.control.answers import AliasAnswer, AliasesAnswer
from modelyard.control.api.common import PREFIX, AliasPath, By, Caller, Here, NamePath
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import NAME_PATTERN, AliasRequest, WhyField
from modelyard.core.history import AliasMove
from modelyard.core.reference import parse_which

router = APIRouter(prefix=PREFIX, tags=["aliases"])
Moment = Annotated[float | None, Query(ge=0, le=1e11, description="seconds since the epoch")]
Expected = Annotated[int | None, Query(ge=0, le=2**31 - 1)]


@router.get("/models/{name}/aliases", responses=answers(AliasesAnswer, "not_found"), response_model=None)
def list_aliases(here: Here, name: NamePath) -> NounResponse:
    """The numbers that the aliases of a model point at."""
    return NounResponse(AliasesAnswer(model=name, aliases=here.aliases.list(name)))


@router.put(
    "/models/{name}/aliases/{alias}",
    responses=answers(AliasAnswer, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def move_alias(
    here: Here, who: Caller, name: NamePath, alias: AliasPath, request: AliasRequest
) -> NounResponse:
    """Point an alias at a version. Refused when something else than ``expected`` is there: of two who move it at once
    exactly one does."""
    which = parse_which(request.version) if isinstance(request.version, str) else request.version
    move = here.aliases.move(name, alias, which, who=who, why=request.because, expected=request.expected)
    version = move.version if move is not None else here.aliases.list(name).get(alias)
    return NounResponse(AliasAnswer(model=name, alias=alias, version=version, move=move))


@router.delete(
    "/models/{name}/aliases/{alias}",
    responses=answers(AliasAnswer, "not_found", "conflict", "unavailable"),
    response_model=None,
)
def remove_alias(
    here: Here,
    who: Caller,
    name: NamePath,
    alias: AliasPath,
    because: Annotated[WhyField, Query()] = "",
    expected: Expected = None,
) -> NounResponse:
    """Take an alias away; its history stays."""
    move = here.aliases.remove(name, alias, who=who, why=because, expected=expected)
    return NounResponse(AliasAnswer(model=name, alias=alias, version=None, move=move))


@router.get("/models/{name}/history", responses=answers(list[AliasMove], "not_found"), response_model=None)
def history(
    here: Here,
    by: By,
    name: NamePath,
    alias: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None,
    since: Moment = None,
    until: Moment = None,
) -> NounResponse:
    """Every move of a model's aliases, in the order in which they were made: with ``since`` those that held then and
    later ones, with ``until`` those made by then; with both the same moment, what held at it."""
    # What another model of this name did before it was deleted may have been in another project.
    former = by.project is None
    return NounResponse(here.aliases.history(name, alias, since=since, until=until, former=former))

"""``/environments``: the locked sets of dependencies that are built here, and who uses them."""

from typing import Annotated

from fastapi import APIRouter, Path

from modelyard.control.answers import EnvironmentAnswer
from modelyard.control.api.common import PREFIX, Here
from modelyard.control.environments import describe, describe_all
from modelyard.control.openapi import NounResponse, answers

router = APIRouter(prefix=PREFIX, tags=["environments"])


@router.get("/environments", responses=answers(list[EnvironmentAnswer]), response_model=None)
def list_environments(here: Here) -> NounResponse:
    """All environments, the oldest first."""
    return NounResponse(describe_all(here))


@router.get("/environments/{id}", responses=answers(EnvironmentAnswer, "not_found"), response_model=None)
def get_environment(here: Here, id: Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]) -> NounResponse:
    """One environment."""
    return NounResponse(describe(here, id))

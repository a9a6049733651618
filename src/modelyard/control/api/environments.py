"""``/environments``: the locked sets of dependencies that are built here, and who uses them."""

from typing import Annotated

from fastapi import APIRouter, Path

from modelyard.control.answers import EnvironmentAnswer, EnvironmentsAnswer
from modelyard.control.api.common import PREFIX, By, Here
from modelyard.control.environments import clean, describe, describe_all
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.control.requests import CleanRequest
from modelyard.control.sbom import SBOM, SbomResponse, sbom_of_environment

router = APIRouter(prefix=PREFIX, tags=["environments"])


@router.get("/environments", responses=answers(list[EnvironmentAnswer]), response_model=None)
def list_environments(here: Here, by: By) -> NounResponse:
    """All environments, the oldest first."""
    return NounResponse(describe_all(here, by))


@router.post(
    "/environments/clean", responses=answers(EnvironmentsAnswer, "unavailable"), response_model=None
)
def clean_environments(here: Here, request: CleanRequest) -> NounResponse:
    """Remove the environments that nothing uses. Refused while the node does not answer: nobody knows then
    which replicas live."""
    older_than = request.older_than if request.older_than is not None else here.settings.environment_grace
    return NounResponse(clean(here, older_than=older_than, dry_run=request.dry_run))


@router.get("/environments/{id}", responses=answers(EnvironmentAnswer, "not_found"), response_model=None)
def get_environment(
    here: Here, by: By, id: Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]
) -> NounResponse:
    """One environment."""
    return NounResponse(describe(here, id, by))


@router.get(
    "/environments/{id}/sbom",
    responses={200: SBOM, **failures("not_found", "unavailable")},
    response_model=None,
    response_class=SbomResponse,
)
def get_sbom(here: Here, id: Annotated[str, Path(pattern=r"^[0-9a-f]{1,64}$")]) -> SbomResponse:
    """What an environment is made of (CycloneDX): its interpreter and packages, with versions and licences."""
    return SbomResponse(sbom_of_environment(here, id))

"""``/deployments``: revisions of endpoints, and the job that makes one."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.requests import Request

from modelyard.control.admission import require_more
from modelyard.control.api.common import PREFIX, By, Caller, Here, IdPath, arrival_of
from modelyard.control.openapi import NounResponse, answers
from modelyard.control.requests import NAME_PATTERN, DeploymentRequest
from modelyard.core.deployment import Deployment
from modelyard.core.errors import InvalidInput
from modelyard.core.job import Job
from modelyard.core.reference import parse_which
from modelyard.pipeline.parameters import DeployParameters

router = APIRouter(prefix=PREFIX, tags=["deployments"])


@router.post(
    "/deployments",
    status_code=202,
    responses=answers(Job, "not_found", "conflict", "unavailable", status=202),
    response_model=None,
)
def deploy(here: Here, by: By, who: Caller, request: DeploymentRequest, http: Request) -> NounResponse:
    """Start the job that brings an upload or a version to an endpoint; follow it at ``/jobs``."""
    if request.upload is not None and request.version is not None:
        raise InvalidInput(
            "Give either an upload, which becomes a new version, or the number of a version.",
            field="version",
        )
    model, version = request.model or request.endpoint, request.version
    if request.trust_pickle:
        require_more(by, "To trust what runs code")
    if request.settings.leave.folders:
        require_more(by, "To let a model at folders of this machine", installation=True)
    here.admission.may_name(by, endpoint=request.endpoint)
    if request.upload is not None:
        here.admission.see_upload(by, request.upload)
        here.admission.may_name(by, model=model)
    else:
        here.admission.see_model(by, model)
    if isinstance(version, str):
        # Now, not when the job runs: what an alias names may be another version by then.
        version = here.versions.find(model, parse_which(version)).number
    job = here.deploy.submit(
        DeployParameters(
            endpoint=request.endpoint,
            model=model,
            upload=request.upload,
            version=version,
            settings=request.settings.given(),
            reset=request.reset,
            trusted=request.trust_pickle,
            card=request.card.card() if request.card is not None else None,
            who=who,
            arrival=arrival_of(http, request.provenance) if request.upload is not None else None,
            because=request.because,
            bundle=request.bundle,
            project=by.project,
        )
    )
    here.runner.wake()
    return NounResponse(job, status_code=202)


@router.get("/deployments", responses=answers(list[Deployment], "not_found"), response_model=None)
def list_deployments(
    here: Here, by: By, endpoint: Annotated[str | None, Query(pattern=NAME_PATTERN)] = None
) -> NounResponse:
    """All revisions, of one endpoint when it is named."""
    if endpoint is not None:
        here.admission.see_endpoint(by, endpoint)
        here.endpoints.get(endpoint)
    return NounResponse(here.endpoints.deployments(endpoint, project=by.project))


@router.get("/deployments/{id}", responses=answers(Deployment, "not_found"), response_model=None)
def get_deployment(here: Here, id: IdPath) -> NounResponse:
    """One revision."""
    return NounResponse(here.endpoints.deployment(id))

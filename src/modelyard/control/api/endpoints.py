"""``/endpoints``: what is wanted, what the node reports, and the replicas' logs."""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse

from modelyard.control.answers import EndpointAnswer
from modelyard.control.api.common import PREFIX, By, Caller, Here, NamePath
from modelyard.control.endpoints import describe, describe_all, logs_of
from modelyard.control.openapi import NounResponse, answers, failures
from modelyard.pipeline.options import refuse_while_needed

router = APIRouter(prefix=PREFIX, tags=["endpoints"])


@router.get("/endpoints", responses=answers(list[EndpointAnswer]), response_model=None)
def list_endpoints(here: Here, by: By) -> NounResponse:
    """All endpoints that the caller sees, by name."""
    return NounResponse(describe_all(here, here.node_status(), by))


@router.get("/endpoints/{name}", responses=answers(EndpointAnswer, "not_found"), response_model=None)
def get_endpoint(here: Here, name: NamePath) -> NounResponse:
    """One endpoint."""
    return NounResponse(describe(here, name))


@router.delete(
    "/endpoints/{name}",
    status_code=204,
    responses=failures("not_found", "conflict", "unavailable"),
    response_model=None,
)
def delete_endpoint(here: Here, who: Caller, name: NamePath) -> None:
    """Delete an endpoint: its replicas drain, its remotes are forgotten, its model and versions stay.
    Refused while it is the fallback of another one."""
    with here.changes:
        refuse_while_needed(here.endpoints, name)
        here.endpoints.delete(name, who=who)
    here.changed.notify()
    here.reconciler.wake()
    here.janitor.wake()


@router.get(
    "/endpoints/{name}/logs",
    responses={
        200: {"description": "The last lines", "content": {"text/plain": {"schema": {"type": "string"}}}}
    }
    | failures("not_found", "unavailable"),
    response_class=PlainTextResponse,
)
def endpoint_logs(
    here: Here, name: NamePath, tail: Annotated[int, Query(ge=1, le=100_000)] = 200
) -> PlainTextResponse:
    """What the replicas wrote: of the revision that serves, and of a newer one that is on its way
    or has failed."""
    return PlainTextResponse(logs_of(here, name, tail))

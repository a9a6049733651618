"""``/status``, ``/health``, ``/ready``, ``/audit``: the platform itself."""

import os
from typing import Annotated

from fastapi import APIRouter, Query

from modelyard.control.answers import ControlAnswer, HealthAnswer, NodeAnswer, StatusAnswer
from modelyard.control.api.common import PREFIX, By, Here
from modelyard.control.openapi import NounResponse, answers
from modelyard.core.audit import AuditEntry
from modelyard.core.version import VERSION
from modelyard.host.process import resident_bytes

router = APIRouter(tags=["system"])


@router.get(PREFIX + "/status", responses=answers(StatusAnswer), response_model=None)
def status(here: Here, by: By) -> NounResponse:
    """The platform as a whole."""
    node = here.node_status()
    own = resident_bytes(os.getpid())
    of_node = resident_bytes(node.pid) if node is not None else None
    replicas = [replica for pool in node.pools for replica in pool.replicas] if node is not None else []
    known = [own, of_node, *(replica.memory for replica in replicas)]
    return NounResponse(
        StatusAnswer(
            version=VERSION,
            control=ControlAnswer(pid=os.getpid(), started=here.started, url=here.url, memory=own),
            node=NodeAnswer(
                url=here.node_url,
                up=node is not None,
                pid=node.pid if node is not None else None,
                generation=node.generation if node is not None else None,
                started=node.started if node is not None else None,
                memory=of_node,
                budget=node.memory if node is not None else None,
            ),
            endpoints=sum(by.sees(each.project) for each in here.endpoints.list()),
            models=len(here.versions.models(project=by.project)),
            home=str(here.home.root),
            authentication=here.settings.authentication,
            memory_bytes=sum(size for size in known if size is not None) if own is not None else None,
            database=here.database.shown if by.installation else "",
            id=here.id,
            homes=tuple(here.homes.list()) if here.id is not None and by.installation else (),
        )
    )


@router.get("/health", include_in_schema=False, response_model=None)
@router.get(PREFIX + "/health", responses=answers(HealthAnswer), response_model=None)
async def health() -> NounResponse:
    """The process answers."""
    return NounResponse(HealthAnswer(status="ok"))


@router.get("/ready", include_in_schema=False, response_model=None)
@router.get(PREFIX + "/ready", responses=answers(HealthAnswer, "unavailable"), response_model=None)
def ready(here: Here) -> NounResponse:
    """The API can be used: the database answers. The node has a readiness of its own."""
    here.endpoints.generation()
    return NounResponse(HealthAnswer(status="ready"))


@router.get(PREFIX + "/audit", responses=answers(list[AuditEntry]), response_model=None)
def audit(
    here: Here,
    by: By,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    about: Annotated[str | None, Query(max_length=200)] = None,
) -> NounResponse:
    """Who changed what, when and why; the newest first. ``about``: a model with all of its versions and aliases
    (``fraud``), one of them (``fraud/3``, ``fraud@production``), an endpoint, a key, a project."""
    return NounResponse(here.audit.list(limit, project=by.project, about=about))
